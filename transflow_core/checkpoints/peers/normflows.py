"""normflows' multi-scale flow of GlowBlocks: z runs coarse first, and its forward direction is our inverse.

A file does not tell how the blocks were built, so these are taken to be as normflows builds them: split mode
"channel", plain ReLUs (leaky=0) and no transform of the input.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...flows import CouplingConfig, Glow, LevelConfig
from ...pixels import PixelConvention
from ..base import CheckpointError, Tensors
from .folding import Assembly, Net, Rotation, coupling_kind, glow_config, halves_from_interleaved
from .format import Format
from .options import BITS, IMAGE_SIZE, LABEL, Setting, pick_label

__all__ = ["NORMFLOWS"]

_SCALES = {"sigmoid": "sigmoid", "sigmoid_inv": "inverse-sigmoid", "exp": "exponential"}


def _read(tensors: Tensors, settings: Mapping[str, Any]) -> tuple[Glow, PixelConvention]:
    where = tensors.where
    count = len(tensors.numbers(r"flows\.(\d+)\."))
    levels, kinds, first_channels = [], set(), 0
    for i in reversed(range(count)):  # theirs run coarse to fine
        steps = len(tensors.numbers(rf"flows\.{i}\.(\d+)\.flows\."))
        block = f"flows.{i}.0.flows."
        channels = tensors.shape(block + "2.s", 1, -1, 1, 1)[1]
        first, _, last = _convolutions(tensors, block)
        width = tensors.shape(first + "weight", -1, channels // 2, 3, 3)[0]
        kinds.add(coupling_kind(tensors.shape(last + "weight", -1, width, 3, 3)[0], channels, where))
        levels.append(LevelConfig(steps, width))
        first_channels = first_channels or channels
    if len(kinds) != 1:
        raise CheckpointError(f"{where}: its couplings are of different kinds: {sorted(kinds)}")
    affine = kinds == {"affine"}
    coupling = CouplingConfig(kind="affine" if affine else "additive", scale=_SCALES[settings["scale_map"]])
    config = glow_config(where, settings["image_size"], first_channels // 4, levels, coupling)
    assembly = Assembly(config, tensors)
    negated = affine and settings["scale_map"] == "exp"  # their exp scales in the sampling direction
    for i, level in enumerate(config.levels):
        channels, height, width = config.level_shapes[i]
        theirs = count - 1 - i
        for k in range(level.steps):
            block = f"flows.{theirs}.{level.steps - 1 - k}.flows."
            _read_step(tensors, assembly, (i, k), block, channels, level.width, affine, negated)
        if theirs:
            mean, log_std = _base(tensors, theirs, settings["label"], (channels // 2, height, width), whole=False)
            # Unconditional, so the split's convolution has no weight and its bias is all.
            weight = torch.zeros(channels, channels // 2, 3, 3, dtype=torch.float64)
            assembly.split(i, weight, torch.cat([mean, log_std]), torch.zeros(channels, dtype=torch.float64))
        else:
            mean, log_std = _base(tensors, theirs, settings["label"], (channels, height, width), whole=True)
            assembly.top(mean, log_std)
    tensors.refuse_unknown([r"\.data_dep_init_done$", r"\.flows\.1\.eye$"])
    return assembly.finish(), PixelConvention(bits=settings["bits"], offset=0.0)


def _convolutions(tensors: Tensors, block: str) -> tuple[str, str, str]:
    """The three convolutions of a coupling net; with `net_actnorm`, actnorms stand between them."""
    net = block + "0.flows.1.param_map.net."
    indices = (0, 3, 6) if f"{net}6.weight" in tensors else (0, 2, 4)
    first, middle, last = (f"{net}{index}." for index in indices)
    return first, middle, last


def _norm(tensors: Tensors, name: str, channels: int) -> tuple[Tensor, Tensor]:
    done = name + "data_dep_init_done"
    if done in tensors and not tensors.flag(done):
        raise CheckpointError(f"{tensors.where}: its actnorm was never initialised: this model has not been trained")
    s, t = (tensors.take(name + n, 1, channels, 1, 1).flatten() for n in "st")
    return s, t


def _read_step(
    tensors: Tensors,
    assembly: Assembly,
    where: tuple[int, int],
    block: str,
    channels: int,
    width: int,
    affine: bool,
    negated: bool,
) -> None:
    half = channels // 2
    s, t = _norm(tensors, block + "2.", channels)  # sampling: z exp(s) + t
    rotate = block + "1."
    if rotate + "W" in tensors:
        rotation = Rotation.from_matrix(tensors.take(rotate + "W", channels, channels), tensors.where)
    else:
        names = [rotate + name for name in ("P", "L", "U", "sign_S", "log_S")]
        rotation = Rotation.from_factors(tensors, names, channels)
    first, middle, last = _convolutions(tensors, block)

    def conv(name: str, *shape: int) -> tuple[Tensor, Tensor]:
        weight = tensors.take(name + "weight", *shape)
        if name + "bias" in tensors:
            return weight, tensors.take(name + "bias", width)
        prefix, _, index = name[:-1].rpartition(".")
        log_scale, shift = _norm(tensors, f"{prefix}.{int(index) + 1}.actNorm.", width)
        return weight * log_scale.exp()[:, None, None, None], shift

    out = channels if affine else half
    net = Net(
        conv_in=conv(first, width, half, 3, 3),
        conv_mid=conv(middle, width, width, 1, 1),
        conv_out=(tensors.take(last + "weight", out, width, 3, 3), tensors.take(last + "bias", out)),
        log_gain=torch.zeros(out, dtype=torch.float64),
    )
    # They subtract the shift on the way to z, where we add it.
    signs = -torch.ones(out, dtype=torch.float64)
    if affine:
        signs[half:] = -1 if negated else 1
    order = halves_from_interleaved(out) if affine else torch.arange(out)
    assembly.step(*where, -t, -s, rotation, net.reordered(order, signs))


def _base(
    tensors: Tensors, level: int, label: int | None, shape: tuple[int, int, int], whole: bool
) -> tuple[Tensor, Tensor]:
    """Mean and log standard deviation of a level's base distribution: maps (C, H, W), or (C,) unless `whole`."""
    base, channels = f"q0.{level}.", shape[0]
    glow_base = base + "loc_logs" in tensors
    sizes = (1, channels, 1, 1) if glow_base else (1, *shape)
    mean, log_std = (tensors.take(base + name, *sizes)[0] for name in ("loc", "log_scale"))
    if glow_base:
        mean = mean * (3 * tensors.take(base + "loc_logs", *sizes)[0]).exp()
        log_std = log_std * (3 * tensors.take(base + "log_scale_logs", *sizes)[0]).exp()
    if base + "loc_cc" in tensors:
        classes = tensors.shape(base + "loc_cc", -1, channels)[0]
        label = pick_label(label, classes, tensors.where)
        mean = mean + tensors.take(base + "loc_cc", classes, channels)[label][:, None, None]
        log_std = log_std + tensors.take(base + "log_scale_cc", classes, channels)[label][:, None, None]
    if whole:
        return mean.expand(shape), log_std.expand(shape)
    flat = mean.flatten(1), log_std.flatten(1)
    if any((m - m[:, :1]).abs().max() > 0 for m in flat):
        raise CheckpointError(
            f"{tensors.where}: {base}loc differs from pixel to pixel; only the coarsest level's base may do so"
        )
    return flat[0][:, 0], flat[1][:, 0]


NORMFLOWS = Format(
    "normflows (GlowBlock, multi-scale)",
    (r"flows\.0\.0\.flows\.0\.flows\.1\.param_map\.net\.0\.weight$", r"q0\.0\.loc$"),
    (
        IMAGE_SIZE,
        BITS,
        LABEL,
        Setting("scale_map", "the coupling's scale map", str, default="sigmoid", choices=tuple(_SCALES)),
    ),
    _read,
)
