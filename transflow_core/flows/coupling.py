"""Coupling layers: half of the channels shift and scale the other half."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .convolution import Conv3x3
from .precision import MixedPrecision

__all__ = [
    "SCALES",
    "Coupling",
    "CouplingNet",
    "bounded",
    "exponential_log_scale",
    "innermost_channels",
    "inverse_sigmoid_log_scale",
    "sigmoid_log_scale",
]


def bounded(r: Tensor, cap: float = 2.0) -> Tensor:
    """`cap * tanh(r / cap)`, about r where r is small: of log-scales, so that neither direction can overflow."""
    return cap * torch.tanh(r / cap)


def sigmoid_log_scale(r: Tensor, offset: float = 2.0, plus: float = 0.0) -> Tensor:
    """`s = sigmoid(r + offset) + plus`; with `plus` 0 it is OpenAI's Glow and its descendants."""
    if plus == 0:
        # Stays finite where the sigmoid itself underflows; `F.logsigmoid` would copy r into another layout.
        return -F.softplus(-(r + offset))
    return torch.log(torch.sigmoid(r + offset) + plus)


def inverse_sigmoid_log_scale(r: Tensor, offset: float = 2.0) -> Tensor:
    """`s = 1 / sigmoid(r + offset)`: normflows' scale map "sigmoid_inv"."""
    return F.softplus(-(r + offset))


def exponential_log_scale(r: Tensor) -> Tensor:
    """`s = exp(r)`, as in Real NVP."""
    return r


SCALES: dict[str, Callable[..., Tensor]] = {
    "tanh": bounded,
    "sigmoid": sigmoid_log_scale,
    "inverse-sigmoid": inverse_sigmoid_log_scale,
    "exponential": exponential_log_scale,
}


def innermost_channels(x: Tensor) -> Tensor:
    """The same (C, H, W), laid out as a channels-last batch is, for sums with one."""
    return x.permute(1, 2, 0).contiguous().permute(2, 0, 1)


class CouplingNet(MixedPrecision):
    """The function that a coupling reads its shift and scale from.

    `net(a) = conv_out(relu(conv_mid(relu(conv_in(a) + position)))) * exp(3 * log_gain)`, with 3×3, 1×1 and 3×3
    convolutions. `position` is a learned (width, H, W) map, or absent: aligned faces have their eyes at the same
    pixel in every image, which a convolution cannot know.

    Args:
        in_channels, out_channels: of what is read, and of the parameters that are written.
        width: hidden channels.
        size: (H, W) of the position map, or None for no map.
        edge: the 3×3 convolutions see the border (see `Conv3x3`).
        generator: makes the initial weights reproducible.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int,
        size: tuple[int, int] | None = None,
        edge: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.conv_in = Conv3x3(in_channels, width, edge)
        self.conv_mid = nn.Conv2d(width, width, 1)
        self.conv_out = Conv3x3(width, out_channels, edge)
        self.log_gain = nn.Parameter(torch.zeros(out_channels))
        self.position = nn.Parameter(torch.zeros(width, *size)) if size else None
        if self.conv_in.weight.is_meta:  # shapes only: see InvertibleConv1x1
            return
        with torch.no_grad():
            for conv in (self.conv_in, self.conv_mid):
                conv.weight.normal_(0, 0.05, generator=generator)
                conv.get_parameter("bias").zero_()  # conv_out stays at zero: a coupling starts as the identity

    @torch.no_grad()
    def channels_last(self) -> None:
        """Lay the tensors out with the channels innermost: the same float32 arithmetic takes half the time on a CPU."""
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # torch's stub lacks it
        if self.position is not None:
            self.position.data = innermost_channels(self.position.data)

    def forward(self, a: Tensor, context: Tensor | None = None) -> Tensor:
        """(n, in_channels, H, W), some of them the context's if there is one -> (n, out_channels, H, W)."""
        if context is not None:
            a = torch.cat([a, context], 1)
        with self.autocast(a):
            h = self.conv_in(a.to(self.compute_dtype or a.dtype, memory_format=torch.channels_last))
            if self.position is not None:
                h += self.position.to(h.dtype)  # a sum of two types would convert the larger one
            h = self.conv_mid(h.relu_()).relu_()  # in place: the net's own intermediates, which no gradient needs
            return self.conv_out(h) * (3 * self.log_gain).exp()[:, None, None]


class Coupling(nn.Module):
    """Affine or additive coupling.

    Affine: `a, b = halves(x)`; `t, r = halves(net(a))`; `log s = log_scale(r)`; `y = [a, (b + t) * s]`.
    Additive coupling has no r: `y = [a, b + net(a)]`. The log-determinant is `sum(log s)`. With a context, the net
    reads it beside a; it is the condition of the density, and nothing flows back to it.
    Reference: Real NVP (Dinh et al., 2017); the order "shift, then scale" is OpenAI's.

    Args:
        net: maps the half that it reads, and the context's channels, to two numbers (affine) or one (additive) for each
            channel of the other half.
        log_scale: r -> log s, elementwise; None makes the coupling additive.
        scale_first: `b * s + t` instead of `(b + t) * s`.
        transforms_first: the net reads the second half and the first half changes.
    """

    def __init__(
        self,
        net: nn.Module,
        log_scale: Callable[[Tensor], Tensor] | None,
        scale_first: bool = False,
        transforms_first: bool = False,
    ) -> None:
        super().__init__()
        self.net = net
        self.log_scale = log_scale
        self.scale_first = scale_first
        self.transforms_first = transforms_first

    def _halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(what the net reads, what changes)."""
        first, second = x.chunk(2, 1)
        return (second, first) if self.transforms_first else (first, second)

    def _join(self, read: Tensor, changed: Tensor) -> Tensor:
        return torch.cat([changed, read] if self.transforms_first else [read, changed], 1)

    def _shift_and_log_scale(self, a: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor | None]:
        h = (self.net(a) if context is None else self.net(a, context)).float()
        if self.log_scale is None:
            return h, None
        t, r = h.chunk(2, 1)
        return t, self.log_scale(r)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(n, C, H, W) -> (y, log_det)."""
        a, b = self._halves(x)
        t, log_s = self._shift_and_log_scale(a, context)
        if log_s is None:
            return self._join(a, b + t), x.new_zeros(len(x))
        changed = b * log_s.exp() + t if self.scale_first else (b + t) * log_s.exp()
        return self._join(a, changed), log_s.sum((1, 2, 3))

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(n, C, H, W) -> (x, log_det)."""
        a, b = self._halves(y)
        t, log_s = self._shift_and_log_scale(a, context)
        if log_s is None:
            return self._join(a, b - t), y.new_zeros(len(y))
        original = (b - t) * (-log_s).exp() if self.scale_first else b * (-log_s).exp() - t
        return self._join(a, original), -log_s.sum((1, 2, 3))
