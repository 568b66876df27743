"""A recipe that is run, and its inputs: files, or evidence that was read before."""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Generic, TypeVar

from PIL import Image

from ..compute import How, Progress
from ..evidence import Evidence
from ..reading import Reader
from ..recipes import Reading

R = TypeVar("R", bound=Reading)
T = TypeVar("T")
# No frame of a face shows more of a mask, and a call must not hold the pixels of a huge one.
_MASK_SIDE = 2048


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

    def masks(self, n: int, what: str) -> Iterator[Image.Image | None]:
        """A mask for each of n, or None without any. One is opened at a time, and one that is given again stays open.

        Raises ValueError for another number than 1 and n, before any is opened.
        """
        some = list(self.inputs.get("masks") or [None])
        if len(some) not in (1, n):
            raise ValueError(f"{n} {what} take one mask, or one for each, not {len(some)}")
        for one, same in groupby(some * n if len(some) == 1 else some):
            mask = one
            if one is not None and not isinstance(one, Image.Image):
                mask = self.engine.picture(one, **self.how)
                mask.thumbnail((_MASK_SIDE, _MASK_SIDE))
            for _ in same:
                yield mask


def _checked(name: str, evidence: Evidence) -> Evidence:
    try:
        return evidence.checked()
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
