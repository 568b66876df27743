"""The form of a flow that encodes and draws: the numbers of the training form, in the order that a processor likes.

What is constant once the weights are is computed once: an actnorm and the 1×1 convolution behind it are one matrix and
one vector, and so is their inverse, in float64; a net's gain is in its last convolution; its position map and its sight
of the border are one map. The affine map of a coupling writes into the tensor that the 1×1 convolution has just made.
And a level takes so few images at a time that the widest map of its nets stays in the cache: memory is slower than
arithmetic, and most of what a net does beside its convolutions is to pass over that map.

It also decodes with a guard. A flow is trained in one direction, images to latents. On the way back, a draw that no
image led to can put a coupling's input where its net never was; the net answers with the largest scale that it may,
the next coupling gets more of the same, and within a few steps the values explode, in one place. So the values of each
channel are clamped, where they enter a coupling and where a split predicts its log-scales, to the range that they have
for known images (`GuardedFlow`). Known images decode as before, to the bit, and so does every draw that stays
inside.

References:
    | Understanding and mitigating exploding inverses in invertible neural networks (Behrmann et al., 2021)
    | https://arxiv.org/abs/2006.09347
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .actnorm import ActNorm
from .contract import Flow
from .conv1x1 import InvertibleConv1x1
from .convolution import Conv3x3
from .coupling import Coupling, CouplingNet, innermost_channels
from .glow import Glow, Level
from .grown import DetailFlow, GrownGlow
from .multiscale import haar_merge, haar_split

__all__ = ["GuardedFlow", "inference_form"]

_CACHE = 2**22
"""Bytes of the widest hidden map that a core works on at once. More than its second-level cache has: below some four
images torch takes slower ways through a convolution, which costs more than the next cache does."""

_Size = tuple[int, int]


@torch.no_grad()
def inference_form(flow: Flow, nets: torch.dtype | None = None) -> Flow:
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
    return _guarded(flow, nets, _Channels()) if isinstance(flow, Glow | GrownGlow) else flow


def _guarded(flow: Glow | GrownGlow, nets: torch.dtype | None, channels: _Channels) -> GuardedFlow:
    return _Glow(flow, nets, channels) if isinstance(flow, Glow) else _Grown(flow, nets, channels)


class _Channels:
    """Gives each place that is guarded its channels of a row of ranges."""

    def __init__(self) -> None:
        self.count = 0

    def take(self, count: int) -> slice:
        self.count += count
        return slice(self.count - count, self.count)


class _Guard:
    """Ranges of a batch, (n, 2, R): each image's least and largest value of every channel that is guarded.

    Either what passes is noted in them; or it is clamped to them, and `excess` (n,) is how many times its width each
    image would have left a range.
    """

    def __init__(self, ranges: Tensor, excess: Tensor | None = None) -> None:
        self._ranges, self.excess = ranges, excess

    def __getitem__(self, rows: slice) -> _Guard:
        return _Guard(self._ranges[rows], None if self.excess is None else self.excess[rows])

    def note(self, x: Tensor, channels: slice) -> None:
        """Note the ranges of (n, C, H, W)."""
        self._ranges[:, 0, channels], self._ranges[:, 1, channels] = x.amin((2, 3)), x.amax((2, 3))

    def pass_(self, x: Tensor, channels: slice) -> None:
        """Note the ranges of (n, C, H, W), or clamp it to them in place."""
        if self.excess is None:
            self.note(x, channels)
            return
        low, high = self._ranges[:, :, channels].unbind(1)
        beyond = torch.maximum(low - x.amin((2, 3)), x.amax((2, 3)) - high) / (high - low).clamp_min(1e-6)
        self.excess.copy_(torch.maximum(self.excess, beyond.nan_to_num(0.0).amax(1)))
        x.clamp_(low[:, :, None, None], high[:, :, None, None])


class GuardedFlow:
    """A flow in its inference form, which can note the ranges of images, and decode within ranges.

    Attributes:
        image_size, channels, latent_shapes: see `Flow`.
        guarded: R, how many channels are guarded.
    """

    def __init__(self, flow: Glow | GrownGlow, channels: _Channels) -> None:
        self.image_size, self.channels, self.latent_shapes = flow.image_size, flow.channels, flow.latent_shapes
        self.guarded = channels.count

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images (n, C, S, S) -> (z (n, D), log_det (n,))."""
        return self._forward(x, None)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (n, D) -> (images (n, C, S, S), log_det (n,))."""
        return self._inverse(z, None)

    def guarded_inverse(self, z: Tensor, ranges: Tensor, coarse: bool = False) -> tuple[Tensor, Tensor]:
        """Latents (n, D) and ranges (n, 2, R) -> (images, by how many times its width each would have left one (n,)).

        With `coarse`, the images' 2×2 means, of a flow that has them.
        """
        guard = _Guard(ranges, ranges.new_zeros(len(z)))
        images = self._means(z, guard) if coarse else self._inverse(z, guard)[0]
        assert guard.excess is not None
        return images, guard.excess

    def noted_forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images (n, C, S, S) -> (z (n, D), their ranges (n, 2, R): what is clamped when they are decoded)."""
        ranges = x.new_zeros(len(x), 2, self.guarded)
        return self._forward(x, _Guard(ranges))[0], ranges

    def noted_inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (n, D) -> (images (n, C, S, S), their ranges (n, 2, R))."""
        ranges = z.new_zeros(len(z), 2, self.guarded)
        return self._inverse(z, _Guard(ranges))[0], ranges

    def _forward(self, x: Tensor, guard: _Guard | None) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def _inverse(self, z: Tensor, guard: _Guard | None) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def _means(self, z: Tensor, guard: _Guard | None) -> Tensor:
        raise NotImplementedError


class _Glow(GuardedFlow):
    """A `Glow`."""

    def __init__(self, flow: Glow, nets: torch.dtype | None, channels: _Channels) -> None:
        shapes = flow.config.level_shapes
        self._levels = [
            _InPieces(_Level(level, shape, nets, channels)) for level, shape in zip(flow.levels, shapes, strict=True)
        ]
        self._top = flow.top
        super().__init__(flow, channels)

    def _forward(self, x: Tensor, guard: _Guard | None) -> tuple[Tensor, Tensor]:
        latents, total = [], x.new_zeros(len(x))
        for level in self._levels:
            x, eps, log_det = level.forward(x, guard)
            total = total + log_det
            if eps is not None:
                latents.append(eps.flatten(1))
        x, log_det = self._top(x)
        return torch.cat([*latents, x.flatten(1)], 1), total + log_det

    def _inverse(self, z: Tensor, guard: _Guard | None) -> tuple[Tensor, Tensor]:
        parts = z.split([math.prod(shape) for shape in self.latent_shapes], 1)
        *latents, top = (part.reshape(len(z), *shape) for part, shape in zip(parts, self.latent_shapes, strict=True))
        x, total = self._top.inverse(top)
        for level, eps in zip(reversed(self._levels), [None, *reversed(latents)], strict=True):
            x, log_det = level.inverse(x, eps, guard)
            total = total + log_det
        return x, total


class _Grown(GuardedFlow):
    """A `GrownGlow`."""

    def __init__(self, flow: GrownGlow, nets: torch.dtype | None, channels: _Channels) -> None:
        self._details = _InPieces(_Details(flow.details, flow.base.image_size, nets, channels))
        self._base = _guarded(flow.base, nets, channels)
        super().__init__(flow, channels)

    def _forward(self, x: Tensor, guard: _Guard | None) -> tuple[Tensor, Tensor]:
        means, details = haar_split(x)
        eps, details_log_det = self._details.forward(details, means, guard)
        z, base_log_det = self._base._forward(means, guard)
        return torch.cat([eps.flatten(1), z], 1), details_log_det + base_log_det - means[0].numel() * math.log(2)

    def _parts(self, z: Tensor) -> tuple[Tensor, ...]:
        finest = math.prod(self.latent_shapes[0])
        return z.split([finest, z.shape[1] - finest], 1)

    def means(self, z: Tensor) -> Tensor:
        """The 2×2 means of `inverse(z)[0]`, (n, C, S/2, S/2), from the base alone: half the time."""
        return self._means(z, None)

    def _means(self, z: Tensor, guard: _Guard | None) -> Tensor:
        return self._base._inverse(self._parts(z)[1], guard)[0]

    def _inverse(self, z: Tensor, guard: _Guard | None) -> tuple[Tensor, Tensor]:
        eps, rest = self._parts(z)
        means, base_log_det = self._base._inverse(rest, guard)
        eps = eps.reshape(len(z), *self.latent_shapes[0])
        details, details_log_det = self._details.inverse(eps, means, guard)
        log_det = details_log_det + base_log_det + math.prod(means.shape[1:]) * math.log(2)
        return haar_merge(means, details), log_det


class _Level:
    """A `Level` of a Glow."""

    def __init__(
        self, level: Level, shape: tuple[int, int, int], nets: torch.dtype | None, channels: _Channels
    ) -> None:
        self._squeeze, self._unsqueeze, self._split = level.squeeze, level.unsqueeze, level.split
        self.steps = [_Step(step, shape[0], shape[1:], nets, channels) for step in level.steps]
        self._scales = channels.take(shape[0] // 2) if level.split is not None else slice(0)

    def forward(self, x: Tensor, guard: _Guard | None) -> tuple[Tensor, Tensor | None, Tensor]:
        """(n, C, H, W) -> (rest, eps or None, log_det)."""
        x, total = self._squeeze(x).contiguous(memory_format=torch.channels_last), x.new_zeros(len(x))
        for step in self.steps:
            x, log_det = step.forward(x, None, guard)
            total = total + log_det
        if self._split is None:
            return x, None, total
        first, second = x.chunk(2, 1)
        mean, log_std = self._split.mean_and_log_std(first)
        if guard is not None:
            guard.note(log_std, self._scales)
        return first, (second - mean) * (-log_std).exp(), total - log_std.sum((1, 2, 3))

    def inverse(self, x: Tensor, eps: Tensor | None, guard: _Guard | None) -> tuple[Tensor, Tensor]:
        """(rest, eps or None) -> (x, log_det)."""
        total = x.new_zeros(len(x))
        if self._split is not None:
            assert eps is not None  # only the coarsest level has none
            mean, log_std = self._split.mean_and_log_std(x)
            if guard is not None:
                guard.pass_(log_std, self._scales)
            x, total = torch.cat([x, eps * log_std.exp() + mean], 1), log_std.sum((1, 2, 3))
        for step in reversed(self.steps):
            x, log_det = step.inverse(x, None, guard)
            total = total + log_det
        return self._unsqueeze(x), total


class _Details:
    """A `DetailFlow`: details given means."""

    def __init__(self, flow: DetailFlow, side: int, nets: torch.dtype | None, channels: _Channels) -> None:
        self._flow = flow
        details = 3 * flow.context_in.in_channels
        self.steps = [_Step(step, details, (side, side), nets, channels) for step in flow.steps]
        self._scales = channels.take(details)

    def forward(self, details: Tensor, means: Tensor, guard: _Guard | None) -> tuple[Tensor, Tensor]:
        """(n, 3C, H, W) and (n, C, H, W) -> (eps, log_det)."""
        context = self._flow.context(means)
        x, total = details.contiguous(memory_format=torch.channels_last), details.new_zeros(len(details))
        for step in self.steps:
            x, log_det = step.forward(x, context, guard)
            total = total + log_det
        mean, log_std = self._flow.prior(context).chunk(2, 1)
        if guard is not None:
            guard.note(log_std, self._scales)
        return (x - mean) * (-log_std).exp(), total - log_std.sum((1, 2, 3))

    def inverse(self, eps: Tensor, means: Tensor, guard: _Guard | None) -> tuple[Tensor, Tensor]:
        """eps and (n, C, H, W) -> (details, log_det)."""
        context = self._flow.context(means)
        mean, log_std = self._flow.prior(context).chunk(2, 1)
        if guard is not None:
            guard.pass_(log_std, self._scales)
        x, total = eps * log_std.exp() + mean, log_std.sum((1, 2, 3))
        for step in reversed(self.steps):
            x, log_det = step.inverse(x, context, guard)
            total = total + log_det
        return x, total


class _InPieces:
    """A level that takes a few images at a time."""

    def __init__(self, level: Any) -> None:
        self._level = level
        self._bytes = max(step.net.bytes for step in level.steps)

    def forward(self, *batches: Any) -> tuple[Any, ...]:
        return self._in_pieces(self._level.forward, batches)

    def inverse(self, *batches: Any) -> tuple[Any, ...]:
        return self._in_pieces(self._level.inverse, batches)

    def _in_pieces(self, function: Any, batches: tuple[Any, ...]) -> tuple[Any, ...]:
        first = cast(Tensor, batches[0])
        rows = max(1, _CACHE * torch.get_num_threads() // self._bytes)
        if rows >= len(first) or first.device.type != "cpu":
            return function(*batches)
        pieces = [
            function(*(batch if batch is None else batch[start : start + rows] for batch in batches))
            for start in range(0, len(first), rows)
        ]
        return tuple(None if parts[0] is None else torch.cat(parts) for parts in zip(*pieces, strict=True))


class _Step:
    """A step of any flow here: a linear map of the channels, then a coupling (see there for the words)."""

    def __init__(self, step: Any, channels: int, size: _Size, nets: torch.dtype | None, places: _Channels) -> None:
        coupling: Coupling = step.coupling
        self._dtype = nets or torch.float32
        self.linear = _Linear(step.conv1x1, step.actnorm)
        self.net = _Net(cast(CouplingNet, coupling.net), size, self._dtype)
        self._log_scale = coupling.log_scale
        self._scale_first, self._transforms_first = coupling.scale_first, coupling.transforms_first
        self._channels = places.take(channels)

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
        return b, t, log_s

    def forward(self, x: Tensor, context: Tensor | None = None, guard: _Guard | None = None) -> tuple[Tensor, Tensor]:
        """(n, C, H, W) -> (y, log_det)."""
        x, log_det = self.linear.forward(x)
        b, t, log_s = self._read(x, context)
        if log_s is None:
            b.add_(t)
        elif self._scale_first:
            b.mul_(log_s.exp()).add_(t)
        else:
            b.add_(t).mul_(log_s.exp())
        if guard is not None:
            guard.note(x, self._channels)
        return x, log_det if log_s is None else log_det + log_s.sum((1, 2, 3))

    def inverse(self, y: Tensor, context: Tensor | None = None, guard: _Guard | None = None) -> tuple[Tensor, Tensor]:
        """(n, C, H, W), which is written over, -> (x, log_det)."""
        if guard is not None:
            guard.pass_(y, self._channels)
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
    """`y = W x + c` at every pixel: an actnorm, and the 1×1 convolution behind it."""

    def __init__(self, conv1x1: InvertibleConv1x1, actnorm: ActNorm) -> None:
        weight, bias = conv1x1.weight() * actnorm.log_scale.exp(), actnorm.bias
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
