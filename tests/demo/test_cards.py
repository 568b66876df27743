"""What the panel says of images that are far from what the prior was trained on: where it matters, and once."""

import base64
import io
import re
from dataclasses import replace

import pytest
from PIL import Image

from demo.cards import details, summary, thumbnails
from demo.examples import example_sets
from transflow_core.engine import Engine
from transflow_core.priors.typicality import Verdict

from ..helpers import make_tiny_prior

FAR = Verdict(-1.0, -3.0, -2.0, 100.0, "far outside", "too smooth")


@pytest.fixture(scope="module")
def evidence():
    return Engine(make_tiny_prior()).read(example_sets()["sepia"].files[:4])


def with_outliers(evidence, n):
    """The same with n images that are far outside."""
    images = [replace(image, verdict=FAR) if i < n else image for i, image in enumerate(evidence)]
    return replace(evidence, images=tuple(images))


@pytest.mark.parametrize(
    ("n", "far", "marked", "once"),
    [(4, 0, 0, False), (4, 1, 1, False), (4, 2, 2, False), (4, 4, 0, True), (1, 1, 1, False)],
)
def test_the_odd_one_is_marked_and_a_set_of_them_is_mentioned_once(evidence, n, far, marked, once):
    given = with_outliers(replace(evidence, images=evidence.images[:n]), far)
    assert thumbnails(given).count('class="badge"') == marked
    assert ("Most of them are very different" in summary(given)) == once


def test_a_card_says_plainly_whether_an_image_fits():
    given = Engine(make_tiny_prior()).read(example_sets()["sepia"].files[:1])
    fits = given.put(0, replace(given[0], verdict=Verdict(-2.5, -3.0, -2.0, 50.0, "typical")))
    faceless = given.put(0, replace(given[0], verdict=Verdict(-2.5, -3.0, -2.0, 50.0, "far outside", "no face", 2.0)))
    assert "Fits the model well." in details(fits, 0) and "Fits" not in details(given, 0)  # nobody measured this model
    assert "No face found." in details(faceless, 0) and "Fits" not in details(faceless, 0)


@pytest.mark.parametrize(("count", "kept", "side"), [(2, True, 256), (2, False, 128), (17, True, 128)])
def test_a_reload_reads_all_pixels_of_a_few_photos(evidence, count, kept, side):
    frame = Image.new("RGB", (256, 256))
    images = [replace(evidence[0], face=replace(evidence[0].face, image=frame))] * count
    shown = thumbnails(replace(evidence, images=tuple(images)), remembered=kept)
    data = base64.b64decode(re.findall(r"base64,([^\"]+)", shown)[0])
    assert Image.open(io.BytesIO(data)).size == (side, side)


def test_examples_of_a_class_spoil_no_samples(evidence):
    given = with_outliers(evidence, 1)
    assert "badge" not in thumbnails(given, warns=False)
    assert "blank or blurred" in details(given, 0, weighted=False)
    hint = "if the samples look broken"
    assert hint in details(given, 0) and hint not in details(given, 0, weighted=False)
