"""`train --grow`: one level, trained for itself on a prior that stays as it is."""

import pytest

from transflow_core.flows import WaveletGlow
from transflow_core.priors.catalogue import load_prior
from transflow_core.training.data import batch, condition_noise
from transflow_core.training.density import BitsPerDim, bits_per_level

from .conftest import DETAILS, card, conforms, ends_in_the_same_bits, image_set, same, tiny, train

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
    for words in ("the level above", "images of 8 bits", f"32×32 {result.levels[0]['bits']:.4f}"):
        assert words in card(folder)


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


def test_a_run_that_was_stopped_ends_in_the_same_bits_above_any_base(disc_set, base, grown, tmp_path):
    ends_in_the_same_bits(IMAGES, tmp_path, settings(steps=12), DETAILS, grow=base)
    # The level does not depend on what is below: a run that has ended goes on above another base.
    train(disc_set, tmp_path / "other", tiny(steps=1))
    other = load_prior(tmp_path / "other", device="cpu")
    train(IMAGES, tmp_path / "parts", settings(steps=12, resume=True), DETAILS, grow=other)
    moved, whole = (load_prior(tmp_path / name, device="cpu").flow for name in ("parts", "whole"))
    same(moved.details.state_dict(), whole.details.state_dict())
    same(moved.base.state_dict(), other.flow.state_dict())


def test_a_level_begins_with_another_and_grows_again(base, grown, tmp_path):
    prior = grown[1]
    train(IMAGES, tmp_path / "a", settings(steps=1, learning_rate=1e-9), DETAILS, start=prior, grow=base)
    begun = load_prior(tmp_path / "a", device="cpu")
    same(begun.flow.details.state_dict(), prior.flow.details.state_dict(), 1e-6)
    train(image_set(8, 4, 128), tmp_path / "b", settings(steps=1, batch_size=2), DETAILS, grow=prior)
    twice = load_prior(tmp_path / "b", device="cpu")
    assert twice.image_size == 128 and isinstance(twice.flow.base, WaveletGlow)
