"""N(mean, covariance) over the latent: sampling with common random numbers, density, divergence."""

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.distributions import LowRankMultivariateNormal, kl_divergence

from .covariance import Covariance
from .guard import Guard


def standard_normal(n: int, dim: int, seed: int = 0, start: int = 0) -> Tensor:
    """Rows `start` to `start + n` of a seed's endless table of standard normal noise: (n, dim) float32 on the CPU.

    Row i depends on the seed, any integer of 64 bits, and on `dim` alone, not on n, batches or device. Samples of one
    seed therefore share their ε at every λ, temperature and interpolation step.

    Example:
        >>> standard_normal(4, 3, seed=7)[2:].equal(standard_normal(2, 3, seed=7, start=2))
        True
    """
    generator = torch.Generator().manual_seed(seed)
    noise = torch.empty(n, dim)
    # One row a call: the first rows of torch.randn(n, dim) would change with n.
    for _ in range(start):
        torch.randn(dim, generator=generator)
    for row in noise:
        torch.randn(dim, generator=generator, out=row)
    return noise


@runtime_checkable
class Sampler(Protocol):
    """A distribution over the latent, with common random numbers: a change of any number morphs the images."""

    @property
    def mean(self) -> Tensor:
        """(D,), where temperature 0 leads."""
        ...

    @property
    def guard(self) -> Guard | None:
        """What pictures of draws stay within; None for nothing."""
        ...

    def sample(self, n: int, seed: int = 0, temperature: float = 1.0, start: int = 0) -> Tensor:
        """(n, D) latents in the mean's precision: samples `start` to `start + n`; `temperature` scales deviations."""
        ...


@dataclass(frozen=True, eq=False)
class Gaussian:
    """N(mean, covariance) in D dimensions.

    Args:
        mean: (D,) float32 or float64, whose precision and device the covariance follows.
        covariance: a `Covariance`; a number or (D,) stands for a diagonal one.

    Raises ValueError if a shape does not fit or a number is not finite.

    Example:
        >>> gaussian = Gaussian(torch.tensor([1.0, -1.0]), 0.25)
        >>> gaussian.variance, gaussian.sample(1000).mean(0).round(decimals=1)
        (tensor(0.2500, dtype=torch.float64), tensor([ 1., -1.]))
    """

    mean: Tensor
    covariance: Covariance

    def __post_init__(self) -> None:
        if self.mean.ndim != 1 or not len(self.mean) or self.mean.dtype not in (torch.float32, torch.float64):
            found = f"{tuple(self.mean.shape)} {self.mean.dtype}"
            raise ValueError(f"the mean of a Gaussian is (D,) float32 or float64, not {found}")
        if not torch.isfinite(self.mean).all():
            raise ValueError("the mean of a Gaussian must be finite")
        covariance = Covariance.of(self.covariance).to(self.mean.device, self.mean.dtype)
        if covariance.dim not in (None, self.dim):
            raise ValueError(f"a covariance in {covariance.dim} dimensions does not fit a mean in {self.dim}")
        object.__setattr__(self, "covariance", covariance)

    @classmethod
    def standard(cls, dim: int, dtype: torch.dtype = torch.float32, *, std: float = 1.0) -> "Gaussian":
        """N(0, std² I): at 1 the prior of a whitened latent."""
        return cls(torch.zeros(dim, dtype=dtype), Covariance(std**2))

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

    def sample(self, n: int, seed: int = 0, temperature: float = 1.0, start: int = 0) -> Tensor:
        """Draws z = mean + temperature · B ε, with B Bᵀ the covariance and ε = `standard_normal(n, D, seed, start)`.

        They are (n, D), in the mean's precision. The temperature is at least 0, which gives the mean.
        """
        noise = standard_normal(n, self.dim, seed, start).to(self.mean.device)
        return (self.mean + temperature * self.covariance.root(noise)).to(self.mean.dtype)

    def log_prob(self, z: Tensor) -> Tensor:
        """log N(z; mean, covariance) in nats: (m, D) -> (m,) float64.

        Raises ValueError for another D, and if the covariance is singular: there is no density at λ = 0.
        """
        if z.shape[-1] != self.dim:
            raise ValueError(f"latents are (m, {self.dim}), not {tuple(z.shape)}")
        return self._density().log_prob(z.double())

    def kl(self, other: "Gaussian") -> float:
        """The Kullback-Leibler divergence KL(self ‖ other) in nats, at least 0; infinite where self is singular.

        Raises ValueError if `other` is singular, or of another dimension.
        """
        if self.dim != other.dim:
            raise ValueError(f"there is no divergence of {self.dim} dimensions from {other.dim}")
        target = other._density()
        if (self.covariance.diagonal == 0).any():
            return math.inf
        return max(0.0, kl_divergence(self._density(), target).item())

    def _density(self) -> LowRankMultivariateNormal:
        mean, diagonal = self.mean.double(), self.covariance.diagonal.double().expand(self.dim)
        factor = self.covariance.factor
        factor = mean.new_zeros(self.dim, 1) if factor is None else factor.double()  # torch knows no rank 0
        if not (diagonal == 0).any():
            with suppress(torch.linalg.LinAlgError):  # a variance so small that it is 0 beside the factor
                return LowRankMultivariateNormal(mean, factor, diagonal, validate_args=False)
        raise ValueError(
            "the covariance is singular (a variance is 0, as at λ = 0): it has no density; take a larger λ"
        )
