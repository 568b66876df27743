"""The wheel, as a stranger installs it: outside the checkout, with nothing of it on the path."""

import json
import os
import subprocess
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from benchmarks.installs import build_wheel

ROOT = Path(__file__).resolve().parent.parent

pytest.importorskip("build", reason="the package `build` makes wheels")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment that has the wheel, and of this one only what the wheel needs."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    site = Path(
        subprocess.run(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], capture_output=True, check=True
        )
        .stdout.decode()
        .strip()
    )
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    subprocess.run(
        [python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--ignore-installed", str(wheel)],
        check=True,
        capture_output=True,
    )
    return python.parent


def _run(installed: Path, folder: Path, *command: str) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [installed / command[0], *command[1:]], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_nothing_but_the_package_lands_at_the_top_level(wheel: Path) -> None:
    """Nobody else's `demo`, `assets` or `tests` is overwritten."""
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"transflow_core"}


def test_what_the_wheel_says_of_itself(wheel: Path) -> None:
    """Name, version, licence and the command, from one place each."""
    import transflow_core

    with zipfile.ZipFile(wheel) as archive:
        folder = next(name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name)
        metadata = archive.read(f"{folder}/METADATA").decode()
        assert f"Version: {transflow_core.__version__}\n" in metadata
        assert "License-Expression: MIT" in metadata
        points = archive.read(f"{folder}/entry_points.txt").decode()
        assert "transflow = transflow_core.cli:main" in points and "app = transflow_core.demo.command:app" in points
        assert any(name.endswith("licenses/LICENSE") for name in archive.namelist())


def test_samples_from_any_folder(installed: Path, tmp_path: Path) -> None:
    """`transflow sample` with a shipped prior and a shipped example, far from the checkout."""
    where = _run(installed, tmp_path, "python", "-c", "import transflow_core; print(transflow_core.__file__)").strip()
    assert ROOT not in Path(where).parents
    examples = Path(where).parent / "assets" / "examples" / "greyscale"
    report = json.loads(
        _run(installed, tmp_path, "transflow", "sample", str(examples), "--prior", "celeba64", "-n", "2", "--json")
    )
    assert report["m"] == 18
    assert (tmp_path / "samples.png").is_file()


def test_the_page_is_inside_the_package(installed: Path, tmp_path: Path) -> None:
    """`transflow app` finds it there, builds it with its own examples, and no `demo` can be imported."""
    code = (
        "import importlib.util, sys\n"
        "import transflow_core.demo as page\n"
        "from transflow_core.demo.examples import example_sets\n"
        "assert all(example.files for example in example_sets().values())\n"
        "found = importlib.util.find_spec('demo')\n"
        "assert found is None, found\n"
        "page.build(first_prior='celeba64')\n"
        "print(sorted(page.Engines().names()))\n"
    )
    assert _run(installed, tmp_path, "python", "-c", code).strip().endswith("['celeba128', 'celeba64']")
    assert "Start the page" in _run(installed, tmp_path, "transflow", "app", "--help")
