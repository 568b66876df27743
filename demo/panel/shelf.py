"""The images of one place of the page: thumbnails, the details of one, and what a hand does with them."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from transflow_core.intake import Intake
from transflow_core.limits import MOST_IMAGES, WEIGHT
from transflow_core.pictures import Whole
from transflow_core.worker import Cancelled

from ..engines import Engines
from ..errors import tell, warn
from ..events import on
from ..painting import mask_of
from ..queues import Stop
from ..session import Session
from ..static import static
from .cards import details, taken_faces, thumbnails
from .reading import Given, read

__all__ = ["CARDS_JS", "Shelf", "Shown"]

CARDS_JS = static("cards.js")
Shown = dict[Any, Any]  # component: its value, or an update of it


@dataclass
class _Opened:
    """Whose details a visitor looks at, by place."""

    at: dict[str, int | None] = field(default_factory=dict)


class Shelf(ABC):
    """Build it where the thumbnails are to be.

    What a visitor gave is `session.intakes[place]`; changes of it take turns in that place.

    Args:
        engines: the priors that the page serves.
        place: of the session's intakes; prefix of the ids of its components.
        weighted: whether samples are drawn from them: an image can count more than once, and what can spoil samples
            is marked.
    """

    def __init__(self, engines: Engines, place: str, *, weighted: bool = True) -> None:
        self.place, self._engines, self._weighted = place, engines, weighted
        self._cards = gr.HTML("", js_on_load=CARDS_JS, elem_id=f"{place}-cards", label="Images")
        self._details = gr.HTML("", js_on_load=CARDS_JS, elem_id=f"{place}-details", label="One image")

    @abstractmethod
    def _show(self, session: Session, reading: str = "") -> Shown:
        """All that changes with the images; `reading` says how far it is."""

    def intake(self, session: Session) -> Intake:
        """What the visitor gave."""
        return session.intakes.get(self.place) or Intake()

    def _wire(self, outputs: Sequence[Component]) -> list[Dependency]:
        """Gives when an image was changed or removed."""
        on([self._cards.select, self._details.select], self._open, (), outputs, event=True)
        return on([self._cards.edit, self._details.edit], self._edit, (), outputs, event=True)

    def _images(self, session: Session) -> Shown:
        evidence, opened = self.intake(session).evidence, session.of_kind(_Opened).at.get(self.place)
        opened = opened if opened is not None and opened < len(evidence) else None
        shown = details(evidence, opened, self._weighted)
        return {self._cards: thumbnails(evidence, opened, self._weighted), self._details: shown}

    def _put(self, session: Session, intake: Intake) -> None:
        """Other images altogether: no details are shown."""
        session.of_kind(_Opened).at[self.place] = None
        session.intakes[self.place] = intake

    def _open(self, session: Session, data: dict) -> Shown:
        """A thumbnail was clicked: its details, or none when they are shown already."""
        opened, index = session.of_kind(_Opened).at, data.get("index")
        there = isinstance(index, int) and 0 <= index < len(self.intake(session).evidence)
        opened[self.place] = index if there and opened.get(self.place) != index else None
        return self._images(session)

    def _edit(self, session: Session, data: dict) -> Iterator[Shown]:
        """A control was used: remove, other faces, another weight."""
        action, index, value = (data.get(key) for key in ("action", "index", "value"))
        with session.turn(self.place) as stop:
            intake = self.intake(session)
            if not isinstance(index, int) or not 0 <= index < len(intake.evidence):
                return  # the card of an image that is gone already
            if action == "remove":
                self._remove(session, index)
            elif action == "weight":
                weight = _weight(value, intake.evidence[index].weight)
                session.intakes[self.place] = intake.replace(index, weight=weight)
            elif action == "robust":
                session.intakes[self.place] = intake.replace(index, robust=value == "on")
            elif action in ("mask", "masks"):
                masks = dict.fromkeys(range(len(intake.evidence)) if action == "masks" else [index], mask_of(value))
                yield self._show(session, "Drawing anew what is left out …")
                with contextlib.suppress(Cancelled):  # by the Stop button: all stays as it is
                    session.intakes[self.place] = self._engines.get(intake.prior).masked(intake, masks, cancel=stop)
            elif action == "face":
                yield from self._pick(session, index, str(value), stop)
            yield self._show(session)

    def _remove(self, session: Session, index: int) -> None:
        """Without one image; the details shown are of the same image as before, or of another face of its picture."""
        opened, intake = session.of_kind(_Opened).at, self.intake(session)
        shown = opened.get(self.place)
        if shown == index:
            faces = taken_faces(intake.evidence, index).values()
            shown = min((place for place in faces if place != index), default=None)
        opened[self.place] = None if shown is None else shown - (shown > index)
        session.intakes[self.place] = intake.removed(index)

    def _pick(self, session: Session, index: int, value: str, stop: Stop) -> Iterator[Shown]:
        """Take a face of a picture or leave it, take all of them, or the picture whole; at least one thing stays."""
        intake = self.intake(session)
        image, engine = intake.evidence[index], self._engines.get(intake.prior)
        faces = {face.index: face for face in image.picture.faces if face.placement != "whole"}
        taken = taken_faces(intake.evidence, index)
        if value == "whole":
            wanted = [] if taken or not faces else [0]
        elif value == "all":
            wanted = list(faces)
        else:
            wanted = [face for face in faces if (face in taken) != (value == str(face))]
            if not wanted:
                tell("No other face of this picture is taken: take one first, or remove the picture.")
                return
        missing = [face for face in wanted if face not in taken]
        if len(missing) == len(wanted):  # none stays: one thing for the other, in its place
            face = faces[missing.pop(0)] if missing else image.picture.whole
            session.intakes[self.place] = intake.put(index, engine.choose(image, face, cancel=stop))
            taken = {face: place for face, place in taken.items() if place != index}
        for face in sorted(taken, key=taken.__getitem__, reverse=True):
            if face not in wanted:
                self._remove(session, taken[face])
        if missing and image.source is not None:
            given = [Given(self.place, image.source, image.label, image.weight, face, image.robust) for face in missing]
            yield from self._read(session, given, self.intake(session), stop)

    def _read(
        self, session: Session, given: Sequence[Given], onto: Intake, stop: Stop, whole: Whole = "auto"
    ) -> Iterator[Shown]:
        engine = self._engines.get(onto.prior)
        for words, _ in read(engine, session, given, {self.place: onto}, stop, whole=whole, most=MOST_IMAGES):
            yield self._show(session, words)


def _weight(value: object, before: float) -> float:
    """A weight as it was typed. What it cannot be is said, and is not taken for something else."""
    try:
        weight = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        weight = float("nan")
    if weight not in WEIGHT:
        warn(f"A weight is a number from {WEIGHT.low:g} to {WEIGHT.high:g}: it stays {before:g}.")
        return before
    return weight
