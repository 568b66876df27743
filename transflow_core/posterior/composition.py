"""Structure from here, style from there: each latent level from a sampler of its own."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .guard import Guard
from .levels import HasSlice, level_slices
from .sampler import Sampler

__all__ = ["Composed", "compose"]


@dataclass(frozen=True, eq=False)
class Composed:
    """Draws whose levels come from several samplers. Levels of one sampler are of one draw of it, as ever."""

    samplers: tuple[Sampler, ...]
    slices: tuple[slice, ...]

    @property
    def dim(self) -> int:
        """D."""
        return self.slices[-1].stop

    @property
    def mean(self) -> Tensor:
        """(D,), of each level's own sampler."""
        return torch.cat([sampler.mean[part] for sampler, part in zip(self.samplers, self.slices, strict=True)])

    def sample(self, n: int, seed: int = 0, temperature: float = 1.0, start: int = 0) -> Tensor:
        """(n, D): every sampler draws with the same seed, so that a level keeps its noise when its sampler changes."""
        drawn = {id(sampler): sampler.sample(n, seed, temperature, start) for sampler in self.samplers}
        return torch.cat([drawn[id(s)][:, part] for s, part in zip(self.samplers, self.slices, strict=True)], 1)

    @property
    def guard(self) -> Guard | None:
        """What any of its samplers lets through; None where one of them has no bounds."""
        return Guard.joined([sampler.guard for sampler in self.samplers])

    def to(self, device: str | torch.device) -> "Composed":
        """The same on another device."""
        moved = {id(sampler): sampler.to(device) for sampler in self.samplers}
        return replace(self, samplers=tuple(moved[id(sampler)] for sampler in self.samplers))


def compose(samplers: Sequence[Sampler], levels: Sequence[HasSlice | slice]) -> Composed:
    """A sampler that takes each level from another one.

    Args:
        samplers: one a level, fine to coarse, of one dimension; one object may stand for several levels, which then
            belong together as they do in its draws.
        levels: `prior.levels`, or slices.

    Raises ValueError if there are not as many samplers as levels, or a dimension differs.

    Example:
        >>> from .gaussian import Gaussian
        >>> style, structure = Gaussian(torch.zeros(3), 1.0), Gaussian(torch.ones(3), 0.0)
        >>> compose([style, structure], [slice(0, 2), slice(2, 3)]).sample(4)[:, 2]
        tensor([1., 1., 1., 1.])
    """
    slices = level_slices(levels)
    if len(samplers) != len(slices):
        raise ValueError(f"{len(slices)} levels need as many samplers, not {len(samplers)}")
    dims = {sampler.dim for sampler in samplers}
    if dims != {slices[-1].stop}:
        raise ValueError(f"the samplers have {sorted(dims)} dimensions, the levels {slices[-1].stop}")
    return Composed(tuple(samplers), slices)
