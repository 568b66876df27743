"""The wheel, as a stranger installs it: outside the checkout, with nothing of it on the path. And the sources."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import transflow_core
from benchmarks.installs import build, unpack
from transflow_core.priors.catalogue import shipped_priors

from .helpers import ROOT

pytest.importorskip("build", reason="the package `build` makes wheels")
in_git = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="it is built from what git tracks")
pytestmark = [pytest.mark.slow, in_git]
REPOSITORY = "https://github.com/me/studio"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build(tmp_path_factory.mktemp("wheel"), TRANSFLOW_REPOSITORY=REPOSITORY)


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    return build(tmp_path_factory.mktemp("sdist"), "sdist", TRANSFLOW_REPOSITORY="")


@pytest.fixture(scope="module")
def run(wheel, tmp_path_factory):
    """A program of an environment that has the wheel, and of this one only what the wheel needs: what it prints."""
    folder, elsewhere = (tmp_path_factory.mktemp(name) for name in ("environment", "elsewhere"))
    venv.create(folder)
    (site,) = folder.glob("[lL]ib/**/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def call(program, *arguments):
        command = [folder / ("Scripts" if os.name == "nt" else "bin") / program, *map(str, arguments)]
        done = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    pip = [sys.executable, "-m", "pip", "--python", folder, "install", "-q", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--ignore-installed", wheel], check=True)
    return call


def test_what_is_in_the_wheel_and_what_it_says_of_itself(wheel):
    """Nobody else's `demo`, `assets` or `tests` is overwritten; name, version, licence and command from one place."""
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
        (about,) = (top for top in tops if top.endswith(".dist-info"))
        assert tops == {"transflow_core", about}
        metadata, points = (archive.read(f"{about}/{name}").decode() for name in ("METADATA", "entry_points.txt"))
        assert f"Version: {transflow_core.__version__}\n" in metadata and "License-Expression: MIT AND " in metadata
        assert "transflow = transflow_core.cli:main" in points and "app = transflow_core.demo.command:app" in points
        assert {f"{about}/licenses/LICENSE", "transflow_core/py.typed"} <= set(archive.namelist())
    assert wheel.stat().st_size <= 100e6
    assert f"\nversion: {transflow_core.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_the_index_page_begins_with_the_licence_a_picture_and_two_lines_that_draw(wheel):
    """Every link of it has a whole address, of a file that is there."""
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        head, _, page = archive.read(metadata).decode().partition("\n\n")
    assert f"Project-URL: Repository, {REPOSITORY}\n" in head and "Description-Content-Type: text/markdown" in head
    assert page.startswith("# Transflow Studio\n") and "weights are for non-commercial research" in page.split("![")[0]
    assert page.index("![") < page.index("## Start") < page.index("    transflow sample paintings") < page.index("```")
    links = re.findall(r"(!?)\[[^\]]*\]\(([^)#]+)\)", page)
    assert len(links) > 20 and all(target.startswith("https://") for _, target in links)
    for picture, target in links:
        if target.startswith(REPOSITORY):
            kind, _, place = target.removeprefix(f"{REPOSITORY}/").partition("/main/")
            assert (kind == "raw") == bool(picture) and (ROOT / place).is_file(), target


def test_the_source_distribution_has_all_that_git_tracks(sdist, tmp_path):
    """So its tests are these. Without the address of a repository its page has no link that leads nowhere."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    assert {name for name in listed.split("\0") if (ROOT / name).is_file()} <= names
    source = unpack(sdist, tmp_path)
    page = (source / "PKG-INFO").read_text(encoding="utf-8").partition("\n\n")[2]
    assert not re.search(r"\]\((?!https:|#)", page) and "[Every tab]" not in page and "Every tab" in page


def test_where_dlib_has_no_wheel_it_is_not_required():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    (dlib,) = (Requirement(line) for line in lines if line.startswith("dlib-bin"))
    for machine, python, wanted in (
        ("x86_64", "3.14", True),
        ("AMD64", "3.11", True),
        ("arm64", "3.14", True),
        ("ARM64", "3.14", False),  # Windows
        ("riscv64", "3.12", False),
        ("x86_64", "3.15", False),
    ):
        assert dlib.marker.evaluate({"platform_machine": machine, "python_version": python}) == wanted, machine


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
