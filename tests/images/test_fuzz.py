"""Damaged and lying image files of all formats: an image or an ImageError, never anything else."""

import struct
import warnings
from unittest.mock import patch

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from transflow_core.images import ImageError, load_image, reading

from ..fuzz import changed, edits
from .test_decoding import HEADERS, encode, fuzzed_files, textured

MOST = 1_000_000
CORPUS = fuzzed_files() | {
    "16 bits": encode(Image.fromarray(np.arange(3072, dtype=np.uint16).reshape(48, 64) * 21), "PNG"),
    "black and white": encode(textured().convert("1"), "TIFF", compression="group4"),
    "CMYK": encode(textured().convert("CMYK"), "JPEG"),
    "transparent WebP": encode(textured().convert("RGBA"), "WEBP", lossless=True),
    "transparent AVIF": encode(textured().convert("RGBA"), "AVIF"),
    "plain": b"P3 4 2 255\n" + b"1 2 3 " * 8,
    "run length": b"BM"
    + struct.pack("<IHHI", 82, 0, 0, 70)
    + struct.pack("<IiiHHIIiiII", 40, 4, 4, 1, 8, 1, 12, 0, 0, 4, 4)
    + bytes(16)
    + b"\4\1\0\0\4\2\0\0\4\3\0\0\4\0\0\1",
}


def read_or_refused(data: bytes) -> None:
    with warnings.catch_warnings(), patch.object(reading, "MAX_PIXELS", MOST):
        warnings.simplefilter("ignore")
        try:
            image = load_image(data, name="broken")
        except ImageError as error:
            assert str(error).startswith("broken: ")
        else:
            assert image.mode == "RGB"
            assert 0 < image.width * image.height <= MOST
            image.tobytes()


@settings(max_examples=200)
@given(st.sampled_from(sorted(CORPUS)), edits)
def test_a_damaged_file_is_an_image_or_an_error(kind, changes):
    read_or_refused(changed(CORPUS[kind], changes))


@settings(max_examples=100)
@given(
    st.one_of(
        st.builds(lambda header, *size: header(*size), st.sampled_from(HEADERS), *[st.integers(1, 16_000)] * 2),
        st.builds(lambda kind, kept: CORPUS[kind][:kept], st.sampled_from(sorted(CORPUS)), st.integers(1, 40)),
    ),
    st.binary(max_size=300),
)
def test_a_beginning_that_promises_what_does_not_follow(beginning, noise):
    read_or_refused(beginning + noise)
