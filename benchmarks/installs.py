"""The wheel in fresh environments: whether it runs there outside the checkout, and how much an install brings along.

    python -m benchmarks.installs python3.12 python3.13 python3.14       # several GB of downloads each
    python -m benchmarks.installs python3.12 --versions lowest pinned --sdist

For each Python, and each of `--versions` (the newest, the lowest that requirements.txt allows, those of
constraints.txt): a virtual environment in a temporary folder, `pip install` of the wheel with all that it needs,
`transflow sample` on a shipped example, `transflow app` until the page and a call of its API answer. With `--sdist` the
wheel is built from the source distribution, and quick tests run in that. Then all of it is deleted. With `--write` the
table goes into docs/hosting.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.tables import into

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "hosting.md"
_SIZES = """
import importlib.metadata as m, json
sizes = {}
for one in m.distributions():
    files = [one.locate_file(file) for file in one.files or ()]
    sizes[one.metadata["Name"].lower()] = sum(f.stat().st_size for f in files if f.is_file() and f.suffix != ".pyc")
print(json.dumps(sizes))
"""
# What comes with torch for GPUs, or is torch.
_TORCH = ("torch", "nvidia", "triton", "cuda")


def build(folder: Path, kind: str = "wheel", **environment: str) -> Path:
    """A "wheel" or an "sdist", built from what git tracks, since a working folder may hold anything.

    Returns the file, in `folder`.

    Args:
        environment: variables on top, such as TRANSFLOW_REPOSITORY (see setup.py).
    """
    with tempfile.TemporaryDirectory() as source:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file():
                target = Path(source) / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, target)
        return _built(Path(source), folder, kind, environment)


def _built(source: Path, folder: Path, kind: str, environment: Mapping[str, str]) -> Path:
    command = [sys.executable, "-m", "build", f"--{kind}", "--no-isolation", "--outdir", str(folder), str(source)]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | environment)
    return next(folder.glob({"wheel": "*.whl", "sdist": "*.tar.gz"}[kind]))


def unpack(sdist: Path, folder: Path) -> Path:
    """The folder of the sources within `folder`."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    return folder / sdist.name.removesuffix(".tar.gz")


def constraints(versions: str, python: str, folder: Path) -> list[str]:
    """Options of `pip install` that choose versions: the newest, or those of a file."""
    if versions == "newest":
        return []
    if versions == "pinned":
        return ["-c", str(ROOT / "constraints.txt")]
    file = folder / "lowest.txt"
    how = ["--resolution", "lowest-direct", "--python", python, "-q", "-o", str(file)]
    subprocess.run([sys.executable, "-m", "uv", "pip", "compile", str(ROOT / "requirements.txt"), *how], check=True)
    return ["-c", str(file)]


@contextmanager
def environment(python: str) -> Iterator[Path]:
    """The folder of programs of a fresh virtual environment, which is deleted in the end."""
    with tempfile.TemporaryDirectory(prefix="installs-") as folder:
        subprocess.run([python, "-m", "venv", folder], check=True)
        programs = Path(folder) / ("Scripts" if os.name == "nt" else "bin")
        subprocess.run([programs / "python", "-m", "pip", "install", "-q", "-U", "pip"], check=True, cwd=folder)
        yield programs


def install(programs: Path, *what: str) -> float:
    """Seconds that `pip install` took."""
    start = time.perf_counter()
    subprocess.run([programs / "python", "-m", "pip", "install", "-q", *what], check=True, cwd=programs)
    return time.perf_counter() - start


def sizes(programs: Path) -> tuple[float, float]:
    """Megabytes of all that is installed, pip apart: without torch and what it brings for GPUs, and these."""
    told = subprocess.run([programs / "python", "-c", _SIZES], capture_output=True, check=True, cwd=programs).stdout
    found = {name: size for name, size in json.loads(told).items() if name != "pip"}
    torch = sum(size for name, size in found.items() if name.startswith(_TORCH))
    return (sum(found.values()) - torch) / 1e6, torch / 1e6


def samples(programs: Path, folder: Path) -> float:
    """Seconds of `transflow sample` on a shipped example, from a folder that is no checkout."""
    where = subprocess.run(
        [programs / "python", "-c", "import transflow_core as t; print(t.__path__[0])"],
        capture_output=True,
        check=True,
        text=True,
        cwd=folder,
    ).stdout.strip()
    assert ROOT not in Path(where).parents
    example = Path(where) / "assets" / "examples" / "greyscale"
    start = time.perf_counter()
    command = [programs / "transflow", "sample", str(example), "-n", "4", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert not done.returncode, done.stderr
    assert json.loads(done.stdout)["m"] == 18 and (folder / "samples.png").is_file()
    return time.perf_counter() - start


def answers(programs: Path, folder: Path) -> float:
    """Seconds from `transflow app` to a page that answers; a call of its API is answered, too."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = time.perf_counter()
    log = folder / "log.txt"
    with log.open("w") as output:
        command = [programs / "transflow", "app", "--port", str(port), "--no-open"]
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            assert process.poll() is None and time.perf_counter() - start < 300, log.read_text()
            try:
                urllib.request.urlopen(url, timeout=30).close()
                break
            except OSError:
                time.sleep(0.1)
        seconds = time.perf_counter() - start
        info = f"{url}/gradio_api/call/v2/info"
        call = urllib.request.Request(info, b"{}", {"content-type": "application/json"})
        with urllib.request.urlopen(call, timeout=300) as answer:
            event = json.load(answer)["event_id"]
        with urllib.request.urlopen(f"{info}/{event}", timeout=300) as answer:
            told = answer.read().decode()
        assert "event: complete" in told and "celeba64" in told, told
        return seconds
    finally:
        process.terminate()
        process.wait()


def passes(programs: Path, source: Path) -> None:
    """The quick tests of the core, of a source distribution, with what the wheel brought."""
    install(programs, "pytest", "hypothesis")
    quick = ["tests/cli/test_verbs.py", "tests/images", "tests/test_recipes.py", "tests/test_posterior.py"]
    command = [programs / "python", "-m", "pytest", "-q", "-m", "not slow and not browser", *quick]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert not done.returncode, done.stdout
    print(done.stdout.strip().rpartition("\n")[2], flush=True)


def tried(python: str, wheel: Path, versions: str, source: Path | None) -> str:
    """A row of the table. The tests of `source` run, too."""
    with environment(python) as programs, tempfile.TemporaryDirectory(prefix="elsewhere-") as folder:
        version = subprocess.run([python, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
        seconds = install(programs, str(wheel), *constraints(versions, python, Path(folder)))
        code = "import importlib.metadata as m; print(m.version('torch'), m.version('gradio'))"
        torch, gradio = subprocess.run(
            [programs / "python", "-c", code], capture_output=True, text=True, check=True, cwd=folder
        ).stdout.split()
        rest, with_torch = sizes(programs)
        sampled, answered = samples(programs, Path(folder)), answers(programs, Path(folder))
        row = (
            f"| {version}, {versions} | {torch}, {gradio} | {seconds:.0f} s | {rest:.0f} + {with_torch:.0f} MB "
            f"| {sampled:.0f} s | {answered:.0f} s |"
        )
        print(row, flush=True)
        if source is not None:
            passes(programs, source)
    return row


def main() -> None:
    """Print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("pythons", nargs="+", metavar="PYTHON")
    parser.add_argument("--versions", nargs="+", default=["newest"], choices=["newest", "pinned", "lowest"])
    parser.add_argument("--sdist", action="store_true", help="build the wheel from the sdist, and run tests of that")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.relative_to(ROOT)}")
    given = parser.parse_args()
    rows = ["| Python | torch, gradio | `pip install` | size, + torch | `transflow sample` | `transflow app` |"]
    rows.append("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        source = unpack(build(Path(folder), "sdist"), Path(folder)) if given.sdist else None
        wheel = _built(source, Path(folder), "wheel", {}) if source else build(Path(folder))
        for python, versions in itertools.product(given.pythons, given.versions):
            rows.append(tried(python, wheel, versions, source))
    if given.write:
        into(PAGE, "installs", "\n".join(rows))


if __name__ == "__main__":
    main()
