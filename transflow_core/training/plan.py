"""What a run is to be, decided from few words before anything is read: architecture, pixels, arithmetic, budget."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..flows import TrainableFlow
from ..flows.pixels import PixelConvention
from ..limits import choice
from ..prior import Prior, load_prior, pick_device
from .data import LEAST_HELD_OUT, ImageSet
from .density import bfloat16_is_faster
from .processes import Processes
from .settings import PRESETS, Architecture, TrainSettings
from .state import TrainingError, resumed_settings

__all__ = ["NETS", "Plan", "check_blend", "check_held_out", "plan", "trainable"]

NETS = ("auto", "float32", "bfloat16")
"""What coupling nets compute in; auto: whichever is faster here."""


@dataclass(frozen=True)
class Plan:
    """All that `train` is told but its images and its folder.

    Attributes:
        image_size: side of the images that it needs, in pixels.
        architecture, pixels, settings, start, grow, blend, half, resume: see `train`.

    Raises TrainingError for a blend that is no share, or of nothing to begin with.
    """

    image_size: int
    architecture: Architecture
    pixels: PixelConvention
    settings: TrainSettings
    start: Prior | None = None
    grow: Prior | None = None
    blend: float = 1.0
    half: bool = False
    resume: bool = False

    def __post_init__(self) -> None:
        check_blend(self.blend, self.start)

    def to_train(self) -> dict[str, Any]:
        """As keywords of `train`, whose images have their size."""
        return {name: value for name, value in vars(self).items() if name != "image_size"}


def check_blend(blend: float, start: Prior | None) -> None:
    """Raises TrainingError for a blend that is no share, or of nothing to begin with."""
    if not 0 < blend <= 1 or (blend < 1 and start is None):
        raise TrainingError("blend is a share in (0, 1], and below 1 there must be weights to begin with")


def trainable(prior: Prior) -> TrainableFlow:
    """A prior's flow. Raises TrainingError where it is of no kind that is trained here."""
    if not isinstance(prior.flow, TrainableFlow):
        raise TrainingError(f"{prior.name}: only a Glow, or one that was grown, can be trained on")
    return prior.flow


def check_held_out(images: ImageSet) -> None:
    """Raises TrainingError, before the first step, where typicality could not be measured after the last."""
    if len(images.held_out) < LEAST_HELD_OUT:
        raise TrainingError(
            f"typicality is measured on {LEAST_HELD_OUT} held-out images or more, not on {len(images.held_out)}: "
            "hold out a larger share, or a wider pattern"
        )


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
        blend, half, resume: see `train`.
        group: the processes that share the work; what is tried is tried by the first.
        settings: fields of `TrainSettings`, None meaning as it is.

    Raises ValueError for words that are none, for a preset that does not fit `grow`, and for a blend without `start`;
    TrainingError if there is no run to resume.

    Example:
        >>> plan("runs/mine", preset="tiny32", nets="float32", steps=5).image_size
        32
    """
    group = group or Processes(0, 1, pick_device("auto"))
    begun = load_prior(start, device="cpu") if start else None
    whole = begun if preset is None and grow is None else None
    larger = whole.image_size > 64 if whole else grow
    preset = choice(preset or ("celeba128" if larger else "celeba64"), "the preset", PRESETS)
    chosen = PRESETS[preset]
    choice(nets, "the nets", NETS)
    base = load_prior(grow, device="cpu") if grow else None
    if whole is not None:
        size, pixels = whole.image_size, whole.pixels
    elif chosen.bits is None:
        if base is None:
            raise TrainingError(f"the preset {preset} grows a prior: say which, with --grow")
        size, pixels = 2 * base.image_size, base.pixels
    elif base is not None:
        raise TrainingError(f"the preset {preset} is of a whole flow: it does not grow another")
    else:
        size, pixels = chosen.image_size, PixelConvention(bits=chosen.bits)
    half_nets = None if nets == "auto" else nets == "bfloat16"
    if half_nets is None and not resume:
        half_nets = bool(group.told(bfloat16_is_faster(group.device))[0])
    began = resumed_settings(Path(folder)) if resume else chosen.settings
    return Plan(
        size,
        chosen.flow if whole is None else trainable(whole).config,
        pixels if bits is None else replace(pixels, bits=bits),
        began.with_given(**settings, half_nets=half_nets),
        start=begun,
        grow=base,
        blend=blend,
        half=half,
        resume=resume,
    )
