"""rosinality/glow-pytorch: actnorm with a signed scale, log-scale before shift, last convolutions padded with ones."""

from collections.abc import Mapping
from typing import Any

import torch

from ...flows import CouplingConfig, Glow, LevelConfig
from ...pixels import PixelConvention
from ..base import CheckpointError, Tensors
from .folding import Assembly, Net, Rotation, coupling_kind, glow_config, log_of_scale, rim_weight, top_maps, with_rim
from .format import Format
from .options import BITS, IMAGE_SIZE

__all__ = ["ROSINALITY"]


def _read(tensors: Tensors, settings: Mapping[str, Any]) -> tuple[Glow, PixelConvention]:
    where = tensors.where
    levels, kinds, first_channels = [], set(), None
    for i in range(len(tensors.numbers(r"blocks\.(\d+)\."))):
        steps = len(tensors.numbers(rf"blocks\.{i}\.flows\.(\d+)\."))
        step = f"blocks.{i}.flows.0."
        channels = tensors.shape(step + "actnorm.loc", 1, -1, 1, 1)[1]
        width = tensors.shape(step + "coupling.net.0.weight", -1, channels // 2, 3, 3)[0]
        out = tensors.shape(step + "coupling.net.4.conv.weight", -1, width, 3, 3)[0]
        kinds.add(coupling_kind(out, channels, where))
        levels.append(LevelConfig(steps, width))
        first_channels = first_channels or channels
    if len(kinds) != 1:
        raise CheckpointError(f"{where}: its couplings are of different kinds: {sorted(kinds)}")
    affine = kinds == {"affine"}
    config = glow_config(
        where,
        settings["image_size"],
        (first_channels or 0) // 4,
        levels,
        CouplingConfig(kind="affine" if affine else "additive", scale="sigmoid"),
        edge=True,
    )
    assembly = Assembly(config, tensors)
    for i, (level, (channels, *size)) in enumerate(zip(config.levels, config.level_shapes, strict=True)):
        for k in range(level.steps):
            _read_step(tensors, assembly, i, k, channels, level.width, affine)
        last = i == len(config.levels) - 1
        inner, outer = (channels, 2 * channels) if last else (channels // 2, channels)
        prior = f"blocks.{i}.prior."
        weight = rim_weight(tensors.take(prior + "conv.weight", outer, inner, 3, 3))
        bias = tensors.take(prior + "conv.bias", outer)
        log_gain = 3 * tensors.take(prior + "scale", 1, outer, 1, 1).flatten()
        if last:
            assembly.top(*top_maps(weight, bias, log_gain, (size[0], size[1])))
        else:
            assembly.split(i, weight, bias, log_gain)
    tensors.refuse_unknown([r"\.initialized$", r"\.invconv\.(u_mask|l_mask|l_eye)$"])
    return assembly.finish(), PixelConvention(bits=settings["bits"], offset=0.5)


def _read_step(tensors: Tensors, assembly: Assembly, i: int, k: int, channels: int, width: int, affine: bool) -> None:
    step, half = f"blocks.{i}.flows.{k}.", channels // 2
    if step + "actnorm.initialized" in tensors and not tensors.flag(step + "actnorm.initialized"):
        raise CheckpointError(f"{tensors.where}: its actnorm was never initialised: this model has not been trained")
    log_scale, signs = log_of_scale(tensors.take(step + "actnorm.scale", 1, channels, 1, 1).flatten(), tensors.where)
    # Whether W is factorised differs from level to level: the peer's last block forgets its `--no_lu`.
    if step + "invconv.weight" in tensors:
        matrix = tensors.take(step + "invconv.weight", channels, channels, 1, 1)[:, :, 0, 0]
        rotation = Rotation.from_matrix(matrix, tensors.where)
    else:
        names = [f"{step}invconv.{name}" for name in ("w_p", "w_l", "w_u", "s_sign", "w_s")]
        rotation = Rotation.from_factors(tensors, names, channels)
    out, net = (channels if affine else half), step + "coupling.net."
    folded = Net(
        conv_in=(with_rim(tensors.take(net + "0.weight", width, half, 3, 3)), tensors.take(net + "0.bias", width)),
        conv_mid=(tensors.take(net + "2.weight", width, width, 1, 1), tensors.take(net + "2.bias", width)),
        conv_out=(
            rim_weight(tensors.take(net + "4.conv.weight", out, width, 3, 3)),
            tensors.take(net + "4.conv.bias", out),
        ),
        log_gain=tensors.take(net + "4.scale", 1, out, 1, 1).flatten(),
    )
    if affine:  # log s, t -> t, log s
        folded = folded.reordered(torch.arange(out).roll(half))
    bias = tensors.take(step + "actnorm.loc", 1, channels, 1, 1).flatten()
    assembly.step(i, k, bias, log_scale, rotation.after_signs(signs), folded)


ROSINALITY = Format(
    "rosinality/glow-pytorch",
    (r"blocks\.0\.flows\.0\.actnorm\.loc$", r"blocks\.0\.prior\.conv\.weight$"),
    (IMAGE_SIZE, BITS),
    _read,
)
