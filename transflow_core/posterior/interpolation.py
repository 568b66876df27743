"""Interpolation between two posteriors, or between any two samplers."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import overload

import torch
from torch import Tensor

from .bootstrap import Blend
from .composition import Composed
from .covariance import Covariance
from .gaussian import Gaussian
from .guard import Guard
from .local import Local
from .sampler import Sampler
from .transport import bures_geodesic

__all__ = ["INTERPOLATIONS", "Between", "interpolate"]


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

    Of Gaussians it is a Gaussian. Where draws are made of pieces of evidence, each draw keeps its pieces in a and
    in b: "linear" mixes the two deviations by √(1 - t) and √t, as covariances are mixed, and "wasserstein" by 1 - t and
    t, as standard deviations are. A composition is interpolated level by level.

    Args:
        a, b: samplers of one dimension D.
        t: 0 to 1.
        method: "linear", the paper's, (1 - t)(μa, Σa) + t(μb, Σb): a low-rank part stays low-rank, of the sum of
            both ranks. "wasserstein", the shortest path of optimal transport: means and, for diagonals, standard
            deviations are interpolated; exact too for a multiple of the identity plus low rank.

    Raises ValueError for t outside [0, 1], an unknown method, dimensions or levels that differ, a sampler of an
    unknown kind, or "wasserstein" with a low-rank part on a general diagonal.

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
    """Draws on the way from one sampler to another: a mean, noise, and the deviations of both sides' pieces.

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
    sides = [x if isinstance(x, Composed) else Composed((x,) * len(slices), slices) for x in (a, b)]
    if sides[0].slices != sides[1].slices:
        raise ValueError("the two samplers are composed over different levels")
    known: dict[tuple[int, int], Sampler] = {}
    for x, y in zip(sides[0].samplers, sides[1].samplers, strict=True):
        if (id(x), id(y)) not in known:
            known[id(x), id(y)] = interpolate(x, y, t, method)
    return Composed(
        tuple(known[id(x), id(y)] for x, y in zip(sides[0].samplers, sides[1].samplers, strict=True)), slices
    )
