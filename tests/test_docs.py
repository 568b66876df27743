"""What the README, the examples, the notebooks and docs/priors.md say, done as it stands there."""

import base64
import io
import json
import re
import runpy
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from packaging.specifiers import SpecifierSet
from PIL import Image
from typer.testing import CliRunner

from transflow_core.checkpoints.layouts import LAYOUTS
from transflow_core.cli import app
from transflow_core.priors.catalogue import example

from .helpers import ROOT

README, PRIORS = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/priors.md"))
OF_PRIORS = re.findall(r"```python\n(.*?)```", PRIORS, re.DOTALL)
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
MADE = {
    "own_photos": ["samples.png"],
    "own_flow": ["own_flow.png"],
    "own_method": ["walk.png"],
    "classify": ["classifier.safetensors"],
    "interpolate": ["path.gif", "path.png"],
}
every_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)


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


def test_there_are_no_other_examples():
    assert {file.stem for file in (ROOT / "examples").glob("*.py")} == MADE.keys()


@pytest.mark.parametrize("name", MADE)
def test_an_example_runs(name, few, monkeypatch, capsys):
    file = ROOT / "examples" / f"{name}.py"
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 25
    monkeypatch.setattr(sys, "argv", [str(file)])
    runpy.run_path(str(file), run_name="__main__")
    assert all((few / made).stat().st_size > 1000 for made in MADE[name])
    if name == "classify":
        assert capsys.readouterr().out.count("(") == 3  # each has a class, and none is "none of these"


def code_cells(notebook: Path) -> list[dict]:
    return [cell for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


@pytest.mark.slow
@every_notebook
def test_a_notebook_runs(notebook, monkeypatch, tmp_path, capsys):
    """Its own assertions hold what it says against the library."""
    if notebook.stem == "own_flow":
        pytest.importorskip("zuko")
        pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    shown: list[object] = []
    names: dict[str, object] = {"__name__": "__main__", "display": shown.append}
    for index, cell in enumerate(code_cells(notebook)):
        code = "".join(cell["source"])
        code = code.replace("%pip install -q transflow-studio", "raise")  # a word of notebooks, for where it is missing
        exec(compile(code, f"{notebook.name}, cell {index}", "exec"), names)
    assert len(shown) >= 3 and all(isinstance(picture, Image.Image) for picture in shown)
    if notebook.stem == "posterior":  # elsewhere what is printed hangs on training, or on which samples are drawn again
        texts = [one["text"] for cell in code_cells(notebook) for one in cell["outputs"] if "text" in one]
        stored, printed = (
            re.split(r"(-?\d[\d,]*(?:\.\d+)?)", text)
            for text in ("".join(map("".join, texts)), capsys.readouterr().out)
        )
        assert stored[::2] == printed[::2]
        numbers = [[float(one.replace(",", "")) for one in some[1::2]] for some in (stored, printed)]
        assert numbers[1] == pytest.approx(numbers[0], rel=0.01, abs=0.001)


@every_notebook
def test_a_notebook_has_its_results_and_its_page_of_the_site(notebook):
    """Every cell was run, in order; each picture that is shown can be opened, and the file stays small."""
    codes = code_cells(notebook)
    assert [cell["execution_count"] for cell in codes] == list(range(1, len(codes) + 1))
    for cell in codes:
        code = "".join(cell["source"])
        kinds = [kind for one in cell["outputs"] for kind in one.get("data", {"text": ""})]
        assert "image/jpeg" in kinds or "display(" not in code
        assert "text" in kinds or "print(" not in code
        for one in cell["outputs"]:
            if picture := one.get("data", {}).get("image/jpeg"):
                Image.open(io.BytesIO(base64.b64decode(picture))).verify()
    assert notebook.stat().st_size < 1e6
    assert f"notebooks/{notebook.stem}.md" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


@pytest.mark.parametrize("number", range(len(OF_PRIORS)))
def test_an_example_of_the_page_of_priors_runs(number, tmp_path, monkeypatch, capsys):
    if "import normflows" in OF_PRIORS[number]:
        pytest.importorskip("normflows", reason="normflows is not installed")
    monkeypatch.chdir(tmp_path)
    exec(compile(OF_PRIORS[number], f"docs/priors.md, example {number + 1}", "exec"), {"__name__": "example"})
    printed = capsys.readouterr().out
    assert bool(printed) == ("print(" in OF_PRIORS[number])


def test_the_page_of_priors_lists_every_format_and_what_it_asks_for():
    for known in LAYOUTS:
        row = next(line for line in PRIORS.splitlines() if line.startswith("|") and known.name.split(" (")[0] in line)
        for name, setting in known.settings.model_fields.items():
            if setting.is_required():
                assert f"`{name}`" in row, (known.name, name)
