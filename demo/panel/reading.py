"""Reading of images into the panels of the page, a few at a time, with progress."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from transflow_core.engine import Engine, Pick
from transflow_core.evidence import EvidenceImage
from transflow_core.intake import Intake
from transflow_core.pictures import Source, Whole

from ..errors import report, warn
from ..queues import CancelToken
from ..render import progress
from ..session import Session

__all__ = ["PanelSource", "read", "sources_of"]


@dataclass(frozen=True)
class PanelSource:
    """One source, the panel that it is for, and how it is read: see `Engine.stream`."""

    panel: str
    source: Source
    label: str = ""
    weight: float = 1.0
    pick: Pick = "largest"
    robust: bool = True


def sources_of(panel: str, images: Sequence[EvidenceImage]) -> list[PanelSource]:
    """The sources of these images, to read them again, such as for another prior."""
    return [
        PanelSource(panel, image.source, image.label, image.weight, image.pick, image.robust)
        for image in images
        if image.source is not None
    ]


def read(
    engine: Engine,
    session: Session,
    sources: Sequence[PanelSource],
    onto: Mapping[str, Intake],
    cancel: CancelToken,
    *,
    whole: Whole = "auto",
    most: int | None = None,
) -> Iterator[tuple[str, set[str]]]:
    """Read and invert, so that each image appears as soon as it is ready. A batch may be of several panels.

    Yields progress as HTML, "" once all is read, and the panels that have changed. At the end it reports the sources
    that were refused or not read.

    Args:
        onto: the images of the panels so far; where there are several panels, they are empty.
    """
    session.intakes.update(onto)
    first = intake = next(iter(onto.values()))
    before, done, started = len(first.evidence), 0, time.monotonic()
    changed = set(onto)  # a panel may have been emptied
    for intake in engine.stream(
        [one.source for one in sources],
        onto=first,
        labels=[one.label for one in sources],
        weights=[one.weight for one in sources],
        faces=[one.pick for one in sources],
        robust=[one.robust for one in sources],
        whole=whole,
        most=most,
        cancel=cancel,
    ):
        if len(onto) == 1:
            session.intakes.update(dict.fromkeys(onto, intake))
        new = list(zip(sources[done:], intake.evidence.images[before + done :], strict=False))
        for one, image in new if len(onto) > 1 else ():
            session.intakes[one.panel] = session.intakes[one.panel].added([image])
        done += len(new)
        changed |= {one.panel for one, _ in new}
        yield progress(done, done + intake.left, time.monotonic() - started, engine.before), changed
        changed = set()
    for note in intake.notes:
        warn(note)
    if cancel.by_user:
        report(f"Stopped. Images that were not read: {intake.left}.")
    yield "", changed
