"""Mixing two sets of evidence, against Bayes' rule."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from transflow_core.posterior import Gaussian, Posterior, mixed, standard_normal

from .helpers import METHODS, dense

DIM = 5


def evidence(m=4, seed=0, at=0.0):
    return (at + standard_normal(m, DIM, seed=seed)).double()


def condition(z, **how):
    return Posterior.condition(z, **({"lam": 2.0} | how))


A, B = condition(evidence(4, 1)), condition(evidence(3, 2, at=2.0), weights=[1.0, 2.0, 0.5])


def same(a, b):
    torch.testing.assert_close(a.mean, b.mean)
    torch.testing.assert_close(dense(a.covariance, DIM), dense(b.covariance, DIM))


def natural(gaussian):
    precision = torch.linalg.inv(dense(gaussian.covariance, DIM))
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
def test_adding_is_bayes_rule_with_all_evidence(m, n, lam):
    a, b = evidence(m, 1), evidence(n, 2)
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
        (B, "move", float("nan"), "the share of 'move' is a number from 0 to 1"),
        (condition(evidence(), prior=Gaussian(torch.ones(DIM).double(), 1.0)), "add", 0.5, "of different priors"),
        (condition(evidence(), likelihood=2.0), "add", 0.5, "likelihoods of different shapes"),
    ],
)
def test_what_cannot_be_mixed_is_refused_in_words(b, how, share, message):
    with pytest.raises(ValueError, match=message):
        mixed(A, b, how, share)
