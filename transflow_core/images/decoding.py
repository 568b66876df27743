"""Decode whatever a person drops, which nobody vouches for, to an upright 8-bit sRGB image."""

from PIL import ExifTags, Image

from .colours import to_rgb
from .memory import one_large_at_a_time, reduction
from .opening import MAX_PIXELS, Source, check_size, image_errors, name_of, open_image
from .structure import check_directory

__all__ = ["load_image"]

# By the EXIF orientation.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


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
    greatest). An image of more than 24 megapixels comes out at half its width and height.

    Whatever the file, the process grows by less than 500 MB, and of several threads one at a time decodes a large
    image: one that would take more is refused by its header. An AVIF whose header lies about its size takes more,
    except where `memory.limit_growth` stands before it, as in a server.

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
            check_size(source.size, name, max_pixels)
            with one_large_at_a_time(8 * source.width * source.height):
                source.load()
                return _turned(to_rgb(source, reduction(source)), _orientation(source))
        image, needed = open_image(source, name=name, max_pixels=max_pixels)
        with one_large_at_a_time(needed):
            divisor = reduction(image)
            if divisor > 1 and image.format in ("JPEG", "MPO"):
                image.draft(None, (image.width // divisor, image.height // divisor))
                divisor = 1
            image.load()
            check_size(image.size, name, max_pixels)  # a GIF frame or a HEIF item may be larger than its header said
            orientation = _orientation(image)
            # Without the decoder, which may hold as much again.
            image = image._new(image.im)
            rgb = to_rgb(image, divisor)
            del image
            return _turned(rgb, orientation)


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def _orientation(image: Image.Image) -> int:
    """From EXIF or XMP; 1 where there is none that can be read."""
    try:
        exif = image.info.get("exif")
        if exif is None and isinstance(raw := image.info.get("Raw profile type exif"), str):
            exif = bytes.fromhex("".join(raw.split("\n")[3:]))  # as ImageMagick writes it into a PNG
        if isinstance(exif, bytes):
            check_directory(exif.removeprefix(b"Exif\0\0"))
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # a broken EXIF block is common (editors write them) and does not spoil the pixels
        return 1
