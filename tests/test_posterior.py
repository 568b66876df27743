"""The posterior against dense matrix formulas, its limits and laws. Saved files are in `test_saved`."""

import math

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


def every(name: str, cases: dict) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(name, cases.values(), ids=cases.keys())


every_covariance, every_other = every("covariance", COVARIANCES), every("other", COVARIANCES)
every_prior, every_ratio = every("prior", PRIORS), every("ratio", RATIOS)


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


@every_ratio
@every_prior
@every_covariance
def test_the_posterior_is_eq_3_and_4_however_it_is_told(covariance, prior, ratio):
    lam = ratio * M
    posterior = Posterior.condition(EVIDENCE, ratio, likelihood=covariance, prior=prior)
    before = prior or Gaussian.standard(D, torch.float64)
    prior_precision = torch.linalg.inv(before.covariance.dense(D))
    precision = torch.linalg.inv(likelihood_matrix(lam, covariance))
    expected = torch.linalg.inv(prior_precision + M * precision)
    mean = expected @ (prior_precision @ before.mean + M * precision @ EVIDENCE.mean(0))
    close(posterior.covariance.dense(D), expected)
    close(posterior.mean, mean)
    close(posterior.variance.expand(D), expected.diagonal())
    close(posterior.lam.expand(D), torch.as_tensor(lam, dtype=torch.float64).expand(D))
    predictive = posterior.predictive()
    close(predictive.mean, mean)
    close(predictive.covariance.dense(D), expected + likelihood_matrix(lam, covariance))
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


def test_the_default_is_cheap_and_in_single_precision():
    posterior = Posterior.condition(EVIDENCE.float(), lam_ratio=0.5, metadata={"prior": "tiny"})
    close(posterior.mean, EVIDENCE.mean(0) / 1.5, 1e-6)
    assert posterior.mean.dtype == posterior.sample(2).dtype == torch.float32
    assert posterior.variance.ndim == 0 and posterior.variance.item() == pytest.approx(1 / 3)
    assert posterior.covariance.factor is None and posterior.with_lam(1.0).metadata == {"prior": "tiny"}
    assert Posterior.condition(EVIDENCE.half(), 0.5).mean.dtype == torch.float32


# Limits.


@every_prior
@every_covariance
def test_an_infinite_lambda_gives_the_prior_and_zero_gives_the_evidence_exactly(covariance, prior):
    how = {"likelihood": covariance, "prior": prior}
    whole, point = (Posterior.condition(EVIDENCE, ratio, **how) for ratio in (math.inf, 0.0))
    before = prior or Gaussian.standard(D, torch.float64)
    assert whole.mean.equal(before.mean) and whole.covariance.dense(D).equal(before.covariance.dense(D))
    close(point.mean, EVIDENCE.mean(0), 1e-14)
    assert not point.covariance.dense(D).any() and not point.predictive().covariance.dense(D).any()
    assert point.sample(2).equal(point.mean.expand(2, D))
    with pytest.raises(ValueError, match="finite λ"):
        whole.predictive()
    with pytest.raises(ValueError, match="larger λ"):
        point.log_prob(EVIDENCE)
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


@pytest.mark.parametrize("ratio", [0.0, 0.5, math.inf])
@every_covariance
def test_a_dimension_that_the_prior_knows_exactly_stays_there(covariance, ratio):
    diagonal = positive(D)
    diagonal[2] = 0
    prior = Gaussian(normal(D), diagonal)
    posterior = Posterior.condition(EVIDENCE, ratio, likelihood=covariance, prior=prior)
    assert posterior.mean[2] == prior.mean[2] and not posterior.covariance.dense(D)[2].any()


def test_low_rank_survives_extreme_ratios_in_single_precision():
    shape = Covariance(positive(D, seed=3).float(), normal(D, 3, seed=4).float())
    for exponent in range(-320, 320, 20):
        posterior = Posterior.condition(EVIDENCE.float(), float(f"1e{exponent}"), likelihood=shape)
        assert torch.isfinite(posterior.sample(3)).all()


def test_the_largest_latent_with_low_rank_stays_low_rank():
    dim, rank = 196_608, 16
    shape = Covariance(0.5 + torch.rand(dim, generator=rng()), torch.randn(dim, rank, generator=rng()) / 100)
    z = torch.randn(2, dim, generator=rng())
    posterior = Posterior.condition(z, 0.5, likelihood=shape)
    assert posterior.covariance.factor.shape == (dim, rank)
    assert torch.isfinite(posterior.sample(2)).all()
    assert torch.isfinite(posterior.predictive().log_prob(z)).all()


# Evidence and its weights.


@given(weights=st.lists(st.floats(0, 10), min_size=M, max_size=M).filter(any), lam=st.floats(1e-3, 1e3))
@settings(max_examples=30, deadline=None)
def test_fractional_weights_are_precisions(weights, lam):
    posterior = Posterior.condition(EVIDENCE, lam=lam, weights=weights)
    w = torch.tensor(weights, dtype=torch.float64)
    precision = 1 + w.sum() / lam
    close(posterior.variance, 1 / precision)
    close(posterior.mean, w @ EVIDENCE / lam / precision)


def test_evidence_of_no_weight_may_be_broken():
    evidence = EVIDENCE.clone()
    evidence[1] = math.nan
    assert torch.isfinite(Posterior.condition(evidence, 0.5, weights=[1, 0, 1, 1]).mean).all()
    with pytest.raises(ValueError, match=r"rows \[1\]"):
        Posterior.condition(evidence, 0.5)


def test_one_lambda_a_level(tiny_prior):
    levels = [slice(0, 4), slice(4, 6), slice(6, 7)]
    ratios = per_level([0.1, 1.0, math.inf], levels)
    assert ratios.tolist() == pytest.approx([0.1] * 4 + [1.0] * 2 + [math.inf])
    posterior = Posterior.condition(EVIDENCE.float(), lam_ratio=ratios)
    close(posterior.mean, EVIDENCE.mean(0) / (1 + ratios), 1e-6)
    close(posterior.variance[:6], (ratios / (1 + ratios))[:6], 1e-6)
    assert posterior.mean[6] == 0 and posterior.variance[6] == 1
    for values, wrong in (([1.0], levels), ([1.0, 2.0], [slice(0, 4), slice(5, 7)]), ([], [])):
        with pytest.raises(ValueError, match="level"):
            per_level(values, wrong)
    of_prior = per_level(range(len(tiny_prior.levels)), tiny_prior.levels)
    assert all((of_prior[level.slice] == value).all() for value, level in enumerate(tiny_prior.levels))


def test_more_evidence_than_is_kept_has_the_masks_of_what_is():
    visible = torch.arange(300.0)[:, None, None].expand(-1, 2, 2) / 300
    z = torch.arange(300.0)[:, None].expand(-1, D)
    posterior = Posterior.condition(z, 0.5, visible=visible)
    close(posterior.visible[:, 0, 0] * 300, posterior.latents[:, 0], 1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lam_ratio": None}, "either"),
        ({"lam": 1.0}, "either"),
        ({"lam_ratio": -1.0}, "at least 0"),
        ({"lam_ratio": math.nan}, "at least 0"),
        ({"lam_ratio": torch.ones(D + 1)}, "one number or"),
        ({"weights": [1.0]}, "as many weights"),
        ({"weights": [0.0] * M}, "not all 0"),
        ({"weights": [1.0, -1.0, 1.0, 1.0]}, "at least 0"),
        ({"weights": [1.0, math.inf, 1.0, 1.0]}, "finite"),
        ({"prior": Gaussian.standard(D + 1)}, "dimensions"),
        ({"likelihood": Covariance(torch.ones(D + 1))}, "dimensions"),
        ({"visible": torch.ones(M - 1, 6, 6)}, f"visible is .* for {M} images"),
        ({"visible": torch.ones(M, 36)}, f"visible is .* for {M} images"),
        ({"z": torch.zeros(D)}, "at least one row"),
        ({"z": torch.zeros(0, D)}, "at least one row"),
    ],
)
def test_arguments_that_make_no_sense(arguments, message):
    with pytest.raises(ValueError, match=message):
        Posterior.condition(**{"z": EVIDENCE, "lam_ratio": 0.5} | arguments)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Covariance(-1.0), "negative"),
        (lambda: Covariance(math.nan), "finite"),
        (lambda: Covariance(torch.ones(2, 2)), "diagonal"),
        (lambda: Covariance(torch.ones(3), torch.ones(2, 1)), "does not fit"),
        (lambda: Covariance(1.0, torch.full((3, 1), math.inf)), "finite"),
        (lambda: Covariance(torch.tensor([1.0, 0.0]), torch.ones(2, 1)), "singular"),
        (lambda: Gaussian(torch.ones(2, 2), 1.0), r"\(D,\)"),
        (lambda: Gaussian(torch.tensor([math.nan]), 1.0), "finite"),
        (lambda: Gaussian(torch.arange(3), 1.0), "float32"),
        (lambda: Gaussian(torch.ones(3), torch.ones(4)), "does not fit"),
        (lambda: Gaussian.standard(3).sample(1, temperature=-1.0), "temperature"),
        (lambda: Gaussian.standard(3).sample(1, temperature=math.inf), "temperature"),
        (lambda: Gaussian.standard(3).log_prob(torch.ones(3)), "log_prob"),
        (lambda: Gaussian.standard(3).kl(Gaussian.standard(4)), "dimensions"),
        (lambda: standard_normal(-1, 3), "noise"),
        (lambda: standard_normal(1, 0), "noise"),
    ],
)
def test_what_is_no_gaussian_and_what_none_can_do(make, message):
    with pytest.raises(ValueError, match=message):
        make()


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


@every_covariance
def test_samples_have_the_mean_and_the_covariance(covariance):
    root = covariance.root(torch.eye(D, dtype=torch.float64)).T
    close(root @ root.T, covariance.dense(D), 1e-12)
    gaussian = Gaussian(normal(D), covariance)
    for temperature in (1.0, 0.5):
        samples = gaussian.sample(20_000, seed=1, temperature=temperature)
        scale = gaussian.variance.max().item()
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


# Densities.


@every_other
@every_covariance
def test_density_and_divergence_are_those_of_torch(covariance, other, monkeypatch):
    a, b = Gaussian(normal(D), covariance), Gaussian(normal(D, seed=1), other)
    dense = [MultivariateNormal(g.mean, g.covariance.dense(D)) for g in (a, b)]
    assert a.kl(b) == pytest.approx(kl_divergence(*dense).item(), abs=1e-9)
    assert a.kl(a) == pytest.approx(0, abs=1e-9)
    z = normal(11, D, seed=9)
    close(a.log_prob(z), dense[0].log_prob(z))
    assert a.log_prob(z.float()).dtype == torch.float64 and a.log_prob(z[:0]).shape == (0,)
    monkeypatch.setattr("transflow_core.posterior.gaussian._CHUNK", 3 * D)
    close(a.log_prob(z), dense[0].log_prob(z))


def test_divergence_of_a_point_is_infinite():
    point = Posterior.condition(EVIDENCE, 0.0)
    assert point.kl(point.prior) == math.inf
    assert Posterior.condition(EVIDENCE, math.inf).kl(point.prior) == 0


# Interpolation and transport.


@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("path", ["linear", "wasserstein"])
@every_other
@every_covariance
def test_interpolation_mixes_covariances_or_standard_deviations(covariance, other, path, t):
    a, b = Gaussian(normal(D), covariance), Gaussian(normal(D, seed=1), other)
    first, last = covariance.dense(D), other.dense(D)
    if path == "linear":
        expected = (1 - t) * first + t * last
    elif t in (0, 1):
        expected = last if t else first
    elif covariance.factor is None and other.factor is None:
        expected = torch.diag(((1 - t) * first.diagonal().sqrt() + t * last.diagonal().sqrt()).square())
    else:
        with pytest.raises(ValueError, match="method='linear'"):
            interpolate(a, b, t, path)
        return
    between = interpolate(a, b, t, path)
    close(between.mean, (1 - t) * a.mean + t * b.mean, 1e-12)
    close(between.covariance.dense(D), expected, 1e-12)


@pytest.mark.parametrize(
    ("t", "path", "message"),
    [(-0.1, "linear", "t goes"), (1.1, "linear", "t goes"), (math.nan, "linear", "t goes"), (0.5, "slerp", "unknown")],
)
def test_what_is_no_path_is_refused(t, path, message):
    a, b = Posterior.condition(EVIDENCE, 0.2), Posterior.condition(-EVIDENCE, positive(D))
    with pytest.raises(ValueError, match=message):
        interpolate(a, b, t, path)
    with pytest.raises(ValueError, match="dimensions"):
        interpolate(a, Gaussian.standard(D + 1), 0.5)


@every_other
@every_covariance
def test_transport_is_optimal(covariance, other):
    """A linear map between Gaussians is the optimal one if it is symmetric, positive, and pushes one onto the other."""
    source, target = Gaussian(normal(D), covariance), Gaussian(normal(D, seed=1), other)
    points = source.mean + torch.eye(D, dtype=torch.float64)
    scalar = covariance.diagonal.ndim == other.diagonal.ndim == 0
    if covariance.factor is not None or (other.factor is not None and not scalar):
        with pytest.raises(ValueError, match="low-rank"):
            transport(points, source, target)
        return
    matrix = transport(points, source, target) - target.mean
    close(matrix, matrix.T, 1e-7)
    assert torch.linalg.eigvalsh(matrix).min() > 0
    close(matrix @ covariance.dense(D) @ matrix.T, other.dense(D), 1e-7)
    # From the prior N(0, I) it is μ + Σ^½ z.
    z, prior = normal(5, D, seed=8), Gaussian.standard(D, torch.float64)
    if scalar or other.factor is None:
        close(transport(z, prior, target), target.mean + z @ symmetric_root(other.dense(D)))
        assert transport(z.float(), prior, target).dtype == torch.float32


def test_transport_to_a_point_and_from_one():
    point, wide = Gaussian(normal(D), 0.0), Gaussian.standard(D, torch.float64)
    close(transport(normal(2, D), wide, point), point.mean.expand(2, D), 1e-12)
    with pytest.raises(ValueError, match="no map"):
        transport(normal(2, D), point, wide)
    with pytest.raises(ValueError, match="dimensions"):
        transport(normal(2, D + 1), wide, point)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@every_covariance
def test_a_gpu_gives_the_same(covariance):
    here, there = (Posterior.condition(z, 0.5, likelihood=covariance) for z in (EVIDENCE, EVIDENCE.cuda()))
    for posterior in (there, there.with_lam(1.0).with_lam(0.5)):
        close(posterior.sample(4).cpu(), here.sample(4))
        close(posterior.predictive().log_prob(EVIDENCE.cuda()).cpu(), here.predictive().log_prob(EVIDENCE))
        close(interpolate(posterior, posterior.prior, 0.3).mean.cpu(), interpolate(here, here.prior, 0.3).mean)
        assert posterior.kl(posterior.prior) == pytest.approx(here.kl(here.prior))
