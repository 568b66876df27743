"""The way back of `align`: what changed in a face's frame, put into the whole picture without a seam."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .alignment import AlignedFace

__all__ = ["paste"]

# Share of the frame's side over which a change fades towards an edge that lies inside the picture.
_FEATHER = 0.28
# Pixels of the frame beyond its edge that bicubic interpolation reads.
_MARGIN = 2

Plane = NDArray[np.float32]


def paste(
    image: Image.Image, faces: Sequence[AlignedFace], changes: Sequence[NDArray[np.floating]] | NDArray[np.floating]
) -> Image.Image:
    """The picture with each face's change added, feathered; where nothing changes, no byte does.

    It is the difference that is enlarged, and not the frame: detail finer than the frame's pixels stays.

    Args:
        image: the RGB picture that the faces were found in.
        faces: as `align` gave them for it.
        changes: of each face, (S, S, 3), in [-1, 1]: its frame as it shall be, less its frame as it is.

    Example:
        >>> from .alignment import align
        >>> image = Image.new("RGB", (40, 40), (100, 100, 100))
        >>> paste(image, align(image, size=8), [np.full((8, 8, 3), 0.2)]).getpixel((20, 20))
        (151, 151, 151)
    """
    places = [_place(image, face, np.asarray(change)) for face, change in zip(faces, changes, strict=True)]
    total = np.zeros((image.height, image.width), np.float32)
    for (left, top), mask, _ in places:
        total[top : top + mask.shape[0], left : left + mask.shape[1]] += mask
    pixels = np.array(image.convert("RGB"))
    for (left, top), mask, change in places:
        part = np.s_[top : top + mask.shape[0], left : left + mask.shape[1]]
        # Where frames overlap, changes share the place.
        share = mask / np.maximum(total[part], 1)
        moved = pixels[part] + 255 * share[..., None] * change
        pixels[part] = np.rint(moved.clip(0, 255)).astype(np.uint8)
    return Image.fromarray(pixels)


def _place(image: Image.Image, face: AlignedFace, change: NDArray) -> tuple[tuple[int, int], Plane, Plane]:
    """Where it goes: left and top in the picture, the (h, w) mask from 0 to 1, and the (h, w, 3) change."""
    a, b = face.similarity
    corners = [a * p + b for p in (0, 1, 1j, 1 + 1j)]
    xs, ys = [c.real for c in corners], [c.imag for c in corners]
    left, top = max(0, math.floor(min(xs))), max(0, math.floor(min(ys)))
    right, bottom = min(image.width, math.ceil(max(xs))), min(image.height, math.ceil(max(ys)))
    size = max(0, right - left), max(0, bottom - top)
    side = min(change.shape[0], max(1, round(abs(a))))  # a frame that shrinks is reduced first, without aliases
    u = side / a
    origin = (complex(left, top) - b) * u + complex(_MARGIN, _MARGIN)
    rows = (u.real, -u.imag, origin.real, u.imag, u.real, origin.imag)
    planes = []
    for channel in range(3):
        plane = Image.fromarray(change[..., channel].astype(np.float32))
        if plane.width != side:
            plane = plane.resize((side, side), Image.Resampling.BOX)
        plane = Image.fromarray(np.pad(np.asarray(plane), _MARGIN, mode="edge"))
        planes.append(np.asarray(plane.transform(size, Image.Transform.AFFINE, rows, Image.Resampling.BICUBIC)))
    return (left, top), _mask(image, a, b, left, top, size), np.stack(planes, -1)


def _mask(image: Image.Image, a: complex, b: complex, left: int, top: int, size: tuple[int, int]) -> Plane:
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
        t = np.clip(distance / (_FEATHER if seen else 1e-6), 0, 1)
        mask *= t * t * (3 - 2 * t)
    return mask


def _inside(q: complex, image: Image.Image) -> bool:
    return 1 < q.real < image.width - 1 and 1 < q.imag < image.height - 1
