"""Sums over a set: any order and any grouping give the same, and condition as the set does."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from transflow_core.posterior import MOST_KEPT, Posterior, Statistics

D = 8


def latents(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, D, generator=torch.Generator().manual_seed(seed)) + 1


def of(z, start=0):
    return Statistics.of(z, [f"{start + i}" for i in range(len(z))])


def assert_equal(a, b):
    assert (a.m, a.keys) == (b.m, b.keys)
    for name in ("total", "latents"):
        torch.testing.assert_close(getattr(a, name), getattr(b, name), atol=1e-9, rtol=1e-12)


@settings(deadline=None)
@given(st.lists(st.integers(0, 90), min_size=3, max_size=3), st.integers(0, 3))
def test_they_are_a_commutative_monoid(lengths, seed):
    z = latents(sum(lengths), seed)
    a, b, c = (of(part, sum(lengths[:i])) for i, part in enumerate(z.split(lengths)))
    for sum_of_all in ((a + b) + c, a + (b + c), c + b + a, a + b + c + of(z[:0])):
        assert_equal(sum_of_all, of(z))


@settings(deadline=None)
@given(st.integers(1, 300), st.sampled_from([0.0, 0.5, 3.0]))
def test_they_condition_as_all_latents_do(n, ratio):
    z = latents(n)
    found, expected = of(z).posterior(ratio), Posterior.condition(z, lam_ratio=ratio)
    assert found.m == pytest.approx(n)
    for name in ("mean", "evidence_mean", "variance", "lam"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), atol=1e-6, rtol=1e-6)
    kept = {tuple(row) for row in found.latents.tolist()}
    assert len(kept) == min(n, MOST_KEPT) and kept <= {tuple(row) for row in z.tolist()}


def test_what_is_kept_is_a_sample_of_the_whole_set_in_a_file_too(tmp_path):
    found = of(torch.arange(2000.0)[:, None].expand(-1, D))
    kept = found.latents[:, 0].unique()
    assert len(kept) == MOST_KEPT and 850 < kept.mean() < 1150
    found.save(tmp_path / "set.partial", {"done": "2000"})
    again, words = Statistics.load(tmp_path / "set.partial")
    assert_equal(found, again)
    assert words == {"done": "2000"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: of(latents(0)).posterior(0.5), "nothing"),
        (lambda: of(latents(2) * torch.inf), "finite"),
        (lambda: Statistics.of(latents(2), ["a"]), "fit"),
        (lambda: of(latents(2)) + Statistics.of(latents(2)[:, :3], ["a", "b"]), "common"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
