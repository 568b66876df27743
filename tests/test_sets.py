"""Sets that go by: the posterior of all images at once, after a stop too."""

import shutil

import pytest
import torch
from PIL import Image

from transflow_core.engine import Engine
from transflow_core.images import ImageError
from transflow_core.operations import sets
from transflow_core.operations.sets import condition_on_set
from transflow_core.runtime.worker import Cancelled

from .helpers import make_tiny_prior, squares
from .test_evidence import SIZED

N, HOW = 7, {"align": "never"}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "set").mkdir()
    for index, image in enumerate(squares(N)):
        image.save(tmp_path / "set" / f"{index}.png")
    (tmp_path / "set" / "broken.png").write_bytes(b"no picture")
    return tmp_path / "set"


@pytest.fixture
def engine():
    return Engine(make_tiny_prior(), cached=1)


def assert_conditions_alike(found, folder, engine):
    expected = engine.posterior(sorted(folder.glob("*.png")), 0.5, align="never")
    assert found.m == expected.m == N
    torch.testing.assert_close(found.mean, expected.mean, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.variance, expected.variance)


@pytest.mark.parametrize("sides", [(64, 64, 64, 64), (64, 22, 11, 22), (22, 11, 11, 22)])
def test_pictures_of_few_pixels_count_at_the_levels_that_they_have(sides, tmp_path, monkeypatch):
    monkeypatch.setattr(sets, "_CHUNK", 3)
    for index, side in enumerate(sides):
        shade = Image.linear_gradient("L").rotate(90 * index).resize((side, side)).convert("RGB")
        shade.save(tmp_path / f"{index}.png")
    engine = Engine(SIZED)
    found = condition_on_set(engine, [tmp_path], tmp_path / "kept", 0.5, **HOW)
    expected = engine.posterior(sorted(tmp_path.glob("*.png")), 0.5, **HOW)
    assert (found.since is None) == (expected.since is None) == (min(sides) == 64)
    for name in ("mean", "variance", "latents", "seen"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", [None, "zip", "tar"])
def test_a_set_conditions_as_its_images_do(folder, engine, kind, tmp_path, monkeypatch):
    monkeypatch.setattr(sets, "_CHUNK", 3)
    data = folder if kind is None else tmp_path / shutil.make_archive(str(tmp_path / "packed"), kind, folder)
    seen = []
    found = condition_on_set(engine, [data], tmp_path / "kept", 0.5, progress=lambda *a: seen.append(a[:2]), **HOW)
    assert_conditions_alike(found, folder, engine)
    assert seen == [(0, 8), (3, 8), (6, 8), (8, 8)] and not (tmp_path / "kept").exists()


def test_after_a_stop_it_goes_on_and_only_with_the_same_set(folder, engine, tmp_path, monkeypatch):
    monkeypatch.setattr(sets, "_CHUNK", 3)
    kept, read = tmp_path / "kept", []

    def killed(done, *_):
        if done == 6:
            raise Cancelled

    with pytest.raises(Cancelled):
        condition_on_set(engine, [folder], kept, 0.5, progress=killed, **HOW)
    for other, how in (([folder], {"align": "always"}), ([folder, folder], HOW)):
        with pytest.raises(ValueError, match="another"):
            condition_on_set(engine, other, kept, 0.5, **how)
    found = condition_on_set(engine, [folder], kept, 0.5, progress=lambda *a: read.append(a[0]), **HOW)
    assert read == [6, 8]
    assert_conditions_alike(found, folder, engine)


@pytest.mark.parametrize("most", [2, 3])
def test_of_a_larger_set_an_even_sample_is_kept_and_all_count(folder, engine, tmp_path, monkeypatch, most):
    monkeypatch.setattr(sets, "_CHUNK", 3)
    monkeypatch.setattr(sets, "MOST_KEPT", most)
    found = condition_on_set(engine, [folder], tmp_path / "kept", 0.5, **HOW)
    assert_conditions_alike(found, folder, engine)
    z = engine.read(sorted(folder.glob("*.png")), align="never").z
    torch.testing.assert_close(found.latents, z[:: 4 if most == 2 else 3], atol=1e-5, rtol=1e-5)
    assert found.weights.sum() == pytest.approx(N)


def test_a_set_without_images_is_said(engine, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="no images"):
        condition_on_set(engine, [tmp_path / "empty"], tmp_path / "kept", 0.5)
    (tmp_path / "empty" / "broken.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="can be used"):
        condition_on_set(engine, [tmp_path / "empty"], tmp_path / "kept", 0.5)
