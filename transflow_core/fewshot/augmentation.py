"""Small shifts and rotations of evidence: what an image may do without becoming another class."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image

__all__ = ["jitter"]


def jitter(
    images: Sequence[Image.Image],
    copies: int,
    *,
    seed: int = 0,
    shift: float = 0.055,
    degrees: float = 12.0,
    scale: float = 0.1,
    shear: float = 0.15,
) -> list[list[Image.Image]]:
    """Each image and `copies` distorted copies of it: a list of 1 + `copies` images for each, the image itself first.

    A copy is turned, enlarged, sheared and shifted by independent uniform amounts; borders are replicated. Image i has
    the same copies in any list of the same seed, and its first copies are the same for any number of them.

    Args:
        images: RGB or grey images of one size.
        copies: at least 0.
        seed: of the distortions.
        shift: largest shift in x and in y, as a fraction of the side (1.5 pixels of MNIST's 28).
        degrees: largest turn either way.
        scale: largest relative change of size.
        shear: largest horizontal shear, as a slope.

    Example:
        >>> variants = jitter([Image.new("RGB", (8, 8))], copies=3)
        >>> len(variants), len(variants[0]), variants[0][1].size
        (1, 4, (8, 8))
    """
    if copies < 0:
        raise ValueError(f"copies must be at least 0, not {copies}")
    sets = []
    for index, image in enumerate(images):
        rng = np.random.default_rng((seed, index))
        pixels = np.asarray(image)
        variants = [image]
        for _ in range(copies):
            matrix = _affine(rng, image.size, shift, degrees, scale, shear)
            moved = cv2.warpAffine(pixels, matrix, image.size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
            variants.append(Image.fromarray(moved))
        sets.append(variants)
    return sets


def _affine(
    rng: np.random.Generator, size: tuple[int, int], shift: float, degrees: float, scale: float, shear: float
) -> np.ndarray:
    angle = np.deg2rad(rng.uniform(-degrees, degrees))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = (1 + rng.uniform(-scale, scale)) * turn @ np.array([[1, rng.uniform(-shear, shear)], [0, 1]])
    sides = np.array(size, float)
    centre = (sides - 1) / 2
    return np.column_stack([linear, centre + rng.uniform(-shift, shift, 2) * sides - linear @ centre])
