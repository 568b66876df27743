"""Draws that blend a few pieces of evidence: the Bayesian bootstrap, and its new members."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from .covariance import Covariance
from .dirichlet import concentration, dirichlet_noise, dirichlet_weights
from .gaussian import Gaussian

__all__ = ["Blend"]


@dataclass(frozen=True, eq=False)
class Blend:
    """z = mean + Σᵢ cᵢ directionᵢ + noise, with weights w ~ Dirichlet(A · shares) of each draw's own.

    Without `length`, c = w - shares: the Bayesian bootstrap (Rubin 1981), where every draw has its own weighted
    mean of the evidence. Averages lie nearer to the middle: their covariance is 1 / (A + 1) of the evidence's.

    With `length`, every deviation is stretched to that length. With the root mean square distance of pieces from their
    mean, the covariance is the evidence's own, S (exactly so for pieces that are equally far from their mean and at
    right angles, nearly so in high dimensions), and a draw is as far out as a piece is, as Gaussian weights have it
    only on the average. With few pieces a draw, c is skewed as the evidence's own weights are: much of few, little of
    the others, and hardly ever the negative of one.

    Args:
        mean: (D,).
        directions: (p, D), pieces less their weighted mean, mapped as the sampler needs them.
        shares: (p,) float64 on the CPU, positive, of sum 1.
        count: m, as how many pieces they count.
        pieces: k ≥ 1, see `dirichlet_weights`.
        covariance: of the noise.
        length: see above.
    """

    mean: Tensor
    directions: Tensor
    shares: Tensor
    count: float
    pieces: float
    covariance: Covariance
    length: float | None = None

    @property
    def dim(self) -> int:
        """D."""
        return len(self.mean)

    def to(self, device: str | torch.device) -> "Blend":
        """The same on another device; the weights are drawn on the CPU."""
        covariance = self.covariance.to(device, self.mean.dtype)
        return replace(self, mean=self.mean.to(device), directions=self.directions.to(device), covariance=covariance)

    def weights(self, n: int, seed: int = 0, start: int = 0) -> Tensor:
        """w of each draw, (n, p) float64 on the CPU: how much of which piece is in it."""
        return dirichlet_weights(
            self.shares, self.count, self.pieces, dirichlet_noise(n, len(self.shares), seed, start)
        )

    def coefficients(self, n: int, seed: int = 0, start: int = 0) -> Tensor:
        """c of each draw, (n, p) float64 on the CPU."""
        c = self.weights(n, seed, start) - self.shares
        if self.length is None or len(self.shares) == 1:
            return c
        if not c.any():  # k = m: the limit of the directions in which the weights leave the shares
            noise = self.shares.sqrt() * dirichlet_noise(n, len(self.shares), seed, start)
            c = noise - self.shares * noise.sum(1, keepdim=True)
        length = ((c @ self._gram) * c).sum(1, keepdim=True).clamp_min(0).sqrt()
        return c * torch.where(length > 0, self.length / length, 0)

    def sample(self, n: int, seed: int = 0, temperature: float = 1.0, start: int = 0) -> Tensor:
        """(n, D), as `Gaussian.sample`; the noise of a seed is a Gaussian's, the weights have noise of their own."""
        noise = Gaussian(self.mean, self.covariance).sample(n, seed, temperature, start)
        return noise + temperature * self.deviations(n, seed, start)

    def deviations(self, n: int, seed: int = 0, start: int = 0) -> Tensor:
        """Σᵢ cᵢ directionᵢ of each draw, (n, D)."""
        return self.coefficients(n, seed, start).to(self.mean) @ self.directions

    @cached_property
    def moments(self) -> Gaussian:
        """The Gaussian of its mean and covariance (with `length`, of the covariance that it approaches, see above).

        Raises ValueError where there is no noise in a dimension that the pieces move in: it has no density.
        """
        if self.length is not None:
            square = (self.shares * self._gram.diagonal()).sum().item()
            scale = self.length**2 / square if square else 0.0
        else:
            total = concentration(self.count, self.pieces)
            scale = 0.0 if total is None else 1 / (total + 1)
        factors = [self.directions.T * (self.shares * scale).sqrt().to(self.mean)]
        if self.covariance.factor is not None:
            factors.append(self.covariance.factor)
        return Gaussian(self.mean, Covariance(self.covariance.diagonal, torch.cat(factors, 1)))

    @cached_property
    def _gram(self) -> Tensor:
        d = self.directions.double()
        return (d @ d.T).cpu()
