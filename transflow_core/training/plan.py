"""A run decided: what was asked for, and what that leaves to the preset, to other priors or to this machine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ..flows import DetailConfig, FlowConfig, GlowConfig, LevelConfig, PixelConvention, TrainableFlow, WaveletConfig
from ..priors.catalogue import load_prior
from ..priors.prior import Prior
from .density import bfloat16_is_faster
from .processes import Processes
from .recipe import PRESETS, Preset, Train, TrainingError
from .state import resumed_settings

__all__ = ["Architecture", "Plan", "architecture", "plan", "trainable"]

Architecture = FlowConfig | DetailConfig
"""Of a whole flow, or of the details above one that another prior brings."""


@dataclass(frozen=True)
class Plan:
    """All that decides a run, but its images and its folder.

    Attributes:
        settings: schedule, budget and words, nothing left open.
        architecture: of a flow; or of the details of one, with `grow`.
        image_size: side of the images that it needs, in pixels.
        pixels: what training sees of the bytes: of a level, its own bits of noise.
        start: weights to begin with, of the same architecture; with `grow` only those of the details. A whole flow's
            levels that are not whitened over the images, with this noise, are scaled first.
        grow: the prior that a level is put on. It stays as it is: the level's likelihood does not depend on it, so that
            a run may also go on above another one of this size.

    Of `settings.blend`: the share of the trained weights in what is kept at the end; the rest are the weights that the
    run began with. Long training makes a flow ill-conditioned on images unlike its data; the mean of the two keeps most
    of the gain and of the robustness.

    References:
        | Robust fine-tuning of zero-shot models (Wortsman et al., 2022)
        | https://arxiv.org/abs/2109.01903
    """

    settings: Train
    architecture: Architecture
    image_size: int
    pixels: PixelConvention
    start: Prior | None = None
    grow: Prior | None = None

    def __post_init__(self) -> None:
        settings = self.settings
        settings.progress(0, 0)
        if self.start is None and (settings.blend < 1 or settings.checkerboard):
            raise TrainingError("--blend and --checkerboard need weights to begin with: say which, with --start")
        if self.grow is not None and settings.checkerboard:
            raise TrainingError("the checkerboard penalty is for a whole flow: it does not go with --grow")
        if isinstance(self.architecture, DetailConfig) != (self.grow is not None):
            raise TrainingError("a level of details needs a prior to grow, and only such a level grows one")

    @property
    def config(self) -> FlowConfig:
        """Of the whole flow."""
        if isinstance(self.architecture, DetailConfig):
            assert self.grow is not None
            return WaveletConfig(trainable(self.grow).config, self.architecture)
        return self.architecture


def trainable(prior: Prior) -> TrainableFlow:
    """A prior's flow. Raises TrainingError where it is of no kind that is trained here."""
    if not isinstance(prior.flow, TrainableFlow):
        raise TrainingError(f"{prior.name}: only a Glow, or one that was grown, can be trained on")
    return prior.flow


def architecture(preset: Preset) -> Architecture:
    """What a preset trains."""
    if not preset.image_size:
        return DetailConfig(**preset.shape)
    levels = zip(preset.shape["steps"], preset.shape["widths"], strict=True)
    return GlowConfig(preset.image_size, tuple(LevelConfig(*level) for level in levels), position=True)


def plan(asked: Train, folder: Path, group: Processes) -> Plan:
    """Decide what was not asked for.

    Args:
        folder: of the run; with `asked.resume` it has one, whose settings hold where none are given.
        group: the processes that share the work; what is tried is tried by the first.

    Raises ValueError for priors that cannot be read; TrainingError where words do not fit together, and if there is no
    run to resume.
    """
    if asked.resume:
        asked = asked.over(resumed_settings(folder))
    start, grow = (load_prior(source, device="cpu") if source else None for source in (asked.start, asked.grow))
    whole = start if asked.preset is None and grow is None else None
    preset = PRESETS[asked.preset or ("level" if grow else "celeba64")]
    settings = asked.over({**preset.settings, "bits": whole.pixels.bits} if whole else preset.settings)
    if settings.nets == "auto":
        faster = bool(group.told(bfloat16_is_faster(group.device))[0])
        settings = settings.replace(nets="bfloat16" if faster else "float32")
    pixels = PixelConvention()
    if whole is not None:
        shape, size, pixels = trainable(whole).config, whole.image_size, whole.pixels
    elif grow is not None:
        shape, size, pixels = architecture(preset), 2 * grow.image_size, grow.pixels
    else:
        shape, size = architecture(preset), preset.image_size
    return Plan(settings, shape, size, replace(pixels, bits=settings.bits or 8), start, grow)
