"""Interpolation between two posteriors."""

from collections.abc import Callable

from .covariance import Covariance
from .gaussian import Gaussian
from .transport import bures_geodesic

__all__ = ["INTERPOLATIONS", "interpolate"]


def _mixture(a: Covariance, b: Covariance, t: float) -> Covariance:
    return a.scaled(1 - t) + b.scaled(t)


#: How each method finds the covariance at 0 < t < 1; the means are interpolated alike by all.
INTERPOLATIONS: dict[str, Callable[[Covariance, Covariance, float], Covariance]] = {
    "linear": _mixture,
    "wasserstein": bures_geodesic,
}


def interpolate(a: Gaussian, b: Gaussian, t: float, method: str = "linear") -> Gaussian:
    """The Gaussian at t between two of them (Fig. 3); t = 0 gives a, t = 1 gives b.

    Args:
        a, b: Gaussians (posteriors) of one dimension D.
        t: 0 to 1.
        method: "linear", the paper's, (1 - t)(μa, Σa) + t(μb, Σb): a low-rank part stays low-rank, of the sum of
            both ranks. "wasserstein", the shortest path of optimal transport: means and, for diagonals, standard
            deviations are interpolated; exact too for a multiple of the identity plus low rank.

    Raises ValueError for t outside [0, 1], an unknown method, dimensions that differ, or "wasserstein" with a low-rank
    part on a general diagonal.

    Example:
        >>> import torch
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
        return Gaussian(end.mean, end.covariance)
    mean = (1 - t) * a.mean + t * b.mean
    return Gaussian(mean, INTERPOLATIONS[method](a.covariance, b.covariance, t))
