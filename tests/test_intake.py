"""Intake: a value that grows and changes, and its posterior."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from transflow_core.evidence import Evidence, EvidenceImage, Latent
from transflow_core.faces import AlignedFace
from transflow_core.intake import Intake
from transflow_core.limits import DEFAULT_LAM_RATIO
from transflow_core.pictures import Picture
from transflow_core.posterior import Posterior, per_level

DIM = 6


def image(seed=0, weight=1.0, problem=None):
    """A piece of evidence, or one that could not become one."""
    z = torch.randn(DIM, generator=torch.Generator().manual_seed(seed))
    face = AlignedFace(Image.new("RGB", (4, 4)), (0, 0, 4, 4), None, "taken whole", "whole", (4 + 0j, 0j))
    latent = None if problem else Latent(z, -1.0, -1.0)
    picture = Picture(f"{seed}.png", problem=problem)
    return EvidenceImage(picture, face, latent, weight=weight, problem=problem, source=f"{seed}.png")


images = st.builds(
    image, st.integers(0, 50), st.sampled_from([0.0, 1.0, 2.5]), st.sampled_from([None, None, "it is empty."])
)
lists = st.lists(images, max_size=5)
ratios = st.sampled_from([0.0, 0.01, 0.3, 1.0, 7.0, torch.linspace(0.1, 2, DIM)])


@given(lists, images, st.data())
def test_adding_and_removing_is_no_change(given, more, data):
    intake = Intake("a", Evidence(tuple(given)))
    assert intake.added([more]).removed(len(given)).evidence == intake.evidence
    assert intake.added([]).evidence == intake.evidence
    if given:
        index = data.draw(st.integers(0, len(given) - 1))
        without = intake.removed(index)
        assert len(without.evidence) == len(given) - 1
        assert without.sources == intake.sources[:index] + intake.sources[index + 1 :]
        assert intake.put(index, more).put(index, given[index]).evidence == intake.evidence
        assert intake.replace(index, weight=9.0).evidence[index].weight == 9.0


@given(lists, lists)
def test_adding_twice_is_adding_both(first, second):
    twice = Intake().added(first, left=len(second)).added(second)
    assert twice.evidence == Intake().added([*first, *second]).evidence and twice.left == 0


@given(lists, ratios)
def test_the_posterior_is_that_of_the_evidence_wherever_lambda_was_before(given, ratio):
    intake = Intake("a", Evidence(tuple(given)))
    if not intake.ready:
        for how in ({"lam_ratio": ratio}, {}):
            with pytest.raises(ValueError):
                intake.posterior(**how)
        return
    intake.posterior(3.0)
    for found, expected in (
        (intake.posterior(ratio), intake.evidence.condition(lam_ratio=ratio)),
        (intake.posterior(lam=ratio), intake.evidence.condition(lam=ratio)),
        (intake.posterior(), intake.evidence.condition(lam_ratio=DEFAULT_LAM_RATIO)),
    ):
        assert found.mean.equal(expected.mean) and found.variance.equal(expected.variance) and found.m == expected.m


def test_the_evidence_is_stacked_once(monkeypatch):
    asked = []
    condition = Evidence.condition
    monkeypatch.setattr(Evidence, "condition", lambda self, **how: asked.append(how) or condition(self, **how))
    intake = Intake().added([image(1), image(2)])
    for ratio in (0.1, 0.2, per_level([0.1, 0.3], [slice(0, 2), slice(2, DIM)])):
        intake.posterior(ratio)
    assert len(asked) == 1
    intake.replace(0, weight=2.0).posterior(0.1)
    assert len(asked) == 2


def test_what_is_forgotten_is_computed_again():
    intake = Intake().added([image(1), image(2)])
    before = intake.posterior(0.3)
    intake.forget()
    intake.forget()
    after = intake.posterior(0.3)
    assert after.latents is not before.latents and torch.equal(after.mean, before.mean)


def test_a_saved_posterior_stands_in_the_place_of_evidence_until_images_come():
    saved = Posterior.condition(torch.ones(2, DIM), lam_ratio=0.7)
    intake = Intake("a", saved=saved, saved_name="mine.safetensors")
    assert intake.ready and intake.title == "mine.safetensors" and intake.posterior() is saved
    assert intake.posterior(0.2).mean.equal(saved.with_lam(0.2).mean)
    more = intake.added([image(1)])
    assert more.saved is None and more.title == "1.png" and more.posterior().m == 1


def test_it_has_a_title():
    intake = Intake().added([image(1), image(2, problem="it is empty.")])
    assert [Intake().title, intake.title, intake.added([image(3)]).title] == ["the prior", "1.png", "2 images"]


def test_a_set_that_was_changed_is_no_example_any_more():
    intake = Intake("a", Evidence((image(1), image(2))), example="sketch")
    for changed in (
        intake.added([image(3)]),
        intake.removed(0),
        intake.put(0, image(3)),
        intake.replace(0, weight=2.0),
    ):
        assert changed.example == "" and changed.prior == "a"


def test_checking_says_what_is_wrong():
    intake = Intake().added([image(1)])
    assert intake.checked() is intake
    with pytest.raises(ValueError, match="there are no images"):
        Intake().checked()
    with pytest.raises(ValueError, match=r"2\.png: it is empty"):
        Intake().added([image(2, problem="it is empty.")]).checked()
    with pytest.raises(ValueError, match="by itself"):
        Intake("a", Evidence((image(1),)), notes=("give a posterior by itself.",)).checked()
