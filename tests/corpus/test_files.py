"""Links, sheets, posteriors and classifiers that version 0.2.0 wrote still open, and mean the same.

`files/` was written at commit 51ca188 by the commands that `files/README.md` lists.
"""

import json
from dataclasses import asdict
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from demo.studio.history import settings_in
from transflow_core.engine import Engine
from transflow_core.fewshot import FewShotClassifier
from transflow_core.images import read_png_metadata
from transflow_core.posterior import Manner

HERE = Path(__file__).parent
LINKS = json.loads((HERE / "links.json").read_text())
SHEETS = {
    "sample_local": "local:lam_ratio=0.02,likeness=0.5",
    "sample_blend": "blend:lam_ratio=0.1,pieces=1.5",
    "sample_mean": "mean:lam_ratio=0.1/0.2/0.5/1/inf",
    "sweep": "local:lam_ratio=0.02,likeness=0.5",
    "interpolate": "mean:lam_ratio=0.3",
}
OLD = {"method": "kind", "images_per_sample": "pieces", "style_levels": "split"}
KINDS = {"posterior": "mean", "bootstrap": "blend"}


@pytest.mark.parametrize("link", LINKS)
def test_a_link_opens(link):
    settings = settings_in(dict(parse_qsl(link)))
    found = asdict(settings) | asdict(settings.manner)
    for name, value in LINKS[link].items():
        value = tuple(map(float, value)) if isinstance(value, list) else KINDS.get(value, value)
        assert found[OLD.get(name, name)] == value


@pytest.mark.parametrize("name", SHEETS)
def test_a_sheet_says_how_it_was_drawn(name):
    assert Manner.parse(read_png_metadata(HERE / "files" / f"{name}.png")["manner"]) == Manner.parse(SHEETS[name])


def test_a_posterior_opens(celeba64):
    posterior = Engine(celeba64).load_posterior(HERE / "files" / "posterior_local.safetensors")
    assert posterior.m == pytest.approx(2.993, abs=0.001)
    assert len(posterior.latents) == 3


def test_a_classifier_opens(celeba64):
    classifier = FewShotClassifier.load(HERE / "files" / "classifier.safetensors", celeba64)
    assert list(classifier.classes) == ["one", "two"]
    assert classifier.threshold == pytest.approx(6 / 7)
