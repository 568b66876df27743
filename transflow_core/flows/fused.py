"""The fused flow, which encodes and draws: a flow's numbers with constants folded, and a guard for decoding.

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
from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Flow, Shape
from .glow import Level, Step, unflatten
from .layers import ActNorm, Conv3x3, CouplingNet, InvertibleConv1x1, innermost_channels
from .wavelet import DetailFlow, TrainableFlow, WaveletGlow, haar_merge, haar_split

_CACHE = 2**22
"""Bytes of the widest hidden map that a core works on at once. More than its second-level cache has: below some four
images torch takes slower ways through a convolution, which costs more than the next cache does."""


@torch.no_grad()
def fuse(flow: Flow, nets: torch.dtype | None = None) -> Flow:
    """The same flow, of its weights as they are now, where they are now; a flow that is none of ours is given back.

    Args:
        flow: a Glow or a WaveletGlow. It stays as it is, and shares the weights that need no change.
        nets: the type in which the nets inside couplings compute; None is float32.

    Example:
        >>> from .glow import Glow, GlowConfig, LevelConfig
        >>> glow = Glow(GlowConfig(8, (LevelConfig(2, 16),)), torch.Generator().manual_seed(0))
        >>> z = torch.zeros(1, 192)
        >>> with torch.no_grad():  # it writes in place, and so has no gradients
        ...     torch.allclose(fuse(glow).inverse(z)[0], glow.inverse(z)[0], atol=1e-6)
        True
    """
    if isinstance(flow, TrainableFlow):
        return (GuardedWaveletFlow if isinstance(flow, WaveletGlow) else GuardedFlow)(flow, nets)
    return flow


class GuardedFlow:
    """A fused flow, which can note the ranges of images, and decode within ranges.

    Attributes:
        image_size, channels, latent_shapes: see `Flow`.
        guarded: R, how many channels are guarded.
    """

    def __init__(self, flow: TrainableFlow, nets: torch.dtype | None) -> None:
        self.image_size, self.channels, self.latent_shapes = flow.image_size, flow.channels, flow.latent_shapes
        places, self._details, self._levels = _Places(), [], []
        while isinstance(flow, WaveletGlow):
            self._details.append(_InPieces(_Details(flow.details, flow.base.image_size, nets, places)))
            flow = flow.base
        for level, shape in zip(flow.levels, flow.config.level_shapes, strict=True):
            self._levels.append(_InPieces(_Level(level, shape, nets, places)))
        self._top = flow.top
        self.guarded = places.count

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
        excess = ranges.new_zeros(len(z))
        return self._inverse(z, _Guard(ranges, excess), finest=int(coarse))[0], excess

    def noted_forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images (n, C, S, S) -> (z (n, D), their ranges (n, 2, R): what is clamped when they are decoded)."""
        ranges = x.new_zeros(len(x), 2, self.guarded)
        return self._forward(x, _Guard(ranges))[0], ranges

    def noted_inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (n, D) -> (images (n, C, S, S), their ranges (n, 2, R))."""
        ranges = z.new_zeros(len(z), 2, self.guarded)
        return self._inverse(z, _Guard(ranges))[0], ranges

    def _forward(self, x: Tensor, guard: _Guard | None) -> tuple[Tensor, Tensor]:
        latents, log_dets = [], []
        for details in self._details:
            x, detail = haar_split(x)
            eps, log_det = details.forward(detail, x, guard)
            latents.append(eps.flatten(1))
            log_dets.append((log_det, math.prod(x.shape[1:]) * math.log(2)))
        total = x.new_zeros(len(x))
        for level in self._levels:
            x, eps, log_det = level.forward(x, guard)
            total = total + log_det
            if eps is not None:
                latents.append(eps.flatten(1))
        x, log_det = self._top(x)
        total = total + log_det
        for log_det, haar in reversed(log_dets):
            total = log_det + total - haar
        return torch.cat([*latents, x.flatten(1)], 1), total

    def _inverse(self, z: Tensor, guard: _Guard | None, finest: int = 0) -> tuple[Tensor, Tensor]:
        """As `inverse`, without details that are finer than the `finest`."""
        *latents, top = unflatten(z, self.latent_shapes)
        count = len(self._details)
        x, total = self._top.inverse(top)
        for level, eps in zip(reversed(self._levels), [None, *reversed(latents[count:])], strict=True):
            x, log_det = level.inverse(x, eps, guard)
            total = total + log_det
        for details, eps in zip(reversed(self._details[finest:]), reversed(latents[finest:count]), strict=True):
            detail, log_det = details.inverse(eps, x, guard)
            total = log_det + total + math.prod(x.shape[1:]) * math.log(2)
            x = haar_merge(x, detail)
        return x, total


class GuardedWaveletFlow(GuardedFlow):
    """One of a `WaveletGlow`, which has coarser images."""

    def low_pass(self, z: Tensor) -> Tensor:
        """The 2×2 means of `inverse(z)[0]`, (n, C, S/2, S/2), without the finest details: half the time."""
        return self._inverse(z, None, finest=1)[0]


class _Guard:
    """Ranges of a batch, (n, 2, R): each image's least and largest value of every channel that is guarded.

    Either what passes is noted in them; or it is clamped to them, and `excess` (n,) is how many times its width each
    image would have left a range.
    """

    def __init__(self, ranges: Tensor, excess: Tensor | None = None) -> None:
        self._ranges, self.excess = ranges, excess

    def __getitem__(self, rows: slice) -> _Guard:
        return type(self)(self._ranges[rows], None if self.excess is None else self.excess[rows])

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


class _Places:
    """Gives each place that is guarded its channels of a row of ranges."""

    count = 0

    def take(self, count: int) -> slice:
        self.count += count
        return slice(self.count - count, self.count)


class _InPieces:
    """A level that takes a few images at a time."""

    def __init__(self, level: _Level | _Details) -> None:
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


class _Steps:
    """The steps of a level or of details, and the log-scales that are guarded behind them."""

    def __init__(
        self, steps: Sequence[Step], shape: Shape, scales: int, nets: torch.dtype | None, places: _Places
    ) -> None:
        self.steps = [_Step(step, shape, nets, places) for step in steps]
        self._scales = places.take(scales)

    def _up(self, x: Tensor, context: Tensor | None, guard: _Guard | None) -> tuple[Tensor, Tensor]:
        x, total = x.contiguous(memory_format=torch.channels_last), x.new_zeros(len(x))
        for step in self.steps:
            x, log_det = step.forward(x, context, guard)
            total = total + log_det
        return x, total

    def _down(self, x: Tensor, total: Tensor, context: Tensor | None, guard: _Guard | None) -> tuple[Tensor, Tensor]:
        for step in reversed(self.steps):
            x, log_det = step.inverse(x, context, guard)
            total = total + log_det
        return x, total


class _Level(_Steps):
    """A `Level` of a Glow."""

    def __init__(self, level: Level, shape: Shape, nets: torch.dtype | None, places: _Places) -> None:
        super().__init__(level.steps, shape, shape[0] // 2 if level.split is not None else 0, nets, places)
        self._squeeze, self._unsqueeze, self._split = level.squeeze, level.unsqueeze, level.split

    def forward(self, x: Tensor, guard: _Guard | None) -> tuple[Tensor, Tensor | None, Tensor]:
        """(n, C, H, W) -> (rest, eps or None, log_det)."""
        x, total = self._up(self._squeeze(x), None, guard)
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
        x, total = self._down(x, total, None, guard)
        return self._unsqueeze(x), total


class _Details(_Steps):
    """A `DetailFlow`: details given the low-pass."""

    def __init__(self, flow: DetailFlow, side: int, nets: torch.dtype | None, places: _Places) -> None:
        channels = 3 * flow.context_in.in_channels
        super().__init__(flow.steps, (channels, side, side), channels, nets, places)
        self._flow = flow

    def forward(self, detail: Tensor, low: Tensor, guard: _Guard | None) -> tuple[Tensor, Tensor]:
        """(n, 3C, H, W) and (n, C, H, W) -> (eps, log_det)."""
        context = self._flow.context(low)
        x, total = self._up(detail, context, guard)
        mean, log_std = self._flow.prior(context).chunk(2, 1)
        if guard is not None:
            guard.note(log_std, self._scales)
        return (x - mean) * (-log_std).exp(), total - log_std.sum((1, 2, 3))

    def inverse(self, eps: Tensor, low: Tensor, guard: _Guard | None) -> tuple[Tensor, Tensor]:
        """eps and (n, C, H, W) -> (details, log_det)."""
        context = self._flow.context(low)
        mean, log_std = self._flow.prior(context).chunk(2, 1)
        if guard is not None:
            guard.pass_(log_std, self._scales)
        return self._down(eps * log_std.exp() + mean, log_std.sum((1, 2, 3)), context, guard)


class _Step:
    """A `Step`: a linear map of the channels, then a coupling (see there for the words)."""

    def __init__(self, step: Step, shape: Shape, nets: torch.dtype | None, places: _Places) -> None:
        coupling = step.coupling
        self._dtype = nets or torch.float32
        self._linear = _Linear(step.conv1x1, step.actnorm)
        self.net = _Net(cast(CouplingNet, coupling.net), shape[1:], self._dtype)
        self._log_scale, self._scale_first = coupling.log_scale, coupling.scale_first
        self._transforms_first = coupling.transforms_first
        self._channels = places.take(shape[0])

    def _read(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """(the half of x that changes, its shift, its log-scale)."""
        a, b = x.chunk(2, 1)
        if self._transforms_first:
            a, b = b, a
        context = context if context is None else context.to(self._dtype)
        h = self.net(a.to(self._dtype, memory_format=torch.channels_last), context).float()
        if self._log_scale is None:
            return b, h, None
        t, r = h.chunk(2, 1)
        return b, t, self._log_scale(r)

    def forward(self, x: Tensor, context: Tensor | None, guard: _Guard | None) -> tuple[Tensor, Tensor]:
        """(n, C, H, W) -> (y, log_det)."""
        x, log_det = self._linear.forward(x)
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

    def inverse(self, y: Tensor, context: Tensor | None, guard: _Guard | None) -> tuple[Tensor, Tensor]:
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
        x, log_det = self._linear.inverse(y)
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


class _Net:
    """A `CouplingNet`."""

    def __init__(self, net: CouplingNet, size: tuple[int, int], dtype: torch.dtype) -> None:
        self._in = _Conv(net.conv_in, size, dtype, plus=net.position)
        self._mid, self._bias = net.conv_mid.weight[:, :, 0, 0].to(dtype), net.conv_mid.get_parameter("bias").to(dtype)
        self._out = _Conv(net.conv_out, size, dtype, gain=(3 * net.log_gain).exp())
        self.bytes = 4 * len(self._bias) * size[0] * size[1]

    def __call__(self, a: Tensor, context: Tensor | None) -> Tensor:
        """(n, read, H, W) -> (n, written, H, W)."""
        h = self._in(a if context is None else torch.cat([a, context], 1)).relu_()
        # A 1×1 convolution of a channels-last map, as the product of matrices that it is.
        h = F.linear(h.permute(0, 2, 3, 1), self._mid, self._bias).permute(0, 3, 1, 2)
        return self._out(h.relu_())


class _Conv:
    """A `Conv3x3` in which all that is added, at every pixel the same or not, is one sum."""

    def __init__(
        self,
        conv: Conv3x3,
        size: tuple[int, int],
        dtype: torch.dtype,
        plus: Tensor | None = None,
        gain: Tensor | None = None,
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
