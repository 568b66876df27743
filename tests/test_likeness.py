"""`benchmarks.likeness`: laws of its distances, and a row of it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import likeness
from benchmarks.distances import energy_distance, interval, kid, precision_recall
from benchmarks.features import DESCRIPTOR, FEATURES, pixels
from benchmarks.methods import DEFAULT, GIVEN, HELD_OUT, METHODS, MIRRORED, PRIOR, Given, Method, Shown
from transflow_core.engine import Engine

from .helpers import make_tiny_prior


def rows(n: int, d: int = 5, seed: int = 0, shift: float = 0.0, scale: float = 1.0) -> np.ndarray:
    return shift + scale * np.random.default_rng(seed).normal(size=(n, d))


@pytest.mark.parametrize("distance", [energy_distance, kid])
def test_distances_are_zero_on_the_mean_within_one_distribution_and_grow_with_the_shift(distance):
    same = [distance(rows(12, seed=2 * i), rows(15, seed=2 * i + 1)) for i in range(400)]
    assert abs(np.mean(same)) < 4 * np.std(same) / 20
    near, far = (distance(rows(200), rows(200, seed=1, shift=shift)) for shift in (0.5, 2.0))
    assert 0 < near < far
    points = np.array([[0.0], [2.0]]), np.array([[1.0], [5.0]])
    assert energy_distance(*points) == pytest.approx(2 * (1 + 5 + 1 + 3) / 4 - 2 - 4)
    assert distance(rows(20), rows(9, seed=1)) == pytest.approx(distance(rows(9, seed=1), rows(20)))


def test_two_halves_of_a_set_are_as_near_as_one_distribution():
    halves = [(rows(10, 300, seed=2 * i), rows(10, 300, seed=2 * i + 1)) for i in range(60)]
    found = [likeness.compared(given, given, held_out)["energy"] for given, held_out in halves]
    assert abs(np.mean(found)) < 4 * np.std(found) / 60**0.5
    assert min(found) > -5 and max(found) < 5 < likeness.compared(rows(10, 300, shift=1), *halves[0])["energy"]


def test_precision_and_recall_see_what_is_missing():
    real = np.concatenate([rows(50), rows(50, seed=1, shift=20)])
    assert precision_recall(real, real) == (1, 1)
    half = rows(60, seed=2)
    precision, recall = precision_recall(half, real)
    assert precision > 0.8 and 0.3 < recall <= 0.5
    assert precision_recall(rows(60, seed=3, shift=100), real) == (0, 0)
    assert precision_recall(rows(2), rows(2)) == (1, 1)


def test_an_interval_holds_the_mean_as_often_as_it_says():
    rng, held = np.random.default_rng(0), 0
    for trial in range(200):
        low, high = interval([rng.normal(size=20)], resamples=300, seed=trial)
        held += low < 0 < high
    assert 178 <= held <= 199
    # Two groups that differ are drawn themselves; their sizes do not weigh.
    assert interval([[0.0] * 50, [1.0]]) == (0, 1)


def photographs(folder: Path, colour: int, n: int) -> Path:
    """n pictures of noise around one grey."""
    folder.mkdir()
    rng = np.random.default_rng(colour)
    for index in range(n):
        noisy = rng.integers(colour, colour + 60, (64, 64, 3)).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{index}.png")
    return folder


def test_a_row_is_measured_of_real_files(tmp_path, monkeypatch):
    monkeypatch.setitem(FEATURES, "network", pixels)
    monkeypatch.setitem(FEATURES, DESCRIPTOR, pixels)
    engine = Engine(make_tiny_prior(side=32))
    pictures = likeness.Set(photographs(tmp_path / "greyscale", 100, 8), engine.prior)
    inside, _ = pictures.halves(0)
    given = Given(engine, pictures.z[torch.from_numpy(inside)], pictures.images[inside], 3, 0)
    spaces = list(FEATURES)
    found = {
        name: likeness.turn(pictures, METHODS[name], given, 0, spaces)
        for name in (HELD_OUT, GIVEN, MIRRORED, DEFAULT, PRIOR)
    }
    assert found[HELD_OUT]["network"].keys() == {"novelty", "novelty_given", "tenth", "near"}
    assert found[HELD_OUT]["network"]["novelty"] == pytest.approx(1)
    for name in (GIVEN, MIRRORED):
        assert found[name]["network"]["novelty"] == pytest.approx(0, abs=1e-5) and found[name]["noisy"] == 0
    assert 0 < found[DEFAULT][DESCRIPTOR]["novelty"] < found[PRIOR][DESCRIPTOR]["novelty"]
    assert found[HELD_OUT][DESCRIPTOR]["within"] == 1 and "projected" in found[DEFAULT]
    # Torn are those that were drawn again, whatever is left of them.
    shown = Shown(given.images[:3], redrawn=np.array([True, False, False]), projected=np.array([True, True, False]))
    row = likeness.turn(pictures, Method("m", "t", lambda given: shown), given, 0, [])
    assert (row["noisy"], row["noisy_shown"], row["projected"]) == pytest.approx((1 / 3, 0, 2 / 3))
