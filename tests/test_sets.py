"""Sets that go by: the posterior of all images at once, after a stop too."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from transflow_core.engine import Engine
from transflow_core.images import ImageError
from transflow_core.operations import sets
from transflow_core.operations.sets import statistics_of_set
from transflow_core.runtime.worker import Cancelled

from .helpers import make_tiny_prior

N, HOW = 7, {"align": "never"}


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "set").mkdir()
    for index in range(N):
        image = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
        image.save(tmp_path / "set" / f"{index}.png")
    (tmp_path / "set" / "broken.png").write_bytes(b"no picture")
    return tmp_path / "set"


@pytest.fixture
def engine():
    return Engine(make_tiny_prior(), cached=1)


def assert_conditions_alike(found, folder, engine):
    expected = engine.posterior(sorted(folder.glob("*.png")), 0.5, align="never")
    posterior = found.posterior(0.5)
    assert posterior.m == expected.m == N
    torch.testing.assert_close(posterior.mean, expected.mean, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", [None, "zip", "tar"])
def test_a_set_conditions_as_its_images_do(folder, engine, kind, tmp_path, monkeypatch):
    monkeypatch.setattr(sets, "_CHUNK", 3)
    data = folder if kind is None else tmp_path / shutil.make_archive(str(tmp_path / "packed"), kind, folder)
    seen = []
    found = statistics_of_set(engine, [data], tmp_path / "kept", progress=lambda *a: seen.append(a[:2]), **HOW)
    assert_conditions_alike(found, folder, engine)
    assert seen == [(0, 8), (3, 8), (6, 8), (8, 8)] and not (tmp_path / "kept").exists()


def test_after_a_stop_it_goes_on_and_only_with_the_same_set(folder, engine, tmp_path, monkeypatch):
    monkeypatch.setattr(sets, "_CHUNK", 3)
    kept, read = tmp_path / "kept", []

    def killed(done, *_):
        if done == 6:
            raise Cancelled

    with pytest.raises(Cancelled):
        statistics_of_set(engine, [folder], kept, progress=killed, **HOW)
    for other, how in (([folder], {"align": "always"}), ([folder, folder], HOW)):
        with pytest.raises(ValueError, match="another"):
            statistics_of_set(engine, other, kept, **how)
    found = statistics_of_set(engine, [folder], kept, progress=lambda *a: read.append(a[0]), **HOW)
    assert read == [6, 8]
    assert_conditions_alike(found, folder, engine)


def test_a_set_without_images_is_said(engine, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="no images"):
        statistics_of_set(engine, [tmp_path / "empty"], tmp_path / "kept")
