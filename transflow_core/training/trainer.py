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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..checkpoints.native import native_fingerprint
from ..flows import (
    FlowConfig,
    PixelConvention,
    TrainableFlow,
    WaveletConfig,
    WaveletGlow,
    build_flow,
    channels_last,
    compute_nets_in,
    haar_split,
)
from ..prior import Prior, load_prior, pick_device
from .batches import batch, first_images
from .card import model_card
from .data import ImageSet
from .density import BitsPerDim, bits_per_level
from .interior import interior_latents, interior_penalty, that_draw_grids
from .journal import Journal, sheet
from .plan import check_blend, check_held_out, trainable
from .processes import Processes
from .settings import Architecture, TrainSettings
from .state import STATE, Counters, TrainingError, read_state, start_adam, write_state
from .statistics import measure_typicality, write_conformance

__all__ = ["Progress", "Trained", "TrainingError", "train"]

_LOG_EVERY = 20
_MEASURED_ON_THE_WAY = 256
_LEVELS_OF = 64
_TYPICALITY_OF = 512
_TOO_MANY_SKIPPED = 50
_LATENTS_OF = 4  # as many images a step go with one latent of the interior


@dataclass(frozen=True)
class Progress:
    """Where a run is, for whoever watches it.

    Attributes:
        step, images: so far.
        fraction: of the budget, 0 to 1.
        images_per_s: over the last steps.
        seconds_left: by the budget, or None before that can be said.
        bits: bits per dimension of the last steps' images, under the weights that are trained; None before the first.
        held_out_bits: bits per dimension of held-out images, under the averaged weights, or None before the first
            measurement.
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


@dataclass(frozen=True)
class Trained:
    """What a run came to.

    Attributes:
        folder: holds the prior, its card, samples, the log and the checkpoint.
        finished: False if it was stopped; it goes on with `resume=True`.
        step, images, seconds, skipped: see `Counters`.
        measured: the measurements on held-out images, the first before any training.
    """

    folder: Path
    finished: bool
    step: int
    images: int
    seconds: float
    skipped: int
    measured: list[dict[str, float]] = field(default_factory=list)


def train(
    images: ImageSet,
    folder: str | os.PathLike[str],
    architecture: Architecture,
    pixels: PixelConvention,
    settings: TrainSettings,
    *,
    name: str = "prior",
    start: Prior | None = None,
    grow: Prior | None = None,
    words: dict[str, str] | None = None,
    half: bool = False,
    blend: float = 1.0,
    resume: bool = False,
    group: Processes | None = None,
    progress: Callable[[Progress], None] | None = None,
    stop: threading.Event | None = None,
) -> Trained:
    """Train a prior.

    The folder gets `config.json`, `model.safetensors` (the averaged weights), `typicality.json`, `conformance.npz`,
    `MODEL_CARD.md`, `samples.png`, sheets on the way in `samples/`, `log.jsonl`, and `training.safetensors`, from which
    a run that was stopped goes on: with a budget in steps, to the same bits as one that was not.

    Under `torchrun` each process takes its part of every batch; the batches are those of a single process.

    Args:
        images: see `prepare`.
        architecture: of a flow; or of the details of one, with `grow`.
        pixels: what training sees of the bytes.
        start: weights to begin with, of the same architecture; with `grow` only those of the details. Levels that are
            not whitened over these images, with this noise, are scaled first.
        grow: the prior whose weights the 2×2 means begin with. They go on learning: the means of four noisy pixels
            have half the noise of the images that it saw.
        words: what the model card says and nobody can measure: "data", "licence", "command".
        half: keep the nets' weights in float16 (see `save_native`).
        blend: of a run with `start`, the share of the trained weights in what is kept at the end, in (0, 1]; the rest
            are the weights that it began with. Long training makes a flow ill-conditioned on images unlike its data;
            the mean of the two keeps most of the gain and of the robustness. Reference: Wortsman et al., "Robust
            fine-tuning of zero-shot models" (2022).
        resume: go on from the folder's checkpoint. The budget may be another one than before: the schedule follows the
            new one from there on.
        group: the processes that share the work, and where each computes; by default this one, on a GPU if there is
            one.
        progress, stop: called after every step; ends the run, saved, after the step in which it is set.

    Raises:
        TrainingError: the folder has a run already, or none to resume, or another; fewer than two held-out images; or
            nothing but non-finite steps.
    """
    check_blend(blend, start)
    check_held_out(images)
    group = group or Processes(0, 1, pick_device("auto"))
    run = _Run(
        images, Path(folder), architecture, pixels, settings, name, start, grow, words or {}, half, blend, resume, group
    )
    return run.go(progress or (lambda _: None), stop or threading.Event())


def _build(
    architecture: Architecture, start: Prior | None, grow: Prior | None, seed: int
) -> tuple[TrainableFlow, Callable[[Tensor], None]]:
    """The flow, and what starts the levels of it that are new from a batch of images."""
    generator = torch.Generator().manual_seed(seed)
    if isinstance(architecture, FlowConfig):
        if grow is not None:
            raise TrainingError("this architecture is a whole flow's: it does not grow another")
        flow = build_flow(architecture, generator)
        trained, initialise = "", flow.initialise
    else:
        if grow is None:
            raise TrainingError("an architecture of details needs a prior to grow")
        base = trainable(grow)
        flow = WaveletGlow(WaveletConfig(base.config, architecture), generator, copy.deepcopy(base))
        trained, initialise = "details", lambda x: flow.details.initialise(*reversed(haar_split(x)))
    if start is not None:
        begun = trainable(start)
        if begun.config.to_dict() != flow.config.to_dict():
            raise TrainingError(f"{start.name} has another architecture than the one to be trained")
        flow.get_submodule(trained).load_state_dict(begun.get_submodule(trained).state_dict())
    channels_last(flow.requires_grad_(True))
    return flow, initialise


def _learning(flow: TrainableFlow) -> list[Tensor]:
    return [parameter for parameter in flow.parameters() if parameter.requires_grad]


class _Run:
    """One run: the flow, its average, the optimizer, and where it stands."""

    def __init__(
        self,
        images: ImageSet,
        folder: Path,
        architecture: Architecture,
        pixels: PixelConvention,
        settings: TrainSettings,
        name: str,
        start: Prior | None,
        grow: Prior | None,
        words: dict[str, str],
        half: bool,
        blend: float,
        resume: bool,
        group: Processes,
    ) -> None:
        self.images, self.folder, self.pixels, self.settings = images, folder, pixels, settings
        self.name, self.words, self.half, self.blend, self.group = name, words, half, blend, group
        if settings.interior and start is None:
            raise TrainingError("what is decoded near the origin is kept from weights to begin with: say which")
        if settings.interior and settings.batch_size % (_LATENTS_OF * group.count):
            raise TrainingError(f"with an interior, a batch is a multiple of {_LATENTS_OF * group.count}")
        if settings.batch_size % group.count:
            raise TrainingError(f"a batch of {settings.batch_size} does not part evenly among {group.count} processes")
        self.state_file = folder / STATE
        if resume and not self.state_file.is_file():
            raise TrainingError(f"{folder} has no run to go on with")
        if not resume and self.state_file.is_file():
            raise TrainingError(f"{folder} has a run already: resume it, or choose another folder")
        self.flow, initialise = _build(architecture, start, grow, settings.seed)
        if images.image_size != self.flow.config.image_size:
            raise TrainingError(
                f"the images are {images.image_size}×{images.image_size}, "
                f"the flow's {self.flow.config.image_size}×{self.flow.config.image_size}"
            )
        self.start, self.grown = (f"{prior.name} ({prior.fingerprint})" if prior else None for prior in (start, grow))
        self.description = {
            "settings": settings.to_dict(),
            "architecture": self.flow.config.to_dict(),
            "pixels": {"bits": pixels.bits, "offset": pixels.offset},
            "data": images.digest,
            "start": start.fingerprint if start else None,
            "grow": grow.fingerprint if grow else None,
        }
        self.flow.to(group.device)
        if start is not None or not resume:  # also where a run goes on that is held to what it began with
            seen = first_images(images.train, pixels, settings.seed).to(group.device)
            if start is None:
                initialise(seen)
            if start is not None or grow is not None:
                self.flow.whiten(seen)
        if settings.interior:
            self.flow.requires_grad_(False)
            for parameter in that_draw_grids(self.flow):
                parameter.requires_grad_(True)
        self.averaged = copy.deepcopy(self.flow)
        self.begun = copy.deepcopy(self.flow).requires_grad_(False) if blend < 1 or settings.interior else None
        compute_nets_in(self.flow, torch.bfloat16 if settings.half_nets else None)
        self.parameters, self.kept = _learning(self.flow), _learning(self.averaged)
        self.adam = torch.optim.Adam(self.parameters, lr=settings.learning_rate, betas=(0.9, 0.99), fused=True)
        start_adam(self.adam)
        self.counters = Counters()
        if resume:
            self.counters = read_state(self.state_file, self.flow, self.averaged, self.adam, self.description)
        self.density: nn.Module = BitsPerDim(self.flow, pixels)
        if group.count > 1:
            self.density = DistributedDataParallel(self.density, broadcast_buffers=False)  # they never change
        self.recent: deque[tuple[float, int, float]] = deque(maxlen=50)  # clock, images and bits of the last steps
        self.penalties: deque[float] = deque(maxlen=50)  # of the interior

    def go(self, progress: Callable[[Progress], None], stop: threading.Event) -> Trained:
        """Train until the budget is used or `stop` is set."""
        counters, settings, group = self.counters, self.settings, self.group
        self.folder.mkdir(parents=True, exist_ok=True)
        self.journal = Journal(self.folder) if group.first else None
        self.began = time.monotonic() - counters.seconds
        due = counters.seconds + 60 * settings.every_minutes
        skipped_in_a_row = 0
        try:
            event = "resume" if counters.step else "start"
            self._note(event, processes=group.count, **self.description)
            if not counters.measured:
                self._measure_and_save(progress)
            while True:
                used, stopped, now = group.told(
                    settings.progress(counters.step, counters.seconds), stop.is_set(), counters.seconds
                )
                if used >= 1 or stopped:
                    break
                if now >= due:
                    self._measure_and_save(progress)
                    due = now + 60 * settings.every_minutes
                bits, norm = self._step(used)
                counters.step += 1
                counters.images += settings.batch_size
                counters.seconds = time.monotonic() - self.began
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
                    penalty = {"interior": sum(self.penalties) / len(self.penalties)} if self.penalties else {}
                    self._note(
                        "step",
                        **penalty,
                        images=counters.images,
                        seconds=round(counters.seconds, 2),
                        bits=self._bits(),
                        gradient_norm=norm if math.isfinite(norm) else str(norm),
                        learning_rate=settings.rate(counters.step, used),
                        images_per_s=round(self._images_per_s(), 2),
                    )
                progress(self._progress("training"))
            finished = used >= 1
            self._measure_and_save(progress, everything=finished)
            if finished and group.first:
                self._finish(progress)
            self._note("end" if finished else "stopped", seconds=counters.seconds)
        finally:
            if self.journal is not None:
                self.journal.close()
        return Trained(
            self.folder,
            finished,
            counters.step,
            counters.images,
            counters.seconds,
            counters.skipped,
            counters.measured,
        )

    def _note(self, event: str, **facts: Any) -> None:
        if self.journal is not None:
            self.journal.write(event, self.counters.step, **facts)

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
        settings, counters, group = self.settings, self.counters, self.group
        x = batch(
            self.images.train,
            self.pixels,
            counters.step,
            size=settings.batch_size,
            seed=settings.seed,
            mirror=settings.mirror,
            part=(group.rank, group.count),
        ).to(group.device)
        self.adam.zero_grad(set_to_none=True)
        bits = self.density(x).mean()
        penalty = self._interior()
        (bits if penalty is None else bits + penalty).backward()
        if penalty is not None:
            self.penalties.append(float(penalty.detach()))
        norm = nn.utils.clip_grad_norm_(self.parameters, settings.clip)
        bits = float(group.mean(bits.detach()))
        norm = float(norm) if math.isfinite(bits) else math.nan
        if math.isfinite(norm):
            for options in self.adam.param_groups:
                options["lr"] = settings.rate(counters.step, used)
            self.adam.step()
            # A mean over everything seen so far, until that is longer than the decay's own memory.
            decay = min(settings.ema, (1 + counters.step) / (10 + counters.step))
            with torch.no_grad():
                torch._foreach_lerp_(self.kept, self.parameters, 1 - decay)
        return bits, norm

    def _interior(self) -> Tensor | None:
        settings, group = self.settings, self.group
        if not settings.interior or self.begun is None:
            return None
        z = interior_latents(
            self.flow.latent_shapes,
            self.counters.step,
            size=settings.batch_size // _LATENTS_OF,
            seed=settings.seed,
            part=(group.rank, group.count),
        )
        return settings.interior * interior_penalty(self.flow, self.begun, z.to(group.device))

    def _prior(self) -> Prior:
        fingerprint = native_fingerprint(self.averaged, self.pixels, self.name)
        metadata = {key: self.words[key] for key in ("data", "licence") if self.words.get(key)}
        return Prior(self.averaged.eval(), self.pixels, self.name, fingerprint, metadata=metadata)

    def _measure_and_save(self, progress: Callable[[Progress], None], everything: bool = False) -> None:
        """Bits per dimension of held-out images and a sheet of samples, under the averaged weights; a checkpoint."""
        if not self.group.first:
            return
        progress(self._progress("measuring"))
        prior, counters = self._prior(), self.counters
        self._measure(prior, everything)
        sheet(prior, self.folder / "samples" / f"step_{counters.step:07d}.png", self.settings.sheet_temperature)
        counters.seconds = time.monotonic() - self.began
        write_state(self.state_file, self.flow, self.averaged, self.adam, counters, self.description)
        self._save_prior(prior)

    def _measure(self, prior: Prior, everything: bool) -> None:
        counters, held_out = self.counters, self.images.held_out
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
        x = batch(held_out, self.pixels, 0, size=min(_LEVELS_OF, len(held_out)), seed=0, mirror=False)
        levels = bits_per_level(self.averaged, x.to(self.group.device), self.pixels.nats_per_dim)
        self._note("held_out", not_finite=int((~found.isfinite()).sum()), levels=levels, **facts)

    def _save_prior(self, prior: Prior) -> None:
        """Each file is replaced as a whole: a prior that was there before stays readable throughout."""
        written = self.folder / "writing"
        prior.save(written, half=self.half)
        for file in written.iterdir():
            file.replace(self.folder / file.name)
        shutil.rmtree(written)

    def _finish(self, progress: Callable[[Progress], None]) -> None:
        """What only a finished run gets: typicality, conformance data, the last sheet and the card."""
        if self.begun is not None and self.blend < 1:
            with torch.no_grad():
                for kept, begun in zip(self.averaged.parameters(), self.begun.parameters(), strict=True):
                    kept.lerp_(begun, 1 - self.blend)
            self._measure(self._prior(), everything=True)
        progress(self._progress("measuring typicality"))
        prior = self._prior()
        prior.typicality = measure_typicality(prior, self.images.held_out[:_TYPICALITY_OF])
        self._save_prior(prior)
        prior = load_prior(self.folder, device=self.group.device)  # as people get it, halved or not
        write_conformance(prior, self.folder / "conformance.npz")
        sheet(prior, self.folder / "samples.png", self.settings.sheet_temperature)
        card = model_card(
            prior,
            self.flow.config,
            self.images,
            self.settings,
            self.counters,
            self.words,
            self.start,
            self.grown,
            self.blend,
        )
        (self.folder / "MODEL_CARD.md").write_text(card, encoding="utf-8")
