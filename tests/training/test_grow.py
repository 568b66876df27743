"""`train --grow`: one level, trained for itself on a prior that stays as it is."""

import numpy as np
import pytest
import torch

from transflow_core.engine import Engine
from transflow_core.flows import GlowConfig, LevelConfig, PixelConvention, WaveletConfig, WaveletGlow
from transflow_core.posterior import Posterior, per_level
from transflow_core.priors.catalogue import load_prior
from transflow_core.training import TrainingError
from transflow_core.training.data import ImageSet, batch, condition_noise
from transflow_core.training.density import BitsPerDim, bits_per_level

from .conftest import DETAILS, TINY, discs, run_in_parts, same_bits, tiny, train

IMAGES = ImageSet(discs(64, 64), discs(24, 64, seed=1), "larger discs", {})


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
    for name, tensor in base.flow.state_dict().items():
        torch.testing.assert_close(prior.flow.base.state_dict()[name], tensor, atol=1e-4, rtol=1e-3)  # float16
    with np.load(folder / "conformance.npz") as data:
        assert np.abs(prior.encode(data["images"]).numpy() - data["z"]).max() < 1e-3
        assert np.abs(prior.decode(torch.from_numpy(data["sample_z"])).numpy() - data["sample"]).max() < 1e-3
    card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "the level above" in card and "images of 8 bits" in card and f"32×32 {result.levels[0]['bits']:.4f}" in card


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


def test_posteriors_samples_and_previews_are_as_on_any_prior(grown):
    prior = grown[1]
    z = prior.encode(IMAGES.held_out[:5])
    torch.testing.assert_close(prior.decode(z), prior.to_unit(IMAGES.held_out[:5]), atol=1e-4, rtol=0)
    posterior = Posterior.condition(z, lam_ratio=per_level([0.1, 0.5, 0.5, 1.0], prior.levels))
    x = prior.decode(posterior.sample(3, seed=0))
    coarse = prior.decode(posterior.sample(3, seed=0), coarse=True)
    assert x.shape == (3, 3, 64, 64) and coarse.shape == (3, 3, 32, 32)
    assert Engine(prior).sample(posterior, 3, seed=0).images.equal(x)
    assert Engine(prior).sample(posterior, 3, seed=0, preview=True).images.shape == coarse.shape
    inside = ((x > 0) & (x < 1)).all()  # what was clipped has another mean
    assert (coarse - torch.nn.functional.avg_pool2d(x, 2)).abs().max() < (1e-5 if inside else 0.25)


def test_the_log_scales_that_are_predicted_are_bounded(grown):
    flow = grown[1].flow
    context = flow.details.context(1000 * torch.rand(1, 3, 32, 32))
    assert flow.details.mean_and_log_std(context)[1].abs().max() <= DETAILS.prior_cap
    assert "prior_cap" not in WaveletConfig(TINY).to_dict()["details"]  # files of before keep their fingerprints


def test_a_run_that_was_stopped_ends_in_the_same_bits_above_any_base(disc_set, base, grown, tmp_path):
    run_in_parts(IMAGES, tmp_path, settings(steps=12), DETAILS, grow=base)
    same_bits(tmp_path)
    # The level does not depend on what is below: a run that has ended goes on above another base.
    train(disc_set, tmp_path / "other", tiny(steps=1))
    other = load_prior(tmp_path / "other", device="cpu")
    train(IMAGES, tmp_path / "parts", settings(steps=12, resume=True), DETAILS, grow=other)
    moved = load_prior(tmp_path / "parts", device="cpu").flow
    for name, tensor in load_prior(tmp_path / "whole", device="cpu").flow.details.state_dict().items():
        assert tensor.equal(moved.details.state_dict()[name]), name
    assert all(tensor.equal(moved.base.state_dict()[name]) for name, tensor in other.flow.state_dict().items())


def test_a_level_begins_with_another_and_grows_again(base, grown, tmp_path):
    prior = grown[1]
    train(IMAGES, tmp_path / "a", settings(steps=1, learning_rate=1e-9), DETAILS, start=prior, grow=base)
    state = load_prior(tmp_path / "a", device="cpu").flow.details.state_dict()
    for name, tensor in prior.flow.details.state_dict().items():
        torch.testing.assert_close(tensor, state[name], atol=1e-6, rtol=0, msg=name)
    images = ImageSet(discs(8, 128), discs(4, 128), "largest discs", {})
    train(images, tmp_path / "b", settings(steps=1, batch_size=2), DETAILS, grow=prior)
    twice = load_prior(tmp_path / "b", device="cpu")
    assert twice.image_size == 128 and isinstance(twice.flow.base, WaveletGlow)
    for how, message in (
        ({"shape": DETAILS}, "a prior to grow"),
        ({"shape": GlowConfig(64, (LevelConfig(1, 8),)), "grow": base}, "only such a level"),
        ({"shape": DETAILS, "grow": base, "start": base}, "another architecture"),
    ):
        with pytest.raises(TrainingError, match=message):
            train(IMAGES, tmp_path / "c", settings(steps=1), **how)
    with pytest.raises(TrainingError, match="a whole flow"):
        train(IMAGES, tmp_path / "c", settings(steps=1, checkerboard=1.0), DETAILS, grow=base, start=prior)


def test_noise_on_the_condition_follows_from_seed_and_step():
    whole = condition_noise((3, 8, 8), 2, most=0.5, size=400, seed=0)
    parts = [condition_noise((3, 8, 8), 2, most=0.5, size=400, seed=0, part=(index, 2)) for index in range(2)]
    assert torch.cat(parts).equal(whole) and not whole.equal(condition_noise((3, 8, 8), 3, most=0.5, size=400, seed=0))
    spread = whole.flatten(1).std(1)
    assert spread.max() < 0.6 and spread.min() < 0.05 and float(spread.mean()) == pytest.approx(0.25, abs=0.03)
    assert PixelConvention(bits=8).nats_per_dim == pytest.approx(8 * np.log(2))
