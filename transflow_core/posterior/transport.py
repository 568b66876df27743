"""Interpolation between two samplers: as in the paper, or along the shortest path of optimal transport."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..limits import choice
from .bootstrap import ImageSampler
from .covariance import Covariance
from .gaussian import Gaussian, Sampler
from .guard import Guard


def interpolate(a: Sampler, b: Sampler, t: float, method: Literal["linear", "wasserstein"] = "linear") -> Sampler:
    """The sampler at t between two of them (Fig. 3); t = 0 gives a, t = 1 gives b.

    Of Gaussians it is a Gaussian. Where draws are made of images, each draw keeps its images in a and in b: "linear"
    mixes the two deviations by √(1 - t) and √t, and "wasserstein" by 1 - t and t.

    Args:
        a, b: samplers of one dimension: Gaussians, or what `Posterior.draw` gives.
        t: 0 to 1.
        method: "linear", the paper's, (1 - t)(μa, Σa) + t(μb, Σb). "wasserstein", the shortest path of optimal
            transport between diagonals: means and standard deviations are interpolated.

    Raises ValueError for another t, method, dimension or kind of sampler, and for "wasserstein" with a low-rank part.
    """
    if not 0 <= t <= 1:
        raise ValueError(f"t is a number from 0 to 1, not {t!r}")
    choice(method, "method", ("linear", "wasserstein"))
    if len(a.mean) != len(b.mean):
        raise ValueError(f"there is no path from {len(a.mean)} dimensions to {len(b.mean)}")
    if t in (0, 1):
        end = a if t == 0 else b
        return Gaussian(end.mean, end.covariance) if isinstance(end, Gaussian) else end
    if not isinstance(a, Gaussian | ImageSampler) or not isinstance(b, Gaussian | ImageSampler):
        raise ValueError(f"there is no path from a {type(a).__name__} to a {type(b).__name__}")
    mean = (1 - t) * a.mean + t * b.mean
    if method == "linear":
        covariance, shares = a.covariance.scaled(1 - t) + b.covariance.scaled(t), (math.sqrt(1 - t), math.sqrt(t))
    elif a.covariance.factor is None and b.covariance.factor is None:
        deviation = (1 - t) * a.covariance.diagonal.sqrt() + t * b.covariance.diagonal.sqrt()
        covariance, shares = Covariance(deviation.square()), (1 - t, t)
    else:
        raise ValueError("a Wasserstein path needs covariances without a low-rank part; take the linear one")
    if isinstance(a, Gaussian) and isinstance(b, Gaussian):
        return Gaussian(mean, covariance)
    parts = tuple((share, end) for share, end in zip(shares, (a, b), strict=True) if isinstance(end, ImageSampler))
    return InterpolatedSampler(mean=mean, covariance=covariance, parts=parts, guard=Guard.joined([a.guard, b.guard]))


@dataclass(frozen=True, eq=False, kw_only=True)
class InterpolatedSampler(ImageSampler):
    """Draws between two samplers; `parts` is how much of which one's deviations."""

    parts: tuple[tuple[float, ImageSampler], ...]

    def deviations(self, n: int, seed: int = 0, start: int = 0, fold: int = 0) -> Tensor:
        """The deviations of both sides' images, mixed, (n, D)."""
        found = [share * part.last_deviations(n, seed, start, fold) for share, part in self.parts]
        return torch.stack(found).sum(0)


def turned(a: Tensor, b: Tensor, t: float, centre: Tensor) -> Tensor:
    """Latents at t between two of them, (n, D): the deviation from the centre turns from that of a to that of b.

    Its length stays that of a draw, where half way along a straight line the noise of two draws cancels, and the face
    is smooth (spherical interpolation: Shoemake, 1985).

    Args:
        a, b: (n, D), or (D,).
        t: 0 to 1.
        centre: (D,), such as the mean of what they were drawn from.
    """
    u, v = a - centre, b - centre
    norms = (u.norm(dim=-1, keepdim=True) * v.norm(dim=-1, keepdim=True)).clamp(min=1e-12)
    # Where both are one, and where they are opposite, there is no angle to turn by: nearly a straight line.
    angle = ((u * v).sum(-1, keepdim=True) / norms).clamp(-0.9999, 0.9999).arccos()
    return centre + (((1 - t) * angle).sin() * u + (t * angle).sin() * v) / angle.sin()
