"""Fixtures of all tests: the shipped priors, a tiny prior, the folder of real data, a browser; and who needs one."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

from transflow_core import Engine, Prior, load_prior
from transflow_core.runtime import tune

from .helpers import CHROMIUM, CHROMIUM_ARGUMENTS, EXAMPLES, ROOT, SHARED, make_tiny_prior, read_conformance

tune()  # a run of the tests is a program
# The machine may be busy: no example has a deadline, nor is slow data a fault.
_SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
settings.register_profile("tests", deadline=None, suppress_health_check=_SLOW)
settings.load_profile("tests")
_THREADS = torch.get_num_threads()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What asks for a browser is marked so: `-m "not browser"` is what runs where there is none."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Why a test needed a second try: it may be a fault of the page that comes seldom."""
    for report in terminalreporter.stats.get("rerun", ()):
        terminalreporter.section(f"RERUN {report.nodeid}")
        terminalreporter.write_line(report.longreprtext)


@pytest.fixture(autouse=True)
def all_cores() -> None:
    """A page that was built in this process left one core to whoever built it; a test is a program of its own."""
    torch.set_num_threads(_THREADS)


@pytest.fixture(scope="session")
def celeba64() -> Prior:
    """The smaller prior that ships, on the CPU."""
    return load_prior("celeba64", device="cpu")


@pytest.fixture(scope="session")
def default_prior() -> Prior:
    """What the page and the command line take when nobody says which, on the CPU."""
    return load_prior(device="cpu")


@pytest.fixture(scope="session")
def conformance() -> dict[str, np.ndarray]:
    """What was computed with celeba64 when it was trained."""
    return read_conformance("celeba64")


@pytest.fixture
def tiny_prior() -> Prior:
    return make_tiny_prior()


@pytest.fixture
def engine(tiny_prior) -> Engine:
    """The tiny prior at work."""
    return Engine(tiny_prior)


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """The current folder: empty, but for the checkout's `assets`."""
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def few(checkout) -> Path:
    """The same with seven images of each example set: more show no more."""
    (checkout / "assets").unlink()
    for file in EXAMPLES.glob("*/*_0[0-6].png"):
        (folder := checkout / file.parent.relative_to(ROOT)).mkdir(parents=True, exist_ok=True)
        (folder / file.name).symlink_to(file)
    return checkout


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real faces and photographs; tests that use it are skipped where it is not."""
    if not (SHARED / "data").is_dir():
        pytest.skip("the shared folder with real images is not beside this checkout")
    return SHARED


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """Debian's Chromium, without a screen. One for all tests: Playwright allows one loop a process."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium on this machine (.ci/run installs it)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        yield chromium
        chromium.close()
