"""Maximum likelihood training of a flow, from the first actnorm to a folder that `load_prior` reads."""

import copy
import json
import math
import os
import threading
import time
from collections import deque
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from ..checkpoints.native import Size
from ..compute import Progress, report
from ..flows.base import channels_last, compute_nets_in
from ..flows.layers import initialise
from ..flows.wavelet import TrainableFlow, build_flow, haar_split, unrolled, whiten, write_config
from ..priors.catalogue import load_prior
from ..priors.prior import Prior
from .card import CLIP, model_card, training_words
from .checkerboard import checkerboard_penalty, low_norm_latents, penalised_parameters
from .data import ImageSet, batch, condition_noise, first_images
from .measure import BitsPerDim, bits_per_level, measure_typicality, reduced, sheet, write_conformance
from .plan import Counters, Plan, read_state, trainable, words_of, write_state
from .processes import Processes
from .recipe import TrainingError

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
    group: Processes,
    *,
    command: str = "",
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> Counters:
    """Train a prior; where the run stands in the end. One that was cancelled goes on with `Train.resume`.

    The folder gets a native prior (the averaged weights), `conformance.npz`, `MODEL_CARD.md`, `samples.png`, sheets on
    the way in `samples/`, `log.jsonl`, and `training.pt`, from which a run that was stopped goes on: with a budget in
    steps, to the same bits as one that was not.

    Of a run that grows a prior, the finest level alone is trained, and held-out bits are its own (see `BitsPerDim`).
    What it makes also holds the prior that it grew, and all sizes of that one. Under `torchrun` each process takes its
    part of every batch; the batches are those of a single process.

    Args:
        images, plan: see `prepare`, `Plan`.
        group: the processes that share the work, and where each computes.
        command: for the model card.
        progress: called after every step, with thousandths of the budget.
        cancel: ends the run, saved, after the step in which it is set.

    Raises TrainingError if the folder has no run to resume, or another; or for nothing but non-finite steps.
    """
    return _Run(images, Path(folder), plan, command, group, progress).go(cancel or threading.Event())


class _Run:
    """One run: the flow, its average, the optimizer, and where it stands."""

    def __init__(
        self, images: ImageSet, folder: Path, plan: Plan, command: str, group: Processes, progress: Progress | None
    ) -> None:
        self.images, self.folder, self.plan, self.command = images, folder, plan, command
        self.group, self.progress, self.settings = group, progress, plan.settings
        self.size = self.settings.batch_size or 1
        self._check()
        self.flow = self._begun()
        self.learned = self._part(self.flow)
        self.begun = copy.deepcopy(self.flow) if plan.start is not None else self.flow
        self.kept = copy.deepcopy(self.flow)
        self.averaged = AveragedModel(self.learned, multi_avg_fn=self._average)
        self.averaged.module = self._part(self.kept)
        chosen = penalised_parameters(self.flow) if self.settings.checkerboard else self.learned.parameters()
        self.parameters = [parameter.requires_grad_(True) for parameter in chosen]
        compute_nets_in(self.flow, torch.bfloat16 if self.settings.nets == "bfloat16" else None)
        self.adam = torch.optim.Adam(self.parameters, betas=(0.9, 0.99), fused=True)  # the rate is each step's own
        self.states = {"flow": self.learned, "averaged": self.averaged.module, "adam": self.adam}
        self.fixed = {
            "settings": self.settings.fixed(),
            "architecture": write_config(plan.learned),
            "pixels": dict(vars(plan.pixels)),
            "data": images.digest,
            "start": plan.start.fingerprint if plan.start else None,
        }
        self.counters = self._resumed() if self.settings.resume else Counters()
        self.density: nn.Module = BitsPerDim(self.learned, plan.pixels)
        if group.count > 1:
            self.density = DistributedDataParallel(self.density)
        self.recent: deque[tuple[float, float, float]] = deque(maxlen=50)  # seconds, bits and penalties of steps

    def _check(self) -> None:
        """Refuse what cannot be a run, before anything is built."""
        found, side = self.images.train.shape[1], self.plan.config.image_size
        parts = self.group.count * (_LATENTS_OF if self.settings.checkerboard else 1)
        if found != side:
            raise TrainingError(f"the images are {found}×{found}, the flow's {side}×{side}")
        if self.size % parts:
            raise TrainingError(f"a batch is a multiple of {parts} for these processes and penalties, not {self.size}")

    def _part(self, flow: TrainableFlow) -> nn.Module:
        """What of a flow the run trains and keeps: all of it, or the level that it puts on a prior."""
        return flow.get_submodule("" if self.plan.grow is None else "details")

    def _begun(self) -> TrainableFlow:
        """With the weights to begin with, scaled if they saw other pixels; or with new ones that fit some images."""
        plan, generator = self.plan, torch.Generator().manual_seed(self.settings.seed)
        flow = build_flow(plan.config, generator)
        if plan.start is not None:
            given = _levels(trainable(plan.start), plan.grow)
            for part, other in zip(_levels(flow, plan.grow), given, strict=True):
                part.load_state_dict(other.state_dict())
        if plan.grow is not None:
            above = next(one for one in unrolled(flow) if one.image_size == 2 * plan.grow.image_size)
            above.base = copy.deepcopy(trainable(plan.grow))
        channels_last(flow)
        flow.to(self.group.device).requires_grad_(False)
        seen = first_images(self.images.train, plan.pixels, self.settings.seed).to(self.group.device)
        if plan.start is None:
            initialise(self._part(flow), *([seen] if plan.grow is None else reversed(haar_split(seen))))
        elif plan.grow is None and plan.start.pixels != plan.pixels:
            whiten(flow, seen)
        return flow

    def _resumed(self) -> Counters:
        """Put the checkpoint's tensors where they were, bit for bit. TrainingError if it is of another run."""
        state = read_state(self.folder)
        for key, now in self.fixed.items():
            if (then := state["run"][key]) != now:
                other = [name.replace("_", "-") for name in now if key == "settings" and then[name] != now[name]]
                why = f"leave out --{', --'.join(other)}" if other else f"its {key} changed"
                raise TrainingError(f"{self.folder}: the run goes on only as it began: {why}")
        for name, one in self.states.items():
            one.load_state_dict(state[name])
        counters = Counters(**state["counters"])
        self.averaged.n_averaged.fill_(counters.step - counters.skipped)
        return counters

    def _average(self, averaged: Any, current: Any, seen: Any) -> None:
        """Of the weights: a mean over all steps so far, until that is longer than the decay's own memory."""
        decay = min(self.settings.ema or 0, (1 + int(seen)) / (10 + int(seen)))
        torch._foreach_lerp_(averaged, current, 1 - decay)

    def go(self, cancel: threading.Event) -> Counters:
        """Train until the budget is used or `cancel` is set."""
        counters, settings, group = self.counters, self.settings, self.group
        self.folder.mkdir(parents=True, exist_ok=True)
        self.clock = time.monotonic() - counters.seconds
        self._log("resume" if counters.step else "start", processes=group.count, **self.fixed)
        if not counters.measured:
            self._measure_and_save()
        due, in_a_row = counters.seconds + 60 * settings.every_minutes, 0
        while True:
            used, stopped = group.of_the_first(settings.progress(counters.step, counters.seconds), cancel.is_set())
            if used >= 1 or stopped:
                break
            if counters.seconds >= due:
                self._measure_and_save()
                due = counters.seconds + 60 * settings.every_minutes
            begun = time.monotonic()
            bits, penalty, norm = self._step(used)
            counters.step += 1
            counters.images += self.size
            counters.seconds = time.monotonic() - self.clock
            if math.isfinite(norm):
                self.recent.append((time.monotonic() - begun, bits, penalty))
                in_a_row = 0
            else:
                counters.skipped += 1
                in_a_row += 1
                self._log("skipped", bits=str(bits), gradient_norm=str(norm))
            if in_a_row == _TOO_MANY_SKIPPED:
                raise TrainingError(
                    f"{_TOO_MANY_SKIPPED} steps in a row were not finite: lower the learning rate, and begin again or "
                    "resume from the last checkpoint"
                )
            if counters.step % _LOG_EVERY == 0 and self.recent:
                rate = settings.rate(counters.step, used)
                facts = {"images": counters.images, "seconds": round(counters.seconds, 2), "learning_rate": rate}
                self._log("step", **facts, gradient_norm=norm if math.isfinite(norm) else str(norm), **self._lately())
            if not group.rank:
                self._tell("training")
        counters.finished = used >= 1
        self._measure_and_save(everything=counters.finished)
        if counters.finished and not group.rank:
            self._finish()
        self._log("end" if counters.finished else "stopped", seconds=counters.seconds)
        return counters

    def _log(self, event: str, **facts: Any) -> None:
        """A line of `log.jsonl`."""
        if not self.group.rank:
            with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps({"event": event, "step": self.counters.step, **facts}) + "\n")

    def _lately(self) -> dict[str, float]:
        """Means over the last steps of this process; empty before the first one."""
        if not self.recent:
            return {}
        seconds, bits, penalty = np.mean(self.recent, 0).tolist()
        found = {"bits": bits, "images_per_s": round(self.size / seconds, 2)}
        return found | ({"checkerboard": penalty} if self.settings.checkerboard else {})

    def _tell(self, doing: str) -> None:
        """Report how far the run is, in thousandths of its budget and in words."""
        counters, lately = self.counters, self._lately()
        used = min(1.0, self.settings.progress(counters.step, counters.seconds))
        words = f"{doing}: step {counters.step:,}"
        if lately:
            left = round(counters.seconds * (1 / used - 1) / 60)
            words += f", {lately['bits']:.4f} bits (held out {counters.measured[-1]['held_out_bits']:.4f})"
            words += f", {lately['images_per_s']:.1f} images/s, {left // 60} h {left % 60} min left"
        report(self.progress, round(1000 * used), 1000, words)

    def _step(self, used: float) -> tuple[float, float, float]:
        """One step: bits per dimension, penalty, and the gradient's norm. If that is not finite the step is skipped."""
        settings, step, mine = self.settings, self.counters.step, self.group.mine
        how = {"size": self.size, "seed": settings.seed}
        seen = [batch(self.images.train, self.plan.pixels, step, mirror=settings.mirror, **how)]
        if self.plan.grow is not None:
            side = self.flow.image_size // 2
            low = (self.flow.channels, side, side)
            seen.append(condition_noise(low, step, most=settings.condition_noise, **how))
        bits, penalty = self.density(*map(mine, seen)).mean(), torch.zeros((), device=self.group.device)
        if settings.checkerboard:
            z = low_norm_latents(self.flow.latent_shapes, step, size=self.size // _LATENTS_OF, seed=settings.seed)
            penalty = settings.checkerboard * checkerboard_penalty(self.flow, self.begun, mine(z))
        self.adam.zero_grad()
        (bits + penalty).backward()
        norm = float(nn.utils.clip_grad_norm_(self.parameters, CLIP))
        if math.isfinite(norm):
            for options in self.adam.param_groups:
                options["lr"] = settings.rate(step, used)
            self.adam.step()
            self.averaged.update_parameters(self.learned)
        return float(bits.detach()), float(penalty.detach()), norm

    def _prior(self) -> Prior:
        settings, plan = self.settings, self.plan
        words = {"data": settings.data_words, "licence": settings.licence}
        words["training"] = training_words(plan, self.counters)
        name, metadata = settings.name or self.folder.resolve().name, {key: text for key, text in words.items() if text}
        if plan.start and not self.counters.step:  # of weights that were only put together, it still holds
            metadata = words_of(plan.start) | metadata
        coarser = plan.coarser
        if plan.grow is None and self.counters.step:  # their weights are new too
            coarser = {side: Size(size.pixels, f"{name[:70]}-{side}", None, metadata) for side, size in coarser.items()}
        return Prior(self.kept.eval(), plan.pixels, name, "", metadata=metadata, coarser=coarser)

    def _measure_and_save(self, everything: bool = False) -> None:
        """Bits per dimension of held-out images and a sheet of samples, under the averaged weights; a checkpoint."""
        if self.group.rank:
            return
        self._tell("measuring")
        prior, counters = self._prior(), self.counters
        self._measure(everything)
        sheet(prior, self.folder / "samples" / f"step_{counters.step:07d}.png")
        counters.seconds = time.monotonic() - self.clock
        facts = {"counters": asdict(counters), "settings": self.settings.model_dump(exclude={"resume"})}
        states = {name: one.state_dict() for name, one in self.states.items()}
        write_state(self.folder, {**facts, **states, "run": self.fixed})
        self._save(prior)

    @torch.no_grad()
    def _measure(self, everything: bool) -> None:
        """Append to what was measured. Every image counts once, though the last batch begins anew to be full."""
        counters, held_out, pixels = self.counters, self.images.held_out, self.plan.pixels
        most = min(_MEASURED_ON_THE_WAY[0], _MEASURED_ON_THE_WAY[1] // held_out.shape[1] ** 2)
        if not everything and len(held_out) > most:
            held_out = held_out[np.linspace(0, len(held_out) - 1, most).astype(int)]
        size = min(_MEASURED_AT_ONCE, len(held_out))

        def seen(step: int) -> Tensor:
            return batch(held_out, pixels, step, size=size, seed=0, mirror=False).to(self.group.device)

        density = BitsPerDim(self.averaged.module, pixels)
        found = torch.cat([density(seen(step)) for step in range(-(-len(held_out) // size))])[: len(held_out)]
        facts = {
            "images": counters.images,
            "minutes": round(counters.seconds / 60, 2),
            "held_out_bits": float(found[found.isfinite()].mean()),
            "held_out_images": len(found),
            "train_bits": self._lately().get("bits"),
        }
        counters.measured.append({"step": counters.step, **facts})
        counters.levels = bits_per_level(self.kept, seen(0), pixels.nats_per_dim)
        self._log("held_out", not_finite=int((~found.isfinite()).sum()), levels=counters.levels, **facts)

    def _save(self, prior: Prior) -> None:
        """Each file is replaced as a whole: a prior that was there before stays readable throughout."""
        written = self.folder / "writing"
        prior.save(written, half=bool(self.settings.half))
        if prior.typicality is None:  # what a finished run left there is of another prior
            for name in ("typicality.json", "conformance*.npz", "MODEL_CARD.md", "samples.png"):
                for file in self.folder.glob(name):
                    file.unlink()
        for file in written.iterdir():
            file.replace(self.folder / file.name)
        written.rmdir()

    def _finish(self) -> None:
        """What only a finished run gets: typicality and conformance data of each size, the last sheet and the card."""
        if (blend := self.settings.blend or 1) < 1:
            with torch.no_grad():
                for kept, begun in zip(self.kept.parameters(), self.begun.parameters(), strict=True):
                    kept.lerp_(begun, 1 - blend)
            self._measure(everything=True)
        self._tell("measuring typicality")
        prior = self._prior()
        held_out = self.images.held_out[:_TYPICALITY_OF]
        prior.typicality = measure_typicality(prior, held_out)
        for side, size in prior.coarser.items():
            if size.typicality is None:
                found = measure_typicality(prior.at(side), reduced(held_out, side))
                prior.coarser[side] = replace(size, typicality=found)
        self._save(prior)
        prior = load_prior(self.folder.resolve(), device=self.group.device)  # as people get it, halved or not
        write_conformance(prior, self.folder)
        sheet(prior, self.folder / "samples.png")
        card = model_card(prior, self.plan, self.images, self.counters, self.command)
        (self.folder / "MODEL_CARD.md").write_text(card, encoding="utf-8")


def _levels(flow: TrainableFlow, grow: Prior | None) -> list[nn.Module]:
    """The parts of a flow that a run begins with: the details of each level above the prior that it grows; or all."""
    if grow is None:
        return [flow]
    return [one.details for one in unrolled(flow)[:-1] if one.image_size > grow.image_size]
