"""Sampling methods: their exact limits, their moments, common random numbers, composition and files."""

import math

import pytest
import torch

from transflow_core.posterior import Covariance, Gaussian, Posterior, compose, interpolate, per_level, recommend
from transflow_core.posterior.bootstrap import dirichlet_weights, image_noise
from transflow_core.posterior.gaussian import Sampler
from transflow_core.posterior.shrinkage import ShrinkageCovariance
from transflow_core.posterior.transport import turned

from .helpers import by_bootstrap, by_local, by_posterior
from .test_posterior import close, normal

D, M = 40, 12
LEVELS = (slice(0, 24), slice(24, 34), slice(34, 40))


EVIDENCE = per_level([0.4, 0.8, 1.0], LEVELS).double() * normal(M, D) + 0.5 * normal(D, seed=1)
POSTERIOR = Posterior.condition(EVIDENCE, lam_ratio=0.3)
METHODS = {
    "posterior": by_posterior(0.4),
    "per level": by_posterior([0.1, 0.4, 2.0]),
    "local": by_local(0.8, 0.1),
    "local, per level": by_local(0.5, [0.1, 0.2, 0.3]),
    "local, newest": by_local(0.0),
    "bootstrap": by_bootstrap(3),
    "bootstrap, per level": by_bootstrap(2, [0.0, 0.1, 0.2]),
}


every_method = pytest.mark.parametrize("how", METHODS.values(), ids=METHODS.keys())


EQUAL = torch.full((M,), 1 / M, dtype=torch.float64)
UNEQUAL = torch.arange(1.0, M + 1, dtype=torch.float64) / 78


@pytest.mark.parametrize("k", [1.0, 1.2, 2.0, 5.0, 11.0, 12.0, 100.0])
@pytest.mark.parametrize("shares", [EQUAL, UNEQUAL])
def test_weights_have_the_moments_of_the_dirichlet_distribution(shares, k):
    weights = dirichlet_weights(shares, M, k, image_noise(4000, M, seed=1, start=0))
    close(weights.sum(1), torch.ones(4000).double(), 1e-12)
    assert (weights >= 0).all()
    close(weights.mean(0), shares, 0.02)
    # k = (mα + 1) / (α + 1) with α = A / m, and Var wᵢ = sᵢ (1 - sᵢ) / (A + 1).
    total = math.inf if k >= M else (k - 1) / (1 - k / M)
    expected = shares.square().sum() + (shares * (1 - shares)).sum() / (total + 1)
    assert weights.square().sum(1).mean().item() == pytest.approx(expected.item(), rel=0.03)
    if shares is EQUAL:
        assert expected.item() == pytest.approx(1 / min(k, M))


def test_weights_move_continuously_from_one_image_to_all_and_share_their_noise():
    def weights(k):
        return POSTERIOR.draw(by_bootstrap(k), LEVELS).weights(20, seed=3)

    noise, path = image_noise(20, M, seed=3, start=0), torch.stack([weights(1 + 11 * i / 300) for i in range(301)])
    assert path.diff(dim=0).abs().max() < 0.4
    assert path[0].max(1).values.equal(torch.ones(20).double()) and path[-1].equal(EQUAL.expand(20, M))
    close(weights(1 + 1e-5), path[0], 0.05)
    assert image_noise(5, M - 4, seed=3, start=15).equal(noise[15:, : M - 4])


@pytest.mark.parametrize("ratio", [0.0, 0.3, math.inf])
def test_a_bootstrap_of_all_images_is_the_papers_posterior(ratio):
    bootstrap, paper = POSTERIOR.draw(by_bootstrap(M, ratio), LEVELS), POSTERIOR.with_lam(ratio)
    close(bootstrap.sample(5, seed=2), paper.sample(5, seed=2), 1e-12)
    if math.isinf(ratio):
        prior = Gaussian.standard(D, torch.float64).sample(3, seed=1)
        close(POSTERIOR.draw(by_bootstrap(3, ratio), LEVELS).sample(3, seed=1), prior, 1e-12)


@pytest.mark.parametrize("prior", [None, Gaussian(normal(D, seed=4), Covariance(0.7, normal(D, 2, seed=5)))])
@pytest.mark.parametrize("likelihood", [Covariance(1.0), Covariance(0.5, 0.3 * normal(D, 3, seed=6))])
def test_each_draw_of_a_bootstrap_is_of_the_posterior_under_its_weights(prior, likelihood):
    posterior = Posterior.condition(EVIDENCE, 0.3, prior=prior, likelihood=likelihood)
    bootstrap = posterior.draw(by_bootstrap(3, 0.2), LEVELS)
    z, weights = bootstrap.sample(4, seed=7), bootstrap.weights(4, seed=7)
    for i in range(4):
        own = Posterior.condition(EVIDENCE, 0.2, weights=weights[i], prior=prior, likelihood=likelihood)
        close(z[i], own.sample(1, seed=7, start=i)[0])


@pytest.mark.parametrize("m", [1, 2, 100])
@pytest.mark.parametrize("likeness", [0.0, 1.0])
def test_any_number_of_images_gives_sane_draws(m, likeness):
    z = normal(m, D).float()
    posterior = Posterior.condition(z, lam_ratio=0.1)
    for how in (by_local(likeness, 0.05), by_bootstrap(2), recommend(posterior).method):
        draws = posterior.draw(how, LEVELS).sample(16)
        # As long as the evidence is, within what 40 dimensions let expect.
        assert 0.2 < draws.square().mean() / z.square().mean() < 1.6
    if m == 1:
        close(posterior.draw(by_bootstrap(1), LEVELS).sample(3), posterior.sample(3), 1e-6)
        assert not posterior.draw(by_local(1.0), LEVELS).deviations(3).any()


@every_method
def test_draws_depend_on_the_seed_alone(how):
    sampler = POSTERIOR.draw(how, LEVELS)
    assert isinstance(sampler, Sampler)
    sheet = sampler.sample(6, seed=5)
    close(sampler.sample(2, seed=5), sheet[:2], 1e-12)
    close(sampler.sample(2, seed=5, start=3), sheet[3:5], 1e-12)
    assert not torch.allclose(sampler.sample(6, seed=6), sheet)
    close(sampler.sample(2, temperature=0.0), sampler.mean.expand(2, D), 1e-12)


@every_method
def test_weighted_evidence_counts_in_every_method(how):
    none = Posterior.condition(EVIDENCE, 0.1, weights=[0.0, *[1.0] * (M - 1)])
    without = Posterior.condition(EVIDENCE[1:], 0.1)
    close(none.draw(how, LEVELS).sample(3), without.draw(how, LEVELS).sample(3))
    if how.method != "posterior":
        heavy = Posterior.condition(EVIDENCE, 0.1, weights=[1e6, *[1.0] * (M - 1)])
        how = by_local(1.0, 0.0) if how.method == "local" else by_bootstrap(2, 0.0)
        assert not torch.cdist(heavy.draw(how, LEVELS).sample(9), EVIDENCE).argmin(1).any()


def test_the_estimate_has_the_variance_of_each_level_and_a_weight_of_two_is_the_image_twice():
    weights, twice = torch.tensor([2.0] + [1.0] * (M - 1)), EVIDENCE[[0, *range(M)]]
    weighted = ShrinkageCovariance.of(EVIDENCE, weights, LEVELS)
    assert weighted.variance == pytest.approx([twice[:, level].var(0).mean().item() for level in LEVELS])
    assert weighted.count == len(twice) == ShrinkageCovariance.of(twice).count
    found = ShrinkageCovariance.of(EVIDENCE, weights * 0.01, LEVELS).variance
    assert found == pytest.approx(weighted.variance, rel=0.02)


def test_structure_from_here_and_style_from_there():
    a, b = POSTERIOR.draw(METHODS["bootstrap"], LEVELS), Gaussian.standard(D, torch.float64)
    both = compose([a, a, b], LEVELS)
    z = both.sample(5, seed=3, temperature=0.8)
    assert z[:, :34].equal(a.sample(5, seed=3, temperature=0.8)[:, :34])
    assert z[:, 34:].equal(b.sample(5, seed=3, temperature=0.8)[:, 34:])
    assert both.mean.equal(torch.cat([a.mean[:34], b.mean[34:]]))
    with pytest.raises(ValueError, match="no path"):
        interpolate(both, b, 0.5)


@pytest.mark.parametrize(("to", "method"), [("posterior", "linear"), ("local, per level", "wasserstein")])
@every_method
def test_any_two_samplers_can_be_interpolated(how, to, method):
    a, b = POSTERIOR.draw(how, LEVELS), Posterior.condition(-EVIDENCE[:5], 0.2).draw(METHODS[to], LEVELS)
    for t, end in ((0, a), (1, b)):
        assert interpolate(a, b, t, method).sample(3, seed=1).equal(end.sample(3, seed=1))
        close(interpolate(a, b, abs(t - 1e-9), method).sample(3, seed=1), end.sample(3, seed=1), 1e-3)
    middle = interpolate(a, b, 0.5, method)
    close(middle.mean, (a.mean + b.mean) / 2)
    assert torch.isfinite(interpolate(middle, b, 0.5, method).sample(3)).all()


@pytest.mark.parametrize("method", ["linear", "wasserstein"])
def test_a_bootstrap_of_all_images_is_interpolated_as_the_paper_does(method):
    a, b = POSTERIOR, Posterior.condition(-EVIDENCE[:5], 0.2)
    bootstraps = [p.draw(by_bootstrap(1000, p.lam_ratio.item()), LEVELS) for p in (a, b)]
    close(interpolate(*bootstraps, 0.3, method).sample(4), interpolate(a, b, 0.3, method).sample(4), 1e-12)


def test_between_two_draws_the_deviation_turns_and_keeps_its_length():
    z, centre = POSTERIOR.draw(by_posterior(), LEVELS).sample(4), POSTERIOR.mean
    a, b = z[:2], z[2:]
    for t in (0.0, 0.3, 0.5, 1.0):
        lengths = [(one - centre).norm(dim=1) for one in (turned(a, b, t, centre), a, b)]
        assert (lengths[0] <= torch.maximum(*lengths[1:]) * 1.001).all()
        assert (lengths[0] >= torch.minimum(*lengths[1:]) * 0.95).all()
    close(turned(a, b, 0, centre), a)
    close(turned(a, b, 1, centre), b)
    assert (turned(a, b, 0.5, centre) - (a + b) / 2).norm() > 0.1  # no straight line
    close(turned(a, a, 0.5, centre), a, 1e-3)
    assert torch.isfinite(turned(a, 2 * centre - a, 0.5, centre)).all()


@pytest.mark.parametrize(("how", "levels"), [(by_bootstrap(), LEVELS[:2]), (by_posterior([0.1, 0.2]), LEVELS)])
def test_levels_must_fit(how, levels):
    with pytest.raises(ValueError, match="level"):
        POSTERIOR.draw(how, levels)
