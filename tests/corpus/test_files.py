"""Links, sheets, posteriors and classifiers that version 0.2.0 wrote still open, and mean the same.

`files/` was written at commit 51ca188 by the commands that `files/README.md` lists.
"""

import json
import math
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from demo.tabs.interpolate import link_to, recipe_in, recipe_of
from demo.tabs.studio import settings_in
from demo.tabs.studio_results import DEFAULT
from transflow_core import Engine, Evidence, FewShotClassifier, Interpolate, Method, Restyle, Sample, Sweep
from transflow_core.images.output import read_png_metadata
from transflow_core.posterior import resolve
from transflow_core.views import from_metadata

HERE = Path(__file__).parent
LINKS = json.loads((HERE / "links.json").read_text())
LOCAL = {"prior": "celeba64", "method": "local", "lam_ratio": 0.02, "likeness": 0.5}
SHEETS = {
    "sample_local": Sample(**LOCAL, seed=7),
    "sample_blend": Sample(prior="celeba64", method="bootstrap", lam_ratio=0.1, images_per_sample=1.5, temperature=0.8),
    "sample_mean": Sample(prior="celeba64", method="posterior", lam_ratio=(0.1, 0.2, 0.5, 1, math.inf)),
    "sweep": Sweep(**LOCAL),
    "interpolate": Interpolate(
        prior="celeba64", method="posterior", lam_ratio=0.3, interpolation="wasserstein", steps=2
    ),
    "restyle": Restyle(prior="celeba64", strength=0.7, likeness=0.4, keep_levels=2, match_colours=False),
}


@pytest.mark.parametrize("link", LINKS)
def test_a_link_opens(link):
    (recipe, auto), expected = settings_in(dict(parse_qsl(link))), Sample.checked(LINKS[link])
    assert auto == (expected.method == "auto")
    assert recipe == (expected.replace(**dict(DEFAULT.choices)) if auto else expected)


@pytest.mark.parametrize("path", ["wasserstein", "compare"])
def test_a_link_to_a_path_opens(path):
    link = f"tab=interpolate&a=sepia&b=cartoon&method={path}&manner=blend:lam_ratio=0.1,pieces=2&prior=celeba128"
    settings = recipe_in(dict(parse_qsl(f"{link}&lam_a=0.1&lam_b=0.2&steps=5&n=2&seed=3&t=0.8")))
    own = {"lam_ratio_a": 0.1, "lam_ratio_b": 0.2, "steps": 5, "n": 2, "seed": 3, "temperature": 0.8}
    own["interpolation"] = "linear" if path == "compare" else path
    assert settings == recipe_of(own, Method(method="bootstrap", lam_ratio=0.1, images_per_sample=2))
    again = link_to(settings, Evidence(example="sepia"), Evidence(example="cartoon"))
    assert recipe_in(dict(parse_qsl(again))) == settings


@pytest.mark.parametrize("name", SHEETS)
def test_a_sheet_says_how_it_was_drawn(name):
    assert from_metadata(read_png_metadata(HERE / "files" / f"{name}.png")) == SHEETS[name]


def test_a_posterior_opens(celeba64):
    posterior = Engine(celeba64).load_posterior(HERE / "files" / "posterior_local.safetensors")
    assert posterior.m == pytest.approx(2.993, abs=0.001)
    assert len(posterior.latents) == 3
    found, reason = resolve(Method(), posterior)
    assert found == Method(method="local", lam_ratio=0.02, likeness=0.5) and "saved" in reason


def test_a_classifier_opens(celeba64):
    classifier = FewShotClassifier.load(HERE / "files" / "classifier.safetensors", celeba64)
    assert list(classifier.classes) == ["one", "two"]
    assert classifier.threshold == pytest.approx(6 / 7)
