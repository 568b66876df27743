"""Sampling methods: their exact limits, their moments, common random numbers, composition and files."""

import math

import pytest
import torch
from torch import Tensor

from transflow_core.posterior import (
    MOST_KEPT,
    Blend,
    Covariance,
    Gaussian,
    Posterior,
    Sampler,
    Spread,
    compose,
    interpolate,
    per_level,
    recommend,
)
from transflow_core.posterior.bootstrap import dirichlet_weights, piece_noise
from transflow_core.recipes import Method

from .helpers import by_bootstrap, by_local, by_posterior

D, M = 40, 12
LEVELS = (slice(0, 24), slice(24, 34), slice(34, 40))


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


EVIDENCE = per_level([0.4, 0.8, 1.0], LEVELS).double() * normal(M, D) + 0.5 * normal(D, seed=1)
POSTERIOR = Posterior.condition(EVIDENCE, lam_ratio=0.3)
METHODS = {
    "mean": by_posterior(0.4),
    "per level": by_posterior([0.1, 0.4, 2.0]),
    "local": by_local(0.8, 0.1),
    "local, per level": by_local(0.5, [0.1, 0.2, 0.3]),
    "local, newest": by_local(0.0),
    "bootstrap": by_bootstrap(3),
    "blend, per level": by_bootstrap(2, [0.0, 0.1, 0.2]),
}


def drawn(posterior: Posterior, how: Method) -> Sampler:
    return posterior.draw(how, LEVELS)


every_method = pytest.mark.parametrize("how", METHODS.values(), ids=METHODS.keys())


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(actual, expected.to(actual.dtype), rtol=tolerance, atol=tolerance)


# Dirichlet weights.


EQUAL = torch.full((M,), 1 / M, dtype=torch.float64)
UNEQUAL = torch.arange(1.0, M + 1, dtype=torch.float64) / 78


@pytest.mark.parametrize("pieces", [1.0, 1.2, 2.0, 5.0, 11.0, 12.0, 100.0])
@pytest.mark.parametrize("shares", [EQUAL, UNEQUAL])
def test_weights_have_the_moments_of_the_dirichlet_distribution(shares, pieces):
    weights = dirichlet_weights(shares, M, pieces, piece_noise(4000, M, seed=1, start=0))
    close(weights.sum(1), torch.ones(4000).double(), 1e-12)
    assert (weights >= 0).all()
    close(weights.mean(0), shares, 0.02)
    # k = (mα + 1) / (α + 1) with α = A / m, and Var wᵢ = sᵢ (1 - sᵢ) / (A + 1).
    total = math.inf if pieces >= M else (pieces - 1) / (1 - pieces / M)
    expected = shares.square().sum() + (shares * (1 - shares)).sum() / (total + 1)
    assert weights.square().sum(1).mean().item() == pytest.approx(expected.item(), rel=0.03)
    if shares is EQUAL:
        assert expected.item() == pytest.approx(1 / min(pieces, M))


def test_weights_at_the_ends():
    noise = piece_noise(50, M, seed=1, start=0)
    assert dirichlet_weights(UNEQUAL, 6.5, 6.5, noise).equal(UNEQUAL.expand(50, M))
    one = dirichlet_weights(UNEQUAL, M, 1.0, noise)
    assert one.max(1).values.equal(torch.ones(50).double())
    close(dirichlet_weights(UNEQUAL, M, 1 + 1e-5, noise), one, 0.05)


def test_weights_move_continuously_and_share_their_noise():
    noise = piece_noise(20, M, seed=3, start=0)
    path = torch.stack([dirichlet_weights(EQUAL, M, k, noise) for k in torch.linspace(1, M, 600).tolist()])
    assert path.diff(dim=0).abs().max() < 0.3
    assert piece_noise(5, M, seed=3, start=15).equal(noise[15:])
    assert piece_noise(20, M - 4, seed=3, start=0).equal(noise[:, : M - 4])


# Exact limits.


@pytest.mark.parametrize("ratio", [0.0, 0.3, math.inf])
def test_a_blend_of_all_pieces_is_the_papers_posterior(ratio):
    blend = drawn(POSTERIOR, by_bootstrap(M, ratio))
    paper = POSTERIOR.with_lam(ratio)
    close(blend.sample(5, seed=2), paper.sample(5, seed=2), 1e-12)
    close(blend.moments.covariance.dense(D), paper.covariance.dense(D), 1e-12)


@pytest.mark.parametrize("prior", [None, Gaussian(normal(D, seed=4), Covariance(0.7, normal(D, 2, seed=5)))])
@pytest.mark.parametrize("likelihood", [Covariance(1.0), Covariance(0.5, 0.3 * normal(D, 3, seed=6))])
def test_each_draw_of_a_blend_is_of_the_posterior_under_its_weights(prior, likelihood):
    posterior = Posterior.condition(EVIDENCE, 0.3, prior=prior, likelihood=likelihood)
    blend = drawn(posterior, by_bootstrap(3, 0.2))
    z, weights = blend.sample(4, seed=7), blend.weights(4, seed=7)
    for i in range(4):
        own = Posterior.condition(EVIDENCE, 0.2, weights=weights[i], prior=prior, likelihood=likelihood)
        close(z[i], own.sample(1, seed=7, start=i)[0])


def test_a_blend_of_one_piece_at_lambda_zero_is_a_piece():
    z = drawn(POSTERIOR, by_bootstrap(1, 0.0)).sample(30)
    nearest = torch.cdist(z, EVIDENCE).min(1)
    close(nearest.values, torch.zeros(30), 1e-6)
    assert len(nearest.indices.unique()) > 6


@pytest.mark.parametrize("how", [by_bootstrap(3), by_posterior()])
def test_an_infinite_lambda_is_the_prior(how):
    whole = drawn(POSTERIOR, how.replace(lam_ratio=math.inf))
    close(whole.sample(3, seed=1), Gaussian.standard(D, torch.float64).sample(3, seed=1), 1e-12)


def test_without_what_the_pieces_span_sigma_is_a_scalar_and_all_is_the_papers():
    """a = 0: with one level, Σ is a multiple of the identity, λI for λ = V."""
    sigma = Spread.of(EVIDENCE).covariance(0.0)
    variance = sigma.diagonal[0].item()
    close(sigma.dense(D), variance * torch.eye(D).double())
    ours = Posterior.condition(EVIDENCE, lam=1.0, likelihood=sigma)
    paper = Posterior.condition(EVIDENCE, lam=variance)
    close(ours.mean, paper.mean)
    close(ours.predictive().covariance.dense(D), paper.predictive().covariance.dense(D))


def test_the_covariance_estimate_keeps_the_variance_of_each_level():
    spread = Spread.of(EVIDENCE, levels=LEVELS)
    empirical = EVIDENCE.T.cov()
    for likeness in (0.0, 0.6, [0.2, 0.5, 0.9]):
        dense = spread.covariance(likeness).dense(D)
        for level, v in zip(LEVELS, spread.variance, strict=True):
            assert dense.diagonal()[level].mean().item() == pytest.approx(v)
            assert empirical.diagonal()[level].mean().item() == pytest.approx(v)
    close(spread.covariance(0.6).dense(D) - spread.noise(0.8).dense(D), 0.36 * empirical)
    assert spread.covariance(0.0).factor is None


@pytest.mark.parametrize("m", [1, 2, 3, 100])
@pytest.mark.parametrize("likeness", [0.0, 0.9, 1.0])
def test_any_number_of_pieces_gives_sane_draws(m, likeness):
    z = normal(m, D).float()
    posterior = Posterior.condition(z, lam_ratio=0.1)
    assert recommend(posterior).reason.endswith(".")
    for how in (
        by_local(likeness, 0.05),
        by_bootstrap(2),
        recommend(posterior).method,
    ):
        draws = posterior.draw(how, LEVELS).sample(16)
        assert torch.isfinite(draws).all()
        # As long as the evidence is, within what 40 dimensions let expect.
        assert 0.2 < draws.square().mean() / z.square().mean() < 1.6
    assert torch.isfinite(posterior.draw(by_local(likeness, 0.05), LEVELS).mean).all()


def test_one_piece_is_blended_with_itself():
    posterior = Posterior.condition(EVIDENCE[:1], lam_ratio=0.1)
    close(drawn(posterior, by_bootstrap(1)).sample(3), posterior.sample(3), 1e-12)
    assert not drawn(posterior, by_local(1.0)).deviations(3).any()


# What the evidence chooses.


def test_classes_that_differ_in_how_they_vary_are_told_apart_by_the_estimate():
    """The predictive under the estimated Σ classifies where the paper's scalar cannot: both classes have one mean."""
    bases = [normal(3, D, seed=20), normal(3, D, seed=21)]
    classes = [normal(40, 3, seed=22 + i) @ basis + 0.3 * normal(40, D, seed=24 + i) for i, basis in enumerate(bases)]

    def right(predictives: list[Gaussian]) -> float:
        scores = [torch.stack([p.log_prob(z[20:]) for p in predictives], 1).argmax(1) for z in classes]
        return torch.cat([scores[0] == 0, scores[1] == 1]).double().mean().item()

    ours, paper = [], []
    for z in (z[:20] for z in classes):
        sigma = Spread.of(z, levels=LEVELS).covariance(0.9)
        ours.append(Posterior.condition(z, lam=1.0, likelihood=sigma).predictive())
        paper.append(Posterior.condition(z, lam_ratio=0.1).predictive())
    assert right(ours) > 0.95 > 0.8 > right(paper)


# Common random numbers.


@every_method
def test_draws_depend_on_the_seed_alone(how):
    sampler = POSTERIOR.draw(how, LEVELS)
    assert isinstance(sampler, Sampler) and sampler.dim == D
    sheet = sampler.sample(6, seed=5)
    close(sampler.sample(2, seed=5), sheet[:2], 1e-12)
    close(sampler.sample(2, seed=5, start=3), sheet[3:5], 1e-12)
    close(sampler.to("cpu").sample(6, seed=5), sheet, 1e-12)
    assert not torch.allclose(sampler.sample(6, seed=6), sheet)
    close(sampler.sample(2, temperature=0.0), sampler.mean.expand(2, D), 1e-12)


@pytest.mark.parametrize(
    "path",
    [
        [by_local(0.9, 10 ** (i / 50 - 4)) for i in range(300)],
        [by_bootstrap(1 + 11 * i / 800) for i in range(801)],
        [by_bootstrap(2, 10 ** (i / 50 - 4)) for i in range(300)],
    ],
)
def test_draws_morph_along_every_slider(path):
    z = torch.stack([POSTERIOR.draw(how, LEVELS).sample(4, seed=3) for how in path])
    assert z.diff(dim=0).abs().max() < 0.25
    assert (z[-1] - z[0]).abs().max() > 0.3


# Weights.


def test_weighted_evidence_counts_in_every_method():
    heavy = Posterior.condition(EVIDENCE, 0.1, weights=[1e6, *[1.0] * (M - 1)])
    for how in (
        by_bootstrap(2, 0.0),
        by_local(1.0, 0.0),
    ):
        nearest = torch.cdist(heavy.draw(how, LEVELS).sample(9), EVIDENCE).argmin(1)
        assert not nearest.any()
    none = Posterior.condition(EVIDENCE, 0.1, weights=[0.0, *[1.0] * (M - 1)])
    without = Posterior.condition(EVIDENCE[1:], 0.1)
    for how in METHODS.values():
        close(none.draw(how, LEVELS).sample(3), without.draw(how, LEVELS).sample(3))


def test_a_weight_of_two_is_the_piece_twice_in_every_moment():
    weights = torch.tensor([2.0] + [1.0] * (M - 1))
    weighted, repeated = (
        Posterior.condition(EVIDENCE, 0.1, weights=weights),
        Posterior.condition(EVIDENCE[[0, *range(M)]], 0.1),
    )
    a, b = (drawn(posterior, by_bootstrap(3)).moments for posterior in (weighted, repeated))
    close(a.mean, b.mean)
    close(a.covariance.dense(D), b.covariance.dense(D))
    assert Spread.of(EVIDENCE, weights * 0.01).variance == pytest.approx(
        Spread.of(EVIDENCE, weights).variance, rel=0.02
    )


def test_more_evidence_than_is_kept():
    z = normal(500, D)
    posterior = Posterior.condition(z, 0.2)
    assert posterior.latents.shape == (MOST_KEPT, D) and posterior.m == 500
    assert posterior.weights.sum().item() == pytest.approx(500)
    close(posterior.evidence_mean, z.mean(0), 1e-12)
    close(posterior.with_lam(0.7).mean, z.mean(0) / 1.7, 1e-12)
    assert posterior.latents[0].equal(z[0]) and posterior.latents[-1].equal(z[-1])


# Composition.


def test_structure_from_here_and_style_from_there():
    a, b = POSTERIOR.draw(METHODS["bootstrap"], LEVELS), Gaussian.standard(D, torch.float64)
    both = compose([a, a, b], LEVELS)
    z = both.sample(5, seed=3, temperature=0.8)
    assert z[:, :34].equal(a.sample(5, seed=3, temperature=0.8)[:, :34])
    assert z[:, 34:].equal(b.sample(5, seed=3, temperature=0.8)[:, 34:])
    assert both.mean.equal(torch.cat([a.mean[:34], b.mean[34:]])) and both.dim == D
    assert both.to("cpu").sample(5, seed=3, temperature=0.8).equal(z)
    for wrong in ([a, b], [a, a, Gaussian.standard(D + 1)]):
        with pytest.raises(ValueError, match=r"samplers|dimensions"):
            compose(wrong, LEVELS)


# Interpolation.


@pytest.mark.parametrize("method", ["linear", "wasserstein"])
@pytest.mark.parametrize("to", METHODS.values(), ids=METHODS.keys())
@every_method
def test_any_two_samplers_can_be_interpolated(how, to, method):
    a, b = POSTERIOR.draw(how, LEVELS), Posterior.condition(-EVIDENCE[:5], 0.2).draw(to, LEVELS)
    for t, end in ((0, a), (1, b)):
        assert interpolate(a, b, t, method).sample(3, seed=1).equal(end.sample(3, seed=1))
        close(interpolate(a, b, abs(t - 1e-9), method).sample(3, seed=1), end.sample(3, seed=1), 1e-3)
    middle = interpolate(a, b, 0.5, method)
    assert isinstance(middle, Sampler)
    close(middle.mean, (a.mean + b.mean) / 2)
    close(middle.to("cpu").sample(3), middle.sample(3), 1e-12)


def test_a_blend_of_all_pieces_is_interpolated_as_the_paper_does():
    a, b = POSTERIOR, Posterior.condition(-EVIDENCE[:5], 0.2)
    for method in ("linear", "wasserstein"):
        paper = interpolate(a, b, 0.3, method).sample(4)
        blends = [p.draw(by_bootstrap(1000, p.lam_ratio.item()), LEVELS) for p in (a, b)]
        close(interpolate(*blends, 0.3, method).sample(4), paper, 1e-12)


def test_compositions_are_interpolated_level_by_level():
    a, b = POSTERIOR.draw(METHODS["local"], LEVELS), Gaussian.standard(D, torch.float64)
    mixed = interpolate(compose([a, a, b], LEVELS), b, 0.4)
    close(mixed.sample(3)[:, :34], interpolate(a, b, 0.4).sample(3)[:, :34])
    close(mixed.sample(3)[:, 34:], b.sample(3)[:, 34:])
    with pytest.raises(ValueError, match="levels"):
        interpolate(compose([a, a, b], LEVELS), compose([b], [slice(0, D)]), 0.4)


# Files.


def test_a_saved_posterior_carries_every_method(tmp_path):
    posterior = Posterior.condition(EVIDENCE.float(), 0.3, weights=[*[1.0] * (M - 1), 2.5])
    posterior.save(tmp_path / "posterior", METHODS["bootstrap"].texts())
    again = Posterior.load(tmp_path / "posterior")
    assert Method.from_texts(again.metadata) == METHODS["bootstrap"]
    for how in METHODS.values():
        assert again.draw(how, LEVELS).sample(3).equal(posterior.draw(how, LEVELS).sample(3))


def test_levels_must_fit():
    with pytest.raises(ValueError, match="level"):
        POSTERIOR.draw(by_bootstrap(), LEVELS[:2])
    with pytest.raises(ValueError, match="level"):
        POSTERIOR.draw(by_posterior([0.1, 0.2]), LEVELS)


def test_a_blend_without_noise_has_no_density():
    with pytest.raises(ValueError, match="singular"):
        _ = drawn(POSTERIOR, by_bootstrap(2, 0.0)).moments
    assert isinstance(drawn(POSTERIOR, by_bootstrap(2)), Blend)
