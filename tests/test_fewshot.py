"""The few-shot classifier: its densities against the posterior's own, its probabilities, and novelty."""

import math
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image

from transflow_core.fewshot import FewShotClassifier, jitter
from transflow_core.fewshot.calibration import temperature
from transflow_core.fewshot.classifier import NONE
from transflow_core.fewshot.features import hog
from transflow_core.fewshot.likelihood import SharedCovariance, predictive_log_prob
from transflow_core.images import find_images, load_image
from transflow_core.posterior import Gaussian, Posterior
from transflow_core.recipes import FEATURES, Classify, Shape

from .helpers import ROOT, dense, make_tiny_prior, rng

DIM = 12


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=rng(seed))


def sigma_of(kind):
    if kind == "scalar":
        return SharedCovariance(torch.tensor(0.7, dtype=torch.float64))
    basis = torch.linalg.qr(normal(DIM, 3, seed=2)).Q
    return SharedCovariance(torch.tensor(0.3, dtype=torch.float64), basis, torch.tensor([4.0, 1.5, 0.3]).double())


def blobs(counts, dim=40, apart=1.5, nuisance=0.0, seed=0):
    """Latents of classes around random means; `nuisance` stretches one direction that all classes share."""
    means = apart * normal(len(counts), dim, seed=seed) / math.sqrt(dim) * 4
    stretch = torch.zeros(dim)
    stretch[0] = nuisance
    groups = {}
    for index, count in enumerate(counts):
        noise = normal(count, dim, seed=seed + 10 + index)
        groups[f"class {index}"] = means[index] + noise + stretch * normal(count, 1, seed=seed + 50 + index)
    return groups


def split(groups, m):
    queries = torch.cat([z[m:] for z in groups.values()])
    names = [name for name, z in groups.items() for _ in z[m:]]
    return {name: z[:m] for name, z in groups.items()}, queries, names


def fitted(groups, lam_ratio=None, **how):
    return FewShotClassifier(None, lam_ratio, **how).fit_latents(groups)


def accuracy(classifier, z, expected):
    found = [answer.best for answer in classifier.judge(z)]
    return np.mean([a == b for a, b in zip(found, expected, strict=True)])


def of_none(classifier, z):
    """The share of latents that are of none of the classes."""
    return np.mean([answer.none for answer in classifier.judge(z)])


@pytest.mark.parametrize("kind", ["scalar", "low-rank"])
@pytest.mark.parametrize("counts", [(1, 1), (4, 4), (1, 30)])
def test_scores_are_the_posteriors_own_predictive_densities(kind, counts):
    sigma, centre, z = sigma_of(kind), normal(DIM, seed=3), normal(9, DIM, seed=4)
    evidence = [normal(count, DIM, seed=5 + index) for index, count in enumerate(counts)]
    means = torch.stack([rows.mean(0) for rows in evidence])
    found = predictive_log_prob(z, means, torch.tensor(counts), [sigma, sigma.scaled(2.0)], centre)
    prior = Gaussian(centre.double(), 1.0)
    for scale, scores in zip((1.0, 2.0), found, strict=True):
        covariance = sigma.scaled(scale).covariance()
        for column, rows in enumerate(evidence):
            posterior = Posterior.condition(rows.double(), lam=scale, likelihood=sigma.covariance(), prior=prior)
            expected = posterior.predictive().log_prob(z.double())
            torch.testing.assert_close(scores[:, column], expected, atol=1e-4, rtol=1e-6)
        # A class without examples has the prior's predictive.
        nothing = torch.eye(DIM).double() + dense(covariance, DIM)
        expected = torch.distributions.MultivariateNormal(centre.double(), nothing).log_prob(z.double())
        torch.testing.assert_close(scores[:, -1], expected, atol=1e-4, rtol=1e-6)


@pytest.mark.parametrize("ratio", [0.05, 0.5, 2.0])
def test_the_papers_rule_is_equation_10_and_11(ratio):
    m, groups = 5, blobs((5, 5, 5))
    classifier = fitted(groups, ratio, likelihood="paper")
    z = normal(4, 40, seed=9).double()
    variance = ratio / (1 + ratio) + ratio * m
    for column, rows in enumerate(groups.values()):
        mean = rows.double().mean(0) / (1 + ratio)
        expected = torch.distributions.Normal(mean, math.sqrt(variance)).log_prob(z).sum(1)
        torch.testing.assert_close(classifier.score_latents(z.float())[:, column], expected, atol=1e-3, rtol=1e-5)
    other = fitted(groups, ratio, likelihood="isotropic")
    assert not other.score_latents(z.float()).allclose(classifier.score_latents(z.float()))


@pytest.mark.parametrize("likelihood", get_args(Shape))
@pytest.mark.parametrize("m", [1, 2, 10])
def test_classes_that_are_apart_are_told_apart_by_a_saved_classifier_too(likelihood, m, tmp_path):
    evidence, queries, names = split(blobs((25, 25, 25), apart=3.0), m)
    classifier = fitted(evidence, likelihood=likelihood)
    assert accuracy(classifier, queries, names) > 0.9
    assert classifier.held_out_accuracy is None if m == 1 else classifier.held_out_accuracy > 0.6
    classifier.save(tmp_path / "c.safetensors", {"recipe": "Classify"})
    loaded = FewShotClassifier.load(tmp_path / "c.safetensors", None)
    assert loaded.metadata == {"recipe": "Classify"}
    for name in ("classes", "counts", "threshold", "held_out_accuracy", "likelihood", "lam_ratio"):
        assert getattr(loaded, name) == pytest.approx(getattr(classifier, name)), name
    assert torch.equal(loaded.score_latents(queries.numpy()), loaded.score_latents(queries))
    assert len(loaded.judge(queries.numpy())) == len(queries)
    # Not to the last bit: how fast sums are grouped depends on where in memory a tensor starts.
    for one, other in zip(loaded.judge(queries), classifier.judge(queries), strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, rel=1e-8)
        assert one.novelty == pytest.approx(other.novelty, rel=1e-8, abs=1e-12)


def test_a_low_rank_likelihood_discounts_what_varies_within_classes():
    evidence, queries, names = split(blobs((60, 60, 60), apart=0.6, nuisance=12.0), 20)
    plain, wiser = (accuracy(fitted(evidence, likelihood=of), queries, names) for of in ("isotropic", "low-rank"))
    assert wiser > plain + 0.1


def test_variants_tell_what_does_not_matter_from_one_example_a_class():
    evidence, queries, names = split(blobs((40, 40), apart=0.8, nuisance=12.0), 1)
    push = 12.0 * torch.eye(40)[0]
    wiser = fitted({name: torch.stack([z, z + push, z - push], 1) for name, z in evidence.items()})
    assert wiser.counts == (1, 1)
    assert accuracy(wiser, queries, names) > accuracy(fitted(evidence), queries, names) + 0.05


def test_unequal_numbers_of_examples_do_not_decide_nor_does_the_order_of_the_classes():
    groups = blobs((40, 70), apart=2.0)
    evidence = {"class 0": groups["class 0"][:2], "class 1": groups["class 1"][:40]}
    classifier, backward = fitted(evidence), fitted(dict(reversed(evidence.items())))
    for name, start in (("class 0", 2), ("class 1", 40)):
        z = groups[name][start:]
        assert accuracy(classifier, z, [name] * len(z)) > 0.9
        found, other = classifier.predict_proba_latents(z), backward.predict_proba_latents(z)
        torch.testing.assert_close(found, other.flip(1), atol=1e-6, rtol=1e-4)


def test_probabilities_are_about_as_sure_as_they_are_right():
    evidence, queries, names = split(blobs((400, 400, 400), apart=0.45), 40)
    # Copies of the same numbers: the density takes them for independent, and would be twenty times too sure.
    classifier = fitted({name: z.repeat(1, 20) for name, z in evidence.items()})
    queries = queries.repeat(1, 20)
    probabilities = classifier.predict_proba_latents(queries)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(len(queries), dtype=torch.float64))
    sure, right = float(probabilities.max(1).values.mean()), accuracy(classifier, queries, names)
    assert 0.5 < right < 0.95 and abs(sure - right) < 0.1
    raw = torch.softmax(classifier.score_latents(queries)[:, :-1], 1).max(1).values.mean()
    assert raw > sure + 0.1
    # A few examples that come out right make nobody certain.
    scores = torch.full((5, 2), -1000.0, dtype=torch.float64)
    own = torch.tensor([0, 1, 0, 1, 0])
    scores[torch.arange(5), own] = 0.0
    t = temperature(scores, own, torch.ones(5, dtype=torch.bool))
    assert 0.8 < torch.sigmoid(torch.tensor(1000.0 / t)) < 0.9  # (5 + 1) / (5 + 2)


def test_each_level_has_a_low_rank_sigma_and_a_weight_of_its_own(tiny_prior, tmp_path):
    z = normal(24, tiny_prior.dim)
    coarse = tiny_prior.levels[-1].slice
    z[:12, coarse] += 0.7  # what tells the classes apart lies in one level
    evidence = {"up": z[:9], "flat": z[12:21]}
    classifier = FewShotClassifier(tiny_prior).fit_latents(evidence)
    total, queries = 0, z[[9, 10, 11, 21, 22, 23]]
    for part, level in zip(classifier.parts, tiny_prior.levels, strict=True):
        alone = fitted({name: rows[:, level.slice] for name, rows in evidence.items()})
        assert part.slice == level.slice and part.weight == pytest.approx(1 / alone.temperature)
        total = total + part.weight * alone.score_latents(queries[:, level.slice])
    torch.testing.assert_close(classifier.score_latents(queries), total)
    assert accuracy(classifier, queries, ["up"] * 3 + ["flat"] * 3) == 1
    classifier.save(tmp_path / "c.safetensors")
    again = FewShotClassifier.load(tmp_path / "c.safetensors", tiny_prior)
    torch.testing.assert_close(again.score_latents(queries), classifier.score_latents(queries))
    with pytest.raises(ValueError, match="another prior"):
        FewShotClassifier.load(tmp_path / "c.safetensors", make_tiny_prior(seed=1))


def test_novelty_tells_other_kinds_of_latents_and_not_the_evidence():
    evidence, queries, _ = split(blobs((40, 40, 40, 40), apart=2.5), 12)
    classifier, own = fitted(evidence), torch.cat(list(evidence.values()))
    assert of_none(classifier, queries) < 0.2 and of_none(classifier, own) < 0.1
    for z in (6 * normal(50, 40, seed=77), own.mean(0, keepdim=True)):  # far out, and between all classes
        assert of_none(classifier, z) > 0.95
        answer = classifier.judge(z)[0]
        assert answer.word == NONE and answer.best in classifier.classes


@pytest.mark.parametrize("counts", [(1,), (4,), (1, 1), (1, 5), (2, 2, 1)])
def test_any_number_of_examples_gives_finite_answers(counts):
    classifier, z = fitted(blobs(counts)), normal(3, 40, seed=5)
    assert classifier.score_latents(z).isfinite().all()
    for answer, row in zip(classifier.judge(z), classifier.predict_proba_latents(z).tolist(), strict=True):
        assert list(answer.probabilities.values()) == row and sum(row) == pytest.approx(1)
        assert 0 <= answer.novelty <= 1 and answer.none == (answer.novelty > classifier.threshold)
        assert answer.none or answer.word == answer.best == max(answer.probabilities, key=answer.probabilities.get)
        assert not answer.none or sum(counts) > 1  # of one image alone nothing is said to be of no class
    assert classifier.judge(z[:0]) == ()
    found = fitted(blobs(counts), 0.3).lam_ratio, fitted(blobs(counts), classifier.lam_ratio).lam_ratio
    assert found == pytest.approx((0.3, classifier.lam_ratio))
    assert 0.5 <= classifier.threshold <= 0.95 and classifier.counts == counts


@pytest.mark.parametrize(
    ("do", "message"),
    [
        (lambda: fitted({}), "no classes"),
        (lambda: fitted({"a": torch.zeros(0, 5)}), "'a'"),
        (lambda: fitted({"a": torch.ones(2, 5), "b": torch.ones(2, 6)}), "'b'"),
        (lambda: fitted({"a": torch.tensor([[1.0, 2.0], [math.nan, 0.0]])}), r"examples \[1\]"),
        (lambda: fitted({"a": torch.ones(5)}), r"\(m, D\)"),
        (lambda: FewShotClassifier(None, 0.0), "above 0"),
        (lambda: FewShotClassifier(None, likelihood="round"), "isotropic"),
        (lambda: FewShotClassifier(None).judge(torch.zeros(1, 3)), "fit it"),
        (lambda: fitted(blobs((3, 3))).predict_proba([]), "no prior"),
        (lambda: fitted(blobs((3, 3))).judge(torch.zeros(2, 3)), r"\(n, 40\)"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(do, message):
    with pytest.raises(ValueError, match=message):
        do()


def test_images_are_classified_through_the_prior(celeba64):
    files = {kind: find_images([ROOT / "assets" / "examples" / kind])[:9] for kind in ("cartoon", "greyscale", "sepia")}
    images = {kind: [load_image(file).reduce(2) for file in group] for kind, group in files.items()}
    classifier = FewShotClassifier(celeba64).fit({kind: group[:6] for kind, group in images.items()})
    for index, group in enumerate(images.values()):
        assert classifier.predict_proba(group[6:]).argmax(1).tolist() == [index] * 3
    assert accuracy(classifier, celeba64.encode(images["sepia"][6:]), ["sepia"] * 3) == 1
    noise = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    assert of_none(classifier, celeba64.encode(noise)) == 1


def test_distorted_copies_depend_on_seed_and_place_alone_and_stay_within_their_bounds():
    images = [Image.fromarray(np.random.default_rng(i).integers(0, 256, (20, 20, 3), dtype=np.uint8)) for i in range(3)]
    few, many, other = jitter(images, 2), jitter(images[:2], 5), jitter(images, 2, seed=1)
    assert [len(group) for group in few] == [3, 3, 3] and [len(group) for group in many] == [6, 6]
    for i in range(2):
        assert few[i][0] is images[i]
        assert [a.tobytes() for a in few[i]] == [a.tobytes() for a in many[i][:3]]
        assert few[i][1].tobytes() != other[i][1].tobytes() != images[i].tobytes()
    dot = Image.new("L", (41, 41))
    dot.putpixel((20, 20), 255)
    for shift in (0.0, 0.1):
        for copy in jitter([dot], 20, shift=shift, degrees=0, scale=0, shear=0)[0][1:]:
            y, x = np.unravel_index(np.asarray(copy).argmax(), (41, 41))
            assert max(abs(x - 20), abs(y - 20)) <= 50 * shift


def test_edges_count_and_neither_light_nor_colour_does():
    x = torch.rand(3, 3, 32, 32, generator=rng())
    z = hog(x)
    assert z.shape == (3, 1296) and not hog(torch.full_like(x, 0.4)).any()
    assert 0.8 < z.square().mean() <= 1
    torch.testing.assert_close(hog(0.5 * x + 0.3), z, atol=0.1, rtol=0.05)
    torch.testing.assert_close(hog(x.mean(1, keepdim=True)), z, atol=1e-4, rtol=1e-4)
    assert (hog(x.flip(-1)) - z).abs().mean() > 0.2


def striped(upright, seed):
    """Stripes of another place and width each: their mean tells nothing."""
    width, place = np.random.default_rng(seed).uniform((0.8, 0), (1.2, 6))
    waves = np.sin(np.arange(16) * width + place)
    grey = np.tile(127 + 100 * waves, (16, 1))
    return Image.fromarray((grey if upright else grey.T).astype(np.uint8)).convert("RGB")


def coloured(red, seed):
    noise = np.random.default_rng(seed).integers(0, 60, (16, 16, 3))
    return Image.fromarray((noise + np.array([150, 0, 0] if red else [0, 0, 150])).astype(np.uint8))


@pytest.mark.parametrize(("drawn", "features"), [(striped, "hog"), (coloured, "latents")])
def test_it_compares_what_tells_held_out_examples_apart_and_says_so(drawn, features, engine, tmp_path):
    examples = {
        name: [drawn(name == "a", seed) for seed in range(start, start + 6)] for name, start in (("a", 0), ("b", 6))
    }
    queries = [drawn(index < 4, 20 + index) for index in range(8)]
    recipe = Classify(align="never")
    with pytest.raises(ValueError, match="examples: give a dict"):
        engine.run(recipe, examples=queries, images=queries)
    result = engine.run(recipe, examples=examples, images=queries)
    shares = result.facts["held_out_by_features"]
    assert result.facts["features"] == features and max(shares, key=shares.get) == features
    assert f"compared: {FEATURES[features]}" in result.lines[0]
    assert [image["best"] for image in result.facts["images"]] == ["a"] * 4 + ["b"] * 4
    result.save(tmp_path / "c.safetensors")
    loaded = FewShotClassifier.load(tmp_path / "c.safetensors", engine.prior)
    again = engine.run(recipe, examples=loaded, images=queries)
    assert again.facts["features"] == features
    assert again.facts["held_out_by_features"] == {features: shares[features]}
    for one, other in zip(again.facts["images"], result.facts["images"], strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], rel=1e-6)
    for asked in FEATURES:
        assert engine.run(recipe.replace(features=asked), examples=examples, images=queries).facts["features"] == asked
