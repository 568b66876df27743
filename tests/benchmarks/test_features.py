"""Colour and texture: what is flat has no detail, and detail is found at its size and its place."""

import numpy as np
import pytest

from benchmarks.features import colour_texture
from benchmarks.measures import lab

SIDE = 64
NOTHING = -20.0  # decibels: the floor


def parts(image):
    """(3, 8, 8) colours; lightness, (4 bands, 4, 4); chroma, (4 bands, 2)."""
    row = colour_texture(image[None])[0]
    layout, lightness, chroma = np.split(row, [192, 256])
    return layout.reshape(3, 8, 8), lightness.reshape(4, 4, 4), chroma.reshape(4, 2)


def stripes(width, colour=(1.0, 1.0, 1.0)):
    """Vertical stripes in the left half of a grey picture, lighter and darker than it by as much, of this colour."""
    wave = np.where(np.arange(SIDE) // width % 2, 0.1, -0.1) * (np.arange(SIDE) < SIDE // 2)
    return 0.5 + np.reshape(colour, (3, 1, 1)) * np.tile(wave, (SIDE, 1))


def test_a_flat_picture_has_its_colour_and_no_detail():
    colour = np.array([0.8, 0.4, 0.2], np.float32).reshape(3, 1, 1)
    layout, lightness, chroma = parts(np.broadcast_to(colour, (3, SIDE, SIDE)))
    np.testing.assert_allclose(layout, np.broadcast_to(lab(colour), (3, 8, 8)), atol=1e-3)
    np.testing.assert_allclose(lightness, NOTHING, atol=1e-3)
    np.testing.assert_allclose(chroma, NOTHING, atol=1e-3)


@pytest.mark.parametrize(("width", "band"), [(1, 0), (4, 1), (8, 2)])
def test_stripes_are_in_the_band_of_their_size_and_in_their_half(width, band):
    _, lightness, chroma = parts(stripes(width))
    assert lightness.mean((1, 2)).argmax() == band
    assert lightness[0, :, 0].min() > NOTHING + 10 and lightness[0, :, 3].max() < NOTHING + 0.1
    assert chroma.max() < NOTHING + 1 and parts(stripes(1, (1.0, -0.3, 0.5)))[2][0].min() > NOTHING + 10
