"""OpenAI's Glow by its TensorFlow variables' names: factor-3 logs everywhere, rim channels, `z @ W`."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...flows import CouplingConfig, Glow, LevelConfig
from ...pixels import PixelConvention
from ..base import CheckpointError, Tensors
from ..peers.folding import (
    Assembly,
    Net,
    Rotation,
    after_norm,
    coupling_kind,
    glow_config,
    halves_from_interleaved,
    top_maps,
)
from ..peers.format import Format
from ..peers.options import BITS, IMAGE_SIZE, LABEL, pick_label

__all__ = ["OPENAI"]


def _read(tensors: Tensors, settings: Mapping[str, Any]) -> tuple[Glow, PixelConvention]:
    where = tensors.where
    levels, kinds, first_channels = [], set(), 0
    for i in range(len(tensors.numbers(r"model/(\d+)/\d+/"))):
        steps = len(tensors.numbers(rf"model/{i}/(\d+)/"))
        step = f"model/{i}/0/"
        channels = tensors.shape(step + "actnorm_center/b", 1, 1, 1, -1)[3]
        width = tensors.shape(step + "f1/l_1/W", 3, 3, channels // 2 + 1, -1)[3]
        kinds.add(coupling_kind(tensors.shape(step + "f1/l_last/W", 3, 3, width + 1, -1)[3], channels, where))
        levels.append(LevelConfig(steps, width))
        first_channels = first_channels or channels
    if len(kinds) != 1:
        raise CheckpointError(f"{where}: its couplings are of different kinds: {sorted(kinds)}")
    affine = kinds == {"affine"}
    config = glow_config(
        where,
        settings["image_size"],
        first_channels // 4,
        levels,
        CouplingConfig(kind="affine" if affine else "additive", scale="sigmoid"),
        edge=True,
    )
    assembly = Assembly(config, tensors)
    for i, level in enumerate(config.levels):
        channels = config.level_shapes[i][0]
        for k in range(level.steps):
            _read_step(tensors, assembly, i, k, channels, level.width, affine)
        if i < len(config.levels) - 1:
            order = halves_from_interleaved(channels)
            weight, bias, logs = _zero_conv(tensors, f"model/pool{i}/conv/", channels // 2, channels)
            assembly.split(i, weight[order], bias[order], 3 * logs[order])
    assembly.top(*_top(tensors, settings["label"], config.level_shapes[-1]))
    # A training checkpoint also holds the optimiser's slots and moving averages, so unknown names are no fault here.
    return assembly.finish(), PixelConvention(bits=settings["bits"], offset=0.5)


def _kernel(tensors: Tensors, name: str, *shape: int) -> Tensor:
    return tensors.take(name, *shape).permute(3, 2, 0, 1)  # height, width, in, out -> out, in, height, width


def _norm(tensors: Tensors, name: str, channels: int) -> tuple[Tensor, Tensor]:
    """Shift and log-scale of an actnorm."""
    shift = tensors.take(f"{name}_center/b", 1, 1, 1, channels).flatten()
    return shift, 3 * tensors.take(f"{name}_scale/logs", 1, 1, 1, channels).flatten()


def _zero_conv(tensors: Tensors, name: str, channels: int, out: int) -> tuple[Tensor, Tensor, Tensor]:
    """Weight with its rim channel, bias, and logs, of which the gain is exp(3 logs)."""
    weight = _kernel(tensors, name + "W", 3, 3, channels + 1, out)
    return weight, tensors.take(name + "b", 1, 1, 1, out).flatten(), tensors.take(name + "logs", 1, out).flatten()


def _read_step(tensors: Tensors, assembly: Assembly, i: int, k: int, channels: int, width: int, affine: bool) -> None:
    step, half, out = f"model/{i}/{k}/", channels // 2, channels if affine else channels // 2
    bias, log_scale = _norm(tensors, step + "actnorm", channels)
    conv_in = _kernel(tensors, step + "f1/l_1/W", 3, 3, half + 1, width)
    conv_mid = _kernel(tensors, step + "f1/l_2/W", 1, 1, width, width)
    weight, out_bias, logs = _zero_conv(tensors, step + "f1/l_last/", width, out)
    net = Net(
        conv_in=after_norm(conv_in, None, *_norm(tensors, step + "f1/l_1/actnorm", width)),
        conv_mid=after_norm(conv_mid, None, *_norm(tensors, step + "f1/l_2/actnorm", width)),
        conv_out=(weight, out_bias),
        log_gain=logs,
    )
    if affine:
        net = net.reordered(halves_from_interleaved(out))
    rotation = Rotation.from_matrix(_matrix(tensors, step, channels), tensors.where)
    assembly.step(i, k, bias, log_scale, rotation, net)


def _matrix(tensors: Tensors, step: str, channels: int) -> Tensor:
    """W of `y = W x`, from any of the four ways in which a step of theirs mixes its channels."""
    name = step + "invconv/"
    if name + "W" in tensors:
        return tensors.take(name + "W", channels, channels).T  # theirs is `z @ W`
    if name + "P" in tensors:
        p, lower, upper = (tensors.take(name + n, channels, channels) for n in "PLU")
        sign, log_s = (tensors.take(name + n, channels) for n in ("sign_S", "log_S"))
        eye = torch.eye(channels, dtype=torch.float64)
        return (p @ (lower.tril(-1) + eye) @ (upper.triu(1) + torch.diag(sign * log_s.exp()))).T
    if step + "shuffle/indices" in tensors:
        order = tensors.take(step + "shuffle/indices", channels).long()
        if order.sort().values.ne(torch.arange(channels)).any():
            raise CheckpointError(f"{tensors.where}: {step}shuffle/indices is not an order of the channels")
        return torch.eye(channels, dtype=torch.float64)[order]
    raise CheckpointError(f"{tensors.where}: {name}W is missing, and nothing else mixes the channels of this step")


def _top(tensors: Tensors, label: int | None, shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    channels, *size = shape
    maps = torch.zeros(2 * channels, *size, dtype=torch.float64)
    if "model/prior/p/W" in tensors:
        weight, bias, logs = _zero_conv(tensors, "model/prior/p/", 2 * channels, 2 * channels)
        maps = torch.cat(top_maps(weight, bias, 3 * logs, (size[0], size[1])))
    if "model/prior/y_emb/W" in tensors:  # the class moves the top prior
        classes = tensors.shape("model/prior/y_emb/W", -1, 2 * channels)[0]
        label = pick_label(label, classes, tensors.where)
        row = tensors.take("model/prior/y_emb/W", classes, 2 * channels)[label]
        row = row + tensors.take("model/prior/y_emb/b", 1, 2 * channels)[0]
        logs = tensors.take("model/prior/y_emb/logs", 1, 2 * channels)[0]
        maps = maps + (row * (3 * logs).exp())[:, None, None]
    mean, log_std = maps.chunk(2)
    return mean, log_std


OPENAI = Format(
    "OpenAI Glow",
    (r"model/0/0/actnorm_center/b$", r"model/0/0/f1/l_1/W$", r"model/0/0/f1/l_last/logs$"),
    (IMAGE_SIZE, BITS, LABEL),
    _read,
)
