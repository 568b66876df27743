"""The posterior against dense matrix formulas, its limits and laws; two mixed. Saved files are in `test_saved`."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

from transflow_core.posterior import (
    Covariance,
    Gaussian,
    Posterior,
    compose,
    interpolate,
    mixed,
    per_level,
    standard_normal,
)
from transflow_core.posterior.bootstrap import MOST_KEPT
from transflow_core.recipes import Method

from .helpers import METHODS, dense, rng

D, M = 7, 4


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


def positive(*shape: int, seed: int = 0) -> Tensor:
    return 0.2 + 2 * torch.rand(*shape, generator=rng(seed), dtype=torch.float64)


EVIDENCE = 1 + normal(M, D)
COVARIANCES = {
    "scalar": Covariance(0.7),
    "diagonal": Covariance(positive(D, seed=1)),
    "scalar + low rank": Covariance(0.7, normal(D, 2, seed=2)),
    "diagonal + low rank": Covariance(positive(D, seed=3), normal(D, 3, seed=4)),
}
PRIORS = {"N(0, I)": None, **{name: Gaussian(normal(D, seed=5), c) for name, c in COVARIANCES.items()}}
RATIOS = {"number": 0.6, "per dimension": positive(D, seed=6)}


def every(name: str, cases: dict) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(name, cases.values(), ids=cases.keys())


every_covariance, every_other = every("covariance", COVARIANCES), every("other", COVARIANCES)
every_prior, every_ratio = every("prior", PRIORS), every("ratio", RATIOS)


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(actual, expected.to(actual.dtype), rtol=tolerance, atol=tolerance)


def same(a: Gaussian, b: Gaussian, tolerance: float = 1e-9) -> None:
    close(a.mean, b.mean, tolerance)
    close(dense(a.covariance, a.dim), dense(b.covariance, b.dim), tolerance)


def likelihood_matrix(lam: float | Tensor, shape: Covariance) -> Tensor:
    root = torch.diag(torch.as_tensor(lam, dtype=torch.float64).expand(D).sqrt())
    return root @ dense(shape, D) @ root


@every_ratio
@every_prior
@every_covariance
def test_the_posterior_is_eq_3_and_4_however_it_is_told(covariance, prior, ratio):
    lam = ratio * M
    posterior = Posterior.condition(EVIDENCE, ratio, likelihood=covariance, prior=prior)
    before = prior or Gaussian.standard(D, torch.float64)
    prior_precision = torch.linalg.inv(dense(before.covariance, D))
    precision = torch.linalg.inv(likelihood_matrix(lam, covariance))
    expected = torch.linalg.inv(prior_precision + M * precision)
    mean = expected @ (prior_precision @ before.mean + M * precision @ EVIDENCE.mean(0))
    close(dense(posterior.covariance, D), expected)
    close(posterior.mean, mean)
    close(posterior.variance.expand(D), expected.diagonal())
    close(posterior.lam.expand(D), torch.as_tensor(lam, dtype=torch.float64).expand(D))
    predictive = posterior.predictive()
    close(predictive.mean, mean)
    close(dense(predictive.covariance, D), expected + likelihood_matrix(lam, covariance))
    # λ by value, from another λ, image by image, and with a weight in the place of a copy.
    how = {"likelihood": covariance, "prior": prior}
    same(Posterior.condition(EVIDENCE, lam=lam, **how), posterior)
    same(Posterior.condition(EVIDENCE, 5.0, **how).with_lam(ratio), posterior)
    same(posterior.with_lam(3.0).with_lam(lam=lam), posterior)
    step = prior
    for row in EVIDENCE:
        step = Posterior.condition(row[None], lam=lam, likelihood=covariance, prior=step)
    same(step, posterior)
    weighted = Posterior.condition(EVIDENCE, lam=lam, weights=torch.tensor([2, 1, 0, 3]), **how)
    same(weighted, Posterior.condition(EVIDENCE[[0, 0, 1, 3, 3, 3]], lam=lam, **how))
    assert weighted.m == 6 and weighted.weights.tolist() == [2, 1, 3]
    assert weighted.latents.equal(EVIDENCE[[0, 1, 3]])


@given(since=st.lists(st.integers(0, D), min_size=M, max_size=M), ratio=st.sampled_from([0.0, 0.3, 2.0, math.inf]))
def test_each_number_is_conditioned_on_the_images_that_have_it(since, ratio):
    """Images of few pixels: eq. 7-8 with the images of each number alone, and the prior where there is none."""
    weights = torch.tensor([1.0, 2.0, 0.5, 1.0], dtype=torch.float64)[:M]
    start = torch.tensor(since)
    posterior = Posterior.condition(EVIDENCE, ratio, weights=weights, since=start)
    lam = ratio * posterior.m
    for d in range(D):
        has = start <= d
        mean, variance = torch.zeros(()), torch.ones(())
        if has.any():
            alone = Posterior.condition(EVIDENCE[has][:, d : d + 1], lam=lam, weights=weights[has])
            mean, variance = alone.mean[0], alone.variance.expand(1)[0]
        close(posterior.mean[d], mean.to(EVIDENCE))
        close(posterior.variance.expand(D)[d], variance.to(EVIDENCE))
    # What an image lacks says nothing, whatever stands in its place.
    other = EVIDENCE.clone()
    for row, first in zip(other, since, strict=True):
        row[:first] = 100.0
    again = Posterior.condition(other, ratio, weights=weights, since=start)
    same(again, posterior)
    for how in (Method(method="bootstrap", images_per_sample=1.5, lam_ratio=0.2), Method(method="posterior")):
        close(again.draw(how).sample(3), posterior.draw(how).sample(3))


def test_a_mix_has_the_levels_that_its_images_have():
    """Twice the same set is that set."""
    posterior = Posterior.condition(EVIDENCE, 0.5, since=torch.arange(M))
    twice = mixed(posterior, posterior, "add", 0.5)
    close(twice.evidence_mean, posterior.evidence_mean)
    close(twice.seen, posterior.seen)


def test_the_default_is_cheap_and_in_single_precision():
    posterior = Posterior.condition(EVIDENCE.float(), lam_ratio=0.5, metadata={"prior": "tiny"})
    close(posterior.mean, EVIDENCE.mean(0) / 1.5, 1e-6)
    assert posterior.mean.dtype == posterior.sample(2).dtype == torch.float32
    assert posterior.variance.ndim == 0 and posterior.variance.item() == pytest.approx(1 / 3)
    assert posterior.covariance.factor is None and posterior.with_lam(1.0).metadata == {"prior": "tiny"}
    assert Posterior.condition(EVIDENCE.half(), 0.5).mean.dtype == torch.float32


@every_prior
@every_covariance
def test_an_infinite_lambda_gives_the_prior_and_zero_gives_the_evidence_exactly(covariance, prior):
    how = {"likelihood": covariance, "prior": prior}
    whole, point = (Posterior.condition(EVIDENCE, ratio, **how) for ratio in (math.inf, 0.0))
    before = prior or Gaussian.standard(D, torch.float64)
    assert whole.mean.equal(before.mean) and dense(whole.covariance, D).equal(dense(before.covariance, D))
    close(point.mean, EVIDENCE.mean(0), 1e-14)
    assert not dense(point.covariance, D).any() and not dense(point.predictive().covariance, D).any()
    assert point.sample(2).equal(point.mean.expand(2, D))
    with pytest.raises(ValueError, match="finite λ"):
        whole.predictive()
    with pytest.raises(ValueError, match="larger λ"):
        point.log_prob(EVIDENCE)
    assert point.kl(point.prior) == math.inf and whole.kl(whole.prior) == pytest.approx(0, abs=1e-9)
    for near, limit in ((1e-14, point), (1e-200, point), (1e14, whole), (1e200, whole)):
        same(Posterior.condition(EVIDENCE, near, **how), limit, 1e-6)


@every_covariance
def test_limits_can_be_mixed_over_dimensions(covariance):
    """Known exactly in the first dimensions, and of no account in the last: the others are as in the limit."""
    ratio = torch.tensor([0.0, 0.0, 0.3, 0.5, 1.0, math.inf, math.inf], dtype=torch.float64)
    exact = Posterior.condition(EVIDENCE, ratio, likelihood=covariance, prior=PRIORS["diagonal + low rank"])
    near = ratio.clamp(1e-13, 1e13)
    same(exact, Posterior.condition(EVIDENCE, near, likelihood=covariance, prior=exact.prior), 1e-5)
    close(exact.mean[:2], EVIDENCE.mean(0)[:2], 1e-14)
    # A dimension that the prior knows exactly stays there.
    known = Gaussian(normal(D), torch.where(torch.arange(D) % 3 == 0, 0, positive(D)))
    posterior = Posterior.condition(EVIDENCE, ratio, likelihood=covariance, prior=known)
    assert posterior.mean[::3].equal(known.mean[::3]) and not dense(posterior.covariance, D)[::3].any()


def test_the_largest_latent_with_low_rank_stays_low_rank_at_extreme_ratios_too():
    dim, rank = 49_152, 16
    shape = Covariance(0.5 + torch.rand(dim, generator=rng()), torch.randn(dim, rank, generator=rng()) / 100)
    z = torch.randn(2, dim, generator=rng())
    posterior = Posterior.condition(z, 0.5, likelihood=shape)
    assert posterior.covariance.factor.shape == (dim, rank)
    assert torch.isfinite(posterior.predictive().log_prob(z)).all()
    small = Posterior.condition(z[:, :D], 0.5, likelihood=Covariance(shape.diagonal[:D], shape.factor[:D]))
    for exponent in range(-320, 320, 20):
        assert torch.isfinite(small.with_lam(float(f"1e{exponent}")).sample(3)).all()


@given(weights=st.lists(st.floats(0, 10), min_size=M, max_size=M).filter(any), lam=st.floats(1e-3, 1e3))
@settings(max_examples=30)
def test_fractional_weights_are_precisions(weights, lam):
    posterior, w = Posterior.condition(EVIDENCE, lam=lam, weights=weights), torch.tensor(weights, dtype=torch.float64)
    close(posterior.variance, 1 / (1 + w.sum() / lam))
    close(posterior.mean, w @ EVIDENCE / lam * posterior.variance)


def test_evidence_of_no_weight_may_be_broken():
    evidence = EVIDENCE.clone()
    evidence[1] = math.nan
    assert torch.isfinite(Posterior.condition(evidence, 0.5, weights=[1, 0, 1, 1]).mean).all()
    with pytest.raises(ValueError, match=r"rows \[1\]"):
        Posterior.condition(evidence, 0.5)


def test_one_lambda_a_level(tiny_prior):
    ratios = per_level([0.1, 1.0, math.inf], [slice(0, 4), slice(4, 6), slice(6, 7)])
    assert ratios.tolist() == pytest.approx([0.1] * 4 + [1.0] * 2 + [math.inf])
    posterior = Posterior.condition(EVIDENCE.float(), lam_ratio=ratios)
    close(posterior.mean, EVIDENCE.mean(0) / (1 + ratios), 1e-6)
    close(posterior.variance, torch.cat([(ratios / (1 + ratios))[:6], torch.ones(1)]), 1e-6)
    of_prior = per_level(range(len(tiny_prior.levels)), tiny_prior.levels)
    assert all((of_prior[level.slice] == value).all() for value, level in enumerate(tiny_prior.levels))


def test_of_more_evidence_than_is_kept_all_counts():
    z = torch.arange(300.0)[:, None].expand(-1, D)
    posterior = Posterior.condition(z, 0.2, visible=torch.arange(300.0)[:, None, None].expand(-1, 2, 2) / 300)
    assert posterior.latents.shape == (MOST_KEPT, D) and posterior.m == 300
    assert posterior.latents[[0, -1]].equal(z[[0, -1]])
    assert posterior.weights.sum().item() == pytest.approx(300)
    close(posterior.with_lam(0.7).mean, z.mean(0) / 1.7, 1e-6)
    close(posterior.visible[:, 0, 0] * 300, posterior.latents[:, 0], 1e-4)


WRONG_MASKS = (torch.ones(M - 1, 2, 2), torch.ones(M + 1, 2, 2), torch.ones(M), torch.full((M, 2, 2), math.nan))
CONDITION = [
    ({"lam_ratio": None}, "either"),
    ({"lam": 1.0}, "either"),
    ({"lam_ratio": -1.0}, "at least 0"),
    ({"lam_ratio": math.nan}, "at least 0"),
    ({"lam_ratio": torch.ones(D + 1)}, "one number or"),
    ({"weights": [1.0]}, "as many weights"),
    ({"weights": [0.0] * M}, "not all 0"),
    ({"weights": [1.0, -1.0, 1.0, 1.0]}, "at least 0"),
    ({"prior": Gaussian.standard(D + 1)}, "dimensions"),
    ({"likelihood": Covariance(torch.ones(D + 1))}, "dimensions"),
    ({"z": torch.zeros(0, D)}, "at least one row"),
    *(({"visible": one}, r"\(m, V, V\) in \[0, 1\]") for one in WRONG_MASKS),
    *(
        ({"since": torch.tensor(one)}, "one number of the")
        for one in ([0], [0] * M + [1], [0] * (M - 1) + [D + 1], [-1] * M)
    ),
]
WIDE, ONE = Gaussian(torch.zeros(D), 4.0), Gaussian(torch.zeros(1), 4.0)
OTHERS = [
    (lambda: Covariance(-1.0), "negative"),
    (lambda: Covariance(math.nan), "finite"),
    (lambda: Covariance(torch.ones(3), torch.ones(2, 1)), "does not fit"),
    (lambda: Covariance(torch.tensor([1.0, 0.0]), torch.ones(2, 1)), "singular"),
    (lambda: Gaussian(torch.ones(2, 2), 1.0), r"\(D,\)"),
    (lambda: Gaussian(torch.tensor([math.nan]), 1.0), "finite"),
    (lambda: Gaussian(torch.ones(3), torch.ones(4)), "does not fit"),
    (lambda: per_level([1.0], [slice(0, 4), slice(4, 6)]), "level"),
    (lambda: per_level([1.0, 2.0], [slice(0, 4), slice(5, 7)]), "level"),
    *((lambda t=t: interpolate(WIDE, WIDE, t), "t is a number from 0 to 1") for t in (-0.5, 1.5, math.nan)),
    (lambda: interpolate(WIDE, WIDE, 0.5, "slerp"), "one of linear, wasserstein"),
    (lambda: interpolate(WIDE, ONE, 0.5), f"no path from {D} dimensions to 1"),
    (lambda: WIDE.log_prob(torch.zeros(2, 1)), rf"latents are \(m, {D}\), not \(2, 1\)"),
    (lambda: WIDE.kl(ONE), f"no divergence of {D} dimensions from 1"),
    (lambda: compose([WIDE, ONE], [slice(0, 1), slice(1, D)]), rf"of one dimension, not of \[1, {D}\]"),
    (lambda: compose([WIDE], [slice(0, 1)]), "must cover the latent"),
]
REFUSED = [(lambda how=how: Posterior.condition(**{"z": EVIDENCE, "lam_ratio": 0.5} | how), m) for how, m in CONDITION]
REFUSED += OTHERS


@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_what_makes_no_sense_is_refused_in_words(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("dim", [1, 3, 15, 16, 17, 100, 12288])
def test_row_i_of_the_noise_depends_on_the_seed_alone_and_leaves_the_global_state_alone(dim):
    state = torch.get_rng_state()
    table = standard_normal(33, dim, seed=3)
    for n in (1, 2, 5):
        assert standard_normal(n, dim, seed=3).equal(table[:n])
        assert standard_normal(n, dim, seed=3, start=20).equal(table[20 : 20 + n])
    assert not standard_normal(2, dim, seed=4).equal(table[:2])
    assert len(table.unique()) > 0.99 * table.numel() and torch.get_rng_state().equal(state)


@every_covariance
def test_samples_have_the_mean_and_the_covariance(covariance):
    root = covariance.root(torch.eye(D, dtype=torch.float64)).T
    close(root @ root.T, dense(covariance, D), 1e-12)
    gaussian = Gaussian(normal(D), covariance)
    for temperature in (1.0, 0.5):
        samples = gaussian.sample(20_000, seed=1, temperature=temperature)
        scale = gaussian.variance.max().item()
        close(samples.mean(0), gaussian.mean, 0.03 * scale)
        close(samples.T.cov() / temperature**2, dense(covariance, D), 0.05 * scale)


@every_covariance
def test_samples_share_their_noise(covariance):
    """Across n, batches, λ and temperature: along a fine sweep of λ no sample jumps."""
    posteriors = [Posterior.condition(EVIDENCE, r, likelihood=covariance) for r in torch.logspace(-3, 3, 400).tolist()]
    sheet = posteriors[200].sample(4, seed=5)
    close(posteriors[200].sample(2, seed=5), sheet[:2], 1e-12)
    close(posteriors[200].sample(2, seed=5, start=2), sheet[2:], 1e-12)
    assert not torch.allclose(posteriors[200].sample(4, seed=6), sheet)
    path = torch.stack([p.sample(4, seed=5) for p in posteriors])
    assert path.diff(dim=0).abs().max() < 0.06
    hot, cold, mean = (posteriors[200].sample(4, seed=5, temperature=t) for t in (2.0, 1.0, 0.0))
    close(hot - cold, cold - mean, 1e-12)
    assert mean.equal(posteriors[200].mean.expand(4, D))


@every_other
@every_covariance
def test_density_and_divergence_are_those_of_torch(covariance, other):
    a, b = Gaussian(normal(D), covariance), Gaussian(normal(D, seed=1), other)
    exact = [MultivariateNormal(g.mean, dense(g.covariance, D)) for g in (a, b)]
    assert a.kl(b) == pytest.approx(kl_divergence(*exact).item(), abs=1e-9)
    assert a.kl(a) == pytest.approx(0, abs=1e-9)
    z = normal(11, D, seed=9)
    close(a.log_prob(z), exact[0].log_prob(z))
    assert a.log_prob(z.float()).dtype == torch.float64 and a.log_prob(z[:0]).shape == (0,)


@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("path", ["linear", "wasserstein"])
@every_other
@every_covariance
def test_interpolation_mixes_covariances_or_standard_deviations(covariance, other, path, t):
    a, b = Gaussian(normal(D), covariance), Gaussian(normal(D, seed=1), other)
    first, last = dense(covariance, D), dense(other, D)
    if path == "linear":
        expected = (1 - t) * first + t * last
    elif t in (0, 1):
        expected = last if t else first
    elif covariance.factor is None and other.factor is None:
        expected = torch.diag(((1 - t) * first.diagonal().sqrt() + t * last.diagonal().sqrt()).square())
    else:
        with pytest.raises(ValueError, match="take the linear one"):
            interpolate(a, b, t, path)
        return
    between = interpolate(a, b, t, path)
    close(between.mean, (1 - t) * a.mean + t * b.mean, 1e-12)
    close(dense(between.covariance, D), expected, 1e-12)


# Mixing two sets.


def drawn(m=4, seed=0, at=0.0):
    return (at + standard_normal(m, D, seed=seed)).double()


def condition(z, **how):
    return Posterior.condition(z, **({"lam": 2.0} | how))


A, B = condition(drawn(4, 1)), condition(drawn(3, 2, at=2.0), weights=[1.0, 2.0, 0.5])


def natural(gaussian):
    precision = torch.linalg.inv(dense(gaussian.covariance, D))
    return precision, precision @ gaussian.mean


def product(prior, *terms):
    """p ∝ p0 Π (p_i / p0)^w_i, by natural parameters."""
    start = natural(prior)
    precision, shift = (
        own + sum(exponent * (natural(term)[i] - own) for term, exponent in terms) for i, own in enumerate(start)
    )
    covariance = torch.linalg.inv(precision)
    return Gaussian(covariance @ shift, covariance.diagonal())


@given(st.integers(1, 100), st.integers(1, 100), st.floats(0.01, 50))
def test_adding_is_bayes_rule_with_all_drawn(m, n, lam):
    a, b = drawn(m, 1), drawn(n, 2)
    one, other = condition(a, lam=lam), condition(b, lam=lam)
    both, expected = mixed(one, condition(b, lam=1.0), "add", n / (m + n)), condition(torch.cat([a, b]), lam=lam)
    same(both, expected)
    same(product(one.prior, (one, 1.0), (other, 1.0)), expected)
    torch.testing.assert_close(both.evidence_mean, expected.evidence_mean)
    assert both.m == pytest.approx(m + n) == both.weights.sum().item() and len(both.latents) == min(m + n, 128)


@given(st.floats(0.05, 0.85))
def test_subtracting_divides_the_likelihood_out_and_moving_adds_the_difference_of_the_means(share):
    less, moved = mixed(A, B, "subtract", share), mixed(A, B, "move", share)
    same(less, product(A.prior, (A, 1.0), (B, -share * A.m / B.m)))
    before, after = (one.evidence_mean - B.evidence_mean for one in (A, less))
    torch.testing.assert_close(after, before / (1 - share))
    same(moved, condition(A.latents - share * before))
    torch.testing.assert_close(moved.latents, A.latents - share * before)


@pytest.mark.parametrize("how", ["subtract", "move"])
def test_a_level_that_the_second_set_lacks_stays(how):
    some = torch.full((len(B.latents),), D // 2)
    less = mixed(A, condition(B.latents, lam=B.lam, weights=B.weights, since=some), how, 0.5)
    torch.testing.assert_close(less.latents[:, : D // 2], A.latents[:, : D // 2])
    torch.testing.assert_close(less.latents[:, D // 2 :], mixed(A, B, how, 0.5).latents[:, D // 2 :])


@pytest.mark.parametrize("how", ["add", "subtract", "move"])
def test_a_share_of_nothing_is_the_first_of_all_the_second_and_every_method_draws(how):
    assert mixed(A, B, how, 0) is A
    if how != "subtract":
        torch.testing.assert_close(mixed(A, B, how, 1).evidence_mean, B.evidence_mean)
    for method in METHODS.values():
        assert torch.isfinite(mixed(A, B, how, 0.4).draw(method).sample(3)).all()


@pytest.mark.parametrize(
    ("b", "how", "share", "message"),
    [
        (B, "subtract", 0.95, "the share of 'subtract' is a number from 0 to 0.9"),
        (B, "add", 1.1, "the share of 'add' is a number from 0 to 1"),
        (B, "mean", 0.5, "one of add, subtract, move"),
        (B, "move", float("nan"), "the share of 'move' is a number from 0 to 1"),
        (condition(drawn(), prior=Gaussian(torch.ones(D).double(), 1.0)), "add", 0.5, "of different priors"),
        (condition(drawn(), likelihood=2.0), "add", 0.5, "likelihoods of different shapes"),
        (replace(B, metadata={"fingerprint": "another"}), "add", 0.5, "of different priors"),
    ],
)
def test_what_cannot_be_mixed_is_refused_in_words(b, how, share, message):
    with pytest.raises(ValueError, match=message):
        mixed(replace(A, metadata={"fingerprint": "one"}), b, how, share)
