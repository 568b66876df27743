"""A source that nobody vouches for, to an opened picture: read, told apart, and judged by its header."""

import contextlib
import functools
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TypeAlias

from PIL import Image, ImageFile, UnidentifiedImageError

from .memory import MAX_MEMORY, bytes_needed
from .structure import check_structure, jpeg_scans

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "ImageError",
    "Source",
    "check_size",
    "image_errors",
    "name_of",
    "open_image",
    "read_source",
]

MAX_BYTES = 128 * 2**20
"""Largest file that is read at all, in bytes: the largest honest photograph is a quarter of it."""

MAX_PIXELS = 80_000_000
"""Largest declared size that is decoded, in pixels, where memory allows it (`MAX_MEMORY`): 50-megapixel phones pass,
and Pillow's own warning (at 89 million) is never reached by an image that is let through."""

MAX_ASPECT = 50
"""Longest side over shortest side. A panorama has 10; beyond this there is no room for a face."""

# Formats whose parsers are in wide use and that need no outside program. EPS (ghostscript), PDF, WMF, FITS and the
# other thirty that Pillow would try are exactly where an untrusted file does harm.
# HEIF and AVIF, the two that live in an ISO box, are added where a file is one. The order: Pillow imports all its
# plugins on the first name that is not among its five basic ones.
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF")

# What people do drop by mistake, by the first bytes of it, so that the message can say what it is.
_LOOKALIKES = (
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript document"),
    (b"PK\x03\x04", "a zip archive or an office document"),
    (b"8BPS", "a Photoshop document"),
    (b"\x1aE\xdf\xa3", "a video"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL image"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 image"),
    (b"\x00\x00\x01\x00", "an icon"),
)

# The first bytes of what is read: a file that starts so and is not recognised is a broken one.
_BEGINNINGS = (b"\xff\xd8", b"\x89PNG", b"GIF8", b"RIFF", b"II*\0", b"MM\0*", b"BM")

# Pillow has these decoders in Python: some seconds for a million pixels.
_SLOW = ("bmp_rle", "ppm", "ppm_plain")
_SLOW_PIXELS = 1_000_000

# An honest progressive JPEG has about ten scans.
_MOST_SCANS = 100
_MOST_SCANNED_PIXELS = 1_600_000_000

_DAMAGED = "the file is damaged or cut short. Download or export it again."
_MAKE_SMALLER = "Make it smaller and try again."


Source: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO
"""Where an image file can come from: a path, its bytes, or a binary file object, read from where it stands."""


class _NotASourceError(TypeError):
    """The caller's mistake, told apart from a TypeError that a codec raises over a bad file."""


class ImageError(ValueError):
    """An image that cannot be used; the message names the file and says what the person can do.

    Args:
        name: the file, as the person knows it.
        problem: what is wrong and what can be done, in plain words; the rest of a sentence that starts with the name.

    Attributes:
        name: `name` with control characters (a terminal would obey them) replaced.
        problem: the message without the name.

    Example:
        >>> str(ImageError("cat.jpg", "the file is empty."))
        'cat.jpg: the file is empty.'
    """

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(name, problem)  # both, so that it survives pickling between processes
        self.name = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.name}: {self.problem}"


@contextlib.contextmanager
def image_errors(name: str) -> Iterator[None]:
    """Turn whatever a codec raises over a bad file into an `ImageError`."""
    try:
        yield
    except (ImageError, _NotASourceError):
        raise
    except MemoryError as error:
        raise ImageError(name, f"there is not enough memory to decode it. {_MAKE_SMALLER}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(name, f"it has more pixels than Pillow's own limit. {_MAKE_SMALLER}") from error
    except Exception as error:  # OSError, SyntaxError, struct.error, EOFError, IndexError, KeyError, TypeError ...
        raise ImageError(name, _DAMAGED) from error


def open_image(source: Source, *, name: str, max_pixels: int = MAX_PIXELS) -> tuple[Image.Image, float]:
    """Read the header only, of a format that is let in, and judge what it declares. Within `image_errors`.

    Returns:
        The picture, not decoded yet, and how many bytes decoding it will take.
    """
    data = read_source(source, name)
    check_structure(data)
    if data[4:8] == b"ftyp":
        _register_heif()
        formats = ("HEIF", "AVIF")
    else:
        formats = _FORMATS
    try:
        image = Image.open(io.BytesIO(data), formats=formats)
    except UnidentifiedImageError as error:
        raise ImageError(name, _unidentified(data)) from error
    check_size(image.size, name, max_pixels)
    return image, _check_cost(image, data, name)


def name_of(source: object) -> str:
    """What messages call a source: the file's name without its folder, else `image`."""
    if isinstance(source, Image.Image):
        source = getattr(source, "filename", None)
    elif not isinstance(source, str | os.PathLike):
        source = getattr(source, "name", None)  # an open file has one; that of a bare descriptor is a number
    if isinstance(source, str | os.PathLike) and source:
        return Path(os.fsdecode(source)).name or os.fsdecode(source)
    return "image"


def read_source(source: Source, name: str) -> bytes:
    """The whole file, at most `MAX_BYTES` of it: every codec then works in memory, on bytes that no longer change.

    Raises ImageError if it is empty, larger, no ordinary file, or cannot be read.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
    elif isinstance(source, str | os.PathLike):
        data = _read_path(Path(os.fsdecode(source)), name)
    elif hasattr(source, "read"):
        data = source.read(MAX_BYTES + 1)
        if isinstance(data, str):
            raise ImageError(name, 'the file was opened as text. Open it with mode "rb".')
    else:
        raise _NotASourceError(
            f"an image is a path, bytes, a binary file object or a PIL image, not {type(source).__name__}"
        )
    if not data:
        raise ImageError(name, "the file is empty. Download or export it again.")
    if len(data) > MAX_BYTES:
        raise ImageError(name, f"the file is larger than {MAX_BYTES // 2**20} MB. {_MAKE_SMALLER}")
    return data


def _read_path(path: Path, name: str) -> bytes:
    try:
        if path.is_dir():
            raise ImageError(name, "this is a folder. Give the images in it.")
        if not path.exists():
            raise ImageError(name, "there is no such file. Check the spelling and the folder.")
        if not path.is_file():  # a pipe or a device may never end
            raise ImageError(name, "this is not an ordinary file. Copy it to a file first.")
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except PermissionError as error:
        raise ImageError(name, "the file may not be read. Change its permissions or copy it.") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise ImageError(name, f"the file cannot be read ({getattr(error, 'strerror', None) or error}).") from error


@functools.cache
def _register_heif() -> None:
    # Lazily: libheif and its codecs are 70 ms of import that a run on PNGs does not need. Pillow itself reads AVIF.
    import pillow_heif

    pillow_heif.register_heif_opener()


def _unidentified(data: bytes) -> str:
    start = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in start:
        return "this is an SVG drawing, not pixels. Open it in a browser or an editor and export it as PNG."
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "this is a web page, not an image. On the page, use 'Save image as'."
    if data[4:8] == b"ftyp" and data[8:12] in (b"isom", b"iso2", b"mp41", b"mp42", b"qt  ", b"avc1", b"M4V "):
        return "this is a video. Save one frame of it as JPEG or PNG."
    for magic, what in _LOOKALIKES:
        if data.startswith(magic):
            return f"this is {what}, not an image of a kind that is read here. Save it as JPEG or PNG."
    if data.startswith(_BEGINNINGS) or data[4:8] == b"ftyp":
        return _DAMAGED
    return "this is not an image. JPEG, PNG, WebP, HEIC, AVIF, GIF, TIFF and BMP are read."


def check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise ImageError(name, f"it is {width} × {height} pixels: there is nothing in it.")
    if width * height > max_pixels:
        raise ImageError(
            name,
            f"it is {width} × {height} pixels, {width * height / 1e6:,.0f} million; "
            f"at most {max_pixels / 1e6:,.0f} million are read. {_MAKE_SMALLER}",
        )
    if max(size) > MAX_ASPECT * min(size):
        raise ImageError(name, f"it is {width} × {height} pixels, a thin strip. Crop it to what it should show.")


def _check_cost(image: ImageFile.ImageFile, data: bytes, name: str) -> float:
    pixels = image.width * image.height
    size = f"it is {image.width} × {image.height} pixels, {pixels / 1e6:,.0f} million"
    scans = jpeg_scans(data) if image.format in ("JPEG", "MPO") else 1
    if scans > 1 and (scans > _MOST_SCANS or scans * pixels > _MOST_SCANNED_PIXELS):
        raise ImageError(name, f"its pixels are stored in {scans} passes. Save it again as an ordinary JPEG.")
    if pixels > _SLOW_PIXELS and image.tile and image.tile[0][0] in _SLOW:
        raise ImageError(name, f"{size}, in a seldom used kind of {image.format}. Save it as JPEG or PNG.")
    needed = bytes_needed(image, len(data), scans)
    if needed > MAX_MEMORY:
        raise ImageError(
            name,
            f"{size}: as {image.format}, of its kind, that takes more memory than one picture may. "
            "Make it smaller, or save it as an ordinary JPEG, and try again.",
        )
    return needed
