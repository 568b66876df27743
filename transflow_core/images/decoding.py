"""Decode whatever a person drops, which nobody vouches for, to an upright 8-bit sRGB image."""

import contextlib
import functools
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

__all__ = ["MAX_BYTES", "MAX_PIXELS", "ImageError", "load_image"]

MAX_BYTES = 256 * 2**20
"""Largest file that is read at all, in bytes: the largest honest photograph is a tenth of it."""

MAX_PIXELS = 80_000_000
"""Largest declared size that is decoded, in pixels. 50-megapixel phones pass; an image of this size takes 240 MB, and
Pillow's own warning (at 89 million) is never reached by an image that is let through."""

MAX_ASPECT = 50
"""Longest side over shortest side. A panorama has 10; beyond this there is no room for a face."""

# A JPEG above this is decoded at half its scale, which libjpeg does for less than the full decoding costs; all later
# steps take a quarter of the time. What remains is an ordinary phone photograph, more than a face detector looks at.
_DRAFT_ABOVE = 24_000_000

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


def load_image(
    source: Source | Image.Image,
    *,
    name: str | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Image.Image:
    """Decode an image from an untrusted source to 8-bit RGB, upright, in sRGB.

    Reads JPEG, PNG, WebP, HEIC/HEIF, AVIF, GIF, TIFF, BMP and PNM. Of several frames the first (HEIF: the primary) is
    taken. The EXIF orientation is applied. A transparent image is composited on white, because that is how its maker
    saw it on a page: the colours under transparent pixels are arbitrary, most often black. A colour profile is
    converted to sRGB. Greyscale of more than 8 bits is scaled by its format's range (16-bit integers), or by the range
    that its values suggest (32-bit integers and floats: [0, 1] (floats only), [0, 255], [0, 65535], else from least to
    greatest). A JPEG of more than 24 megapixels is decoded at half its width and height.

    The result is a new image without metadata, so that nothing turns it a second time; the pixels of a PIL source are
    never changed.

    Args:
        source: a path, the bytes of a file, a binary file object (read from where it stands) or a PIL image.
        name: what messages call the image; by default the file's name without its folder.
        max_pixels: largest width × height that is decoded; a larger image is refused by its header, before decoding.

    Raises:
        ImageError: whatever is wrong with the source. Nothing else is raised for a bad file.
        TypeError: the source is none of the above.

    Example:
        >>> load_image(Image.new("LA", (4, 3), (0, 0))).getpixel((0, 0))
        (255, 255, 255)
    """
    name = name or name_of(source)
    with image_errors(name):
        if isinstance(source, Image.Image):
            image = source
            _check_size(image.size, name, max_pixels)
        else:
            image = open_image(source, name=name, max_pixels=max_pixels)
            _draft(image)
        image.load()
        _check_size(image.size, name, max_pixels)  # a GIF frame or a HEIF item may be larger than its header said
        return _to_rgb(_upright(image))


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


def open_image(source: Source, *, name: str, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Read the header only, of a format that is let in, and judge the size that it declares. Within `image_errors`."""
    data = _read(source, name)
    if data[4:8] == b"ftyp":
        _register_heif()
        formats = ("HEIF", "AVIF")
    else:
        formats = _FORMATS
    try:
        image = Image.open(io.BytesIO(data), formats=formats)
    except UnidentifiedImageError as error:
        raise ImageError(name, _unidentified(data)) from error
    _check_size(image.size, name, max_pixels)
    return image


def name_of(source: object) -> str:
    """What messages call a source: the file's name without its folder, else `image`."""
    if isinstance(source, Image.Image):
        source = getattr(source, "filename", None)
    elif not isinstance(source, str | os.PathLike):
        source = getattr(source, "name", None)  # an open file has one; that of a bare descriptor is a number
    if isinstance(source, str | os.PathLike) and source:
        return Path(os.fsdecode(source)).name or os.fsdecode(source)
    return "image"


def _read(source: Source, name: str) -> bytes:
    """The whole file, at most `MAX_BYTES` of it: every codec then works in memory, on bytes that no longer change."""
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


def _check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
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


def _draft(image: Image.Image) -> None:
    if image.format in ("JPEG", "MPO") and image.width * image.height > _DRAFT_ABOVE:
        image.draft(None, (image.width // 2, image.height // 2))


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a broken EXIF block is common (editors write them) and does not spoil the pixels
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any mode that Pillow has to plain RGB; the input stays as it is."""
    profile = image.info.get("icc_profile")
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image, profile = _grey_of_many_bits(image), None
    elif image.has_transparency_data:
        image = image.convert("LA") if image.mode == "La" else image
        image = _over_white(_to_srgb(image.convert("RGBA"), profile))
        profile = None
    elif image.mode in ("1", "P", "HSV", "YCbCr"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    elif image.mode == "LAB":
        image, profile = ImageCms.profileToProfile(image, _lab(), _srgb(), outputMode="RGB"), None
    rgb = _to_srgb(image, profile).convert("RGB")  # always a new image
    rgb.info.clear()  # Pillow carries the metadata along, and the EXIF orientation with it
    return rgb


def _over_white(image: Image.Image) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def _grey_of_many_bits(image: Image.Image) -> Image.Image:
    """Modes I;16*, I and F to L. Pillow's own conversion clips everything above 255 to white."""
    values = np.asarray(image)
    if image.mode.startswith("I;16"):  # what a 16-bit PNG or TIFF holds: its range is its format's
        return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))
    values = values.astype(np.float64)
    finite = np.isfinite(values)
    low, high = (values[finite].min(), values[finite].max()) if finite.any() else (0.0, 0.0)
    if image.mode == "F" and low >= 0 and high <= 1:
        values = values * 255
    elif low >= 0 and high <= 65535:
        values = values if high <= 255 else values / 257
    elif high > low:
        values = (values - low) * (255 / (high - low))
    else:
        values = np.full_like(values, 127.5)
    return Image.fromarray(np.rint(np.where(finite, values, 127.5)).clip(0, 255).astype(np.uint8))


@functools.cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


@functools.cache
def _lab() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert by the embedded profile; a profile that is broken or of another colour space is passed over."""
    if not profile:
        return image
    try:
        embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in (embedded.profile.profile_description or ""):
            return image  # nearly all that have one; a conversion from sRGB to sRGB takes 0.2 s on a phone photograph
        out = "RGBA" if image.mode == "RGBA" else "RGB"
        return ImageCms.profileToProfile(image, embedded, _srgb(), outputMode=out)
    except Exception:
        return image
