"""Pictures to train on, made on the spot: a disc of one colour on another."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from transflow_core.flows import DetailConfig, PixelConvention
from transflow_core.training import PRESETS, Train, trainer
from transflow_core.training.data import ImageSet
from transflow_core.training.plan import Plan, architecture

TINY = architecture(PRESETS["tiny32"])
DETAILS = DetailConfig(steps=2, width=16, context=8, prior_cap=3.0, position_side=8)


def tiny(**asked) -> Train:
    """Settings of the preset tiny32, nets in float32."""
    return Train(**{"nets": "float32"} | asked).over(PRESETS["tiny32"].settings)


def train(images, folder, settings, shape=TINY, start=None, grow=None, size=None, **how):
    """`trainer.train`, of a plan that a test spells out."""
    pixels = PixelConvention(bits=settings.bits)
    plan = Plan(settings, shape, size or images.image_size, pixels, start, grow)
    return trainer.train(images, folder, plan, **how)


def log(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]


class After(threading.Event):
    """Set when it was looked at for the n-th time: once before each step."""

    def __init__(self, n):
        super().__init__()
        self.left = n

    def is_set(self):
        self.left -= 1
        return self.left < 0


def run_in_parts(images, folder, settings, shape=TINY, **how):
    """The same run twice: in "whole", and in "parts", where it is stopped at a third and resumed."""
    train(images, folder / "whole", settings, shape, **how)
    at = settings.steps // 3
    first = train(images, folder / "parts", settings, shape, cancel=After(at), **how)
    assert not first.finished and first.step == at
    second = train(images, folder / "parts", settings.replace(resume=True), shape, **how)
    assert second.finished and second.step == settings.steps


def tensors(state):
    """All tensors in a checkpoint, by where they are."""
    if isinstance(state, torch.Tensor):
        return {"": state}
    below = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list | tuple) else ()
    return {f"{key}.{name}": one for key, value in below for name, one in tensors(value).items()}


def state_of(folder):
    return tensors(torch.load(folder / "training.pt", weights_only=True))


def same_bits(folder):
    """Of the checkpoint and the prior."""
    for read in (state_of, lambda one: load_file(one / "model.safetensors")):
        whole, parts = read(folder / "whole"), read(folder / "parts")
        assert whole and whole.keys() == parts.keys()
        for name, tensor in whole.items():
            assert tensor.equal(parts[name]), name


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
