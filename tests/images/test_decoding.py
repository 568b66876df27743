"""Decoding: every format by real files, orientation, colour, and what untrusted files may try."""

import functools
import io
import os
import pickle
import struct
import zlib

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms

from transflow_core.images import ImageError, load_image, reading

pillow_heif.register_heif_opener()  # to write HEIC

LOSSLESS = {
    "PNG": {},
    "WEBP": {"lossless": True},
    "HEIF": {"quality": -1, "chroma": 444, "matrix_coefficients": 0},
    "TIFF": {"compression": "tiff_lzw"},
    "BMP": {},
    "PPM": {},
}
LOSSY = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"quality": 95},
    "HEIF": {"quality": 95, "chroma": 444},
    "AVIF": {"quality": 95, "subsampling": "4:4:4"},
}


def encode(image: Image.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def quarters(width: int = 48, height: int = 32) -> Image.Image:
    """Red, green / blue, yellow: no turn or mirroring leaves it as it is."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = (220, 30, 30)
    pixels[: height // 2, width // 2 :] = (30, 200, 40)
    pixels[height // 2 :, : width // 2] = (40, 50, 210)
    pixels[height // 2 :, width // 2 :] = (230, 220, 60)
    return Image.fromarray(pixels)


def textured(width: int = 64, height: int = 48, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    ramp = np.add.outer(np.arange(height) * 2, np.arange(width) * 2)[..., None]
    return Image.fromarray((ramp + rng.integers(0, 40, (height, width, 3))).clip(0, 255).astype(np.uint8))


def difference(a: Image.Image, b: Image.Image) -> int:
    assert a.mode == b.mode == "RGB"
    assert a.size == b.size
    return int(np.abs(np.asarray(a, int) - np.asarray(b, int)).max())


def icc_with_red_and_green_exchanged() -> bytes:
    """sRGB's profile by another name, its primaries exchanged: what the file calls red is green."""
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = data.replace(b"rXYZ", b"-XYZ").replace(b"gXYZ", b"rXYZ").replace(b"-XYZ", b"gXYZ")
    return data.replace("sRGB".encode("utf-16-be"), "mine".encode("utf-16-be"))


@pytest.mark.parametrize("format", LOSSLESS | LOSSY)
def test_every_format_keeps_the_picture(format):
    """A lossy one where it is plain."""
    if format in LOSSLESS:
        assert load_image(encode(textured(), format, **LOSSLESS[format])).tobytes() == textured().tobytes()
    if format in LOSSY:
        image = load_image(encode(quarters(), format, **LOSSY[format]))
        for at in [(12, 8), (36, 8), (12, 24), (36, 24)]:
            assert np.abs(np.subtract(image.getpixel(at), quarters().getpixel(at))).max() <= 4


def test_every_kind_of_source_gives_the_same(tmp_path):
    """A path with a wrong suffix too."""
    data, path = encode(quarters(), "PNG"), tmp_path / "really-a-png.jpg"
    path.write_bytes(data)
    with path.open("rb") as file:
        sources = [path, str(path), data, bytearray(data), memoryview(data), io.BytesIO(data), file, Image.open(path)]
        assert all(load_image(source).tobytes() == quarters().tobytes() for source in sources)
    with pytest.raises(TypeError, match="PIL image, not int"):
        load_image(7)


TURNS = [
    None,
    Image.Transpose.FLIP_LEFT_RIGHT,
    Image.Transpose.ROTATE_180,
    Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.TRANSPOSE,
    Image.Transpose.ROTATE_270,
    Image.Transpose.TRANSVERSE,
    Image.Transpose.ROTATE_90,
]


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF", "a PIL image"])
def test_exif_orientation_is_applied_once_and_metadata_stays_behind(format, orientation):
    kind = format if format in LOSSY | LOSSLESS else "PNG"
    source = encode(quarters(), kind, exif=exif(orientation), **(LOSSY | LOSSLESS)[kind])
    image = load_image(source if format == kind else Image.open(io.BytesIO(source)))
    turn = TURNS[orientation - 1]
    assert difference(image, quarters() if turn is None else quarters().transpose(turn)) <= 40
    assert load_image(image).tobytes() == image.tobytes()
    assert image.info == {} and not image.getexif()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_does_not_spoil_the_pixels():
    data = encode(quarters(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + bytes(8), quality=95, subsampling=0)
    assert difference(load_image(data), quarters()) <= 40


RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)
EXCHANGED = {"icc_profile": icc_with_red_and_green_exchanged()}


@pytest.mark.parametrize(
    ("formats", "mode", "colour", "options", "expected"),
    [
        ("PNG", "1", 1, {}, WHITE),
        ("PNG", "1", 0, {}, (0, 0, 0)),
        ("PNG", "L", 77, {}, (77, 77, 77)),
        ("PNG", "LA", (77, 255), {}, (77, 77, 77)),
        # Transparent pixels show white, whatever lies under them.
        ("PNG", "LA", (77, 0), {}, WHITE),
        ("PNG", "L", 9, {"transparency": 9}, WHITE),
        ("PNG", "RGB", (1, 2, 3), {"transparency": (1, 2, 3)}, WHITE),
        ("PNG WEBP TIFF", "RGBA", (0, 0, 0, 0), {}, WHITE),
        ("PNG WEBP TIFF", "RGBA", (200, 100, 0, 128), {}, (227, 177, 127)),
        # CMYK is not inverted. A JPEG of Pillow is, and marked so, as Adobe does; a TIFF has the inks themselves.
        ("JPEG TIFF", "CMYK", (255, 0, 0, 0), {}, (0, 255, 255)),
        ("JPEG TIFF", "CMYK", (0, 255, 255, 0), {}, RED),
        ("JPEG TIFF", "CMYK", (0, 0, 0, 255), {}, (0, 0, 0)),
        # A colour profile is converted; a broken one, or one for other colours, is passed over.
        ("JPEG PNG TIFF WEBP HEIF", "RGB", "red", EXCHANGED, GREEN),
        ("PNG TIFF WEBP HEIF", "RGBA", "red", EXCHANGED, GREEN),
        ("PNG", "RGB", "red", {"icc_profile": b"garbage"}, RED),
        ("PNG", "RGB", "red", {"icc_profile": EXCHANGED["icc_profile"][:200]}, RED),
        ("PNG", "L", 90, EXCHANGED, (90, 90, 90)),
        # The first of two frames is taken.
        ("GIF WEBP TIFF PNG AVIF", "RGB", "red", {"save_all": True, "append_images": [quarters(16, 16)]}, RED),
    ],
)
def test_a_plain_picture_shows_its_colour(formats, mode, colour, options, expected):
    exact = formats == "PNG"
    for format in formats.split():
        image = load_image(encode(Image.new(mode, (16, 16), colour), format, **LOSSLESS.get(format, {}), **options))
        assert np.abs(np.asarray(image, int) - expected).max() <= (0 if exact else 6), format


@pytest.mark.parametrize("format", ["PNG", "GIF"])
@pytest.mark.parametrize(("options", "hole"), [({}, (10, 20, 30)), ({"transparency": 0}, WHITE)])
def test_palette_with_and_without_transparency(format, options, hole):
    image = Image.fromarray(np.array([[0, 1]], np.uint8))
    image.putpalette([10, 20, 30, 200, 100, 50])
    assert np.asarray(load_image(encode(image, format, **options))).tolist() == [[[*hole], [200, 100, 50]]]


GREYS = np.array([[0, 255, 256, 4095], [16384, 32768, 51400, 65535]])


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey_keeps_its_range(format):
    image = load_image(encode(Image.fromarray(GREYS.astype(np.uint16)), format))
    assert difference(image, Image.fromarray(np.rint(GREYS / 257).astype(np.uint8)).convert("RGB")) <= 1


def test_16_bit_colour():
    """Pillow reads it and does not write it."""
    pixels = np.stack([GREYS, GREYS[::-1], GREYS[:, ::-1]], -1)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    image = load_image(png_header(4, 2, bits=16) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    assert np.abs(np.asarray(image, int) - pixels / 257).max() <= 1


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([0, 128, 255], np.int32, [0, 128, 255]),
        ([0, 25700, 65535], np.int32, [0, 100, 255]),
        ([-1000, 0, 1000], np.int32, [0, 128, 255]),
        ([0, 500_000, 1_000_000], np.int32, [0, 128, 255]),
        ([0, 0.5, 1], np.float32, [0, 128, 255]),
        ([0, 100, 255], np.float32, [0, 100, 255]),
        ([-1, 0, 1], np.float32, [0, 128, 255]),
        ([np.nan, 0, np.inf], np.float32, [128, 0, 128]),
        ([-5, -5, -5], np.float32, [128, 128, 128]),
    ],
)
def test_32_bit_grey_is_scaled_by_what_it_holds(values, dtype, expected):
    data = encode(Image.fromarray(np.array([values], dtype)), "TIFF")
    assert np.abs(np.asarray(load_image(data))[0, :, 0].astype(int) - expected).max() <= 1


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_header(width: int, height: int, bits: int = 8) -> bytes:
    """A PNG without any pixels: whoever tried to decode it would find it cut short."""
    header = struct.pack(">2I5B", width, height, bits, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"")


def webp_header(width: int, height: int) -> bytes:
    data = bytearray(encode(Image.new("RGB", (8, 8)), "WEBP", lossless=True))
    at = data.index(b"\x2f", 20) + 1
    bits = struct.unpack("<I", data[at : at + 4])[0] & ~0xFFFFFFF
    data[at : at + 4] = struct.pack("<I", bits | (width - 1) | (height - 1) << 14)
    return bytes(data)


def heif_header(width: int, height: int, format: str = "HEIF") -> bytes:
    data = bytearray(encode(Image.new("RGB", (64, 64)), format))
    at = data.index(b"ispe") + 8
    data[at : at + 8] = struct.pack(">2I", width, height)
    return bytes(data)


HEADERS = [png_header, webp_header, heif_header, functools.partial(heif_header, format="AVIF")]


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("size", [(9000, 9500), (16000, 16000)])
def test_a_pixel_bomb_is_refused_by_its_header(header, size):
    with pytest.raises(ImageError, match=r"^bomb: .*(million|more pixels than)") as caught:
        load_image(header(*size), name="bomb")
    assert "smaller" in str(caught.value)


def test_a_gif_frame_larger_than_its_screen_is_refused(monkeypatch):
    monkeypatch.setattr(reading, "MAX_PIXELS", 64)
    data = bytearray(encode(Image.new("P", (64, 64)), "GIF"))
    data[6:10] = struct.pack("<2H", 8, 8)
    with pytest.raises(ImageError):
        load_image(bytes(data))


@pytest.mark.parametrize(
    ("size", "words"), [((2000, 3), "thin strip"), ((3, 2000), "thin strip"), ((0, 8), "nothing"), ((8, 0), "nothing")]
)
def test_a_strip_or_an_empty_picture_is_refused(size, words):
    with pytest.raises(ImageError, match=words):
        load_image(Image.new("RGB", size))
    with pytest.raises(ImageError):
        load_image(png_header(*size))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"hello, I am a text file", "not an image"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG.*export it as PNG"),
        (b"  <svg width='10'/>", "SVG"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
        (b"%PDF-1.7\n", "PDF"),
        (b"PK\x03\x04" + bytes(40), "zip"),
        (b"\0\0\0\x18ftypmp42" + bytes(40), "video"),
        (b"\xff\x0a" + bytes(40), "JPEG XL"),
        (b"\x89PNG\r\n\x1a\n", "damaged"),
        (b"\xff\xd8\xff", "damaged"),
        (b"\0\0\0\x18ftypheic" + bytes(40), "damaged"),
    ],
)
def test_what_is_no_image_is_named_for_what_it_is(tmp_path, data, words):
    path = tmp_path / "holiday.jpg"
    path.write_bytes(data)
    for source, name, called in [(path, None, "holiday.jpg"), (data, None, "image"), (data, "the third", "the third")]:
        with pytest.raises(ImageError, match=f"^{called}: .*{words}"):
            load_image(source, name=name)


@pytest.mark.parametrize("format", ["EPS", "TGA", "PCX", "ICO", "SGI"])
def test_pillows_other_formats_are_not_let_in(format):
    with pytest.raises(ImageError):
        load_image(encode(Image.new("RGB", (16, 16)), format))


def test_what_is_no_file_is_refused_instead_of_waited_for(tmp_path):
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match="this is a folder"):
        load_image(tmp_path)
    for path in (tmp_path / "no.png", "nul\0.png", tmp_path / "pipe.png"):
        with pytest.raises(ImageError, match="no such file"):
            load_image(path)


def test_a_file_too_large_in_bytes_is_not_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MAX_BYTES", 1000)
    data, path = encode(textured(), "PNG"), tmp_path / "large.png"
    path.write_bytes(data)
    with path.open("rb") as file:
        for source in (data, file, path):
            with pytest.raises(ImageError, match="larger than"):
                load_image(source)
        assert file.tell() <= 1001


def test_the_error_survives_pickling_and_disarms_the_name():
    error = pickle.loads(pickle.dumps(ImageError("a\x1b[31m\n.png", "the file is empty.")))
    assert str(error) == f"{error.name}: {error.problem}" == "a\ufffd[31m\ufffd.png: the file is empty."


def fuzzed_files() -> dict[str, bytes]:
    image = textured()
    files = {format: encode(image, format, exif=exif(6)) for format in ("PNG", "JPEG", "WEBP", "HEIF", "AVIF")}
    files |= {format: encode(image, format) for format in ("GIF", "BMP", "PPM")}
    files["progressive"] = encode(image, "JPEG", progressive=True)
    files["palette"] = encode(image.quantize(16), "PNG", transparency=3)
    files["animated"] = encode(image, "WEBP", save_all=True, append_images=[image.rotate(90)])
    files["grey"] = encode(image.convert("F"), "TIFF")
    return files | {code: encode(image, "TIFF", compression=code) for code in ("tiff_lzw", "jpeg", "packbits")}


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "HEIF", "AVIF", "BMP", "TIFF"])
@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_file_that_is_cut_short_is_said_to_be(format, kept):
    data = encode(textured(), format)
    with pytest.raises(ImageError, match="damaged or cut short"):
        load_image(data[: int(len(data) * kept)])
