"""How pixels become the numbers that a flow was trained on, and back."""

import math
from typing import Annotated, Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from .base import count, number


@dataclass(frozen=True)
class PixelConvention:
    """The map between intensities v in [0, 1] and a flow's `x = scale * v - offset`, and the bins its training saw.

    A byte u stands for the middle of its bin, `v = (u + 0.5) / 256`: where the noise that training adds has its mean.
    Training saw images of `bits` bits, 1 to 8, with noise: `noise` "uniform" fills the bin, `x = scale * (k + U[0, 1))
    / 2**bits - offset` for the k-th bin; "gaussian" scatters about its middle, `x = scale * (k + 1/2) / 2**bits -
    offset + N(0, 4**-bits)`. Encoding adds neither.

    A flow that saw `u / 255` with Gaussian noise (chaiyujin's) has `scale = 256 / 255` and `offset = 0.5 / 255`.
    """

    bits: Annotated[int, count(8)] = 8
    offset: Annotated[float, number(-1, 1)] = 0.5
    scale: Annotated[float, number(1 / 256, 256)] = 1.0
    noise: Literal["uniform", "gaussian"] = "uniform"

    @staticmethod
    def from_bytes(u: Tensor) -> Tensor:
        """uint8 of any shape -> v in (0, 1), float32. The byte is `floor(256 * v)`, and also `round(255 * v)`."""
        return (u.float() + 0.5) / 256

    def to_flow(self, v: Tensor) -> Tensor:
        """v -> x, without noise: deterministic."""
        return v * self.scale - self.offset

    def from_flow(self, x: Tensor, clip: bool = True) -> Tensor:
        """x -> v, clipped to [0, 1] unless `clip` is false."""
        v = (x + self.offset) / self.scale
        return v.clamp(0, 1) if clip else v

    def dequantise(self, v: Tensor, noise: Tensor) -> Tensor:
        """v and uniform noise in [0, 1) -> x as training sees it; Gaussian noise is its normal quantile."""
        n_bins = 2**self.bits
        bins = (v * n_bins).floor().clamp(max=n_bins - 1)
        if self.noise == "uniform":
            return self.to_flow((bins + noise) / n_bins)
        normal = torch.special.ndtri(noise.clamp(1e-6, 1 - 1e-6))  # the tails beyond 4.75 sigma are cut off
        return self.to_flow((bins + 0.5) / n_bins) + normal / n_bins

    @property
    def nats_per_dim(self) -> float:
        """log(2**bits / scale): what turns a density of x into a probability of the quantised image, a dimension.

        A bin of x is scale / 2**bits wide. With either noise the density there is the bin's probability over its width.
        """
        return self.bits * math.log(2) - math.log(self.scale)
