"""The frame that the priors were trained on, and the similarity that moves two eyes to their places in it."""

import math

import numpy as np
from PIL import Image

from .models import opencv

Eyes = tuple[tuple[float, float], tuple[float, float]]

LEFT_EYE = (0.37, 0.48)
"""Place of the eye on the image's left, as fractions of the frame's width and height."""
RIGHT_EYE = (0.63, 0.48)
"""Place of the eye on the image's right."""

# A face that shrinks is warped into a larger frame, with at least a sample for each source pixel; Lanczos reduces it.
# Beyond four times the picture itself is reduced first, by whole pixels, so that the warp stays cheap.
_MOST_OVERSAMPLING = 4
_MOST_SIDE = 2**15 - 2  # of a picture that OpenCV warps


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
    reduction = max(int(abs(a) / size / _MOST_OVERSAMPLING), math.ceil(max(image.size) / _MOST_SIDE))
    corner, image = _part(image, a, b, reduction)
    image, a, b = image.reduce(reduction), a / reduction, (b - corner) / reduction
    side = size * max(1, math.ceil(abs(a) / size - 1e-6))
    frame = Image.fromarray(warp(np.asarray(image), a / side, b, (side, side), opencv().BORDER_REFLECT_101))
    return frame if side == size else frame.resize((size, size), Image.Resampling.LANCZOS)


def _part(image: Image.Image, a: complex, b: complex, multiple: int) -> tuple[complex, Image.Image]:
    """The part of a picture that its frame shows, also reflected at the edges, and that part's first corner.

    A picture of 12 megapixels takes 40 ms to copy. The corner is of whole `multiple`s of pixels.
    """
    corners = [b + a * complex(x, y) for x in (0, 1) for y in (0, 1)]

    def between(places: list[float], side: int) -> tuple[int, int]:
        low, high = min(places) - 4 * multiple, max(places) + 4 * multiple  # the warp looks two pixels further
        first, last = min(low, 2 * side - high), max(high, -low)
        return max(0, math.floor(first / multiple) * multiple), min(side, math.ceil(last / multiple) * multiple)

    left, right = between([corner.real for corner in corners], image.width)
    top, bottom = between([corner.imag for corner in corners], image.height)
    return complex(left, top), image.crop((left, top, right, bottom))


def warp(pixels: np.ndarray, u: complex, origin: complex, size: tuple[int, int], border: int) -> np.ndarray:
    """A bicubic warp to `size` (width, height): the point p, x + iy, of the result shows `u · p + origin`."""
    origin += (u - 1) * (0.5 + 0.5j)  # the centre of OpenCV's first pixel is at 0, ours at 0.5
    rows = np.array([[u.real, -u.imag, origin.real], [u.imag, u.real, origin.imag]])
    cv2 = opencv()
    return cv2.warpAffine(pixels, rows, size, flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=border)


def centre_square(image: Image.Image) -> tuple[int, int, int, int]:
    """The largest centred square of the picture: (left, top, right, bottom)."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return left, top, left + side, top + side
