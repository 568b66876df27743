"""What a classifier says of one image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["NONE", "Answer"]

NONE = "none of these"
"""The answer for an image that belongs to none of the classes."""


@dataclass(frozen=True)
class Answer:
    """What one image is.

    Attributes:
        probabilities: of each class, by name, if it is of one of them: they sum to 1.
        novelty: 0 to 1, how likely it is none of them.
        none: whether the novelty is above the classifier's threshold.
    """

    probabilities: Mapping[str, float]
    novelty: float
    none: bool

    @property
    def best(self) -> str:
        """The likeliest class."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    @property
    def word(self) -> str:
        """The answer in a word: the likeliest class, or `NONE`."""
        return NONE if self.none else self.best
