"""The evidence panel: it reads files, and shows a thumbnail of each with what happened to it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from transflow_core.evidence import Evidence, Source
from transflow_core.images import IMAGE_SUFFIXES
from transflow_core.operations.inpaint import ignore
from transflow_core.pictures import File

from ..examples import example_sets
from ..server.admission import CancelToken
from ..server.events import Updates, on
from ..server.priors import Engines
from ..server.state import Session, new_folder
from ..static import static
from ..widgets import drop_zone, status_line
from .cards import NOTHING, examples_html, summary
from .image_list import ImageList
from .reading import PanelSource, sources_of

__all__ = ["EXAMPLES_JS", "EvidencePanel"]

EXAMPLES_JS = static("examples.js")


class _Before(dict[str, Evidence]):
    """The images of each panel before something was removed, for Undo."""


class EvidencePanel(ImageList):
    """Drop zone, webcam and clipboard, example sets, thumbnails. Build it inside the current Blocks.

    A click on an example set, or on "Clear all", cancels earlier changes that are not finished.

    Args:
        engines: the priors that the page serves.
        prior: the component that holds the name of this session's prior.
        panel: key of the session's evidence; prefix of the ids of its components.
        title: a heading for the panel.
        tab: the tab that it is in; for another prior, the images are read again once that tab is open.
        follow: when the prior was changed or the tab was opened.
        nothing: the summary while there are no images.
        opening: key of the example set that is read as the page opens, if any.

    Attributes:
        panel: see above.
        events: each change of the images, when they are read.
        outputs: the components that `open` updates.
    """

    def __init__(
        self,
        engines: Engines,
        prior: Component,
        *,
        panel: str,
        title: str,
        tab: str,
        follow: Sequence[Dependency],
        nothing: str = NOTHING,
        opening: str = "",
    ) -> None:
        self._tab, self._nothing = tab, nothing
        with gr.Group(elem_id=panel):
            kinds = [*sorted(IMAGE_SUFFIXES), ".safetensors"]
            self._files, self._camera = drop_zone(f"{title}: drop files here", kinds, elem_id=panel, height=128)
            examples = gr.HTML(
                examples_html(),
                js_on_load=EXAMPLES_JS,
                elem_id=f"{panel}-examples",
                label="Example sets",
                padding=True,
            )
        with gr.Row(equal_height=True):
            first = f"Reading {example_sets()[opening].title} …" if opening else summary(Evidence(), nothing)
            self._status = status_line(first, elem_id=f"{panel}-status")
            self._cancel = gr.Button("Stop", variant="stop", size="sm", visible=False, min_width=80, scale=0)
            self._undo = gr.Button("Undo", size="sm", visible=False, min_width=80, scale=0, elem_id=f"{panel}-undo")
            clear = gr.Button("Clear all", size="sm", min_width=90, scale=0, elem_id=f"{panel}-clear")
        super().__init__(engines, panel)
        self.outputs = [self._cards, self._details, self._status, self._cancel, self._undo]
        self.events = [
            *on(self._files.upload, self._add_files, [self._files, prior], [*self.outputs, self._files]),
            *on(self._camera.input, self._add_picture, [self._camera, prior], [*self.outputs, self._camera]),
            *on(examples.select, self._choose_example, prior, self.outputs, event=True),
            *self._wire(self.outputs),
            *on(clear.click, self._clear, prior, self.outputs),
            *on(self._undo.click, self._undo_removal, prior, self.outputs),
            *on(follow, self._follow, prior, self.outputs),
        ]
        on(self._cancel.click, lambda session: session.cancel(panel), queue=False)

    def open(self, session: Session, key: str, prior: str) -> Iterator[Updates]:
        """Read an example set, such as that of a shared link. An unknown key empties the panel."""
        with session.queued(self.panel, newest=True) as cancel:
            yield from self._example(session, key, prior, cancel)

    def add(self, session: Session, files: Sequence[File], prior: str) -> Iterator[Updates]:
        """Add images, as if they were dropped."""
        with session.queued(self.panel) as cancel:
            yield from self._add(session, files, prior, cancel)

    def put(self, session: Session, evidence: Evidence, prior: str) -> Updates:
        """Replace the images by earlier ones."""
        with session.queued(self.panel, newest=True):
            self._put(session, evidence if evidence.prior else Evidence(prior=prior))
            return self._show(session)

    # Reading -----------------------------------------------------------------------------------------------------

    def _add_files(self, session: Session, files: list[str] | None, prior: str) -> Iterator[Updates]:
        """Files were dropped. The drop zone is emptied at once, for the next files."""
        yield {self._files: None}
        with session.queued(self.panel) as cancel:
            if files:
                self._replace_example(session, prior)
            yield from self._add(session, files or [], prior, cancel)

    def _add_picture(self, session: Session, file: str | None, prior: str) -> Iterator[Updates]:
        """A picture of the camera or the clipboard."""
        yield {self._camera: None}
        if file is not None:
            with session.queued(self.panel) as cancel:
                self._replace_example(session, prior)
                # A file, not its bytes: of a refused picture, a session keeps the name alone.
                snapshot = new_folder() / f"picture {len(self.evidence(session)) + 1}"
                shutil.copyfile(file, snapshot)
                yield from self._add(session, [snapshot], prior, cancel)

    def _replace_example(self, session: Session, prior: str) -> None:
        """The user's own images replace an example set, such as the one that the page opened with."""
        if self.evidence(session).example:
            self._keep(session)
            self._put(session, Evidence(prior=prior))

    def _add(self, session: Session, files: Sequence[File], prior: str, cancel: CancelToken) -> Iterator[Updates]:
        evidence, new = self.evidence(session), [PanelSource(self.panel, Source(file)) for file in files]
        if evidence.prior != prior:
            new, evidence = [*sources_of(self.panel, evidence), *new], Evidence(prior=prior)
        return self._read(session, new, evidence, cancel)

    def _choose_example(self, session: Session, data: dict, prior: str) -> Iterator[Updates]:
        """One click replaces all images: an example set is not mixed with others."""
        with session.queued(self.panel, newest=True) as cancel:
            if not self.evidence(session).example:
                self._keep(session)
            yield from self._example(session, str(data.get("example")), prior, cancel)

    def _example(self, session: Session, key: str, prior: str, cancel: CancelToken) -> Iterator[Updates]:
        files = example_sets()[key].files if key in example_sets() else ()
        sources = [PanelSource(self.panel, Source(file)) for file in files]
        yield from self._read_as(session, sources, prior, cancel, example=key if files else "")

    def _follow(self, session: Session, prior: str) -> Iterator[Updates]:
        """For another prior, the images are aligned and inverted again."""
        if session.tab != self._tab or self.evidence(session).prior in ("", prior):
            return
        with session.queued(self.panel) as cancel:
            if self.evidence(session).prior not in ("", prior):
                yield from self._read_again(session, self.evidence(session), prior, cancel)

    def _read_again(self, session: Session, old: Evidence, prior: str, cancel: CancelToken) -> Iterator[Updates]:
        yield from self._read_as(session, sources_of(self.panel, old), prior, cancel, old.example)
        masks = {index: image.mask for index, image in enumerate(old) if image.mask is not None}
        if masks and not self.evidence(session).remaining:
            session.evidence[self.panel] = ignore(
                self._engines.get(prior), self.evidence(session), masks, cancel=cancel
            )
            yield self._show(session)

    def _read_as(
        self, session: Session, sources: Sequence[PanelSource], prior: str, cancel: CancelToken, example: str
    ) -> Iterator[Updates]:
        """Replace all images. The example set has its name once all of it is read."""
        self._put(session, Evidence(prior=prior))
        # The faces of an example set are aligned already: no face detection.
        for shown in self._read(session, sources, Evidence(prior=prior), cancel, "never" if example else "auto"):
            if example and not self.evidence(session).remaining:
                session.evidence[self.panel] = replace(self.evidence(session), example=example)
            yield shown

    # Removal and undo -------------------------------------------------------------------------------------------

    def _clear(self, session: Session, prior: str) -> Updates:
        with session.queued(self.panel, newest=True):
            self._keep(session)
            self._put(session, Evidence(prior=prior))
            return self._show(session)

    def _keep(self, session: Session) -> None:
        evidence = self.evidence(session)
        if evidence.saved is not None or len(evidence):
            session.state(_Before)[self.panel] = evidence

    def _edit(self, session: Session, data: dict) -> Iterator[Updates]:
        if data.get("action") in ("remove", "face"):
            self._keep(session)
        yield from super()._edit(session, data)

    def _undo_removal(self, session: Session, prior: str) -> Iterator[Updates]:
        with session.queued(self.panel, newest=True) as cancel:
            before = session.state(_Before).pop(self.panel, None)
            if before is None:
                return
            if before.prior == prior:
                self._put(session, replace(before, remaining=0))
                yield self._show(session)
            else:
                yield from self._read_again(session, before, prior, cancel)

    def _show(self, session: Session, reading: str = "") -> Updates:
        return self._images(session) | {
            self._status: reading or summary(self.evidence(session), self._nothing),
            self._cancel: gr.update(visible=bool(reading)),
            self._undo: gr.update(visible=not reading and self.panel in session.state(_Before)),
        }
