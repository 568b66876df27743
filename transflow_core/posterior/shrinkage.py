"""How the images of a set differ: the estimate of Σ, the covariance of one image (eq. 3-11)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .covariance import Covariance
from .levels import HasSlice, level_slices

__all__ = ["Spread"]


@dataclass(frozen=True, eq=False)
class Spread:
    """The images' deviations from their mean.

    Σ is estimated as a² S + b² V: S the empirical covariance, of rank m - 1 at most, and V one variance a level, its
    mean on the diagonal of S. With a² + b² = 1 it is shrinkage towards V, which keeps each level's total variance
    (Ledoit, Wolf 2004, level by level).

    Attributes:
        directions: (p, D), latents less their weighted mean.
        shares: (p,) float64 on the CPU, positive, of sum 1.
        count: m, as how many images they count: the sum of their weights, or Kish's 1 / Σ shares² where that is more.
        slices: of the levels.
        variance: V, of each level; of one image alone its own mean square, since images of the prior differ that much.
    """

    directions: Tensor
    shares: Tensor
    count: float
    slices: tuple[slice, ...]
    variance: tuple[float, ...]

    @classmethod
    def of(cls, latents: Tensor, weights: Tensor | None = None, levels: Sequence[HasSlice | slice] = ()) -> "Spread":
        """From (p, D) latents and their weights, of which 0 leaves out; without levels the whole latent is one."""
        slices = level_slices(levels, latents.shape[1])
        weights = torch.ones(len(latents), dtype=torch.float64) if weights is None else weights.double().cpu()
        kept = (weights > 0).nonzero().flatten()
        shares = weights[kept] / weights.sum()
        count = max(weights.sum().item(), 1 / shares.square().sum().item())
        z = latents[kept.to(latents.device)]
        mean = (shares.to(z.device) @ z.double()).to(z.dtype)
        directions = z - mean
        source = directions if len(shares) > 1 else z
        correction = 1 - 1 / count if len(shares) > 1 else 1.0
        squares = [source[:, s].double().square().mean(1).cpu() for s in slices]
        return cls(directions, shares, count, slices, tuple((shares @ s).item() / correction for s in squares))

    @property
    def dim(self) -> int:
        """D."""
        return self.directions.shape[1]

    def levels(self, values: Sequence[float]) -> Tensor:
        """One number a level, repeated over it: (D,) in the latents' precision."""
        return torch.cat(
            [self.directions.new_full((s.stop - s.start,), v) for s, v in zip(self.slices, values, strict=True)]
        )

    def noise(self, b: float | Sequence[float]) -> Covariance:
        """b² V, with b one number or one a level."""
        b = [b] * len(self.slices) if isinstance(b, int | float) else b
        return Covariance(self.levels([value**2 * v for value, v in zip(b, self.variance, strict=True)]))

    def covariance(self, likeness: float | Sequence[float]) -> Covariance:
        """Σ = ℓ² S + (1 - ℓ²) V, the likeness ℓ in [0, 1) one number or one a level.

        `Posterior.condition(z, lam=1, likelihood=spread.covariance(ℓ))` is eq. 3-11 with it. At ℓ = 0 it is diagonal.
        """
        ell = [likeness] * len(self.slices) if isinstance(likeness, int | float) else likeness
        noise = self.noise([math.sqrt(1 - value**2) for value in ell])
        if len(self.shares) == 1 or not any(ell):
            return noise
        scale = (self.shares / (1 - 1 / self.count)).sqrt().to(self.directions)
        return Covariance(noise.diagonal, self.directions.T * scale * self.levels(ell).unsqueeze(1))
