"""Pictures four times larger: the tiles, and the network where it is installed."""

import threading

import numpy as np
import pytest
from PIL import Image

from transflow_core.compute import Cancelled
from transflow_core.operations import enlarging
from transflow_core.operations.enlarging import FACTOR, INSTALL, can_enlarge, enlarge_picture

from .helpers import repeated


def noise(width, height):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture
def network(monkeypatch):
    """One of four parts, which repeats pixels."""
    monkeypatch.setattr(enlarging, "can_enlarge", lambda: True)
    monkeypatch.setattr(enlarging, "_steps", repeated)


@pytest.mark.usefixtures("network")
def test_a_picture_is_enlarged_part_by_part(engine):
    image, seen = noise(97, 205), []
    large = enlarge_picture(engine, image, progress=lambda done, total, what: seen.append((done, total)))
    expected = image.resize((FACTOR * image.width, FACTOR * image.height), Image.Resampling.NEAREST)
    assert np.array_equal(np.asarray(large), np.asarray(expected)) and seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.usefixtures("network")
def test_it_ends_at_the_next_part(engine):
    cancel = threading.Event()
    with pytest.raises(Cancelled):
        enlarge_picture(engine, noise(8, 8), progress=lambda done, *_: done > 1 and cancel.set(), cancel=cancel)


def test_what_is_too_large_or_not_installed_is_refused_with_the_way_out(engine, monkeypatch):
    with pytest.raises(ValueError, match=r"has 513 × 512 pixels already\. The limit is 512 × 512\."):
        enlarge_picture(engine, Image.new("RGB", (513, 512)))
    monkeypatch.setattr(enlarging, "can_enlarge", lambda: False)
    with pytest.raises(ValueError, match=INSTALL):
        enlarge_picture(engine, Image.new("RGB", (8, 8)))


@pytest.mark.skipif(not can_enlarge(), reason=INSTALL)
def test_the_network_keeps_the_picture(engine):
    """A smooth picture stays what it was, to a few parts in a hundred."""
    y, x = np.mgrid[:32, :32] / 31
    image = Image.fromarray((255 * np.stack([y, x, 1 - y], 2)).astype(np.uint8))
    large = enlarge_picture(engine, image)
    assert large.size == (128, 128)
    smooth = image.resize(large.size, Image.Resampling.BICUBIC)
    assert np.abs(np.asarray(large).astype(int) - np.asarray(smooth)).mean() < 8


@pytest.mark.skipif(not can_enlarge(), reason=INSTALL)
def test_parts_make_what_the_whole_network_makes(monkeypatch):
    """Bands of the last layers meet without a seam."""
    import ncnn

    monkeypatch.setattr(enlarging, "_BAND", 5)
    pixels = np.random.default_rng(0).random((3, 12, 9), np.float32)
    *_, (_, _, large) = enlarging._steps(pixels)
    run, data = enlarging._network()[0].create_extractor(), ncnn.Mat(pixels)
    run.input("data", data)
    assert np.allclose(large, enlarging._copied(*run.extract("output")), atol=1e-3)
