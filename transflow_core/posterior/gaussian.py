"""A Gaussian over the latent space: sampling, density, and its divergence from another."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .covariance import Covariance
from .noise import standard_normal

__all__ = ["Gaussian"]


@dataclass(frozen=True, eq=False)
class Gaussian:
    """N(mean, covariance) in D dimensions.

    Args:
        mean: (D,) float32 or float64, whose precision and device the covariance follows.
        covariance: a `Covariance`; a number or (D,) stands for a diagonal one.

    Raises ValueError if a shape does not fit or a number is not finite.

    Example:
        >>> gaussian = Gaussian(torch.tensor([1.0, -1.0]), 0.25)
        >>> gaussian.std, gaussian.sample(1000).mean(0).round(decimals=1)
        (tensor(0.5000, dtype=torch.float64), tensor([ 1., -1.]))
    """

    mean: Tensor
    covariance: Covariance

    def __post_init__(self) -> None:
        if self.mean.ndim != 1 or not len(self.mean):
            raise ValueError(f"the mean of a Gaussian is (D,), not {tuple(self.mean.shape)}")
        if self.mean.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"the mean of a Gaussian is float32 or float64, not {self.mean.dtype}")
        if not torch.isfinite(self.mean).all():
            raise ValueError("the mean of a Gaussian must be finite")
        covariance = Covariance.of(self.covariance).to(self.mean.device, self.mean.dtype)
        if covariance.dim not in (None, self.dim):
            raise ValueError(f"a covariance in {covariance.dim} dimensions does not fit a mean in {self.dim}")
        object.__setattr__(self, "covariance", covariance)

    @classmethod
    def standard(
        cls, dim: int, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu", *, std: float = 1.0
    ) -> "Gaussian":
        """N(0, std² I): at 1 the prior of a whitened latent."""
        return cls(torch.zeros(dim, dtype=dtype, device=device), Covariance(std**2))

    @property
    def dim(self) -> int:
        """D."""
        return len(self.mean)

    @property
    def guard(self) -> None:
        """None: the paper's draws are shown as they are."""

    @property
    def variance(self) -> Tensor:
        """Marginal variances: () where all dimensions share one, else (D,)."""
        return self.covariance.variance

    @property
    def std(self) -> Tensor:
        """Marginal standard deviations: () where all dimensions share one, else (D,)."""
        return self.variance.sqrt()

    def to(self, device: str | torch.device) -> "Gaussian":
        """The same Gaussian on another device."""
        return Gaussian(self.mean.to(device), self.covariance.to(device, self.mean.dtype))

    def sample(self, n: int, seed: int = 0, temperature: float = 1.0, start: int = 0) -> Tensor:
        """Draws z = mean + temperature · B ε with B Bᵀ the covariance: (n, D), in the mean's precision.

        ε is `standard_normal(n, D, seed, start)`: common random numbers. Sample i of a seed has the same ε in every
        Gaussian of D dimensions and on every device, so a change of λ morphs the images and does not reshuffle them.

        Args:
            n: how many, at least 0.
            seed: any integer that fits 64 bits.
            temperature: multiplies the standard deviation, at least 0; 0 gives the mean.
            start: index of the first sample, to draw a large sheet in batches.
        """
        if not 0 <= temperature < math.inf:
            raise ValueError(f"temperature must be at least 0 and finite, not {temperature}")
        noise = standard_normal(n, self.dim, seed, start).to(self.mean.device)
        return (self.mean + temperature * self.covariance.root(noise)).to(self.mean.dtype)

    def log_prob(self, z: Tensor) -> Tensor:
        """log N(z; mean, covariance) in nats: (m, D) -> (m,) float64, by Woodbury and the determinant lemma.

        Raises ValueError if the covariance is singular: there is no density at λ = 0.
        """
        if z.ndim != 2 or z.shape[1] != self.dim:
            raise ValueError(f"log_prob takes (m, {self.dim}), not {tuple(z.shape)}")
        log_det = self.covariance.log_det(self.dim)
        return -0.5 * (self.covariance.quadratic(z - self.mean) + log_det + self.dim * math.log(2 * math.pi))

    def kl(self, other: "Gaussian") -> float:
        """The Kullback-Leibler divergence KL(self ‖ other) in nats, at least 0; infinite where self is singular.

        ½ [tr(Σ₁⁻¹ Σ₀) + (μ₁ - μ₀)ᵀ Σ₁⁻¹ (μ₁ - μ₀) - D + log |Σ₁| - log |Σ₀|]. From a posterior to its prior it is how
        much the evidence told. Raises ValueError if `other` is singular or has another dimension.

        Example:
            >>> round(Gaussian(torch.ones(2), 1.0).kl(Gaussian.standard(2)), 6)
            1.0
        """
        if self.dim != other.dim:
            raise ValueError(f"dimensions differ: {self.dim} and {other.dim}")
        ours, theirs = self.covariance, other.covariance
        trace = (theirs.inverse_diagonal() * ours.diagonal.double()).expand(self.dim).sum()
        if ours.factor is not None:
            trace = trace + theirs.quadratic(ours.factor.T).sum()
        shift = theirs.quadratic((other.mean - self.mean).unsqueeze(0))[0]
        log_det = theirs.log_det(self.dim)
        if (ours.diagonal == 0).any():
            return math.inf
        return max(0.0, 0.5 * (trace + shift - self.dim + log_det - ours.log_det(self.dim)).item())
