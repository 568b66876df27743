"""Evidence algebra against Bayes' rule and dense formulas."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from transflow_core.posterior import (
    MIXES,
    Gaussian,
    Posterior,
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


def product(prior, *terms):
    """p ∝ p0 Π (p_i / p0)^w_i, by natural parameters."""
    precision, shift = (value.clone() for value in dense(prior))
    for term, exponent in terms:
        for total, theirs, own in zip((precision, shift), dense(term), dense(prior), strict=True):
            total += exponent * (theirs - own)
    covariance = torch.linalg.inv(precision)
    return Gaussian(covariance @ shift, covariance.diagonal())


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
    same(product(one.prior, (one, 1.0), (other, 1.0)), expected)


@settings(deadline=None)
@given(shares)
def test_less_like_these_divides_their_likelihood_out(share):
    a, b = condition(evidence(4, 1)), condition(evidence(3, 2))
    less = mixed(a, b, "subtract", share)
    weight = share * a.m / b.m
    same(less, product(a.prior, (a, 1.0), (b, -weight)))
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
