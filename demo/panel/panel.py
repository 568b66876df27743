"""The evidence panel: files in, thumbnails that say what happened to each, and one intake out."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from transflow_core.evidence import Source
from transflow_core.images import IMAGE_SUFFIXES
from transflow_core.intake import Intake

from ..engines import Engines
from ..events import on
from ..examples import example_sets
from ..queues import Stop
from ..session import Session, new_folder
from ..static import static
from ..widgets import drop_zone, status_line
from .cards import NOTHING, examples_html, summary
from .reading import Given, again
from .shelf import Shelf, Shown

__all__ = ["EXAMPLES_JS", "EvidencePanel"]

EXAMPLES_JS = static("examples.js")


class _Before(dict[str, Intake]):
    """What each place held before something was taken away, to be had back."""


class EvidencePanel(Shelf):
    """Drop zone, webcam and clipboard, example sets, thumbnails. Build it inside the current Blocks.

    A click on an example set, or on "Clear all", ends the changes that are still under way.

    Args:
        engines: the priors that the page serves.
        prior: the component that holds the name of this session's prior.
        place: of the session's intakes; prefix of the ids of its components.
        title: a heading for the panel.
        tab: the tab that it is in; the evidence is read under another prior once that tab is looked at.
        follow: when the prior was changed or the tab came into view.
        nothing: what to say while there is none.
        opening: key of the example set that is read as the page opens, if any.

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
        nothing: str = NOTHING,
        opening: str = "",
    ) -> None:
        self._tab, self._nothing = tab, nothing
        with gr.Group(elem_id=place):
            kinds = [*sorted(IMAGE_SUFFIXES), ".safetensors"]
            self._files, self._camera = drop_zone(f"{title}: drop images here", kinds, elem_id=place, height=128)
            examples = gr.HTML(
                examples_html(),
                js_on_load=EXAMPLES_JS,
                elem_id=f"{place}-examples",
                label="Example sets",
                padding=True,
            )
        with gr.Row(equal_height=True):
            first = f"Reading {example_sets()[opening].title} …" if opening else summary(Intake(), nothing)
            self._status = status_line(first, elem_id=f"{place}-status")
            self._stop = gr.Button("Stop", variant="stop", size="sm", visible=False, min_width=80, scale=0)
            self._undo = gr.Button("Undo", size="sm", visible=False, min_width=80, scale=0, elem_id=f"{place}-undo")
            clear = gr.Button("Clear all", size="sm", min_width=90, scale=0, elem_id=f"{place}-clear")
        super().__init__(engines, place)
        self.outputs = [self._cards, self._details, self._status, self._stop, self._undo]
        self.events = [
            *on(self._files.upload, self._add_files, [self._files, prior], [*self.outputs, self._files]),
            *on(self._camera.input, self._add_picture, [self._camera, prior], [*self.outputs, self._camera]),
            *on(examples.select, self._take_example, prior, self.outputs, event=True),
            *self._wire(self.outputs),
            *on(clear.click, self._clear, prior, self.outputs),
            *on(self._undo.click, self._take_back, prior, self.outputs),
            *on(follow, self._follow, prior, self.outputs),
        ]
        on(self._stop.click, lambda session: session.stop(place), queue=False)

    def open(self, session: Session, key: str, prior: str) -> Iterator[Shown]:
        """Read an example set, as when a shared link names one. There is nothing for an unknown key."""
        with session.turn(self.place, newest=True) as stop:
            yield from self._example(session, key, prior, stop)

    def add(self, session: Session, sources: Sequence[Source], prior: str) -> Iterator[Shown]:
        """More evidence, as if it were dropped."""
        with session.turn(self.place) as stop:
            yield from self._add(session, sources, prior, stop)

    def put(self, session: Session, intake: Intake, prior: str) -> Shown:
        """What was given before takes the place of what is there."""
        with session.turn(self.place, newest=True):
            self._put(session, intake if intake.prior else Intake(prior))
            return self._show(session)

    # Reading -----------------------------------------------------------------------------------------------------

    def _add_files(self, session: Session, files: list[str] | None, prior: str) -> Iterator[Shown]:
        """Files were dropped. The drop zone is emptied at once: it takes more, whatever becomes of these."""
        yield {self._files: None}
        with session.turn(self.place) as stop:
            if files:
                self._give_way(session, prior)
            yield from self._add(session, files or [], prior, stop)

    def _add_picture(self, session: Session, file: str | None, prior: str) -> Iterator[Shown]:
        """A picture of the camera or the clipboard."""
        yield {self._camera: None}
        if file is not None:
            with session.turn(self.place) as stop:
                self._give_way(session, prior)
                # A file, not its bytes: of what is refused, a session keeps a name.
                snapshot = new_folder() / f"picture {len(self.intake(session).evidence) + 1}"
                shutil.copyfile(file, snapshot)
                yield from self._add(session, [snapshot], prior, stop)

    def _give_way(self, session: Session, prior: str) -> None:
        """An example, the one that the page opened with above all, gives its place to images of one's own."""
        if self.intake(session).example:
            self._keep(session)
            self._put(session, Intake(prior))

    def _add(self, session: Session, sources: Sequence[Source], prior: str, stop: Stop) -> Iterator[Shown]:
        intake, given = self.intake(session), [Given(self.place, source) for source in sources]
        if intake.prior != prior:
            given, intake = [*again(self.place, intake.evidence), *given], Intake(prior)
        return self._read(session, given, intake, stop)

    def _take_example(self, session: Session, data: dict, prior: str) -> Iterator[Shown]:
        """One click replaces what is there: an example is a thing to look at, not to mix."""
        with session.turn(self.place, newest=True) as stop:
            if not self.intake(session).example:
                self._keep(session)
            yield from self._example(session, str(data.get("example")), prior, stop)

    def _example(self, session: Session, key: str, prior: str, stop: Stop) -> Iterator[Shown]:
        files = example_sets()[key].files if key in example_sets() else ()
        given = [Given(self.place, file) for file in files]
        yield from self._read_as(session, given, prior, stop, example=key if files else "")

    def _follow(self, session: Session, prior: str) -> Iterator[Shown]:
        """Under another prior, the evidence is aligned to its frame and inverted through it anew."""
        if session.tab != self._tab or self.intake(session).prior in ("", prior):
            return
        with session.turn(self.place) as stop:
            if self.intake(session).prior not in ("", prior):
                yield from self._read_again(session, self.intake(session), prior, stop)

    def _read_again(self, session: Session, old: Intake, prior: str, stop: Stop) -> Iterator[Shown]:
        yield from self._read_as(session, again(self.place, old.evidence), prior, stop, old.example)
        read = [image for image in old.evidence if image.source is not None]
        masks = {index: image.mask for index, image in enumerate(read) if image.mask is not None}
        if masks and not self.intake(session).left:
            session.intakes[self.place] = self._engines.get(prior).masked(self.intake(session), masks, cancel=stop)
            yield self._show(session)

    def _read_as(
        self, session: Session, given: Sequence[Given], prior: str, stop: Stop, example: str
    ) -> Iterator[Shown]:
        """Images in the place of those before; an example set is one when all of it is there."""
        self._put(session, Intake(prior))
        # An example set was made for the frame: nobody waits for faces to be looked for in it.
        for shown in self._read(session, given, Intake(prior), stop, "always" if example else "auto"):
            if example and not self.intake(session).left:
                session.intakes[self.place] = replace(self.intake(session), example=example)
            yield shown

    # Taking away, and back ---------------------------------------------------------------------------------------

    def _clear(self, session: Session, prior: str) -> Shown:
        with session.turn(self.place, newest=True):
            self._keep(session)
            self._put(session, Intake(prior))
            return self._show(session)

    def _keep(self, session: Session) -> None:
        intake = self.intake(session)
        if intake.saved is not None or len(intake.evidence):
            session.of_kind(_Before)[self.place] = intake

    def _edit(self, session: Session, data: dict) -> Iterator[Shown]:
        if data.get("action") in ("remove", "face"):
            self._keep(session)
        yield from super()._edit(session, data)

    def _take_back(self, session: Session, prior: str) -> Iterator[Shown]:
        with session.turn(self.place, newest=True) as stop:
            before = session.of_kind(_Before).pop(self.place, None)
            if before is None:
                return
            if before.prior == prior:
                self._put(session, replace(before, left=0))
                yield self._show(session)
            else:
                yield from self._read_again(session, before, prior, stop)

    def _show(self, session: Session, reading: str = "") -> Shown:
        return self._images(session) | {
            self._status: reading or summary(self.intake(session), self._nothing),
            self._stop: gr.update(visible=bool(reading)),
            self._undo: gr.update(visible=not reading and self.place in session.of_kind(_Before)),
        }
