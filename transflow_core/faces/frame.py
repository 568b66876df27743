"""The frame that the priors were trained on, and the similarity that moves two eyes to their places in it."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

__all__ = ["LEFT_EYE", "RIGHT_EYE", "Eyes", "centre_square", "to_frame", "to_image"]

Eyes = tuple[tuple[float, float], tuple[float, float]]

LEFT_EYE = (0.37, 0.48)
"""Place of the eye on the image's left, as fractions of the frame's width and height."""
RIGHT_EYE = (0.63, 0.48)
"""Place of the eye on the image's right."""

# A face that shrinks is warped into a larger frame, with at least a sample for each source pixel; Lanczos reduces it.
# Beyond four times the picture itself is reduced first, by whole pixels, so that the warp stays cheap.
_MOST_OVERSAMPLING = 4
# Source pixels beyond the frame's footprint that bicubic interpolation reads.
_MARGIN = 4


def to_image(eyes: Eyes, *, template: Eyes = (LEFT_EYE, RIGHT_EYE)) -> tuple[complex, complex]:
    """The similarity `q = a · p + b` from fractions of the frame to pixels of the picture, as complex (a, b).

    Points are x + iy, so that |a| is the frame's side in pixels of the picture and arg(a) its roll. Two points
    determine it: `template` goes to `eyes` exactly.

    Example:
        >>> a, b = to_image(((37.0, 48.0), (63.0, 48.0)))
        >>> round(abs(a)), abs(b) < 1e-9
        (100, True)
    """
    (p0, p1), (q0, q1) = ([complex(*point) for point in pair] for pair in (template, eyes))
    a = (q1 - q0) / (p1 - p0)
    return a, q0 - a * p0


def to_frame(image: Image.Image, eyes: Eyes, size: int, *, template: Eyes = (LEFT_EYE, RIGHT_EYE)) -> Image.Image:
    """Cut out the (size, size) frame that has `eyes`, pixels of the RGB `image`, at `template`, fractions of the frame.

    Anti-aliased at every scale. What lies outside the picture is filled by its reflection.
    """
    a, b = to_image(eyes, template=template)
    reduction = int(abs(a) / size / _MOST_OVERSAMPLING)
    if reduction > 1:
        image, a, b = image.reduce(reduction), a / reduction, b / reduction
    corners = [a * p + b for p in (0, 1, 1j, 1 + 1j)]
    xs, ys = [c.real for c in corners], [c.imag for c in corners]
    left, top = math.floor(min(xs)) - _MARGIN, math.floor(min(ys)) - _MARGIN
    crop = _crop_reflected(image, (left, top, math.ceil(max(xs)) + _MARGIN, math.ceil(max(ys)) + _MARGIN))
    b -= complex(left, top)

    scale = abs(a) / size  # pixels of the crop a pixel of the frame
    side = size * max(1, math.ceil(scale - 1e-6))
    u = a / side  # as a matrix: ((re, -im), (im, re))
    rows = (u.real, -u.imag, b.real, u.imag, u.real, b.imag)
    warped = crop.transform((side, side), Image.Transform.AFFINE, rows, Image.Resampling.BICUBIC)
    return warped if side == size else warped.resize((size, size), Image.Resampling.LANCZOS)


def centre_square(image: Image.Image) -> tuple[int, int, int, int]:
    """The largest centred square of the picture: (left, top, right, bottom).

    Example:
        >>> centre_square(Image.new("RGB", (30, 20)))
        (5, 0, 25, 20)
    """
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return left, top, left + side, top + side


def _crop_reflected(image: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    """`image.crop(box)` whose part outside the picture shows the picture mirrored at its border, again and again."""
    left, top, right, bottom = box
    if left >= 0 and top >= 0 and right <= image.width and bottom <= image.height:
        return image.crop(box)
    # Only the pixels that show are fetched: a small face in the corner of a large photograph must not copy all of it.
    columns = _reflected(np.arange(left, right), image.width)
    rows = _reflected(np.arange(top, bottom), image.height)
    x, y = columns.min(), rows.min()
    seen = np.asarray(image.crop((x, y, columns.max() + 1, rows.max() + 1)))
    return Image.fromarray(seen[np.ix_(rows - y, columns - x)])


def _reflected(index: np.ndarray, length: int) -> np.ndarray:
    """Fold indices into [0, length) as a mirror does, the border pixel itself not repeated."""
    period = max(1, 2 * (length - 1))
    index = np.mod(index, period)
    return np.where(index < length, index, period - index)
