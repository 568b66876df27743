"""Sources read into places of the page, a few at a time, with words on how far it is."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from transflow_core.engine import Engine, Pick
from transflow_core.evidence import EvidenceImage
from transflow_core.intake import Intake
from transflow_core.pictures import Source, Whole

from ..errors import tell, warn
from ..queues import Stop
from ..render import progress
from ..session import Session

__all__ = ["Given", "again", "read"]


@dataclass(frozen=True)
class Given:
    """One source, the place of the page that it is for, and how it is taken: see `Engine.stream`."""

    place: str
    source: Source
    label: str = ""
    weight: float = 1.0
    pick: Pick = "largest"
    robust: bool = True


def again(place: str, images: Sequence[EvidenceImage]) -> list[Given]:
    """What is to be read to have the same once more, under another prior say."""
    return [
        Given(place, image.source, image.label, image.weight, image.pick, image.robust)
        for image in images
        if image.source is not None
    ]


def read(
    engine: Engine,
    session: Session,
    given: Sequence[Given],
    onto: Mapping[str, Intake],
    stop: Stop,
    *,
    whole: Whole = "auto",
    most: int | None = None,
) -> Iterator[tuple[str, set[str]]]:
    """Read and invert, so that each image is seen as soon as it is there; a batch may be of several places.

    Yields progress as HTML, "" once all is read, and the places that hold something new. What was refused or left out
    is told at the end.

    Args:
        onto: what the places hold before; where there are several, they are empty.
    """
    session.intakes.update(onto)
    first = intake = next(iter(onto.values()))
    before, done, started = len(first.evidence), 0, time.monotonic()
    changed = set(onto)  # emptied, maybe
    for intake in engine.stream(
        [one.source for one in given],
        onto=first,
        labels=[one.label for one in given],
        weights=[one.weight for one in given],
        faces=[one.pick for one in given],
        robust=[one.robust for one in given],
        whole=whole,
        most=most,
        cancel=stop,
    ):
        if len(onto) == 1:
            session.intakes.update(dict.fromkeys(onto, intake))
        new = list(zip(given[done:], intake.evidence.images[before + done :], strict=False))
        for one, image in new if len(onto) > 1 else ():
            session.intakes[one.place] = session.intakes[one.place].added([image])
        done += len(new)
        changed |= {one.place for one, _ in new}
        yield progress(done, done + intake.left, time.monotonic() - started, engine.before), changed
        changed = set()
    for note in intake.notes:
        warn(note)
    if stop.by_hand:
        tell(f"Stopped: {intake.left} images were not read.")
    yield "", changed
