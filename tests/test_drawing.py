"""Which manner is meant: told, kept in a file, or chosen."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from transflow_core.drawing import ask, described, sweep_of
from transflow_core.posterior import KINDS, Manner, Posterior, choose_manner


@pytest.fixture
def posterior():
    z = torch.randn(12, 8, generator=torch.Generator().manual_seed(0))
    return Posterior.condition(z, lam_ratio=0.5)


def test_by_default_it_is_the_one_that_suits_the_evidence(posterior):
    assert ask(posterior) == choose_manner(posterior)
    assert ask(posterior, lam_ratio=0.3).manner == choose_manner(posterior).manner.with_lam(0.3)


def test_a_saved_posterior_keeps_its_own_and_words_that_are_none_do_no_harm(posterior):
    kept = Manner.blend(pieces=1.5, lam_ratio=[0.1, 0.2])
    assert ask(replace(posterior, metadata={"manner": str(kept)})).manner == kept
    assert ask(replace(posterior, metadata={"manner": "<b>nothing</b>"})) == choose_manner(posterior)


def test_what_is_told_counts_and_its_numbers_too(posterior):
    assert ask(posterior, "mean").manner == KINDS["mean"]
    assert ask(posterior, "blend:pieces=3", lam_ratio=0.2).manner == Manner.blend(pieces=3, lam_ratio=0.2)
    one = Posterior.condition(torch.ones(1, 8), lam_ratio=0.5)
    assert ask(one, likeness=0.5).manner == replace(KINDS["local"], likeness=0.5)


@pytest.mark.parametrize(
    ("told", "numbers", "words"),
    [
        ("like mine", {}, "unknown manner"),
        ("mean", {"likeness": 0.5}, "no number of the manner 'mean'"),
        ("local", {"likeness": 85}, "from 0 to 1"),
        ("blend", {"pieces": 0.5}, "from 1"),
        ("", {}, "unknown manner"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(posterior, told, numbers, words):
    with pytest.raises(ValueError, match=words):
        ask(posterior, told, **numbers)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sweep_moves_the_manners_own_number_alone(kind):
    swept = list(sweep_of(KINDS[kind], 5).values())
    own = {"mean": "lam_ratio", "local": "likeness", "blend": "pieces"}[kind]
    values = [getattr(manner, own) for manner in swept]
    assert values == sorted(set(values)) and len(values) > 4
    assert {replace(manner, **{own: 1.0}) for manner in swept} == {replace(KINDS[kind], **{own: 1.0})}
    assert kind != "blend" or values[-1] == 5  # never more than there are
    assert [getattr(one, own) for one in sweep_of(KINDS[kind], 5, [1.0]).values()] == [1.0]


def test_a_person_reads_what_it_is():
    assert described(Manner.blend(pieces=2)) == "like blends of a few, 2 pieces each"
    assert described(Manner.mean([0.1, 3.0])) == "the paper's posterior of the mean"


@pytest.mark.parametrize(
    ("scale", "alignment", "likeness"),
    [(0.5, 0.5, 0.5), (0.5, 0.34, 0.5), (0.5, 0.29, 0.72), (0.5, 0.1, 0.95), (1.685, 0.5, 0.75), (3.0, 0.1, 1.0)],
)
def test_images_that_do_not_fit_together_are_mixed_less(scale, alignment, likeness):
    """Eyes at other places, or latents further out than photographs have: samples stay closer to one image."""
    z = torch.randn(40, 500, generator=torch.Generator().manual_seed(0))
    posterior = Posterior.condition(scale * z / z.square().mean().sqrt(), lam_ratio=0.5)
    fitting = SimpleNamespace(alignment=alignment, usual=1.0, of=lambda _: fitting)
    found = ask(posterior, looks=lambda _: fitting)
    assert found.manner.likeness == pytest.approx(likeness, abs=0.02)
    assert ("one image" in found.why) == (likeness > 0.5)
