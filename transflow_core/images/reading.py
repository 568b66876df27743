"""An untrusted image file to upright 8-bit RGB in sRGB.

The size in the header is checked before any pixel is decoded. A file may cost more than its size says: see
`pictures.serve`.
"""

import contextlib
import functools
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError

MAX_BYTES = 128 * 2**20
"""Largest file that is read, in bytes. A large photograph has a quarter of it."""

MAX_PIXELS = 80_000_000
"""Largest size that is decoded, in pixels: 50-megapixel phones pass, and Pillow's own warning is never reached."""

REDUCED_ABOVE = 16_000_000
"""An image of more pixels is reduced to half its width and height, or a quarter: no detector looks at more, and what
reads strangers' pictures has no memory for more."""

_MAX_ASPECT = 50  # a panorama has 10
# Converting a strip takes 20 bytes a pixel beside the image, 32 for 32-bit greys.
_STRIP_PIXELS = 2**20

# Formats in wide use that need no outside program. Pillow would try thirty more: EPS (ghostscript), PDF, WMF, FITS.
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF")
_BEGINNINGS = (b"\xff\xd8", b"\x89PNG", b"GIF8", b"RIFF", b"II*\0", b"MM\0*", b"BM")
_VIDEOS = (b"isom", b"iso2", b"mp41", b"mp42", b"qt  ", b"avc1", b"M4V ")
_LOOKALIKES = {
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a zip archive or an office document",
    b"\x1aE\xdf\xa3": "a video",
    b"\xff\x0a": "a JPEG XL image",
}
_DAMAGED = "the file is damaged or cut short. Download or export it again."
_TOO_LARGE = f"at most {MAX_PIXELS / 1e6:,.0f} million pixels are read."
_MAKE_SMALLER = "Make it smaller and try again."

Source: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO
"""Where an image file comes from: a path, its bytes, or a binary file object, read from where it stands."""

_Conversion: TypeAlias = Callable[[Image.Image], Image.Image]


class ImageError(ValueError):
    """An image that cannot be used: its name for the user, and the rest of a sentence that starts with the name.

    `name` has no control characters, which a terminal would obey.

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
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError(name, f"there is not enough memory to decode it. {_MAKE_SMALLER}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(name, f"{_TOO_LARGE} {_MAKE_SMALLER}") from error
    except Exception as error:  # OSError, SyntaxError, struct.error, EOFError, IndexError, KeyError, TypeError ...
        raise ImageError(name, _DAMAGED) from error


def load_image(source: Source | Image.Image, *, name: str | None = None) -> Image.Image:
    """Decode an untrusted image to 8-bit RGB, upright, in sRGB. The result is new and has no metadata.

    Reads JPEG, PNG, WebP, HEIC/HEIF, AVIF, GIF, TIFF, BMP and PNM, by the content and not the suffix. Of several frames
    the first (HEIF: the primary) is taken. Transparent images are composited on white. Colour profiles are converted.
    Greys of 16 bits are scaled by their format's range, 32-bit integers and floats by the range that their values
    suggest: [0, 1] (floats only), [0, 255], [0, 65535], else from least to greatest. An image of over 16 megapixels
    comes out at half its width and height, one of over 64 at a quarter.

    Args:
        source: a path, the bytes of a file, a binary file object (read from where it stands) or a PIL image; else
            TypeError.
        name: what messages call the image; by default the file's name without its folder.

    Raises ImageError, and nothing else, whatever is wrong with the source.

    Example:
        >>> load_image(Image.new("LA", (4, 3), (0, 0))).getpixel((0, 0))
        (255, 255, 255)
    """
    name = name or name_of(source)
    data = b"" if isinstance(source, Image.Image) else read_source(source, name)
    with image_errors(name):
        image = source if isinstance(source, Image.Image) else open_image(data, name)
        _check_size(image, name)
        divisor = next(by for by in (1, 2, 4) if image.width * image.height <= REDUCED_ABOVE * by**2)
        if divisor > 1 and data and image.format in ("JPEG", "MPO"):  # libjpeg decodes at half the size
            image.draft(None, (image.width // divisor, image.height // divisor))
            divisor = 1
        image.load()
        _check_size(image, name)  # a GIF frame or a HEIF item may be larger than its header said
        orientation = _orientation(image)
        if data:
            image = image._new(image.im)  # without the decoder, which may hold as much again
        rgb = to_rgb(image, divisor)
        del image
        if 1 < orientation <= 8:
            rgb.getexif()[ExifTags.Base.Orientation] = orientation
            ImageOps.exif_transpose(rgb, in_place=True)
        return rgb


def open_image(data: bytes, name: str) -> Image.Image:
    """Read the header of a file only, and check the size that it declares. Call it within `image_errors`."""
    if data[4:8] == b"ftyp":
        _register_heif()
    try:
        formats = ("HEIF", "AVIF") if data[4:8] == b"ftyp" else _FORMATS
        image = Image.open(io.BytesIO(data), formats=formats)
    except UnidentifiedImageError as error:
        raise ImageError(name, _unidentified(data)) from error
    _check_size(image, name)
    return image


def load_decoders() -> None:
    """Import now what a file may need later, for a process that gives up its files (`runtime.sandbox`)."""
    from PIL import AvifImagePlugin, MpoImagePlugin, TiffImagePlugin, WebPImagePlugin  # noqa: F401 - registers them

    Image.preinit()
    _register_heif()


@functools.cache
def _register_heif() -> None:
    # Lazily: libheif and its codecs are 70 ms of import that a run on PNGs does not need. Pillow itself reads AVIF.
    import pillow_heif

    pillow_heif.register_heif_opener()


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
    """The whole file; ImageError if it is empty, above `MAX_BYTES`, no ordinary file, or cannot be read."""
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
    elif isinstance(source, str | os.PathLike):
        try:
            path = Path(os.fsdecode(source))
            if path.is_dir():
                raise ImageError(name, "this is a folder. `find_images` lists its images.")
            if not path.is_file():  # a pipe or a device may never end
                raise ImageError(name, "there is no such file. Check the spelling.")
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise ImageError(name, f"the file cannot be read ({error.strerror or error}).") from error
    elif hasattr(source, "read"):
        data = source.read(MAX_BYTES + 1)
        if getattr(source, "seekable", bool)():  # it may be read again
            source.seek(-len(data), os.SEEK_CUR)
    else:
        kind = type(source).__name__
        raise TypeError(f"an image is a path, bytes, a binary file object or a PIL image, not {kind}")
    if not data:
        raise ImageError(name, "the file is empty. Download or export it again.")
    if len(data) > MAX_BYTES:
        raise ImageError(name, f"the file is larger than {MAX_BYTES // 2**20} MB. {_MAKE_SMALLER}")
    return data


def _unidentified(data: bytes) -> str:
    start = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in start:
        return "this is an SVG drawing, not pixels. Open it in a browser or an editor and export it as PNG."
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "this is a web page, not an image. On the page, use 'Save image as'."
    if data[4:8] == b"ftyp" and data[8:12] in _VIDEOS:
        return "this is a video. Save one frame of it as JPEG or PNG."
    for magic, what in _LOOKALIKES.items():
        if data.startswith(magic):
            return f"this is {what}, not an image of a kind that is read here. Save it as JPEG or PNG."
    if data.startswith(_BEGINNINGS) or data[4:8] == b"ftyp":
        return _DAMAGED
    return "this is not an image. JPEG, PNG, WebP, HEIC, AVIF, GIF, TIFF and BMP are read."


def _check_size(image: Image.Image, name: str) -> None:
    width, height = image.size
    if min(image.size) < 1:
        problem = "there is nothing in it."
    elif width * height > MAX_PIXELS:
        problem = f"{_TOO_LARGE} {_MAKE_SMALLER}"
    elif max(image.size) > _MAX_ASPECT * min(image.size):
        problem = "a thin strip. Crop it to what it should show."
    else:
        return
    raise ImageError(name, f"it is {width} × {height} pixels, {width * height / 1e6:,.1f} million: {problem}")


def _orientation(image: Image.Image) -> int:
    """From EXIF or XMP; 1 where none can be read: editors often break EXIF, and the pixels are good."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return 1


# --- any mode and profile to RGB, a strip at a time, so that memory stays bounded ------------------------------------


def to_rgb(image: Image.Image, reduction: int = 1) -> Image.Image:
    """A new RGB image in sRGB, its width and height divided by `reduction` (rounded up); see `load_image`."""
    convert = _conversion(image)
    rgb = Image.new("RGB", (-(-image.width // reduction), -(-image.height // reduction)))
    for top, strip in _strips(image, reduction):
        strip = convert(strip)
        rgb.paste(strip.reduce(reduction) if reduction > 1 else strip, (0, top // reduction))
    return rgb


def _strips(image: Image.Image, multiple: int = 1) -> Iterator[tuple[int, Image.Image]]:
    """The strips from top to bottom, each of whole `multiple`s of rows but the last, and where they begin."""
    rows = max(1, _STRIP_PIXELS // image.width // multiple) * multiple
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(image.height, top + rows)))


def _conversion(image: Image.Image) -> _Conversion:
    """How a strip of this image becomes RGB."""
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I;16"):  # what a 16-bit PNG or TIFF holds: its range is its format's
        return lambda strip: _grey(np.asarray(strip, np.uint16), 1 / 257, 0)
    if image.mode in ("I", "F"):
        return _grey_by_range(image)
    if image.has_transparency_data:
        to_srgb, first = _to_srgb(profile, "RGBA"), "LA" if image.mode == "La" else image.mode

        def over_white(strip: Image.Image) -> Image.Image:
            shown = to_srgb(strip.convert(first).convert("RGBA"))
            return Image.alpha_composite(Image.new("RGBA", shown.size, "white"), shown).convert("RGB")

        return over_white
    mode = "L" if image.mode == "1" else "RGB" if image.mode in ("P", "HSV", "YCbCr") else image.mode
    to_srgb = _to_srgb(profile, mode)
    return lambda strip: to_srgb(strip.convert(mode)).convert("RGB")


def _grey_by_range(image: Image.Image) -> _Conversion:
    """Modes I and F, by the range that all values suggest. Pillow's own conversion clips everything above 255."""
    low, high = np.inf, -np.inf
    for _, strip in _strips(image):
        values = np.asarray(strip)
        values = values[np.isfinite(values)]
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    if low > high:  # none is finite
        low, high = 0.0, 0.0
    if image.mode == "F" and low >= 0 and high <= 1:
        scale, low = 255.0, 0.0
    elif low >= 0 and high <= 65535:
        scale, low = (1.0 if high <= 255 else 1 / 257), 0.0
    elif high > low:
        scale = 255 / (high - low)
    else:
        return lambda strip: Image.new("RGB", strip.size, (128, 128, 128))
    return lambda strip: _grey(np.asarray(strip), scale, low)


def _grey(values: np.ndarray, scale: float, low: float) -> Image.Image:
    values = np.where(np.isfinite(values), (values.astype(np.float64) - low) * scale, 127.5)
    return Image.fromarray(np.rint(values).clip(0, 255).astype(np.uint8)).convert("RGB")


def _to_srgb(profile: bytes | None, mode: str) -> _Conversion:
    """Convert by the embedded profile; a profile that is broken or of another colour space is passed over."""
    try:
        embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile or b""))
        if "sRGB" in ImageCms.getProfileDescription(embedded):
            return lambda strip: strip  # nearly all that have one; to convert a phone's photograph takes 0.2 s
        out = "RGBA" if mode == "RGBA" else "RGB"
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        transform = ImageCms.ImageCmsTransform(embedded, srgb, mode, out)
        transform.apply(Image.new(mode, (1, 1)))
    except Exception:
        return lambda strip: strip
    return transform.apply
