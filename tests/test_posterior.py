"""The posterior against dense matrix formulas, its limits and laws, and saved files that are damaged or hostile."""

import json
import math
import struct
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.distributions import MultivariateNormal

from transflow_core.posterior import (
    INTERPOLATIONS,
    Covariance,
    Gaussian,
    Posterior,
    interpolate,
    per_level,
    standard_normal,
    transport,
)

D, M = 7, 4


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


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

every_covariance = pytest.mark.parametrize("covariance", COVARIANCES.values(), ids=COVARIANCES.keys())
every_prior = pytest.mark.parametrize("prior", PRIORS.values(), ids=PRIORS.keys())
every_ratio = pytest.mark.parametrize("ratio", RATIOS.values(), ids=RATIOS.keys())


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(actual, expected.to(actual.dtype), rtol=tolerance, atol=tolerance)


def same(a: Gaussian, b: Gaussian, tolerance: float = 1e-9) -> None:
    close(a.mean, b.mean, tolerance)
    close(a.covariance.dense(a.dim), b.covariance.dense(b.dim), tolerance)


def symmetric_root(matrix: Tensor) -> Tensor:
    s, v = torch.linalg.eigh(matrix)
    return v @ torch.diag(s.clamp_min(0).sqrt()) @ v.T


def likelihood_matrix(lam: float | Tensor, shape: Covariance) -> Tensor:
    root = torch.diag(torch.as_tensor(lam, dtype=torch.float64).expand(D).sqrt())
    return root @ shape.dense(D) @ root


# Eq. 3-11, against the matrices themselves.


@pytest.mark.parametrize("by", ["ratio", "value"])
@every_ratio
@every_prior
@every_covariance
def test_the_posterior_is_eq_3_and_4(covariance, prior, ratio, by):
    lam = ratio * M
    given_lam = {"lam_ratio": ratio} if by == "ratio" else {"lam": lam}
    posterior = Posterior.condition(EVIDENCE, **given_lam, likelihood=covariance, prior=prior)
    prior = prior or Gaussian.standard(D, torch.float64)
    prior_precision = torch.linalg.inv(prior.covariance.dense(D))
    precision = torch.linalg.inv(likelihood_matrix(lam, covariance))
    expected = torch.linalg.inv(prior_precision + M * precision)
    mean = expected @ (prior_precision @ prior.mean + M * precision @ EVIDENCE.mean(0))
    close(posterior.covariance.dense(D), expected)
    close(posterior.mean, mean)
    close(posterior.variance.expand(D), expected.diagonal())
    close(posterior.std.expand(D).square(), expected.diagonal())
    close(posterior.lam.expand(D), torch.as_tensor(lam, dtype=torch.float64).expand(D))
    assert posterior.m == M

    predictive = posterior.predictive()
    close(predictive.mean, mean)
    close(predictive.covariance.dense(D), expected + likelihood_matrix(lam, covariance))


@pytest.mark.parametrize("m", [1, 2, 30])
def test_the_papers_three_special_cases(m):
    evidence = 3 + normal(m, D).float()
    average = evidence.mean(0)
    small = Posterior.condition(evidence, lam=1e-6 * m)
    close(small.mean, average, 1e-5)
    assert 0 < small.variance < 1.1e-6
    locked = Posterior.condition(evidence, lam=m)
    close(locked.mean, 0.5 * average, 1e-6)
    assert locked.variance == 0.5
    large = Posterior.condition(evidence, lam=1e6 * m)
    assert large.mean.abs().max() < 1e-5 and abs(large.variance - 1) < 1e-5


def test_the_default_is_cheap_and_in_single_precision():
    posterior = Posterior.condition(EVIDENCE.float(), lam_ratio=0.5)
    close(posterior.mean, EVIDENCE.mean(0) / 1.5, 1e-6)
    assert posterior.mean.dtype == posterior.sample(2).dtype == torch.float32
    assert posterior.variance.ndim == 0 and posterior.variance.item() == pytest.approx(1 / 3)
    assert posterior.covariance.factor is None
    assert Posterior.condition(EVIDENCE.half(), 0.5).mean.dtype == torch.float32


# Limits.


@every_prior
@every_covariance
def test_an_infinite_lambda_gives_the_prior_and_zero_gives_the_evidence_exactly(covariance, prior):
    whole = Posterior.condition(EVIDENCE, math.inf, likelihood=covariance, prior=prior)
    prior_ = prior or Gaussian.standard(D, torch.float64)
    assert whole.mean.equal(prior_.mean)
    assert whole.covariance.dense(D).equal(prior_.covariance.dense(D))
    with pytest.raises(ValueError, match="finite λ"):
        whole.predictive()
    point = Posterior.condition(EVIDENCE, lam=0.0, likelihood=covariance, prior=prior)
    close(point.mean, EVIDENCE.mean(0), 1e-14)
    assert not point.covariance.dense(D).any()
    assert point.sample(2).equal(point.mean.expand(2, D))
    assert not point.predictive().covariance.dense(D).any()
    with pytest.raises(ValueError, match="larger λ"):
        point.log_prob(EVIDENCE)


@pytest.mark.parametrize(("near", "limit"), [(1e-14, 0.0), (1e14, math.inf), (1e-200, 0.0), (1e200, math.inf)])
@every_prior
@every_covariance
def test_the_limits_are_approached_smoothly(covariance, prior, near, limit):
    almost, end = (Posterior.condition(EVIDENCE, r, likelihood=covariance, prior=prior) for r in (near, limit))
    same(almost, end, 1e-6)


@every_covariance
def test_limits_can_be_mixed_over_dimensions(covariance):
    """Known exactly in the first dimensions, and of no account in the last: the others are as in the limit."""
    ratio = torch.tensor([0.0, 0.0, 0.3, 0.5, 1.0, math.inf, math.inf], dtype=torch.float64)
    exact = Posterior.condition(EVIDENCE, ratio, likelihood=covariance, prior=PRIORS["diagonal + low rank"])
    near = ratio.clamp(1e-13, 1e13)
    same(exact, Posterior.condition(EVIDENCE, near, likelihood=covariance, prior=exact.prior), 1e-5)
    close(exact.mean[:2], EVIDENCE.mean(0)[:2], 1e-14)


def test_a_dimension_that_the_prior_knows_exactly_stays_there():
    diagonal = positive(D)
    diagonal[2] = 0
    prior = Gaussian(normal(D), diagonal)
    for ratio in (0.0, 0.5, math.inf):
        for shape in COVARIANCES.values():
            posterior = Posterior.condition(EVIDENCE, ratio, likelihood=shape, prior=prior)
            assert posterior.mean[2] == prior.mean[2] and not posterior.covariance.dense(D)[2].any()


def test_low_rank_survives_extreme_ratios_in_single_precision():
    shape = Covariance(positive(D, seed=3).float(), normal(D, 3, seed=4).float())
    for exponent in range(-320, 320, 20):
        posterior = Posterior.condition(EVIDENCE.float(), float(f"1e{exponent}"), likelihood=shape)
        assert torch.isfinite(posterior.sample(3)).all()


# Evidence and its weights.


@every_prior
@every_covariance
def test_a_weight_of_two_is_the_evidence_twice_and_zero_is_none(covariance, prior):
    weighted = Posterior.condition(
        EVIDENCE, lam=1.3, likelihood=covariance, prior=prior, weights=torch.tensor([2, 1, 0, 3])
    )
    repeated = Posterior.condition(EVIDENCE[[0, 0, 1, 3, 3, 3]], lam=1.3, likelihood=covariance, prior=prior)
    same(weighted, repeated)
    same(weighted.predictive(), repeated.predictive())
    assert weighted.m == 6 and weighted.weights.tolist() == [2, 1, 3]
    assert weighted.latents.equal(EVIDENCE[[0, 1, 3]])


def test_evidence_of_no_weight_may_be_broken():
    evidence = EVIDENCE.clone()
    evidence[1] = math.nan
    assert torch.isfinite(Posterior.condition(evidence, 0.5, weights=[1, 0, 1, 1]).mean).all()
    with pytest.raises(ValueError, match=r"rows \[1\]"):
        Posterior.condition(evidence, 0.5)


@given(weights=st.lists(st.floats(0, 10), min_size=M, max_size=M).filter(any), lam=st.floats(1e-3, 1e3))
@settings(max_examples=30, deadline=None)
def test_fractional_weights_are_precisions(weights, lam):
    posterior = Posterior.condition(EVIDENCE, lam=lam, weights=weights)
    w = torch.tensor(weights, dtype=torch.float64)
    precision = 1 + w.sum() / lam
    close(posterior.variance, 1 / precision)
    close(posterior.mean, w @ EVIDENCE / lam / precision)


@every_prior
@every_covariance
def test_evidence_one_by_one_is_evidence_at_once(covariance, prior):
    step = prior
    for row in EVIDENCE:
        step = Posterior.condition(row[None], lam=2.0, likelihood=covariance, prior=step)
    same(step, Posterior.condition(EVIDENCE, lam=2.0, likelihood=covariance, prior=prior))


@every_ratio
@every_prior
@every_covariance
def test_another_lambda_needs_no_evidence(covariance, prior, ratio):
    posterior = Posterior.condition(EVIDENCE, 5.0, likelihood=covariance, prior=prior, metadata={"prior": "tiny"})
    moved = posterior.with_lam(ratio)
    same(moved, Posterior.condition(EVIDENCE, ratio, likelihood=covariance, prior=prior))
    same(posterior.with_lam(lam=ratio * M), moved)
    assert moved.metadata == {"prior": "tiny"}


def test_one_lambda_a_level():
    levels = [slice(0, 4), slice(4, 6), slice(6, 7)]
    spread = per_level([0.1, 1.0, math.inf], levels)
    assert spread.tolist() == pytest.approx([0.1] * 4 + [1.0] * 2 + [math.inf])
    posterior = Posterior.condition(EVIDENCE.float(), lam_ratio=spread)
    close(posterior.mean, EVIDENCE.mean(0) / (1 + spread), 1e-6)
    close(posterior.variance[:6], (spread / (1 + spread))[:6], 1e-6)
    assert posterior.mean[6] == 0 and posterior.variance[6] == 1
    for values, wrong in (([1.0], levels), ([1.0, 2.0], [slice(0, 4), slice(5, 7)]), ([], [])):
        with pytest.raises(ValueError, match="level"):
            per_level(values, wrong)


def test_the_levels_of_a_prior_are_taken_as_they_are(tiny_prior):
    spread = per_level(range(1, len(tiny_prior.levels) + 1), tiny_prior.levels)
    assert spread.shape == (tiny_prior.dim,)
    for value, level in enumerate(tiny_prior.levels, 1):
        assert (spread[level.slice] == value).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either"),
        ({"lam": 1.0, "lam_ratio": 1.0}, "either"),
        ({"lam": -1.0}, "at least 0"),
        ({"lam_ratio": math.nan}, "at least 0"),
        ({"lam": torch.ones(D + 1)}, "one number or"),
        ({"lam": 1.0, "weights": [1.0]}, "as many weights"),
        ({"lam": 1.0, "weights": [0.0] * M}, "not all 0"),
        ({"lam": 1.0, "weights": [1.0, -1.0, 1.0, 1.0]}, "at least 0"),
        ({"lam": 1.0, "weights": [1.0, math.inf, 1.0, 1.0]}, "finite"),
        ({"lam": 1.0, "prior": Gaussian.standard(D + 1)}, "dimensions"),
        ({"lam": 1.0, "likelihood": Covariance(torch.ones(D + 1))}, "dimensions"),
    ],
)
def test_arguments_that_make_no_sense(arguments, message):
    with pytest.raises(ValueError, match=message):
        Posterior.condition(EVIDENCE, **arguments)


@pytest.mark.parametrize("shape", [(D,), (0, D), (2, 2, D)])
def test_evidence_of_the_wrong_shape(shape):
    with pytest.raises(ValueError, match="at least one row"):
        Posterior.condition(torch.zeros(shape), 0.5)


@pytest.mark.parametrize(
    ("diagonal", "factor", "message"),
    [
        (-1.0, None, "negative"),
        (math.nan, None, "finite"),
        (torch.ones(2, 2), None, "diagonal"),
        (torch.ones(3), torch.ones(2, 1), "does not fit"),
        (1.0, torch.full((3, 1), math.inf), "finite"),
        (0.0, torch.ones(3, 1), "singular"),
        (torch.tensor([1.0, 0.0]), torch.ones(2, 1), "singular"),
    ],
)
def test_what_is_no_covariance(diagonal, factor, message):
    with pytest.raises(ValueError, match=message):
        Covariance(diagonal, factor)


@pytest.mark.parametrize(
    ("mean", "message"),
    [
        (torch.ones(2, 2), r"\(D,\)"),
        (torch.tensor([math.nan]), "finite"),
        (torch.arange(3), "float32"),
    ],
)
def test_what_is_no_mean(mean, message):
    with pytest.raises(ValueError, match=message):
        Gaussian(mean, 1.0)
    with pytest.raises(ValueError, match="does not fit"):
        Gaussian(torch.ones(3), torch.ones(4))


# Sampling.


@pytest.mark.parametrize("dim", [1, 3, 15, 16, 17, 100, 12288])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_row_i_of_the_noise_depends_on_the_seed_alone(dim, n):
    table = standard_normal(33, dim, seed=3)
    assert standard_normal(n, dim, seed=3).equal(table[:n])
    assert standard_normal(n, dim, seed=3, start=20).equal(table[20 : 20 + n])
    assert not standard_normal(n, dim, seed=4).equal(table[:n])
    assert len(table.unique()) > 0.99 * table.numel()


def test_noise_is_standard_and_leaves_the_global_state_alone():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    noise = standard_normal(2000, 17)
    assert torch.rand(1).equal(expected)
    assert noise.mean().abs() < 0.03 and abs(noise.std() - 1) < 0.02
    close(noise.double().T.cov(), torch.eye(17).double(), 0.15)
    for wrong in ((-1, 3), (1, 0)):
        with pytest.raises(ValueError, match="noise"):
            standard_normal(*wrong)


@every_covariance
def test_the_root_is_a_root(covariance):
    eye = torch.eye(D, dtype=torch.float64)
    root = covariance.root(eye).T
    close(root @ root.T, covariance.dense(D), 1e-12)


@every_covariance
def test_samples_have_the_mean_and_the_covariance(covariance):
    gaussian = Gaussian(normal(D), covariance)
    for temperature in (1.0, 0.5):
        samples = gaussian.sample(20_000, seed=1, temperature=temperature)
        scale = gaussian.std.max().item() ** 2
        close(samples.mean(0), gaussian.mean, 0.03 * scale)
        close(samples.T.cov() / temperature**2, covariance.dense(D), 0.05 * scale)


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


@pytest.mark.parametrize("temperature", [-1.0, math.nan, math.inf])
def test_temperatures_that_make_no_sense(temperature):
    with pytest.raises(ValueError, match="temperature"):
        Gaussian.standard(3).sample(1, temperature=temperature)


# Densities.


@every_covariance
def test_log_prob_is_that_of_a_multivariate_normal(covariance):
    gaussian = Gaussian(normal(D), covariance)
    z = normal(5, D, seed=9)
    close(gaussian.log_prob(z), MultivariateNormal(gaussian.mean, covariance.dense(D)).log_prob(z))
    assert gaussian.log_prob(z.float()).dtype == torch.float64
    assert gaussian.log_prob(z[:0]).shape == (0,)
    with pytest.raises(ValueError, match="log_prob"):
        gaussian.log_prob(z[0])


def test_long_batches_go_in_chunks(monkeypatch):
    gaussian, z = Gaussian(normal(D), COVARIANCES["diagonal + low rank"]), normal(11, D)
    whole = gaussian.log_prob(z)
    monkeypatch.setattr("transflow_core.posterior.gaussian._CHUNK", 3 * D)
    close(gaussian.log_prob(z), whole, 1e-12)


@pytest.mark.parametrize("other", COVARIANCES.values(), ids=COVARIANCES.keys())
@every_covariance
def test_divergence_is_that_of_torch(covariance, other):
    a, b = Gaussian(normal(D), covariance), Gaussian(normal(D, seed=1), other)
    dense = [MultivariateNormal(g.mean, g.covariance.dense(D)) for g in (a, b)]
    assert a.kl(b) == pytest.approx(torch.distributions.kl_divergence(*dense).item(), abs=1e-9)
    assert a.kl(a) == pytest.approx(0, abs=1e-9)


def test_divergence_of_a_point_is_infinite():
    point = Posterior.condition(EVIDENCE, 0.0)
    assert point.kl(point.prior) == math.inf
    assert Posterior.condition(EVIDENCE, math.inf).kl(point.prior) == 0
    with pytest.raises(ValueError, match="dimensions"):
        point.kl(Gaussian.standard(D + 1))


# Interpolation and transport.


@pytest.mark.parametrize("other", COVARIANCES.values(), ids=COVARIANCES.keys())
@every_covariance
def test_linear_interpolation_mixes_means_and_covariances(covariance, other):
    a, b = Gaussian(normal(D), covariance), Gaussian(normal(D, seed=1), other)
    for t in (0.0, 0.3, 1.0):
        mixed = interpolate(a, b, t)
        close(mixed.mean, (1 - t) * a.mean + t * b.mean, 1e-12)
        close(mixed.covariance.dense(D), (1 - t) * covariance.dense(D) + t * other.dense(D), 1e-12)


def small_form(a: Covariance, b: Covariance) -> bool:
    """Is there a Wasserstein geodesic that is a diagonal plus low rank?"""
    return (a.factor is None and b.factor is None) or a.diagonal.ndim == b.diagonal.ndim == 0


@pytest.mark.parametrize("other", COVARIANCES.values(), ids=COVARIANCES.keys())
@every_covariance
def test_wasserstein_interpolation_is_the_bures_geodesic(covariance, other):
    a, b = Gaussian(normal(D), covariance), Gaussian(normal(D, seed=1), other)
    if not small_form(covariance, other):
        with pytest.raises(ValueError, match="method='linear'"):
            interpolate(a, b, 0.3, "wasserstein")
        return
    first, last = covariance.dense(D), other.dense(D)
    root = symmetric_root(first)
    inverse = torch.linalg.inv(root)
    optimal = inverse @ symmetric_root(root @ last @ root) @ inverse
    for t in (0.0, 0.3, 0.8, 1.0):
        step = (1 - t) * torch.eye(D, dtype=torch.float64) + t * optimal
        between = interpolate(a, b, t, "wasserstein")
        close(between.mean, (1 - t) * a.mean + t * b.mean, 1e-12)
        close(between.covariance.dense(D), step @ first @ step)


def test_wasserstein_interpolation_from_a_point():
    point, wide = Gaussian(normal(D), 0.0), Gaussian(normal(D, seed=1), COVARIANCES["scalar + low rank"])
    for a, b, t in ((point, wide, 0.3), (wide, point, 0.7)):
        between = interpolate(a, b, t, "wasserstein")
        close(between.covariance.dense(D), 0.3**2 * wide.covariance.dense(D))


@pytest.mark.parametrize("method", INTERPOLATIONS)
def test_interpolation_ends_at_its_ends_and_refuses_the_rest(method):
    a, b = Posterior.condition(EVIDENCE, 0.2), Posterior.condition(-EVIDENCE, positive(D))
    same(interpolate(a, b, 0, method), a, 0)
    same(interpolate(a, b, 1, method), b, 0)
    for t in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="t goes"):
            interpolate(a, b, t, method)
    with pytest.raises(ValueError, match="unknown method"):
        interpolate(a, b, 0.5, "slerp")
    with pytest.raises(ValueError, match="dimensions"):
        interpolate(a, Gaussian.standard(D + 1), 0.5, method)


@every_ratio
@every_covariance
def test_transport_moves_the_prior_onto_the_posterior(covariance, ratio):
    posterior = Posterior.condition(EVIDENCE, ratio, likelihood=covariance)
    z = normal(5, D, seed=8)
    if posterior.covariance.factor is not None and posterior.covariance.diagonal.ndim:
        with pytest.raises(ValueError, match="low rank"):
            transport(z, posterior.prior, posterior)
        return
    close(transport(z, posterior.prior, posterior), posterior.mean + z @ symmetric_root(posterior.covariance.dense(D)))
    assert transport(z.float(), posterior.prior, posterior).dtype == torch.float32


@pytest.mark.parametrize("other", COVARIANCES.values(), ids=COVARIANCES.keys())
@every_covariance
def test_transport_between_any_two_is_optimal(covariance, other):
    """A linear map between Gaussians is the optimal one if it is symmetric, positive, and pushes one onto the other."""
    source, target = Gaussian(normal(D), covariance), Gaussian(normal(D, seed=1), other)
    points = source.mean + torch.eye(D, dtype=torch.float64)
    if not small_form(covariance, other):
        with pytest.raises(ValueError, match="low rank"):
            transport(points, source, target)
        return
    matrix = transport(points, source, target) - target.mean
    close(matrix, matrix.T, 1e-7)
    assert torch.linalg.eigvalsh(matrix).min() > 0
    close(matrix @ covariance.dense(D) @ matrix.T, other.dense(D), 1e-7)


def test_transport_to_a_point_and_from_one():
    point, wide = Gaussian(normal(D), 0.0), Gaussian.standard(D, torch.float64)
    close(transport(normal(2, D), wide, point), point.mean.expand(2, D), 1e-12)
    with pytest.raises(ValueError, match="no map"):
        transport(normal(2, D), point, wide)
    with pytest.raises(ValueError, match="dimensions"):
        transport(normal(2, D + 1), wide, point)


# Size.


def test_the_largest_latent_with_low_rank_stays_low_rank():
    dim, rank = 196_608, 16
    shape = Covariance(0.5 + torch.rand(dim, generator=rng()), torch.randn(dim, rank, generator=rng()) / 100)
    z = torch.randn(2, dim, generator=rng())
    posterior = Posterior.condition(z, 0.5, likelihood=shape)
    assert posterior.covariance.factor.shape == (dim, rank)
    assert torch.isfinite(posterior.sample(2)).all()
    assert torch.isfinite(posterior.predictive().log_prob(z)).all()


# Files.


@every_ratio
@every_prior
@every_covariance
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_saved_posterior_is_the_same_posterior(tmp_path, covariance, prior, ratio, dtype):
    posterior = Posterior.condition(
        EVIDENCE.to(dtype), ratio, likelihood=covariance, prior=prior, weights=[1, 2, 0, 0.5], metadata={"a": "1"}
    )
    posterior.save(tmp_path / "posterior.safetensors", {"prior": "célèbre"})
    again = Posterior.load(tmp_path / "posterior.safetensors")
    assert again.metadata == {"a": "1", "prior": "célèbre"}
    assert again.sample(3).equal(posterior.sample(3))
    assert again.m == 3.5 and again.lam_ratio.equal(posterior.lam_ratio) and again.weights.equal(posterior.weights)
    same(again.with_lam(0.1), posterior.with_lam(0.1), 0)
    same(again.predictive(), posterior.predictive(), 0)
    same(again.prior, posterior.prior, 0)
    again.save(tmp_path / "second.safetensors")
    assert (tmp_path / "second.safetensors").read_bytes() == (tmp_path / "posterior.safetensors").read_bytes()


@pytest.mark.parametrize("weights", [None, [1.0, 0.0, 2.0, 0.5]])
def test_what_of_each_piece_is_visible_is_kept(tmp_path, weights):
    """And a file of before there were masks opens, with all of each piece visible."""
    visible = torch.rand(M, 6, 6, generator=rng(1))
    posterior = Posterior.condition(EVIDENCE, 0.5, weights=weights, visible=visible)
    kept = visible if weights is None else visible[[0, 2, 3]]  # a piece of no weight is not kept, nor is its mask
    assert posterior.visible.equal(kept) and posterior.with_lam(2.0).visible is posterior.visible
    posterior.save(tmp_path / "p")
    again = Posterior.load(tmp_path / "p")
    assert again.visible.equal(kept) and len(again.visible) == len(again.latents)
    Posterior.condition(EVIDENCE, 0.5, weights=weights).save(tmp_path / "old")
    assert "visible" not in load_file(tmp_path / "old") and Posterior.load(tmp_path / "old").visible is None


@pytest.mark.parametrize("shape", [(M - 1, 6, 6), (M, 36), (6, 6)])
def test_masks_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=f"visible is .* for {M} pieces of evidence"):
        Posterior.condition(EVIDENCE, 0.5, visible=torch.ones(shape))


def test_more_evidence_than_is_kept_has_the_masks_of_what_is():
    visible = torch.arange(300.0)[:, None, None].expand(-1, 2, 2) / 300
    z = torch.arange(300.0)[:, None].expand(-1, D)
    posterior = Posterior.condition(z, 0.5, visible=visible)
    close(posterior.visible[:, 0, 0] * 300, posterior.latents[:, 0], 1e-4)


@pytest.mark.parametrize("ratio", [0.0, math.inf])
def test_the_ends_can_be_saved(tmp_path, ratio):
    Posterior.condition(EVIDENCE, ratio).save(tmp_path / "end")
    assert Posterior.load(tmp_path / "end").lam_ratio == ratio


def test_a_plain_posterior_is_a_small_file_that_others_can_read(tmp_path):
    posterior = Posterior.condition(EVIDENCE.float(), 0.5)
    posterior.save(tmp_path / "posterior.safetensors")
    tensors = load_file(tmp_path / "posterior.safetensors")
    assert tensors["mean"].equal(posterior.mean)
    assert tensors["covariance.diagonal"] == posterior.variance
    assert tensors["latents"].equal(EVIDENCE.float())
    names = {"mean", "covariance.diagonal", "evidence_mean", "latents", "lam_ratio", "likelihood.diagonal"}
    assert set(tensors) == names


def test_words_must_be_text(tmp_path):
    with pytest.raises(ValueError, match="string"):
        Posterior.condition(EVIDENCE, 0.5).save(tmp_path / "posterior", {"seed": 1})
    with pytest.raises(ValueError, match="characters"):
        Posterior.condition(EVIDENCE, 0.5).save(tmp_path / "posterior", {"note": "x" * 2**20})


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "posterior.safetensors"
    prior = Gaussian(normal(D), COVARIANCES["diagonal + low rank"])
    Posterior.condition(EVIDENCE.float(), 0.5, prior=prior, weights=[1.0] * M).save(path, {"prior": "tiny"})
    return path


def rewrite(path, tensors=None, document=None, header=None):
    """The saved file with some tensors (None removes one) or fields of its description changed."""
    stored = load_file(path)
    for name, tensor in (tensors or {}).items():
        stored.pop(name, None)
        if tensor is not None:
            stored[name] = tensor
    words = {"format": "transflow-posterior", "version": 2, "m": 4.0, "metadata": {}, **(document or {})}
    save_file(stored, path, {"posterior": json.dumps(words)} if header is None else header)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tensors": {"mean": torch.full((D,), math.nan)}}, "finite"),
        ({"tensors": {"evidence_mean": torch.full((D,), math.inf)}}, "finite"),
        ({"tensors": {"lam_ratio": torch.tensor(math.nan)}}, "finite"),
        ({"tensors": {"lam_ratio": torch.tensor(-1.0)}}, "at least 0"),
        ({"tensors": {"mean": torch.zeros(D + 1)}}, "does not fit"),
        ({"tensors": {"mean": torch.tensor(0.0)}}, "does not fit"),
        ({"tensors": {"mean": torch.zeros(0)}}, "does not fit"),
        ({"tensors": {"mean": torch.zeros(D, dtype=torch.int64)}}, "I64"),
        ({"tensors": {"mean": torch.zeros(D, dtype=torch.bfloat16)}}, "BF16"),
        ({"tensors": {"mean": None}}, "lacks"),
        ({"tensors": {"extra": torch.zeros(1)}}, "no posterior has"),
        ({"tensors": {"prior.mean": None}}, "prior is incomplete"),
        ({"tensors": {"prior.mean": None, "prior.diagonal": None}}, "prior is incomplete"),
        ({"tensors": {"covariance.diagonal": -torch.ones(D)}}, "negative"),
        ({"tensors": {"covariance.diagonal": torch.zeros(D)}}, "singular"),
        ({"tensors": {"covariance.diagonal": torch.ones(D, D)}}, "does not fit"),
        ({"tensors": {"likelihood.diagonal": torch.tensor(-1.0)}}, "negative"),
        ({"tensors": {"likelihood.factor": torch.ones(D, 5000)}}, "does not fit"),
        ({"tensors": {"likelihood.factor": torch.ones(D, 0)}}, "does not fit"),
        ({"tensors": {"weights": torch.zeros(M)}}, "not all 0"),
        ({"tensors": {"weights": torch.zeros(0)}}, "does not fit"),
        ({"tensors": {"weights": torch.ones(M - 1)}}, "as many weights"),
        ({"tensors": {"visible": torch.ones(M - 1, 4, 4)}}, "its masks are not as many as its pieces of evidence"),
        ({"tensors": {"visible": torch.ones(M, 4)}}, "does not fit"),
        ({"tensors": {"visible": torch.ones(M, 999, 4)}}, "does not fit"),
        ({"tensors": {"visible": torch.full((M, 4, 4), math.nan)}}, "finite"),
        ({"tensors": {"latents": None}}, "lacks"),
        ({"tensors": {"latents": torch.zeros(129, D)}}, "does not fit"),
        ({"tensors": {"latents": torch.full((M, D), math.nan)}}, "finite"),
        ({"document": {"format": "transflow-glow"}}, "format is .transflow-glow.; choose"),
        ({"document": {"version": 1}}, "version is 1; choose 2"),
        ({"document": {"m": 0}}, "m is 0: input should be greater"),
        ({"document": {"m": True}}, "m is "),
        ({"document": {"m": "4"}}, "m is "),
        ({"document": {"m": math.nan}}, "m is "),
        ({"document": {"m": 10**400}}, "m is "),
        ({"document": {"metadata": {"a": 1}}}, "metadata is 1: .*string"),
        ({"document": {"metadata": ["a"]}}, "metadata is .*object"),
        ({"document": {"metadata": {"a": "\ud800"}}}, "JSON"),
        ({"header": {"format": "pt"}}, "no posterior of this program"),
        ({"header": {"posterior": "{"}}, "JSON"),
        ({"header": {"posterior": "[1]"}}, "no posterior of this program"),
        ({"header": {"posterior": "[" * 100_000}}, "JSON"),
        ({"header": {"posterior": "x" * 2**21}}, "not a safetensors file"),
    ],
)
def test_a_hostile_file_is_refused_with_its_name_and_the_reason(saved, changes, message):
    rewrite(saved, **changes)
    with pytest.raises(ValueError, match=message) as error:
        Posterior.load(saved)
    assert str(saved) in str(error.value)


def test_a_header_that_claims_more_than_there_is_costs_nothing(saved):
    header = json.dumps({"mean": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    saved.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 64)
    with pytest.raises(ValueError, match="safetensors"):
        Posterior.load(saved)


def test_a_file_that_is_too_large_is_not_read(saved, monkeypatch):
    monkeypatch.setattr("transflow_core.untrusted._MAX_BYTES", 100)
    with pytest.raises(ValueError, match="too large"):
        Posterior.load(saved)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        Posterior.load(tmp_path / "nothing.safetensors")


def test_a_truncated_file_is_refused_wherever_it_was_cut(saved):
    data = saved.read_bytes()
    for length in range(0, len(data), 13):
        saved.write_bytes(data[:length])
        with pytest.raises(ValueError, match="safetensors"):
            Posterior.load(saved)


def test_a_damaged_file_is_refused_or_loads_as_a_sane_posterior(saved):
    """A flipped bit in the header or in the numbers: a ValueError, or something that can be used."""
    data = saved.read_bytes()
    positions = torch.randint(len(data), (400,), generator=rng()).tolist()
    refused = 0
    for i in positions:
        for bit in (0, 6):
            saved.write_bytes(data[:i] + bytes([data[i] ^ (1 << bit)]) + data[i + 1 :])
            try:
                posterior = Posterior.load(saved)
            except ValueError:
                refused += 1
                continue
            assert posterior.sample(2).shape == (2, D) and torch.isfinite(posterior.mean).all()
    assert refused > 100


def test_moving_to_a_device_keeps_everything():
    posterior = Posterior.condition(EVIDENCE, 0.5, likelihood=COVARIANCES["diagonal + low rank"], metadata={"a": "b"})
    moved = posterior.to("cpu")
    same(moved, posterior, 0)
    assert moved.metadata == {"a": "b"} and moved.m == M
    same(replace(moved, mean=moved.mean), moved, 0)
    assert Gaussian.standard(3).to("cpu").covariance.diagonal == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@every_covariance
def test_a_gpu_gives_the_same(covariance):
    here = Posterior.condition(EVIDENCE, 0.5, likelihood=covariance)
    there = Posterior.condition(EVIDENCE.cuda(), 0.5, likelihood=covariance)
    for posterior in (there, here.to("cuda"), there.with_lam(1.0).with_lam(0.5)):
        close(posterior.sample(4).cpu(), here.sample(4))
        close(transport(EVIDENCE.cuda(), posterior.prior, posterior).cpu(), transport(EVIDENCE, here.prior, here))
        close(posterior.predictive().log_prob(EVIDENCE.cuda()).cpu(), here.predictive().log_prob(EVIDENCE))
        close(interpolate(posterior, posterior.prior, 0.3).mean.cpu(), interpolate(here, here.prior, 0.3).mean)
        assert posterior.kl(posterior.prior) == pytest.approx(here.kl(here.prior))
