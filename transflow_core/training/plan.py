"""A run decided, by what was asked for, the preset, other priors or this machine; and where it stands."""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ..checkpoints.native import Size
from ..flows import PixelConvention
from ..flows.glow import GlowConfig, LevelConfig
from ..flows.wavelet import DetailConfig, FlowConfig, ScaleConfig, TrainableFlow, WaveletConfig, unrolled
from ..priors.catalogue import load_prior
from ..priors.prior import Prior
from .recipe import Train, TrainingError

STATE = "training.pt"
_FORMAT = "transflow-training 3"
_USUAL = {"learning_rate": 8e-4, "warmup_steps": 200, "ema": 0.999, "blend": 1.0, "half": False}

PRESETS: dict[str, tuple[GlowConfig | DetailConfig, dict[str, Any]]] = {
    # The base of what ships, trained several times: see its card.
    "celeba64": (
        GlowConfig(64, tuple(map(LevelConfig, (6, 12, 16, 16, 8), (96, 192, 256, 256, 256))), position=True),
        {**_USUAL, "bits": 5, "minutes": 90.0, "batch_size": 32},
    ),
    # 8 bits: the noise of 5 is larger than most of what is finer than 64 pixels, and would be drawn as grain.
    # The bound keeps a line across a smooth cheek from being hundreds of standard deviations out. The U-Net holds four
    # in five of the level's numbers, and takes a tenth of the time: most of them are at an eighth of the side and less.
    "level": (
        DetailConfig(
            steps=6,
            width=64,
            context=32,
            prior_cap=3.0,
            position_side=32,
            scales=tuple(map(ScaleConfig, (0, 1, 1, 2), (32, 64, 128, 192))),
        ),
        {**_USUAL, "bits": 8, "minutes": 240.0, "batch_size": 4, "learning_rate": 1e-3},
    ),
    # Seconds on two cores: for tests, and for seeing whether images are read as they should be.
    "tiny32": (
        GlowConfig(32, tuple(map(LevelConfig, (2, 2, 2), (16, 24, 32))), position=True),
        {**_USUAL, "bits": 5, "steps": 200, "batch_size": 16, "learning_rate": 2e-3, "warmup_steps": 20, "ema": 0.98},
    ),
}
"""Architectures with the settings that suit them; one of details is a level on another prior."""


@dataclass(frozen=True)
class Plan:
    """All that decides a run, but its images and its folder.

    Attributes:
        settings: schedule, budget and words, nothing left open. `settings.blend` is the share of the trained weights in
            what is kept at the end; the rest are those at the start. Long training makes a flow ill-conditioned on
            images unlike its data; the mean of the two keeps most of the gain and of the robustness.
        config: of the whole flow.
        pixels: what training sees of the bytes: of a level, its own bits of noise.
        start: weights to begin with, of the same architecture; with `grow` only those of its levels above that one.
        grow: the prior that a level is put on. It stays as it is, and may be another one when the run goes on.

    References:
        | Robust fine-tuning of zero-shot models (Wortsman et al., 2022)
        | https://arxiv.org/abs/2109.01903
    """

    settings: Train
    config: FlowConfig
    pixels: PixelConvention
    start: Prior | None = None
    grow: Prior | None = None

    @property
    def learned(self) -> FlowConfig | DetailConfig:
        """What the run trains: the whole flow, or with `grow` its finest details."""
        return self.config if self.grow is None or isinstance(self.config, GlowConfig) else self.config.details

    @property
    def coarser(self) -> dict[int, Size]:
        """The smaller priors within what is begun: all that `grow` holds, and what `start` holds above it.

        What was measured on the latter was measured above another prior: it is left out.
        """
        if self.grow is None:
            return dict(self.start.coarser) if self.start else {}
        above = self.start.coarser.items() if self.start else ()
        found = {side: replace(size, typicality=None) for side, size in above if side > self.grow.image_size}
        own = Size(self.grow.pixels, self.grow.name, self.grow.typicality, words_of(self.grow))
        return {**found, self.grow.image_size: own, **self.grow.coarser}


def words_of(prior: Prior) -> dict[str, str]:
    """What is said of a prior, but the format that it was read from."""
    return {key: text for key, text in prior.metadata.items() if key != "format"}


def trainable(prior: Prior) -> TrainableFlow:
    """A prior's flow. Raises TrainingError where it is of no kind that is trained here."""
    if not isinstance(prior.flow, TrainableFlow):
        raise TrainingError(f"{prior.name}: only a Glow, or one that was grown, can be trained on")
    return prior.flow


def bfloat16_is_faster(device: torch.device) -> bool:
    """Whether a device multiplies matrices of bfloat16 in tiles: any new GPU, or a processor with AMX."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    tiles = getattr(torch.cpu, "get_capabilities", dict)().get("amx_bf16", False)  # a torch that cannot tell: no
    return device.type == "cpu" and tiles


def plan(asked: Train, folder: Path, device: torch.device) -> Plan:
    """Decide what was not asked for, by the run in the folder (with `asked.resume`), the preset, or the device.

    Raises ValueError for priors that cannot be read; TrainingError where words do not fit together, and if the folder
    has a run already, or none to resume.
    """
    if asked.resume:
        asked = asked.over(read_state(folder)["settings"])
    elif any((folder / name).is_file() for name in (STATE, "model.safetensors")):
        raise TrainingError(f"{folder} has a run already: resume it, or choose another folder")
    start, grow = (load_prior(source, device="cpu") if source else None for source in (asked.start, asked.grow))
    if start is None and ((asked.blend or 1) < 1 or asked.checkerboard):
        raise TrainingError("--blend and --checkerboard need weights to begin with: say which, with --start")
    if grow is not None and asked.checkerboard:
        raise TrainingError("the checkerboard penalty is for a whole flow: it does not go with --grow")
    shape, usual = PRESETS[asked.preset or ("level" if grow else "celeba64")]
    if isinstance(shape, DetailConfig) != (grow is not None):
        raise TrainingError("a level of details needs a prior to grow, and only such a level grows one")
    pixels = PixelConvention()
    if grow is not None and isinstance(shape, DetailConfig):
        levels, shape, pixels = [shape], trainable(grow).config, grow.pixels
        if start is not None and asked.preset is None:
            above = max(1, start.image_size // grow.image_size).bit_length() - 1
            levels = [one.details for one in unrolled(trainable(start).config)[:-1][:above]]
            usual = usual | {"bits": start.pixels.bits}
            if not levels:
                raise TrainingError(f"{start.name} has no level above {grow.name}")
        for level in reversed(levels):
            shape = WaveletConfig(shape, level)
    elif start is not None and asked.preset is None:
        shape, pixels = trainable(start).config, start.pixels
        usual = usual | {"bits": pixels.bits}
    assert not isinstance(shape, DetailConfig)  # that is part of a whole now
    if shape.channels != 3:
        raise TrainingError(f"a run reads colour images, and the prior has images of {shape.channels} channel")
    settings = asked.over(usual)
    settings.progress(0, 0)
    if settings.nets == "auto":
        settings = settings.replace(nets="bfloat16" if bfloat16_is_faster(device) else "float32")
    made = Plan(settings, shape, replace(pixels, bits=settings.bits or 8), start, grow)
    if start is not None:
        begun = trainable(start).config
        theirs = getattr(begun, "details", None) if grow is not None else begun
        if theirs != made.learned or begun.image_size != shape.image_size:
            raise TrainingError(f"{start.name} has another architecture than the one to be trained")
    return made


@dataclass
class Counters:
    """Where a run stands. The randomness of a step follows from the seed and the step's number alone.

    Attributes:
        step: steps taken, skipped ones included.
        images: images seen.
        seconds: of the run so far, without the time between a stop and a resume.
        skipped: steps whose gradient was not finite.
        measured: a dict for each measurement on held-out images.
        levels: where the bits were at the last one (see `bits_per_level`).
        finished: whether the budget is used.
    """

    step: int = 0
    images: int = 0
    seconds: float = 0.0
    skipped: int = 0
    measured: list[dict[str, float]] = field(default_factory=list)
    levels: list[dict[str, Any]] = field(default_factory=list)
    finished: bool = False


def write_state(folder: Path, state: dict[str, Any]) -> None:
    """Write a run's checkpoint beside the one of the folder and move it there: a reader sees either of them whole."""
    written = folder / "training.writing"
    with written.open("wb") as file:
        torch.save({"format": _FORMAT, **state}, file)
        file.flush()
        os.fsync(file.fileno())
    written.replace(folder / STATE)


def read_state(folder: Path) -> dict[str, Any]:
    """The checkpoint in a folder. Raises TrainingError if there is none, or whatever is wrong with it."""
    path = folder / STATE
    if not path.is_file():
        raise TrainingError(f"{folder} has no run to go on with")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # an unpickler has many ways to fail
        raise TrainingError(f"{path}: not a readable checkpoint of a training run ({error})") from error
    if not isinstance(state, dict) or state.get("format") != _FORMAT:
        raise TrainingError(f"{path}: no training run of this version, which alone could go on with it")
    return state
