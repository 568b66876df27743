"""The bounds of what can be asked for, each with its reason; and the checks of what comes from outside."""

import reprlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, TypeGuard, TypeVar

S = TypeVar("S", bound=str)


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`, both among them."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        """Whether a number is of the range."""
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"from {self.low:.12g} to {self.high:.12g}"


# What decides a draw: the other bounds stand in `recipes` ------------------------------------------------------------

LAM_RATIO_SLIDER = Range(0.01, 10)
"""λ/m of a slider: below it samples are copies of the mean, above it they are the prior's."""
DEFAULT_LAM_RATIO = 0.5
"""In the middle of what the paper advises, 0.3 to 0.7."""
WEIGHT = Range(0, 100)
"""How often one image of the evidence counts; as often as the most images that there may be."""

# How much one request may ask for -----------------------------------------------------------------------------------

MOST_IMAGES = 100
"""Images of one place: evidence, or a list of the API. The paper's sets have 20; a hundred are read in a minute."""
MOST_PHOTOGRAPHS = 12
"""Photographs that the page restyles, one at a time: each may have many faces."""
RESTYLE_FRAMES, RESTYLE_SIDE = 13, 640
"""Frames of an animated restyling, one way, and the side of its pictures: what a phone plays and a message carries."""
MOST_CLASSIFIED = 200
"""Images of one call of `classify`, examples and queries of all its lists together."""
MOST_DECODED = 128
"""Images that one call decodes: seconds on two cores, so that nobody holds them for minutes."""
SAMPLES = Range(1, 64)
"""Samples on the page: a sheet of 8 × 8."""
MOST_ENLARGED = 512 * 512
"""Pixels of a picture that is enlarged: a minute on two cores."""
STEPS, STEPS_SLIDER = Range(2, 64), Range(3, 24)
"""Posteriors of an interpolation, both ends included: of a call, and of the page, where a strip has to fit."""
MOST_DRAWS = 6
"""Rows of the page's interpolation: each is decoded at some thirty frames."""

# Classes ------------------------------------------------------------------------------------------------------------

CLASSES_ON_PAGE, CLASSES_OF_CALL, CLASSES_OF_FILE = Range(2, 10), Range(1, 20), Range(1, 1000)
"""Classes that a page has room for, that one call fits, and that a saved classifier holds."""
MOST_EXAMPLES, MOST_QUERIES = 30, 60
"""Images of one class, and queries, on the page."""
CLASS_NAME_LENGTH, MOST_NAME_LENGTH = 40, 200
"""Characters of a class's name on the page, and at all."""


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether a value is a number. In Python true and false are, too, and never meant."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def class_name(value: object) -> str:
    """A class's name as it can be shown and saved. Raises ValueError for anything else."""
    if not isinstance(value, str) or not value.strip() or not value.isprintable() or len(value) > MOST_NAME_LENGTH:
        raise ValueError(
            f"the name of a class is 1 to {MOST_NAME_LENGTH} printable characters, not {reprlib.repr(value)}"
        )
    return value


def choice(value: object, name: str, options: Collection[S]) -> S:
    """One of several words. Raises ValueError, naming them, for anything else."""
    for option in options:
        if value == option:
            return option
    raise ValueError(f"{name} must be one of {', '.join(options)}, not {reprlib.repr(value)}")
