"""The Bayesian bootstrap: draws whose weights over the evidence are their own."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from .covariance import Covariance
from .dirichlet import dirichlet_weights, piece_noise, total_concentration
from .gaussian import Gaussian
from .guard import Guard

__all__ = ["Blend"]


@dataclass(frozen=True, eq=False)
class Blend:
    """The Bayesian bootstrap (Rubin 1981): z = mean + Σᵢ (wᵢ - sharesᵢ) directionᵢ + noise, w Dirichlet weights of each
    draw's own.

    Each draw has its own weighted mean of the evidence. Averages lie nearer to the middle: their covariance is
    1 / (αm + 1) of the evidence's.

    Args:
        mean: (D,).
        directions: (p, D), pieces less their weighted mean, mapped as the posterior maps its mean.
        shares: (p,) float64 on the CPU, positive, of sum 1.
        covariance: of the noise.
        count: m, as how many pieces they count.
        pieces: k ≥ 1, see `dirichlet_weights`.
        guard: what pictures of draws stay within.
    """

    mean: Tensor
    directions: Tensor
    shares: Tensor
    covariance: Covariance
    count: float
    pieces: float
    guard: Guard | None = None

    @property
    def dim(self) -> int:
        """D."""
        return len(self.mean)

    def to(self, device: str | torch.device) -> "Blend":
        """The same on another device; weights are drawn on the CPU."""
        covariance = self.covariance.to(device, self.mean.dtype)
        return replace(self, mean=self.mean.to(device), directions=self.directions.to(device), covariance=covariance)

    def weights(self, n: int, seed: int = 0, start: int = 0) -> Tensor:
        """w of each draw, (n, p) float64 on the CPU: how much of which piece is in it."""
        noise = piece_noise(n, len(self.shares), seed, start)
        return dirichlet_weights(self.shares, self.count, self.pieces, noise)

    def deviations(self, n: int, seed: int = 0, start: int = 0) -> Tensor:
        """Σᵢ (wᵢ - sharesᵢ) directionᵢ of each draw, (n, D)."""
        return (self.weights(n, seed, start) - self.shares).to(self.mean) @ self.directions

    def sample(self, n: int, seed: int = 0, temperature: float = 1.0, start: int = 0) -> Tensor:
        """(n, D), as `Gaussian.sample`; the noise of a seed is a Gaussian's, w has noise of its own."""
        noise = Gaussian(self.mean, self.covariance).sample(n, seed, temperature, start)
        return noise + temperature * self.deviations(n, seed, start)

    @cached_property
    def moments(self) -> Gaussian:
        """The Gaussian of its mean and covariance.

        Raises ValueError where there is no noise in a dimension that the pieces move in: it has no density.
        """
        total = total_concentration(self.count, self.pieces)
        scale = 0.0 if total is None else 1 / (total + 1)
        factors = [self.directions.T * (self.shares * scale).sqrt().to(self.mean)]
        if self.covariance.factor is not None:
            factors.append(self.covariance.factor)
        return Gaussian(self.mean, Covariance(self.covariance.diagonal, torch.cat(factors, 1)))
