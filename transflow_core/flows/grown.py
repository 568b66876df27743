"""A flow grown by one level: a trained flow for the 2×2 means of an image, and a conditional one for its details."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .actnorm import ActNorm
from .conv1x1 import InvertibleConv1x1
from .convolution import Conv3x3
from .coupling import Coupling, CouplingNet, bounded
from .glow import Glow, GlowConfig
from .multiscale import haar_merge, haar_split, whiten_split
from .precision import MixedPrecision

__all__ = [
    "DetailConfig",
    "DetailFlow",
    "FlowConfig",
    "GrownConfig",
    "GrownGlow",
    "TrainableFlow",
    "build_flow",
    "encode_levels",
    "unrolled",
]

_LARGEST_SIDE = 1024


@dataclass(frozen=True)
class DetailConfig:
    """The flow of the details: `steps` conditional steps, nets of `width`, a context of `context` channels.

    `cap` bounds the couplings' log-scales (see `bounded`).
    """

    steps: int = 4
    width: int = 64
    context: int = 32
    cap: float = 2.0

    def __post_init__(self) -> None:
        for name, most in (("steps", 64), ("width", 1024), ("context", 1024)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
                raise ValueError(f"details {name} must be a whole number from 1 to {most}, not {value!r}")
        if isinstance(self.cap, bool) or not isinstance(self.cap, int | float) or not 0 < self.cap <= 100:
            raise ValueError(f"details cap must be a number above 0, not {self.cap!r}")

    def to_dict(self) -> dict[str, Any]:
        """As JSON stores it."""
        return asdict(self)


@dataclass(frozen=True)
class GrownConfig:
    """What fixes a grown flow's shape: the flow of the means, which may itself be grown, and that of the details.

    Example:
        >>> from .glow import LevelConfig
        >>> config = GrownConfig(GlowConfig(image_size=8, levels=(LevelConfig(1, 4),)))
        >>> config.image_size, config.latent_shapes, GrownConfig.from_dict(config.to_dict()) == config
        (16, ((9, 8, 8), (12, 4, 4)), True)
    """

    base: "FlowConfig"
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
    def latent_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """(C, H, W) of each level's latent, fine to coarse: the details, then the base's."""
        side = self.base.image_size
        return ((3 * self.channels, side, side), *self.base.latent_shapes)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "GrownConfig":
        """From parsed JSON. Raises ValueError on anything missing, unknown or out of range."""
        try:
            base = values["base"]
            kind = cls if "base" in base else GlowConfig
            return cls(kind.from_dict(base), DetailConfig(**values["details"]))
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"this is not a grown flow's configuration: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """As JSON stores it."""
        return {"details": self.details.to_dict(), "base": self.base.to_dict()}


class _Step(nn.Module):
    """Actnorm, invertible 1×1 convolution, and an affine coupling whose net also reads the context."""

    def __init__(
        self, channels: int, context: int, side: int, config: DetailConfig, generator: torch.Generator | None
    ) -> None:
        super().__init__()
        self.actnorm = ActNorm(channels)
        self.conv1x1 = InvertibleConv1x1(channels, generator)
        changed = channels // 2  # of an odd number of channels the net reads one more than it changes
        read = channels - changed + context
        net = CouplingNet(read, 2 * changed, config.width, (side, side), generator=generator)
        self.coupling = Coupling(net, partial(bounded, cap=config.cap))

    def forward(self, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        x, actnorm = self.actnorm(x)
        x, conv1x1 = self.conv1x1(x)
        x, coupling = self.coupling(x, context)
        return x, actnorm + conv1x1 + coupling

    def inverse(self, y: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        y, coupling = self.coupling.inverse(y, context)
        y, conv1x1 = self.conv1x1.inverse(y)
        y, actnorm = self.actnorm.inverse(y)
        return y, coupling + conv1x1 + actnorm


class DetailFlow(MixedPrecision):
    """Details given means: K conditional steps, then a Gaussian whose mean and scale the means predict.

    The context is `[means, relu(conv(relu(conv(means))))]`; `mean, log_std = halves(prior(context))`; `eps = (y - mean)
    * exp(-log_std)`, N(0, I) under the model. All directions take the means as they are: nothing is drawn.

    Args:
        channels: of the image. Details have three times as many.
        side: of the means, in pixels.
        config, generator: see `DetailConfig`, `Glow`.
    """

    def __init__(
        self, channels: int, side: int, config: DetailConfig, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.context_in = nn.Conv2d(channels, config.context, 3, padding=1)
        self.context_out = nn.Conv2d(config.context, config.context, 3, padding=1)
        if not self.context_in.weight.is_meta:
            with torch.no_grad():
                for conv in (self.context_in, self.context_out):
                    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu", generator=generator)
                    conv.get_parameter("bias").zero_()
        read = channels + config.context
        steps = nn.ModuleList(_Step(3 * channels, read, side, config, generator) for _ in range(config.steps))
        self.steps = cast("Sequence[_Step]", steps)
        self.prior = Conv3x3(read, 6 * channels)

    def context(self, means: Tensor) -> Tensor:
        """What every step reads of the means: (n, C, H, W) -> (n, C + config.context, H, W)."""
        with self.autocast(means):
            h = F.relu(self.context_in(means.contiguous(memory_format=torch.channels_last)))
            h = F.relu(self.context_out(h))
        return torch.cat([means.contiguous(memory_format=torch.channels_last), h.float()], 1)

    def channels_last(self) -> None:
        """Lay the nets out for speed; no number changes."""
        for module in self.modules():
            if isinstance(module, CouplingNet):
                module.channels_last()

    @torch.no_grad()
    def initialise(self, details: Tensor, means: Tensor) -> None:
        """Set every actnorm from one batch: each step's input is standardised."""
        context = self.context(means)
        for step in self.steps:
            step.actnorm.initialise(details)
            details, _ = step(details, context)

    @torch.no_grad()
    def whiten(self, details: Tensor, means: Tensor) -> None:
        """See `Glow.whiten`."""
        whiten_split(self.prior, self(details, means)[0])

    def forward(self, details: Tensor, means: Tensor) -> tuple[Tensor, Tensor]:
        """(n, 3C, H, W) and (n, C, H, W) -> (eps (n, 3C, H, W), log_det (n,))."""
        details = details.contiguous(memory_format=torch.channels_last)
        context, total = self.context(means), details.new_zeros(len(details))
        for step in self.steps:
            details, log_det = step(details, context)
            total = total + log_det
        mean, log_std = self.prior(context).chunk(2, 1)
        return (details - mean) * (-log_std).exp(), total - log_std.sum((1, 2, 3))

    def inverse(self, eps: Tensor, means: Tensor) -> tuple[Tensor, Tensor]:
        """The inverse of `forward` for the same means."""
        context = self.context(means)
        mean, log_std = self.prior(context).chunk(2, 1)
        details, total = eps * log_std.exp() + mean, log_std.sum((1, 2, 3))
        for step in reversed(self.steps):
            details, log_det = step.inverse(details, context)
            total = total + log_det
        return details, total


class GrownGlow(nn.Module):
    """A flow of images twice as large as its base's: `z = [details' eps, base's z]`, N(0, I) as ever.

    `means, details = haar_split(x)`; the base models the means, a `DetailFlow` the details given the means. `log p(x) =
    log p(means) + log p(details | means) - N log 2`, with N numbers in the means (see `haar_split`).
    Reference: Wavelet Flow (Yu, Derpanis and Brubaker, 2020).

    Example:
        >>> import torch
        >>> from .glow import LevelConfig
        >>> config = GrownConfig(GlowConfig(image_size=8, levels=(LevelConfig(2, 16), LevelConfig(2, 16))))
        >>> flow = GrownGlow(config, generator=torch.Generator().manual_seed(0))
        >>> x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)) - 0.5
        >>> z, log_det = flow(x)
        >>> z.shape, log_det.shape, torch.allclose(flow.inverse(z)[0], x, atol=1e-5)
        (torch.Size([2, 768]), torch.Size([2]), True)
    """

    def __init__(
        self, config: GrownConfig, generator: torch.Generator | None = None, base: "TrainableFlow | None" = None
    ) -> None:
        super().__init__()
        self.config = config
        self.base = build_flow(config.base, generator) if base is None else base
        self.details = DetailFlow(config.channels, config.base.image_size, config.details, generator)

    @property
    def image_size(self) -> int:
        """Side of the images, in pixels."""
        return self.config.image_size

    @property
    def channels(self) -> int:
        """Colour channels of the images."""
        return self.config.channels

    @property
    def latent_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """(C, H, W) of each level's latent, fine to coarse."""
        return self.config.latent_shapes

    def channels_last(self) -> "GrownGlow":
        """Lay the nets out for speed; no number changes. Returns self."""
        self.base.channels_last()
        self.details.channels_last()
        return self

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Start every level from one batch of images, (n, C, S, S)."""
        self.initialise_details(x)
        self.base.initialise(haar_split(x)[0])

    @torch.no_grad()
    def initialise_details(self, x: Tensor) -> None:
        """Start the details alone from one batch of images, (n, C, S, S): of a base that was trained before."""
        means, details = haar_split(x)
        self.details.initialise(details, means)

    @torch.no_grad()
    def whiten(self, x: Tensor) -> None:
        """See `Glow.whiten`."""
        means, details = haar_split(x)
        self.details.whiten(details, means)
        self.base.whiten(means)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images (n, C, S, S) -> (z (n, D), log_det (n,))."""
        means, details = haar_split(x)
        eps, details_log_det = self.details(details, means)
        z, base_log_det = self.base(means)
        return torch.cat([eps.flatten(1), z], 1), details_log_det + base_log_det - means[0].numel() * math.log(2)

    def means(self, z: Tensor) -> Tensor:
        """The 2×2 means of `inverse(z)[0]`, (n, C, S/2, S/2), from the base alone: half the time."""
        return self.base.inverse(z[:, math.prod(self.latent_shapes[0]) :])[0]

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (n, D) -> (images (n, C, S, S), log_det (n,))."""
        shape = self.latent_shapes[0]
        eps, rest = z.split([math.prod(shape), z.shape[1] - math.prod(shape)], 1)
        means, base_log_det = self.base.inverse(rest)
        details, details_log_det = self.details.inverse(eps.reshape(len(z), *shape), means)
        log_det = details_log_det + base_log_det + math.prod(means.shape[1:]) * math.log(2)
        return haar_merge(means, details), log_det


TrainableFlow = Glow | GrownGlow
"""What is trained here, and kept in the native format."""

FlowConfig = GlowConfig | GrownConfig
"""What fixes a `TrainableFlow`'s shape."""


def build_flow(config: FlowConfig, generator: torch.Generator | None = None) -> TrainableFlow:
    """A new flow of this shape."""
    return Glow(config, generator) if isinstance(config, GlowConfig) else GrownGlow(config, generator)


def unrolled(config: FlowConfig) -> tuple[list[DetailConfig], GlowConfig]:
    """The details of each level that a flow was grown by, fine to coarse, and the Glow at the bottom."""
    details = []
    while isinstance(config, GrownConfig):
        details.append(config.details)
        config = config.base
    return details, config


def encode_levels(flow: TrainableFlow, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The factors of a flow's density, fine to coarse: of each level's details given means, and of the last means.

    Each is (eps, log_det (n,)) in its own variables: eps is (n, 3C, H, W) for details, and the Glow's flat z at the
    bottom. `GrownGlow.forward` adds what the transform from means and details to pixels contributes.

    Args:
        x: images, (n, C, S, S).
    """
    while isinstance(flow, GrownGlow):
        x, details = haar_split(x)
        yield flow.details(details, x)
        flow = flow.base
    yield flow(x)
