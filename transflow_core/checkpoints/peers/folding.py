"""From a peer's layers to the native ones: whatever is linear is folded into the weights, once, in float64."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...flows import CouplingConfig, Glow, GlowConfig, InvertibleConv1x1, LevelConfig
from ..base import CheckpointError, Tensors
from ..invertible import require_invertible
from ..memory import require_memory

__all__ = [
    "Assembly",
    "Net",
    "Rotation",
    "after_norm",
    "coupling_kind",
    "glow_config",
    "halves_from_interleaved",
    "log_of_scale",
    "rim_weight",
    "top_maps",
    "with_rim",
]

# A matrix becomes three factors, and some maps and matrices are made where a peer has none: small ones.
_MOST_FOLD, _SPARE_NUMBERS = 4, 1 << 22


@dataclass(frozen=True)
class Rotation:
    """The factors of a 1×1 convolution, `W = P L (U + diag(sign * exp(log_diag)))`."""

    P: Tensor
    L: Tensor
    U: Tensor
    sign: Tensor
    log_diag: Tensor

    @classmethod
    def from_matrix(cls, weight: Tensor, where: str) -> "Rotation":
        """Factorise W, (C, C). CheckpointError if it is singular."""
        try:
            layer = InvertibleConv1x1.from_matrix(weight)
        except ValueError as error:
            raise CheckpointError(f"{where}: {error}") from error
        return cls(layer.P, layer.L.detach(), layer.U.detach(), layer.sign, layer.log_diag.detach())

    @classmethod
    def from_factors(cls, tensors: Tensors, names: Sequence[str], channels: int) -> "Rotation":
        """Factors as a peer stores them: the names of P, L, U (C, C), sign and log_diag (C,).

        CheckpointError if P is no permutation or a sign is no sign.
        """
        P, L, U = (tensors.take(name, channels, channels) for name in names[:3])
        sign, log_diag = (tensors.take(name, channels) for name in names[3:])
        if not (
            P.sum(0).eq(1).all() and P.sum(1).eq(1).all() and P.square().sum().eq(len(P)) and sign.abs().eq(1).all()
        ):
            raise CheckpointError(f"{tensors.where}: a 1×1 convolution's factors are not a permutation and signs")
        return cls(P, L.tril(-1), U.triu(1), sign, log_diag)

    def after_signs(self, signs: Tensor) -> "Rotation":
        """The factors of W · diag(signs): the flip of a channel before W is absorbed by U's column."""
        return Rotation(self.P, self.L, self.U * signs, self.sign * signs, self.log_diag)


@dataclass(frozen=True)
class Net:
    """A coupling net's three convolutions as (weight, bias), and the log of the gain on its output over 3."""

    conv_in: tuple[Tensor, Tensor]
    conv_mid: tuple[Tensor, Tensor]
    conv_out: tuple[Tensor, Tensor]
    log_gain: Tensor

    def reordered(self, order: Tensor, signs: Tensor | None = None) -> "Net":
        """Output channels picked in another order, and then multiplied by ±1."""
        weight, bias = (t[order] for t in self.conv_out)
        if signs is not None:
            weight, bias = weight * signs[:, None, None, None], bias * signs
        return Net(self.conv_in, self.conv_mid, (weight, bias), self.log_gain[order])


def after_norm(weight: Tensor, bias: Tensor | None, shift: Tensor, log_scale: Tensor) -> tuple[Tensor, Tensor]:
    """A convolution followed by `(y + shift) * exp(log_scale)`, as one convolution's (weight, bias)."""
    scale = log_scale.exp()
    return weight * scale[:, None, None, None], (shift if bias is None else bias + shift) * scale


def log_of_scale(scale: Tensor, where: str) -> tuple[Tensor, Tensor]:
    """A scale that may be negative -> (log |scale|, signs). CheckpointError for a zero: nothing would invert it."""
    if (scale == 0).any():
        raise CheckpointError(f"{where}: an actnorm has a scale of zero: it cannot be inverted")
    return scale.abs().log(), scale.sign()


def halves_from_interleaved(channels: int, first: int = 0) -> Tensor:
    """The order that turns interleaved pairs into halves: the members numbered `first` (0 or 1), then the others.

    Example:
        >>> halves_from_interleaved(6).tolist(), halves_from_interleaved(6, first=1).tolist()
        ([0, 2, 4, 1, 3, 5], [1, 3, 5, 0, 2, 4])
    """
    index = torch.arange(channels)
    return torch.cat([index[first::2], index[1 - first :: 2]])


def rim_weight(weight: Tensor) -> Tensor:
    """Padding every input channel with the constant 1 is a rim channel whose weight is the sum over the channels."""
    return torch.cat([weight, weight.sum(1, keepdim=True)], 1)


def with_rim(weight: Tensor) -> Tensor:
    """A zero-padded convolution's weight for a layer that has a rim channel: it does not look at it."""
    return torch.cat([weight, torch.zeros_like(weight[:, :1])], 1)


def top_maps(weight: Tensor | None, bias: Tensor, log_gain: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The learned top prior of a peer: a 3×3 convolution of zeros, times exp(log_gain), evaluated to constant maps.

    Args:
        weight: (2C, any, 3, 3) whose last input channel is the rim, or None when nothing pads but zeros.
        bias, log_gain: (2C,).
        size: (H, W).

    Returns:
        mean and log_std, both (C, H, W).
    """
    maps = bias[:, None, None].expand(-1, *size)
    if weight is not None:
        rim = F.pad(torch.zeros(1, 1, *size, dtype=weight.dtype), (1, 1, 1, 1), value=1.0)
        maps = maps + F.conv2d(rim, weight[:, -1:])[0]
    mean, log_std = (maps * log_gain.exp()[:, None, None]).chunk(2)
    return mean, log_std


def coupling_kind(out_channels: int, channels: int, where: str) -> str:
    """ "affine" when a coupling's net gives C numbers a pixel, "additive" when it gives C/2."""
    kinds = {channels: "affine", channels // 2: "additive"}
    if out_channels not in kinds:
        raise CheckpointError(
            f"{where}: a coupling of {channels} channels has a net with {out_channels} outputs; "
            f"expected {channels} (affine) or {channels // 2} (additive)"
        )
    return kinds[out_channels]


def glow_config(
    where: str, image_size: int, channels: int, levels: list[LevelConfig], coupling: CouplingConfig, **options: Any
) -> GlowConfig:
    """A GlowConfig, or a CheckpointError where the tensors' sizes do not make one."""
    try:
        return GlowConfig(image_size, tuple(levels), channels, coupling=coupling, **options)
    except ValueError as error:
        raise CheckpointError(f"{where}: {error}") from error


class Assembly:
    """A native Glow being filled with folded tensors. Every shape is held against the configuration.

    Raises CheckpointError at once if this machine has not the memory for it, or if the file has far fewer numbers than
    the flow: shapes and settings alone must not make a large one.
    """

    def __init__(self, config: GlowConfig, tensors: Tensors) -> None:
        self.config, self.where = config, tensors.where
        with torch.device("meta"):
            self._flow = Glow(config)
        self._expected = {name: tuple(t.shape) for name, t in self._flow.state_dict().items()}
        self._state: dict[str, Tensor] = {}
        needed = sum(map(math.prod, self._expected.values()))
        if needed > _SPARE_NUMBERS + _MOST_FOLD * tensors.declared:
            raise CheckpointError(f"{self.where}: a flow of {needed:,} numbers, of which the file has few")
        require_memory(config, self.where)

    def _put(self, name: str, tensor: Tensor) -> None:
        if self._expected.get(name) != tuple(tensor.shape):
            raise CheckpointError(
                f"{self.where}: {name} would have shape {tuple(tensor.shape)}, expected {self._expected.get(name)}"
            )
        tensor = tensor.to(torch.float32, copy=True).contiguous()  # a tensor of its own, whatever it was a view of
        if not tensor.sum(dtype=torch.float64).isfinite():
            raise CheckpointError(f"{self.where}: {name} overflows when it is folded")
        self._state[name] = tensor

    def step(self, level: int, step: int, bias: Tensor, log_scale: Tensor, rotation: Rotation, net: Net) -> None:
        """Actnorm (bias, log_scale), 1×1 convolution and coupling net of one step."""
        prefix = f"levels.{level}.steps.{step}."
        self._put(prefix + "actnorm.bias", bias)
        self._put(prefix + "actnorm.log_scale", log_scale)
        for name in ("P", "L", "U", "sign", "log_diag"):
            self._put(prefix + "conv1x1." + name, getattr(rotation, name))
        for name in ("conv_in", "conv_mid", "conv_out"):
            weight, bias = getattr(net, name)
            self._put(prefix + f"coupling.net.{name}.weight", weight)
            self._put(prefix + f"coupling.net.{name}.bias", bias)
        self._put(prefix + "coupling.net.log_gain", net.log_gain)

    def split(self, level: int, weight: Tensor, bias: Tensor, log_gain: Tensor) -> None:
        """The split's prior: mean first, then log_std; a gain exp(log_gain) on its output is folded."""
        gain = log_gain.exp()
        self._put(f"levels.{level}.split.prior.weight", weight * gain[:, None, None, None])
        self._put(f"levels.{level}.split.prior.bias", bias * gain)

    def top(self, mean: Tensor, log_std: Tensor) -> None:
        """The top prior's maps, (C, H, W) each."""
        self._put("top.mean", mean)
        self._put("top.log_std", log_std)

    def plain_top(self) -> None:
        """The top prior N(0, I)."""
        shape = self.config.level_shapes[-1]
        self.top(torch.zeros(shape), torch.zeros(shape))

    def finish(self) -> Glow:
        """The flow, frozen. CheckpointError if a tensor was never filled in, or if a step cannot be inverted."""
        missing = self._expected.keys() - self._state.keys()
        if missing:
            raise CheckpointError(f"{self.where}: nothing fills {sorted(missing)[0]} and {len(missing) - 1} more")
        self._flow.load_state_dict(self._state, assign=True)
        require_invertible(self._flow, self.where)
        return self._flow.requires_grad_(False).eval()
