"""The latent's levels, as slices of its D numbers: fine to coarse."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["HasSlice", "LevelQuantiles", "level_shapes", "level_slices", "per_level"]


class HasSlice(Protocol):
    """A level of a prior: it knows where it lies in the latent."""

    @property
    def slice(self) -> slice: ...


class LevelQuantiles(Protocol):
    """Quantiles of each level's root mean square over held-out images, as `transflow_core.typicality` has them."""

    @property
    def median_rms(self) -> Sequence[float]: ...


def level_shapes(levels: Sequence[HasSlice | slice], dim: int) -> tuple[tuple[int, int, int], ...]:
    """(C, H, W) of each level; (numbers, 1, 1) of one that does not tell."""
    plain = [(s.stop - s.start, 1, 1) for s in level_slices(levels, dim)]
    return tuple(getattr(level, "shape", one) for level, one in zip(levels or plain, plain, strict=True))


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
    """One number a latent level, spread over the level's dimensions: (D,) float32, as `lam` and `lam_ratio` take it.

    Args:
        values: one number for each level, in the order of `levels`: fine to coarse for a prior's.
        levels: `prior.levels`, or slices of the flat latent that cover it without a gap.

    Example:
        >>> per_level([0.1, 0.7], [slice(0, 3), slice(3, 4)])
        tensor([0.1000, 0.1000, 0.1000, 0.7000])
    """
    if len(values) != len(levels):
        raise ValueError(f"{len(levels)} levels need as many values, not {len(values)}")
    slices = level_slices(levels)
    return torch.cat([torch.full((s.stop - s.start,), float(v)) for v, s in zip(values, slices, strict=True)])
