"""Optimal transport between Gaussians: the cheapest way to move one of them onto the other."""

import torch
from torch import Tensor

from .covariance import Covariance
from .gaussian import Gaussian

__all__ = ["bures_geodesic", "transport"]


def transport(z: Tensor, source: Gaussian, target: Gaussian) -> Tensor:
    """Move points by the optimal-transport map from one Gaussian to another: (n, D) -> (n, D), same precision.

    T(z) = μ₁ + Σ₀^-½ (Σ₀^½ Σ₁ Σ₀^½)^½ Σ₀^-½ (z - μ₀). If z ~ source, T(z) ~ target, and no other map moves the points
    less in the mean square. From N(0, I) it is μ₁ + Σ₁^½ z; between diagonals, μ₁ + σ₁/σ₀ (z - μ₀).

    Raises ValueError if the dimensions differ, if the source is a point in a dimension where the target is not, or if
    one has a low-rank part and the two are not both a multiple of the identity plus low rank: for that the map has no
    form that stays small.

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
        moved = inverse * b.scaled(a.diagonal.double()).symmetric_root(inverse * shift)
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

    T is the transport map's matrix. Diagonals: standard deviations are interpolated. A multiple of the identity plus
    low rank on both sides: exact, of rank up to the sum of theirs, and so is its scalar part. Raises ValueError for
    a general diagonal with a low-rank part.
    """
    if a.factor is None and b.factor is None:
        return Covariance(((1 - t) * a.diagonal.sqrt() + t * b.diagonal.sqrt()).square())
    if a.diagonal.ndim or b.diagonal.ndim:
        raise ValueError(
            "the Wasserstein geodesic of a general diagonal plus low rank has no small form; use method='linear', or "
            "a λ that is one number"
        )
    if a.diagonal < b.diagonal:
        # The map is built from the wider side, so that it is finite even when the other side is a point.
        a, b, t = b, a, 1 - t
    basis, inner, thin_a = _thin_map(a, b)
    step = t * inner
    step.diagonal().add_(1 - t)
    scalar = ((1 - t) * a.diagonal.sqrt() + t * b.diagonal.sqrt()).square()
    # √λ_min is concave along the geodesic, so that what stands above the scalar part is positive but for rounding.
    s, vectors = torch.linalg.eigh(step @ thin_a @ step)
    factor = basis @ (vectors * (s - scalar).clamp_min(0).sqrt())
    dtype = next(c.factor.dtype for c in (a, b) if c.factor is not None)
    return Covariance(scalar, factor.to(dtype))


def _thin_map(a: Covariance, b: Covariance) -> tuple[Tensor, Tensor, Tensor]:
    """Inside the span of both factors: its basis (D, K), the transport map from a to b, and a, both (K, K).

    Outside the span both are multiples of the identity, and so is the map.
    """
    factors = [c.factor.double() for c in (a, b) if c.factor is not None]
    basis, _ = torch.linalg.qr(torch.cat(factors, 1))
    thin_a, thin_b = (
        c.diagonal * torch.eye(basis.shape[1], dtype=basis.dtype, device=basis.device)
        if c.factor is None
        else Covariance(c.diagonal, basis.T @ c.factor.double()).dense(basis.shape[1])
        for c in (a, b)
    )
    root, inverse = _power(thin_a, 0.5), _power(thin_a, -0.5)
    return basis, inverse @ _power(root @ thin_b @ root, 0.5) @ inverse, thin_a


def _power(matrix: Tensor, exponent: float) -> Tensor:
    s, vectors = torch.linalg.eigh(matrix)
    return (vectors * s.clamp_min(0).pow(exponent)) @ vectors.T
