"""Maximum likelihood training of a flow, from the first actnorm to a folder that `load_prior` reads."""

from __future__ import annotations

import copy
import math
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..checkpoints.native import native_fingerprint
from ..flows import (
    DetailConfig,
    TrainableFlow,
    WaveletConfig,
    WaveletGlow,
    build_flow,
    channels_last,
    compute_nets_in,
    haar_split,
)
from ..prior import Prior, load_prior, pick_device
from .card import model_card
from .checkerboard import checkerboard_penalty, low_norm_latents, penalised_parameters
from .data import LEAST_HELD_OUT, ImageSet, batch, first_images
from .density import BitsPerDim, bits_per_level
from .measure import Log, measure_typicality, sheet, write_conformance
from .processes import Processes
from .recipe import Plan, TrainingError, trainable
from .state import STATE, Counters, read_state, start_adam, write_state

_LOG_EVERY = 20
_MEASURED_ON_THE_WAY = 256
_LEVELS_OF = 64
_TYPICALITY_OF = 512
_TOO_MANY_SKIPPED = 50
_LATENTS_OF = 4  # as many images a step go with one latent of the checkerboard penalty

Watch = Callable[["Progress"], None]


@dataclass(frozen=True)
class Progress:
    """Where a run is, for whoever watches it.

    Attributes:
        step, images: so far.
        fraction: of the budget, 0 to 1.
        images_per_s: over the last steps.
        seconds_left: by the budget, or None before that can be said.
        bits: bits per dimension of the last steps' images, under the weights that are trained; None before the first.
        held_out_bits: of held-out images, under the averaged weights; None before the first measurement.
        skipped: steps whose gradient was not finite.
        doing: a word when it is not training: "measuring".
    """

    step: int
    images: int
    fraction: float
    images_per_s: float
    seconds_left: float | None
    bits: float | None
    held_out_bits: float | None
    skipped: int
    doing: str = "training"


@dataclass
class Trained(Counters):
    """What a run came to.

    Attributes:
        folder: holds the prior, its card, samples, the log and the checkpoint.
        finished: False if it was stopped; it goes on with `Plan.resume`.
    """

    folder: Path = Path()
    finished: bool = False


def train(
    images: ImageSet,
    folder: str | os.PathLike[str],
    plan: Plan,
    *,
    name: str = "prior",
    words: dict[str, str] | None = None,
    group: Processes | None = None,
    progress: Watch | None = None,
    cancel: threading.Event | None = None,
) -> Trained:
    """Train a prior.

    The folder gets `config.json`, `model.safetensors` (the averaged weights), `typicality.json`, `conformance.npz`,
    `MODEL_CARD.md`, `samples.png`, sheets on the way in `samples/`, `log.jsonl`, and `training.safetensors`, from which
    a run that was stopped goes on: with a budget in steps, to the same bits as one that was not.

    Under `torchrun` each process takes its part of every batch; the batches are those of a single process.

    Args:
        images: see `prepare`.
        plan: see there; `plan(…)` makes one of few words.
        words: what the model card says and nobody can measure: "data", "licence", "command".
        group: the processes that share the work, and where each computes; by default this one, on a GPU if there is
            one.
        progress, cancel: called after every step; ends the run, saved, after the step in which it is set.

    Raises:
        TrainingError: the folder has a run already, or none to resume, or another; fewer than two held-out images; or
            nothing but non-finite steps.
    """
    if len(images.held_out) < LEAST_HELD_OUT:  # before the first step, not where it is measured after the last
        raise TrainingError(
            f"typicality is measured on {LEAST_HELD_OUT} held-out images or more, not on {len(images.held_out)}: "
            "hold out a larger share, or a wider pattern"
        )
    group = group or Processes(0, 1, pick_device("auto"))
    run = _Run(images, Path(folder), plan, name, words or {}, group)
    return run.go(progress or (lambda _: None), cancel or threading.Event())


def _build(plan: Plan) -> tuple[TrainableFlow, Callable[[Tensor], None]]:
    """The flow, and what starts the levels of it that are new from a batch of images."""
    generator = torch.Generator().manual_seed(plan.settings.seed)
    if not isinstance(plan.architecture, DetailConfig):
        if plan.grow is not None:
            raise TrainingError("this architecture is a whole flow's: it does not grow another")
        flow = build_flow(plan.architecture, generator)
        trained, initialise = "", flow.initialise
    else:
        if plan.grow is None:
            raise TrainingError("an architecture of details needs a prior to grow")
        base = trainable(plan.grow)
        flow = WaveletGlow(WaveletConfig(base.config, plan.architecture), generator, copy.deepcopy(base))
        details = flow.details

        def initialise(x: Tensor) -> None:
            low, detail = haar_split(x)
            details.initialise(detail, low)

        trained = "details"
    if plan.start is not None:
        begun = trainable(plan.start)
        if begun.config.to_dict() != flow.config.to_dict():
            raise TrainingError(f"{plan.start.name} has another architecture than the one to be trained")
        flow.get_submodule(trained).load_state_dict(begun.get_submodule(trained).state_dict())
    channels_last(flow.requires_grad_(True))
    return flow, initialise


def _learning(flow: TrainableFlow) -> list[Tensor]:
    return [parameter for parameter in flow.parameters() if parameter.requires_grad]


class _Run:
    """One run: the flow, its average, the optimizer, and where it stands."""

    def __init__(
        self, images: ImageSet, folder: Path, plan: Plan, name: str, words: dict[str, str], group: Processes
    ) -> None:
        self.images, self.folder, self.name, self.words, self.group = images, folder, name, words, group
        self.plan = plan
        self.settings = settings = plan.settings
        self.state_file = folder / STATE
        self._check()
        self.flow, initialise = _build(plan)
        side = self.flow.image_size
        if images.image_size != side:
            raise TrainingError(f"the images are {images.image_size}×{images.image_size}, the flow's {side}×{side}")
        self.description = {
            "settings": settings.model_dump(),
            "architecture": self.flow.config.to_dict(),
            "pixels": {"bits": plan.pixels.bits, "offset": plan.pixels.offset},
            "data": images.digest,
            "start": plan.start.fingerprint if plan.start else None,
            "grow": plan.grow.fingerprint if plan.grow else None,
        }
        self.flow.to(group.device)
        if plan.start is not None or not plan.resume:  # also where a run goes on that is held to what it began with
            seen = first_images(images.train, plan.pixels, settings.seed).to(group.device)
            if plan.start is None:
                initialise(seen)
            if plan.start is not None or plan.grow is not None:
                self.flow.whiten(seen)
        if settings.checkerboard:
            self.flow.requires_grad_(False)
            for parameter in penalised_parameters(self.flow):
                parameter.requires_grad_(True)
        self.averaged = copy.deepcopy(self.flow)
        held = plan.blend < 1 or settings.checkerboard
        self.begun = copy.deepcopy(self.flow).requires_grad_(False) if held else None
        compute_nets_in(self.flow, torch.bfloat16 if settings.half_nets else None)
        self.parameters, self.kept = _learning(self.flow), _learning(self.averaged)
        self.adam = torch.optim.Adam(self.parameters, lr=settings.learning_rate, betas=(0.9, 0.99), fused=True)
        start_adam(self.adam)
        self.counters = Counters()
        if plan.resume:
            self.counters = read_state(self.state_file, self.flow, self.averaged, self.adam, self.description)
        self.density: nn.Module = BitsPerDim(self.flow, plan.pixels)
        if group.count > 1:
            self.density = DistributedDataParallel(self.density, broadcast_buffers=False)  # they never change
        self.recent: deque[tuple[float, int, float]] = deque(maxlen=50)  # clock, images and bits of the last steps
        self.penalties: deque[float] = deque(maxlen=50)
        self.log: Log | None = None

    def _check(self) -> None:
        """Refuse what cannot be a run, before anything is built."""
        size, count = self.settings.batch_size, self.group.count
        if self.settings.checkerboard and self.plan.start is None:
            raise TrainingError("the checkerboard penalty keeps what weights to begin with decode: say which")
        if self.settings.checkerboard and size % (_LATENTS_OF * count):
            raise TrainingError(f"with a checkerboard penalty, a batch is a multiple of {_LATENTS_OF * count}")
        if size % count:
            raise TrainingError(f"a batch of {size} does not part evenly among {count} processes")
        if self.plan.resume and not self.state_file.is_file():
            raise TrainingError(f"{self.folder} has no run to go on with")
        if not self.plan.resume and self.state_file.is_file():
            raise TrainingError(f"{self.folder} has a run already: resume it, or choose another folder")

    def go(self, progress: Watch, cancel: threading.Event) -> Trained:
        """Train until the budget is used or `cancel` is set."""
        counters, settings, group = self.counters, self.settings, self.group
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = Log(self.folder) if group.first else None
        self.clock = time.monotonic() - counters.seconds
        due = counters.seconds + 60 * settings.every_minutes
        skipped_in_a_row = 0
        try:
            self._note("resume" if counters.step else "start", processes=group.count, **self.description)
            if not counters.measured:
                self._measure_and_save(progress)
            while True:
                used, stopped, now = group.told(
                    settings.progress(counters.step, counters.seconds), cancel.is_set(), counters.seconds
                )
                if used >= 1 or stopped:
                    break
                if now >= due:
                    self._measure_and_save(progress)
                    due = now + 60 * settings.every_minutes
                bits, norm = self._step(used)
                counters.step += 1
                counters.images += settings.batch_size
                counters.seconds = time.monotonic() - self.clock
                if math.isfinite(norm):
                    self.recent.append((time.monotonic(), counters.images, bits))
                    skipped_in_a_row = 0
                else:
                    counters.skipped += 1
                    skipped_in_a_row += 1
                    self._note("skipped", bits=str(bits), gradient_norm=str(norm))
                if skipped_in_a_row == _TOO_MANY_SKIPPED:
                    raise TrainingError(
                        f"{_TOO_MANY_SKIPPED} steps in a row were not finite: lower the learning rate, and begin "
                        "again or resume from the last checkpoint"
                    )
                if counters.step % _LOG_EVERY == 0 and self.recent:
                    self._note_step(used, norm)
                progress(self._progress("training"))
            finished = used >= 1
            self._measure_and_save(progress, everything=finished)
            if finished and group.first:
                self._finish(progress)
            self._note("end" if finished else "stopped", seconds=counters.seconds)
        finally:
            if self.log is not None:
                self.log.close()
        return Trained(**vars(counters), folder=self.folder, finished=finished)

    def _note(self, event: str, **facts: Any) -> None:
        if self.log is not None:
            self.log.write(event, self.counters.step, **facts)

    def _note_step(self, used: float, norm: float) -> None:
        counters = self.counters
        penalty = {"checkerboard": sum(self.penalties) / len(self.penalties)} if self.penalties else {}
        self._note(
            "step",
            **penalty,
            images=counters.images,
            seconds=round(counters.seconds, 2),
            bits=self._bits(),
            gradient_norm=norm if math.isfinite(norm) else str(norm),
            learning_rate=self.settings.rate(counters.step, used),
            images_per_s=round(self._images_per_s(), 2),
        )

    def _bits(self) -> float | None:
        """Of the last steps' images."""
        return sum(bits for _, _, bits in self.recent) / len(self.recent) if self.recent else None

    def _images_per_s(self) -> float:
        if len(self.recent) < 2:
            return 0.0
        (start, before, _), (end, after, _) = self.recent[0], self.recent[-1]
        return (after - before) / max(end - start, 1e-9)

    def _progress(self, doing: str) -> Progress:
        counters, settings, rate = self.counters, self.settings, self._images_per_s()
        left = [60 * settings.minutes - counters.seconds] if settings.minutes else []
        if settings.steps and rate:
            left.append((settings.steps - counters.step) * settings.batch_size / rate)
        return Progress(
            counters.step,
            counters.images,
            min(1.0, settings.progress(counters.step, counters.seconds)),
            rate,
            max(0.0, min(left)) if left else None,
            self._bits(),
            counters.measured[-1]["held_out_bits"] if counters.measured else None,
            counters.skipped,
            doing,
        )

    def _step(self, used: float) -> tuple[float, float]:
        """One step: the bits per dimension, and the gradient's norm, which is not finite if the step was skipped."""
        settings, step, group = self.settings, self.counters.step, self.group
        how = {"seed": settings.seed, "part": (group.rank, group.count)}
        size, mirror = settings.batch_size, settings.mirror
        x = batch(self.images.train, self.plan.pixels, step, size=size, mirror=mirror, **how).to(group.device)
        self.adam.zero_grad(set_to_none=True)
        loss = bits = self.density(x).mean()
        if settings.checkerboard and self.begun is not None:
            z = low_norm_latents(self.flow.latent_shapes, step, size=size // _LATENTS_OF, **how).to(group.device)
            penalty = settings.checkerboard * checkerboard_penalty(self.flow, self.begun, z)
            self.penalties.append(float(penalty.detach()))
            loss = bits + penalty
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.parameters, settings.clip)
        bits = float(group.mean(bits.detach()))
        norm = float(norm) if math.isfinite(bits) else math.nan
        if math.isfinite(norm):
            for options in self.adam.param_groups:
                options["lr"] = settings.rate(step, used)
            self.adam.step()
            # A mean over everything seen so far, until that is longer than the decay's own memory.
            decay = min(settings.ema, (1 + step) / (10 + step))
            with torch.no_grad():
                torch._foreach_lerp_(self.kept, self.parameters, 1 - decay)
        return bits, norm

    def _prior(self) -> Prior:
        fingerprint = native_fingerprint(self.averaged, self.plan.pixels, self.name)
        metadata = {key: self.words[key] for key in ("data", "licence") if self.words.get(key)}
        return Prior(self.averaged.eval(), self.plan.pixels, self.name, fingerprint, metadata=metadata)

    def _measure_and_save(self, progress: Watch, everything: bool = False) -> None:
        """Bits per dimension of held-out images and a sheet of samples, under the averaged weights; a checkpoint."""
        if not self.group.first:
            return
        progress(self._progress("measuring"))
        prior, counters = self._prior(), self.counters
        self._measure(prior, everything)
        sheet(prior, self.folder / "samples" / f"step_{counters.step:07d}.png", self.settings.sheet_temperature)
        counters.seconds = time.monotonic() - self.clock
        write_state(self.state_file, self.flow, self.averaged, self.adam, counters, self.description)
        self._save_prior(prior)

    def _measure(self, prior: Prior, everything: bool) -> None:
        counters, held_out, pixels = self.counters, self.images.held_out, self.plan.pixels
        if not everything and len(held_out) > _MEASURED_ON_THE_WAY:
            held_out = held_out[np.linspace(0, len(held_out) - 1, _MEASURED_ON_THE_WAY).astype(int)]
        found = prior.bits_per_dim(np.array(held_out))
        row = {
            "step": counters.step,
            "images": counters.images,
            "minutes": round(counters.seconds / 60, 2),
            "held_out_bits": float(found[found.isfinite()].mean()),
            "held_out_images": len(held_out),
            "train_bits": self._bits(),
        }
        counters.measured.append(row)
        facts = {key: value for key, value in row.items() if key != "step" and value is not None}
        x = batch(held_out, pixels, 0, size=min(_LEVELS_OF, len(held_out)), seed=0, mirror=False)
        levels = bits_per_level(self.averaged, x.to(self.group.device), pixels.nats_per_dim)
        self._note("held_out", not_finite=int((~found.isfinite()).sum()), levels=levels, **facts)

    def _save_prior(self, prior: Prior) -> None:
        """Each file is replaced as a whole: a prior that was there before stays readable throughout."""
        written = self.folder / "writing"
        prior.save(written, half=self.plan.half)
        for file in written.iterdir():
            file.replace(self.folder / file.name)
        shutil.rmtree(written)

    def _finish(self, progress: Watch) -> None:
        """What only a finished run gets: typicality, conformance data, the last sheet and the card."""
        if self.begun is not None and self.plan.blend < 1:
            with torch.no_grad():
                for kept, begun in zip(self.averaged.parameters(), self.begun.parameters(), strict=True):
                    kept.lerp_(begun, 1 - self.plan.blend)
            self._measure(self._prior(), everything=True)
        progress(self._progress("measuring typicality"))
        prior = self._prior()
        prior.typicality = measure_typicality(prior, self.images.held_out[:_TYPICALITY_OF])
        self._save_prior(prior)
        prior = load_prior(self.folder, device=self.group.device)  # as people get it, halved or not
        write_conformance(prior, self.folder / "conformance.npz")
        sheet(prior, self.folder / "samples.png", self.settings.sheet_temperature)
        card = model_card(prior, self.plan, self.images, self.counters, self.words)
        (self.folder / "MODEL_CARD.md").write_text(card, encoding="utf-8")
