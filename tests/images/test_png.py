"""PNG files that say how they were made."""

import io

import numpy as np
import pytest
from PIL import Image

from transflow_core.images import ImageError, load_image, read_png_metadata, save_png


def test_metadata_and_pixels_come_back(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    metadata = {
        "Software": "Transflow Studio",
        "lam_ratio": "0.5",
        "λ".encode().hex(): "λ/m = 0.5 — 日本\n2nd line",
        "long": "x" * 99999,
    }
    path = tmp_path / "sheet.png"
    save_png(Image.fromarray(pixels), path, metadata=metadata)
    assert read_png_metadata(path) == read_png_metadata(path.read_bytes()) == metadata
    assert all(type(text) is str for text in read_png_metadata(path).values())
    assert (np.asarray(load_image(path)) == pixels).all()


def test_without_metadata():
    file = io.BytesIO()
    save_png(Image.new("RGB", (2, 2)), file)
    assert read_png_metadata(file.getvalue()) == {}


@pytest.mark.parametrize(
    "metadata", [{"": "x"}, {"k" * 80: "x"}, {"λ": "x"}, {"a\nb": "x"}, {" a": "x"}, {"a": "x\0y"}]
)
def test_what_the_format_cannot_hold_is_refused(metadata):
    with pytest.raises(ValueError, match="PNG"):
        save_png(Image.new("RGB", (2, 2)), io.BytesIO(), metadata=metadata)


def test_reading_from_what_is_no_png(tmp_path):
    path = tmp_path / "photo.png"
    Image.new("RGB", (8, 8)).save(path, "JPEG")
    with pytest.raises(ImageError, match=r"^photo\.png: .*JPEG.*Only a PNG"):
        read_png_metadata(path)
    file = io.BytesIO()
    save_png(Image.new("RGB", (64, 64), "red"), file, metadata={"a": "b"})
    with pytest.raises(ImageError, match="damaged"):
        read_png_metadata(file.getvalue()[:-40])
