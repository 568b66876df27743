"""The Restyle tab: a photo of people, in the style of a few images."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from html import escape
from pathlib import Path
from threading import Event
from typing import Any

import gradio as gr
from gradio.components import Component
from PIL import Image

from transflow_core.engine import Cancelled, Engine
from transflow_core.evidence import Evidence, EvidenceImage
from transflow_core.images.output import writes_mp4
from transflow_core.images.sheets import enlarge
from transflow_core.limits import MOST_PHOTOGRAPHS, Range
from transflow_core.operations.call import Result
from transflow_core.operations.enlarging import check_size
from transflow_core.operations.inpaint import remove
from transflow_core.operations.restyle import level_strengths, restyle_faces
from transflow_core.recipes import Conditioning
from transflow_core.recipes import Restyle as Recipe

from ..controls import (
    ANIMATIONS,
    Model,
    Working,
    code_pair,
    controls,
    download,
    downloads,
    filled_in,
    on_download,
    slider,
)
from ..evidence_panel import EvidencePanel, drop_zone, on_files, snapshot
from ..examples import PHOTOGRAPH, example_sets, title_of
from ..painting import mask_of, paintable
from ..render import data_uri, updating, uri_of
from ..server.admission import EXPORTS, CancelToken
from ..server.errors import warn
from ..server.events import Updates, new_signal, on
from ..server.state import Session
from ..snippet import MASK_FILE, POSTERIOR_FILE, Step, command_line, evidence_files, file_of, python_code
from .larger import OFF, Larger, Picture, can_enlarge

TAB, PHOTOGRAPHS = "restyle", "photographs"
_EXPORTS = {
    "webp": "Animation (WebP)",
    **({"mp4": "Video (MP4)"} if writes_mp4() else {}),
    "style": "Style (posterior)",
}
_SAMPLE = "Sample photo (these people do not exist)"
_NO_STYLE = "No style yet. Choose a set above, or drop a few images."
_CHOOSE = "Now choose a style: a set, or images of your own."
_REMOVE = "<p class='hint'>Paint over glasses or a hand on a face. The model fills in this part. The rest stays.</p>"
# On a phone the picture may be above the styles.
_SHOW_JS = "() => document.querySelector('#restyle-slider').scrollIntoView({block: 'nearest', behavior: 'smooth'})"
_PAINTED_JS = "element.addEventListener('painted', ({detail}) => trigger('edit', detail))"
_STRENGTH = Recipe.model_fields["strength"].default
_SHOWN = 1280  # pixels of a side on the page
# Faces that are compared with the photo: a third of a second each.
_MEASURED = 3
_SAME_PERSON = 0.6  # dlib's threshold


@dataclass(frozen=True, eq=False)
class Photograph:
    """One photograph at the size of the page, with those of its faces that can be restyled."""

    image: Image.Image  # reduced by `scale`, without what the mask covers
    scale: float
    read: tuple[EvidenceImage, ...]  # the faces as they were read
    mask: Image.Image | None  # white where a part is removed
    faces: tuple[EvidenceImage, ...]  # without what the mask covers

    @classmethod
    def of(
        cls, engine: Engine, photographs: Evidence, index: int, mask: Image.Image | None, cancel: Event | None = None
    ) -> Photograph:
        """The photograph of this index, without what the mask covers. Raises ValueError where it touches no face."""
        files = list(dict.fromkeys(image.source.file for image in photographs.used))
        file = files[min(index, len(files) - 1)]
        read = faces = tuple(image for image in photographs.used if image.source.file == file)
        full = engine.picture(file, cancel=cancel)
        scale = min(1.0, _SHOWN / max(full.size))
        size = max(1, round(scale * full.width)), max(1, round(scale * full.height))
        if mask is not None:
            # As large as the file to download, so that the code on the page makes the same picture.
            mask = mask.resize(size, Image.Resampling.NEAREST)
            full, faces = remove(engine, full, read, mask, cancel=cancel)
        image = full if size == full.size else full.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
        return cls(image, image.width / full.width, read, mask, faces)


@dataclass(frozen=True, eq=False)
class Request:
    """A photograph, a style, and how much of it: all that decides the result."""

    photograph: Photograph
    style: Evidence
    recipe: Recipe


def steps_of(request: Request) -> list[Step]:
    """The code of a restyled photograph."""
    photograph, first = request.photograph, request.photograph.read[0]
    inputs = {"photographs": [file_of(first.source.file)], "evidence": evidence_files(request.style, POSTERIOR_FILE)}
    masks = {"masks": [MASK_FILE]} if photograph.mask is not None else {}
    return [Step(request.recipe, inputs | masks, "restyled.png")]


def make(kind: str, request: Request, engine: Engine, **how: Any) -> Result:
    """The photograph at its full size, "png"; or an animation, from the photograph to the full style.

    `how` is for `Engine.run`.
    """
    photograph = request.photograph
    inputs: dict[str, Any] = {"photographs": Evidence(photograph.read), "evidence": request.style}
    inputs |= {"masks": [photograph.mask]} if photograph.mask is not None else {}
    return engine.run(request.recipe.written_as(kind), **inputs, **how)


def write(kind: str, photograph: Photograph, request: Request | None, engine: Engine, session: Session) -> Path:
    """Write one file: "mask"; or "style", the posterior.

    Raises ValueError where the file needs a style, or a mask, that is missing.
    """
    mask, nothing = photograph.mask, "There is nothing to save yet."
    if kind == "mask":
        if mask is None:
            raise ValueError(f"{nothing} Paint over something first.")
        path = session.file(MASK_FILE)
        mask.save(path)
    elif request is None:
        raise ValueError(f"{nothing} Choose a style.")
    else:
        path = session.file(POSTERIOR_FILE)
        metadata = engine.prior.provenance | {"evidence": title_of(request.style)}
        request.style.posterior().save(path, metadata=metadata)
    return path


@dataclass
class _State:
    """A visitor's last request, what was made to be saved, as a picture or an animation, and the text about it; the
    photograph with the key it was made for, and the mask with the key of its photo."""

    request: Request | None = None
    made: dict[bool, tuple[Request, Result]] = field(default_factory=dict)
    text: str = ""
    photograph: tuple[Any, Photograph] | None = None
    mask: tuple[Any, Image.Image] | None = None

    def to_save(self) -> Request:
        if self.request is None:
            raise ValueError("There is nothing to save yet. Add a photo and a style.")
        return self.request

    def result(self, kind: str, request: Request) -> Result | None:
        """What a file of this kind shows, where it was made for an earlier one."""
        made = self.made.get(kind in ANIMATIONS)
        return made[1] if made is not None and made[0] is request else None


class Restyle:
    """Build the tab inside the current Blocks."""

    def __init__(self, model: Model) -> None:
        self._engines = model.engines
        with gr.Row(elem_id="restyle-tab"):
            with gr.Column(scale=3, min_width=280):
                self._files, self._camera = drop_zone("+ Add photos", elem_id="restyle", whole=True)
                self._which = gr.Radio([], label="Photo", visible=False, elem_id="restyle-which")
                self._faces = gr.HTML("", elem_id="restyle-faces", elem_classes="status", label="Faces")
                self._try = gr.Button(_SAMPLE, elem_id="restyle-try", size="sm")
                # A drawing leaves ghosts on eyes and mouths, by eye; at 80 % another person of 33 % (restyle.md).
                how = {"title": "+ Add style images", "tab": TAB, "nothing": _NO_STYLE, "without": "drawings"}
                self._panel = EvidencePanel(model, panel="style", **how)
            with gr.Column(scale=9, min_width=320):
                self._build_result()
        self._wire(model.prior, model.changed)

    def _build_result(self) -> None:
        self._slider = gr.ImageSlider(
            label="Before and after",
            show_label=False,
            interactive=False,
            buttons=["fullscreen"],
            elem_id="restyle-slider",
        )
        with gr.Row(elem_id="restyle-strength-row"):
            how: dict[str, Any] = {"unit": "%", "elem_id": "restyle-strength", "min_width": 260}
            self._strength = slider(_STRENGTH, Range(0, 1), step=0.05, name="less style", far="more style", **how)
            save = gr.Button("Save (PNG)", elem_id="restyle-get-png", variant="primary", scale=0, min_width=140)
        with gr.Row(elem_id="restyle-working"):
            self._working = Working(TAB)
        says = [self._working.output]
        on_download(save.click, partial(self._picture, "png"), elem_id="restyle-get-png-file", outputs=says)
        with gr.Accordion("Save as", open=False, elem_id="restyle-save"):
            downloads(_EXPORTS, self._saved, prefix="restyle", outputs=says)
            with gr.Row():
                self._larger = Larger(self._large, "restyle", size="sm", scale=0).working
            if not can_enlarge():
                gr.HTML(OFF, elem_classes="status", label="Four times larger")
        with gr.Accordion("More", open=False, elem_id="restyle-more"):
            more = controls(Recipe, {"strength", "steps", *Conditioning.model_fields})
        self._numbers: dict[str, Component] = {"strength": self._strength, **more}
        with gr.Accordion("Remove something", open=False, elem_id="restyle-remove"):
            self._paint = gr.HTML("", js_on_load=_PAINTED_JS, elem_id="restyle-paint", label="Remove something")
            download("Mask (PNG)", partial(self._export, "mask"), elem_id="restyle-get-mask", size="sm", min_width=120)
        self._python, self._shell = code_pair("restyle-")

    def _wire(self, prior: Component, changed_prior: Sequence[Any]) -> None:
        read, panel, new = [self._faces, self._which], self._panel.outputs, new_signal()
        on_files(self._files.upload, self._add, [prior], [*read, *panel], new)
        on_files(self._camera.input, self._add_picture, [prior], read, new)
        on(self._try.click, partial(self._read, sources=[PHOTOGRAPH]), prior, read, signals=new)
        on(self._paint.edit, self._paint_over, event=True, signals=new)
        on(changed_prior, self._follow, prior, [*read, *panel], signals=new)
        changed = [
            new.change,
            self._panel.changed,
            self._which.input,
            self._strength.release,
            *(one.change for name, one in self._numbers.items() if name != "strength"),  # type: ignore[attr-defined]
        ]
        shown = [self._slider, self._working.output, self._larger.output, self._paint, self._python, self._shell]
        on(changed, self._run, [prior, self._which, *self._numbers.values()], shown)
        on([self._panel.examples.select, self._paint.edit], None, js=_SHOW_JS)

    # Photographs ---------------------------------------------------------------------------------------------------

    def _add(self, session: Session, files: list[str], prior: str) -> Iterator[Updates]:
        # A saved posterior is a style, in whichever drop zone it lands.
        styles = [file for file in files if Path(file).suffix.lower() == ".safetensors"]
        photographs = [file for file in files if file not in styles]
        if styles:
            yield from self._panel.add(session, styles, prior)
        if photographs:
            yield from self._read(session, prior, photographs)

    def _add_picture(self, session: Session, file: str, prior: str) -> Iterator[Updates]:
        return self._read(session, prior, [str(snapshot(file, "picture"))])

    def _paint_over(self, session: Session, data: dict) -> None:
        """The mask is for the photo that is shown."""
        state, mask = session.state(_State), mask_of(data.get("mask"))
        if state.photograph is not None:
            photographs, index, _ = state.photograph[0]
            state.mask = ((photographs.sources, index), mask) if mask is not None else None

    def _follow(self, session: Session, prior: str) -> Iterator[Updates]:
        """The tab opens on a worked example. For another prior, the photos are read again."""
        if session.tab != TAB:
            return
        old = session.evidence.get(PHOTOGRAPHS)
        first = next(iter(example_sets()))
        if self._panel.panel not in session.evidence:
            yield self._panel.soon(first)
        if old is None:
            with contextlib.suppress(Cancelled):  # by a photo of one's own
                yield from self._read(session, prior, [PHOTOGRAPH], sample=True)
        elif old.prior != prior:
            yield from self._read(session, prior, list(dict.fromkeys(source.file for source in old.sources)))
        # Also where a photo of one's own, such as a sample, was read before the tab was open.
        if self._panel.panel not in session.evidence:
            yield from self._panel.open(session, first, prior)

    def _read(self, session: Session, prior: str, sources: list[Any], sample: bool = False) -> Iterator[Updates]:
        """New photos replace all earlier ones, and a sample none. Every face of each is read."""
        with (yield session.queued(PHOTOGRAPHS, newest=not sample)) as cancel:
            if sample and PHOTOGRAPHS in session.evidence:
                return
            if len(sources) > MOST_PHOTOGRAPHS:
                extra = len(sources) - MOST_PHOTOGRAPHS
                warn(f"At most {MOST_PHOTOGRAPHS} photos at a time. The last {extra} were not read.")
            yield {self._faces: "Looking for faces …"}
            engine = self._engines.get(prior)
            found = engine.read(sources[:MOST_PHOTOGRAPHS], onto=Evidence(prior=prior), faces="all", cancel=cancel)
            for image in found:
                if image.problem:
                    warn(f"{image.name}: {image.problem}")
            before = session.evidence.get(PHOTOGRAPHS)
            if not found.used and before is not None and before.used and before.prior == prior:
                yield {self._faces: _faces(before)}
                return
            session.evidence[PHOTOGRAPHS] = found
            names = [image.name for image in {image.source.file: image for image in found.used}.values()]
            which = {"choices": [(name, index) for index, name in enumerate(names)], "value": 0 if names else None}
            yield {self._faces: _faces(found), self._which: gr.update(**which, visible=len(names) > 1)}

    # The result ----------------------------------------------------------------------------------------------------

    def _run(self, session: Session, prior: str, which: Any, *numbers: Any) -> Iterator[Updates]:
        """The restyled photo first; then whether the faces still look like the same people."""
        photographs, style = session.evidence.get(PHOTOGRAPHS), self._panel.evidence(session)
        if photographs is None or not photographs.used or photographs.prior != prior:
            return
        state = session.state(_State)
        with (yield session.queued(TAB, newest=True)) as cancel:
            recipe = Recipe.checked(filled_in(dict(zip(self._numbers, numbers, strict=True))) | {"prior": prior})
            engine, before = self._engines.get(prior), state.photograph
            photograph = self._photograph(state, engine, photographs, int(which or 0), cancel)
            # Else the user may be painting now.
            shown: Updates = {} if state.photograph is before else {self._paint: _paintable(photograph)}
            plain = (photograph.image, photograph.image)
            if not style.ready or style.remaining or style.prior != prior:
                state.request = None
                says = self._working.says("" if style.remaining else _CHOOSE)
                yield shown | says | {self._slider: plain, self._python: "", self._shell: ""}
                return
            shown = shown and shown | {self._slider: plain}
            yield shown | self._working.says(updating(engine.ahead)) | self._larger.clear(session)
            started = time.perf_counter()
            request = state.request = Request(photograph, style, recipe)
            levels = level_strengths(recipe.strength, recipe.keep_levels, len(engine.prior.levels))
            how: dict[str, Any] = {"likeness": recipe.likeness, "cancel": cancel}
            restyled = restyle_faces(engine, photograph.faces, style.posterior(), [levels], **how)
            how = {"match_colours": recipe.match_colours, "scale": photograph.scale, "cancel": cancel}
            after = engine.call(restyled.pasted, photograph.image, **how)
            count = _count(photograph.faces)
            what = f"{count} face{'s' * (count > 1)}" if count else "The whole picture"
            state.text = text = f"{what} in {time.perf_counter() - started:.1f} s."
            yield self._working.says(text) | {
                self._slider: (photograph.image, after),
                self._python: python_code(steps_of(request)),
                self._shell: command_line(steps_of(request)),
            }
            # Of a face with a part made up, it would compare that.
            if (
                count and photograph.mask is None and (distances := restyled.identity(most=_MEASURED))
            ):  # in this thread: no batch waits for it
                state.text = f"{text} {_likeness(distances, count)}"
                yield self._working.says(state.text)

    def _photograph(
        self, state: _State, engine: Engine, photographs: Evidence, index: int, cancel: CancelToken
    ) -> Photograph:
        """The photo of this index, without what its mask covers."""
        mask = state.mask[1] if state.mask is not None and state.mask[0] == (photographs.sources, index) else None
        key = (photographs, index, mask)
        if state.photograph is None or state.photograph[0] != key:
            try:
                state.photograph = key, Photograph.of(engine, photographs, index, mask, cancel)
            except ValueError:  # the mask touches no face: the message is shown once
                state.mask = None
                raise
        return state.photograph[1]

    def _saved(self, kind: str, session: Session) -> Path | Generator[Updates, Any, Path | None]:
        return (self._export if kind == "style" else self._picture)(kind, session)

    def _export(self, kind: str, session: Session) -> Path:
        state = session.state(_State)
        if state.photograph is None:
            raise ValueError("There is nothing to save yet. Add a photo and a style.")
        (photographs, *_), photograph = state.photograph
        return write(kind, photograph, state.request, self._engines.get(photographs.prior), session)

    def _picture(self, kind: str, session: Session) -> Generator[Updates, Any, Path | None]:
        """The restyled photo, or the path to it. It is made for the first file."""
        state = session.state(_State)
        with (yield session.queued(TAB)) as cancel:  # a photo that is being restyled comes first
            request = state.to_save()
            if (result := state.result(kind, request)) is None:
                yield self._working.says("Making the file …", True)
                engine = self._engines.get(request.recipe.prior)
                result = yield from self._working.run(partial(make, kind, request, engine), cancel, engine, "faces")
                if result is None:
                    return None
                state.made[kind in ANIMATIONS] = request, result
        with (yield EXPORTS.request(session.id)):
            yield self._working.says("Writing the file …")
            (path,) = result.save(session.file(f"restyled.{kind}"))
            if state.request is request:  # else another one is being drawn
                yield self._working.says(state.text)
        return path

    def _large(self, session: Session) -> tuple[Engine, Picture]:
        """The restyled photo and the text of its file, to be enlarged."""
        state = session.state(_State)
        request, photograph = state.to_save(), state.to_save().photograph
        check_size(*(round(side / photograph.scale) for side in photograph.image.size))
        engine = self._engines.get(request.recipe.prior)

        def picture(cancel: CancelToken) -> tuple[Image.Image, dict[str, str]]:
            result = state.result("png", request) or make("png", request, engine, cancel=cancel)
            (frames,) = result.pictures.values()
            return frames[-1], result.metadata

        return engine, picture


def _count(images: Sequence[EvidenceImage]) -> int:
    """How many of them are faces: where none was found, the whole picture stands for one."""
    return sum(image.face is not None and image.face.placement != "whole" for image in images)


def _faces(photographs: Evidence) -> str:
    small = [(image.name, enlarge(image.face.image, 88)) for image in photographs.used[:24] if image.face is not None]
    faces = [
        f'<img src="{data_uri(face)}" alt="a face of {escape(name)}" width="44" height="44">' for name, face in small
    ]
    if not small:
        return ""
    found = _count(photographs.used)
    text = f"{found} face{'s' * (found != 1)} found" if found else "No face found: the whole picture is used"
    return f'<div class="faces">{"".join(faces)}<span>{text}</span></div>'


def _paintable(photograph: Photograph) -> str:
    """The photo, to paint over."""
    whole = photograph.read[0].picture
    source, how = uri_of(whole.preview), {"apply": "Remove this", "mask": photograph.mask}
    return _REMOVE + paintable(source, whole.size, index=0, name=whole.name, **how)


def _likeness(distances: list[float], faces: int) -> str:
    """Whether dlib's face descriptor takes each face that was compared for the person that it was."""
    farthest, where = max(distances), f" in the first {len(distances)} faces" * (len(distances) < faces)
    same = f"still sees the same {'people' if faces > 1 else 'person'}{where}."
    text = same if farthest < _SAME_PERSON else f"sees another person{where}. Less style keeps more of them."
    return f'<span title="Distance {farthest:.2f} by dlib, limit {_SAME_PERSON:g}">A check by computer {text}</span>'
