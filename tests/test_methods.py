"""Which sampling method is meant: asked for, kept in a file, or recommended; and one number for it."""

import math
from dataclasses import replace
from functools import partial
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageChops

from transflow_core.engine import Engine
from transflow_core.operations import sweep_of
from transflow_core.posterior import Posterior, recommend, resolve
from transflow_core.posterior.methods import along, position_of
from transflow_core.recipes import Method, Sample, Sweep

from .helpers import EXAMPLES, METHODS, by_bootstrap, by_local, by_posterior


@pytest.fixture
def posterior():
    z = torch.randn(12, 8, generator=torch.Generator().manual_seed(0))
    return Posterior.condition(z, lam_ratio=0.5)


def test_by_default_it_is_the_one_that_suits_the_evidence(posterior):
    assert resolve(Method(), posterior) == recommend(posterior)
    found, reason = resolve(Sample(lam_ratio=0.3, n=3), posterior)
    assert found == Sample(**dict(recommend(posterior).method.replace(lam_ratio=0.3)), n=3) and reason.endswith(".")


@pytest.mark.parametrize(
    "metadata",
    [
        by_bootstrap(1.5, (0.1, 0.2)).texts(),
        {"manner": "blend:lam_ratio=0.1/0.2,pieces=1.5"},
        {"recipe": "condition", **by_bootstrap(1.5, (0.1, 0.2)).texts(), "prior": "celeba64", "m": "3.0"},
    ],
)
def test_a_saved_posterior_keeps_its_own(posterior, metadata):
    found, reason = resolve(Method(), replace(posterior, metadata=metadata))
    assert found == by_bootstrap(1.5, (0.1, 0.2)) and "saved" in reason
    assert resolve(by_posterior(), replace(posterior, metadata=metadata))[0] == by_posterior()


@pytest.mark.parametrize("text", ["<b>nothing</b>", "", "blend:pieces=x", "mean:lam_ratio=nan", "x" * 5000])
def test_text_in_a_file_that_is_none_does_no_harm(posterior, text):
    assert resolve(Method(), replace(posterior, metadata={"manner": text})) == recommend(posterior)


def test_a_number_that_belongs_to_one_method_chooses_it(posterior):
    assert resolve(Method(likeness=0.7), posterior)[0] == METHODS["local"].replace(likeness=0.7)
    assert resolve(Method(images_per_sample=3), posterior)[0] == METHODS["bootstrap"].replace(images_per_sample=3)
    assert "of the model alone" in resolve(Method(lam_ratio=math.inf), posterior)[1]
    one = Posterior.condition(torch.ones(1, 8), lam_ratio=0.5)
    assert recommend(one).method == by_local(1.0, 0.586) and "One image" in recommend(one).reason


@pytest.mark.parametrize("name", METHODS)
def test_a_sweep_moves_the_methods_own_number_alone(name):
    recipe = Sweep(**dict(METHODS[name]))
    swept = list(sweep_of(recipe, 5).values())
    own = {"posterior": "lam_ratio", "local": "likeness", "bootstrap": "images_per_sample"}[name]
    values = [getattr(one, own) for one in swept]
    assert values == sorted(set(values)) and len(values) > 4
    assert {one.replace(**{own: 1.0}) for one in swept} == {recipe.replace(**{own: 1.0})}
    assert name != "bootstrap" or values[-1] == 5  # never more than there are
    assert sweep_of(recipe, 1500)
    ratios = sweep_of(recipe.replace(over="lam_ratio", values=(0.0, 2.0)), 5).values()
    assert [one.lam_ratio for one in ratios] == [0, 2]
    with pytest.raises(ValueError, match="does not belong to the method 'posterior'"):
        sweep_of(Sweep(**dict(METHODS["posterior"]), over="likeness"), 3)


@pytest.mark.parametrize(
    ("scale", "alignment", "likeness"),
    [(0.5, 0.5, 0.5), (0.5, 0.34, 0.5), (0.5, 0.29, 0.72), (0.5, 0.1, 0.95), (1.685, 0.5, 0.75), (3.0, 0.1, 1.0)],
)
def test_images_that_do_not_fit_together_are_mixed_less(scale, alignment, likeness):
    """Eyes at other places, or latents further out than photographs have: samples stay closer to one image."""
    z = torch.randn(40, 500, generator=torch.Generator().manual_seed(0))
    posterior = Posterior.condition(scale * z / z.square().mean().sqrt(), lam_ratio=0.5)
    fitting = SimpleNamespace(alignment=alignment, usual=1.0, of=lambda _: fitting)
    found, reason = resolve(Method(), posterior, lambda _: fitting)
    assert found.likeness == pytest.approx(likeness, abs=0.02)
    assert ("one image" in reason) == (likeness > 0.5)
    there = along(position_of(found))  # the slider in front shows it
    assert (found.likeness, found.lam_ratio) == pytest.approx((there.likeness, there.lam_ratio), abs=0.01)


@pytest.mark.parametrize(("moved", "likeness"), [(0, 0.5), (30, 0.95)])
def test_a_few_aligned_faces_are_mixed_however_unlike_their_eyes_look(moved, likeness, celeba64):
    """By chance the eyes of three portraits hardly correlate; the model's middle shows that they are in place."""
    engine, images = Engine(celeba64), []
    for shift, name in enumerate(("AltePinakothek_537", "Mauritshuis_670", "NationalGallery_NG1653"), -1):
        image = Image.open(EXAMPLES / "paintings" / f"{name}.png").convert("RGB")
        images.append(ImageChops.offset(image, shift * moved, -shift * moved))
    posterior = engine.read(images, align="never").posterior()
    looks = engine.looks(posterior)
    assert replace(looks, middle=None).alignment < 0.2
    assert resolve(Method(), posterior, engine.looks)[0].likeness == likeness


@pytest.mark.parametrize("m", [1.0, 2.0])
def test_from_the_images_to_the_prior_likeness_falls_and_lam_rises(m):
    methods = [along(position / 1000, m) for position in range(1001)]
    assert [position_of(method) for method in methods] == [position / 1000 for position in range(1001)]
    shares = [1 - 1 / (1 + method.lam_ratio) for method in methods]
    for (a, b), (before, after) in zip(pairwise(methods), pairwise(shares), strict=True):
        assert 0 <= a.likeness - b.likeness < 0.002 and 0 < after - before < 0.1
    assert methods[0] == by_local(1.0, 0.01) and methods[-2].lam_ratio == pytest.approx(10, rel=0.03)
    assert methods[-1].lam_ratio == math.inf
    assert m < 2 or methods[600] == METHODS["local"]
    for position in (-0.001, 1.001, math.nan):
        with pytest.raises(ValueError, match="from 0 to 1"):
            along(position, m)


@given(likeness=st.floats(0, 1), ratio=st.floats(0), other=st.floats(0))
def test_any_method_has_the_nearest_position(likeness, ratio, other):
    """With one likeness a larger λ/m is never closer, and one λ/m at all levels is that λ/m."""
    position = position_of(by_local(likeness, ratio))
    assert 0 <= position <= 1 and position_of(along(position, 2 if likeness < 1 else 1)) == position
    low, high = sorted((ratio, other))
    for method in (by_posterior, by_bootstrap, partial(by_local, likeness)):
        a, b = (position_of(method(lam_ratio=one)) for one in (low, high))
        assert a <= b
    assert position_of(by_posterior([ratio, ratio])) == position_of(by_posterior(ratio))
    assert position_of(by_local(1, 0)) == 0 and position_of(by_local(0, math.inf)) == 1
