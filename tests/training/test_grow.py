"""`train --grow`: one level, trained for itself on a prior that stays as it is."""

import re

import numpy as np
import pytest
import torch

from transflow_core.flows.wavelet import WaveletGlow
from transflow_core.priors.catalogue import load_prior
from transflow_core.training import Train, measure, trainer
from transflow_core.training.data import batch, condition_noise
from transflow_core.training.measure import BitsPerDim, bits_per_level
from transflow_core.training.plan import plan, words_of
from transflow_core.training.processes import Processes

from .conftest import DETAILS, card, conforms, image_set, same, tiny, train

IMAGES = image_set(64, 24, 64)


def settings(**asked):
    return tiny(**{"bits": 8, "batch_size": 8} | asked)


@pytest.fixture(scope="module")
def base(disc_set, tmp_path_factory):
    """tiny32 after some steps."""
    folder = tmp_path_factory.mktemp("base")
    train(disc_set, folder, tiny(steps=40))
    return load_prior(folder, device="cpu")


@pytest.fixture(scope="module")
def grown(base, tmp_path_factory):
    """A level on it after some steps: the run's result, and the prior."""
    folder = tmp_path_factory.mktemp("grown")
    result = train(IMAGES, folder, settings(steps=40, half=True), DETAILS, grow=base)
    return result, load_prior(folder, device="cpu"), folder


def test_a_level_learns_on_a_prior_that_stays_as_it_is(base, grown):
    result, prior, folder = grown
    bits = [row["held_out_bits"] for row in result.measured]
    assert bits[-1] < bits[0] - 0.3, bits
    assert (prior.image_size, prior.dim, prior.pixels.bits) == (64, 64 * 64 * 3, 8)
    assert [level.name for level in prior.levels] == ["32×32", "16×16", "8×8", "4×4"]
    same(prior.flow.base.state_dict(), base.flow.state_dict(), 1e-3)  # float16
    conforms(prior, folder, 1e-3)
    for words in ("unchanged but for float16", "the finest level above", "images of 8 bits"):
        assert words in card(folder)
    said = re.search(r"32×32 ([\d.]+)", card(folder))
    assert said and float(said[1]) == pytest.approx(bits[-1], abs=0.01)  # of float16, and other batches
    assert "## grown" in card(folder) and "## base" in card(folder)


def test_what_was_grown_holds_the_prior_below_and_all_that_is_known_of_it(base, grown):
    small = grown[1].at(32)
    assert grown[1].sizes == (64, 32)
    assert (small.name, small.pixels, small.typicality) == (base.name, base.pixels, base.typicality)
    assert small.metadata == words_of(base) and "maximum likelihood" in base.metadata["training"]
    assert base.metadata["training"] in card(grown[2])
    bits = small.bits_per_dim(IMAGES.held_out.reshape(24, 32, 2, 32, 2, 3).mean((2, 4)).round().astype(np.uint8))
    said = float(re.findall(r"\*\*Held out\*\*: ([\d.]+) bits per dimension in all", card(grown[2]))[1])
    assert said == pytest.approx(float(bits.mean()), abs=4 * float(bits.std()) / len(bits) ** 0.5)


def test_bits_of_a_level_have_the_convention_of_the_whole(grown):
    """The levels' bits, weighted by their dimensions, are the whole's; the finest is what was trained."""
    prior = grown[1]
    x = batch(IMAGES.held_out, prior.pixels, 0, size=16, seed=0, mirror=False)
    levels = bits_per_level(prior.flow, x, prior.pixels.nats_per_dim)
    assert [(level["level"], level["dim"]) for level in levels] == [("32×32", 9216), ("rest", 3072)]
    whole = float(BitsPerDim(prior.flow, prior.pixels)(x).mean())
    assert sum(level["dim"] * level["bits"] for level in levels) / prior.dim == pytest.approx(whole, abs=1e-4)
    alone = BitsPerDim(prior.flow.details, prior.pixels)
    assert levels[0]["bits"] == pytest.approx(float(alone(x).mean()), abs=1e-5)
    # Noise on the condition changes what the level is given, and nothing else: it costs bits, and few.
    noise = condition_noise((3, 32, 32), 0, most=0.01, size=16, seed=0)
    assert 0 < float((alone(x, noise) - alone(x)).abs().max()) < 1


def test_bits_of_levels_count_each_image_once(grown, monkeypatch):
    """Of three images in batches of two: a level's bits are their mean."""
    monkeypatch.setattr(measure, "_BATCH", 2)
    prior, images, seen = grown[1], IMAGES.held_out[:3], []
    real = measure.bits_per_level
    monkeypatch.setattr(measure, "bits_per_level", lambda flow, x, nats: seen.extend(x) or real(flow, x, nats))
    found = measure.bits_of_levels(prior, images)
    shown = (torch.stack(seen).permute(0, 2, 3, 1) + 0.5) * 256
    assert sorted(map(bytes, shown.floor().byte().numpy())) == sorted(map(bytes, images))
    for level, expected in zip(found, real(prior.flow, torch.stack(seen), prior.pixels.nats_per_dim), strict=True):
        assert level["bits"] == pytest.approx(expected["bits"], abs=1e-5)


def test_a_level_begins_with_another_and_grows_again(base, grown, tmp_path):
    prior = grown[1]
    train(IMAGES, tmp_path / "a", settings(steps=1, learning_rate=1e-9), DETAILS, start=prior, grow=base)
    begun = load_prior(tmp_path / "a", device="cpu")
    same(begun.flow.details.state_dict(), prior.flow.details.state_dict(), 1e-6)
    train(image_set(8, 4, 128), tmp_path / "b", settings(steps=1, batch_size=2), DETAILS, grow=prior)
    twice = load_prior(tmp_path / "b", device="cpu")
    assert twice.image_size == 128 and isinstance(twice.flow.base, WaveletGlow)


def test_steps_on_a_whole_make_new_priors_of_all_sizes(grown, tmp_path):
    prior = grown[1]
    for steps in (0, 1):
        train(IMAGES, tmp_path / str(steps), settings(steps=steps), prior.flow.config, start=prior)
    kept, new = (load_prior(tmp_path / steps, device="cpu").at(32) for steps in "01")
    assert (kept.name, kept.metadata) == (prior.at(32).name, prior.at(32).metadata)
    assert kept.typicality == prior.at(32).typicality and kept.fingerprint == prior.at(32).fingerprint
    assert new.name == "1-32" and "from the weights of grown" in new.metadata["training"] and new.typicality.n == 24


def test_levels_are_put_on_another_prior_without_training(disc_set, grown, tmp_path):
    """`--grow BASE --start LEVELS --steps 0`: the base with all that is known of it, and the levels as they are."""
    prior, images = grown[1], image_set(8, 4, 128)
    train(images, tmp_path / "a", settings(steps=1, batch_size=2), DETAILS, grow=prior)
    train(disc_set, tmp_path / "b", tiny(steps=2))
    asked = Train(grow=str(tmp_path / "b"), start=str(tmp_path / "a"), steps=0, nets="float32", data_words="discs")
    made = plan(asked, tmp_path / "c", torch.device("cpu"))
    group = Processes(0, 1, torch.device("cpu"))
    result = trainer.train(images, tmp_path / "c", made, group)
    assert result.finished and result.step == 0
    (above, other), whole = (load_prior(tmp_path / name, device="cpu") for name in "ab"), load_prior(tmp_path / "c")
    same(whole.flow.details.state_dict(), above.flow.details.state_dict())
    same(whole.flow.base.details.state_dict(), above.flow.base.details.state_dict())
    same(whole.flow.base.base.state_dict(), other.flow.state_dict())
    assert whole.sizes == (128, 64, 32)
    assert [whole.at(side).name for side in whole.sizes] == ["c", prior.name, "b"]
    # How each level came about is still said; what was measured above another base was measured anew.
    assert whole.metadata["training"] == above.metadata["training"] and whole.metadata["data"] == "discs"
    assert whole.at(32).fingerprint == other.fingerprint and whole.at(32).typicality == other.typicality
    assert whole.at(64).typicality.n == 4 and whole.at(64).typicality != prior.typicality
    assert whole.at(64).metadata["training"] == prior.metadata["training"]
    conforms(whole, tmp_path / "c", 1e-5)
    assert "unchanged. The levels above" in card(tmp_path / "c") and "nothing was trained" in card(tmp_path / "c")
