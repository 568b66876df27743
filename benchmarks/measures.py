"""Measures of samples, so that "it works" is a number: distances to the evidence's domain, diversity."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from torch import Tensor

__all__ = [
    "as_unit",
    "chroma",
    "diversity",
    "lab",
    "region_distance",
]

# Linear sRGB to XYZ, each row divided by its sum: white, D65, is (1, 1, 1). Source: IEC 61966-2-1.
_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_TO_XYZ /= _TO_XYZ.sum(axis=1, keepdims=True)

Box = tuple[float, float, float, float]


def chroma(images: ArrayLike) -> float:
    """Mean CIELAB chroma √(a² + b²) over all pixels: 0 for greyscale, about 20 for photographs of faces.

    Args:
        images: floats in [0, 1], (n, 3, H, W).

    Example:
        >>> chroma(np.full((1, 3, 4, 4), 0.3)) < 0.1, chroma(np.array([1.0, 0, 0]).reshape(1, 3, 1, 1)) > 100
        (True, True)
    """
    x = _checked(images)
    return float(np.mean([np.hypot(*lab(image)[1:]).mean() for image in x]))


def region_distance(images: ArrayLike, reference: ArrayLike, box: Box) -> float:
    """Distance between the mean colours of a region, √(ΔR² + ΔG² + ΔB²) in [0, √3]: is the occlusion there?

    Args:
        images, reference: floats in [0, 1], (n, 3, H, W) and (k, 3, H, W).
        box: (left, top, right, bottom) of the region, as fractions of the frame.

    Raises ValueError if the box holds no pixel.

    Example:
        >>> round(region_distance(np.zeros((1, 3, 8, 8)), np.ones((2, 3, 8, 8)), (0.0, 0.0, 0.5, 0.5)), 3)
        1.732
    """
    return float(np.linalg.norm(_region_colour(images, box) - _region_colour(reference, box)))


def diversity(images: ArrayLike) -> float:
    """Mean root-mean-square difference between two images, over all pairs, in [0, 1]; 0 when they are one image.

    Args:
        images: floats in [0, 1], (n, 3, H, W), n at least 2.

    Example:
        >>> diversity(np.stack([np.zeros((3, 2, 2)), np.ones((3, 2, 2))]))
        1.0
    """
    x = _checked(images).astype(np.float64)
    x = x.reshape(len(x), -1)
    if len(x) < 2:
        raise ValueError("diversity needs at least two images")
    pairs = [np.sqrt(np.square(x[i + 1 :] - x[i]).mean(1)) for i in range(len(x) - 1)]
    return float(np.concatenate(pairs).mean())


def lab(image: NDArray[np.float32]) -> NDArray[np.float64]:
    """CIELAB, (3, H, W), L from 0 to 100, of sRGB in [0, 1], (3, H, W). Source: CIE 015:2004, 8.2.1.

    Example:
        >>> lab(np.ones((3, 1, 1), np.float32)).ravel().round(3) + 0.0
        array([100.,   0.,   0.])
    """
    linear = np.where(image <= 0.04045, image / 12.92, ((np.maximum(image, 0) + 0.055) / 1.055) ** 2.4)
    xyz = np.tensordot(_TO_XYZ, linear, axes=1)
    x, y, z = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def _region_colour(images: ArrayLike, box: Box) -> NDArray[np.float32]:
    x = _checked(images)
    height, width = x.shape[2:]
    left, top, right, bottom = (round(edge * side) for edge, side in zip(box, (width, height) * 2, strict=True))
    region = x[:, :, max(0, top) : bottom, max(0, left) : right]
    if not region.size:
        raise ValueError(f"there is no pixel in the region {box}")
    return region.mean((0, 2, 3))


def _checked(images: ArrayLike) -> NDArray[np.float32]:
    x = images.detach().cpu().numpy() if isinstance(images, Tensor) else np.asarray(images)
    if x.ndim != 4 or x.shape[1] != 3 or not len(x) or not np.issubdtype(x.dtype, np.floating):
        raise ValueError(f"images are floats, (n, 3, H, W) with n ≥ 1, not {x.dtype} {x.shape}")
    return x.astype(np.float32)


def as_unit(images: list[Image.Image]) -> NDArray[np.float32]:
    """PIL images of one size as floats in [0, 1], (n, 3, H, W): evidence, beside samples."""
    pixels = [np.asarray(image.convert("RGB"), np.float32).transpose(2, 0, 1) for image in images]
    return (np.stack(pixels) / 255).astype(np.float32)
