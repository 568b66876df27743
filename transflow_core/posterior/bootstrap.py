"""Draws that are made of pieces of evidence: the Bayesian bootstrap, and the smoothed one."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from .covariance import Covariance
from .dirichlet import dirichlet_weights, one_piece, piece_noise, total_concentration
from .gaussian import Gaussian

__all__ = ["Blend", "Bootstrap", "Smoothed"]


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """z = mean + Σᵢ cᵢ directionᵢ + noise, with coefficients c of each draw's own. A base: how c is drawn, others say.

    Args:
        mean: (D,).
        directions: (p, D), pieces less their weighted mean, mapped as the sampler needs them.
        shares: (p,) float64 on the CPU, positive, of sum 1.
        covariance: of the noise.
    """

    mean: Tensor
    directions: Tensor
    shares: Tensor
    covariance: Covariance

    @property
    def dim(self) -> int:
        """D."""
        return len(self.mean)

    def to(self, device: str | torch.device) -> "Bootstrap":
        """The same on another device; coefficients are drawn on the CPU."""
        covariance = self.covariance.to(device, self.mean.dtype)
        return replace(self, mean=self.mean.to(device), directions=self.directions.to(device), covariance=covariance)

    def coefficients(self, n: int, seed: int = 0, start: int = 0) -> Tensor:
        """c of each draw, (n, p) float64 on the CPU."""
        raise NotImplementedError

    def deviations(self, n: int, seed: int = 0, start: int = 0) -> Tensor:
        """Σᵢ cᵢ directionᵢ of each draw, (n, D)."""
        return self.coefficients(n, seed, start).to(self.mean) @ self.directions

    def sample(self, n: int, seed: int = 0, temperature: float = 1.0, start: int = 0) -> Tensor:
        """(n, D), as `Gaussian.sample`; the noise of a seed is a Gaussian's, c has noise of its own."""
        noise = Gaussian(self.mean, self.covariance).sample(n, seed, temperature, start)
        return noise + temperature * self.deviations(n, seed, start)

    @property
    def _scale(self) -> float:
        """What Σᵢ sharesᵢ directionᵢ directionᵢᵀ is multiplied by in the covariance."""
        raise NotImplementedError

    @cached_property
    def moments(self) -> Gaussian:
        """The Gaussian of its mean and covariance.

        Raises ValueError where there is no noise in a dimension that the pieces move in: it has no density.
        """
        factors = [self.directions.T * (self.shares * self._scale).sqrt().to(self.mean)]
        if self.covariance.factor is not None:
            factors.append(self.covariance.factor)
        return Gaussian(self.mean, Covariance(self.covariance.diagonal, torch.cat(factors, 1)))


@dataclass(frozen=True, eq=False)
class Blend(Bootstrap):
    """The Bayesian bootstrap (Rubin 1981): c = w - shares, with Dirichlet weights w of each draw's own.

    Each draw has its own weighted mean of the evidence. Averages lie nearer to the middle: their covariance is
    1 / (αm + 1) of the evidence's.

    Args:
        count: m, as how many pieces they count.
        pieces: k ≥ 1, see `dirichlet_weights`.
    """

    count: float
    pieces: float

    def weights(self, n: int, seed: int = 0, start: int = 0) -> Tensor:
        """w of each draw, (n, p) float64 on the CPU: how much of which piece is in it."""
        noise = piece_noise(n, len(self.shares), seed, start)
        return dirichlet_weights(self.shares, self.count, self.pieces, noise)

    def coefficients(self, n: int, seed: int = 0, start: int = 0) -> Tensor:
        """c of each draw, (n, p) float64 on the CPU."""
        return self.weights(n, seed, start) - self.shares

    @property
    def _scale(self) -> float:
        total = total_concentration(self.count, self.pieces)
        return 0.0 if total is None else 1 / (total + 1)


@dataclass(frozen=True, eq=False)
class Smoothed(Bootstrap):
    """The smoothed bootstrap (Efron 1982; Silverman, Young 1987): a piece of evidence, and a kernel around it.

    A draw leans by `likeness` ℓ on one piece, chosen by its share, and by √(1 - ℓ²) on a Gaussian mixture of all: a
    kernel density estimate whose kernel has the pieces' own covariance S, and whose centres are drawn in so that its
    covariance is S at every ℓ. At ℓ = 1 draws are the pieces; at ℓ = 0 they are N(mean, S), but for their length.

    Every deviation is stretched: its square is ℓ² of its piece's, and 1 - ℓ² of the mean over pieces. The length of a
    Gaussian mixture of few pieces varies much, and such draws would be too short or too long for the flow; and a piece
    with more in it than others, a mask or a pattern, is washed out if its draws are as short as the others'.

    Args:
        likeness: ℓ, 0 to 1.
        length: root mean square length of a deviation.
    """

    likeness: float
    length: float

    def lead(self, n: int, seed: int = 0, start: int = 0) -> Tensor:
        """(n,) index of the piece that each draw leans on, whatever ℓ is."""
        return one_piece(self.shares, piece_noise(n, len(self.shares), seed, start))

    def coefficients(self, n: int, seed: int = 0, start: int = 0) -> Tensor:
        """c of each draw, (n, p) float64 on the CPU."""
        p = len(self.shares)
        if not self.length:
            return torch.zeros(n, p, dtype=torch.float64)
        index = self.lead(n, seed, start)
        lead = torch.nn.functional.one_hot(index, p) - self.shares
        noise = self.shares.sqrt() * piece_noise(n, p, seed, start, stream=1)
        others = noise - self.shares * noise.sum(1, keepdim=True)
        c = self.likeness * self._unit(lead) + math.sqrt(1 - self.likeness**2) * self._unit(others)
        squares = self._gram.diagonal()
        own = squares[index] / (self.shares @ squares)
        stretch = (self.likeness**2 * own + 1 - self.likeness**2).sqrt()
        return self.length * stretch.unsqueeze(1) * self._unit(c)

    @property
    def _scale(self) -> float:
        square = (self.shares * self._gram.diagonal()).sum().item()
        return self.length**2 / square if square else 0.0

    @cached_property
    def _gram(self) -> Tensor:
        d = self.directions.double()
        return (d @ d.T).cpu()

    def _unit(self, c: Tensor) -> Tensor:
        """Scaled so that the deviations have length 1."""
        length = ((c @ self._gram) * c).sum(1, keepdim=True).clamp_min(0).sqrt()
        return c * torch.where(length > 0, 1 / length, 0)
