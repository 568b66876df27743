"""The likelihood's covariance Σ that all classes share, estimated from the evidence, and the predictives under it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..posterior import Covariance

_CHUNK = 512  # rows in float64 at once: 50 MB at 12,288 dimensions
_SHRINKAGES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
_RANK = 256  # more directions changed the accuracy on digits by less than its standard error


@dataclass(frozen=True)
class SharedCovariance:
    """Σ: variances along orthonormal directions, and a variance for all that is left.

    The prior N(0, I) is the same in any orthonormal basis, so in this one eq. 3-11 are about single numbers.

    Attributes:
        rest: variance off the directions, above 0: () float64.
        basis: (D, K) float32 with orthonormal columns, or None.
        along: (K,) float64 variances along its columns, at least `rest`; None without a basis.
    """

    rest: Tensor
    basis: Tensor | None = None
    along: Tensor | None = None

    def scaled(self, scale: float | Tensor) -> "SharedCovariance":
        """scale · Σ."""
        along = None if self.along is None else self.along * scale
        return SharedCovariance(self.rest * scale, self.basis, along)

    def covariance(self) -> Covariance:
        """The same matrix as `Posterior.condition` takes it."""
        if self.basis is None or self.along is None:
            return Covariance(self.rest)
        return Covariance(self.rest, self.basis.double() * (self.along - self.rest).sqrt())


def _directions(residuals: Tensor) -> Tensor:
    """(N, D) to (D, K), K ≤ 256: orthonormal directions of the largest variance."""
    n, dim = residuals.shape
    if n < dim:
        # By the N × N Gram matrix, never D × D. The QR below makes up for float32's lost orthogonality.
        values, vectors = torch.linalg.eigh(residuals @ residuals.T)
        spanned = residuals.T @ vectors[:, _largest(values)]
    else:
        values, vectors = torch.linalg.eigh(residuals.T @ residuals)
        spanned = vectors[:, _largest(values)]
    return torch.linalg.qr(spanned / spanned.norm(dim=0)).Q


def _largest(values: Tensor) -> Tensor:
    return (values > 1e-5 * values[-1]).nonzero().flatten()[-_RANK:].flip(0)


def _isotropic(_: Tensor) -> list[SharedCovariance]:
    return [SharedCovariance(torch.tensor(1.0, dtype=torch.float64))]


def _low_rank(residuals: Tensor) -> list[SharedCovariance]:
    if not residuals.any():
        return _isotropic(residuals) * len(_SHRINKAGES)
    variance, basis = residuals.double().square().mean(0), _directions(residuals)
    along, mean = (residuals @ basis).double().square().mean(0), variance.mean()
    tail = (variance.sum() - along.sum()).clamp_min(0) / max(1, len(variance) - len(along))
    return [
        SharedCovariance(rho + (1 - rho) * tail / mean, basis, rho + (1 - rho) * along / mean) for rho in _SHRINKAGES
    ]


#: The shapes S that Σ = λS may have (mean variance 1), each with its candidates: λI as in the paper; and directions of
#: large variance, shrunk to the identity. They follow from (N, D) differences to class means.
SHAPES: dict[str, Callable[[Tensor], list[SharedCovariance]]] = {
    "paper": _isotropic,
    "isotropic": _isotropic,
    "low-rank": _low_rank,
}


def predictive_log_prob(
    z: Tensor, means: Tensor, counts: Tensor, sigmas: Sequence[SharedCovariance], centre: Tensor
) -> Tensor:
    """Log predictive density of each latent under each class and each Σ, in nats (eq. 9-11): (S, n, C + 1) float64.

    The prior of a class's mean is N(centre, I). In a direction of Σ's basis with variance σ, m examples of mean ζ̄
    (relative to the centre) have the predictive N(m ζ̄ / (m + σ), σ / (m + σ) + σ). It is that of
    `Posterior.condition(…, likelihood=Σ, lam=1).predictive()`. The last column is of a class of which nothing was seen.

    Args:
        z: (n, D) latents.
        means: (C, D), ζ̄ of each class.
        counts: (C,), m of each class, above 0.
        sigmas: S candidates for Σ, λ included, of one basis: latents are projected once for all.
        centre: (D,).
    """
    counts = torch.cat([counts, counts.new_zeros(1)]).double().unsqueeze(1)
    means = torch.cat([means, centre.unsqueeze(0)]).double() - centre.double()
    rows = []
    for chunk in z.split(_CHUNK):
        x = chunk.double() - centre.double()
        projected = _projected(x, means, sigmas[0].basis)
        rows.append(torch.stack([_log_prob(projected, x.shape[1], counts, sigma) for sigma in sigmas]))
    return torch.cat(rows, 1)


def _projected(x: Tensor, means: Tensor, basis: Tensor | None) -> tuple[Tensor, ...]:
    """Latents (n, K) and class means (C, K) along a basis; inner products xx (n, 1), xm (n, C), mm (C,) off it."""
    along = x.new_zeros(x.shape[1], 0) if basis is None else basis.double()
    inside, centres = x @ along, means @ along
    xx = x.square().sum(1, keepdim=True) - inside.square().sum(1, keepdim=True)
    return inside, centres, xx, x @ means.T - inside @ centres.T, means.square().sum(1) - centres.square().sum(1)


def _log_prob(projected: tuple[Tensor, ...], dim: int, counts: Tensor, sigma: SharedCovariance) -> Tensor:
    """(n, C): directions have their own variances, and all off them has one."""
    inside, centres, xx, xm, mm = projected
    shrink, variance = (value.T for value in _update(counts, sigma.rest))
    off, along = dim - inside.shape[1], sigma.rest.new_zeros(0) if sigma.along is None else sigma.along
    quadratic = (xx - 2 * shrink * xm + shrink.square() * mm) / variance
    rest = quadratic + off * variance.log() + off * math.log(2 * math.pi)
    shrink, variance = _update(counts, along)
    inner = shrink * centres
    quadratic = inside.square() @ (1 / variance).T - 2 * inside @ (inner / variance).T
    quadratic = quadratic + (inner.square() / variance).sum(1) + variance.log().sum(1)
    return -0.5 * (quadratic + len(along) * math.log(2 * math.pi) + rest)


def _update(counts: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """Shrinkage of the mean and variance of the predictive: (C, 1 or K) each."""
    sigma = sigma.reshape(1, -1)
    return counts / (counts + sigma), sigma / (counts + sigma) + sigma
