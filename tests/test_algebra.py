"""Evidence algebra against Bayes' rule and dense formulas."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from transflow_core.posterior import (
    MIXES,
    Covariance,
    Gaussian,
    Mixture,
    Posterior,
    Sampler,
    combined,
    mixed,
    standard_normal,
)

from .helpers import by_bootstrap, by_local, by_posterior

DIM = 5


def evidence(m=4, seed=0, at=0.0):
    return (at + standard_normal(m, DIM, seed=seed)).double()


def condition(z, **how):
    return Posterior.condition(z, **({"lam": 2.0} | how))


def same(a, b):
    torch.testing.assert_close(a.mean, b.mean)
    torch.testing.assert_close(a.covariance.dense(DIM), b.covariance.dense(DIM))


def dense(gaussian):
    precision = torch.linalg.inv(gaussian.covariance.dense(DIM))
    return precision, precision @ gaussian.mean.double()


shares = st.floats(0.05, 0.85)


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.floats(0.01, 50))
def test_more_of_both_is_bayes_rule_with_all_evidence(m, n, lam):
    a, b = evidence(m, 1), evidence(n, 2)
    both = mixed(condition(a, lam=lam), condition(b, lam=1.0), "add", n / (m + n))
    expected = condition(torch.cat([a, b]), lam=lam)
    same(both, expected)
    assert both.m == pytest.approx(m + n) and len(both.latents) == m + n
    # It is the product of both posteriors, divided by their prior once.
    one, other = condition(a, lam=lam), condition(b, lam=lam)
    product = combined(one.prior, [(one, 1.0), (other, 1.0)])
    same(product, expected)


@settings(deadline=None)
@given(shares)
def test_less_like_these_divides_their_likelihood_out(share):
    a, b = condition(evidence(4, 1)), condition(evidence(3, 2))
    less = mixed(a, b, "subtract", share)
    weight = share * a.m / b.m
    expected = combined(a.prior, [(a, 1.0), (b, -weight)])
    same(less, expected)
    (p0, h0), (pa, ha), (pb, hb) = (dense(one) for one in (a.prior, a, b))
    total = p0 + (pa - p0) - weight * (pb - p0)
    torch.testing.assert_close(torch.linalg.inv(expected.covariance.dense(DIM)), total)
    torch.testing.assert_close(expected.mean, torch.linalg.solve(total, ha - weight * (hb - h0)))
    # Further from the second set than it was, and by as much as is said.
    before, after = a.evidence_mean - b.evidence_mean, less.evidence_mean - b.evidence_mean
    torch.testing.assert_close(after, before / (1 - share))


@settings(deadline=None)
@given(shares)
def test_towards_these_moves_the_pieces_along_the_difference_of_the_means(share):
    a, b = condition(evidence(4, 1)), condition(evidence(3, 2, at=2.0))
    moved = mixed(a, b, "move", share)
    shift = share * (b.evidence_mean - a.evidence_mean)
    same(moved, condition(a.latents + shift))
    torch.testing.assert_close(moved.latents, a.latents + shift)


@pytest.mark.parametrize("how", MIXES)
def test_a_share_of_nothing_is_the_first_and_every_method_draws(how):
    a, b = condition(evidence(4, 1)), condition(evidence(3, 2), weights=[1.0, 2.0, 0.5])
    assert mixed(a, b, how, 0) is a
    for method in (by_posterior(0.5), by_local(), by_bootstrap()):
        assert torch.isfinite(mixed(a, b, how, 0.4).draw(method).sample(3)).all()


def test_all_of_the_second_is_the_second():
    a, b = condition(evidence(4, 1)), condition(evidence(3, 2))
    same(mixed(a, b, "add", 1), b)
    torch.testing.assert_close(mixed(a, b, "move", 1).evidence_mean, b.evidence_mean)


def test_of_much_evidence_a_part_is_kept_and_counts_for_all():
    a, b = condition(evidence(100, 1)), condition(evidence(90, 2))
    both = mixed(a, b, "add", 90 / 190)
    assert len(both.latents) == 128 and both.m == pytest.approx(190)
    assert both.weights.sum().item() == pytest.approx(190)
    torch.testing.assert_close(both.evidence_mean, torch.cat([evidence(100, 1), evidence(90, 2)]).mean(0))


def test_what_cannot_be_mixed_is_refused_in_words():
    a, b = condition(evidence(4, 1)), condition(evidence(3, 2))
    with pytest.raises(ValueError, match="a mix is one of add, subtract, move"):
        mixed(a, b, "more", 0.5)
    for how, share in (("subtract", 0.95), ("add", 1.1), ("move", float("nan"))):
        with pytest.raises(ValueError, match=f"the share of '{how}' is a number from 0 to"):
            mixed(a, b, how, share)
    other = condition(evidence(3, 2), prior=Gaussian(torch.ones(DIM).double(), 1.0))
    with pytest.raises(ValueError, match="of different priors"):
        mixed(a, other, "add")
    with pytest.raises(ValueError, match="likelihoods of different shapes"):
        mixed(a, condition(evidence(3, 2), likelihood=2.0), "add")


def test_so_much_can_be_divided_out_and_no_more():
    """Of N(0, I), a posterior with the precision 1 + 1/r leaves a Gaussian as long as its exponent is under r."""
    prior, b = Gaussian.standard(DIM, torch.float64), condition(evidence(3, 2), lam=2.4)
    for exponent in (0.1, 0.79):
        assert combined(prior, [(b, -exponent)]).variance.min() > 1
    with pytest.raises(ValueError, match=r"at 0\.5 of these exponents at most"):
        combined(prior, [(b, -1.6)])
    low_rank = Gaussian(torch.zeros(DIM).double(), Covariance(1.0, torch.ones(DIM, 1).double()))
    with pytest.raises(ValueError, match="diagonal"):
        combined(prior, [(low_rank, 1.0)])


@pytest.mark.parametrize("variance", [0.3, torch.linspace(0.2, 2, DIM).double()])
def test_powers_of_a_posterior_come_back(variance):
    prior = Gaussian(torch.linspace(-1, 1, DIM).double(), variance)
    a = Posterior.condition(evidence(4, 1), lam=2.0, prior=prior)
    same(combined(prior, [(a, 1.0)]), a)
    twice = combined(prior, [(a, 2.0)])
    same(combined(prior, [(twice, 0.5)]), a)
    same(combined(prior, [(a, 1.5), (a, -0.5)]), a)


def test_a_mixture_takes_each_sample_of_one_or_of_the_other():
    a, b = Gaussian(torch.zeros(DIM), 0.01), Gaussian(torch.ones(DIM) * 9, 0.01)
    taken = [(Mixture(a, b, share).sample(400, seed=3).mean(1) > 5) for share in (0.0, 0.3, 0.7, 1.0)]
    assert [not taken[0].any(), taken[3].all()] == [True, True]
    assert all((more | ~less).all() for less, more in pairwise(taken)), "none turns back"
    assert 0.2 < taken[1].float().mean() < 0.4
    mixture = Mixture(a, b, 0.3)
    assert isinstance(mixture, Sampler) and mixture.guard is None
    assert mixture.sample(6, seed=3)[4:].equal(mixture.sample(2, seed=3, start=4))
    torch.testing.assert_close(mixture.mean, torch.full((DIM,), 2.7))
    with pytest.raises(ValueError, match="from 0 to 1"):
        Mixture(a, b, 1.5)
