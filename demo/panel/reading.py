"""Reading of images into the panels of the page, a few at a time, with progress."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from transflow_core.engine import Engine
from transflow_core.evidence import Evidence, Source
from transflow_core.pictures import AlignMode

from ..render import progress
from ..server.admission import CancelToken
from ..server.errors import report, warn
from ..server.state import Session

__all__ = ["PanelSource", "read", "sources_of"]


class PanelSource(NamedTuple):
    """One source, and the panel that it is for."""

    panel: str
    source: Source


def sources_of(panel: str, evidence: Evidence) -> list[PanelSource]:
    """The sources of these images, to read them again, such as for another prior."""
    return [PanelSource(panel, source) for source in evidence.sources]


def read(
    engine: Engine,
    session: Session,
    sources: Sequence[PanelSource],
    onto: Mapping[str, Evidence],
    cancel: CancelToken,
    *,
    align: AlignMode = "auto",
    most: int | None = None,
) -> Iterator[tuple[str, set[str]]]:
    """Read and invert, so that each image appears as soon as it is ready. A batch may be of several panels.

    Yields progress as HTML, "" once all is read, and the panels that have changed. At the end it reports the sources
    that were refused or not read.

    Args:
        onto: the images of the panels so far; where there are several panels, they are empty.
    """
    session.evidence.update(onto)
    first = evidence = next(iter(onto.values()))
    before, done, started = len(first), 0, time.monotonic()
    changed = set(onto)  # a panel may have been emptied
    for evidence in engine.read_steps(
        [one.source for one in sources],
        onto=first,
        align=align,
        most=most,
        cancel=cancel,
    ):
        if len(onto) == 1:
            session.evidence.update(dict.fromkeys(onto, evidence))
        new = list(zip(sources[done:], evidence.images[before + done :], strict=False))
        for one, image in new if len(onto) > 1 else ():
            session.evidence[one.panel] = session.evidence[one.panel].added([image])
        done += len(new)
        changed |= {one.panel for one, _ in new}
        yield progress(done, done + evidence.remaining, time.monotonic() - started, engine.ahead), changed
        changed = set()
    for note in evidence.notes:
        warn(note)
    if cancel.by_user:
        report(f"Stopped. Images that were not read: {evidence.remaining}.")
    yield "", changed
