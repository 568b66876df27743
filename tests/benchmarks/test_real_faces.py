"""Samples beside real faces: both measures can fail, and say how often they are wrong."""

import numpy as np
import pytest
from PIL import Image

from benchmarks.features import colour_texture
from benchmarks.measures import as_unit
from benchmarks.real_faces import RealFaces
from transflow_core.images import find_images, load_image

from ..helpers import ROOT


@pytest.fixture(scope="module")
def faces():
    files = [
        file for name in ("greyscale", "sepia", "red_hair") for file in find_images(ROOT / "assets/examples" / name)
    ]
    order = np.random.default_rng(0).permutation(len(files))
    return as_unit([load_image(files[i]).resize((64, 64), Image.Resampling.LANCZOS) for i in order])


def test_faces_pass_and_what_is_no_face_fails(faces):
    real = RealFaces(faces, colour_texture)
    noise = np.random.default_rng(1).random((8, 3, 64, 64), np.float32)
    assert real.unlike(noise) == 100 and real.torn(noise) > 50
    assert real.unlike(faces[::2]) == 0 and real.torn(faces[::2]) == 0  # they are the known ones
    assert real.alarms.keys() == real.misses.keys() == real.measures.keys()
    # Torn faces are found more often than whole ones are taken for torn.
    assert 100 - real.misses["torn"] > real.alarms["torn"] + 20
