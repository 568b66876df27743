"""Optimal transport between Gaussians, and interpolation between two samplers."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import overload

import torch
from torch import Tensor

from .bootstrap import Blend
from .covariance import Covariance
from .gaussian import Gaussian, Sampler
from .guard import Guard
from .levels import Composed
from .local import Local

__all__ = ["INTERPOLATIONS", "Between", "bures_geodesic", "interpolate", "transport"]


def transport(z: Tensor, source: Gaussian, target: Gaussian) -> Tensor:
    """Move points by the optimal-transport map from one Gaussian to another: (n, D) -> (n, D), same precision.

    T(z) = μ₁ + Σ₀^-½ (Σ₀^½ Σ₁ Σ₀^½)^½ Σ₀^-½ (z - μ₀). If z ~ source, T(z) ~ target, and no other map moves the points
    less in the mean square. From N(0, I) it is μ₁ + Σ₁^½ z; between diagonals, μ₁ + σ₁/σ₀ (z - μ₀).

    Raises ValueError if the dimensions differ, if the source is a point in a dimension where the target is not, or if
    there is a low-rank part and not both diagonals are a number: that map has no small form.

    Example:
        >>> transport(torch.ones(1, 2), Gaussian.standard(2), Gaussian(torch.zeros(2), 0.25))
        tensor([[0.5000, 0.5000]])
    """
    if source.dim != target.dim or z.ndim != 2 or z.shape[1] != source.dim:
        raise ValueError(
            f"dimensions differ: points {tuple(z.shape)}, source {source.dim}, target {target.dim}; points are (n, D)"
        )
    a, b = source.covariance, target.covariance
    if ((a.diagonal == 0) & (b.diagonal > 0)).any():
        raise ValueError("the source is a point in a dimension where the target is not; no map spreads a point")
    shift = z.double() - source.mean
    scalar = a.diagonal.ndim == b.diagonal.ndim == 0
    if a.factor is None and (b.factor is None or scalar):
        root = a.diagonal.double().sqrt()
        inverse = torch.where(root > 0, 1 / root, 0)
        moved = inverse * b.scaled(a.diagonal.double()).root(inverse * shift)
    elif scalar:
        ratio = (b.diagonal / a.diagonal).sqrt()
        basis, inner, _ = _thin_map(a, b)
        inner.diagonal().sub_(ratio)
        moved = ratio * shift + shift @ basis @ inner @ basis.T
    else:
        raise ValueError(
            "the transport map needs two diagonal covariances, or two that are a multiple of the identity plus low rank"
        )
    return (target.mean + moved).to(z.dtype)


def bures_geodesic(a: Covariance, b: Covariance, t: float) -> Covariance:
    """The covariance at t in [0, 1] along the Wasserstein-2 geodesic: [(1-t) I + t T] Σa [(1-t) I + t T].

    T is the transport map's matrix. Of diagonals, standard deviations are interpolated. Of two multiples of the
    identity plus low rank, the rank is up to the sum of theirs. Raises ValueError for other pairs.
    """
    if a.factor is None and b.factor is None:
        return Covariance(((1 - t) * a.diagonal.sqrt() + t * b.diagonal.sqrt()).square())
    if a.diagonal.ndim or b.diagonal.ndim:
        raise ValueError(
            "the Wasserstein geodesic of a general diagonal plus low rank has no small form; use method='linear', or "
            "a λ that is one number"
        )
    if a.diagonal < b.diagonal:
        # From the wider side the map is finite even when the other side is a point.
        a, b, t = b, a, 1 - t
    basis, inner, thin_a = _thin_map(a, b)
    step = t * inner
    step.diagonal().add_(1 - t)
    scalar = ((1 - t) * a.diagonal.sqrt() + t * b.diagonal.sqrt()).square()
    # √λ_min is concave along the geodesic: what is above the scalar part is positive but for rounding.
    s, vectors = torch.linalg.eigh(step @ thin_a @ step)
    factor = basis @ (vectors * (s - scalar).clamp_min(0).sqrt())
    dtype = next(c.factor.dtype for c in (a, b) if c.factor is not None)
    return Covariance(scalar, factor.to(dtype))


def _thin_map(a: Covariance, b: Covariance) -> tuple[Tensor, Tensor, Tensor]:
    """Basis (D, K) of the span of both factors, and in it the transport map from a to b, and a, both (K, K).

    Off the span all are multiples of the identity.
    """
    basis, _ = torch.linalg.qr(torch.cat([c.factor.double() for c in (a, b) if c.factor is not None], 1))
    thin_a, thin_b = (
        Covariance(c.diagonal, None if c.factor is None else basis.T @ c.factor.double()).dense(basis.shape[1])
        for c in (a, b)
    )
    root, inverse = _power(thin_a, 0.5), _power(thin_a, -0.5)
    return basis, inverse @ _power(root @ thin_b @ root, 0.5) @ inverse, thin_a


def _power(matrix: Tensor, exponent: float) -> Tensor:
    s, vectors = torch.linalg.eigh(matrix)
    return (vectors * s.clamp_min(0).pow(exponent)) @ vectors.T


def _mixture(a: Covariance, b: Covariance, t: float) -> Covariance:
    return a.scaled(1 - t) + b.scaled(t)


#: How each method finds the covariance at 0 < t < 1; the means are interpolated alike by all.
INTERPOLATIONS: dict[str, Callable[[Covariance, Covariance, float], Covariance]] = {
    "linear": _mixture,
    "wasserstein": bures_geodesic,
}


@overload
def interpolate(a: Gaussian, b: Gaussian, t: float, method: str = "linear") -> Gaussian: ...


@overload
def interpolate(a: Sampler, b: Sampler, t: float, method: str = "linear") -> Sampler: ...


def interpolate(a: Sampler, b: Sampler, t: float, method: str = "linear") -> Sampler:
    """The sampler at t between two of them (Fig. 3); t = 0 gives a, t = 1 gives b.

    Of Gaussians it is a Gaussian. Where draws are made of images, each draw keeps its images in a and in b: "linear"
    mixes the two deviations by √(1 - t) and √t, and "wasserstein" by 1 - t and t. A composition is interpolated level
    by level.

    Args:
        a, b: samplers of one dimension D.
        t: 0 to 1.
        method: "linear", the paper's, (1 - t)(μa, Σa) + t(μb, Σb), of the sum of both ranks. "wasserstein", the
            shortest path of optimal transport: means and, for diagonals, standard deviations are interpolated.

    Raises ValueError for t outside [0, 1], an unknown method or sampler, dimensions or levels that differ, or
    "wasserstein" with a low-rank part on a general diagonal.

    Example:
        >>> a, b = Gaussian(torch.zeros(2), 1.0), Gaussian(torch.ones(2), 0.25)
        >>> for method in INTERPOLATIONS:
        ...     print(method, interpolate(a, b, 0.5, method).variance.item())
        linear 0.625
        wasserstein 0.5625
    """
    if not 0 <= t <= 1:
        raise ValueError(f"t goes from 0 (all a) to 1 (all b); got {t}")
    if method not in INTERPOLATIONS:
        raise ValueError(f"unknown method {method!r}; there are {', '.join(INTERPOLATIONS)}")
    if a.dim != b.dim:
        raise ValueError(f"dimensions differ: {a.dim} and {b.dim}; both posteriors must come from the same prior")
    if t in (0, 1):
        end = a if t == 0 else b
        return Gaussian(end.mean, end.covariance) if isinstance(end, Gaussian) else end
    if isinstance(a, Composed) or isinstance(b, Composed):
        return _composed(a, b, t, method)
    mean = (1 - t) * a.mean + t * b.mean
    covariance = INTERPOLATIONS[method](_noise(a), _noise(b), t)
    if isinstance(a, Gaussian) and isinstance(b, Gaussian):
        return Gaussian(mean, covariance)
    shares = (math.sqrt(1 - t), math.sqrt(t)) if method == "linear" else (1 - t, t)
    parts = [(share, part) for x, y in zip((a, b), shares, strict=True) for share, part in _bootstraps(x, y)]
    return Between(mean, covariance, tuple(parts), Guard.joined([a.guard, b.guard]))


@dataclass(frozen=True, eq=False)
class Between:
    """Draws between two samplers: a mean, noise, and the deviations of both sides' images.

    Args:
        mean: (D,).
        covariance: of the noise.
        parts: how much of which sampler's deviation.
        guard: what pictures of draws stay within.
    """

    mean: Tensor
    covariance: Covariance
    parts: tuple[tuple[float, Blend | Local], ...]
    guard: Guard | None = None

    @property
    def dim(self) -> int:
        """D."""
        return len(self.mean)

    def sample(self, n: int, seed: int = 0, temperature: float = 1.0, start: int = 0) -> Tensor:
        """(n, D), as `Gaussian.sample`."""
        z = Gaussian(self.mean, self.covariance).sample(n, seed, temperature, start)
        for share, part in self.parts:
            z = z + temperature * share * part.deviations(n, seed, start)
        return z

    def to(self, device: str | torch.device) -> "Between":
        """The same on another device."""
        covariance = self.covariance.to(device, self.mean.dtype)
        parts = tuple((share, part.to(device)) for share, part in self.parts)
        return replace(self, mean=self.mean.to(device), covariance=covariance, parts=parts)


def _noise(sampler: Sampler) -> Covariance:
    if isinstance(sampler, Gaussian | Blend | Local | Between):
        return sampler.covariance
    raise ValueError(f"there is no way between samplers of which one is a {type(sampler).__name__}")


def _bootstraps(sampler: Sampler, share: float) -> list[tuple[float, Blend | Local]]:
    if isinstance(sampler, Between):
        return [(share * inner, part) for inner, part in sampler.parts]
    return [(share, sampler)] if isinstance(sampler, Blend | Local) else []


def _composed(a: Sampler, b: Sampler, t: float, method: str) -> Composed:
    slices = next(side.slices for side in (a, b) if isinstance(side, Composed))
    left, right = (x if isinstance(x, Composed) else Composed((x,) * len(slices), slices) for x in (a, b))
    if left.slices != right.slices:
        raise ValueError("the two samplers are composed over different levels")
    pairs = list(zip(left.samplers, right.samplers, strict=True))
    # Levels of one pair of samplers stay of one sampler.
    known = {(id(x), id(y)): interpolate(x, y, t, method) for x, y in dict.fromkeys(pairs)}
    return Composed(tuple(known[id(x), id(y)] for x, y in pairs), slices)
