"""The code that the Studio shows reproduces what it shows, in Python and on the command line."""

import shlex
import shutil
from dataclasses import replace

import numpy as np
import pytest
from demo.settings import Settings
from PIL import Image
from typer.testing import CliRunner

from demo.examples import example_sets
from demo.panel import Given
from demo.snippet import POSTERIOR_FILE, command_line, python_code
from transflow_core.cli import app
from transflow_core.engine import Engine
from transflow_core.evidence import Evidence
from transflow_core.images import contact_sheet, to_pil

from ..conftest import ROOT


@pytest.fixture(scope="module")
def engine(celeba64):
    return Engine(celeba64)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where a person runs the snippet: their files, and the checkout's assets."""
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    for index, file in enumerate(example_sets()["greyscale"].files[:3]):
        shutil.copy(file, tmp_path / f"my photo {index}.png")
    group = Image.new("RGB", (500, 260), "grey")
    for index, file in enumerate(example_sets()["red_hair"].files[:2]):
        face = Image.open(file).resize((220 - 30 * index,) * 2, Image.Resampling.LANCZOS)
        group.paste(face, (20 + 240 * index, 20))
    group.save(tmp_path / "group.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def given(engine, folder, kind):
    if kind == "example":
        files = example_sets()["sketch"].files
        return Given("celeba64", engine.evidence(files), files, example="sketch")
    files = tuple(str(path) for path in sorted(folder.glob("*.png")))
    evidence = engine.evidence(files)
    if kind == "chosen":
        picture = evidence[0].picture
        assert len(picture.faces) == 2
        evidence = evidence.put(0, engine.choose([(picture, picture.faces[1])])[0])
        whole = evidence[1].picture
        evidence = evidence.put(1, engine.choose([(whole, whole.whole)])[0]).replace(2, weight=2.5)
    if kind == "webcam":
        files = tuple(Image.open(file) for file in files)
    found = Given("celeba64", Evidence(tuple(evidence)), files)
    if kind == "saved":
        saved = replace(found.posterior(3.0), metadata={})
        return Given("celeba64", saved=saved, saved_name="mine.safetensors")
    return found


@pytest.mark.usefixtures("unsmoothed_sheets")
@pytest.mark.parametrize("levels", [(), (0.2, 0.3, 0.5, 0.7, 1.0)], ids=["one λ", "λ by level"])
@pytest.mark.parametrize("kind", ["example", "files", "chosen", "webcam", "saved"])
def test_the_snippets_reproduce_the_sheet(engine, folder, kind, levels):
    what, settings = given(engine, folder, kind), Settings(0.4, 0.9, 4, 7, levels)
    posterior = what.posterior(settings.ratio(engine.prior))
    shown = contact_sheet(to_pil(engine.sample(posterior, 4, seed=7, temperature=0.9)))
    posterior.save(folder / (what.saved_name or POSTERIOR_FILE))
    posterior.save(folder / POSTERIOR_FILE)  # the person has downloaded it

    exec(compile(python_code(what, settings), "snippet", "exec"), {})
    in_python = Image.open("sheet.png").convert("RGB")
    (folder / "sheet.png").unlink()
    words = shlex.split(command_line(what, settings))
    assert words[:3] == ["python", "-m", "transflow_core"]
    result = CliRunner().invoke(app, words[3:])
    assert result.exit_code == 0, result.output
    on_the_command_line = Image.open("sheet.png").convert("RGB")

    for made in (in_python, on_the_command_line):
        assert np.abs(np.asarray(made).astype(int) - np.asarray(shown)).max() <= 1
