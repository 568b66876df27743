"""The inputs of an operation: files, or evidence that was read before."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from PIL import Image

from ..compute import Progress
from ..evidence import Evidence
from ..pictures import File
from ..reading import Reader
from ..recipes import Reading, Recipe
from .result import Result

__all__ = ["Call", "Run"]


@dataclass(frozen=True)
class Call:
    """What an operation is given beside its recipe.

    Attributes:
        inputs: by name: sources, an `Evidence`, or for classes a mapping from names to either.
        progress: see `Compute.sample`.
        cancel: ends it with Cancelled at its next batch.
    """

    inputs: Mapping[str, Any]
    progress: Progress | None = None
    cancel: threading.Event | None = None

    def read(self, engine: Reader, recipe: Reading, value: Any, *, faces: Any = None) -> Evidence:
        """Sources, read; what was read before stays as it is.

        Raises ValueError where something of it cannot be used at all, and where nothing can.
        """
        if isinstance(value, Evidence):
            return value
        return engine.read(
            value,
            align=recipe.align,
            faces=faces or recipe.faces,
            landmarks=recipe.landmarks,
            robust=recipe.robust,
            progress=self.progress,
            cancel=self.cancel,
        )

    def evidence(self, engine: Reader, recipe: Reading, name: str = "evidence") -> Evidence:
        """A set: images, or one saved posterior. Raises ValueError where nothing of it can be used."""
        return self._named(name, self.read(engine, recipe, self.inputs[name]))

    def images(self, engine: Reader, recipe: Reading, name: str, *, faces: Any = None, some: bool = True) -> Evidence:
        """The same, where a saved posterior will not do; `some`: at least one can be used."""
        evidence = self.read(engine, recipe, self.inputs[name], faces=faces)
        if evidence.saved is not None:
            raise ValueError(f"{name}: give images, not a saved posterior.")
        return self._named(name, evidence) if some else evidence

    def _named(self, name: str, evidence: Evidence) -> Evidence:
        try:
            return evidence.checked()
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error

    def masks(self, engine: Reader) -> list[Image.Image]:
        """The masks that were given, opened."""
        some: Sequence[File] = self.inputs.get("masks") or ()
        return [mask if isinstance(mask, Image.Image) else engine.picture(mask, cancel=self.cancel) for mask in some]


class Run(Protocol):
    """Runs one kind of recipe."""

    def __call__(self, engine: Reader, recipe: Any, call: Call) -> Result: ...


def facts_of(engine: Reader, recipe: Recipe) -> dict[str, Any]:
    """The facts of every result: the prior, and the recipe."""
    return engine.prior.provenance | {"recipe": {"recipe": recipe.title(), **recipe.model_dump(exclude_none=True)}}


def notes_of(evidence: Evidence) -> tuple[str, ...]:
    """A line for each image that was skipped, or whose weight was reduced."""
    lines = []
    for image, weight in zip(evidence, evidence.effective_weights, strict=True):
        if not image.used or image.is_outlier:
            less = image.used and weight < image.weight
            lines.append(f"{image.name}: {image.summary}" + (f"; its weight is {weight:.2g}" if less else ""))
    return tuple(lines)
