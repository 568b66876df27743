"""Piles of images: the examples of one class, or the queries; read and inverted a few at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from transflow_core.engine import Engine
from transflow_core.evidence import Evidence, EvidenceImage, Source

__all__ = ["NONE", "Item", "Labelled", "Pile", "read"]

#: The class of an image that belongs to none.
NONE = "none of these"
# Inverting eight at once takes half the time of one by one; but nobody waits long to see that something moves.
_BATCH, _PATIENCE = 8, 0.4


@dataclass(frozen=True)
class Labelled:
    """An image to be read, and its class where that is known: a class's name, `NONE`, or "" for unknown."""

    source: Source
    truth: str = ""


@dataclass(frozen=True)
class Item:
    """One image of a pile.

    Attributes:
        given: where it came from, to be read again under another prior.
        image: what became of it.
    """

    given: Labelled
    image: EvidenceImage


@dataclass(frozen=True)
class Pile:
    """Images that belong together.

    Attributes:
        prior: name of the prior that they were inverted with.
        items: in the order in which they were given, skipped ones among them.
    """

    prior: str
    items: tuple[Item, ...] = ()

    @property
    def evidence(self) -> Evidence:
        """All of them as evidence."""
        return Evidence(tuple(item.image for item in self.items))

    @property
    def used(self) -> tuple[Item, ...]:
        """Those that could be inverted."""
        return tuple(item for item in self.items if item.image.used)

    def with_items(self, items: Sequence[Item]) -> Pile:
        """With more at the end."""
        return replace(self, items=(*self.items, *items))

    def without(self, index: int) -> Pile:
        """Without one of them."""
        return replace(self, items=self.items[:index] + self.items[index + 1 :])


def read(
    engine: Engine, given: Sequence[Labelled], *, whole: bool, stop: threading.Event
) -> Iterator[tuple[list[Item], int]]:
    """Read images a few at a time: those that are done, and how many are still to come. Once `stop` is set, it ends.

    Args:
        engine: the prior at work.
        given: what to read.
        whole: take pictures whole, without looking for faces.
        stop: cleared here, set by the Stop button.
    """
    stop.clear()
    how = "always" if whole else "auto"
    batch: list[Labelled] = []
    started = time.monotonic()
    for index, one in enumerate(given):
        if stop.is_set():
            return
        # Faces are looked for one by one, which for a photograph takes longest; what is found waits in the engine.
        engine.read(one.source, whole=how)
        batch.append(one)
        last = index + 1 == len(given)
        if last or len(batch) == _BATCH or time.monotonic() - started > _PATIENCE:
            images = engine.evidence([one.source for one in batch], whole=how)
            yield [Item(one, image) for one, image in zip(batch, images, strict=True)], len(given) - index - 1
            batch, started = [], time.monotonic()
