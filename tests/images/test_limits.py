"""What one picture may cost: memory, however the file is made."""

import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from transflow_core.images import load_image, reading

from ..helpers import ROOT
from .test_decoding import chunk, encode, quarters, textured

# The growth of the process, not its whole size; and not resource.getrusage, whose peak a child inherits from us.
GROWTH = """
import json, sys
import numpy, pillow_heif, PIL.ImageCms
from PIL import Image
from transflow_core.images import ImageError, load_image
from transflow_core.runtime.sandbox import limit_growth
pillow_heif.register_heif_opener()
Image.init()
def peak():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024
before, told = peak(), {}
for path in sys.argv[1:]:
    limit_growth()
    try:
        told[path] = load_image(path).size
    except ImageError as error:
        told[path] = str(error)
    told[path] = told[path], peak() - before
print(json.dumps(told))
"""


def growth(*paths) -> dict:
    command = [sys.executable, "-c", GROWTH, *map(str, paths)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


# The largest that is read of the kinds that take most: (mode, size, how to save).
HEAVY = {
    "progressive.jpg": ("RGB", (9000, 6600), {"progressive": True, "subsampling": 0}),
    "transparent.png": ("RGBA", (10240, 7712), {"compress_level": 1}),
    "float.tif": ("F", (7600, 6000), {"compression": "tiff_adobe_deflate"}),
    "transparent.webp": ("RGBA", (5900, 4000), {"method": 0}),
    "all_colours.avif": ("RGB", (5900, 4000), {"speed": 10, "subsampling": "4:4:4"}),
}


on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads its own peak from /proc")


@on_linux
def test_no_picture_of_any_kind_takes_500_mb(tmp_path):
    paths = [tmp_path / name for name in HEAVY]
    for path, (mode, size, options) in zip(paths, HEAVY.values(), strict=True):
        Image.new(mode, size).save(path, **options)
    for path, (size, bytes_more) in growth(*paths).items():
        assert bytes_more < 500e6, path
        assert not isinstance(size, str), (path, size)  # was read: a test of refusals would be another one
        assert size[0] * size[1] <= reading.REDUCED_ABOVE


@pytest.mark.parametrize(
    ("format", "mode"), [("PNG", "RGB"), ("PNG", "RGBA"), ("BMP", "RGB"), ("TIFF", "F"), ("JPEG", "L")]
)
def test_a_large_picture_of_any_format_comes_out_at_half_its_size(format, mode, monkeypatch):
    data = encode(quarters(601, 421).convert(mode), format)
    whole = load_image(data)
    monkeypatch.setattr(reading, "REDUCED_ABOVE", 601 * 421 - 1)
    half = load_image(data)
    assert (whole.size, half.size) == ((601, 421), (301, 211))
    assert np.abs(np.asarray(half, int) - np.asarray(whole.reduce(2), int)).max() <= (8 if format == "JPEG" else 0)


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I;16", "I", "F"]
)
@pytest.mark.parametrize("reduction", [1, 2])
def test_strips_give_what_the_whole_picture_gives(mode, reduction, monkeypatch):
    rng = np.random.default_rng(0)
    if mode in ("I;16", "I", "F"):
        dtype = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
        image = Image.fromarray(rng.integers(0, 60_000, (43, 31)).astype(dtype))
    elif mode == "LAB":
        image = Image.frombytes("LAB", (31, 43), rng.bytes(31 * 43 * 3))
    else:
        image = textured(31, 43).convert("L" if mode == "LA" else "P" if mode == "PA" else mode).convert(mode)
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.fromarray(rng.integers(0, 256, (43, 31), dtype=np.uint8)))
    whole = reading.to_rgb(image, reduction)
    monkeypatch.setattr(reading, "_STRIP_PIXELS", 31 * 5)
    assert whole.size == (-(-31 // reduction), -(-43 // reduction))
    assert whole.tobytes() == reading.to_rgb(image, reduction).tobytes()


def directory(entries: int, size: int) -> bytes:
    """A TIFF directory all of whose entries point at the same `size` bytes."""
    body = b"".join(struct.pack("<2H2I", 40000 + i, 1, size, 0) for i in range(entries))
    return struct.pack("<2sHIH", b"II", 42, 8, entries) + body + bytes(8)


def jpeg_with(exif: bytes) -> bytes:
    data, content = encode(textured(), "JPEG"), b"Exif\0\0" + exif
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content + data[2:]


def png_with(chunks: bytes) -> bytes:
    data = encode(textured(), "PNG")
    return data[:33] + chunks + data[33:]


COSTLY = {
    "exif": lambda: jpeg_with(directory(3000, 65_000) + bytes(25_000)),
    "chunks": lambda: png_with(chunk(b"prVt", b"") * 200_000),
    "tiff": lambda: directory(2000, 1_000_000) + bytes(1_000_000),
}


@on_linux
def test_a_file_that_costs_more_than_it_holds_does_not_take_500_mb(tmp_path):
    """Pillow keeps all metadata. The child's limit ends what is too much; then the file is refused, or read without.

    One has 120 megapixels behind a header that says 16: without a limit it takes 601 MB.
    """
    paths = [tmp_path / kind for kind in COSTLY]
    for path, make in zip(paths, COSTLY.values(), strict=True):
        path.write_bytes(make())
    lying = Path(__file__).with_name("larger_than_it_says.avif")
    found = growth(*paths, lying)
    assert all(bytes_more < 500e6 for _, bytes_more in found.values()), found
    assert any(word in found[str(tmp_path / "tiff")][0] for word in ("memory", "damaged"))
    assert found[str(lying)][0].startswith("larger_than_it_says.avif: ")
