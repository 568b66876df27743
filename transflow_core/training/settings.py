"""What a training run is told: the architecture, the schedule and the budget."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..flows import DetailConfig, FlowConfig, GlowConfig, LevelConfig

__all__ = ["PRESETS", "Architecture", "Preset", "TrainSettings"]

Architecture = FlowConfig | DetailConfig
"""Of a whole flow, or of the details of one whose means another prior models."""


def _levels(steps: tuple[int, ...], widths: tuple[int, ...]) -> tuple[LevelConfig, ...]:
    return tuple(LevelConfig(k, width) for k, width in zip(steps, widths, strict=True))


@dataclass(frozen=True)
class TrainSettings:
    """Schedule and budget of a run.

    The learning rate rises linearly over `warmup_steps`, stays at `learning_rate`, and falls to a hundredth of it along
    half a cosine over the last `decay` of the budget. The budget is `steps` or `minutes`, whichever ends first; with
    minutes alone the schedule follows the clock, so that such a run repeats in kind, not to the bit.

    Args:
        batch_size: images a step, over all processes.
        steps, minutes: at least one of them.
        learning_rate, warmup_steps, decay: see above. Adam has betas (0.9, 0.99).
        clip: largest norm of the gradient of the bits per dimension; longer ones are scaled down to it.
        ema: decay a step of the averaged weights, which are the ones that are kept; less in the first steps.
        mirror: mirror each image with probability one half.
        half_nets: coupling nets compute in bfloat16; the flow itself stays in float32.
        interior: weight, in bits per dimension, of the mean squared distance to what the weights that the run began
            with decode latents of small norm to, less its grid (see `interior`); 0 leaves it out. A quarter as many
            latents a step as images.
        seed: of the weights, the order of the images, the noise and the mirroring.
        every_minutes: between measurements on held-out images, sheets of samples and checkpoints.
        sheet_temperature: of the samples on the sheets.
    """

    batch_size: int = 32
    steps: int | None = None
    minutes: float | None = None
    learning_rate: float = 8e-4
    warmup_steps: int = 200
    decay: float = 0.45
    clip: float = 1.0
    ema: float = 0.999
    mirror: bool = True
    half_nets: bool = False
    interior: float = 0.0
    seed: int = 0
    every_minutes: float = 5.0
    sheet_temperature: float = 0.7

    def __post_init__(self) -> None:
        if self.steps is None and self.minutes is None:
            raise ValueError("give a budget: steps, minutes or both")
        for name in ("batch_size", "steps", "minutes", "learning_rate", "clip", "every_minutes"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be above 0, not {value!r}")
        if not (math.isfinite(self.interior) and self.interior >= 0):
            raise ValueError(f"interior must be a number from 0, not {self.interior!r}")
        if not 0 < self.decay <= 1 or not 0 <= self.ema < 1 or self.warmup_steps < 0:
            raise ValueError("decay must lie in (0, 1], ema in [0, 1), and warmup_steps must not be negative")

    def progress(self, step: int, seconds: float) -> float:
        """How much of the budget is used, from 0; 1 and more is the end."""
        parts = [step / self.steps] if self.steps else []
        parts += [seconds / (60 * self.minutes)] if self.minutes else []
        return max(parts)

    def rate(self, step: int, progress: float) -> float:
        """The learning rate of a step, counted from 0.

        Example:
            >>> settings = TrainSettings(steps=100, learning_rate=1.0, warmup_steps=10, decay=0.5)
            >>> [round(settings.rate(step, step / 100), 3) for step in (0, 9, 50, 75, 100)]
            [0.1, 1.0, 1.0, 0.505, 0.01]
        """
        warm = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        falling = min(1.0, max(0.0, (progress - (1 - self.decay)) / self.decay))
        return self.learning_rate * warm * (0.01 + 0.99 * (1 + math.cos(math.pi * falling)) / 2)

    def with_given(self, **settings: Any) -> TrainSettings:
        """The same with what was given, None meaning as it is. A budget that is given replaces the whole budget."""
        given = {key: value for key, value in settings.items() if value is not None}
        if {"steps", "minutes"} & set(given):
            given = {"steps": None, "minutes": None} | given
        return replace(self, **given)

    def to_dict(self) -> dict[str, Any]:
        """As JSON stores it."""
        return asdict(self)


@dataclass(frozen=True)
class Preset:
    """An architecture with the schedule that suits it.

    Attributes:
        flow: a flow's shape, or the details' when the preset grows a prior.
        bits: a channel that training sees; None: as the prior that is grown.
        settings: see there.
        image_size: side, in pixels.
    """

    flow: Architecture
    bits: int | None
    settings: TrainSettings
    image_size: int


# The first two build exactly the priors of these names that ship, each trained several times: see their cards.
PRESETS: dict[str, Preset] = {
    "celeba64": Preset(
        GlowConfig(64, _levels((6, 12, 16, 16, 8), (96, 192, 256, 256, 256)), position=True),
        5,
        TrainSettings(minutes=90),
        64,
    ),
    # Grown from a 64×64 prior (`train --grow celeba64`). Bits as the base's: with finer noise a line where a face is
    # smooth would lie hundreds of standard deviations out, and posteriors with it.
    "celeba128": Preset(
        DetailConfig(steps=6, width=64, context=32),
        None,
        TrainSettings(minutes=60, batch_size=16, learning_rate=1e-3),
        128,
    ),
    # Seconds on two cores: for tests, and for seeing whether images are read as they should be.
    "tiny32": Preset(
        GlowConfig(32, _levels((2, 2, 2), (16, 24, 32)), position=True),
        5,
        TrainSettings(steps=200, batch_size=16, learning_rate=2e-3, warmup_steps=20, ema=0.98),
        32,
    ),
}
