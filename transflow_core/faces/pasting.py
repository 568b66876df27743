"""The way back of `align`: a change in a face, put into the whole picture without a seam."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .alignment import AlignedFace
from .frame import warp
from .models import opencv

WHITE = [255 * (value > 127) for value in range(256)]
"""A table for `Image.point`: a mask to black and white."""

# By eye: of a face in another style, nothing of its square is seen.
_FEATHER = 0.28
# Rows that are changed at once: of a photograph of 24 megapixels some 30 MB.
_ROWS = 256

Pixels = NDArray[np.float32]


def paste(
    image: Image.Image,
    faces: Sequence[AlignedFace],
    changes: Sequence[NDArray[np.floating]] | NDArray[np.floating],
    *,
    feather: float = _FEATHER,
) -> Image.Image:
    """The picture with each face's change added, feathered. Where nothing changes, no byte does.

    The difference is enlarged, not the frame: detail finer than the frame's pixels stays.

    Args:
        image, faces: the RGB picture, and what `align` gave for it.
        changes: of each face, (S, S, 3), in [-1, 1]: the new frame minus the old.
        feather: share of the frame's side over which a change fades towards an edge that lies inside the picture.

    Example:
        >>> from .alignment import align
        >>> image = Image.new("RGB", (40, 40), (100, 100, 100))
        >>> paste(image, align(image, size=8), [np.full((8, 8, 3), 0.2)]).getpixel((20, 20))
        (151, 151, 151)
    """
    pixels = np.array(image.convert("RGB"))
    pairs = [(face, _reduced(face, change)) for face, change in zip(faces, changes, strict=True)]
    for top in range(0, image.height, _ROWS):
        band = pixels[top : top + _ROWS]
        total, moved = np.zeros((*band.shape[:2], 1), np.float32), np.zeros(band.shape, np.float32)
        for face, change in pairs:
            left, right = _columns(image, face, top, top + len(band))
            if left < right:
                part = left, top, right - left, len(band)
                mask = _mask(image, face, feather, *part)[..., None]
                u = len(change) / face.similarity[0]
                origin = (complex(left, top) - face.similarity[1]) * u
                moved[:, left:right] += mask * warp(change, u, origin, part[2:], opencv().BORDER_REPLICATE)
                total[:, left:right] += mask
        if total.any():
            # Where frames overlap, changes share the place.
            band[:] = np.rint((band + 255 * moved / np.maximum(total, 1)).clip(0, 255))
    return Image.fromarray(pixels)


def mask_in_frame(mask: Image.Image, picture: tuple[int, int], face: AlignedFace) -> Image.Image:
    """The part of a mask that a face's frame shows: mode L, as large as the frame.

    Args:
        mask: over the whole picture, of any size. ValueError if its proportions are others, by more than a pixel.
        picture: width and height of the picture that the face was found in.
        face: as `align` gave it for that picture.
    """
    across, down = mask.width / picture[0], mask.height / picture[1]
    if abs(across / down - 1) * mask.height > max(1.0, across):
        raise ValueError(
            f"the mask has {mask.width}×{mask.height} pixels, which are not the proportions of a picture of "
            f"{picture[0]}×{picture[1]}"
        )
    a, b = face.similarity
    u = a / face.image.width
    rows = (across * u.real, -across * u.imag, across * b.real, down * u.imag, down * u.real, down * b.imag)
    cut = mask.convert("L").transform(face.image.size, Image.Transform.AFFINE, rows, Image.Resampling.BILINEAR)
    return cut.point(WHITE)


def _reduced(face: AlignedFace, change: NDArray) -> Pixels:
    """The change, smaller where the frame shrinks, so that no alias appears."""
    cv2, change = opencv(), np.asarray(change, np.float32)
    side = min(len(change), max(1, round(abs(face.similarity[0]))))
    return change if side == len(change) else cv2.resize(change, (side, side), interpolation=cv2.INTER_AREA)


def _columns(image: Image.Image, face: AlignedFace, top: int, bottom: int) -> tuple[int, int]:
    """The first column of the frame in these rows, and the one after the last; (0, 0) if there is none."""
    a, b = face.similarity
    corners = a * np.array([0, 1, 1j, 1 + 1j]) + b
    if bottom <= corners.imag.min() or top >= corners.imag.max():
        return 0, 0
    return max(0, math.floor(corners.real.min())), min(image.width, math.ceil(corners.real.max()))


def _mask(
    image: Image.Image, face: AlignedFace, feather: float, left: int, top: int, width: int, height: int
) -> Pixels:
    """How much of the change a part of the picture takes, (h, w) from 0 to 1."""
    a, b = face.similarity
    x, y = np.arange(width) + left + 0.5, np.arange(height) + top + 0.5
    p = (x[None] + 1j * y[:, None] - b) / a
    mask = np.ones(p.shape, np.float32)
    for distance, end, other in (
        (p.real, 0, 1j),
        (1 - p.real, 1, 1 + 1j),
        (p.imag, 0, 1),
        (1 - p.imag, 1j, 1 + 1j),
    ):
        edge = a * np.linspace(end, other, 33) + b
        inside = (edge.real > 1) & (edge.real < image.width - 1) & (edge.imag > 1) & (edge.imag < image.height - 1)
        t = np.clip(distance / (feather if inside.any() else 1e-6), 0, 1)
        mask *= t * t * (3 - 2 * t)
    return mask
