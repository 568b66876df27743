"""How pixels become the numbers that a flow was trained on, and back."""

import math
from dataclasses import dataclass

from torch import Tensor

__all__ = ["PixelConvention"]


@dataclass(frozen=True)
class PixelConvention:
    """The map between intensities v in [0, 1] and a flow's `x = v - offset`, and the bins that its training saw.

    A byte u stands for the middle of its bin, `v = (u + 0.5) / 256`: where the noise that training adds has its mean.
    Training saw images of `bits` bits with uniform noise, `x = floor(v * 2**bits) / 2**bits - offset + U[0, 2**-bits)`.

    Args:
        bits: 1 to 8.
        offset: 0.5 for flows with centred pixels, 0 for flows that saw [0, 1).

    Example:
        >>> import torch
        >>> pixels = PixelConvention(bits=5)
        >>> v = pixels.from_bytes(torch.tensor([0, 128, 255], dtype=torch.uint8))
        >>> pixels.to_flow(v).tolist(), pixels.from_flow(pixels.to_flow(v)).equal(v)
        ([-0.498046875, 0.001953125, 0.498046875], True)
    """

    bits: int = 8
    offset: float = 0.5

    def __post_init__(self) -> None:
        if isinstance(self.bits, bool) or not isinstance(self.bits, int) or not 1 <= self.bits <= 8:
            raise ValueError(f"bits must be a whole number from 1 to 8, not {self.bits!r}")
        if not isinstance(self.offset, int | float) or not -1 <= self.offset <= 1:
            raise ValueError(f"the pixels' offset must be a number in [-1, 1], not {self.offset!r}")

    @staticmethod
    def from_bytes(u: Tensor) -> Tensor:
        """uint8 of any shape -> v in (0, 1), float32. The byte is `floor(256 * v)`, and also `round(255 * v)`."""
        return (u.float() + 0.5) / 256

    def to_flow(self, v: Tensor) -> Tensor:
        """v -> x, without noise: deterministic."""
        return v - self.offset

    def from_flow(self, x: Tensor) -> Tensor:
        """x -> v, clipped to [0, 1]."""
        return (x + self.offset).clamp(0, 1)

    def dequantise(self, v: Tensor, noise: Tensor) -> Tensor:
        """v and noise in [0, 1), of the same shape -> x as training sees it."""
        n_bins = 2**self.bits
        return ((v * n_bins).floor().clamp(max=n_bins - 1) + noise) / n_bins - self.offset

    @property
    def nats_per_dim(self) -> float:
        """log(2**bits): what turns a density of x into a probability of the quantised image, a dimension."""
        return self.bits * math.log(2)
