"""The code that the Studio shows reproduces what it shows, in Python and on the command line."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from demo.evidence_panel import snapshot
from demo.examples import example_sets
from demo.tabs.studio_results import POSTERIOR_FILE, Request, Result, recipe_of, steps_of
from transflow_core import Engine, Evidence, contact_sheet, example, to_pil
from transflow_core.operations.inpaint import ignore

from ..helpers import by_bootstrap, by_local, by_posterior
from .conftest import codes_run, same

NEW, BLENDS = by_local(), by_bootstrap(1.5, (0.2, 0.3, 0.5, 0.7, 1.0))
MIXED = {"style": "sepia", "style_levels": 2}


@pytest.fixture(scope="module")
def engine(celeba64):
    return Engine(celeba64)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where a user runs the snippet: with their files."""
    monkeypatch.chdir(tmp_path)
    for index, file in enumerate(example_sets()["greyscale"].files[:3]):
        shutil.copy(file, f"my photo {index}.png")
    group = Image.new("RGB", (500, 260), "grey")
    for index, file in enumerate(example_sets()["red_hair"].files[:2]):
        face = Image.open(file).resize((220 - 30 * index,) * 2, Image.Resampling.LANCZOS)
        group.paste(face, (20 + 240 * index, 20))
    group.save("group.png")
    return tmp_path


def evidence_of(engine, folder, kind):
    if kind == "example":
        return replace(engine.read(example("sketch")), example="sketch")
    files = sorted(map(str, folder.glob("*.png")))
    evidence = engine.read([snapshot(file, Path(file).stem) for file in files] if kind == "webcam" else files)
    if kind == "chosen":
        group, photo = evidence[0], evidence[1]
        assert len(group.picture.faces) == 2
        evidence = evidence.put(0, engine.choose(group, group.picture.faces[1]))
        evidence = evidence.put(1, engine.choose(photo, photo.picture.whole)).replace(2, weight=2.5)
    if kind == "masked":
        mask = Image.new("L", (64, 64))
        mask.paste(255, (8, 20, 56, 36))
        evidence = ignore(engine, evidence, {1: mask})
    if kind == "saved":
        saved = replace(evidence.posterior(3.0), metadata={})
        return Evidence(prior="celeba64", saved=saved, saved_name="mine.safetensors")
    return evidence


@pytest.mark.usefixtures("unsmoothed_sheets")
@pytest.mark.parametrize(
    ("kind", "how", "sources"),
    [
        ("example", NEW, {}),
        ("files", BLENDS, {}),
        ("chosen", NEW, {}),
        ("webcam", BLENDS, {}),
        ("masked", NEW, {}),
        ("saved", NEW, {}),
        ("files", by_posterior(0.3), MIXED),
    ],
)
def test_the_snippets_reproduce_the_sheet(engine, folder, kind, how, sources):
    draws = {"prior": "celeba64", "temperature": 0.9, "n": 4, "seed": 7}
    request = Request(evidence_of(engine, folder, kind), recipe_of(dict(how) | draws | sources))
    sampler = request.sampler(engine)
    samples = to_pil(engine.sample(sampler, **request.draws).images)
    posterior = Result(request, engine, samples, {}).posterior
    for file in {request.evidence.saved_name or POSTERIOR_FILE, POSTERIOR_FILE}:
        posterior.save(folder / file)  # the user has downloaded it

    for _ in codes_run(steps_of(request)):
        assert same("sheet.png", contact_sheet(samples))
        (folder / "sheet.png").unlink()
