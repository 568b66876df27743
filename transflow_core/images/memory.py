"""What decoding a picture takes, known from its header; large ones are decoded one at a time."""

import contextlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, JpegImagePlugin, TiffImagePlugin

__all__ = ["MAX_MEMORY", "REDUCED_ABOVE", "bytes_needed", "limit_growth", "one_large_at_a_time", "reduction"]

MAX_MEMORY = 420_000_000
"""Most that decoding one picture may take, in bytes, its file included. With what metadata take and what an allocator
keeps, the process grows by less than 500 MB."""

REDUCED_ABOVE = 24_000_000
"""Pictures of more pixels become half as wide and high: what remains is an ordinary photograph, more than a face
detector looks at, and all later steps take a quarter of the time."""

# Pictures that take more wait for one another, in whatever threads they are read: a phone's photograph takes less.
_LARGE = 150_000_000
_turn = threading.Lock()

# Bytes a pixel that a decoder holds besides the finished picture, at its peak. WebP: two canvases and a copy. AVIF:
# planes of at most 16 bits in three or four channels, and a copy. HEIF: a copy, and planes where they are not the usual
# ones. They were measured on pictures of 24 megapixels.
_WEBP = 12
_AVIF = {"RGB": 10, "RGBA": 13.3}
_HEIF_USUAL, _HEIF_OTHER = 3.8, 12


_JPEG = ("JPEG", "MPO")
_MAX_GROWTH = 480_000_000


def limit_growth() -> None:
    """From here on this process may take 480 MB more than it has; what it then has not is a MemoryError, or an error of
    whatever decodes. For a file whose header lies: a decoder goes by what it finds behind it. On Linux alone."""
    if not sys.platform.startswith("linux"):
        return
    import resource

    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    has = next(int(line.split()[1]) for line in lines if line.startswith("VmData:")) * 1024
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (has + _MAX_GROWTH, most))


def bytes_needed(image: Image.Image, file_size: int, scans: int) -> float:
    """Bytes that the picture, of which only the header is read, will take at the peak of its decoding.

    Args:
        image: what was opened.
        file_size: bytes of its file.
        scans: see `jpeg_scans`.
    """
    pixels = image.width * image.height
    part = 1 / reduction(image) ** 2
    # libjpeg itself decodes at half the scale.
    decoded = bytes_a_pixel(image.mode) * (part if image.format in _JPEG else 1)
    file_size *= 2 if image.format == "WEBP" else 1  # the decoder makes a copy
    return file_size + pixels * max(_besides(image, scans) + decoded, decoded + 4 * part)


def reduction(image: Image.Image) -> int:
    """By how much its width and height are divided: 1 or 2."""
    return 2 if image.width * image.height > REDUCED_ABOVE else 1


@contextlib.contextmanager
def one_large_at_a_time(needed: float) -> Iterator[None]:
    """Within, no other thread decodes a large picture, if this one, of so many bytes, is one."""
    with _turn if needed > _LARGE else contextlib.nullcontext():
        yield


def bytes_a_pixel(mode: str) -> int:
    """Of a picture in memory: Pillow gives even three channels four bytes."""
    return 1 if mode in ("1", "L", "P") else 2 if mode.startswith("I;16") else 4


def _besides(image: Image.Image, scans: int) -> float:
    match image.format:
        case "JPEG" | "MPO" if scans > 1 and isinstance(image, JpegImagePlugin.JpegImageFile):
            # Then all coefficients are kept, two bytes each.
            largest = max(across * down for _, across, down, _ in image.layer)
            return sum(2 * across * down / largest for _, across, down, _ in image.layer)
        case "WEBP":
            return _WEBP
        case "AVIF":
            return _AVIF.get(image.mode, _AVIF["RGBA"])
        case "HEIF":
            usual = image.info.get("chroma") == 420 and image.mode != "RGBA"
            return _HEIF_USUAL if usual else _HEIF_OTHER
        case "TIFF" if isinstance(image, TiffImagePlugin.TiffImageFile):
            # A strip, which may be the whole picture, before it is unpacked; or the picture, to turn it.
            return max(_tiff_piece(image), bytes_a_pixel(image.mode))
    return 0


def _tiff_piece(image: TiffImagePlugin.TiffImageFile) -> float:
    """Bytes of the largest strip or tile that there can be, by pixels of the picture."""
    tags = image.tag_v2
    bits = tags.get(258, (1,))
    samples = tags.get(277, 1)
    tile = tags.get(322, 0) * tags.get(323, 0)
    area = max(1.0, tile / (image.width * image.height))
    return area * max(bits) * samples / 8
