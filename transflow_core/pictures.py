"""Files to pictures: read, decoded, and their faces aligned; what is wrong with one is kept and said."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import pickle
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageOps

from .faces import AlignedFace, align
from .faces.alignment import Whole, may_be_ready
from .faces.models import Landmarks
from .images import ImageError, load_image
from .images.reading import MAX_BYTES, image_errors, limit_growth, name_of, open_image, read_source

__all__ = ["Landmarks", "Picture", "Source", "Whole", "content_of", "digest_of", "is_quick", "read_picture", "serve"]

_PREVIEW = 480
Source = str | os.PathLike | bytes | BinaryIO | Image.Image

_QUICK_BYTES, _QUICK_PIXELS = 2**20, 300_000


@dataclass(frozen=True)
class Picture:
    """One file as it was read: every face in it, or why there is none.

    Attributes:
        name: what a person calls the file.
        faces: aligned faces, largest first; empty when `problem` says why.
        whole: the picture's centre square in the frame, whether or not there are faces; None if it could not be read.
        problem: in plain words, or None.
        size: width and height of the upright picture, in pixels: those of the faces' boxes.
        preview: the whole picture as a JPEG, at most 480 pixels long, to point at its faces.
        image: the upright picture itself, where it was asked for.
    """

    name: str
    faces: tuple[AlignedFace, ...] = ()
    whole: AlignedFace | None = None
    problem: str | None = None
    size: tuple[int, int] = (0, 0)
    preview: bytes = field(default=b"", repr=False)
    image: Image.Image | None = field(default=None, repr=False)


def content_of(source: Source) -> tuple[str, bytes | Path | Image.Image, str]:
    """Name, content and digest of one source, for `read_picture`; of a file on disk, no more than a part is in memory.

    Raises ImageError if a path cannot be read.
    """
    if isinstance(source, Image.Image):
        name = Path(getattr(source, "filename", "") or "image").name
        return name, source, digest_of(source)
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        if not path.is_file():  # a pipe or a device may never end
            raise ImageError(path.name, "there is no such file.")
        digest = hashlib.sha256()
        try:
            if path.stat().st_size > MAX_BYTES:
                read_source(path, path.name)  # refuses it, in its words
            with path.open("rb") as file:
                while part := file.read(2**20):
                    digest.update(part)
            return path.name, path, digest.hexdigest()
        except OSError as error:
            raise ImageError(path.name, f"it cannot be read ({error.strerror or error}).") from error
    name = name_of(source)
    data = read_source(source, name)
    return name, data, hashlib.sha256(data).hexdigest()


def digest_of(image: Image.Image) -> str:
    """A digest of an image's pixels, mode and size."""
    return hashlib.sha256(image.tobytes() + repr((image.mode, image.size)).encode()).hexdigest()


def read_picture(
    content: bytes | Path | Image.Image,
    *,
    name: str,
    size: int,
    whole: Whole = "auto",
    landmarks: Landmarks = "5",
    keep: bool = False,
) -> Picture:
    """Decode a file and align its faces. A file that cannot be used gives a Picture whose `problem` says why.

    Args:
        content, name: see `images.load_image`.
        size: side of the frame, in pixels.
        whole, landmarks: see `faces.align`.
        keep: give the picture itself, and look for no faces.
    """
    try:
        image = load_image(content, name=name)
    except ImageError as error:
        return Picture(error.name, problem=error.problem)
    if keep:
        return Picture(name, size=image.size, image=image)
    faces = tuple(align(image, size=size, whole=whole, landmarks=landmarks))
    square = faces[0] if faces and faces[0].placement == "whole" else align(image, size=size, whole="always")[0]
    problem = None if faces else "no face was found in it."
    return Picture(name, faces, square, problem, image.size, _preview(image))


def _preview(image: Image.Image) -> bytes:
    width, height = (min(side, _PREVIEW) for side in image.size)
    buffer = io.BytesIO()
    ImageOps.contain(image, (width, height)).convert("RGB").save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def is_quick(content: bytes | Path | Image.Image, *, size: int, whole: Whole = "auto") -> bool:
    """Whether `read_picture` takes some hundredths of a second, a tenth at most: by its header, few pixels and no long
    search for faces."""
    try:
        if not isinstance(content, Image.Image):
            if (content.stat().st_size if isinstance(content, Path) else len(content)) > _QUICK_BYTES:
                return False
            with image_errors("image"):
                content = open_image(content, name="image")
    except (ImageError, OSError):
        return True  # so is its refusal
    pixels = content.width * content.height
    return pixels <= _QUICK_PIXELS and (whole == "always" or may_be_ready(content.size, size, whole))


def serve(nice: int) -> None:
    """Read pictures for another process, of which this is a child: arguments come pickled on stdin, pictures go back.

    None goes back where a `quick` answer was asked for and there is none. No picture takes more than 500 MB, whatever
    its header says. The process ends with its parent, and makes way for it: at 10, it has a tenth of a core while the
    parent computes.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    os.nice(nice)
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a decoder prints is no reply
    with contextlib.suppress(EOFError, BrokenPipeError):  # the parent is over
        while True:
            content, how = pickle.load(sys.stdin.buffer)
            limit_growth()
            slow = how.pop("quick", False) and not is_quick(content, size=how["size"], whole=how.get("whole", "auto"))
            pickle.dump(None if slow else read_picture(content, **how), replies)
            replies.flush()
