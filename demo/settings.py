"""What the Studio's controls say, checked once: a browser, or a client of the API, may send anything."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from transflow_core.posterior import per_level
from transflow_core.prior import Prior

__all__ = ["MOST_SAMPLES", "Settings"]

MOST_SAMPLES = 64


def _number(value: object, name: str, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} must be a number from {low:g} to {high:g}")
    return min(max(float(value), low), high)


@dataclass(frozen=True)
class Settings:
    """Everything but the evidence that decides what is on the screen.

    Attributes:
        lam_ratio: λ/m, 0.01 to 10.
        temperature: 0 to 1.5.
        n: number of samples, 1 to 64.
        seed: 0 to 2³¹ - 1.
        levels: one λ/m a latent level, fine to coarse, in place of `lam_ratio`; empty for one λ for all.
    """

    lam_ratio: float = 0.5
    temperature: float = 1.0
    n: int = 16
    seed: int = 0
    levels: tuple[float, ...] = ()

    @classmethod
    def checked(
        cls, lam_ratio: object, temperature: object, n: object, seed: object, levels: tuple[object, ...] = ()
    ) -> Settings:
        """From untrusted values: out of range is brought into it. Raises ValueError if one is no number at all."""
        return cls(
            lam_ratio=_number(lam_ratio, "λ/m", 0.01, 10),
            temperature=_number(temperature, "temperature", 0, 1.5),
            n=int(_number(n, "the number of samples", 1, MOST_SAMPLES)),
            seed=int(_number(seed, "the seed", 0, 2**31 - 1)),
            levels=tuple(_number(level, "λ/m of a level", 0.01, 10) for level in levels),
        )

    def ratio(self, prior: Prior) -> float | torch.Tensor:
        """λ/m as `Posterior.condition` takes it: one number, or one a dimension."""
        return per_level(self.levels, prior.levels) if self.levels else self.lam_ratio

    def words(self) -> str:
        """λ/m for a person: `0.5`, or the levels' from fine to coarse."""
        return ", ".join(f"{level:g}" for level in self.levels) or f"{self.lam_ratio:g}"
