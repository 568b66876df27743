"""Damaged and lying image files of all formats: an image or an ImageError, never anything else."""

import struct
import warnings
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from transflow_core.images import ImageError, load_image, reading

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
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


@st.composite
def damaged(draw) -> bytes:
    """A file of the corpus whose bits are flipped, whose numbers lie, with parts cut out, repeated or exchanged."""
    data = bytearray(CORPUS[draw(st.sampled_from(sorted(CORPUS)))])
    # Most of a format's structure stands at the beginning.
    places = st.one_of(st.integers(0, min(len(data), 300) - 1), st.integers(0, len(data) - 1))
    for _ in range(draw(st.integers(1, 4))):
        if not data:
            break
        at = draw(places) % len(data)
        match draw(st.sampled_from(["flip", "number", "cut", "repeat", "graft", "end"])):
            case "flip":
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "number":
                layout = draw(st.sampled_from(["<H", ">H", "<I", ">I"]))
                number = draw(st.sampled_from(EXTREMES)) & (0xFFFF if layout[1] == "H" else 0xFFFFFFFF)
                lie = struct.pack(layout, number)
                data[at : at + len(lie)] = lie
            case "cut":
                del data[at : at + draw(st.integers(1, 64))]
            case "repeat":
                data[at:at] = data[at : at + draw(st.integers(1, 64))] * draw(st.integers(1, 50))
            case "graft":
                other = CORPUS[draw(st.sampled_from(sorted(CORPUS)))]
                data[at : at + draw(st.integers(0, 64))] = other[: draw(st.integers(1, 200))]
            case "end":
                del data[at:]
    return bytes(data)


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


@settings(max_examples=600, deadline=None)
@given(damaged())
def test_a_damaged_file_is_an_image_or_an_error(data):
    read_or_refused(data)


@settings(max_examples=350, deadline=None)
@given(
    st.one_of(
        st.builds(lambda header, *size: header(*size), st.sampled_from(HEADERS), *[st.integers(1, 16_000)] * 2),
        st.builds(lambda kind, kept: CORPUS[kind][:kept], st.sampled_from(sorted(CORPUS)), st.integers(1, 40)),
    ),
    st.binary(max_size=300),
)
def test_a_beginning_that_promises_what_does_not_follow(beginning, noise):
    read_or_refused(beginning + noise)


@pytest.mark.parametrize("kind", sorted(CORPUS))
def test_the_corpus_itself_is_read(kind):
    assert load_image(CORPUS[kind]).mode == "RGB"
