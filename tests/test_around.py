"""More like one sample, and along the set's own directions: their laws, and pictures that tell how they were made."""

import pytest
import torch

from transflow_core.operations import sampler_of
from transflow_core.posterior import Covariance, Gaussian, Posterior
from transflow_core.posterior.around import Around
from transflow_core.posterior.guard import Looks
from transflow_core.recipes import Sample
from transflow_core.views import from_metadata

from .helpers import METHODS, squares
from .test_local import LEVELS, D, close, evidence, looks_of

GAUSSIAN = Gaussian(torch.tensor([1.0, -2.0]).double(), Covariance(0.5, torch.tensor([[1.0], [2.0]]).double()))
SET, LOOKS = Posterior.condition(evidence(), 0.5, weights=[1, 2, 1, 1, 0.5, 1]), looks_of()
kinds = pytest.mark.parametrize("kind", METHODS)


def test_around_a_draw_of_a_gaussian_is_the_posterior_of_that_draw():
    z = torch.tensor([3.0, 0.5]).double()
    around = Around(GAUSSIAN, z, 10**9)
    draws = around.sample(20_000)
    close(draws.mean(0), GAUSSIAN.mean + 0.8 * (z - GAUSSIAN.mean), 0.03)
    close(torch.cov(draws.T), (1 - 0.8**2) * (0.5 * torch.eye(2) + torch.tensor([[1.0, 2.0], [2.0, 4.0]])), 0.05)


@kinds
def test_the_sample_keeps_its_place_and_the_others_their_noise(kind):
    sampler = SET.draw(METHODS[kind], LEVELS, LOOKS)
    z = sampler.sample(5, seed=3)
    around = Around(sampler, z[2], 2)
    drawn = around.sample(5, seed=3)
    assert drawn[2].equal(z[2])
    assert around.sample(2, seed=3, start=2).allclose(drawn[2:4]) and not around.sample(5, seed=4)[1].allclose(drawn[1])
    again = Around(sampler, drawn[2], 2, depth=2).sample(5, seed=3)
    assert not again[1].allclose(drawn[1]) and again[2].equal(z[2])
    near, far = ((rows[torch.arange(5) != 2] - z[2]).norm(dim=1).mean() for rows in (drawn, z))
    assert near < far


def test_directions_make_up_the_covariance_of_the_set_and_its_mirror_images():
    found = SET.directions(LOOKS, LEVELS)
    z, weights = torch.cat([SET.latents, LOOKS.mirrored]), SET.weights.repeat(2) / (2 * SET.weights.sum())
    apart = z - weights @ z
    close(found.T @ found, apart.T @ (weights[:, None] * apart), 1e-6)
    other = torch.tensor([3, 0, 1, 5, 4, 2])
    same = Posterior.condition(SET.latents[other], 0.5, weights=SET.weights[other])
    close(same.directions(LOOKS.of(other), LEVELS)[:3], found[:3], 1e-5)


def test_the_first_direction_is_the_one_that_is_seen_most():
    """Of images that differ in light alone, the first direction has all of the difference."""
    light = torch.linspace(-1, 1, 6).double()
    images = (0.5 + 0.3 * light.float())[:, None, None, None].expand(6, 3, 16, 16)
    z = light[:, None] * torch.ones(1, D)
    first, *others = Posterior.condition(z, 0.5).directions(Looks(images, z, None), LEVELS)
    close(first.abs(), light.square().mean().sqrt().expand(D), 1e-5)
    assert all(one.abs().max() < 1e-6 for one in others)


def test_fine_levels_stay_where_they_are():
    fine = torch.zeros(D, dtype=torch.bool)
    fine[:64] = True
    levels = [type(LEVELS[0])("fine", (1, 16, 4), slice(0, 64)), slice(64, D)]
    assert not SET.directions(LOOKS, levels)[:, fine].any() and SET.directions(LOOKS, levels)[:, ~fine].any()


@kinds
def test_moves_are_linear_and_no_move_is_none(kind):
    def draw(*along):
        return SET.draw(METHODS[kind].replace(lam_ratio=1.0), LEVELS, LOOKS, along).sample(3, seed=1)

    still, found = draw(), SET.directions(LOOKS, LEVELS)
    assert draw(0, 0.0).equal(still)
    close(draw(2, -1) - still, ((2 * found[0] - found[1]) / 2).expand_as(still), 1e-6)  # λ/m = 1 halves all of the set
    far = METHODS[kind].replace(lam_ratio=float("inf"))
    assert SET.draw(far, LEVELS, LOOKS, (3,)).sample(2).equal(SET.draw(far, LEVELS, LOOKS).sample(2))


def test_few_images_have_few_directions():
    one = Posterior.condition(evidence(1), 0.5)
    with pytest.raises(ValueError, match=r"^1 images do not have 2 directions; give more images$"):
        one.draw(METHODS["local"], LEVELS, looks_of(1), (1, 1))


@pytest.mark.parametrize(
    "values", [{"near": (2,)}, {"near": (2, 0)}, {"along": (1, -0.5)}, {"near": (1,), "along": (1,)}]
)
def test_a_picture_tells_how_it_was_made(engine, values):
    found = engine.read(squares(4))
    result = engine.run(Sample(n=3, seed=5, **values), evidence=found)
    recipe = from_metadata(result.metadata)
    assert {name: getattr(recipe, name) for name in values} == values
    again, plain = (engine.run(one, evidence=found) for one in (recipe, Sample(n=3, seed=5)))
    assert again.overview.tobytes() == result.overview.tobytes() != plain.overview.tobytes()


def test_the_sample_is_among_those_around_it(engine):
    found = engine.read(squares(4)).posterior()
    recipe = Sample(method="local", seed=5, temperature=0.7).filled()
    sheet = engine.sample(sampler_of(engine, recipe, found), 4, seed=5, temperature=0.7)
    for near in ((2,), (2, 2)):
        around = engine.sample(sampler_of(engine, recipe.replace(near=near), found), 4, seed=5, temperature=0.7)
        # On several threads one draw and a batch differ in their last bits.
        close(around.z[2], sheet.z[2], 1e-4)
        assert (around.z[1] - sheet.z[1]).abs().max() > 0.1


def test_a_server_counts_the_samples_on_the_way():
    assert Sample(n=4, near=(1, 2, 3)).cost() == 7
