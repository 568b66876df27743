"""Wavelet Flow: a trained flow for the 2×2 means of an image, and a conditional one for the Haar details above them."""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Annotated, Any, cast

import torch
import torch.nn.functional as F
from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass
from pydantic_core import to_jsonable_python
from torch import Tensor, nn

from .base import KNOWN_ALONE, Guard, MixedPrecision, Shape, count, number
from .glow import Glow, GlowConfig, Step, by_level
from .layers import Conv3x3, CouplingConfig, CouplingNet, InvertibleConv1x1, factors_of, spread, tanh_log_scale

_LARGEST_SIDE = 1024


def haar_split(x: Tensor) -> tuple[Tensor, Tensor]:
    """(n, C, H, W) -> (low (n, C, H/2, W/2), detail (n, 3C, H/2, W/2)): one level of the 2-D Haar transform.

    Of a block [[p, q], [r, s]] the low-pass is the mean (p + q + r + s) / 4, and the details are (p - q + r - s) / 2,
    (p + q - r - s) / 2 and (p - q - r + s) / 2: horizontal, vertical, diagonal, each of all channels. With twice the
    mean it would be orthonormal, so the log-determinant is -log 2 for each mean.
    """
    p, q, r, s = F.pixel_unshuffle(x, 2).unflatten(1, (-1, 4)).unbind(2)
    top, bottom, left, right = p + q, r + s, p - q, r - s
    return (top + bottom) / 4, torch.cat([left + right, top - bottom, left - right], 1) / 2


def haar_merge(low: Tensor, detail: Tensor) -> Tensor:
    """The inverse of `haar_split`: (n, C, H, W) and (n, 3C, H, W) -> (n, C, 2H, 2W)."""
    horizontal, vertical, diagonal = (detail / 2).chunk(3, 1)
    top, bottom = low + vertical, low - vertical
    left, right = horizontal + diagonal, horizontal - diagonal
    blocks = torch.stack([top + left, top - left, bottom + right, bottom - right], 2)
    return F.pixel_shuffle(blocks.flatten(1, 2), 2)


@dataclass(frozen=True, config=KNOWN_ALONE)
class ScaleConfig:
    """One scale of a context's U-Net: `blocks` residual blocks, or none, of `width` channels."""

    blocks: Annotated[int, Field(ge=0, le=16, strict=True)]
    width: Annotated[int, count(1024)]


@dataclass(frozen=True, config=KNOWN_ALONE)
class DetailConfig:
    """The flow of the details: `steps` conditional steps, nets of `width`, a context of `context` channels.

    `cap` bounds the couplings' log-scales, `prior_cap` those that the low-pass predicts; None is no bound.
    `position_side` is the side of the nets' position maps; None is the low-pass's own. `scales` are those of the U-Net
    that widens the context's view, from half the low-pass's side down; None is no U-Net.
    """

    steps: Annotated[int, count(64)] = 4
    width: Annotated[int, count(1024)] = 64
    context: Annotated[int, count(1024)] = 32
    cap: Annotated[float, number(1e-3, 100)] = 2.0
    prior_cap: Annotated[float, number(1e-3, 100)] | None = None
    position_side: Annotated[int, count(_LARGEST_SIDE)] | None = None
    scales: Annotated[tuple[ScaleConfig, ...], Field(min_length=1, max_length=6)] | None = None


@dataclass(frozen=True)
class WaveletConfig:
    """What fixes a `WaveletGlow`'s shape: the flow of the low-pass, which may itself be one, and of the details."""

    base: "GlowConfig | WaveletConfig"
    details: DetailConfig = DetailConfig()

    def __post_init__(self) -> None:
        if self.image_size > _LARGEST_SIDE:
            raise ValueError(f"image_size must be at most {_LARGEST_SIDE}, not {self.image_size}")

    @property
    def image_size(self) -> int:
        """Side of the images, in pixels: twice the base's."""
        return 2 * self.base.image_size

    @property
    def channels(self) -> int:
        """Colour channels."""
        return self.base.channels

    @property
    def latent_shapes(self) -> tuple[Shape, ...]:
        """(C, H, W) of each level's latent, fine to coarse: the details, then the base's."""
        side = self.base.image_size
        return ((3 * self.channels, side, side), *self.base.latent_shapes)


class ResidualBlock(nn.Module):
    """`h + conv_out(relu(conv_in(relu(h))))`, 3×3 convolutions of `width` channels. It starts as the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(width, width, 3, padding=1)
        self.conv_out = Conv3x3(width, width)

    def forward(self, h: Tensor) -> Tensor:
        """(n, width, H, W) -> the same shape."""
        return h + self.conv_out(self.conv_in(h.relu()).relu_())


class UNet(nn.Module):
    """What a picture looks like from further away: residual blocks at half its side, and so on down.

    `h = down(x)`, a 4×4 convolution with stride 2; then `h + UNet(relu(h))` of the coarser scales, or at the coarsest
    `h + position`, a learned (width, *size) map; then the blocks; then `shuffle(up(relu(h)))`. Most of the weights are
    at the coarsest scale, where they cost the least. `side` is the picture's.

    References:
        | U-Net: Convolutional Networks for Biomedical Image Segmentation (Ronneberger et al., 2015)
        | https://arxiv.org/abs/1505.04597
    """

    def __init__(self, read: int, written: int, side: int, scales: Sequence[ScaleConfig]) -> None:
        super().__init__()
        (scale, *coarser), side = scales, -(-side // 2)
        self.down = nn.Conv2d(read, scale.width, 4, stride=2, padding=1)
        self.coarser = UNet(scale.width, scale.width, side, coarser) if coarser else None
        self.position = None if coarser else nn.Parameter(torch.zeros(scale.width, side, side))
        self.blocks = nn.Sequential(*(ResidualBlock(scale.width) for _ in range(scale.blocks)))
        self.up = nn.Conv2d(scale.width, 4 * written, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, read, H, W) -> (n, written, H, W); of an odd side the last row is repeated."""
        height, width = x.shape[2:]
        if height % 2 or width % 2:
            x = F.pad(x, (0, width % 2, 0, height % 2), "replicate")
        h = self.down(x)
        if self.coarser is not None:
            h += self.coarser(h.relu())
        if self.position is not None:
            h += spread(self.position, (h.shape[2], h.shape[3])).to(h.dtype)
        return F.pixel_shuffle(self.up(self.blocks(h).relu()), 2)[:, :, :height, :width]


class DetailFlow(MixedPrecision):
    """Details given the low-pass: K conditional steps, then a Gaussian whose mean and scale the low-pass predicts.

    The context is `[low, relu(conv(relu(conv(low))))]`; `mean, r = halves(prior(context))`, `log_std = r`, or with a
    bound `prior_cap * tanh(r / prior_cap)`; `eps = (y - mean) * exp(-log_std)`, N(0, I) under the model. `channels` and
    `side` are the low-pass's; details have three times as many channels. With `scales` the context is `[low,
    relu(conv(relu(conv(low) + unet(low))))]`.
    """

    def __init__(self, channels: int, side: int, config: DetailConfig) -> None:
        super().__init__()
        self.context_in = nn.Conv2d(channels, config.context, 3, padding=1)
        self.context_out = nn.Conv2d(config.context, config.context, 3, padding=1)
        self.unet = UNet(channels, config.context, side, config.scales) if config.scales else None
        read, side = channels + config.context, config.position_side or side
        step = partial(Step, 3 * channels, config.width, CouplingConfig(cap=config.cap), (side, side), context=read)
        steps = nn.ModuleList(step() for _ in range(config.steps))
        self.steps = cast("Sequence[Step]", steps)
        self.prior = Conv3x3(read, 6 * channels)
        self._cap = config.prior_cap

    @torch.no_grad()
    def channels_last(self) -> None:
        """Lay the U-Net out with the channels innermost: this takes a tenth off its time on a CPU."""
        if self.unet is not None:
            self.unet.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # torch's stub lacks it

    def context(self, low: Tensor) -> Tensor:
        """What every step reads of the low-pass: (n, C, H, W) -> (n, C + config.context, H, W)."""
        low = low.contiguous(memory_format=torch.channels_last)
        with self.autocast(low):
            h = self.context_in(low)
            if self.unet is not None:
                h += self.unet(low)
            h = self.context_out(h.relu_()).relu_()  # in place: no gradient needs what they were
        return torch.cat([low, h.float()], 1)

    def mean_and_log_std(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Of the Gaussian behind the steps, given a context: (n, 3C, H, W) each."""
        mean, r = self.prior(context).chunk(2, 1)
        return mean, r if self._cap is None else tanh_log_scale(r, self._cap)

    def forward(self, detail: Tensor, low: Tensor, guard: Guard | None = None) -> tuple[Tensor, Tensor]:
        """(n, 3C, H, W) and (n, C, H, W) -> (eps (n, 3C, H, W), log_det (n,))."""
        detail = detail.contiguous(memory_format=torch.channels_last)
        context, total = self.context(low), detail.new_zeros(detail.shape[0])
        for step in self.steps:
            detail, log_det = step(detail, context, guard)
            total = total + log_det
        mean, log_std = self.mean_and_log_std(context)
        if guard is not None:
            guard.note(log_std)
        return (detail - mean) * (-log_std).exp(), total - log_std.sum((1, 2, 3))

    def inverse(self, eps: Tensor, low: Tensor, guard: Guard | None = None) -> tuple[Tensor, Tensor]:
        """The inverse of `forward` for the same low-pass."""
        context = self.context(low)
        mean, log_std = self.mean_and_log_std(context)
        if guard is not None:
            guard.check(log_std)
        detail, total = eps * log_std.exp() + mean, log_std.sum((1, 2, 3))
        for step in reversed(self.steps):
            detail, log_det = step.inverse(detail, context, guard)
            total = total + log_det
        return detail, total


class WaveletGlow(nn.Module):
    """A flow of images twice as large as its base's: `z = [the details' eps, the base's z]`, N(0, I) as ever.

    `low, detail = haar_split(x)`; the base models the low-pass, a `DetailFlow` the details given it. `log p(x) =
    log p(low) + log p(detail | low) - N log 2`, with N numbers in the low-pass (see `haar_split`).

    References:
        | Wavelet Flow: Fast Training of High Resolution Normalizing Flows (Yu et al., 2020)
        | https://arxiv.org/abs/2010.13821
    """

    def __init__(self, config: WaveletConfig) -> None:
        super().__init__()
        self.config, self.image_size, self.channels = config, config.image_size, config.channels
        self.latent_shapes = config.latent_shapes
        self.base = build_flow(config.base)
        self.details = DetailFlow(config.channels, config.base.image_size, config.details)

    def forward(self, x: Tensor, guard: Guard | None = None) -> tuple[Tensor, Tensor]:
        """Images (n, C, S, S) -> (z (n, D), log_det (n,))."""
        low, detail = haar_split(x)
        eps, detail_log_det = self.details(detail, low, guard)
        z, base_log_det = self.base(low, guard)
        return torch.cat([eps.flatten(1), z], 1), detail_log_det + base_log_det - math.prod(low.shape[1:]) * math.log(2)

    def inverse(self, z: Tensor, guard: Guard | None = None, known: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Latents (n, D) -> (images (n, C, S, S), log_det (n,)); of `known` means, (n, C, s, s), those above."""
        shape = self.latent_shapes[0]
        eps, rest = z.split([math.prod(shape), z.shape[1] - math.prod(shape)], 1)
        if known is not None and known.shape[-1] == shape[-1]:
            low, base_log_det = known, z.new_zeros(len(z))
        else:
            low, base_log_det = self.base.inverse(rest, guard, *([] if known is None else [known]))
        detail, detail_log_det = self.details.inverse(eps.unflatten(1, shape), low, guard)
        return haar_merge(low, detail), detail_log_det + base_log_det + math.prod(low.shape[1:]) * math.log(2)


TrainableFlow = Glow | WaveletGlow
"""What is trained here, and kept in the native format."""

FlowConfig = GlowConfig | WaveletConfig
"""What fixes a `TrainableFlow`'s shape."""


def write_config(config: FlowConfig | DetailConfig) -> dict[str, Any]:
    """As JSON stores it, without what is None: old files keep their fingerprints."""
    return to_jsonable_python(config, exclude_none=True)


def read_config(values: Any) -> FlowConfig:
    """The inverse of `write_config`, from parsed JSON; what it does not know at the top is passed over.

    Raises pydantic's ValidationError on anything missing or out of range; RecursionError on what has no end.
    """
    if isinstance(values, dict) and "base" in values:
        return TypeAdapter(WaveletConfig).validate_python(values | {"base": read_config(values["base"])})
    return TypeAdapter(GlowConfig).validate_python(values)


@torch.no_grad()
def build_flow(config: FlowConfig, generator: torch.Generator | None = None) -> TrainableFlow:
    """A new flow of this shape, with the random weights that training begins with where there is a generator."""
    flow = Glow(config) if isinstance(config, GlowConfig) else WaveletGlow(config)
    for module in flow.modules() if generator is not None else ():
        if isinstance(module, InvertibleConv1x1):
            random = torch.randn(module.P.shape, generator=generator, dtype=torch.float64)
            module.load_state_dict(factors_of(torch.linalg.qr(random).Q))
        elif isinstance(module, CouplingNet):
            for conv in (module.conv_in, module.conv_mid):
                conv.weight.normal_(0, 0.05, generator=generator)
                conv.get_parameter("bias").zero_()
        elif isinstance(module, DetailFlow):
            others = () if module.unet is None else module.unet.modules()
            for conv in (part for part in (module.context_in, module.context_out, *others) if type(part) is nn.Conv2d):
                nn.init.kaiming_normal_(conv.weight, nonlinearity="relu", generator=generator)
                conv.get_parameter("bias").zero_()
    return flow


def unrolled(flow: Any) -> list[Any]:
    """A flow, or its configuration, and that of its low-pass, and so on: the last one is of a Glow."""
    return [flow, *(unrolled(flow.base) if isinstance(flow, WaveletGlow | WaveletConfig) else [])]


def encode_levels(flow: TrainableFlow, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The factors of the density of images x, (n, C, S, S), fine to coarse: details given their low-pass, then a Glow.

    Each is (eps, log_det (n,)) in its own variables: eps is (n, 3C, H, W) for details, and flat z for the Glow.
    """
    *wavelets, glow = unrolled(flow)
    for one in wavelets:
        x, detail = haar_split(x)
        yield one.details(detail, x)
    yield glow(x)


@torch.no_grad()
def whiten(flow: TrainableFlow, x: Tensor) -> None:
    """Scale the latents so that those of images x, (n, C, S, S), have a root mean square of 1 in each channel.

    A level that is off by no more than the chance of which images were looked at stays as it is.
    """
    *wavelets, glow = unrolled(flow)
    priors = [one.details.prior for one in wavelets] + [level.split.prior for level in glow.levels[:-1]]
    log_stds = [None if prior is None else prior.bias for prior in priors]
    for eps, log_std in zip(by_level(flow(x)[0], flow.latent_shapes), [*log_stds, glow.top.log_std], strict=True):
        if log_std is not None and abs(0.5 * math.log(float(eps.square().mean()) + 1e-6)) > 0.05:
            log_rms = 0.5 * torch.log(eps.square().mean((0, 2, 3)) + 1e-6)
            log_std[-len(log_rms) :] += log_rms.reshape(-1, *[1] * (log_std.ndim - 1))
