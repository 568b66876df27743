"""What a step sees: which images, mirrored or not, with what noise. It follows from the seed and the step alone."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..flows.pixels import PixelConvention

__all__ = ["batch", "first_images"]


def batch(
    images: NDArray[np.uint8],
    pixels: PixelConvention,
    step: int,
    *,
    size: int,
    seed: int,
    mirror: bool,
    part: tuple[int, int] = (0, 1),
) -> Tensor:
    """The x of one step, (size / parts, C, S, S): every image once an epoch, in an order of the epoch's own.

    Args:
        images: uint8 (n, S, S, C).
        part: (i, k) is the i-th of k equal parts, a process's own. All parts together are the same for any k.
    """
    n, (index, count) = len(images), part
    places = np.arange(step * size, (step + 1) * size)
    chosen = np.empty(size, np.int64)
    for epoch in np.unique(places // n):
        order = np.random.default_rng((seed, int(epoch))).permutation(n)
        inside = places // n == epoch
        chosen[inside] = order[places[inside] % n]
    random = np.random.default_rng((seed, step, 1))
    mirrored = random.random(size) < (0.5 if mirror else 0)
    noise = random.random((size, *images.shape[1:]), np.float32)
    mine = slice(index * size // count, (index + 1) * size // count)
    shown = images[chosen[mine]]
    shown[mirrored[mine]] = shown[mirrored[mine]][:, :, ::-1]
    v = pixels.from_bytes(torch.from_numpy(shown).permute(0, 3, 1, 2))
    return pixels.dequantise(v, torch.from_numpy(noise[mine]).permute(0, 3, 1, 2)).contiguous()


def first_images(images: NDArray[np.uint8], pixels: PixelConvention, seed: int, most: int = 256) -> Tensor:
    """The images, with noise, that actnorms start from."""
    return batch(images, pixels, 0, size=min(most, len(images)), seed=seed, mirror=False)
