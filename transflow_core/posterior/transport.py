"""Optimal transport between Gaussians, and interpolation between two samplers."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .bootstrap import ImageSampler
from .covariance import Covariance
from .gaussian import Gaussian, Sampler
from .guard import Guard

__all__ = ["InterpolatedSampler", "interpolate", "transport"]


def transport(z: Tensor, source: Gaussian, target: Gaussian) -> Tensor:
    """Move points by the optimal-transport map from one Gaussian to another: (n, D) -> (n, D), same precision.

    T(z) = μ₁ + Σ₀^-½ (Σ₀^½ Σ₁ Σ₀^½)^½ Σ₀^-½ (z - μ₀). If z ~ source, T(z) ~ target, and no other map moves the points
    less in the mean square. From N(0, I) it is μ₁ + Σ₁^½ z; between diagonals, μ₁ + σ₁/σ₀ (z - μ₀).

    Raises ValueError if the dimensions differ, if the source is a point in a dimension where the target is not, or if
    there is a low-rank part, unless it is the target's and both diagonals are a number: that map has no small form.

    Example:
        >>> transport(torch.ones(1, 2), Gaussian.standard(2), Gaussian(torch.zeros(2), 0.25))
        tensor([[0.5000, 0.5000]])
    """
    if source.dim != target.dim or z.ndim != 2 or z.shape[1] != source.dim:
        raise ValueError(
            f"dimensions differ: points {tuple(z.shape)}, source {source.dim}, target {target.dim}; points are (n, D)"
        )
    a, b = source.covariance, target.covariance
    if a.factor is not None or (b.factor is not None and (a.diagonal.ndim or b.diagonal.ndim)):
        raise ValueError("a transport map with a low-rank part goes from one variance to one variance plus that part")
    if ((a.diagonal == 0) & (b.diagonal > 0)).any():
        raise ValueError("the source is a point in a dimension where the target is not; no map spreads a point")
    root = a.diagonal.double().sqrt()
    inverse = torch.where(root > 0, 1 / root, 0)
    return (target.mean + b.root(inverse * (z.double() - source.mean))).to(z.dtype)


def interpolate(a: Sampler, b: Sampler, t: float, method: str = "linear") -> Sampler:
    """The sampler at t between two of them (Fig. 3); t = 0 gives a, t = 1 gives b.

    Of Gaussians it is a Gaussian. Where draws are made of images, each draw keeps its images in a and in b: "linear"
    mixes the two deviations by √(1 - t) and √t, and "wasserstein" by 1 - t and t.

    Args:
        a, b: samplers of one dimension D: Gaussians, or what `Posterior.draw` gives.
        t: 0 to 1.
        method: "linear", the paper's, (1 - t)(μa, Σa) + t(μb, Σb), of the sum of both ranks. "wasserstein", the
            shortest path of optimal transport between diagonals: means and standard deviations are interpolated.

    Raises ValueError for t outside [0, 1], an unknown method or sampler, dimensions that differ, or "wasserstein" with
    a low-rank part.

    Example:
        >>> a, b = Gaussian(torch.zeros(2), 1.0), Gaussian(torch.ones(2), 0.25)
        >>> [interpolate(a, b, 0.5, method).variance.item() for method in ("linear", "wasserstein")]
        [0.625, 0.5625]
    """
    if not 0 <= t <= 1:
        raise ValueError(f"t goes from 0 (all a) to 1 (all b); got {t}")
    if method not in ("linear", "wasserstein"):
        raise ValueError(f"unknown method {method!r}; there are linear and wasserstein")
    if a.dim != b.dim:
        raise ValueError(f"dimensions differ: {a.dim} and {b.dim}; both posteriors must come from the same prior")
    if t in (0, 1):
        end = a if t == 0 else b
        return Gaussian(end.mean, end.covariance) if isinstance(end, Gaussian) else end
    if not isinstance(a, Gaussian | ImageSampler) or not isinstance(b, Gaussian | ImageSampler):
        raise ValueError(f"there is no path from a {type(a).__name__} to a {type(b).__name__}")
    mean = (1 - t) * a.mean + t * b.mean
    if method == "linear":
        covariance, shares = a.covariance.scaled(1 - t) + b.covariance.scaled(t), (math.sqrt(1 - t), math.sqrt(t))
    else:
        covariance, shares = _geodesic(a.covariance, b.covariance, t), (1 - t, t)
    if isinstance(a, Gaussian) and isinstance(b, Gaussian):
        return Gaussian(mean, covariance)
    parts = tuple((share, end) for share, end in zip(shares, (a, b), strict=True) if isinstance(end, ImageSampler))
    return InterpolatedSampler(mean=mean, covariance=covariance, parts=parts, guard=Guard.joined([a.guard, b.guard]))


def _geodesic(a: Covariance, b: Covariance, t: float) -> Covariance:
    """The covariance at t along the Wasserstein-2 geodesic, of diagonals: standard deviations are interpolated."""
    if a.factor is not None or b.factor is not None:
        raise ValueError("the Wasserstein path of a low-rank part has no small form; use method='linear'")
    return Covariance(((1 - t) * a.diagonal.sqrt() + t * b.diagonal.sqrt()).square())


@dataclass(frozen=True, eq=False, kw_only=True)
class InterpolatedSampler(ImageSampler):
    """Draws between two samplers: a mean, noise, and the deviations of both sides' images.

    Attributes:
        parts: how much of which sampler's deviations.
    """

    parts: tuple[tuple[float, ImageSampler], ...]

    def deviations(self, n: int, seed: int = 0, start: int = 0, fold: int = 0) -> Tensor:
        """The deviations of both sides' images, mixed, (n, D)."""
        found = [share * part.deviations(n, seed, start, fold) for share, part in self.parts]
        return torch.stack(found).sum(0)
