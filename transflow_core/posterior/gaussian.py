"""N(mean, variance) over the latent: sampling with common random numbers, density, divergence."""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

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
    """N(mean, diag(variance)) in D dimensions: never a D × D matrix.

    Args:
        mean: (D,) float32 or float64, whose precision and device the variance follows.
        variance: at least 0: (D,); or a number for all dimensions, which is kept as () float64.

    Raises ValueError if a shape does not fit, a number is not finite, or a variance is negative.

    Example:
        >>> gaussian = Gaussian(torch.tensor([1.0, -1.0]), 0.25)
        >>> gaussian.variance, gaussian.sample(1000).mean(0).round(decimals=1)
        (tensor(0.2500, dtype=torch.float64), tensor([ 1., -1.]))
    """

    mean: Tensor
    variance: Tensor

    def __post_init__(self) -> None:
        if self.mean.ndim != 1 or not len(self.mean) or self.mean.dtype not in (torch.float32, torch.float64):
            found = f"{tuple(self.mean.shape)} {self.mean.dtype}"
            raise ValueError(f"the mean of a Gaussian is (D,) float32 or float64, not {found}")
        shape = tuple(getattr(self.variance, "shape", ()))
        if shape not in ((), (self.dim,)):
            raise ValueError(f"a variance of shape {shape} does not fit a mean in {self.dim} dimensions")
        # A scalar costs nothing in float64, and as a 0-dimensional tensor it does not widen what it meets.
        dtype = self.mean.dtype if shape else torch.float64
        variance = torch.as_tensor(self.variance, dtype=dtype, device=self.mean.device)
        if not torch.isfinite(self.mean).all() or not torch.isfinite(variance).all():
            raise ValueError("mean and variance of a Gaussian must be finite")
        if (variance < 0).any():
            raise ValueError(f"a variance cannot be negative; the smallest given is {variance.min().item():g}")
        object.__setattr__(self, "variance", variance)

    @classmethod
    def standard(cls, dim: int, dtype: torch.dtype = torch.float32, *, std: float = 1.0) -> "Gaussian":
        """N(0, std² I): at 1 the prior of a whitened latent."""
        return cls(torch.zeros(dim, dtype=dtype), torch.tensor(std**2, dtype=torch.float64))

    @property
    def dim(self) -> int:
        """D."""
        return len(self.mean)

    @property
    def guard(self) -> None:
        """None: the paper's draws are shown as they are."""

    def sample(self, n: int, seed: int = 0, temperature: float = 1.0, start: int = 0) -> Tensor:
        """Draws z = mean + temperature · √variance · ε, with ε = `standard_normal(n, D, seed, start)`.

        They are (n, D), in the mean's precision. The temperature is at least 0, which gives the mean.
        """
        noise = standard_normal(n, self.dim, seed, start).to(self.mean.device)
        apart = noise.double() * self.variance.double().sqrt()
        return (self.mean + temperature * apart).to(self.mean.dtype)

    def log_prob(self, z: Tensor) -> Tensor:
        """log N(z; mean, variance) in nats: (m, D) -> (m,) float64.

        Raises ValueError where a variance is 0: there is no density at λ = 0.
        """
        return self._density().log_prob(z.double()).sum(1)

    def kl(self, other: "Gaussian") -> float:
        """The Kullback-Leibler divergence KL(self ‖ other) in nats, at least 0; infinite where a variance of self is 0.

        Raises ValueError where one of `other` is.
        """
        target = other._density()
        if (self.variance == 0).any():
            return math.inf
        return max(0.0, kl_divergence(self._density(), target).sum().item())

    def _density(self) -> Normal:
        if (self.variance == 0).any():
            raise ValueError("a variance is 0, as at λ = 0: it has no density; take a larger λ")
        return Normal(self.mean.double(), self.variance.double().sqrt(), validate_args=False)
