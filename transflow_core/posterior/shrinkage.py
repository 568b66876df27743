"""How the images of a set differ: the estimate of Σ, the covariance of one image (eq. 3-11)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .levels import HasSlice, level_slices


@dataclass(frozen=True, eq=False)
class ShrinkageCovariance:
    """The images' deviations from their mean, and what Σ is made of.

    Σ is ℓ² S + (1 - ℓ²) V: S the empirical covariance, of rank m - 1 at most, and V one variance a level, its mean on
    the diagonal of S. This shrinkage towards V keeps each level's total variance (Ledoit, Wolf 2004, level by level).

    Attributes:
        deviations: (p, D), latents less their weighted mean.
        weights: (p,) float64 on the CPU, positive, of sum 1.
        count: m, as how many images they count: the sum of their weights, or Kish's 1 / Σ w² where that is more.
        variance: V, of each level; of one image alone its own mean square, since images of the prior differ that much.
    """

    deviations: Tensor
    weights: Tensor
    count: float
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
        return cls(deviations, shares, count, tuple((shares @ s).item() / correction for s in squares))
