"""The inputs of an operation: files, or evidence that was read before."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from PIL import Image

from ..compute import Compute, Progress
from ..intake import Intake
from ..pictures import Source
from ..recipes import Reading, Recipe
from .result import Result

__all__ = ["Call", "Run"]


@dataclass(frozen=True)
class Call:
    """What an operation is given beside its recipe.

    Attributes:
        inputs: by name: sources, an `Intake`, or for classes a mapping from names to either.
        progress: told how far it is.
        cancel: ends it with Cancelled at its next batch.
    """

    inputs: Mapping[str, Any]
    progress: Progress | None = None
    cancel: threading.Event | None = None

    def intake(self, engine: Compute, recipe: Reading, value: Any, *, faces: Any = None) -> Intake:
        """Sources, read; what was read before stays as it is.

        Raises ValueError where something of it cannot be used at all, and where nothing can.
        """
        if isinstance(value, Intake):
            return value
        return engine.intake(
            value,
            whole=recipe.whole,
            faces=faces or recipe.faces,
            landmarks=recipe.landmarks,
            robust=recipe.robust,
            progress=self.progress,
            cancel=self.cancel,
        )

    def evidence(self, engine: Compute, recipe: Reading, name: str = "evidence") -> Intake:
        """A set: images, or one saved posterior. Raises ValueError where nothing of it can be used."""
        return self._named(name, self.intake(engine, recipe, self.inputs[name]))

    def images(self, engine: Compute, recipe: Reading, name: str, *, faces: Any = None, some: bool = True) -> Intake:
        """The same, where a saved posterior will not do; `some`: at least one can be used."""
        intake = self.intake(engine, recipe, self.inputs[name], faces=faces)
        if intake.saved is not None:
            raise ValueError(f"{name}: give images, not a saved posterior.")
        return self._named(name, intake) if some else intake

    def _named(self, name: str, intake: Intake) -> Intake:
        try:
            return intake.checked()
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error

    def masks(self, engine: Compute) -> list[Image.Image]:
        """The masks that were given, opened."""
        some: Sequence[Source] = self.inputs.get("masks") or ()
        return [mask if isinstance(mask, Image.Image) else engine.picture(mask, cancel=self.cancel) for mask in some]


class Run(Protocol):
    """Runs one kind of recipe."""

    def __call__(self, engine: Compute, recipe: Any, call: Call) -> Result: ...


def facts_of(engine: Compute, recipe: Recipe) -> dict[str, Any]:
    """What every result tells: the prior, and the recipe."""
    return engine.prior.provenance | {"recipe": {"recipe": recipe.title(), **recipe.model_dump(exclude_none=True)}}


def notes_of(intake: Intake) -> tuple[str, ...]:
    """A line for each image that was skipped, or that counts less."""
    lines = []
    for image, counts in zip(intake.evidence, intake.evidence.counts, strict=True):
        if not image.used or image.far:
            less = image.used and counts < image.weight
            lines.append(f"{image.name}: {image.summary}" + (f"; its weight is {counts:.2g}" if less else ""))
    return tuple(lines)
