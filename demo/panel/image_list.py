"""The images of one panel of the page: thumbnails, the details of one, and the controls of each image."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from transflow_core.evidence import Evidence
from transflow_core.limits import MOST_IMAGES, WEIGHT
from transflow_core.operations.inpaint import ignore
from transflow_core.pictures import AlignMode
from transflow_core.runtime.worker import Cancelled

from ..painting import mask_of
from ..server.admission import CancelToken
from ..server.errors import report, warn
from ..server.events import Updates, on
from ..server.priors import Engines
from ..server.state import Session
from ..static import static
from .cards import details, faces_in_use, thumbnails
from .reading import PanelSource, read

__all__ = ["CARDS_JS", "ImageList"]

CARDS_JS = static("cards.js")


@dataclass
class _Opened:
    """The image whose details are shown, by panel."""

    at: dict[str, int | None] = field(default_factory=dict)


class ImageList(ABC):
    """Build it where the thumbnails are to be.

    The visitor's images are `session.evidence[panel]`; changes of them wait for one another.

    Args:
        engines: the priors that the page serves.
        panel: key of the session's evidence; prefix of the ids of its components.
        weighted: whether samples are drawn from the images: an image has a weight then, and outliers are marked.
    """

    def __init__(self, engines: Engines, panel: str, *, weighted: bool = True) -> None:
        self.panel, self._engines, self._weighted = panel, engines, weighted
        self._cards = gr.HTML("", js_on_load=CARDS_JS, elem_id=f"{panel}-cards", label="Images")
        self._details = gr.HTML("", js_on_load=CARDS_JS, elem_id=f"{panel}-details", label="One image")

    @abstractmethod
    def _show(self, session: Session, reading: str = "") -> Updates:
        """All that changes with the images; `reading` is progress as HTML."""

    def evidence(self, session: Session) -> Evidence:
        """The visitor's images."""
        return session.evidence.get(self.panel, Evidence())

    def _wire(self, outputs: Sequence[Component]) -> list[Dependency]:
        """Returns when an image was changed or removed."""
        on([self._cards.select, self._details.select], self._open, (), outputs, event=True)
        return on([self._cards.edit, self._details.edit], self._edit, (), outputs, event=True)

    def _images(self, session: Session) -> Updates:
        evidence, opened = self.evidence(session), session.state(_Opened).at.get(self.panel)
        opened = opened if opened is not None and opened < len(evidence) else None
        shown = details(evidence, opened, self._weighted)
        return {self._cards: thumbnails(evidence, opened, self._weighted), self._details: shown}

    def _put(self, session: Session, evidence: Evidence) -> None:
        """Replace all images; no details are shown."""
        session.state(_Opened).at[self.panel] = None
        session.evidence[self.panel] = evidence

    def _open(self, session: Session, data: dict) -> Updates:
        """A thumbnail was clicked: show its details, or hide them."""
        opened, index = session.state(_Opened).at, data.get("index")
        there = isinstance(index, int) and 0 <= index < len(self.evidence(session))
        opened[self.panel] = index if there and opened.get(self.panel) != index else None
        return self._images(session)

    def _edit(self, session: Session, data: dict) -> Iterator[Updates]:
        """A control of an image was used: remove, other faces, another weight."""
        action, index, value = (data.get(key) for key in ("action", "index", "value"))
        with session.queued(self.panel) as cancel:
            evidence = self.evidence(session)
            if not isinstance(index, int) or not 0 <= index < len(evidence):
                return  # the image was removed already
            if action == "remove":
                self._remove(session, index)
            elif action == "weight":
                weight = _weight(value, evidence[index].weight)
                session.evidence[self.panel] = evidence.replace(index, weight=weight)
            elif action == "robust":
                session.evidence[self.panel] = evidence.replace(index, robust=value == "on")
            elif action in ("mask", "masks"):
                masks = dict.fromkeys(range(len(evidence)) if action == "masks" else [index], mask_of(value))
                yield self._show(session, "Filling in the ignored parts …")
                with contextlib.suppress(Cancelled):  # by the Stop button: nothing changes
                    masked = ignore(self._engines.get(evidence.prior), evidence, masks, cancel=cancel)
                    session.evidence[self.panel] = masked
            elif action == "face":
                yield from self._pick(session, index, str(value), cancel)
            yield self._show(session)

    def _remove(self, session: Session, index: int) -> None:
        """Without one image. The details stay those of the same image, or of another face of its picture."""
        opened, evidence = session.state(_Opened).at, self.evidence(session)
        shown = opened.get(self.panel)
        if shown == index:
            faces = faces_in_use(evidence, index).values()
            shown = min((other for other in faces if other != index), default=None)
        opened[self.panel] = None if shown is None else shown - (shown > index)
        session.evidence[self.panel] = evidence.removed(index)

    def _pick(self, session: Session, index: int, value: str, cancel: CancelToken) -> Iterator[Updates]:
        """Use a face of a picture or not, all of its faces, or the whole picture. At least one of them stays in use."""
        evidence = self.evidence(session)
        image, engine = evidence[index], self._engines.get(evidence.prior)
        faces = {face.index: face for face in image.picture.faces if face.placement != "whole"}
        used = faces_in_use(evidence, index)
        if value == "whole":
            wanted = [] if used or not faces else [0]
        elif value == "all":
            wanted = list(faces)
        else:
            wanted = [face for face in faces if (face in used) != (value == str(face))]
            if not wanted:
                report("This is the only face in use. Choose another one first, or remove the picture.")
                return
        missing = [face for face in wanted if face not in used]
        if len(missing) == len(wanted):  # none stays: one replaces the other
            face = faces[missing.pop(0)] if missing else image.picture.whole
            session.evidence[self.panel] = evidence.put(index, engine.choose(image, face, cancel=cancel))
            used = {face: other for face, other in used.items() if other != index}
        for face in sorted(used, key=used.__getitem__, reverse=True):
            if face not in wanted:
                self._remove(session, used[face])
        if missing:
            sources = [PanelSource(self.panel, replace(image.source, face=face)) for face in missing]
            yield from self._read(session, sources, self.evidence(session), cancel)

    def _read(
        self,
        session: Session,
        sources: Sequence[PanelSource],
        onto: Evidence,
        cancel: CancelToken,
        align: AlignMode = "auto",
    ) -> Iterator[Updates]:
        engine = self._engines.get(onto.prior)
        for text, _ in read(engine, session, sources, {self.panel: onto}, cancel, align=align, most=MOST_IMAGES):
            yield self._show(session, text)


def _weight(value: object, before: float) -> float:
    """A weight as the user typed it. A weight that is not valid is refused with a message, and changes nothing."""
    try:
        weight = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        weight = float("nan")
    if weight not in WEIGHT:
        warn(f"A weight is a number from {WEIGHT.low:g} to {WEIGHT.high:g}. It stays {before:g}.")
        return before
    return weight
