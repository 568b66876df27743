"""The default sampler until the local bootstrap came: a kernel density around the given images."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from transflow_core.posterior import Covariance, Gaussian, Posterior, per_level
from transflow_core.posterior.bootstrap import image_noise, one_image
from transflow_core.posterior.shrinkage import ShrinkageCovariance
from transflow_core.priors.prior import Prior

__all__ = ["Predictive"]

_DRAWN_IN = 0.9


@dataclass(frozen=True, eq=False)
class Predictive:
    """The smoothed bootstrap (Efron 1982; Silverman, Young 1987), projected onto the typical set of the images.

    A draw leans by ℓ on one given image and by √(1 - ℓ²) on a Gaussian mixture of all. Then it moves towards the mean,
    until no level is longer than that level of any given image, or than the median of held-out images.

    Attributes:
        mean: (D,).
        directions: (m, D), the images' latents less their mean, scaled.
        covariance: of the noise.
        likeness: ℓ, from 0 to 1.
        slices: of the levels.
        largest: the largest root mean square at each level.
    """

    mean: Tensor
    directions: Tensor
    covariance: Covariance
    likeness: float
    slices: tuple[slice, ...]
    largest: tuple[float, ...]

    @classmethod
    def of(cls, z: Tensor, prior: Prior, likeness: float = 0.9, lam_ratio: float = 0.01) -> "Predictive":
        """From the latents of the given images, (m, D)."""
        posterior = Posterior.condition(z, lam_ratio=lam_ratio)
        shrinkage = ShrinkageCovariance.of(z, None, prior.levels)
        off = (1 - likeness**2) / shrinkage.count
        share = (1 / (1 + posterior.lam_ratio)).to(z)
        apart = Covariance(per_level(shrinkage.variance, prior.levels).to(z))
        noise = posterior.covariance + apart.scaled(_DRAWN_IN**2 * off * share)
        slices = tuple(level.slice for level in prior.levels)
        largest = [z[:, part].double().square().mean(1).sqrt().max().item() for part in slices]
        if prior.typicality is not None:
            largest = [max(pair) for pair in zip(largest, prior.typicality.median_rms, strict=True)]
        along = _DRAWN_IN * math.sqrt(1 - off) * share.sqrt()
        return cls(posterior.mean, along * shrinkage.deviations, noise, likeness, slices, tuple(largest))

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """(n, D)."""
        noise = Gaussian(self.mean, self.covariance).sample(n, seed)
        return self._typical(noise + self._coefficients(n, seed).to(self.mean) @ self.directions)

    def _coefficients(self, n: int, seed: int) -> Tensor:
        """(n, m) float64: how much of each direction is in a draw."""
        m = len(self.directions)
        if m == 1:
            return torch.zeros(n, 1, dtype=torch.float64)
        shares = torch.ones(m, dtype=torch.float64) / m
        d = self.directions.double()
        gram = d @ d.T
        squares = gram.diagonal()

        def unit(c: Tensor) -> Tensor:
            length = ((c @ gram) * c).sum(1, keepdim=True).clamp_min(0).sqrt()
            return c * torch.where(length > 0, 1 / length, 0)

        index = one_image(shares, image_noise(n, m, seed, 0))
        lead = torch.nn.functional.one_hot(index, m) - shares
        noise = shares.sqrt() * image_noise(n, m, seed, 0, stream=1)
        others = noise - shares * noise.sum(1, keepdim=True)
        c = self.likeness * unit(lead) + math.sqrt(1 - self.likeness**2) * unit(others)
        stretch = (self.likeness**2 * squares[index] / (shares @ squares) + 1 - self.likeness**2).sqrt()
        length = math.sqrt((shares @ squares).item() / (1 - 1 / m))
        return length * stretch.unsqueeze(1) * unit(c)

    def _typical(self, z: Tensor) -> Tensor:
        """Latents, (n, D), each moved along the ray to the mean to the farthest typical point."""
        t = torch.ones(len(z), dtype=torch.float64)
        for part, largest in zip(self.slices, self.largest, strict=True):
            c = self.mean[part].double()
            step = z[:, part].double() - c
            room = largest**2 * len(c) - c.square().sum()
            if not 0 <= room < math.inf:
                continue
            a, b = step.square().sum(1), step @ c
            outside = a + 2 * b > room + 1e-6 * largest**2 * len(c)
            root = room / (b + (b.square() + a * room).sqrt())
            t = torch.where(outside, torch.minimum(t, root), t)
        moved = self.mean + t.unsqueeze(1).to(z.dtype) * (z - self.mean)
        return torch.where((t < 1).unsqueeze(1), moved, z)
