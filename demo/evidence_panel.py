"""The evidence panel: it reads files, and shows a thumbnail of each with what happened to it."""

from __future__ import annotations

import contextlib
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import gradio as gr
from gradio.components import Component
from PIL import Image

from transflow_core.engine import Cancelled
from transflow_core.evidence import Evidence, Source
from transflow_core.images.files import IMAGE_SUFFIXES
from transflow_core.limits import MOST_IMAGES, WEIGHT
from transflow_core.operations.inpaint import ignore
from transflow_core.pictures import AlignMode, File

from .cards import MINE, NOTHING, details, examples_html, faces_in_use, keeping, summary, thumbnails
from .controls import Model, Working
from .examples import example_sets
from .gradio_compat import file_of
from .painting import mask_of
from .render import data_uri, progress
from .server.admission import CancelToken
from .server.errors import report, warn
from .server.events import Updates, new_signal, on
from .server.files import AGE, new_folder
from .server.priors import Engines
from .server.state import Session
from .server.uploads import photos_of
from .static import static

CARDS_JS, EXAMPLES_JS, _KEEP_JS = static("cards.js"), static("examples.js"), static("keep.js")
# Files go when nobody uses them, and are so old (`files.Cleanup`); a page that is open uses its own.
_STAYS = (
    f"<p class='stays'>Your photos stay on this server while this page is open, and at most {AGE / 60:g} minutes "
    "longer. Nothing is trained on them.</p>"
)


# Of more images, thumbnails come with their latents, some at a time: each time the page gets all of them.
_EARLY = 16
# So many images of one's own give samples already, if so many others at least are still to be read: fewer are there
# before the samples would be.
_FEW, _OTHERS = range(3, 16), 3
OWN = "own"
"""In an address: the visitor's own images."""
NOT_KEPT = "Your photos were not kept, and no link has them. Add them again."
"""What is said where they are gone."""
_BLANK = Image.new("RGB", (64, 64), "#6366f1")  # of a saved posterior, in the row of sets


def files_button(
    label: str, kinds: Iterable[str], *, elem_id: str, note: str = "", whole: bool = False, **options: Any
) -> gr.UploadButton:
    """A button for files in a box of this id; `static/anywhere.js` adds what is dropped or pasted near it. The browser
    may send large photographs smaller, unless `whole` pictures are used, and not the faces in them alone."""
    with gr.Column(elem_id=elem_id, elem_classes=["takes-files"] if whole else ["takes-files", "takes-faces"]):
        files = gr.UploadButton(label, file_count="multiple", file_types=sorted(kinds), **options)
        gr.HTML(note + "<p class='said' role='status'></p>", js_on_load=static("stays.js"), label="Files")
    return files


def drop_zone(label: str, *, elem_id: str, whole: bool = False) -> tuple[gr.UploadButton, gr.Image]:
    """A button for pictures and saved posteriors, `{elem_id}-files`, and the camera, `{elem_id}-camera`; `whole` as of
    `files_button`."""
    kinds = {*IMAGE_SUFFIXES, ".safetensors"}
    files = files_button(label, kinds, elem_id=f"{elem_id}-files", note=_STAYS, whole=whole)
    with gr.Accordion("Camera or clipboard", open=False):
        camera = gr.Image(
            sources=["webcam", "clipboard"],
            type="filepath",
            image_mode=None,
            label="One picture",
            height=240,
            buttons=[],  # the picture is added at once, and nothing is shared through another server
            elem_id=f"{elem_id}-camera",
        )
        file_of(camera)
    return files, camera


def on_files(
    event: Any, add: Callable[..., Iterator[Updates]], inputs: Sequence[Any], outputs: Sequence[Any], read: gr.HTML
) -> None:
    """Call `add(session, files, *inputs)` with the files of a component. It is emptied at once, for what comes next.

    Args:
        event: `upload` of a button for files, or `input` of a camera, whose one file is a path.
        read: the signal that it was read.
    """
    of = event.__self__

    def added(session: Session, files: Any, *values: Any) -> Iterator[Updates]:
        yield {of: None}
        if files:
            yield from add(session, files, *values)

    on(event, added, [of, *inputs], [*outputs, of], signals=read)


class _Opened(dict[str, int | None]):
    """The image whose details are shown, by panel."""


class _Own(dict[str, Evidence]):
    """The visitor's own images of each panel, while an example set is in their place."""


class _Reading(dict[str, bool]):
    """Whether each panel reads an example set now."""


def snapshot(file: str, name: str) -> Path:
    """A file of this name with a picture of the camera or the clipboard. It has no suffix: it is no file of the user's.

    A file, not its bytes: of a refused picture, a session keeps the name alone.
    """
    return Path(shutil.copyfile(file, new_folder() / name))


def own_photos(query: dict[str, str]) -> list[Source]:
    """The visitor's own photos, out of a query; if there are none, the page says so."""
    with contextlib.suppress(ValueError):
        return photos_of(query.pop("photos", ""))
    warn(NOT_KEPT)
    return []


def row_of(data: dict, evidence: Evidence) -> int | None:
    """The row of the image that the page means: its index, or less where those before it were removed meanwhile."""
    index, name = data.get("index"), data.get("name")
    if not isinstance(index, int) or isinstance(index, bool) or index < 0:
        return None
    if name is None:
        return index if index < len(evidence) else None
    return next((row for row in range(min(index, len(evidence) - 1), -1, -1) if evidence[row].name == name), None)


class Images(ABC):
    """Images of a visitor that can grow: `session.evidence[panel]`. Changes of them wait for one another.

    Args:
        engines: the priors that the page serves.
        panel: key of the session's evidence; prefix of the ids of its components.
        most: how many there may be.
    """

    def __init__(self, engines: Engines, panel: str, *, most: int = MOST_IMAGES) -> None:
        self.panel, self._engines, self._most = panel, engines, most

    @abstractmethod
    def _show(self, session: Session, reading: str = "") -> Updates:
        """All that changes with the images; `reading` is progress as HTML."""

    def evidence(self, session: Session) -> Evidence:
        """The visitor's images."""
        return session.evidence.get(self.panel, Evidence())

    def add(self, session: Session, files: Sequence[File], prior: str, whole: bool = False) -> Iterator[Updates]:
        """Add images. An example set, such as the one that the page opens with, makes room for them; where the prior
        was changed meanwhile, the others are read again. `whole`: look for no faces."""
        new, reading = [Source(file) for file in files], session.state(_Reading).get(self.panel, False)
        with (yield session.queued(self.panel, newest=reading)) as cancel:
            before = self.evidence(session)
            if reading or before.example:
                self._put(session, Evidence(prior=prior))
            evidence = self.evidence(session)
            if evidence.prior != prior:
                new, evidence = [*evidence.sources, *new], Evidence(prior=prior)
            yield from self.read(session, new, evidence, cancel, "never" if whole else "auto")
            if before.example and not (reading or self.evidence(session).ready or cancel.is_set()):
                for image in self.evidence(session):
                    warn(f"{image.name}: {image.problem}")
                self._put(session, before)  # no file was any good
                yield self._show(session)

    def _put(self, session: Session, evidence: Evidence, opened: int | None = None) -> None:
        """Replace all images, and show the details of the one of this index, if any."""
        session.state(_Opened)[self.panel] = opened
        session.evidence[self.panel] = evidence

    def read(
        self,
        session: Session,
        sources: Sequence[Source],
        onto: Evidence,
        cancel: CancelToken,
        align: AlignMode,
        around: tuple[int, int, float] | None = None,
    ) -> Iterator[Updates]:
        """Read and invert, so that each image appears as soon as it is ready. At the end it reports the sources that
        were refused or not read. `around` is for the bar: how many images of other panels were read before, how many
        come after, and since when."""
        session.evidence[self.panel] = evidence = onto
        engine, before = self._engines.get(onto.prior), len(onto)
        earlier, later, started = around or (0, 0, time.monotonic())
        early = align != "never"  # looking for faces is what takes long
        how: dict[str, Any] = {"onto": onto, "align": align, "most": self._most, "early": early, "cancel": cancel}
        for evidence in engine.read_steps(sources, **how):
            session.evidence[self.panel] = evidence
            if evidence.coming and len(evidence) + len(evidence.coming) > _EARLY:
                continue
            done, left = earlier + len(evidence) - before, evidence.remaining + later
            bar = progress(done, done + left, time.monotonic() - started, engine.ahead) if left else ""
            yield self._show(session, bar)
        if evidence.coming:  # it was stopped
            session.evidence[self.panel] = replace(evidence, coming=())
        if onto.saved is not None and onto.saved is not evidence.saved:
            warn(f"{evidence.saved_name or 'The images'} took the place of {onto.saved_name}.")
        elif evidence.saved is not None and before:
            warn(f"{evidence.saved_name} took the place of your images.")
        for note in evidence.notes:
            warn(note)
        if cancel.by_user:
            report(f"Stopped. Images that were not read: {evidence.remaining + later}.")
        yield self._show(session)


class ImageList(Images):
    """Thumbnails, the details of one image, and the controls of each. Build it where the thumbnails are to be.

    Args:
        engines, panel, most: see `Images`.
        weighted: whether samples are drawn from the images: an image has a weight then, and outliers are marked.
        keeps: whether a reload of the page keeps the visitor's own.
    """

    def __init__(
        self, engines: Engines, panel: str, *, most: int = MOST_IMAGES, weighted: bool = True, keeps: bool = False
    ) -> None:
        super().__init__(engines, panel, most=most)
        self._weighted, self._keeps = weighted, keeps
        script = CARDS_JS + _KEEP_JS if keeps else CARDS_JS
        self._cards = gr.HTML("", js_on_load=script, elem_id=f"{panel}-cards", label="Images")
        self._details = gr.HTML("", js_on_load=CARDS_JS, elem_id=f"{panel}-details", label="One image")

    def _wire(self, outputs: Sequence[Component], changed: gr.HTML) -> None:
        """`changed` is the signal that an image was changed or removed."""
        on([self._cards.select, self._details.select], self._open, (), outputs, event=True)
        on([self._cards.edit, self._details.edit], self._edit, (), outputs, event=True, signals=changed)

    def _images(self, session: Session, reading: str = "") -> Updates:
        evidence, opened = self.evidence(session), session.state(_Opened).get(self.panel)
        opened = opened if opened is not None and opened < len(evidence) else None
        shown = details(evidence, opened, self._weighted)
        kept = self._keeps and not reading
        example = bool(evidence.example) or session.state(_Reading).get(self.panel, False)  # it has no name yet
        cards = thumbnails(evidence, opened, self._weighted, kept) + (keeping(evidence, example) if kept else "")
        return {self._cards: cards, self._details: shown}

    def _open(self, session: Session, data: dict) -> Updates:
        """A thumbnail was clicked: show its details, or hide them."""
        opened, index = session.state(_Opened), row_of(data, self.evidence(session))
        opened[self.panel] = index if opened.get(self.panel) != index else None
        return self._images(session)

    def _edit(self, session: Session, data: dict) -> Iterator[Updates]:
        """A control of an image was used: remove, other faces, another weight."""
        action, value = data.get("action"), data.get("value")
        with (yield session.queued(self.panel)) as cancel:
            evidence, opened = self.evidence(session), session.state(_Opened).get(self.panel)
            index = row_of(data, evidence)
            if index is None:
                return  # the image was removed already
            with contextlib.suppress(Cancelled):  # by the Stop button: nothing changes
                if action == "remove":
                    faces = [other for other in faces_in_use(evidence, index).values() if other != index]
                    if opened == index:  # the details of another face of the same picture
                        opened = faces[0] if faces else None
                    evidence, opened = evidence.removed(index), opened and opened - (opened > index)
                elif action == "weight":
                    evidence = evidence.replace(index, weight=_weight(value))
                elif action == "robust":
                    evidence = evidence.replace(index, robust=value == "on")
                elif action in ("mask", "masks"):
                    masks = dict.fromkeys(range(len(evidence)) if action == "masks" else [index], mask_of(value))
                    yield self._show(session, "Filling in the ignored parts …")
                    try:
                        evidence = ignore(self._engines.get(evidence.prior), evidence, masks, cancel=cancel)
                    except ValueError as error:
                        warn(str(error))
                elif action == "face":
                    yield self._show(session, "Reading the faces …")
                    evidence, opened = self._picked(evidence, index, str(value), cancel)
                self._put(session, evidence, opened)
            yield self._show(session)

    def _picked(self, evidence: Evidence, index: int, value: str, cancel: CancelToken) -> tuple[Evidence, int]:
        """With a face of a picture or without it, with all of its faces, or with the whole picture. At least one of
        them stays in use. Returns the index of the image whose details are shown, too."""
        image, used = evidence[index], faces_in_use(evidence, index)
        faces = {face.index: face for face in image.picture.found}
        if value in ("whole", "all"):
            wanted = list(faces) if value == "all" else [] if used or not faces else [0]
        else:
            wanted = [face for face in faces if (face in used) != (value == str(face))]
            if not wanted:
                report("This is the only face in use. Choose another one first, or remove the picture.")
                return evidence, index
        engine, same = self._engines.get(evidence.prior), {*used.values(), index}
        if len(evidence) - len(same) + len(wanted) > self._most:
            raise ValueError(f"At most {self._most} images. Remove some of them first.")
        chosen = [evidence[used[at]] if at in used else engine.choose(image, faces[at], cancel=cancel) for at in wanted]
        chosen = chosen or [engine.choose(image, image.picture.whole, cancel=cancel)]
        first = min(same)
        after = [other for at, other in enumerate(evidence) if at > first and at not in same]
        images = (*evidence.images[:first], *chosen, *after)
        shown = next((at for at, other in enumerate(images) if other is image), first)
        return replace(evidence, images=images, example=""), shown


def _weight(value: object) -> float:
    """A weight as the user typed it. Raises ValueError for one that is not valid."""
    with contextlib.suppress(TypeError, ValueError):
        weight = float(value)  # type: ignore[arg-type]
        if weight in WEIGHT:
            return weight
    raise ValueError(f"A weight is a number {WEIGHT}.")


def _reading(key: str) -> str:
    return f"Reading {example_sets()[key].title} …"


class EvidencePanel(ImageList):
    """Drop zone, webcam and clipboard, example sets, thumbnails. Build it inside the current Blocks.

    A click on an example set, or on "Clear all", cancels earlier changes that are not finished.

    Args:
        model: what encodes the images.
        panel: key of the session's evidence; prefix of the ids of its components.
        title: of the button for files.
        tab: the tab that it is in; for another prior, the images are read again once that tab is open.
        nothing: the summary while there are no images.
        opening: key of the example set that is read as the page opens, if any.
        without: key of an example set that does not stand in its row.

    Attributes:
        panel: see above.
        changed: each change of the images, when they are read.
        steps: each time that some of them are read, which give samples while others are read.
        outputs: the components that `open` updates.
        examples: the example sets.
    """

    def __init__(
        self,
        model: Model,
        *,
        panel: str,
        title: str,
        tab: str,
        nothing: str = NOTHING,
        opening: str = "",
        without: str = "",
    ) -> None:
        self._tab, self._nothing = tab, nothing
        with gr.Column(elem_id=panel, elem_classes=["keeps"] if opening else None):
            files, camera = drop_zone(title, elem_id=panel)
            how: dict[str, Any] = {"html_template": examples_html(without), "elem_id": f"{panel}-examples"}
            script = f"const withPhotos = {static('photos.js')};{EXAMPLES_JS}{static('mine.js')}"
            self.examples = gr.HTML("", js_on_load=script, label="Sets", **how)
        with gr.Row(equal_height=True):
            # Which ones, the address says.
            first = "Reading the images …" if opening else summary(Evidence(), nothing)
            self._working = Working(panel, first)
            clear = gr.Button("Clear all", size="sm", min_width=90, scale=0, elem_id=f"{panel}-clear")
        super().__init__(model.engines, panel, keeps=bool(opening))
        prior = model.prior
        self._few = gr.HTML(0, visible="hidden", label="Images so far")
        self.outputs = [self._cards, self._details, self._working.output, self.examples, self._few]
        self.steps, changed = self._few.change, new_signal()
        self.changed = changed.change
        on_files(files.upload, self.add, [prior], self.outputs, changed)
        on_files(camera.input, self._add_picture, [prior], self.outputs, changed)
        on(self.examples.select, self._choose_example, prior, self.outputs, event=True, signals=changed)
        self._wire(self.outputs, changed)
        on(clear.click, self._clear, prior, self.outputs, signals=changed)
        on(model.changed, self._follow, prior, self.outputs, signals=changed)

    def open(self, session: Session, key: str, prior: str, own: Sequence[Source] = ()) -> Iterator[Updates]:
        """Read an example set, such as that of a shared link. An unknown key empties the panel, or opens aligned images
        of one's own."""
        files = example_sets()[key].files if key in example_sets() else ()
        sources = [Source(file) for file in files] or own
        with (yield session.queued(self.panel, newest=True)) as cancel:
            yield from self._read_as(session, sources, prior, cancel, key if files else "", "never")

    def soon(self, key: str) -> Updates:
        """The status until `open` of an example set has its turn."""
        return self._working.says(_reading(key))

    def put(self, session: Session, evidence: Evidence, prior: str) -> Generator[Any, Any, Updates]:
        """Replace the images by earlier ones."""
        with (yield session.queued(self.panel, newest=True)):
            if evidence.example:
                self._remember(session)
            self._put(session, evidence if evidence.prior else Evidence(prior=prior))
            return self._show(session)

    # Reading -----------------------------------------------------------------------------------------------------

    def _add_picture(self, session: Session, file: str, prior: str) -> Iterator[Updates]:
        """A picture of the camera or the clipboard."""
        own = 0 if self.evidence(session).example else len(self.evidence(session))
        return self.add(session, [snapshot(file, f"picture {own + 1}")], prior)

    def _choose_example(self, session: Session, data: dict, prior: str) -> Iterator[Updates]:
        """One click replaces all images: an example set is not mixed with others."""
        key = str(data.get("example"))
        if key != MINE:  # else these are those that are being read
            self._remember(session)
        before = session.state(_Own).get(self.panel)
        if key != MINE:
            yield from self.open(session, key, prior)
        elif before is None:  # a reload: the browser sends those that it kept
            if photos := own_photos(dict(parse_qsl(str(data.get("query"))))):
                yield from self.open(session, "", prior, photos)
        elif before.prior == prior:
            if before.remaining:  # another set was chosen meanwhile
                report(f"Images that were not read: {before.remaining}. Add them again.")
            yield (yield from self.put(session, replace(before, remaining=0, coming=()), prior))
        else:
            with (yield session.queued(self.panel, newest=True)) as cancel:
                yield from self._read_again(session, before, prior, cancel)

    def _follow(self, session: Session, prior: str) -> Iterator[Updates]:
        """For another prior, the images are aligned and inverted again."""
        if session.tab != self._tab or self.evidence(session).prior in ("", prior):
            return
        with (yield session.queued(self.panel)) as cancel:
            if self.evidence(session).prior not in ("", prior):
                yield from self._read_again(session, self.evidence(session), prior, cancel)

    def _read_again(self, session: Session, old: Evidence, prior: str, cancel: CancelToken) -> Iterator[Updates]:
        if old.saved is not None:
            warn(f"{old.saved_name} was made with {old.prior}. Add it again for that model.")
        align: AlignMode = "never" if old.example else "auto"
        yield from self._read_as(session, old.sources, prior, cancel, old.example, align)
        masks = {index: image.mask for index, image in enumerate(old) if image.mask is not None}
        evidence = self.evidence(session)
        if masks and not evidence.remaining:
            self._put(session, ignore(self._engines.get(prior), evidence, masks, cancel=cancel))
            yield self._show(session)

    def _read_as(
        self,
        session: Session,
        sources: Sequence[Source],
        prior: str,
        cancel: CancelToken,
        example: str,
        align: AlignMode,
    ) -> Iterator[Updates]:
        """Replace all images. The example set has its name once all of it is read; its faces are aligned already."""
        examples = self._engines.examples
        if (known := examples.get((prior, example))) is not None:
            self._put(session, known)
            yield self._show(session)
            return
        self._put(session, Evidence(prior=prior))
        session.state(_Reading)[self.panel] = bool(example)
        try:
            for shown in self.read(session, sources, Evidence(prior=prior), cancel, align):
                if example and len(self.evidence(session)) == len(
                    sources
                ):  # not where the session was closed meanwhile
                    named = replace(self.evidence(session), example=example)
                    session.evidence[self.panel] = examples.setdefault((prior, example), named)
                yield shown
        finally:
            session.state(_Reading)[self.panel] = False

    # The visitor's own ---------------------------------------------------------------------------------------------

    def _clear(self, session: Session, prior: str) -> Iterator[Updates]:
        session.state(_Own).pop(self.panel, None)
        yield (yield from self.put(session, Evidence(), prior))

    def _remember(self, session: Session) -> None:
        """An example set is about to take the place of the images: the visitor's own are there to return to."""
        if self._is_own(session):
            session.state(_Own)[self.panel] = self.evidence(session)

    def _is_own(self, session: Session) -> bool:
        """Whether the images are the visitor's own, and there are some."""
        evidence, reading = self.evidence(session), session.state(_Reading).get(self.panel)
        return not evidence.example and not reading and (evidence.ready or len(evidence) > 0)

    def _show(self, session: Session, reading: str = "") -> Updates:
        own = None if self._is_own(session) else session.state(_Own).get(self.panel)
        face = next((image.shown for image in own.used if image.shown), _BLANK) if own is not None else None
        evidence = self.evidence(session)
        few = len(evidence.used) if evidence.remaining >= _OTHERS and len(evidence.used) in _FEW else 0
        return (
            self._images(session, reading)
            | self._working.says(reading or summary(evidence, self._nothing), bool(reading))
            | {self.examples: face and data_uri(face.resize((64, 64)))}
            | ({self._few: few} if few or not reading else {})
        )
