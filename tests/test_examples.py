"""Every example runs as it stands, is short, and makes what it says."""

import runpy
import sys

import pytest

from .helpers import ROOT

MADE = {
    "own_photos": ["samples.png"],
    "own_flow": ["own_flow.png"],
    "own_method": ["walk.png"],
    "classify": ["classifier.safetensors"],
    "interpolate": ["path.gif", "path.png"],
}


def test_there_is_nothing_else():
    assert {file.stem for file in (ROOT / "examples").glob("*.py")} == MADE.keys()


@pytest.mark.parametrize("name", MADE)
def test_an_example_runs(name, few, monkeypatch, capsys):
    file = ROOT / "examples" / f"{name}.py"
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 25
    monkeypatch.setattr(sys, "argv", [str(file)])
    runpy.run_path(str(file), run_name="__main__")
    assert all((few / made).stat().st_size > 1000 for made in MADE[name])
    if name == "classify":
        assert capsys.readouterr().out.count("(") == 3  # each is told apart, and none is "none of these"
