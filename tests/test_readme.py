"""What the README says, done: its Python example, its commands, its front matter and its pictures."""

import re
import shlex
import subprocess
import sys
from importlib.metadata import version

import numpy as np
import pytest
from packaging.specifiers import SpecifierSet
from PIL import Image
from typer.testing import CliRunner

from transflow_core.cli import app
from transflow_core.priors.catalogue import example

from .helpers import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def folder(checkout, monkeypatch):
    """With one photograph-like picture in it, too. A set has four images, and a sheet few draws: more show no more."""
    monkeypatch.setattr("transflow_core.cli.output.example", lambda name: example(name)[:4])
    (checkout / "photos").mkdir()
    face = Image.open(sorted((ROOT / "assets" / "examples" / "sepia").glob("*.png"))[0])
    face.resize((256, 256), Image.Resampling.LANCZOS).save(checkout / "photos" / "a.jpg", quality=95)
    return checkout


@pytest.mark.slow
def test_the_python_example_and_the_command_line_agree(folder, capsys):
    short, long = re.findall(r"```python\n(.*?)```", README, re.S)[:2]
    assert len(short.strip().splitlines()) <= 8 and len(long.strip().splitlines()) <= 12
    code = re.sub(r"\b16\b", "4", short + long).replace('example("paintings")', 'example("paintings")[:4]')
    exec(compile(code, "README.md", "exec"), {})
    assert "\n4.0 " in capsys.readouterr().out
    assert (folder / "sheet.png").is_file() and (folder / "paintings.safetensors").is_file()
    CliRunner().invoke(app, shlex.split("sample paintings -n 4 --seed 0 -o cli.png"))
    sheets = [np.asarray(Image.open(name).convert("RGB")).astype(int) for name in ("sheet.png", "cli.png")]
    assert np.abs(sheets[0] - sheets[1]).max() <= 2


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_every_command_runs():
    commands = re.findall(r"^    transflow (.*)$", README, re.M)
    assert len(commands) >= 7
    for command in commands:
        draws = ["-n", "2"] if command.split()[0] in ("sample", "sweep", "interpolate") else []
        result = CliRunner().invoke(app, [*shlex.split(command), *draws])
        assert result.exit_code == 0, f"{command}\n{result.output}"


def test_the_page_takes_the_options_of_the_command():
    shown = subprocess.run([sys.executable, "app.py", "--help"], cwd=ROOT, capture_output=True, text=True)
    assert shown.returncode == 0 and "--port" in shown.stdout and "--priors" in shown.stdout


def test_every_picture_and_page_that_it_points_to_is_there():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).is_file(), target


def test_the_front_matter_starts_the_space_that_was_tested():
    matter = README.split("---")[1]
    assert re.search(r"^sdk: gradio$", matter, re.M) and re.search(r"^app_file: app.py$", matter, re.M)
    [sdk] = re.findall(r"^sdk_version: (\S+)$", matter, re.M)
    files = ("requirements.txt", "requirements-dev.txt", "pyproject.toml")
    bounds = [re.findall(r"gradio(?:\[mcp\])?(>=[\d.]+,<\d+)", (ROOT / file).read_text("utf-8")) for file in files]
    assert bounds == [[">=6.24,<7"]] * 3  # older ones have no `run_history` and do not start
    assert all(SpecifierSet(">=6.24,<7").contains(found) for found in (sdk, version("gradio")))
