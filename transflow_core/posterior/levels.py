"""The latent's levels, fine to coarse: one number, or one sampler, for each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from .gaussian import Sampler
from .guard import Guard


class HasSlice(Protocol):
    """A level of a prior: it knows where it lies in the latent."""

    @property
    def slice(self) -> slice: ...


def level_shapes(levels: Sequence[HasSlice | slice], dim: int) -> tuple[tuple[int, int, int], ...]:
    """(C, H, W) of each level; (numbers, 1, 1) of a level without a shape."""
    slices = level_slices(levels, dim)
    return tuple(
        getattr(level, "shape", (s.stop - s.start, 1, 1)) for level, s in zip(levels or slices, slices, strict=True)
    )


def level_slices(levels: Sequence[HasSlice | slice], dim: int | None = None) -> tuple[slice, ...]:
    """The levels' slices; no levels at all are one that is the whole latent.

    Raises ValueError unless they cover the latent from 0 on without a gap, up to `dim` where that is given.
    """
    slices = [level if isinstance(level, slice) else level.slice for level in levels]
    if not slices and dim is not None:
        slices = [slice(0, dim)]
    stops = [s.stop for s in slices]
    if not slices or [s.start or 0 for s in slices] != [0, *stops[:-1]] or (dim is not None and stops[-1] != dim):
        raise ValueError("the levels must cover the latent from 0 on without a gap")
    return tuple(slice(s.start or 0, s.stop) for s in slices)


def per_level(values: Sequence[float], levels: Sequence[HasSlice | slice]) -> Tensor:
    """One number a latent level, repeated over the level's dimensions: (D,) float32, for `lam` and `lam_ratio`.

    The levels are `prior.levels`, or slices of the flat latent that cover it without a gap.

    Example:
        >>> per_level([0.1, 0.7], [slice(0, 3), slice(3, 4)])
        tensor([0.1000, 0.1000, 0.1000, 0.7000])
    """
    if len(values) != len(levels):
        raise ValueError(f"{len(levels)} levels need as many values, not {len(values)}")
    sizes = torch.tensor([s.stop - s.start for s in level_slices(levels)])
    return torch.tensor(values, dtype=torch.float32).repeat_interleave(sizes)


@dataclass(frozen=True, eq=False)
class _Composed:
    """Draws whose levels come from several samplers. Levels of one sampler are of one draw of it."""

    samplers: tuple[Sampler, ...]
    slices: tuple[slice, ...]
    mean: Tensor
    guard: Guard | None

    def sample(self, n: int, seed: int = 0, temperature: float = 1.0, start: int = 0) -> Tensor:
        """All samplers draw with one seed, so that a level keeps its noise when its sampler changes."""
        drawn = {id(sampler): sampler.sample(n, seed, temperature, start) for sampler in self.samplers}
        return torch.cat([drawn[id(s)][:, part] for s, part in zip(self.samplers, self.slices, strict=True)], 1)


def compose(samplers: Sequence[Sampler], levels: Sequence[HasSlice | slice]) -> Sampler:
    """A sampler that takes each level from another one: structure from here, style from there.

    Args:
        samplers: one a level, fine to coarse, of one dimension. Levels of one object belong together as in its draws.
        levels: `prior.levels`, or slices.

    Raises ValueError for samplers of several dimensions, and for levels that do not cover theirs.

    Example:
        >>> from .gaussian import Gaussian
        >>> style, structure = Gaussian(torch.zeros(3), 1.0), Gaussian(torch.ones(3), 0.0)
        >>> compose([style, structure], [slice(0, 2), slice(2, 3)]).sample(4)[:, 2]
        tensor([1., 1., 1., 1.])
    """
    (dim, *others) = {len(sampler.mean) for sampler in samplers}
    if others:
        raise ValueError(f"the samplers must be of one dimension, not of {sorted([dim, *others])}")
    slices = level_slices(levels, dim)
    mean = torch.cat([sampler.mean[part] for sampler, part in zip(samplers, slices, strict=True)])
    return _Composed(tuple(samplers), slices, mean, Guard.joined([sampler.guard for sampler in samplers]))
