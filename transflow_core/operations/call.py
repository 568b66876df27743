"""A recipe that is run, and its inputs: files, or evidence that was read before."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from PIL import Image

from ..compute import How, Progress
from ..evidence import Evidence
from ..reading import Reader
from ..recipes import Reading

R = TypeVar("R", bound=Reading)
T = TypeVar("T")


@dataclass(frozen=True)
class Call(Generic[R]):
    """What an operation is given.

    Attributes:
        engine: what computes and reads.
        recipe: what to do.
        inputs: by name: sources, an `Evidence`, or for classes a mapping from names to either.
        progress: see `Compute.sample`.
        cancel: ends it with Cancelled at its next batch.
        side: pixels a side that are enough for new images; None for all.
    """

    engine: Reader
    recipe: R
    inputs: Mapping[str, Any]
    progress: Progress | None = None
    cancel: threading.Event | None = None
    side: int | None = None

    @property
    def how(self) -> How:
        """Progress and cancel, as methods of the engine take them."""
        return {"progress": self.progress, "cancel": self.cancel}

    def run(self, function: Callable[..., T], *args: Any) -> T:
        """See `Compute.call`."""
        return self.engine.call(function, *args, **self.how)

    def read(self, value: Any, **how: Any) -> Evidence:
        """Sources, read as the recipe says, or as `how` does; what was read before stays as it is."""
        if isinstance(value, Evidence):
            return value
        asked = {name: getattr(self.recipe, name) for name in ("align", "faces", "landmarks", "robust")}
        return self.engine.read(value, **self.how, **(asked | how))

    def evidence(self, name: str = "evidence") -> Evidence:
        """A set: images, or one saved posterior. Raises ValueError where something of it cannot be used at all."""
        return _checked(name, self.read(self.inputs[name]))

    def images(self, name: str, *, some: bool = True, **how: Any) -> Evidence:
        """The same, where a saved posterior will not do; `some`: at least one can be used."""
        evidence = self.read(self.inputs[name], **how)
        if evidence.saved is not None:
            raise ValueError(f"{name}: give images, not a saved posterior.")
        return _checked(name, evidence) if some else evidence

    def masks(self) -> list[Image.Image]:
        """The masks that were given, opened."""
        some = self.inputs.get("masks") or ()
        return [one if isinstance(one, Image.Image) else self.engine.picture(one, **self.how) for one in some]


def _checked(name: str, evidence: Evidence) -> Evidence:
    try:
        return evidence.checked()
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
