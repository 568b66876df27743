"""Draws around one draw of a sampler: more like this one."""

import math
from dataclasses import dataclass

from torch import Tensor

from .gaussian import Sampler
from .guard import Guard

_RHO = 0.8  # chosen by eye: the same person, seen to differ
# Keeps the noise of draws around a draw apart from that draw's under one seed.
_OWN = 0x6A09E667F3BCC909


@dataclass(frozen=True, eq=False)
class Around:
    """Draws around a draw z of a sampler of mean μ: μ + ρ (z - μ) + √(1 - ρ²) (z_i - μ), with ρ = 0.8.

    z_i are draws of their own. Means and covariances stay the sampler's where z is one of its draws. Of a Gaussian
    N(μ, Σ) this is Bayes' rule with z as evidence: N(μ + ρ (z - μ), (1 - ρ²) Σ).

    Attributes:
        sampler: what z is a draw of.
        z: (D,).
        row: z itself has this row, the one that it had before.
        depth: 1, or 2 for draws around a draw around a draw, and so on: each has noise of its own.
    """

    sampler: Sampler
    z: Tensor
    row: int
    depth: int = 1

    @property
    def mean(self) -> Tensor:
        """(D,), μ + ρ (z - μ)."""
        return self.sampler.mean + _RHO * (self.z - self.sampler.mean)

    @property
    def guard(self) -> Guard | None:
        """The sampler's."""
        return self.sampler.guard

    def sample(self, n: int, seed: int = 0, temperature: float = 1.0, start: int = 0) -> Tensor:
        """(n, D), as `Sampler.sample`."""
        own = (seed ^ self.depth * _OWN) & (2**63 - 1)
        apart = self.sampler.sample(n, own, temperature, start) - self.sampler.mean
        z = self.mean + math.sqrt(1 - _RHO**2) * apart
        if start <= self.row < start + n:
            z[self.row - start] = self.z
        return z
