"""The map that restyles a photograph: optimal transport from its own statistics to those of the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .conditioning import Posterior
from .covariance import Covariance
from .gaussian import Gaussian
from .levels import HasSlice, level_shapes, level_slices
from .shrinkage import ShrinkageCovariance

__all__ = ["LIKENESS_TO_EVIDENCE", "Restyling"]

LIKENESS_TO_EVIDENCE = 0.4
"""ℓ by default: the style is plain, and most people stay recognisable (docs/results/restyle.md)."""
_MOST_LIKENESS = 0.999  # at 1 the evidence's covariance would be singular


@dataclass(frozen=True, eq=False)
class Restyling:
    """T, level by level the Monge map from one photograph's Gaussian to the evidence's, and the geodesic towards it.

    The photograph's Gaussian is measured on itself: N(c, σ² I) at each level. c is the mean of each channel over the
    level's places, and σ the root mean square about c, at least what is typical of photographs. The evidence's is
    N(μ, Σ), Σ = ℓ² S + (1 - ℓ²) V, with S its covariance and V one variance a level (see `ShrinkageCovariance`). ℓ near
    0 keeps most of the person, ℓ near 1 takes most from the evidence. T(z) = μ + Σ^½ (z - c) / σ.

    Attributes:
        targets: N(μ, Σ) of each level.
        typical: the median root mean square of photographs at each level.
        shapes: (C, H, W) of each.
    """

    slices: tuple[slice, ...]
    targets: tuple[Gaussian, ...]
    typical: tuple[float, ...]
    shapes: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(
        cls,
        posterior: Posterior,
        levels: Sequence[HasSlice] = (),
        typical: Sequence[float] = (),
        likeness: float | Sequence[float] = LIKENESS_TO_EVIDENCE,
    ) -> Restyling:
        """Towards the evidence of a posterior; its λ takes no part.

        Args:
            posterior: of the evidence.
            levels: `prior.levels`; without them the whole latent is one level of one channel.
            typical: the median root mean square of photographs at each level; without it it is 1.
            likeness: ℓ in [0, 1], one number or one a level, fine to coarse.

        Raises ValueError if the levels do not fit, or ℓ is out of its range.
        """
        slices = level_slices(levels, posterior.dim)
        shapes = level_shapes(levels, posterior.dim) if levels else ((1, 1, posterior.dim),)
        shrinkage = ShrinkageCovariance.of(posterior.latents, posterior.weights, slices)
        ell = [min(value, _MOST_LIKENESS) for value in _each(likeness, len(slices), "likeness")]
        covariance, targets = shrinkage.covariance(ell), []
        for part in slices:
            factor = None if covariance.factor is None else covariance.factor[part]
            targets.append(Gaussian(posterior.evidence_mean[part], Covariance(covariance.diagonal[part][0], factor)))
        return cls(slices, tuple(targets), tuple(typical) or (1.0,) * len(slices), shapes)

    def __call__(self, z: Tensor, strength: float | Sequence[float] = 1.0) -> Tensor:
        """z + s (T(z) - z), on the geodesic: (n, D) -> (n, D). At s = 0 it is z to the bit, at s = 1 T(z).

        Args:
            z: latents of photographs.
            strength: s in [0, 1], one number or one a level, fine to coarse. Small at the coarse levels, it keeps the
                photograph's structure.

        Raises ValueError if it is out of its range, or another number of levels.
        """
        s = _each(strength, len(self.slices), "strength")
        parts = [z[:, part] for part in self.slices]
        for i, (x, share) in enumerate(zip(parts, s, strict=True)):
            if share:
                parts[i] = x + share * (self._moved(x, i) - x)
        return torch.cat(parts, 1)

    def _moved(self, x: Tensor, level: int) -> Tensor:
        channels, h, w = self.shapes[level]
        target = self.targets[level]
        centred = x.reshape(len(x), channels, h * w)
        if h * w > 1:  # of one place alone the mean is the value itself, and would leave nothing of it
            centred = centred - centred.mean(2, keepdim=True)
        centred = centred.reshape(len(x), -1)
        own = centred.square().mean(1, keepdim=True).sqrt().clamp_min(self.typical[level])
        return (target.mean + target.covariance.root(centred / own)).to(x.dtype)


def _each(values: float | Sequence[float], count: int, name: str) -> list[float]:
    each = [float(values)] * count if isinstance(values, int | float) else list(values)
    if len(each) != count or not all(0 <= value <= 1 for value in each):
        raise ValueError(f"{name} is one number from 0 to 1, or one for each of {count} levels, not {values!r}")
    return each
