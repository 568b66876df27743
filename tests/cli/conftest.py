"""An empty folder to run commands in."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from transflow_core.cli import app

from ..helpers import make_tiny_prior, squares


@pytest.fixture
def run(tmp_path, monkeypatch):
    """`run("sample", …)` in an empty folder with a tiny prior and five images; gives what `--json` printed."""
    monkeypatch.chdir(tmp_path)
    make_tiny_prior().save("tiny.safetensors")
    Path("images").mkdir()
    for index, image in enumerate(squares(5)):
        image.save(f"images/{index}.png")

    def call(verb, *arguments, fails=False, prior=True):
        options = ["--prior", "tiny.safetensors"] if prior else []
        result = CliRunner().invoke(app, [verb, *map(str, arguments), *options, "--json"])
        assert (result.exit_code != 0) == fails, result.output
        return result.stderr if fails else json.loads(result.stdout)

    return call


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB")).astype(int)
