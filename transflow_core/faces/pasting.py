"""The way back of `align`: a change in a face, put into the whole picture without a seam."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .alignment import AlignedFace

__all__ = ["WHITE", "mask_in_frame", "paste"]

WHITE = [255 * (value > 127) for value in range(256)]
"""A table for `Image.point`: a mask to black and white."""

# By eye: of a face in another style, nothing of its square is seen.
_FEATHER = 0.28
# Pixels of the frame beyond its edge that bicubic interpolation reads.
_MARGIN = 2
# Rows that are changed at once: of a photograph of 24 megapixels some 30 MB.
_ROWS = 256

Plane = NDArray[np.float32]


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
        image: the RGB picture that the faces were found in.
        faces: as `align` gave them for it.
        changes: of each face, (S, S, 3), in [-1, 1]: the new frame minus the old.
        feather: share of the frame's side over which a change fades towards an edge that lies inside the picture.

    Example:
        >>> from .alignment import align
        >>> image = Image.new("RGB", (40, 40), (100, 100, 100))
        >>> paste(image, align(image, size=8), [np.full((8, 8, 3), 0.2)]).getpixel((20, 20))
        (151, 151, 151)
    """
    pixels = np.array(image.convert("RGB"))
    pairs = [(face, _planes(face, np.asarray(change))) for face, change in zip(faces, changes, strict=True)]
    for top in range(0, image.height, _ROWS):
        band = pixels[top : top + _ROWS]
        total, moved = np.zeros(band.shape[:2], np.float32), np.zeros(band.shape, np.float32)
        for face, planes in pairs:
            left, right = _columns(image, face, top, top + len(band))
            if left < right:
                mask = _mask(image, face, feather, left, top, (right - left, len(band)))[..., None]
                moved[:, left:right] += mask * _warped(face, planes, left, top, (right - left, len(band)))
                total[:, left:right] += mask[..., 0]
        if total.any():
            # Where frames overlap, changes share the place.
            moved = band + 255 * moved / np.maximum(total, 1)[..., None]
            band[:] = np.rint(moved.clip(0, 255))
    return Image.fromarray(pixels)


def mask_in_frame(mask: Image.Image, picture: tuple[int, int], face: AlignedFace) -> Image.Image:
    """The part of a mask that a face's frame shows: mode L, as large as the frame.

    Args:
        mask: over the whole picture, in its proportions; any size.
        picture: width and height of the picture that the face was found in.
        face: as `align` gave it for that picture.

    Raises ValueError if the mask has other proportions than the picture, by more than a pixel of it.

    Example:
        >>> from .alignment import align
        >>> mask = Image.new("L", (30, 20))
        >>> mask.paste(255, (0, 0, 15, 20))
        >>> mask_in_frame(mask, (30, 20), align(Image.new("RGB", (30, 20)), size=8)[0]).getbbox()
        (0, 0, 4, 8)
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


def _planes(face: AlignedFace, change: NDArray) -> list[Image.Image]:
    """The change as three planes, with a margin; reduced where the frame shrinks, so that no alias appears."""
    side = min(len(change), max(1, round(abs(face.similarity[0]))))
    planes = [Image.fromarray(change[..., channel].astype(np.float32)) for channel in range(3)]
    planes = [plane if plane.width == side else plane.resize((side, side), Image.Resampling.BOX) for plane in planes]
    return [Image.fromarray(np.pad(np.asarray(plane), _MARGIN, mode="edge")) for plane in planes]


def _columns(image: Image.Image, face: AlignedFace, top: int, bottom: int) -> tuple[int, int]:
    """The first column of the frame in these rows, and the one after the last; (0, 0) if there is none."""
    a, b = face.similarity
    corners = [a * p + b for p in (0, 1, 1j, 1 + 1j)]
    xs, ys = [c.real for c in corners], [c.imag for c in corners]
    if bottom <= min(ys) or top >= max(ys):
        return 0, 0
    return max(0, math.floor(min(xs))), min(image.width, math.ceil(max(xs)))


def _warped(face: AlignedFace, planes: Sequence[Image.Image], left: int, top: int, size: tuple[int, int]) -> Plane:
    """The change in a part of the picture, (h, w, 3)."""
    a, b = face.similarity
    u = (planes[0].width - 2 * _MARGIN) / a
    origin = (complex(left, top) - b) * u + complex(_MARGIN, _MARGIN)
    rows = (u.real, -u.imag, origin.real, u.imag, u.real, origin.imag)
    how = Image.Transform.AFFINE, rows, Image.Resampling.BICUBIC
    return np.stack([np.asarray(plane.transform(size, *how)) for plane in planes], -1)


def _mask(image: Image.Image, face: AlignedFace, feather: float, left: int, top: int, size: tuple[int, int]) -> Plane:
    """How much of the change a part of the picture takes, (h, w) from 0 to 1."""
    a, b = face.similarity
    x, y = np.arange(size[0]) + left + 0.5, np.arange(size[1]) + top + 0.5
    p = (x[None] + 1j * y[:, None] - b) / a
    mask = np.ones(p.shape, np.float32)
    for distance, ends in (
        (p.real, (0, 1j)),
        (1 - p.real, (1, 1 + 1j)),
        (p.imag, (0, 1)),
        (1 - p.imag, (1j, 1 + 1j)),
    ):
        one, other = (a * end + b for end in ends)
        seen = any(_inside(one + t * (other - one), image) for t in np.linspace(0, 1, 33))
        t = np.clip(distance / (feather if seen else 1e-6), 0, 1)
        mask *= t * t * (3 - 2 * t)
    return mask


def _inside(q: complex, image: Image.Image) -> bool:
    return 1 < q.real < image.width - 1 and 1 < q.imag < image.height - 1
