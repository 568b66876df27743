"""Glow: squeeze, steps of flow, split, repeated; assembled from a small configuration."""

import math
from collections.abc import Sequence
from typing import Annotated, cast

import torch
import torch.nn.functional as F
from pydantic import Field, StrictBool
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from .base import KNOWN_ALONE, Guard, Shape, count
from .layers import ActNorm, Conv3x3, Coupling, CouplingConfig, CouplingNet, InvertibleConv1x1


@dataclass(frozen=True, config=KNOWN_ALONE)
class LevelConfig:
    """One level: `steps` flow steps whose coupling nets have `width` hidden channels.

    `coupling` replaces the flow's own in this level.
    """

    steps: Annotated[int, count(128)]
    width: Annotated[int, count(4096)]
    coupling: CouplingConfig | None = None


@dataclass(frozen=True)
class GlowConfig:
    """Everything that fixes a Glow's shape. Levels run from fine to coarse. ValueError for what cannot be a Glow.

    Example:
        >>> config = GlowConfig(image_size=8, levels=(LevelConfig(2, 16), LevelConfig(2, 16)))
        >>> config.latent_shapes
        ((6, 4, 4), (24, 2, 2))
    """

    image_size: Annotated[int, count(1024)]
    levels: Annotated[tuple[LevelConfig, ...], Field(min_length=1, max_length=9)]
    channels: Annotated[int, count(16)] = 3
    position: StrictBool = False
    edge: StrictBool = False
    split_prior: StrictBool = True
    coupling: CouplingConfig = CouplingConfig()

    def __post_init__(self) -> None:
        halvings = len(self.levels)
        if self.image_size % 2**halvings:
            raise ValueError(f"{halvings} levels do not fit a side of {self.image_size}: each of them halves the image")

    @property
    def level_shapes(self) -> tuple[Shape, ...]:
        """(C, H, W) inside each level, after its squeeze and before its split."""
        sides = [self.image_size >> (i + 1) for i in range(len(self.levels))]
        return tuple((4 * self.channels * 2**i, side, side) for i, side in enumerate(sides))

    @property
    def latent_shapes(self) -> tuple[Shape, ...]:
        """(C, H, W) of each level's latent, fine to coarse; the coarsest keeps all its channels."""
        *split, top = self.level_shapes
        return (*((c // 2, h, w) for c, h, w in split), top)


def by_level(z: Tensor, shapes: Sequence[Shape]) -> list[Tensor]:
    """Flat latents (n, D) -> those of each level, (n, C, H, W)."""
    parts = z.split([math.prod(shape) for shape in shapes], 1)
    return [part.unflatten(1, shape) for part, shape in zip(parts, shapes, strict=True)]


class GaussianSplit(nn.Module):
    """Half of the channels leave as whitened latents, under a Gaussian that the other half predicts.

    `first, second = halves(x)`; `mean, log_std = halves(prior(first))`; `eps = (second - mean) * exp(-log_std)` is
    N(0, I) under the model; `first` goes on. The log-determinant is `-sum(log_std)`. Without a prior eps = second.

    References:
        | Glow: Generative Flow with Invertible 1×1 Convolutions (Kingma and Dhariwal, 2018), figure 2b
        | https://arxiv.org/abs/1807.03039
    """

    def __init__(self, prior: Conv3x3 | None) -> None:
        super().__init__()
        self.prior = prior

    def mean_and_log_std(self, first: Tensor) -> tuple[Tensor, Tensor]:
        """What the first half predicts of the second: two (n, C/2, H, W)."""
        if self.prior is None:
            return torch.zeros_like(first), torch.zeros_like(first)
        mean, log_std = self.prior(first).float().chunk(2, 1)
        return mean, log_std

    def forward(self, x: Tensor, guard: Guard | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """(n, C, H, W) -> (first, eps, log_det), the first two (n, C/2, H, W)."""
        first, second = x.chunk(2, 1)
        mean, log_std = self.mean_and_log_std(first)
        if guard is not None:
            guard.note(log_std)
        return first, (second - mean) * (-log_std).exp(), -log_std.sum((1, 2, 3))

    def inverse(self, first: Tensor, eps: Tensor, guard: Guard | None = None) -> tuple[Tensor, Tensor]:
        """Two (n, C/2, H, W) -> (x, log_det)."""
        mean, log_std = self.mean_and_log_std(first)
        if guard is not None:
            guard.check(log_std)
        return torch.cat([first, eps * log_std.exp() + mean], 1), log_std.sum((1, 2, 3))


class GaussianTop(nn.Module):
    """The last latents, whitened under a learned Gaussian: `eps = (x - mean) * exp(-log_std)`, both maps (C, H, W)."""

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(channels, height, width))
        self.log_std = nn.Parameter(torch.zeros(channels, height, width))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(n, C, H, W) -> (eps, log_det)."""
        return (x - self.mean) * (-self.log_std).exp(), -self.log_std.sum().expand(x.shape[0])

    def inverse(self, eps: Tensor) -> tuple[Tensor, Tensor]:
        """(n, C, H, W) -> (x, log_det)."""
        return eps * self.log_std.exp() + self.mean, self.log_std.sum().expand(eps.shape[0])


class Step(nn.Module):
    """One step of flow: actnorm, invertible 1×1 convolution, coupling.

    Of an odd number of channels the net reads one more than it changes; `context` channels of a condition it reads as
    well. `width`, `size`, `edge`: see `CouplingNet`.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        coupling: CouplingConfig,
        size: tuple[int, int] | None = None,
        edge: bool = False,
        context: int = 0,
    ) -> None:
        super().__init__()
        changed = channels // 2
        self.actnorm = ActNorm(channels)
        self.conv1x1 = InvertibleConv1x1(channels)
        written = changed if coupling.kind == "additive" else 2 * changed
        net = CouplingNet(channels - changed + context, written, width, size, edge)
        self.coupling = Coupling(net, coupling)

    # A guard is for fused steps alone.
    def forward(self, x: Tensor, context: Tensor | None = None, guard: Guard | None = None) -> tuple[Tensor, Tensor]:
        """(n, C, H, W) -> (y, log_det)."""
        x, actnorm = self.actnorm(x)
        x, conv1x1 = self.conv1x1(x)
        x, coupling = self.coupling(x, context)
        return x, actnorm + conv1x1 + coupling

    def inverse(self, y: Tensor, context: Tensor | None = None, guard: Guard | None = None) -> tuple[Tensor, Tensor]:
        """(n, C, H, W) -> (x, log_det)."""
        y, coupling = self.coupling.inverse(y, context)
        y, conv1x1 = self.conv1x1.inverse(y)
        y, actnorm = self.actnorm.inverse(y)
        return y, coupling + conv1x1 + actnorm


class Level(nn.Module):
    """Squeeze, the steps, and the split that takes this level's latent out. The coarsest level has no split.

    The squeeze moves pixel (dy, dx) of each 2×2 block to channel `c*4 + 2*dy + dx`.
    """

    def __init__(self, steps: list[Step], split: GaussianSplit | None) -> None:
        super().__init__()
        self.steps = cast("Sequence[Step]", nn.ModuleList(steps))
        self.split = split

    def forward(self, x: Tensor, guard: Guard | None = None) -> tuple[Tensor, Tensor | None, Tensor]:
        """(n, C, H, W) -> (rest, eps, log_det); without a split eps is None, and everything is rest."""
        x = F.pixel_unshuffle(x, 2).contiguous(memory_format=torch.channels_last)
        eps, total = None, x.new_zeros(x.shape[0])
        for step in self.steps:
            x, log_det = step(x, None, guard)
            total = total + log_det
        if self.split is not None:
            x, eps, log_det = self.split(x, guard)
            total = total + log_det
        return x, eps, total

    def inverse(self, x: Tensor, eps: Tensor | None, guard: Guard | None = None) -> tuple[Tensor, Tensor]:
        """(rest, eps or None) -> (x, log_det)."""
        total = x.new_zeros(x.shape[0])
        if self.split is not None:
            assert eps is not None  # only the coarsest level has none
            x, total = self.split.inverse(x, eps, guard)
        for step in reversed(self.steps):
            x, log_det = step.inverse(x, None, guard)
            total = total + log_det
        return F.pixel_shuffle(x, 2), total


class Glow(nn.Module):
    """The whole flow, between images x, (n, C, S, S), and flat whitened latents z, (n, D), D = C·S·S.

    `forward` is f⁻¹ of the paper: z has the prior N(0, I) exactly, and `log p(x) = log N(z; 0, I) + log_det`.
    `inverse` is f. z holds the levels' latents from fine to coarse, each in C-order.

    References:
        | Glow: Generative Flow with Invertible 1×1 Convolutions (Kingma and Dhariwal, 2018)
        | https://arxiv.org/abs/1807.03039

    Example:
        >>> import torch
        >>> config = GlowConfig(image_size=8, levels=(LevelConfig(2, 16), LevelConfig(2, 16)), position=True)
        >>> glow = Glow(config)
        >>> x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1)) - 0.5
        >>> z, log_det = glow(x)
        >>> z.shape, log_det.shape, torch.allclose(glow.inverse(z)[0], x, atol=1e-5)
        (torch.Size([2, 192]), torch.Size([2]), True)
    """

    def __init__(self, config: GlowConfig) -> None:
        super().__init__()
        self.config, self.image_size, self.channels = config, config.image_size, config.channels
        self.latent_shapes = config.latent_shapes
        levels, last = [], len(config.levels) - 1
        for i, (level, (c, height, width)) in enumerate(zip(config.levels, config.level_shapes, strict=True)):
            coupling = level.coupling or config.coupling
            size = (height, width) if config.position else None
            steps = [Step(c, level.width, coupling, size, config.edge) for _ in range(level.steps)]
            prior = Conv3x3(c // 2, c, config.edge) if config.split_prior else None
            levels.append(Level(steps, GaussianSplit(prior) if i < last else None))
        self.levels = cast("Sequence[Level]", nn.ModuleList(levels))
        self.top = GaussianTop(*config.level_shapes[-1])

    def forward(self, x: Tensor, guard: Guard | None = None) -> tuple[Tensor, Tensor]:
        """Images (n, C, S, S) -> (z (n, D), log_det (n,))."""
        latents, total = [], x.new_zeros(x.shape[0])
        for level in self.levels:
            x, eps, log_det = level(x, guard)
            total = total + log_det
            if eps is not None:
                latents.append(eps.flatten(1))
        x, log_det = self.top(x)
        latents.append(x.flatten(1))
        return torch.cat(latents, 1), total + log_det

    def inverse(self, z: Tensor, guard: Guard | None = None) -> tuple[Tensor, Tensor]:
        """Latents (n, D) -> (images (n, C, S, S), log_det (n,))."""
        *latents, top = by_level(z, self.latent_shapes)
        x, total = self.top.inverse(top)
        for level, eps in zip(reversed(self.levels), [None, *reversed(latents)], strict=True):
            x, log_det = level.inverse(x, eps, guard)
            total = total + log_det
        return x, total
