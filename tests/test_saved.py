"""Saved posteriors and classifiers: what is read is what was written, and what is not is refused.

Hypothesis changes bytes and numbers of good files: each is refused in words, or does all that a page asks. What was
found once is kept as an `example`.
"""

import errno
import json
import math
import struct

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from transflow_core import Engine, FewShotClassifier, Method, Sample
from transflow_core.operations.files import Latents
from transflow_core.posterior import Gaussian, Posterior, Restyling, mixed, resolve

from .fuzz import changed, edits, many
from .helpers import by_bootstrap, by_local, make_tiny_prior, rng
from .test_posterior import COVARIANCES, EVIDENCE, PRIORS, RATIOS, D, M, normal, same


def save_posterior(path):
    prior, likelihood = Gaussian(normal(D), COVARIANCES["diagonal + low rank"]), COVARIANCES["scalar + low rank"]
    posterior = Posterior.condition(EVIDENCE.float(), 0.5, prior=prior, likelihood=likelihood, weights=[1, 2, 1, 1])
    posterior.save(path, {"prior": "tiny"})


def use_posterior(path):
    """All that is asked of a posterior that was let in."""
    posterior = Posterior.load(path)
    assert posterior.sample(2, temperature=1.5).shape == (2, D) and torch.isfinite(posterior.mean).all()
    for ratio in (0.0, 0.01, 1000.0):
        moved = posterior.with_lam(ratio)
        assert moved.sample(1).isfinite().all()
        try:
            assert not math.isnan(moved.kl(moved.prior))
        except ValueError as error:
            assert "singular" in str(error)
    for how in (by_local(), by_bootstrap()):
        assert posterior.draw(how).sample(2).isfinite().all()
    assert mixed(posterior, posterior, "add").sample(1).isfinite().all()


def save_classifier(path):
    z = normal(12, D).float()
    FewShotClassifier(None).fit_latents({"a": z[:4], "b": z[4:8] + 1, "c": z[8:] - 1}).save(path)


def use_classifier(path):
    for answer in FewShotClassifier.load(path, None).judge(EVIDENCE.float()):
        assert sum(answer.probabilities.values()) == pytest.approx(1) and 0 <= answer.novelty <= 1


KINDS = {"posterior": (save_posterior, use_posterior), "classifier": (save_classifier, use_classifier)}


@pytest.fixture(params=KINDS)
def saved(request, tmp_path):
    """A file, and how it is read and used."""
    save, use = KINDS[request.param]
    save(tmp_path / "file.safetensors")
    return tmp_path / "file.safetensors", use


def test_what_is_no_whole_file_is_refused(saved):
    path, use = saved
    data = path.read_bytes()
    header = json.dumps({"mean": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    cuts = [data[:length] for length in range(0, len(data), 1 + len(data) // 60)]
    for content in (*cuts, b"not a file", b"\xff" * 64, struct.pack("<Q", len(header)) + header + b"\0" * 64):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="safetensors"):
            use(path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="no such file"):
        use(path)


def test_a_disk_that_takes_no_more_is_the_systems_error_and_leaves_the_old_file(saved):
    resource, (path, use) = pytest.importorskip("resource"), saved
    content, (soft, hard) = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(OSError, match=path.name) as error:
            next(save for save, of in KINDS.values() if of is use)(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert error.value.errno == errno.EFBIG
    assert path.read_bytes() == content and list(path.parent.iterdir()) == [path]


def test_a_file_that_is_too_large_is_not_read(saved, monkeypatch):
    path, use = saved
    monkeypatch.setattr("transflow_core.untrusted._MAX_BYTES", 100)
    with pytest.raises(ValueError, match="too large"):
        use(path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_another_kind_is_refused(saved, kind):
    path, use = saved
    if use is not KINDS[kind][1]:
        with pytest.raises(ValueError, match=f"no {kind} of this program, but a "):
            KINDS[kind][1](path)


@pytest.mark.parametrize("use", [use_posterior, use_classifier])
def test_latents_and_weights_are_named_or_refused_without_a_field(tmp_path, use):
    path, z = tmp_path / "file.safetensors", torch.zeros(2, D)
    Latents(z, ("a", "b")).save(path, {"recipe": "encode"})
    with pytest.raises(ValueError, match=r"of this program, but latents$"):
        use(path)
    save_file({"z": z}, path)
    with pytest.raises(ValueError, match=r"of this program$"):
        use(path)


@pytest.mark.parametrize("header", ["{", "[1]", "[" * 100_000, '{"a": "\\ud800"}', "x" * 2**21])
def test_a_header_that_is_none_is_refused(saved, header):
    path, use = saved
    with safe_open(path, "pt") as handle:
        (kind,) = handle.metadata()
    save_file(load_file(path), path, {kind: header})
    with pytest.raises(ValueError, match=str(path)):
        use(path)


HOSTILE = [
    ("posterior", {"mean": torch.full((D,), math.nan)}, "finite"),
    ("posterior", {"lam_ratio": torch.tensor(-1.0)}, "at least 0"),
    ("posterior", {"mean": torch.zeros(D, dtype=torch.int64)}, "I64"),
    ("posterior", {"mean": None}, "lacks"),
    ("posterior", {"extra": torch.zeros(1)}, "no posterior has"),
    ("posterior", {"prior.diagonal": -torch.ones(D)}, "negative"),
    ("posterior", {"prior.diagonal": torch.zeros(D)}, "singular"),
    ("posterior", {"prior.mean": None}, r"lacks \['prior.mean'\]"),
    ("posterior", {"covariance.diagonal": torch.ones(D, D)}, "does not fit"),
    ("posterior", {"covariance.diagonal": torch.full((D,), 1e30)}, "too large"),
    ("posterior", {"likelihood.factor": torch.full((D, 2), 1e6)}, "likelihood.factor .* too large"),
    ("posterior", {"prior.diagonal": torch.full((D,), 1e-29)}, "prior.factor .* too large"),
    ("posterior", {"weights": torch.zeros(M)}, "not all 0"),
    ("posterior", {"latents": torch.zeros(129, D)}, "does not fit"),
    ("posterior", {"format": "transflow-glow"}, "format is .transflow-glow.; choose"),
    ("posterior", {"version": 1}, "version is 1; choose 2"),
    ("posterior", {"m": 0}, "m is 0: input should be greater"),
    ("posterior", {"m": 10**400}, "m is "),
    ("posterior", {"metadata": {"a": 1}}, "metadata is 1: .*string"),
    ("classifier", {"sigma.0.along": None}, "classifier"),
    ("classifier", {"sigma.0.rest": torch.tensor(-1.0).double()}, "above 0"),
    ("classifier", {"counts": torch.zeros(3).double()}, "at least 1"),
    ("classifier", {"novelty.covariance": -torch.eye(3).double()}, "covariance"),
    ("classifier", {"novelty.covariance": torch.full((3, 3), 1e-20).double()}, "inverted"),
    ("classifier", {"classes": ["a", "a", "b"]}, "different printable"),
    ("classifier", {"classes": "abc"}, "classes"),
    ("classifier", {"temperature": 0}, "temperature"),
    ("classifier", {"parts": [[3, 1.0], [D, 1.0]]}, "lacks"),
    ("classifier", {"parts": [[D, 1.0], [3, 1.0]]}, "parts do not divide"),
    ("classifier", {"parts": [[D + 1, 1.0]]}, "does not fit"),
]


@pytest.mark.parametrize(("kind", "changes", "message"), HOSTILE)
def test_a_hostile_file_is_refused_with_its_name_and_the_reason(tmp_path, kind, changes, message):
    """Tensors and fields of the header changed; None removes one."""
    (save, use), path = KINDS[kind], tmp_path / "file.safetensors"
    save(path)
    with safe_open(path, "pt") as handle:
        document = json.loads(handle.metadata()[kind])
    tensors = load_file(path)
    for name, value in changes.items():
        of = document if name in document or (value is not None and not isinstance(value, torch.Tensor)) else tensors
        of.pop(name, None)
        of |= {} if value is None else {name: value}
    save_file(tensors, path, {kind: json.dumps(document)})
    with pytest.raises(ValueError, match=message) as error:
        use(path)
    assert str(path) in str(error.value)


FLOATS = st.one_of(
    st.floats(width=32),
    st.sampled_from([0.0, -0.0, 1e-45, 1e-38, 1e-20, 1e6, 1e9, 1e18, 3e38, -1.0, math.inf, -math.inf, math.nan]),
)


@pytest.fixture(scope="module", params=KINDS)
def good(request, tmp_path_factory):
    """The bytes of a good file, where to put a bad one, and its use."""
    (save, use), path = KINDS[request.param], tmp_path_factory.mktemp("good") / "file.safetensors"
    save(path)
    return path.read_bytes(), path, use


def refused_or_used(path, use):
    try:
        use(path)
    except ValueError as error:
        assert str(error)


@many
@given(edits)
def test_changed_bytes(good, changes):
    content, path, use = good
    path.write_bytes(changed(content, changes))
    refused_or_used(path, use)


@many
@given(name=st.integers(0, 20), place=st.integers(0, 100), value=FLOATS)
@example(name=1, place=0, value=1e30)  # a factor: LinAlgError of its eigenvalues
@example(name=4, place=0, value=1e38)
@example(name=6, place=3, value=1e6)
@example(name=3, place=0, value=-0.0)  # λ
def test_a_number_of_any_size(good, name, place, value):
    content, path, use = good
    path.write_bytes(content)
    with safe_open(path, "pt") as handle:
        header = handle.metadata()
    tensors = load_file(path)
    tensor = tensors[sorted(tensors)[name % len(tensors)]]
    tensor.reshape(-1)[place % tensor.numel()] = value
    save_file(tensors, path, header)
    refused_or_used(path, use)


def test_a_posterior_far_from_all_latents_is_refused_and_not_shown_grey(tmp_path):
    prior = make_tiny_prior()
    Posterior.condition(torch.full((2, prior.dim), 1e6), 0.5).save(tmp_path / "far.safetensors")
    evidence = Engine(prior).read([tmp_path / "far.safetensors"])
    assert evidence.saved is None and "beyond all that this prior can show" in evidence.notes[0]


def test_a_posterior_is_evidence_as_its_file_is(tmp_path):
    prior = make_tiny_prior()
    posterior, engine = Posterior.condition(torch.randn(2, prior.dim, generator=rng(3)), 0.5), Engine(prior)
    posterior.save(tmp_path / "two.safetensors")
    own, file = (engine.run(Sample(n=2), evidence=one) for one in (posterior, tmp_path / "two.safetensors"))
    assert own.facts["m"] == 2 and own.overview.tobytes() == file.overview.tobytes()
    with pytest.raises(ValueError, match="the posterior was made with another prior, not with"):
        engine.run(Sample(n=2), evidence=Posterior.condition(EVIDENCE, 0.5))
    with pytest.raises(ValueError, match="no classifier of this program, but a posterior"):
        FewShotClassifier.load(tmp_path / "two.safetensors", prior)


@pytest.mark.parametrize("ratio", RATIOS.values(), ids=RATIOS)
@pytest.mark.parametrize("covariance", ["scalar", "diagonal + low rank"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_saved_posterior_is_the_same_posterior(tmp_path, covariance, ratio, dtype):
    path, visible = tmp_path / "posterior.safetensors", torch.rand(M, 6, 6, generator=rng(1))
    how = {"likelihood": COVARIANCES[covariance], "prior": PRIORS[covariance]}
    how |= {"weights": [1, 2, 0, 0.5], "visible": visible}
    since = torch.tensor([0, 2, 5, 5]) if covariance == "scalar" else None
    posterior = Posterior.condition(EVIDENCE.to(dtype), ratio, since=since, metadata={"a": "1"}, **how)
    posterior.save(path, {"prior": "célèbre"})
    again = Posterior.load(path)
    assert again.metadata == {"a": "1", "prior": "célèbre"}
    assert again.sample(3).equal(posterior.sample(3))
    assert again.m == 3.5 and again.lam_ratio.equal(posterior.lam_ratio) and again.weights.equal(posterior.weights)
    # An image of no weight is not kept, nor is its mask.
    assert again.visible.equal(visible[[0, 1, 3]]) and (since is None or again.since.tolist() == [0, 2, 5])
    assert again.latents.equal(EVIDENCE[[0, 1, 3]].to(dtype))
    same(again.with_lam(0.1), posterior.with_lam(0.1), 0)
    same(again.predictive(), posterior.predictive(), 0)
    same(again.prior, posterior.prior, 0)
    again.save(tmp_path / "second.safetensors")
    assert (tmp_path / "second.safetensors").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("ratio", [0.0, 0.5, math.inf])
def test_a_plain_posterior_is_a_small_file_that_others_can_read(tmp_path, ratio):
    path, posterior = tmp_path / "posterior.safetensors", Posterior.condition(EVIDENCE.float(), ratio)
    posterior.save(path)
    tensors = load_file(path)
    assert tensors["mean"].equal(posterior.mean) and tensors["latents"].equal(EVIDENCE.float())
    assert tensors["covariance.diagonal"] == posterior.variance
    names = {"mean", "covariance.diagonal", "evidence_mean", "latents", "lam_ratio", "likelihood.diagonal"}
    assert set(tensors) == names
    again = Posterior.load(path)
    assert again.lam_ratio == ratio and again.visible is None and again.weights.equal(posterior.weights)


def test_moments_are_all_that_the_papers_rule_needs_and_no_image(tmp_path):
    """Two sets of one mean give one file, so that no image follows from it."""
    images = torch.randint(-8, 8, (4, D), generator=rng(2)).float()
    full, path = Posterior.condition(images, 0.5), tmp_path / "moments.safetensors"
    Posterior.condition(2 * images.mean(0) - images, 0.5).moments().save(path)
    content = path.read_bytes()
    full.moments().save(path)
    assert path.read_bytes() == content
    again = Posterior.load(path)
    for ratio in (0.0, 0.1, math.inf):
        same(again.with_lam(ratio), full.with_lam(ratio), 0)
    assert again.moments() is again and again.m == 4
    method, _ = resolve(Method(), again)
    assert method.method == "posterior" and again.draw(method).sample(2).isfinite().all()
    needs = [lambda: again.draw(by_local()), lambda: again.draw(by_bootstrap()), lambda: Restyling.of(again, ())]
    for need in (*needs, lambda: mixed(full, again, "add")):
        with pytest.raises(ValueError, match="needs its single images"):
            need()


@pytest.mark.parametrize(
    "how",
    [
        {"weights": [0, 0, 1, 0]},
        {"weights": [9, 1, 1, 0]},
        {"since": [5, 5, 5, 0]},
        {"weights": [1, 1, 100, 0], "since": [0, 0, 4, 0]},
    ],
)
def test_the_moments_of_one_image_would_be_that_image(how):
    how = {name: torch.tensor(value) for name, value in how.items()}
    with pytest.raises(ValueError, match="the mean of one image"):
        Posterior.condition(EVIDENCE.float(), 0.5, **how).moments()


def test_moments_know_which_images_had_fine_levels(tmp_path):
    posterior = Posterior.condition(EVIDENCE.float(), 0.5, since=torch.tensor([0, 0, 3, 3]), weights=[1, 2, 1, 1])
    posterior.moments().save(tmp_path / "moments.safetensors")
    same(Posterior.load(tmp_path / "moments.safetensors").with_lam(0.1), posterior.with_lam(0.1), 0)


def test_texts_must_be_text(tmp_path):
    with pytest.raises(ValueError, match="string"):
        Posterior.condition(EVIDENCE, 0.5).save(tmp_path / "posterior", {"seed": 1})
