"""The fused flow, which encodes and draws: a flow's numbers with constants folded, and a guard for decoding.

An actnorm and the 1×1 convolution behind it are one matrix and one vector, and so is their inverse, in float64. A net's
gain is in its last convolution; its position map and its sight of the border are one map. A coupling writes into the
tensor that the 1×1 convolution has just made. A level takes so few images at a time that the widest map of its nets
stays in the cache.

It also decodes with a guard. A flow is trained from images to latents. On the way back, a draw that no image led to can
put a coupling's input where its net never was. The net answers with a large scale, the next coupling gets more of the
same, and within a few steps the values explode, in one place. So the values of each channel are clamped, where they
enter a coupling and where a split predicts its log-scales, to the range that they have for known images. Known images
decode as before, to the bit, and so does every draw that stays inside.

References:
    | Understanding and mitigating exploding inverses in invertible neural networks (Behrmann et al., 2021)
    | https://arxiv.org/abs/2006.09347
"""

import copy
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import Guard, excess, exporting
from .glow import Level, Step
from .layers import Conv3x3, CouplingNet, InvertibleConv1x1, innermost_channels
from .wavelet import DetailFlow, TrainableFlow, WaveletGlow, unrolled

M = TypeVar("M", bound=nn.Module)
Pixels = Callable[[Tensor], Tensor]

_CACHE = 2**22
"""Bytes of the widest hidden map that a core works on at once. More than its second-level cache has: below some four
images torch takes slower ways through a convolution, which costs more than the next cache does."""

_SMALL = 4
"""Side of the maps on which oneDNN's 1×1 convolution is the slower one: it puts the weights in its own order first."""


class GuardedFlow:
    """A flow fused, of its weights as they are now, without gradients. It can note and keep to the ranges of images.

    `nets` is the type in which the nets inside couplings compute; None is float32. Weights that need no change are
    shared. `guarded` is R, how many channels are guarded: those that enter each coupling, and each level's log-scales.
    """

    @torch.no_grad()
    def __init__(self, flow: TrainableFlow, nets: torch.dtype | None = None) -> None:
        self.image_size, self.channels, self.latent_shapes = flow.image_size, flow.channels, flow.latent_shapes
        mixed = sum(len(part.log_diag) for part in flow.modules() if isinstance(part, InvertibleConv1x1))
        self.guarded = mixed + sum(channels for channels, _, _ in flow.latent_shapes[:-1])
        self._flow = _fused(flow, nets or torch.float32)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images (n, C, S, S) -> (z (n, D), log_det (n,))."""
        return self._flow(x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (n, D) -> (images (n, C, S, S), log_det (n,))."""
        return self._flow.inverse(z)

    @property
    def halvings(self) -> int:
        """How often `low_pass` can halve the side: 0 for a Glow."""
        return len(unrolled(self._flow)) - 1

    def low_pass(self, z: Tensor, times: int = 1, guard: Guard | None = None, known: Tensor | None = None) -> Tensor:
        """The 2×2 means of `inverse(z)[0]`, so many times, (n, C, S/2ᵗ, S/2ᵗ), without the finest details.

        One halving saves half the time. `times` is from 0 to `halvings`. Of `known` means, (n, C, s, s), of one more
        halving or several, only the details above them are computed.
        """
        flow = unrolled(self._flow)[times]
        z = z[:, -flow.channels * flow.image_size**2 :]
        return flow.inverse(z, guard, *([] if known is None else [known]))[0]

    def decode(
        self, z: Tensor, ranges: Tensor | None = None, times: int = 0, known: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Latents (n, D), and ranges (n, 2, R) or None -> images, and the `excess` of each, (n,).

        The side of the images is halved so many times, and some means of them may be known: see `low_pass`.
        """
        if ranges is None:
            return self.low_pass(z, times, None, known), z.new_zeros(len(z))
        if known is not None:  # only the details of larger images are guarded
            above = [one for one in unrolled(self._flow.config) if one.image_size > known.shape[-1]]
            ranges = ranges[:, :, : sum(3 * self.channels * (one.details.steps + 1) for one in above)]
        images, seen = self.decode_and_see(z, ranges, times, known)
        return images, excess(ranges, seen)

    def decode_and_see(
        self, z: Tensor, ranges: Tensor | None = None, times: int = 0, known: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """As `decode`, and the images' own ranges, (n, 2, R), before they are clamped; what was given of other places.

        Other places are those of details that smaller images leave out. Without `ranges` there are none of these.
        """
        guard = Guard(ranges)
        images = self.low_pass(z, times, guard, known)
        others = [] if guard.ranges is None else [guard.ranges]
        return images, torch.cat([*others, *reversed(guard.seen)], 2)

    def noted_forward(self, x: Tensor, times: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """As `forward`, and the images' ranges, (n, 2, R): what is clamped when they are decoded.

        Of means (see `low_pass`) there are the last numbers of z, and the last ranges: without those of finer details.
        """
        guard = Guard()
        z, log_det = unrolled(self._flow)[times](x, guard)
        return z, log_det, torch.cat(guard.seen, 2)


def _fused(flow: TrainableFlow, nets: torch.dtype) -> TrainableFlow:
    """The flow with fused steps, and levels that take a few images at a time."""
    if isinstance(flow, WaveletGlow):
        details = _InPieces(flow.details, flow.base.image_size, nets)
        return _changed(flow, details=details, base=_fused(flow.base, nets))
    levels = zip(flow.levels, flow.config.level_shapes, strict=True)
    return _changed(flow, levels=[_InPieces(level, side, nets) for level, (_, side, _) in levels])


def _changed(module: M, **parts: Any) -> M:
    """The same module with other parts, which need be no modules."""
    changed = copy.copy(module)
    changed._modules = {name: part for name, part in module._modules.items() if name not in parts}
    changed.__dict__.update(parts)
    return changed


class _InPieces:
    """A level of fused steps that takes a few images at a time."""

    def __init__(self, level: Level | DetailFlow, side: int, nets: torch.dtype) -> None:
        steps = [_FusedStep(step, side, nets) for step in level.steps]
        self._level: Any = _changed(level, steps=steps)
        self._size = max(step.net.bytes for step in steps)

    def __call__(self, *batches: Any) -> tuple[Any, ...]:
        """See `Level.forward` and `DetailFlow.forward`."""
        return self._in_pieces(self._level.forward, batches)

    def inverse(self, *batches: Any) -> tuple[Any, ...]:
        """See `Level.inverse` and `DetailFlow.inverse`."""
        return self._in_pieces(self._level.inverse, batches)

    def _in_pieces(self, function: Callable[..., tuple[Any, ...]], batches: tuple[Any, ...]) -> tuple[Any, ...]:
        if exporting():  # a graph takes any number of images
            return function(*batches)
        *tensors, guard = batches
        rows, n = max(1, _CACHE * torch.get_num_threads() // self._size), len(tensors[0])
        if rows >= n or tensors[0].device.type != "cpu":
            return function(*batches)
        parts = [slice(start, start + rows) for start in range(0, n, rows)]
        guards = [guard and guard.rows(part) for part in parts]
        pieces = [
            function(*(None if tensor is None else tensor[part] for tensor in tensors), own)
            for part, own in zip(parts, guards, strict=True)
        ]
        if guard:
            guard.join(guards)
        return tuple(None if parts[0] is None else torch.cat(parts) for parts in zip(*pieces, strict=True))


class _FusedStep:
    """A `Step`: `y = W x + c` at every pixel, an actnorm and the 1×1 convolution behind it; then a coupling."""

    def __init__(self, step: Step, side: int, nets: torch.dtype) -> None:
        weight, bias = step.conv1x1.weight() * step.actnorm.log_scale.exp(), step.actnorm.bias
        exact = weight.cpu().double()  # on the CPU: Apple's GPUs have no float64
        self._log_det = float(torch.linalg.slogdet(exact).logabsdet) * side**2
        self._weight, self._bias = weight[:, :, None, None], weight @ bias
        self._inverse, self._inverse_bias = torch.linalg.inv(exact).to(weight)[:, :, None, None], -bias
        self.net = _FusedNet(cast(CouplingNet, step.coupling.net), side, nets)
        self._coupling = _changed(step.coupling, net=self.net, in_place=True)

    def __call__(self, x: Tensor, context: Tensor | None, guard: Guard | None) -> tuple[Tensor, Tensor]:
        """(n, C, H, W) -> (y, log_det)."""
        x, log_det = self._coupling.forward(F.conv2d(x, self._weight, self._bias), context)
        if guard is not None:
            guard.note(x)
        return x, self._log_det + log_det

    def inverse(self, y: Tensor, context: Tensor | None, guard: Guard | None) -> tuple[Tensor, Tensor]:
        """(n, C, H, W), which is written over, -> (x, log_det)."""
        if guard is not None:
            guard.check(y)
        y, log_det = self._coupling.inverse(y, context)
        return F.conv2d(y, self._inverse, self._inverse_bias), log_det - self._log_det


class _FusedNet:
    """A `CouplingNet`."""

    def __init__(self, net: CouplingNet, side: int, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._in = _Conv(net.conv_in, side, dtype, net.position_over((side, side)), torch.ones_like(net.conv_in.bias))
        self._mid, self._bias = net.conv_mid.weight.to(dtype), net.conv_mid.get_parameter("bias").to(dtype)
        self._out = _Conv(net.conv_out, side, dtype, None, (3 * net.log_gain).exp())
        self.bytes = 4 * len(self._bias) * side**2
        # On an AMD processor with AVX-512, MKL takes twice as long (`benchmarks.peers --profile`).
        both = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()
        self._by_onednn = both and side > _SMALL and self._mid.device.type == "cpu" and dtype == torch.float32

    def __call__(self, a: Tensor, context: Tensor | None = None) -> Tensor:
        """(n, read, H, W) -> (n, written, H, W)."""
        a = a.to(self._dtype, memory_format=torch.channels_last)
        h = self._in(a if context is None else torch.cat([a, context.to(self._dtype)], 1)).relu_()
        if exporting():
            return self._out(F.conv2d(h, self._mid, self._bias).relu())
        if self._by_onednn:  # conv2d takes it for many images or threads alone
            h = torch.mkldnn_convolution(h, self._mid, self._bias, (0, 0), (1, 1), (1, 1), 1)
        else:  # a 1×1 convolution of a channels-last map, as the product of matrices that it is
            h = F.linear(h.permute(0, 2, 3, 1), self._mid[:, :, 0, 0], self._bias).permute(0, 3, 1, 2)
        return self._out(h.relu_())


class _Conv:
    """A `Conv3x3` in which all that is added, at every pixel the same or not, is one sum."""

    def __init__(self, conv: Conv3x3, side: int, dtype: torch.dtype, plus: Tensor | None, gain: Tensor) -> None:
        weight, bias = conv.weight[:, : -1 if conv.edge else None], conv.bias[:, None, None]
        if conv.edge:
            bias = conv(weight.new_zeros(1, weight.shape[1], side, side))[0]
        bias = (bias if plus is None else bias + plus) * gain[:, None, None]
        self._weight = (weight * gain[:, None, None, None]).to(dtype, memory_format=torch.channels_last)
        same, bias = bias.shape[1:] == (1, 1), bias.to(dtype)
        self._bias, self._map = (bias.flatten(), None) if same else (None, innermost_channels(bias))

    def __call__(self, x: Tensor) -> Tensor:
        """(n, in, H, W) -> (n, out, H, W)."""
        y = F.conv2d(x, self._weight, self._bias, padding=1)
        return y if self._map is None else y.add_(self._map)


# What becomes a graph: tensors in, tensors out, for any number of images.


class Encode(nn.Module):
    """Images (n, C, S, S), of which `to_flow` makes x -> z (n, D), log_det (n,), ranges (n, 2, R)."""

    inputs, outputs = ("images",), ("z", "log_det", "ranges")

    def __init__(self, flow: GuardedFlow, to_flow: Pixels = lambda x: x) -> None:
        super().__init__()
        self._flow, self._to_flow = flow, to_flow

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return GuardedFlow.noted_forward(self._flow, self._to_flow(images))


class Decode(nn.Module):
    """z (n, D) and ranges (n, 2, R) -> images, their side halved `times`, and what the guard saw, (n, 2, R).

    That is their ranges where it held nothing. The coarser images have no values at the places that belong to finer
    details: what was given.
    """

    inputs, outputs = ("z", "ranges"), ("images", "seen")

    def __init__(self, flow: GuardedFlow, times: int = 0, from_flow: Pixels = lambda x: x) -> None:
        super().__init__()
        self._flow, self._times, self._from_flow = flow, times, from_flow

    def forward(self, z: Tensor, ranges: Tensor) -> tuple[Tensor, ...]:
        images, seen = GuardedFlow.decode_and_see(self._flow, z, ranges, self._times)
        return self._from_flow(images), seen
