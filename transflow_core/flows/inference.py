"""The form of a flow that encodes and draws: the numbers of the training form, in the order that a processor likes.

What is constant once the weights are is computed once: an actnorm and the 1×1 convolution behind it are one matrix and
one vector, and so is their inverse, in float64; a net's gain is in its last convolution; its position map and its sight
of the border are one map. The affine map of a coupling writes into the tensor that the 1×1 convolution has just made.
And a level takes so few images at a time that the widest map of its nets stays in the cache: memory is slower than
arithmetic, and most of what a net does beside its convolutions is to pass over that map.
"""

import copy
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .actnorm import ActNorm
from .contract import Flow
from .conv1x1 import InvertibleConv1x1
from .convolution import Conv3x3
from .coupling import Coupling, CouplingNet, bounded, innermost_channels
from .glow import Glow
from .grown import GrownGlow
from .rotation import ScaledRotation
from .symmetric import GATE_CAP, OddNet

__all__ = ["inference_form"]

_CACHE = 2**22
"""Bytes of the widest hidden map that a core works on at once. More than its second-level cache has: below some four
images torch takes slower ways through a convolution, which costs more than the next cache does."""

AnyFlow = TypeVar("AnyFlow", bound=Flow)
_Size = tuple[int, int]


@torch.no_grad()
def inference_form(flow: AnyFlow, nets: torch.dtype | None = None) -> AnyFlow:
    """The same flow, of its weights as they are now, where they are now; a flow that is none of ours is given back.

    Args:
        flow: a Glow or a flow grown from one. It stays as it is, and shares the weights that need no change.
        nets: the type in which the nets inside couplings compute; None is float32.

    Example:
        >>> from .glow import GlowConfig, LevelConfig
        >>> glow = Glow(GlowConfig(8, (LevelConfig(2, 16),)), torch.Generator().manual_seed(0))
        >>> z = torch.zeros(1, 192)
        >>> with torch.no_grad():  # it writes in place, and so has no gradients
        ...     torch.allclose(inference_form(glow).inverse(z)[0], glow.inverse(z)[0], atol=1e-6)
        True
    """
    if isinstance(flow, GrownGlow):
        side = flow.base.image_size
        details = _with(flow.details, steps=_steps(flow.details.steps, (side, side), nets))
        return _with(flow, base=inference_form(flow.base, nets), details=_InPieces(details))
    if isinstance(flow, Glow):
        levels = [
            _InPieces(_with(level, steps=_steps(level.steps, shape[1:], nets)))
            for level, shape in zip(flow.levels, flow.config.level_shapes, strict=True)
        ]
        return _with(flow, levels=nn.ModuleList(levels))
    return flow


def _with(module: nn.Module, **parts: nn.Module) -> nn.Module:
    """A copy that has other parts, and shares the rest."""
    changed = copy.copy(module)
    changed.__dict__["_modules"] = {**module._modules, **parts}
    return changed


def _steps(steps: Iterable[Any], size: _Size, nets: torch.dtype | None) -> nn.ModuleList:
    return nn.ModuleList(_Step(step, size, nets) for step in steps)


class _InPieces(nn.Module):
    """A level that takes a few images at a time."""

    def __init__(self, level: nn.Module) -> None:
        super().__init__()
        self.level = level
        self._bytes = max(step.net.bytes for step in cast(Iterable[_Step], level.steps))

    def forward(self, *batches: Tensor) -> tuple[Tensor | None, ...]:
        return self._in_pieces(self.level, batches)

    def inverse(self, *batches: Tensor | None) -> tuple[Tensor | None, ...]:
        return self._in_pieces(cast(Any, self.level).inverse, batches)

    def _in_pieces(self, function: Callable, batches: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
        first = cast(Tensor, batches[0])
        rows = max(1, _CACHE * torch.get_num_threads() // self._bytes)
        if rows >= len(first) or first.device.type != "cpu":
            return function(*batches)
        pieces = [
            function(*(batch if batch is None else batch[start : start + rows] for batch in batches))
            for start in range(0, len(first), rows)
        ]
        return tuple(None if parts[0] is None else torch.cat(parts) for parts in zip(*pieces, strict=True))


class _Step(nn.Module):
    """A step of any flow here: a linear map of the channels, then a coupling (see there for the words)."""

    def __init__(self, step: Any, size: _Size, nets: torch.dtype | None) -> None:
        super().__init__()
        coupling: Coupling = step.coupling
        self._dtype = nets or torch.float32
        if isinstance(coupling.net, OddNet):
            self.linear, self.net = _Linear(step.linear), _OddNet(coupling.net, size, self._dtype)
        else:
            net = cast(CouplingNet, coupling.net)
            self.linear, self.net = _Linear(step.conv1x1, step.actnorm), _Net(net, size, self._dtype)
        self._log_scale, self._shift_cap = coupling.log_scale, coupling.shift_cap
        self._scale_first, self._transforms_first = coupling.scale_first, coupling.transforms_first

    def _read(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """(the half of x that changes, its shift, its log-scale)."""
        a, b = x.chunk(2, 1)
        if self._transforms_first:
            a, b = b, a
        context = context if context is None else context.to(self._dtype)
        t, log_s = self.net(a.to(self._dtype, memory_format=torch.channels_last), context).float(), None
        if self._log_scale is not None:
            t, r = t.chunk(2, 1)
            log_s = self._log_scale(r)
        return b, t if self._shift_cap is None else bounded(t, self._shift_cap), log_s

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(n, C, H, W) -> (y, log_det)."""
        x, log_det = self.linear.forward(x)
        b, t, log_s = self._read(x, context)
        if log_s is None:
            b.add_(t)
            return x, log_det
        if self._scale_first:
            b.mul_(log_s.exp()).add_(t)
        else:
            b.add_(t).mul_(log_s.exp())
        return x, log_det + log_s.sum((1, 2, 3))

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(n, C, H, W), which is written over, -> (x, log_det)."""
        b, t, log_s = self._read(y, context)
        if log_s is None:
            b.sub_(t)
        elif self._scale_first:
            b.sub_(t).mul_((-log_s).exp_())
        else:
            b.mul_((-log_s).exp_()).sub_(t)
        x, log_det = self.linear.inverse(y)
        return x, log_det if log_s is None else log_det - log_s.sum((1, 2, 3))


class _Linear:
    """`y = W x + c` at every pixel: an actnorm, if there is one, and what mixes the channels."""

    def __init__(self, mixing: InvertibleConv1x1 | ScaledRotation, actnorm: ActNorm | None = None) -> None:
        weight, bias = mixing.weight(), torch.zeros_like(mixing.weight()[0])
        if actnorm is not None:
            weight, bias = weight * actnorm.log_scale.exp(), actnorm.bias
        exact = weight.cpu().double()  # on the CPU: Apple's GPUs have no float64
        self._log_det = float(torch.linalg.slogdet(exact).logabsdet)  # of one pixel
        self._weight, self._bias = weight[:, :, None, None], weight @ bias
        self._inverse, self._inverse_bias = torch.linalg.inv(exact).to(weight)[:, :, None, None], -bias

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(n, C, H, W) -> (y, log_det)."""
        return F.conv2d(x, self._weight, self._bias), x.new_full((len(x),), self._log_det * x.shape[2] * x.shape[3])

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """(n, C, H, W) -> (x, log_det)."""
        log_det = y.new_full((len(y),), -self._log_det * y.shape[2] * y.shape[3])
        return F.conv2d(y, self._inverse, self._inverse_bias), log_det


def _pixelwise(h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A 1×1 convolution of a channels-last map, as the product of matrices that it is."""
    return F.linear(h.permute(0, 2, 3, 1), weight, bias).permute(0, 3, 1, 2)


def _pixelwise_weights(conv: nn.Conv2d, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    return conv.weight[:, :, 0, 0].to(dtype), conv.get_parameter("bias").to(dtype)


class _Conv:
    """A `Conv3x3` in which all that is added, at every pixel the same or not, is one sum."""

    def __init__(
        self, conv: Conv3x3, size: _Size, dtype: torch.dtype, plus: Tensor | None = None, gain: Tensor | None = None
    ) -> None:
        weight, bias = conv.weight[:, : -1 if conv.edge else None], conv.bias[:, None, None]
        if conv.edge:
            bias = conv(weight.new_zeros(1, weight.shape[1], *size))[0]
        if plus is not None:
            bias = bias + plus
        if gain is not None:
            gain = gain[:, None, None]
            weight, bias = weight * gain[:, None], bias * gain
        self._weight, bias = weight.to(dtype, memory_format=torch.channels_last), bias.to(dtype)
        same = bias.shape[1:] == (1, 1)
        self._bias, self._map = (bias.flatten(), None) if same else (None, innermost_channels(bias))

    def __call__(self, x: Tensor) -> Tensor:
        """(n, in, H, W) -> (n, out, H, W)."""
        y = F.conv2d(x, self._weight, self._bias, padding=1)
        return y if self._map is None else y.add_(self._map)


class _Net:
    """A `CouplingNet`."""

    def __init__(self, net: CouplingNet, size: _Size, dtype: torch.dtype) -> None:
        self._in = _Conv(net.conv_in, size, dtype, plus=net.position)
        self._mid = _pixelwise_weights(net.conv_mid, dtype)
        self._out = _Conv(net.conv_out, size, dtype, gain=(3 * net.log_gain).exp())
        self.bytes = 4 * len(self._mid[1]) * size[0] * size[1]

    def __call__(self, a: Tensor, context: Tensor | None) -> Tensor:
        """(n, read, H, W) -> (n, written, H, W)."""
        h = self._in(a if context is None else torch.cat([a, context], 1)).relu_()
        return self._out(_pixelwise(h, *self._mid).relu_())


class _OddNet:
    """An `OddNet`."""

    def __init__(self, net: OddNet, size: _Size, dtype: torch.dtype) -> None:
        self._odd_in, self._even_in, self._odd_out, self._even_out = (
            conv.weight.to(dtype) for conv in (net.odd_in, net.even_in, net.odd_out, net.even_out)
        )
        self._even_bias = net.even_out.get_parameter("bias").to(dtype)
        self._context_in, self._mid = _pixelwise_weights(net.context_in, dtype), _pixelwise_weights(net.mid, dtype)
        self.bytes = 4 * len(self._mid[1]) * size[0] * size[1]

    def __call__(self, a: Tensor, context: Tensor | None) -> Tensor:
        """(n, read, H, W) and (n, context, H, W) -> (n, 2 * changed, H, W)."""
        assert context is not None  # its flow gives one always
        h = F.conv2d(a * torch.tanh(a), self._even_in, padding=1).add_(_pixelwise(context, *self._context_in)).relu_()
        gate = F.hardtanh_(_pixelwise(h, *self._mid), 0.0, GATE_CAP)
        odd = F.conv2d(F.conv2d(a, self._odd_in, padding=1).mul_(gate), self._odd_out, padding=1)
        return torch.cat([odd, F.conv2d(gate, self._even_out, self._even_bias, padding=1)], 1)
