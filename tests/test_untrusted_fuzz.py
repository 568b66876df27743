"""Saved posteriors and classifiers that a machine makes up: each is refused in words, or does all that a page asks.

Bytes are changed in good files, and numbers of any size are put into well-formed ones. What was found once is kept as
an `example`.
"""

import math

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from transflow_core.engine import Engine
from transflow_core.fewshot import FewShotClassifier
from transflow_core.posterior import Covariance, Posterior

from .helpers import by_bootstrap, by_local, make_tiny_prior

some = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
D, M = 6, 3
EVIDENCE = torch.randn(M, D, generator=torch.Generator().manual_seed(0))
FLOATS = st.one_of(
    st.floats(width=32),
    st.sampled_from([0.0, -0.0, 1e-45, 1e-38, 1e-20, 1e6, 1e9, 1e18, 3e38, -1.0, math.inf, -math.inf, math.nan]),
)


@pytest.fixture(scope="module")
def posterior(tmp_path_factory):
    """A saved one with everything that a file may hold."""
    path = tmp_path_factory.mktemp("posterior") / "good.safetensors"
    likelihood = Covariance(torch.ones(D), torch.full((D, 2), 0.3))
    first = Posterior.condition(EVIDENCE, 0.5)
    Posterior.condition(EVIDENCE, 0.5, likelihood=likelihood, weights=[1.0, 2.0, 0.5], prior=first).save(path)
    return path


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    path = tmp_path_factory.mktemp("classifier") / "good.safetensors"
    classes = {name: EVIDENCE + shift for shift, name in enumerate("abc")}
    FewShotClassifier(None, likelihood="low-rank").fit_latents(classes).save(path)
    return path


def changed(path, target, flips):
    data = bytearray(path.read_bytes())
    for place, value in flips:
        data[place % len(data)] = value
    target.write_bytes(data)
    return target


def header_of(path):
    with safe_open(path, "pt") as handle:
        return handle.metadata()


def with_number(path, target, name, place, value):
    tensors = load_file(path)
    names = sorted(tensors)
    tensor = tensors[names[name % len(names)]]
    tensor.reshape(-1)[place % tensor.numel()] = value
    save_file(tensors, target, header_of(path))
    return target


def use(path):
    """All that is asked of a posterior that was let in."""
    try:
        posterior = Posterior.load(path)
    except ValueError as error:
        assert str(error)
        return
    for seed in (0, 1):
        assert posterior.sample(2, seed=seed, temperature=1.5).shape == (2, D)
    for ratio in (0.0, 0.01, 10.0, 1000.0):
        moved = posterior.with_lam(ratio)
        assert moved.sample(1).isfinite().all()
        try:
            assert not math.isnan(moved.kl(moved.prior))
        except ValueError as error:
            assert "singular" in str(error)
    for how in (by_local(), by_bootstrap()):
        assert posterior.draw(how).sample(2).isfinite().all()


FLIPS = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8)


@some
@given(flips=FLIPS)
def test_a_posterior_with_changed_bytes(posterior, tmp_path, flips):
    use(changed(posterior, tmp_path / "p.safetensors", flips))


@some
@given(name=st.integers(0, 20), place=st.integers(0, 100), value=FLOATS)
@example(name=1, place=0, value=1e30)  # a factor: LinAlgError of its eigenvalues
@example(name=4, place=0, value=1e38)
@example(name=6, place=3, value=1e6)
@example(name=3, place=0, value=-0.0)  # λ
def test_a_posterior_with_a_number_of_any_size(posterior, tmp_path, name, place, value):
    use(with_number(posterior, tmp_path / "p.safetensors", name, place, value))


def judged(path):
    try:
        classifier = FewShotClassifier.load(path, None)
    except ValueError as error:
        assert str(error)
        return
    answers = classifier.judge(EVIDENCE)
    for answer in answers:
        assert sum(answer.probabilities.values()) == pytest.approx(1) and 0 <= answer.novelty <= 1


@some
@given(flips=FLIPS)
def test_a_classifier_with_changed_bytes(classifier, tmp_path, flips):
    judged(changed(classifier, tmp_path / "c.safetensors", flips))


@some
@given(name=st.integers(0, 20), place=st.integers(0, 100), value=FLOATS)
def test_a_classifier_with_a_number_of_any_size(classifier, tmp_path, name, place, value):
    judged(with_number(classifier, tmp_path / "c.safetensors", name, place, value))


def test_a_posterior_far_from_all_latents_is_refused_and_not_shown_grey(tmp_path):
    prior = make_tiny_prior()
    Posterior.condition(torch.full((2, prior.dim), 1e6), 0.5).save(tmp_path / "far.safetensors")
    evidence = Engine(prior).read([tmp_path / "far.safetensors"])
    assert evidence.saved is None and "beyond all that this prior can show" in evidence.notes[0]
