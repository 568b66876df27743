"""A prior at work: samples that decode, series of them, and previews."""

import math

import pytest
import torch

from transflow_core import compute
from transflow_core.compute import project, unusable
from transflow_core.engine import Engine
from transflow_core.posterior import Gaussian, standard_normal

from .helpers import METHODS, make_own_prior, squares


@pytest.fixture
def engine(tiny_prior):
    return Engine(tiny_prior, batch_size=3)


@pytest.mark.parametrize("kind", METHODS)
def test_a_method_changes_what_is_drawn_and_shares_its_noise_with_previews(engine, kind):
    posterior = engine.read(squares(4)).posterior()
    samplers = {name: engine.draw(posterior, how) for name, how in METHODS.items()}
    x = {name: engine.sample(sampler, 3, seed=5).images for name, sampler in samplers.items()}
    assert all((x[kind] - other).abs().mean() > 1e-3 for name, other in x.items() if name != kind)
    torch.testing.assert_close(
        engine.sample(samplers[kind], 3, seed=5, preview=True).images, x[kind], atol=2 / 255, rtol=0
    )


def test_the_prior_itself_can_be_sampled(engine):
    x = engine.sample(Gaussian.standard(engine.prior.dim), 5, temperature=0.0).images
    assert x.shape == (5, 3, 16, 16) and x.isfinite().all()
    # One latent, one image: but for the last bit, since torch sums in another order where a core has more images.
    torch.testing.assert_close(x, x[:1].expand_as(x), atol=1e-6, rtol=0)


def decode(z):
    """A flow that overflows where a latent is longer than 2, and is grey elsewhere, by the latent's length."""
    length = z.norm(dim=1)
    images = (0.2 + length / 10)[:, None, None, None].expand(-1, 3, 4, 4).clone()
    images[length > 2, :, 0, 0] = math.nan
    return images


def test_rows_go_no_further_than_they_must():
    centre, z = torch.tensor([0.5, 0.0]), torch.tensor([[10.0, 0.0], [0.0, -50.0]])
    for found, ray in zip(project(decode, z, centre) - centre, z - centre, strict=True):
        assert torch.nn.functional.cosine_similarity(found, ray, dim=0) > 0.999
        # The next bisection step beyond it does not decode.
        further = centre + (found.norm() / ray.norm() + 1 / 32) * ray
        assert (centre + found).norm() <= 2 < further.norm()
    assert project(lambda z: math.nan * decode(z), z, centre).equal(centre.expand(2, 2)), "nothing decodes"


def test_not_finite_or_saturated():
    images = torch.rand(5, 3, 8, 8) * 0.8 + 0.1
    images[1, 0, 0, 0] = math.inf
    images[2] = (images[2] > 0.5).float()  # only ends of the range
    images[3] = 1.0  # white paper
    images[4, :, :3] = 0.0
    assert unusable(images).tolist() == [False, True, True, False, False]


def test_each_row_may_have_a_centre_and_a_wrong_of_its_own():
    z, centres = torch.tensor([[0.0, 1.9], [8.0, 0.0]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    found = project(decode, z, centres, lambda images: images[:, 0, 1, 1] > 0.35)
    assert found[0, 0] == 0 and 1 < found[0, 1] <= 1.5 and found[1, 1] == 0 and 1 < found[1, 0] <= 1.5


@pytest.fixture
def in_bfloat16(monkeypatch):
    """A processor with tiles of bfloat16."""
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"amx_bf16": True}, raising=False)


def test_nets_in_bfloat16_change_nothing_that_is_seen(celeba64, in_bfloat16):
    fast = Engine(celeba64).fast
    z = standard_normal(4, celeba64.dim, seed=5)
    error = (fast.decode(z) - celeba64.decode(z)).abs().max()
    assert fast is not celeba64 and 0 < error <= 2 / 255
    assert fast.flow is celeba64.flow  # no second copy in memory


@pytest.mark.parametrize("why", ["no tiles", "a torch that cannot tell", "too far off"])
def test_without_tiles_or_too_far_off_it_stays_in_float32(celeba64, in_bfloat16, why, monkeypatch):
    if why == "no tiles":
        monkeypatch.setattr("torch.cpu.get_capabilities", dict, raising=False)
    elif why == "too far off":
        monkeypatch.setattr(compute, "_LARGEST_ERROR", 1e-6)
    else:
        monkeypatch.delattr("torch.cpu.get_capabilities")
    assert Engine(celeba64).fast is celeba64


def test_evidence_is_inverted_in_float32_whatever_previews_do(celeba64, in_bfloat16):
    """Both use the same weights."""
    engine = Engine(celeba64)
    x = celeba64.decode(standard_normal(2, celeba64.dim))
    before = celeba64.encode(x)
    engine.sample(Gaussian.standard(celeba64.dim), 1, preview=True)
    assert celeba64.encode(x).equal(before)


def test_your_own_model_is_shown_as_it_is(in_bfloat16):
    prior = make_own_prior()
    engine, normal = Engine(prior), Gaussian.standard(prior.dim)
    assert engine.fast is prior
    assert engine.sample(normal, 2, preview=True).images.equal(engine.sample(normal, 2).images)
