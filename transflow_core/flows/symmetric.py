"""The flow of details given means, symmetric about a centre that vanishes where the means are flat.

Maximum likelihood looks at latents of the typical shell and says nothing of smaller ones, which is where posterior
means, blends and cool samples lie: there a flow decodes what it happens to. Here it cannot happen to be a pattern. The
details at z = 0 are the centre, and their mean over z of any temperature is too, whatever the weights.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .coupling import SHIFT_CAP, Coupling, bounded, innermost_channels
from .multiscale import LOG_STD_CAP
from .precision import MixedPrecision
from .rotation import ScaledRotation

__all__ = ["OddNet", "SymmetricConfig", "SymmetricFlow", "tails"]

GATE_CAP = 4.0
_TAIL_CAP = 0.5


@dataclass(frozen=True)
class SymmetricConfig:
    """Shape of a `SymmetricFlow`: `steps` steps with nets of `width`, which read `context` features of the means.

    Args:
        cap: bounds the log-scales of couplings and of linear layers (see `bounded`).
        reach: how often the features halve the means' side at most, to see further around each pixel.
    """

    steps: int = 6
    width: int = 64
    context: int = 48
    cap: float = 1.0
    reach: int = 2

    def __post_init__(self) -> None:
        for name, least, most in (("steps", 1, 64), ("width", 1, 1024), ("context", 1, 1024), ("reach", 0, 8)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise ValueError(f"details {name} must be a whole number from {least} to {most}, not {value!r}")
        if isinstance(self.cap, bool) or not isinstance(self.cap, int | float) or not 0 < self.cap <= 100:
            raise ValueError(f"details cap must be a number above 0, not {self.cap!r}")

    def to_dict(self) -> dict[str, Any]:
        """As JSON stores it."""
        return {"kind": "symmetric", **asdict(self)}


def tails(x: Tensor, log_delta: Tensor) -> tuple[Tensor, Tensor]:
    """`y = sinh(delta * asinh(x)) / delta` and the elementwise log-derivative: odd, and the identity at delta 1.

    Heavier than normal tails of x become normal with delta below 1. With `-log_delta` and `delta * x` it is inverted:
    see `SymmetricFlow.inverse`. Reference: the sinh-arcsinh transformation (Jones and Pewsey, 2009).
    """
    angle = log_delta.exp() * torch.asinh(x)
    return torch.sinh(angle) * (-log_delta).exp(), _log_cosh(angle) - 0.5 * torch.log1p(x.square())


def _log_cosh(x: Tensor) -> Tensor:
    return x.abs() + torch.log1p((-2 * x.abs()).exp()) - math.log(2)


def _convolution(read: int, written: int, size: int, generator: torch.Generator | None, **options: Any) -> nn.Conv2d:
    conv = nn.Conv2d(read, written, size, padding=size // 2, **options)
    if not conv.weight.is_meta:
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu", generator=generator)
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)
    return conv


def _zero_convolution(read: int, written: int, size: int, **options: Any) -> nn.Conv2d:
    conv = nn.Conv2d(read, written, size, padding=size // 2, **options)
    if not conv.weight.is_meta:
        for parameter in conv.parameters():
            nn.init.zeros_(parameter)
    return conv


class _Context(MixedPrecision):
    """Differences of the means, and features of them: a small U-net with a learned position map at either end."""

    def __init__(self, channels: int, side: int, width: int, reach: int, generator: torch.Generator | None) -> None:
        super().__init__()
        while side % 2**reach:
            reach -= 1
        self.differences = nn.Conv2d(channels, width, 5, bias=False)
        if not self.differences.weight.is_meta:
            nn.init.normal_(self.differences.weight, generator=generator)
        self.conv_in = _convolution(channels + width, width, 3, generator)
        self.position = nn.Parameter(torch.zeros(width, side, side))
        self.down = nn.ModuleList(_convolution(width, width, 3, generator) for _ in range(reach))
        self.far_position = nn.Parameter(torch.zeros(width, side >> reach, side >> reach))
        self.up = nn.ModuleList(_convolution(width, width, 3, generator) for _ in range(reach))
        self.conv_out = _convolution(width, width, 3, generator)

    def forward(self, means: Tensor) -> tuple[Tensor, Tensor]:
        """(n, C, H, W) -> (differences, features), both (n, width, H, W)."""
        means = means.contiguous(memory_format=torch.channels_last)
        # Each channel's taps sum to zero: what they give vanishes where the means are flat.
        kernel = self.differences.weight - self.differences.weight.mean((2, 3), keepdim=True)
        differences = F.conv2d(F.pad(means, (2, 2, 2, 2), mode="replicate"), kernel)
        with self.autocast(means):
            h = self.conv_in(torch.cat([means, differences], 1))
            h = h.add_(self.position.to(h.dtype)).relu_()
            beside = []
            for conv in self.down:
                beside.append(h)
                h = conv(F.avg_pool2d(h, 2)).relu_()
            h = h + self.far_position.to(h.dtype)
            for conv, finer in zip(self.up, reversed(beside), strict=True):
                h = F.interpolate(conv(h), scale_factor=2, mode="bilinear").add_(finer).relu_()
            return differences, self.conv_out(h).relu_()


class OddNet(MixedPrecision):
    """What a coupling reads its shift and scale from: the shift odd in a, the scale even, both given the context.

    `gate = clamp(mid(relu(even_in(a tanh a) + context_in(context))))`; `t = odd_out(odd_in(a) * gate)`, without biases;
    `r = even_out(gate)`. So a passes linearly, through a filter that the context and its own size choose from a bounded
    set.

    Args:
        read, changed: channels of a, and of the half that is changed.
        context: channels of the context.
        width: hidden channels.
        generator: makes the initial weights reproducible.
    """

    def __init__(self, read: int, changed: int, context: int, width: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.odd_in = _convolution(read, width, 3, generator, bias=False)
        self.even_in = _convolution(read, width, 3, generator, bias=False)
        self.context_in = _convolution(context, width, 1, generator)
        self.mid = _convolution(width, width, 1, generator)
        self.odd_out = _zero_convolution(width, changed, 3, bias=False)  # zero: a coupling starts as the identity
        self.even_out = _zero_convolution(width, changed, 3)

    def forward(self, a: Tensor, context: Tensor) -> Tensor:
        """(n, read, H, W) and (n, context, H, W) -> (n, 2 * changed, H, W)."""
        with self.autocast(a):
            # In place, as far as gradients allow it: these maps are large, and memory is slower than arithmetic.
            h = self.even_in(a * torch.tanh(a)).add_(self.context_in(context)).relu_()
            gate = F.hardtanh(self.mid(h), 0.0, GATE_CAP, inplace=True)
            h = self.odd_in(a)
            h = h * gate if torch.is_grad_enabled() else h.mul_(gate)
            return torch.cat([self.odd_out(h), self.even_out(gate)], 1)


class _Step(nn.Module):
    """A linear map of the channels, and a coupling with an `OddNet`: y is odd in x."""

    def __init__(self, channels: int, config: SymmetricConfig, generator: torch.Generator | None) -> None:
        super().__init__()
        changed = channels // 2  # of an odd number of channels the net reads one more than it changes
        self.linear = ScaledRotation(channels, config.cap, generator)
        net = OddNet(channels - changed, changed, config.context, config.width, generator)
        self.coupling = Coupling(net, partial(bounded, cap=config.cap), shift_cap=SHIFT_CAP)

    def forward(self, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        x, linear = self.linear(x)
        x, coupling = self.coupling(x, context)
        return x, linear + coupling

    def inverse(self, y: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        y, coupling = self.coupling.inverse(y, context)
        y, linear = self.linear.inverse(y)
        return y, coupling + linear


class SymmetricFlow(MixedPrecision):
    """Details d given means c: `eps = F(tails((d - centre(c)) * exp(-log_std(c))))`, F odd: K conditional steps.

    `centre = W (differences * gate(h))`, with `differences` linear in c and zero where c is flat, h the features of c
    and the gates between 0 and 1. Hence, for any weights: at eps = 0 the details are the centre; eps and -eps give
    details that lie symmetrically about it; and over a flat region it is zero. Every scale is bounded, and the steps'
    linear maps are well conditioned, by construction.

    Args:
        channels: of the image. Details have three times as many.
        side: of the means, in pixels.
        config, generator: see `SymmetricConfig`, `Glow`.

    Example:
        >>> import torch
        >>> flow = SymmetricFlow(3, 8, SymmetricConfig(2, 16, 8), torch.Generator().manual_seed(0))
        >>> flat = torch.full((1, 3, 8, 8), 0.2)
        >>> float(flow.inverse(torch.zeros(1, 9, 8, 8), flat)[0].abs().max()) < 1e-6
        True
    """

    def __init__(
        self, channels: int, side: int, config: SymmetricConfig, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        details, width = 3 * channels, config.context
        self.context = _Context(channels, side, width, config.reach, generator)
        self.gate = _zero_convolution(width, width, 1)
        self.centre = _zero_convolution(width, details, 1, bias=False)
        self.spread = _zero_convolution(width, details, 3)
        self.tail = _zero_convolution(width, details, 1)
        self.log_std = nn.Parameter(torch.zeros(details))
        steps = nn.ModuleList(_Step(details, config, generator) for _ in range(config.steps))
        self.steps = cast("Sequence[_Step]", steps)

    @torch.no_grad()
    def channels_last(self) -> None:
        """Lay the tensors out for speed; no number changes."""
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # torch's stub lacks it
        for position in (self.context.position, self.context.far_position):
            position.data = innermost_channels(position.data)

    @torch.no_grad()
    def initialise(self, details: Tensor, means: Tensor) -> None:
        """Start from one batch: the details' own root mean square, in each channel."""
        del means
        self.log_std.copy_(torch.log(details.square().mean((0, 2, 3)).sqrt() + 1e-6))

    def _conditions(self, means: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(features, centre, log_std, log_delta) of the means, all (n, ..., H, W)."""
        differences, h = self.context(means)
        with self.autocast(means):
            gate, spread, tail = torch.sigmoid(self.gate(h)), self.spread(h), self.tail(h)
        log_std = self.log_std[:, None, None] + bounded(spread.float(), LOG_STD_CAP)
        return h, self.centre(differences * gate.float()), log_std, bounded(tail.float(), _TAIL_CAP)

    def forward(self, details: Tensor, means: Tensor, steps: Sequence[Any] = ()) -> tuple[Tensor, Tensor]:
        """(n, 3C, H, W) and (n, C, H, W) -> (eps (n, 3C, H, W), log_det (n,)); `steps`: another form of its own."""
        h, centre, log_std, log_delta = self._conditions(means)
        x, slope = tails((details - centre) * (-log_std).exp(), log_delta)
        total = (slope - log_std).sum((1, 2, 3))
        for step in steps or self.steps:
            x, log_det = step(x, h)
            total = total + log_det
        return x, total

    def inverse(self, eps: Tensor, means: Tensor, steps: Sequence[Any] = ()) -> tuple[Tensor, Tensor]:
        """The inverse of `forward` for the same means."""
        h, centre, log_std, log_delta = self._conditions(means)
        x = eps.clone(memory_format=torch.channels_last)  # steps may write over what they are given
        total = log_std.sum((1, 2, 3))
        for step in reversed(steps or self.steps):
            x, log_det = step.inverse(x, h)
            total = total + log_det
        delta = log_delta.exp()
        x, slope = tails(x * delta, -log_delta)
        x = x * (-log_delta).exp()
        return x * log_std.exp() + centre, total + slope.sum((1, 2, 3))
