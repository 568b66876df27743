"""Measures of samples: on pictures of which the answer is known."""

import numpy as np
import pytest

from benchmarks.measures import as_unit, chroma, descriptor_distance, diversity, face_rate, region_distance
from transflow_core.images import find_images, load_image

from ..helpers import ROOT


def examples(name, count=4):
    return as_unit([load_image(file) for file in find_images([ROOT / "assets" / "examples" / name])[:count]])


def noise(n=4, side=128):
    return np.random.default_rng(0).random((n, 3, side, side), dtype=np.float32)


def test_faces_are_found_where_there_are_some():
    faces = examples("red_hair")
    assert [face_rate(x) for x in (faces, noise(), np.concatenate([faces, noise()]))] == [1.0, 0.0, 0.5]


def test_chroma_orders_the_example_sets():
    assert chroma(examples("greyscale")) < 0.5 < chroma(examples("sepia")) < chroma(examples("cartoon"))


def test_an_occlusion_is_measured_where_it_is():
    bar = (0.25, 0.42, 0.75, 0.54)
    solid, plain = examples("neon_bar"), examples("red_hair")
    assert region_distance(solid, solid, bar) == 0.0
    assert region_distance(plain, solid, bar) > 0.5
    corner = (0.0, 0.0, 0.1, 0.1)
    assert region_distance(plain, solid, corner) < region_distance(plain, solid, bar)
    with pytest.raises(ValueError, match="no pixel"):
        region_distance(plain, solid, (0.5, 0.5, 0.5, 0.5))


def test_diversity_is_zero_for_copies_and_grows_with_scatter():
    one = np.repeat(noise(1), 3, axis=0)
    x = noise()
    assert diversity(one) == 0.0
    assert diversity(0.5 + 0.2 * (x - 0.5)) == pytest.approx(0.2 * diversity(x), rel=1e-4)
    # Two independent uniform numbers differ by √(1/6) in the root mean square.
    assert diversity(noise(6)) == pytest.approx((1 / 6) ** 0.5, rel=0.02)
    with pytest.raises(ValueError, match="two images"):
        diversity(noise(1))


def test_descriptors_tell_faces_from_no_faces():
    faces, more = examples("red_hair", 8)[:4], examples("red_hair", 8)[4:]
    assert descriptor_distance(faces, faces) == 0.0
    assert descriptor_distance(faces, more) < descriptor_distance(faces, noise())


@pytest.mark.parametrize("bad", [np.zeros((0, 3, 8, 8)), np.zeros((2, 1, 8, 8)), np.zeros((2, 3, 8, 8), np.uint8)])
def test_other_shapes_and_types_are_refused(bad):
    for measure in (chroma, diversity, face_rate):
        with pytest.raises(ValueError, match="floats"):
            measure(bad)
