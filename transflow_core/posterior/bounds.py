"""The typical set of the evidence, and samples that are pulled back to it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from .levels import HasSlice, level_slices
from .sampler import Sampler

__all__ = ["Bounded", "LevelQuantiles", "TypicalSet"]


class LevelQuantiles(Protocol):
    """Quantiles of each level's root mean square over held-out images, as `transflow_core.typicality` has them."""

    @property
    def median_rms(self) -> Sequence[float]: ...


@dataclass(frozen=True)
class TypicalSet:
    """How long the latents of such images are, level by level: latents with a larger root mean square are not typical.

    In many dimensions a distribution's mass lies in a thin shell, and the flow was trained there. It is measured: on
    the evidence itself and on held-out images, since noise-free images lie well inside the textbook shell of N(0, I).

    Attributes:
        slices: of the levels, covering the latent.
        largest: the largest root mean square at each.
    """

    slices: tuple[slice, ...]
    largest: tuple[float, ...]

    @classmethod
    def of(
        cls, latents: Tensor, levels: Sequence[HasSlice | slice], quantiles: LevelQuantiles | None = None
    ) -> "TypicalSet":
        """Measured on evidence, (p, D): each level's largest root mean square, or the prior's median if that is more.

        A piece of evidence is never outside. With few pieces their largest is no quantile of anything: the median over
        held-out images keeps the bound from being tighter than ordinary images are.
        """
        slices = level_slices(levels, latents.shape[1])
        largest = [_rms(latents[:, s]).max().item() for s in slices]
        if quantiles is not None:
            largest = [max(pair) for pair in zip(largest, quantiles.median_rms, strict=True)]
        return cls(slices, tuple(largest))

    def pull_back(self, z: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
        """Move latents along the ray to `centre` until they are typical: (n, D) and (D,) -> (n, D), and (n,) the share
        t in [0, 1] of the way from the centre that is left; rows with t = 1 are returned as they are.

        The farthest typical point of the ray is taken. A level at which the centre itself is outside does not count.
        """
        t = torch.ones(len(z), dtype=torch.float64, device=z.device)
        for part, largest in zip(self.slices, self.largest, strict=True):
            c = centre[part].double()
            step = z[:, part].double() - c
            # |c + t step|² = bound: the positive root of a t² + 2 b t - room.
            room = largest**2 * len(c) - c.square().sum()
            if not 0 <= room < math.inf:
                continue
            a, b = step.square().sum(1), step @ c
            # Rounding leaves a piece of evidence, which may be the bound itself, where it is.
            outside = a + 2 * b > room + 1e-6 * largest**2 * len(c)
            root = room / (b + (b.square() + a * room).sqrt())
            t = torch.where(outside, torch.minimum(t, root), t)
        pulled = centre + t.unsqueeze(1).to(z.dtype) * (z - centre)
        return torch.where((t < 1).unsqueeze(1), pulled, z), t


@dataclass(frozen=True, eq=False)
class Bounded:
    """A sampler whose draws are pulled back to a typical set, along the ray to its mean: none is dropped."""

    inner: Sampler
    typical: TypicalSet

    @property
    def dim(self) -> int:
        """D."""
        return self.inner.dim

    @property
    def mean(self) -> Tensor:
        """(D,), of the sampler within."""
        return self.inner.mean

    def sample(self, n: int, seed: int = 0, temperature: float = 1.0, start: int = 0) -> Tensor:
        """(n, D), as the sampler within, pulled back."""
        return self.typical.pull_back(self.inner.sample(n, seed, temperature, start), self.mean)[0]

    def pulled(self, n: int, seed: int = 0, temperature: float = 1.0, start: int = 0) -> Tensor:
        """(n,) bool: which of these samples were pulled back."""
        return self.typical.pull_back(self.inner.sample(n, seed, temperature, start), self.mean)[1] < 1

    def to(self, device: str | torch.device) -> "Bounded":
        """The same on another device."""
        return replace(self, inner=self.inner.to(device))


def _rms(rows: Tensor) -> Tensor:
    return rows.double().square().mean(1).sqrt()
