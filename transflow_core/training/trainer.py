"""Maximum likelihood training of a flow, from the first actnorm to a folder that `load_prior` reads."""

from __future__ import annotations

import copy
import json
import math
import os
import shutil
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..checkpoints.native import native_fingerprint
from ..flows import (
    TrainableFlow,
    WaveletConfig,
    WaveletGlow,
    build_flow,
    channels_last,
    compute_nets_in,
    haar_split,
    initialise,
    whiten,
)
from ..priors.catalogue import load_prior
from ..priors.prior import Prior, pick_device
from .card import CLIP, TEMPERATURE, model_card
from .checkerboard import checkerboard_penalty, low_norm_latents, penalised_parameters
from .data import LEAST_HELD_OUT, ImageSet, Report, batch, condition_noise, first_images
from .density import BitsPerDim, bits_per_level
from .measure import Log, measure_typicality, sheet, write_conformance
from .plan import Plan, trainable
from .processes import Processes
from .recipe import TrainingError
from .state import STATE, Counters, read_state, write_state

__all__ = ["train"]

_LOG_EVERY = 20
_MEASURED_ON_THE_WAY = 256, 2**22  # images, and pixels: 64 images of 256×256
_MEASURED_AT_ONCE = 16
_TYPICALITY_OF = 512
_TOO_MANY_SKIPPED = 50
_LATENTS_OF = 4  # as many images a step go with one latent of the checkerboard penalty


def train(
    images: ImageSet,
    folder: str | os.PathLike[str],
    plan: Plan,
    *,
    command: str = "",
    group: Processes | None = None,
    progress: Report | None = None,
    cancel: threading.Event | None = None,
) -> Counters:
    """Train a prior; where the run stands in the end. One that was cancelled goes on with `Train.resume`.

    The folder gets `config.json`, `model.safetensors` (the averaged weights), `typicality.json`, `conformance.npz`,
    `MODEL_CARD.md`, `samples.png`, sheets on the way in `samples/`, `log.jsonl`, and `training.pt`, from which a run
    that was stopped goes on: with a budget in steps, to the same bits as one that was not.

    Of a run that grows a prior, the new level alone is trained, and held-out bits are its own (see `BitsPerDim`). Under
    `torchrun` each process takes its part of every batch; the batches are those of a single process.

    Args:
        images: see `prepare`.
        plan: see there.
        command: for the model card.
        group: the processes that share the work, and where each computes; by default this one, on a GPU if there is
            one.
        progress, cancel: called after every step, with thousandths of the budget; ends the run, saved, after the step
            in which it is set.

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
    run = _Run(images, Path(folder), plan, command, group, progress or (lambda *_: None))
    return run.go(cancel or threading.Event())


def _build(plan: Plan) -> TrainableFlow:
    """The flow: with new weights, or with those to begin with, above the prior that is grown."""
    base = copy.deepcopy(trainable(plan.grow)) if plan.grow is not None else None
    generator = torch.Generator().manual_seed(plan.settings.seed)
    config = plan.config
    flow = WaveletGlow(config, generator, base) if isinstance(config, WaveletConfig) else build_flow(config, generator)
    if plan.start is not None:
        begun = trainable(plan.start)
        fits = begun.config == config if base is None else getattr(begun.config, "details", None) == plan.architecture
        if not fits or begun.image_size != flow.image_size:
            raise TrainingError(f"{plan.start.name} has another architecture than the one to be trained")
        _learned(flow, plan).load_state_dict(_learned(begun, plan).state_dict())
    channels_last(flow)
    return flow


def _learned(flow: TrainableFlow, plan: Plan) -> nn.Module:
    """What of a flow a run trains and keeps: all of it, or the level that it puts on a prior."""
    return flow.get_submodule("details" if plan.grow is not None else "")


def _learning(flow: nn.Module) -> list[Tensor]:
    return [parameter for parameter in flow.parameters() if parameter.requires_grad]


class _Run:
    """One run: the flow, its average, the optimizer, and where it stands."""

    def __init__(
        self, images: ImageSet, folder: Path, plan: Plan, command: str, group: Processes, report: Report
    ) -> None:
        self.images, self.folder, self.plan, self.command, self.group = images, folder, plan, command, group
        self.report, self.settings, self.state_file = report, plan.settings, folder / STATE
        self.size = self.settings.batch_size or 1
        self._check()
        self.flow = _build(plan).to(group.device)
        self._start()
        self.learned = _learned(self.flow, plan)
        self.flow.requires_grad_(False)
        for parameter in penalised_parameters(self.flow) if plan.settings.checkerboard else self.learned.parameters():
            parameter.requires_grad_(True)
        self.averaged = copy.deepcopy(self.flow)
        self.begun = copy.deepcopy(self.flow).requires_grad_(False) if plan.start is not None else None
        compute_nets_in(self.flow, torch.bfloat16 if self.settings.nets == "bfloat16" else None)
        self.parameters, self.kept = _learning(self.flow), _learning(self.averaged)
        self.adam = torch.optim.Adam(self.parameters, betas=(0.9, 0.99), fused=True)  # the rate is each step's own
        self.counters = Counters()
        self.saved = (self.learned, _learned(self.averaged, plan), self.adam)
        self.fixed = {
            "settings": self.settings.fixed(),
            "architecture": json.loads(json.dumps(plan.architecture.to_dict())),
            "pixels": dict(vars(plan.pixels)),
            "data": images.digest,
            "start": plan.start.fingerprint if plan.start else None,
        }
        if self.settings.resume:
            self.counters = read_state(self.state_file, *self.saved, self.fixed)
        self.density: nn.Module = BitsPerDim(self.learned, plan.pixels)
        if group.count > 1:
            self.density = DistributedDataParallel(self.density, broadcast_buffers=False)  # they never change
        self.recent: deque[tuple[float, int, float]] = deque(maxlen=50)  # clock, images and bits of the last steps
        self.penalties: deque[float] = deque(maxlen=50)
        self.log: Log | None = None

    def _check(self) -> None:
        """Refuse what cannot be a run, before anything is built."""
        found, side, resume = self.images.image_size, self.plan.image_size, self.settings.resume
        parts = self.group.count * (_LATENTS_OF if self.settings.checkerboard else 1)
        if found != side:
            raise TrainingError(f"the images are {found}×{found}, the flow's {side}×{side}")
        if self.size % parts:
            raise TrainingError(f"a batch is a multiple of {parts} for these processes and penalties, not {self.size}")
        if resume and not self.state_file.is_file():
            raise TrainingError(f"{self.folder} has no run to go on with")
        if not resume and any((self.folder / name).is_file() for name in (STATE, "model.safetensors")):
            raise TrainingError(f"{self.folder} has a run already: resume it, or choose another folder")

    def _start(self) -> None:
        """Fit what is new to a batch of images, and scale what was trained with other noise."""
        plan, whole = self.plan, self.plan.grow is None
        if plan.start is not None and not whole:
            return
        if self.settings.resume and plan.start is None:
            return  # all of it is in the checkpoint; a run with weights to begin with is held to what they were
        seen = first_images(self.images.train, plan.pixels, self.settings.seed).to(self.group.device)
        if plan.start is not None:
            whiten(self.flow, seen)
        elif whole:
            initialise(self.flow, seen)
        else:
            low, detail = haar_split(seen)
            initialise(_learned(self.flow, plan), detail, low)

    def go(self, cancel: threading.Event) -> Counters:
        """Train until the budget is used or `cancel` is set."""
        counters, settings, group = self.counters, self.settings, self.group
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = Log(self.folder) if group.first else None
        self.clock = time.monotonic() - counters.seconds
        due = counters.seconds + 60 * settings.every_minutes
        skipped_in_a_row = 0
        try:
            self._note("resume" if counters.step else "start", processes=group.count, **self.fixed)
            if not counters.measured:
                self._measure_and_save()
            while True:
                used, stopped, now = group.told(
                    settings.progress(counters.step, counters.seconds), cancel.is_set(), counters.seconds
                )
                if used >= 1 or stopped:
                    break
                if now >= due:
                    self._measure_and_save()
                    due = now + 60 * settings.every_minutes
                bits, norm = self._step(used)
                counters.step += 1
                counters.images += self.size
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
                self._tell("training")
            counters.finished = used >= 1
            self._measure_and_save(everything=counters.finished)
            if counters.finished and group.first:
                self._finish()
            self._note("end" if counters.finished else "stopped", seconds=counters.seconds)
        finally:
            if self.log is not None:
                self.log.close()
        return counters

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

    def _tell(self, doing: str) -> None:
        """Report how far the run is, in thousandths of its budget and in words."""
        counters, bits = self.counters, self._bits()
        used = min(1.0, self.settings.progress(counters.step, counters.seconds))
        words = f"{doing}: step {counters.step:,}"
        if bits is not None:
            known = f" (held out {counters.measured[-1]['held_out_bits']:.4f})" if counters.measured else ""
            left = round(counters.seconds * (1 / used - 1) / 60) if used else 0
            words += f", {bits:.4f} bits{known}, {self._images_per_s():.1f} images/s"
            words += f", {left // 60} h {left % 60} min left"
        self.report(round(1000 * used), 1000, words)

    def _step(self, used: float) -> tuple[float, float]:
        """One step: the bits per dimension, and the gradient's norm, which is not finite if the step was skipped."""
        settings, step, group, size = self.settings, self.counters.step, self.group, self.size
        how = {"seed": settings.seed, "part": (group.rank, group.count)}
        x = batch(self.images.train, self.plan.pixels, step, size=size, mirror=settings.mirror, **how).to(group.device)
        seen = [x]
        if self.plan.grow is not None:
            low = (self.flow.channels, x.shape[2] // 2, x.shape[3] // 2)
            seen.append(condition_noise(low, step, most=settings.condition_noise, size=size, **how).to(group.device))
        self.adam.zero_grad(set_to_none=True)
        loss = bits = self.density(*seen).mean()
        if settings.checkerboard and self.begun is not None:
            z = low_norm_latents(self.flow.latent_shapes, step, size=size // _LATENTS_OF, **how).to(group.device)
            penalty = settings.checkerboard * checkerboard_penalty(self.flow, self.begun, z)
            self.penalties.append(float(penalty.detach()))
            loss = bits + penalty
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.parameters, CLIP)
        bits = float(group.mean(bits.detach()))
        norm = float(norm) if math.isfinite(bits) else math.nan
        if math.isfinite(norm):
            for options in self.adam.param_groups:
                options["lr"] = settings.rate(step, used)
            self.adam.step()
            # A mean over everything seen so far, until that is longer than the decay's own memory.
            decay = min(settings.ema or 0, (1 + step) / (10 + step))
            with torch.no_grad():
                torch._foreach_lerp_(self.kept, self.parameters, 1 - decay)
        return bits, norm

    def _prior(self) -> Prior:
        settings, pixels = self.settings, self.plan.pixels
        name = settings.name or self.folder.resolve().name
        words = {"data": settings.data_words, "licence": settings.licence}
        metadata = {key: text for key, text in words.items() if text}
        fingerprint = native_fingerprint(self.averaged, pixels, name)
        return Prior(self.averaged.eval(), pixels, name, fingerprint, metadata=metadata)

    def _measure_and_save(self, everything: bool = False) -> None:
        """Bits per dimension of held-out images and a sheet of samples, under the averaged weights; a checkpoint."""
        if not self.group.first:
            return
        self._tell("measuring")
        prior, counters = self._prior(), self.counters
        self._measure(everything)
        sheet(prior, self.folder / "samples" / f"step_{counters.step:07d}.png", TEMPERATURE)
        counters.seconds = time.monotonic() - self.clock
        write_state(self.state_file, *self.saved, counters, self.settings, self.fixed)
        self._save_prior(prior)

    @torch.no_grad()
    def _measure(self, everything: bool) -> None:
        """Append to what was measured. Every image counts once, though the last batch begins anew to be full."""
        counters, held_out, pixels = self.counters, self.images.held_out, self.plan.pixels
        most, area = _MEASURED_ON_THE_WAY
        most = min(most, area // self.plan.image_size**2)
        if not everything and len(held_out) > most:
            held_out = held_out[np.linspace(0, len(held_out) - 1, most).astype(int)]

        size = min(_MEASURED_AT_ONCE, len(held_out))

        def seen(step: int) -> Tensor:
            return batch(held_out, pixels, step, size=size, seed=0, mirror=False).to(self.group.device)

        density = BitsPerDim(self.saved[1], pixels)
        found = torch.cat([density(seen(step)) for step in range(-(-len(held_out) // size))])[: len(held_out)]
        row = {
            "step": counters.step,
            "images": counters.images,
            "minutes": round(counters.seconds / 60, 2),
            "held_out_bits": float(found[found.isfinite()].mean()),
            "held_out_images": len(found),
            "train_bits": self._bits(),
        }
        counters.measured.append(row)
        counters.levels = bits_per_level(self.averaged, seen(0), pixels.nats_per_dim)
        facts = {key: value for key, value in row.items() if key != "step"}
        self._note("held_out", not_finite=int((~found.isfinite()).sum()), levels=counters.levels, **facts)

    def _save_prior(self, prior: Prior) -> None:
        """Each file is replaced as a whole: a prior that was there before stays readable throughout."""
        written = self.folder / "writing"
        prior.save(written, half=self.settings.half)
        for file in written.iterdir():
            file.replace(self.folder / file.name)
        shutil.rmtree(written)

    def _finish(self) -> None:
        """What only a finished run gets: typicality, conformance data, the last sheet and the card."""
        if self.begun is not None and self.settings.blend < 1:
            with torch.no_grad():
                for kept, begun in zip(self.averaged.parameters(), self.begun.parameters(), strict=True):
                    kept.lerp_(begun, 1 - self.settings.blend)
            self._measure(everything=True)
        self._tell("measuring typicality")
        prior = self._prior()
        prior.typicality = measure_typicality(prior, self.images.held_out[:_TYPICALITY_OF])
        self._save_prior(prior)
        prior = load_prior(self.folder, device=self.group.device)  # as people get it, halved or not
        write_conformance(prior, self.folder / "conformance.npz")
        sheet(prior, self.folder / "samples.png", TEMPERATURE)
        card = model_card(prior, self.plan, self.images, self.counters, self.command)
        (self.folder / "MODEL_CARD.md").write_text(card, encoding="utf-8")
