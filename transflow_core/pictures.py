"""Files to pictures: read, decoded, and their faces aligned; what is wrong with one is kept and said."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from .faces import AlignedFace, align
from .images import ImageError, load_image

__all__ = ["Picture", "Source", "content_of", "read_picture"]

Source = str | os.PathLike | bytes | BinaryIO | Image.Image


@dataclass(frozen=True)
class Picture:
    """One file as it was read: every face in it, or why there is none.

    Attributes:
        name: what a person calls the file.
        faces: aligned faces, largest first; empty when `problem` says why.
        whole: the picture's centre square in the frame, whether or not there are faces; None if it could not be read.
        problem: in plain words, or None.
    """

    name: str
    faces: tuple[AlignedFace, ...] = ()
    whole: AlignedFace | None = None
    problem: str | None = None


def content_of(source: Source) -> tuple[str, bytes | Image.Image, str]:
    """Name, content and digest of one source; what is read once need not be read again.

    Raises ImageError if a path cannot be read.
    """
    if isinstance(source, Image.Image):
        name = Path(getattr(source, "filename", "") or "image").name
        return name, source, digest_of(source)
    if isinstance(source, str | os.PathLike):
        name = Path(source).name
        try:
            data = Path(source).read_bytes()
        except OSError as error:
            raise ImageError(name, f"it cannot be read ({error.strerror or error}).") from error
    else:
        name = Path(getattr(source, "name", "") or "image").name
        data = bytes(source) if isinstance(source, bytes | bytearray | memoryview) else source.read()
    return name, data, hashlib.sha256(data).hexdigest()


def digest_of(image: Image.Image) -> str:
    """A digest of an image's pixels, mode and size."""
    return hashlib.sha256(image.tobytes() + repr((image.mode, image.size)).encode()).hexdigest()


def read_picture(
    content: bytes | Image.Image, *, name: str, size: int, whole: str = "auto", landmarks: str = "5"
) -> Picture:
    """Decode a file and align its faces. A file that cannot be used gives a Picture whose `problem` says why.

    Args:
        content, name: see `images.load_image`.
        size: side of the frame, in pixels.
        whole, landmarks: see `faces.align`.
    """
    try:
        image = load_image(content, name=name)
    except ImageError as error:
        return Picture(error.name, problem=error.problem)
    faces = tuple(align(image, size=size, whole=whole, landmarks=landmarks))
    square = faces[0] if faces and faces[0].placement == "whole" else align(image, size=size, whole="always")[0]
    return Picture(name, faces, square, None if faces else "no face was found in it.")
