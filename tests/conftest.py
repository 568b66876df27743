"""What several tests share: the shipped prior, a tiny prior made on the spot, and the folder of real data."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from transflow_core.checkpoints import Checkpoint
from transflow_core.flows import Glow, GlowConfig, LevelConfig
from transflow_core.pixels import PixelConvention
from transflow_core.prior import Prior, load_prior
from transflow_core.shipped import MODELS

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
CHROMIUM = shutil.which("chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


_THREADS = torch.get_num_threads()


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


def read_conformance(folder: Path) -> dict[str, np.ndarray]:
    """Inputs and results of a prior, as they lie beside its weights."""
    with np.load(folder / "conformance.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def conformance() -> dict[str, np.ndarray]:
    """What was computed with celeba64 when it was trained."""
    return read_conformance(MODELS / "celeba64")


def make_tiny_prior(seed: int = 0, name: str = "tiny") -> Prior:
    """A random 16×16 Glow of two levels: not a face in it, but as invertible as a trained one, and quick."""
    generator = torch.Generator().manual_seed(seed)
    config = GlowConfig(image_size=16, levels=(LevelConfig(2, 8), LevelConfig(2, 8)), position=True)
    flow = Glow(config, generator)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.03 * torch.randn(parameter.shape, generator=generator))
    checkpoint = Checkpoint(flow, PixelConvention(bits=5), name, fingerprint=f"{name}-{seed}")
    return Prior.from_checkpoint(checkpoint, device="cpu")


@pytest.fixture
def tiny_prior() -> Prior:
    return make_tiny_prior()


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
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()
