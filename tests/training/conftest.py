"""Pictures to train on, made on the spot: a disc of one colour on another."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from transflow_core import training
from transflow_core.training import ImageSet, Plan


def train(
    images, folder, architecture, pixels, settings, start=None, grow=None, blend=1.0, half=False, resume=False, **how
):
    """`training.train`, of a plan that a test spells out."""
    plan = Plan(images.image_size, architecture, pixels, settings, start, grow, blend, half, resume)
    return training.train(images, folder, plan, **how)


def discs(n: int, side: int = 32, seed: int = 0) -> np.ndarray:
    """(n, side, side, 3) uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    pictures = []
    for _ in range(n):
        ink, ground = rng.integers(0, 256, (2, 3))
        centre, radius = rng.uniform(0.35, 0.65, 2), rng.uniform(0.15, 0.35)
        inside = np.hypot(x - centre[0], y - centre[1]) < radius
        pictures.append(np.where(inside[..., None], ink, ground).astype(np.uint8))
    return np.stack(pictures)


@pytest.fixture(scope="session")
def disc_set() -> ImageSet:
    """240 to train on, 40 held out."""
    return ImageSet(discs(240), discs(40, seed=1), "discs", {})


@pytest.fixture
def disc_folder(tmp_path: Path) -> Path:
    """60 PNG files."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index, picture in enumerate(discs(60)):
        Image.fromarray(picture).save(folder / f"disc_{index:03d}.png")
    return folder
