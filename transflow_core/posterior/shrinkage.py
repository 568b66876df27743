"""How the images of a set differ: the estimate of Σ, the covariance of one image (eq. 3-11)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .covariance import Covariance
from .levels import HasSlice, level_slices, per_level


@dataclass(frozen=True, eq=False)
class ShrinkageCovariance:
    """The images' deviations from their mean, and Σ of them.

    Σ is estimated as a² S + b² V: S the empirical covariance, of rank m - 1 at most, and V one variance a level, its
    mean on the diagonal of S. With a² + b² = 1 it is shrinkage towards V, which keeps each level's total variance
    (Ledoit, Wolf 2004, level by level).

    Attributes:
        deviations: (p, D), latents less their weighted mean.
        weights: (p,) float64 on the CPU, positive, of sum 1.
        count: m, as how many images they count: the sum of their weights, or Kish's 1 / Σ w² where that is more.
        slices: of the levels.
        variance: V, of each level; of one image alone its own mean square, since images of the prior differ that much.
    """

    deviations: Tensor
    weights: Tensor
    count: float
    slices: tuple[slice, ...]
    variance: tuple[float, ...]

    @classmethod
    def of(
        cls, latents: Tensor, weights: Tensor | None = None, levels: Sequence[HasSlice | slice] = ()
    ) -> "ShrinkageCovariance":
        """From (p, D) latents and their weights, of which 0 leaves out; without levels the whole latent is one."""
        slices = level_slices(levels, latents.shape[1])
        weights = torch.ones(len(latents), dtype=torch.float64) if weights is None else weights.double().cpu()
        kept = (weights > 0).nonzero().flatten()
        shares = weights[kept] / weights.sum()
        count = max(weights.sum().item(), 1 / shares.square().sum().item())
        z = latents[kept.to(latents.device)]
        mean = (shares.to(z.device) @ z.double()).to(z.dtype)
        deviations = z - mean
        source, correction = (deviations, 1 - 1 / count) if len(shares) > 1 else (z, 1.0)
        squares = [source[:, s].double().square().mean(1).cpu() for s in slices]
        return cls(deviations, shares, count, slices, tuple((shares @ s).item() / correction for s in squares))

    def covariance(self, likeness: float | Sequence[float]) -> Covariance:
        """Σ = ℓ² S + (1 - ℓ²) V, the likeness ℓ in [0, 1) one number or one a level.

        `Posterior.condition(z, lam=1, likelihood=shrinkage.covariance(ℓ))` is eq. 3-11 with it. At ℓ = 0 it is V.
        """
        ell = [likeness] * len(self.slices) if isinstance(likeness, int | float) else likeness
        noise = [(1 - value**2) * v for value, v in zip(ell, self.variance, strict=True)]
        diagonal = per_level(noise, self.slices, torch.float64).to(self.deviations)
        if len(self.weights) == 1 or not any(ell):
            return Covariance(diagonal)
        scale = (self.weights / (1 - 1 / self.count)).sqrt().to(self.deviations)
        each = per_level(ell, self.slices, torch.float64).to(self.deviations)
        return Covariance(diagonal, self.deviations.T * scale * each.unsqueeze(1))
