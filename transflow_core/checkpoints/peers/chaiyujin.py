"""chaiyujin/glow-pytorch, and the layout that it shares with its descendants.

Its pixels are `u / 255` with Gaussian noise of standard deviation 1/256 in training; encoding adds none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...flows import CouplingConfig, Glow, LevelConfig
from ...pixels import PixelConvention
from ..base import CheckpointError, Tensors
from .folding import Assembly, Net, Rotation, after_norm, coupling_kind, glow_config, halves_from_interleaved, top_maps
from .format import Format
from .options import LABEL, pick_label

__all__ = ["CHAIYUJIN", "PortNames", "read_port"]


@dataclass(frozen=True)
class PortNames:
    """What a port of OpenAI's code calls its tensors.

    Args:
        net: the coupling net, a Sequential whose convolutions are 0, 2 and 4.
        conv: what stands between a layer and its `weight` and `bias`.
        factors: P, L, U, sign and log_diag of a factorised 1×1 convolution.
        top: the layer of the learned top prior.
    """

    net: str
    conv: str
    factors: tuple[str, str, str, str, str]
    top: str


def read_port(
    tensors: Tensors, settings: Mapping[str, Any], names: PortNames, pixels: PixelConvention
) -> tuple[Glow, PixelConvention]:
    """Read a port: `flow.layers.{j}` counts squeezes, steps and splits in one row; the top prior stands outside."""
    where = tensors.where
    plan = _plan(tensors)
    levels, kinds, first_channels = [], set(), 0
    for steps, _ in plan:
        step = f"flow.layers.{steps[0]}."
        channels = tensors.shape(step + "actnorm.bias", 1, -1, 1, 1)[1]
        width = tensors.shape(f"{step}{names.net}.0.{names.conv}weight", -1, channels // 2, 3, 3)[0]
        out = tensors.shape(f"{step}{names.net}.4.{names.conv}weight", -1, width, 3, 3)[0]
        kinds.add(coupling_kind(out, channels, where))
        levels.append(LevelConfig(len(steps), width))
        first_channels = first_channels or channels
    if len(kinds) != 1:
        raise CheckpointError(f"{where}: its couplings are of different kinds: {sorted(kinds)}")
    affine = kinds == {"affine"}
    # prior_h is all zeros; only its height says anything (how many rows it has depends on the training batch).
    _, _, height, width = tensors.shape("prior_h", -1, -1, -1, -1)
    if height != width:
        raise CheckpointError(f"{where}: its images are not square: the top latent is {height}×{width}")
    config = glow_config(
        where,
        height << len(levels),
        first_channels // 4,
        levels,
        CouplingConfig(kind="affine" if affine else "additive", scale="sigmoid"),
    )
    channels = config.level_shapes[-1][0]
    tensors.shape("prior_h", -1, 2 * channels, height, height)
    assembly = Assembly(config, tensors)
    for i, (steps, split) in enumerate(plan):
        channels, level = config.level_shapes[i][0], config.levels[i]
        for k, j in enumerate(steps):
            _read_step(tensors, assembly, names, (i, k, j), channels, level.width, affine)
        if split is not None:
            conv, order = f"flow.layers.{split}.conv.", halves_from_interleaved(channels)
            weight = tensors.take(f"{conv}{names.conv}weight", channels, channels // 2, 3, 3)[order]
            bias = tensors.take(f"{conv}{names.conv}bias", channels)[order]
            assembly.split(i, weight, bias, 3 * tensors.take(conv + "logs", channels, 1, 1).flatten()[order])
    assembly.top(*_top(tensors, names, settings, config.level_shapes[-1]))
    tensors.refuse_unknown([r"^prior_h$", r"^project_(class|ycond)\.", r"^learn_top(_fn)?\..*weight$"])
    return assembly.finish(), pixels


def _plan(tensors: Tensors) -> list[tuple[list[int], int | None]]:
    """For each level the indices of its steps, and that of its split; CheckpointError if the row has a hole."""
    steps = set(tensors.numbers(r"flow\.layers\.(\d+)\.actnorm\.bias$"))
    splits = tensors.numbers(r"flow\.layers\.(\d+)\.conv\.logs$")
    plan, start = [], 1  # layer 0 is a squeeze, as is the one after each split
    for split in splits:
        plan.append((list(range(start, split)), split))
        start = split + 2
    plan.append((list(range(start, max(steps, default=0) + 1)), None))
    if {j for level, _ in plan for j in level} != steps or any(not level for level, _ in plan):
        raise CheckpointError(f"{tensors.where}: its layers are not squeeze, steps and split in turn")
    return plan


def _read_step(
    tensors: Tensors,
    assembly: Assembly,
    names: PortNames,
    where: tuple[int, int, int],
    channels: int,
    width: int,
    affine: bool,
) -> None:
    i, k, j = where
    step, half = f"flow.layers.{j}.", channels // 2
    bias, log_scale = (tensors.take(f"{step}actnorm.{n}", 1, channels, 1, 1).flatten() for n in ("bias", "logs"))
    rotate = step + "invconv."
    if rotate + "weight" in tensors:
        rotation = Rotation.from_matrix(tensors.take(rotate + "weight", channels, channels), tensors.where)
    elif rotate + names.factors[0] in tensors:
        rotation = Rotation.from_factors(tensors, [rotate + n for n in names.factors], channels)
    else:
        raise CheckpointError(
            f"{tensors.where}: {step} has no 1×1 convolution: a flow that shuffles or reverses its channels does not "
            "store in which order, so it cannot be read"
        )

    def normed(index: int, *shape: int) -> tuple[Tensor, Tensor]:
        layer = f"{step}{names.net}.{index}."
        shift, logs = (tensors.take(f"{layer}actnorm.{n}", 1, width, 1, 1).flatten() for n in ("bias", "logs"))
        return after_norm(tensors.take(f"{layer}{names.conv}weight", *shape), None, shift, logs)

    out, last = (channels if affine else half), f"{step}{names.net}.4."
    net = Net(
        conv_in=normed(0, width, half, 3, 3),
        conv_mid=normed(2, width, width, 1, 1),
        conv_out=(
            tensors.take(f"{last}{names.conv}weight", out, width, 3, 3),
            tensors.take(f"{last}{names.conv}bias", out),
        ),
        log_gain=tensors.take(last + "logs", out, 1, 1).flatten(),
    )
    assembly.step(i, k, bias, log_scale, rotation, net.reordered(halves_from_interleaved(out)) if affine else net)


def _top(
    tensors: Tensors, names: PortNames, settings: Mapping[str, Any], shape: tuple[int, int, int]
) -> tuple[Tensor, Tensor]:
    channels, height, width = shape
    if f"{names.top}.logs" in tensors:
        bias = tensors.take(f"{names.top}.{names.conv}bias", 2 * channels)
        log_gain = 3 * tensors.take(f"{names.top}.logs", 2 * channels, 1, 1).flatten()
        maps = torch.cat(top_maps(None, bias, log_gain, (height, width)))
    else:
        maps = torch.zeros(2 * channels, height, width, dtype=torch.float64)
    if "project_ycond.weight" in tensors:
        classes = tensors.shape("project_ycond.weight", 2 * channels, -1)[1]
        label = pick_label(settings["label"], classes, tensors.where)
        weight = tensors.take("project_ycond.weight", 2 * channels, classes)[:, label]
        row = weight + tensors.take("project_ycond.bias", 2 * channels)
        maps = maps + (row * (3 * tensors.take("project_ycond.logs", 2 * channels)).exp())[:, None, None]
    mean, log_std = maps.chunk(2)
    return mean, log_std


_NAMES = PortNames(net="f", conv="", factors=("p", "l", "u", "sign_s", "log_s"), top="learn_top")


def _read(tensors: Tensors, settings: Mapping[str, Any]) -> tuple[Glow, PixelConvention]:
    return read_port(tensors, settings, _NAMES, PixelConvention(8, offset=0.5 / 255, scale=256 / 255, noise="gaussian"))


CHAIYUJIN = Format(
    "chaiyujin/glow-pytorch",
    (r"flow\.layers\.1\.f\.0\.weight$", r"flow\.layers\.1\.f\.4\.logs$", r"prior_h$"),
    (LABEL,),
    _read,
)
