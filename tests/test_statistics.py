"""Statistics of a set: a commutative monoid, and as good as the set for what conditions on it."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

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
    parts, start = [], 0
    for length in lengths:
        parts.append(of(z[start : start + length], start))
        start += length
    a, b, c = parts
    assert_equal((a + b) + c, a + (b + c))
    assert_equal(a + b, b + a)
    assert_equal(a + of(z[:0]), a)
    assert_equal(a + b + c, of(z))


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


def test_what_is_kept_is_a_sample_of_the_whole_set():
    kept = [float(row[0]) for row in of(torch.arange(2000.0)[:, None].expand(-1, 8)).latents]
    assert len(set(kept)) == MOST_KEPT and 850 < sum(kept) / MOST_KEPT < 1150


@pytest.mark.parametrize(
    "change", [{"m": 3}, {"keys": ["b", "a"]}, {"keys": 1}, {"words": []}, {"total": torch.zeros(2)}, {"latents": None}]
)
def test_they_are_saved_and_a_file_that_contradicts_itself_is_refused(tmp_path, change):
    path, found = tmp_path / "set.partial", of(latents(200))
    found.save(path, {"done": "200"})
    again, words = Statistics.load(path)
    assert_equal(found, again)
    assert words == {"done": "200"}
    with safe_open(path, "pt") as handle:
        document = json.loads(handle.metadata()["statistics"])
    tensors = load_file(path) | {name: change[name] for name in ("total", "latents") if name in change}
    tensors = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    document |= {name: value for name, value in change.items() if name in document}
    save_file(tensors, path, {"statistics": json.dumps(document)})
    with pytest.raises(ValueError, match=str(path)):
        Statistics.load(path)


def test_nothing_conditions_nothing():
    with pytest.raises(ValueError, match="nothing"):
        of(latents(0)).posterior(0.5)
    with pytest.raises(ValueError, match="finite"):
        of(latents(2) * torch.inf)
    with pytest.raises(ValueError, match="fit"):
        Statistics.of(latents(2), ["a"])
    with pytest.raises(ValueError, match="common"):
        of(latents(2)) + Statistics.of(latents(2)[:, :3], ["a", "b"])
