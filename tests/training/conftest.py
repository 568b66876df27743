"""Pictures to train on, made on the spot: a disc of one colour on another. And runs on them."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from transflow_core.flows import PixelConvention
from transflow_core.flows.wavelet import DetailConfig, ScaleConfig, WaveletConfig
from transflow_core.training import Train, trainer
from transflow_core.training.data import ImageSet
from transflow_core.training.plan import PRESETS, Plan
from transflow_core.training.processes import Processes

TINY = PRESETS["tiny32"][0]
SCALES = ScaleConfig(1, 16), ScaleConfig(1, 24)
DETAILS = DetailConfig(steps=2, width=16, context=8, prior_cap=3.0, position_side=8, scales=SCALES)


def tiny(**asked) -> Train:
    """Settings of the preset tiny32, nets in float32."""
    return Train(**{"nets": "float32"} | asked).over(PRESETS["tiny32"][1])


def train(images, folder, settings, shape=TINY, start=None, grow=None, **how):
    """`trainer.train`, of a plan that a test spells out."""
    config = WaveletConfig(grow.flow.config, shape) if grow else shape
    plan = Plan(settings, config, PixelConvention(settings.bits), start, grow)
    return trainer.train(images, folder, plan, Processes(0, 1, torch.device("cpu")), **how)


def log(folder, event):
    """Lines of a run's log."""
    lines = map(json.loads, (folder / "log.jsonl").read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line["event"] == event]


def card(folder):
    return (folder / "MODEL_CARD.md").read_text(encoding="utf-8")


class After(threading.Event):
    """Set when it was looked at for the n-th time: once before each step."""

    def __init__(self, n):
        super().__init__()
        self.left = n

    def is_set(self):
        self.left -= 1
        return self.left < 0


def states(folder):
    """Of a run: all numbers in its checkpoint that a step changes, and the prior's weights."""
    state = torch.load(folder / "training.pt", weights_only=True)
    return [state["flow"], state["averaged"], state["adam"], load_file(folder / "model.safetensors")]


def same(found, expected, atol=0.0):
    """Tensors by their names, or anything of tensors and numbers."""
    torch.testing.assert_close(found, expected, atol=atol, rtol=0)


def conforms(prior, folder, atol):
    """A prior computes what the run noted for others, at each size."""
    for side in prior.sizes:
        name = "conformance.npz" if side == prior.image_size else f"conformance_{side}.npz"
        with np.load(folder / name) as data:
            same(prior.at(side).encode(data["images"]), torch.from_numpy(data["z"]), atol)
            same(prior.at(side).decode(torch.from_numpy(data["sample_z"])), torch.from_numpy(data["sample"]), atol)


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


def image_set(train, held_out, side=32, digest="discs"):
    return ImageSet(discs(train, side), discs(held_out, side, seed=1), digest, {})


@pytest.fixture(scope="session")
def disc_set() -> ImageSet:
    return image_set(240, 40)


@pytest.fixture
def disc_folder(tmp_path: Path) -> Path:
    """60 PNG files."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index, picture in enumerate(discs(60)):
        Image.fromarray(picture).save(folder / f"disc_{index:03d}.png")
    return folder
