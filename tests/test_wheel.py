"""The wheel, as a stranger installs it: outside the checkout, with nothing of it on the path."""

import json
import os
import subprocess
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import transflow_core
from benchmarks.installs import build_wheel
from transflow_core.priors.catalogue import shipped_priors

from .helpers import ROOT

pytest.importorskip("build", reason="the package `build` makes wheels")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def run(wheel, tmp_path_factory):
    """A program of an environment that has the wheel, and of this one only what the wheel needs: what it prints."""
    folder, elsewhere = (tmp_path_factory.mktemp(name) for name in ("environment", "elsewhere"))
    venv.create(folder, with_pip=True)
    (site,) = folder.glob("[lL]ib/**/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def call(program, *arguments):
        command = [folder / ("Scripts" if os.name == "nt" else "bin") / program, *map(str, arguments)]
        done = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    call("python", *["-m", "pip", "install", "-q", "--no-deps", "--no-index", "--ignore-installed"], wheel)
    return call


def test_what_is_in_the_wheel_and_what_it_says_of_itself(wheel):
    """Nobody else's `demo`, `assets` or `tests` is overwritten; name, version, licence and command from one place."""
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
        (about,) = (top for top in tops if top.endswith(".dist-info"))
        assert tops == {"transflow_core", about}
        metadata, points = (archive.read(f"{about}/{name}").decode() for name in ("METADATA", "entry_points.txt"))
        assert f"Version: {transflow_core.__version__}\n" in metadata and "License-Expression: MIT" in metadata
        assert "transflow = transflow_core.cli:main" in points and "app = transflow_core.demo.command:app" in points
        assert {f"{about}/licenses/LICENSE", "transflow_core/py.typed"} <= set(archive.namelist())


def test_samples_from_any_folder(run):
    """`transflow sample` with a shipped prior and a shipped example, far from the checkout."""
    where = Path(run("python", "-c", "import transflow_core; print(transflow_core.__file__)").strip())
    assert ROOT not in where.parents
    assert json.loads(run("transflow", "sample", "greyscale", "--prior", "celeba64", "-n", 2, "--json"))["m"] == 18


def test_the_page_is_inside_the_package(run):
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
    assert run("python", "-c", code).strip().endswith(str(sorted(shipped_priors())))
    assert "Start the page" in run("transflow", "app", "--help")
