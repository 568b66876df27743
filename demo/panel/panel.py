"""The evidence panel: files in, cards that say what happened to each, and one intake out."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from transflow_core.evidence import Source
from transflow_core.images import IMAGE_SUFFIXES
from transflow_core.intake import Intake
from transflow_core.limits import MOST_IMAGES, WEIGHT

from ..engines import Engines
from ..errors import tell, warn
from ..events import on
from ..examples import example_sets
from ..queues import Stop
from ..session import Session, new_folder
from ..static import static
from .cards import cards, examples_html, summary

__all__ = ["CARDS_JS", "EXAMPLES_JS", "EvidencePanel"]

CARDS_JS, EXAMPLES_JS = static("cards.js"), static("examples.js")


Shown = dict[Component, Any]


class EvidencePanel:
    """Drop zone, webcam and clipboard, example sets, cards. Build it inside the current Blocks.

    What a visitor gives is `session.intakes[place]`; changes of it take turns in that place, and a click on an example
    set, or on "Clear all", ends those that are still under way.

    Args:
        engines: the priors that the page serves.
        prior: the component that holds the name of this session's prior.
        place: of the session's intakes; prefix of the ids of its components.
        title: a heading for the panel.
        tab: the tab that it is in; the evidence is read under another prior once that tab is looked at.
        follow: when the prior was changed or the tab came into view.

    Attributes:
        place: see above.
        events: each change of the evidence, when it is read.
        outputs: what `open` gives values for.
    """

    def __init__(
        self,
        engines: Engines,
        prior: Component,
        *,
        place: str,
        title: str,
        tab: str,
        follow: Sequence[Dependency],
    ) -> None:
        self.place = place
        self._engines, self._tab = engines, tab
        with gr.Group(elem_id=place):
            self._files = gr.File(
                label=f"{title}: drop images here",
                file_count="multiple",
                file_types=[*sorted(IMAGE_SUFFIXES), ".safetensors"],
                height=130,
                elem_id=f"{place}-files",
            )
            with gr.Accordion("Webcam or clipboard", open=False):
                # As a file: Gradio would decode it before it met any limit.
                self._camera = gr.Image(
                    sources=["webcam", "clipboard"],
                    type="filepath",
                    image_mode=None,
                    label="One picture",
                    height=240,
                    elem_id=f"{place}-camera",
                )
            examples = gr.HTML(
                examples_html(),
                js_on_load=EXAMPLES_JS,
                elem_id=f"{place}-examples",
                label="Example sets",
                padding=True,
            )
        with gr.Row(equal_height=True):
            self._status = gr.HTML(summary(Intake()), elem_classes="status", elem_id=f"{place}-status")
            self._stop = gr.Button("Stop", variant="stop", size="sm", visible=False, min_width=80, scale=0)
            clear = gr.Button("Clear all", size="sm", min_width=90, scale=0, elem_id=f"{place}-clear")
        self._cards = gr.HTML("", js_on_load=CARDS_JS, elem_id=f"{place}-cards", label="Evidence")
        self.outputs = [self._cards, self._status, self._stop]
        self.events = [
            *on(self._files.upload, self._add_files, [self._files, prior], [*self.outputs, self._files]),
            *on(self._camera.input, self._add_picture, [self._camera, prior], [*self.outputs, self._camera]),
            *on(examples.select, self._take_example, prior, self.outputs, event=True),
            *on(self._cards.edit, self._edit, prior, self.outputs, event=True),
            *on(clear.click, self._clear, prior, self.outputs),
            *on(follow, self._follow, prior, self.outputs),
        ]
        on(self._stop.click, lambda session: session.stop(place), queue=False)

    def intake(self, session: Session) -> Intake:
        """What the visitor gave."""
        return session.intakes.get(self.place) or Intake()

    def open(self, session: Session, key: str, prior: str) -> Shown:
        """Read a whole example set, as when a shared link names one. There is nothing for an unknown key."""
        with session.turn(self.place, newest=True) as stop:
            *_, shown = self._example(session, key, prior, stop)
        return shown

    def add(self, session: Session, sources: Sequence[Source], prior: str) -> Iterator[Shown]:
        """More evidence, as if it were dropped."""
        with session.turn(self.place) as stop:
            yield from self._add(session, sources, prior, stop)

    def put(self, session: Session, intake: Intake, prior: str) -> Shown:
        """What was given before takes the place of what is there."""
        with session.turn(self.place, newest=True):
            session.intakes[self.place] = intake if intake.prior else Intake(prior)
            return self._show(session)

    def _add_files(self, session: Session, files: list[str] | None, prior: str) -> Iterator[Shown]:
        """Files were dropped. The drop zone is emptied at once: it takes more, whatever becomes of these."""
        yield {self._files: None}
        with session.turn(self.place) as stop:
            yield from self._add(session, files or [], prior, stop)

    def _add_picture(self, session: Session, file: str | None, prior: str) -> Iterator[Shown]:
        """A picture of the camera or the clipboard."""
        yield {self._camera: None}
        if file is not None:
            with session.turn(self.place) as stop:
                # A file, not its bytes: of what is refused, a session keeps a name.
                snapshot = new_folder() / f"picture {len(self.intake(session).evidence) + 1}"
                shutil.copyfile(file, snapshot)
                yield from self._add(session, [snapshot], prior, stop)

    def _add(self, session: Session, sources: Sequence[Source], prior: str, stop: Stop) -> Iterator[Shown]:
        intake = self.intake(session)
        if intake.prior == prior:
            return self._read(session, sources, intake, stop)
        return self._read_again(session, intake, prior, stop, sources)

    def _take_example(self, session: Session, data: dict, prior: str) -> Iterator[Shown]:
        """One click replaces what is there: an example is a thing to look at, not to mix."""
        with session.turn(self.place, newest=True) as stop:
            yield from self._example(session, str(data.get("example")), prior, stop)

    def _example(self, session: Session, key: str, prior: str, stop: Stop) -> Iterator[Shown]:
        files = example_sets()[key].files if key in example_sets() else ()
        yield from self._read(session, files, Intake(prior), stop, example=key if files else "")

    def _follow(self, session: Session, prior: str) -> Iterator[Shown]:
        """Under another prior, the evidence is aligned to its frame and inverted through it anew."""
        if session.tab != self._tab or self.intake(session).prior in ("", prior):
            return
        with session.turn(self.place) as stop:
            old = self.intake(session)
            if old.prior not in ("", prior):
                yield from self._read_again(session, old, prior, stop)

    def _read_again(
        self, session: Session, old: Intake, prior: str, stop: Stop, more: Sequence[Source] = ()
    ) -> Iterator[Shown]:
        weights = [*(image.weight for image in old.evidence), *[1.0] * len(more)]
        example = "" if more else old.example
        return self._read(session, [*old.sources, *more], Intake(prior), stop, example, weights=weights)

    def _read(
        self, session: Session, sources: Sequence[Source], onto: Intake, stop: Stop, example: str = "", **how: Any
    ) -> Iterator[Shown]:
        """Read and invert, so that each image is seen as soon as it is there; an example set is one when all are."""
        intake = onto
        for intake in self._engines.get(onto.prior).stream(sources, onto=onto, most=MOST_IMAGES, stop=stop, **how):
            session.intakes[self.place] = replace(intake, example="" if intake.left else example or intake.example)
            yield self._show(session, reading=intake.left > 0)
        for note in intake.notes:
            warn(note)
        if stop.by_hand:
            tell(f"Stopped: {intake.left} images were not read.")
        yield self._show(session)

    def _edit(self, session: Session, data: dict, prior: str) -> Shown:
        """A card's control was used: remove, another crop, another weight."""
        action, index, value = (data.get(key) for key in ("action", "index", "value"))
        with session.turn(self.place) as stop:
            intake = self.intake(session)
            if not isinstance(index, int) or not 0 <= index < len(intake.evidence):
                return {}  # the card of an image that is gone already
            image = intake.evidence[index]
            if action == "remove":
                intake = intake.removed(index)
            elif action == "weight":
                intake = intake.replace(index, weight=_weight(value))
            elif action == "face":
                faces = {str(i): face for i, face in enumerate(image.picture.faces)} | {"whole": image.picture.whole}
                if (face := faces.get(str(value))) is not None:
                    chosen = self._engines.get(intake.prior).choose(image, face, stop=stop)
                    intake = intake.put(index, chosen)
            session.intakes[self.place] = intake
            return self._show(session)

    def _clear(self, session: Session, prior: str) -> Shown:
        with session.turn(self.place, newest=True):
            session.intakes[self.place] = Intake(prior)
            return self._show(session)

    def _show(self, session: Session, reading: bool = False) -> Shown:
        intake = self.intake(session)
        return {
            self._cards: cards(intake.evidence),
            self._status: summary(intake),
            self._stop: gr.update(visible=reading),
        }


def _weight(value: object) -> float:
    """A weight as it was typed; 1 for what is no number."""
    try:
        return WEIGHT.clip(float(value), "the weight")  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return 1.0
