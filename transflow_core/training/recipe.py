"""What is asked of a training run. Nothing here needs torch: `--help` is there at once."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from ..recipes import Input, Recipe, parameter

DECAY = 0.45
"""The share of the budget over which the learning rate falls."""

_BUDGET = ("steps", "minutes")
_FREE = (*_BUDGET, "every_minutes", "align", "held_out", "blend", "half", "resume")  # of images: see their digest
_FREE += ("preset", "grow", "start", "name", "data_words", "licence")  # of priors: see their fingerprints


class TrainingError(ValueError):
    """A run that cannot start, go on, or be continued. The message says what to do."""


class Train(Recipe):
    """Train a prior of your own images. Ctrl-C saves; --resume continues. With torchrun, processes share each batch.

    The learning rate rises over the steps of warm-up, stays, and falls along half a cosine over the last 45 % of the
    budget. The budget is steps or minutes, whichever ends first; with minutes the schedule follows the clock. What is
    left out is the preset's. With --resume what is left out, or has its default, is the run's own.
    """

    inputs: ClassVar[dict[str, Input]] = {"data": Input("A folder or a zip of images.", "archive")}
    output = "prior"
    formats = ("folder",)

    preset: Literal["celeba64", "level", "tiny32"] | None = parameter(
        None, "celeba64; level, with --grow; or tiny32 (seconds). By default celeba64 or level."
    )
    grow: str | None = parameter(None, "A prior to put a level on, of images twice as large. It stays as it is.")
    start: str | None = parameter(None, "Begin with this prior's weights; with --grow, with its levels above that one.")
    minutes: float | None = parameter(None, "Budget in minutes; the schedule follows it.", gt=0, allow_inf_nan=False)
    steps: int | None = parameter(None, "Budget in steps. Such a run repeats to the bit. 0 trains nothing.", ge=0)
    batch_size: int | None = parameter(None, "Images a step, over all processes.", ge=1)
    learning_rate: float | None = parameter(None, "Adam's, after warm-up.", gt=0, allow_inf_nan=False)
    warmup_steps: int | None = parameter(None, "Steps over which the learning rate rises.", ge=0)
    ema: float | None = parameter(None, "Decay a step of the averaged weights, which are kept.", ge=0, lt=1)
    bits: int | None = parameter(None, "Bits a channel in training.", ge=1, le=8)
    condition_noise: float = parameter(
        0.01, "With --grow: most noise on what the level is given, so that it bears samples. 1 is white.", ge=0, le=1
    )
    nets: Literal["auto", "float32", "bfloat16"] = parameter("auto", "What coupling nets compute in; auto: the faster.")
    mirror: bool = parameter(True, "Mirror each image with probability one half.")
    align: Literal["never", "auto", "always"] = parameter(
        "never", "never: images are aligned already; auto: align faces; always: only faces."
    )
    held_out: str = parameter("0.02", "Not trained on: a share of the files, or names such as 'val*/*'.")
    checkerboard: float = parameter(0.0, "With --start: weight of the checkerboard penalty. 300 works.", ge=0)
    blend: float | None = parameter(
        None,
        "With --start: the share of the trained weights, all by default. Below 1, unusual images encode more steadily.",
        gt=0,
        le=1,
    )
    seed: int = parameter(0, "Of the weights, the order of the images, the noise and the mirroring.", ge=0)
    every_minutes: float = parameter(5.0, "Between measurements, sheets and checkpoints.", gt=0)
    half: bool | None = parameter(None, "Store the nets' weights in float16: half the size.")
    name: str = parameter("", "The prior's name; by default the folder's.")
    data_words: str = parameter("", "For the card: what the images are.")
    licence: str = parameter("", "For the card: the terms of use.")
    resume: bool = parameter(False, "Continue the run in the folder. Its budget, --blend, --half and words may change.")

    def over(self, values: Mapping[str, Any]) -> "Train":
        """The same, with these values where nothing else was asked for. A budget replaces the whole budget."""
        given = self.changed()
        rest = {name: value for name, value in values.items() if name not in _BUDGET or not given.keys() & set(_BUDGET)}
        return type(self).checked(rest | given)

    def fixed(self) -> dict[str, Any]:
        """What must be equal for a run to go on."""
        return self.model_dump(exclude=set(_FREE))

    def progress(self, step: int, seconds: float) -> float:
        """How much of the budget is used, from 0; 1 and more is the end. TrainingError if there is no budget."""
        parts = [] if self.steps is None else [step / self.steps if self.steps else 1.0]
        parts += [seconds / (60 * self.minutes)] if self.minutes else []
        if not parts:
            raise TrainingError("give a budget: steps, minutes or both")
        return max(parts)

    def rate(self, step: int, progress: float) -> float:
        """The learning rate of a step, counted from 0; at the end of the budget a hundredth of the full one.

        Example:
            >>> settings = Train(steps=100, learning_rate=1.0, warmup_steps=10)
            >>> [round(settings.rate(step, step / 100), 3) for step in (0, 9, 50, 100)]
            [0.1, 1.0, 1.0, 0.01]
        """
        warm = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        falling = min(1.0, max(0.0, (progress - (1 - DECAY)) / DECAY))
        return (self.learning_rate or 0.0) * warm * (0.01 + 0.99 * (1 + math.cos(math.pi * falling)) / 2)
