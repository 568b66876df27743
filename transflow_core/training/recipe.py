"""What a training run is: schedule and budget, presets named after what ships, and a plan that is made of few words."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..flows import DetailConfig, FlowConfig, GlowConfig, LevelConfig, PixelConvention, TrainableFlow
from ..limits import choice
from ..prior import Prior, load_prior, pick_device
from .density import bfloat16_is_faster
from .processes import Processes

Architecture = FlowConfig | DetailConfig
"""Of a whole flow, or of the details above one that another prior brings."""

NETS = ("auto", "float32", "bfloat16")
"""What coupling nets compute in; auto: whichever is faster here."""


class TrainingError(ValueError):
    """A run that cannot start, go on, or be continued. The message says what to do."""


class Train(BaseModel):
    """Schedule and budget of a run.

    The learning rate rises linearly over `warmup_steps`, stays at `learning_rate`, and falls to a hundredth of it along
    half a cosine over the last `decay` of the budget. The budget is `steps` or `minutes`, whichever ends first; with
    minutes alone the schedule follows the clock, so that such a run repeats in kind, not to the bit.

    Example:
        >>> settings = Train(steps=100, learning_rate=1.0, warmup_steps=10, decay=0.5)
        >>> [round(settings.rate(step, step / 100), 3) for step in (0, 9, 50, 75, 100)]
        [0.1, 1.0, 1.0, 0.505, 0.01]
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    batch_size: int = Field(32, ge=1, description="Images a step, over all processes.")
    steps: int | None = Field(None, ge=1, description="Budget in steps: such a run repeats to the bit.")
    minutes: float | None = Field(None, gt=0, description="Budget on the clock; the schedule follows it.")
    learning_rate: float = Field(8e-4, gt=0, description="Adam's, after warm-up.")
    warmup_steps: int = Field(200, ge=0, description="Steps over which the learning rate rises.")
    decay: float = Field(0.45, gt=0, le=1, description="Share of the budget over which the learning rate falls.")
    clip: float = Field(1.0, gt=0, description="Largest norm of the gradient; longer ones are scaled down to it.")
    ema: float = Field(0.999, ge=0, lt=1, description="Decay a step of the averaged weights, which are kept.")
    mirror: bool = Field(True, description="Mirror each image with probability one half.")
    half_nets: bool = Field(False, description="Coupling nets compute in bfloat16; the flow itself in float32.")
    checkerboard: float = Field(
        0.0, ge=0, description="With --from: weight of the checkerboard penalty. 300 works. [default: 0]"
    )
    seed: int = Field(0, description="Of the weights, the order of the images, the noise and the mirroring.")
    every_minutes: float = Field(5.0, gt=0, description="Between measurements, sheets and checkpoints.")
    sheet_temperature: float = Field(0.7, ge=0, description="Temperature of the samples on the sheets.")

    def __init__(self, **settings: Any) -> None:
        try:
            super().__init__(**settings)
        except ValidationError as error:
            words = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}, not {one['input']!r}" for one in error.errors())
            raise ValueError("; ".join(words)) from error
        if self.steps is None and self.minutes is None:
            raise ValueError("give a budget: steps, minutes or both")

    def progress(self, step: int, seconds: float) -> float:
        """How much of the budget is used, from 0; 1 and more is the end."""
        parts = [step / self.steps] if self.steps else []
        parts += [seconds / (60 * self.minutes)] if self.minutes else []
        return max(parts)

    def rate(self, step: int, progress: float) -> float:
        """The learning rate of a step, counted from 0."""
        warm = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        falling = min(1.0, max(0.0, (progress - (1 - self.decay)) / self.decay))
        return self.learning_rate * warm * (0.01 + 0.99 * (1 + math.cos(math.pi * falling)) / 2)

    def with_given(self, **settings: Any) -> Train:
        """The same with what was given, None meaning as it is. A budget that is given replaces the whole budget."""
        given = {key: value for key, value in settings.items() if value is not None}
        if {"steps", "minutes"} & set(given):
            given = {"steps": None, "minutes": None} | given
        return Train(**self.model_dump() | given)


@dataclass(frozen=True)
class Preset:
    """An architecture with the schedule that suits it.

    Attributes:
        flow: a flow's shape, or the details' when the preset grows a prior.
        bits: a channel that training sees; None: as the prior that is grown.
        settings: see there.
    """

    flow: Architecture
    bits: int | None
    settings: Train


def _levels(steps: tuple[int, ...], widths: tuple[int, ...]) -> tuple[LevelConfig, ...]:
    return tuple(LevelConfig(k, width) for k, width in zip(steps, widths, strict=True))


# The first two build exactly the priors of these names that ship, each trained several times: see their cards.
PRESETS: dict[str, Preset] = {
    "celeba64": Preset(
        GlowConfig(64, _levels((6, 12, 16, 16, 8), (96, 192, 256, 256, 256)), position=True),
        bits=5,
        settings=Train(minutes=90),
    ),
    # Grown from a 64×64 prior (`train --grow celeba64`). Bits as the base's: with finer noise a line where a face is
    # smooth would lie hundreds of standard deviations out, and posteriors with it.
    "celeba128": Preset(
        DetailConfig(steps=6, width=64, context=32),
        bits=None,
        settings=Train(minutes=60, batch_size=16, learning_rate=1e-3),
    ),
    # Seconds on two cores: for tests, and for seeing whether images are read as they should be.
    "tiny32": Preset(
        GlowConfig(32, _levels((2, 2, 2), (16, 24, 32)), position=True),
        bits=5,
        settings=Train(steps=200, batch_size=16, learning_rate=2e-3, warmup_steps=20, ema=0.98),
    ),
}


@dataclass(frozen=True)
class Plan:
    """All that a run is told but its images and its folder.

    Attributes:
        image_size: side of the images that it needs, in pixels.
        architecture: of a flow; or of the details of one, with `grow`.
        pixels: what training sees of the bytes.
        settings: schedule and budget.
        start: weights to begin with, of the same architecture; with `grow` only those of the details. Levels that are
            not whitened over the images, with this noise, are scaled first.
        grow: the prior whose weights the 2×2 means begin with. They go on learning: the means of four noisy pixels
            have half the noise of the images that it saw.
        blend: with `start`, the share of the trained weights in what is kept at the end, in (0, 1]; the rest are the
            weights that it began with. Long training makes a flow ill-conditioned on images unlike its data; the mean
            of the two keeps most of the gain and of the robustness.
        half: keep the nets' weights in float16 (see `save_native`).
        resume: go on from the folder's checkpoint. The budget may be another one than before: the schedule follows the
            new one from there on.

    Raises TrainingError for a blend that is no share, or of nothing to begin with.

    References:
        | Robust fine-tuning of zero-shot models (Wortsman et al., 2022)
        | https://arxiv.org/abs/2109.01903
    """

    image_size: int
    architecture: Architecture
    pixels: PixelConvention
    settings: Train
    start: Prior | None = None
    grow: Prior | None = None
    blend: float = 1.0
    half: bool = False
    resume: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.blend <= 1 or (self.blend < 1 and self.start is None):
            raise TrainingError("blend is a share in (0, 1], and below 1 there must be weights to begin with")


def trainable(prior: Prior) -> TrainableFlow:
    """A prior's flow. Raises TrainingError where it is of no kind that is trained here."""
    if not isinstance(prior.flow, TrainableFlow):
        raise TrainingError(f"{prior.name}: only a Glow, or one that was grown, can be trained on")
    return prior.flow


def plan(
    folder: str | os.PathLike[str],
    *,
    preset: str | None = None,
    grow: str | None = None,
    start: str | None = None,
    nets: str = "auto",
    bits: int | None = None,
    blend: float = 1.0,
    half: bool = False,
    resume: bool = False,
    group: Processes | None = None,
    **settings: Any,
) -> Plan:
    """Decide what was not said.

    Args:
        folder: of the run; with `resume` it has one, whose settings hold where none are given.
        preset: a word of `PRESETS`; by default "celeba64", or "celeba128" with `grow`. A whole prior's weights to begin
            with, without a preset, bring their architecture, image size and bits along.
        grow, start: priors, as `load_prior` takes them.
        nets: a word of `NETS`. With "auto" both are tried for a moment; a run that goes on keeps what it began with.
        bits: a channel that training sees; by default the preset's, or those of the prior that is grown.
        blend, half, resume: see `Plan`.
        group: the processes that share the work; what is tried is tried by the first.
        settings: fields of `Train`, None meaning as it is.

    Raises ValueError for words that are none, for a preset that does not fit `grow`, and for a blend without `start`;
    TrainingError if there is no run to resume.

    Example:
        >>> plan("runs/mine", preset="tiny32", nets="float32", steps=5).image_size
        32
    """
    from .state import resumed_settings

    group = group or Processes(0, 1, pick_device("auto"))
    choice(nets, "the nets", NETS)
    begun, base = (load_prior(source, device="cpu") if source else None for source in (start, grow))
    whole = begun if preset is None and base is None else None
    larger = whole.image_size > 64 if whole else base is not None
    preset = choice(preset or ("celeba128" if larger else "celeba64"), "the preset", PRESETS)
    chosen = PRESETS[preset]
    if whole is not None:
        architecture, size, pixels = trainable(whole).config, whole.image_size, whole.pixels
    elif isinstance(chosen.flow, DetailConfig):
        if base is None:
            raise TrainingError(f"the preset {preset} grows a prior: say which, with --grow")
        architecture, size, pixels = chosen.flow, 2 * base.image_size, base.pixels
    elif base is not None:
        raise TrainingError(f"the preset {preset} is of a whole flow: it does not grow another")
    else:
        architecture, size, pixels = chosen.flow, chosen.flow.image_size, PixelConvention(bits=chosen.bits or 8)
    half_nets = None if nets == "auto" else nets == "bfloat16"
    if half_nets is None and not resume:
        half_nets = bool(group.told(bfloat16_is_faster(group.device))[0])
    began = resumed_settings(Path(folder)) if resume else chosen.settings
    return Plan(
        size,
        architecture,
        pixels if bits is None else replace(pixels, bits=bits),
        began.with_given(**settings, half_nets=half_nets),
        start=begun,
        grow=base,
        blend=blend,
        half=half,
        resume=resume,
    )
