"""Glow: the multi-scale flow, assembled from a small configuration."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from .actnorm import ActNorm
from .conv1x1 import InvertibleConv1x1
from .convolution import Conv3x3
from .coupling import SCALES, Coupling, CouplingNet
from .multiscale import SQUEEZES, GaussianSplit, GaussianTop

__all__ = ["CouplingConfig", "Glow", "GlowConfig", "Level", "LevelConfig", "Step"]

# A configuration can come from a stranger's file. These bounds are far above any published Glow and far below what
# would exhaust a machine merely by being built.
_FLAGS = ("position", "edge", "split_prior")
_LIMITS = {"image_size": 1024, "channels": 16, "steps": 128, "width": 4096, "levels": 9}


def _integer(value: Any, name: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name} must be a whole number from {low} to {high}, not {value!r}")
    return value


@dataclass(frozen=True)
class CouplingConfig:
    """What a coupling does with its net.

    Args:
        kind: "affine" or "additive".
        scale: a key of `SCALES`: how the net's r becomes log s.
        cap: for scale "tanh": the bound of log s.
        offset: for the sigmoid scales: what is added before the sigmoid.
        plus: for scale "sigmoid": what is added after it.
        order: "shift-first" for `(b + t) * s`, "scale-first" for `b * s + t`.
        transforms: which half changes, "second" or "first"; the net reads the other.
    """

    kind: str = "affine"
    scale: str = "tanh"
    cap: float = 2.0
    offset: float = 2.0
    plus: float = 0.0
    order: str = "shift-first"
    transforms: str = "second"

    def __post_init__(self) -> None:
        for name, allowed in (
            ("kind", ("affine", "additive")),
            ("scale", tuple(SCALES)),
            ("order", ("shift-first", "scale-first")),
            ("transforms", ("second", "first")),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(f"coupling {name} must be one of {allowed}, not {getattr(self, name)!r}")
        for name in ("cap", "offset"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e3:
                raise ValueError(f"coupling {name} must be a number above 0, not {value!r}")
        if isinstance(self.plus, bool) or not isinstance(self.plus, int | float) or not 0 <= self.plus < 1e3:
            raise ValueError(f"coupling plus must be a number from 0, not {self.plus!r}")

    def log_scale(self) -> Callable[[Tensor], Tensor] | None:
        """The elementwise function r -> log s, or None for additive coupling."""
        if self.kind == "additive":
            return None
        parameters = {
            "tanh": {"cap": self.cap},
            "sigmoid": {"offset": self.offset, "plus": self.plus},
            "inverse-sigmoid": {"offset": self.offset},
            "exponential": {},
        }
        return partial(SCALES[self.scale], **parameters[self.scale])


@dataclass(frozen=True)
class LevelConfig:
    """One level: `steps` flow steps whose coupling nets have `width` hidden channels.

    `coupling` replaces the flow's own in this level; `squeeze` is a key of `SQUEEZES`.
    """

    steps: int
    width: int
    coupling: CouplingConfig | None = None
    squeeze: str = "blocks"

    def __post_init__(self) -> None:
        _integer(self.steps, "steps", 1, _LIMITS["steps"])
        _integer(self.width, "width", 1, _LIMITS["width"])
        if self.squeeze not in SQUEEZES:
            raise ValueError(f"squeeze must be one of {tuple(SQUEEZES)}, not {self.squeeze!r}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "LevelConfig":
        """From parsed JSON; TypeError or ValueError on anything missing, unknown or out of range."""
        coupling = values.get("coupling")
        known: dict[str, Any] = {**values, "coupling": None if coupling is None else CouplingConfig(**coupling)}
        return cls(**known)

    def to_dict(self) -> dict[str, Any]:
        """As JSON stores it: what is as usual is left out."""
        values: dict[str, Any] = {"steps": self.steps, "width": self.width}
        if self.coupling is not None:
            values["coupling"] = asdict(self.coupling)
        if self.squeeze != "blocks":
            values["squeeze"] = self.squeeze
        return values


@dataclass(frozen=True)
class GlowConfig:
    """Everything that fixes a Glow's shape. Levels run from fine to coarse.

    Raises ValueError on construction when the numbers cannot be a Glow (or could only exhaust the machine).

    Example:
        >>> config = GlowConfig(image_size=8, levels=(LevelConfig(2, 16), LevelConfig(2, 16)))
        >>> config.latent_shapes
        ((6, 4, 4), (24, 2, 2))
        >>> GlowConfig.from_dict(config.to_dict()) == config
        True
    """

    image_size: int
    levels: tuple[LevelConfig, ...]
    channels: int = 3
    position: bool = False
    edge: bool = False
    split_prior: bool = True
    coupling: CouplingConfig = field(default_factory=CouplingConfig)

    def __post_init__(self) -> None:
        _integer(self.image_size, "image_size", 2, _LIMITS["image_size"])
        _integer(self.channels, "channels", 1, _LIMITS["channels"])
        _integer(len(self.levels), "the number of levels", 1, _LIMITS["levels"])
        for name in _FLAGS:
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be true or false")
        if self.image_size % 2 ** len(self.levels):
            raise ValueError(
                f"{len(self.levels)} levels halve the image as often, which a side of {self.image_size} does not allow"
            )

    @property
    def level_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """(C, H, W) inside each level, after its squeeze and before its split."""
        return tuple(
            (4 * self.channels * 2**i, self.image_size >> (i + 1), self.image_size >> (i + 1))
            for i in range(len(self.levels))
        )

    @property
    def latent_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """(C, H, W) of each level's latent, fine to coarse; the coarsest keeps all its channels."""
        *split, top = self.level_shapes
        return (*((c // 2, h, w) for c, h, w in split), top)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "GlowConfig":
        """From parsed JSON. Raises ValueError on anything missing, unknown or out of range."""
        try:
            known = {k: values[k] for k in ("image_size", "channels", *_FLAGS) if k in values}
            return cls(
                levels=tuple(LevelConfig.from_dict(level) for level in values["levels"]),
                coupling=CouplingConfig(**values.get("coupling", {})),
                **known,
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"this is not a Glow's configuration: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """As JSON stores it."""
        return asdict(self) | {"levels": [level.to_dict() for level in self.levels]}


class Step(nn.Module):
    """One step of flow: actnorm, invertible 1×1 convolution, coupling."""

    def __init__(
        self,
        shape: tuple[int, int, int],
        width: int,
        config: GlowConfig,
        generator: torch.Generator | None = None,
        coupling: CouplingConfig | None = None,
    ) -> None:
        super().__init__()
        channels, size = shape[0], shape[1:]
        coupling = coupling or config.coupling
        self.actnorm = ActNorm(channels)
        self.conv1x1 = InvertibleConv1x1(channels, generator)
        log_scale = coupling.log_scale()
        out = channels if log_scale else channels // 2
        net = CouplingNet(channels // 2, out, width, size if config.position else None, config.edge, generator)
        self.coupling = Coupling(
            net,
            log_scale,
            scale_first=coupling.order == "scale-first",
            transforms_first=coupling.transforms == "first",
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(n, C, H, W) -> (y, log_det)."""
        x, actnorm = self.actnorm(x)
        x, conv1x1 = self.conv1x1(x)
        x, coupling = self.coupling(x)
        return x, actnorm + conv1x1 + coupling

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """(n, C, H, W) -> (x, log_det)."""
        y, coupling = self.coupling.inverse(y)
        y, conv1x1 = self.conv1x1.inverse(y)
        y, actnorm = self.actnorm.inverse(y)
        return y, coupling + conv1x1 + actnorm


class Level(nn.Module):
    """Squeeze, the steps, and the split that takes this level's latent out. The coarsest level has no split.

    `forward` returns `(rest, eps, log_det)`; without a split `eps` is None and everything is rest.
    """

    def __init__(self, steps: list[Step], split: GaussianSplit | None, squeeze: str = "blocks") -> None:
        super().__init__()
        self.steps = cast("Sequence[Step]", nn.ModuleList(steps))
        self.split = split
        self.squeeze, self.unsqueeze = SQUEEZES[squeeze]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """(n, C, H, W) -> (rest, eps or None, log_det)."""
        x, total = self.squeeze(x).contiguous(memory_format=torch.channels_last), x.new_zeros(len(x))
        for step in self.steps:
            x, log_det = step(x)
            total = total + log_det
        if self.split is None:
            return x, None, total
        x, eps, log_det = self.split(x)
        return x, eps, total + log_det

    def inverse(self, x: Tensor, eps: Tensor | None) -> tuple[Tensor, Tensor]:
        """(rest, eps or None) -> (x, log_det)."""
        total = x.new_zeros(len(x))
        if self.split is not None:
            assert eps is not None  # only the coarsest level has none
            x, total = self.split.inverse(x, eps)
        for step in reversed(self.steps):
            x, log_det = step.inverse(x)
            total = total + log_det
        return self.unsqueeze(x), total


class Glow(nn.Module):
    """The whole flow, between images x, (n, C, S, S), and flat whitened latents z, (n, D), D = C·S·S.

    `forward` is f⁻¹ of the paper: z has the prior N(0, I) exactly, and `log p(x) = log N(z; 0, I) + log_det`.
    `inverse` is f. z holds the levels' latents from fine to coarse, each in C-order. Reference: Glow (Kingma and
    Dhariwal, 2018).

    Example:
        >>> import torch
        >>> config = GlowConfig(image_size=8, levels=(LevelConfig(2, 16), LevelConfig(2, 16)), position=True)
        >>> glow = Glow(config, generator=torch.Generator().manual_seed(0))
        >>> x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1)) - 0.5
        >>> z, log_det = glow(x)
        >>> z.shape, log_det.shape, torch.allclose(glow.inverse(z)[0], x, atol=1e-5)
        (torch.Size([2, 192]), torch.Size([2]), True)
    """

    def __init__(self, config: GlowConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        last = len(config.levels) - 1
        levels = []
        for i, (level, shape) in enumerate(zip(config.levels, config.level_shapes, strict=True)):
            steps = [Step(shape, level.width, config, generator, level.coupling) for _ in range(level.steps)]
            channels = shape[0]
            prior = Conv3x3(channels // 2, channels, config.edge) if config.split_prior else None
            split = GaussianSplit(prior) if i < last else None
            levels.append(Level(steps, split, level.squeeze))
        self.levels = cast("Sequence[Level]", nn.ModuleList(levels))
        self.top = GaussianTop(*config.level_shapes[-1])

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

    def channels_last(self) -> "Glow":
        """Lay the coupling nets out for speed; no number changes. Returns self."""
        for module in self.modules():
            if isinstance(module, CouplingNet):
                module.channels_last()
        return self

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Set every actnorm from one batch of training images, (n, C, S, S): each step's input is standardised."""
        for level in self.levels:
            x = level.squeeze(x)
            for step in level.steps:
                step.actnorm.initialise(x)
                x, _ = step(x)
            if level.split is not None:
                x, _, _ = level.split(x)

    @torch.no_grad()
    def whiten(self, x: Tensor) -> None:
        """Scale the latents of levels that are not whitened over a batch of images, (n, C, S, S), channel by channel.

        As where the weights were trained on images with more noise, or less. No other number changes.
        """
        for level in self.levels:
            x, eps, _ = level(x)
            if level.split is not None and eps is not None:
                level.split.whiten(eps)
        self.top.whiten(self.top(x)[0])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images (n, C, S, S) -> (z (n, D), log_det (n,))."""
        latents, total = [], x.new_zeros(len(x))
        for level in self.levels:
            x, eps, log_det = level(x)
            total = total + log_det
            if eps is not None:
                latents.append(eps.flatten(1))
        x, log_det = self.top(x)
        latents.append(x.flatten(1))
        return torch.cat(latents, 1), total + log_det

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (n, D) -> (images (n, C, S, S), log_det (n,))."""
        shapes = self.latent_shapes
        parts = z.split([c * h * w for c, h, w in shapes], 1)
        *latents, top = (part.reshape(len(z), *shape) for part, shape in zip(parts, shapes, strict=True))
        x, total = self.top.inverse(top)
        for level, eps in zip(reversed(self.levels), [None, *reversed(latents)], strict=True):
            x, log_det = level.inverse(x, eps)
            total = total + log_det
        return x, total
