"""The Restyle tab: a photo of people, in the style of a few images."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency
from PIL import Image

from transflow_core.engine import Engine
from transflow_core.evidence import Evidence
from transflow_core.images import IMAGE_SUFFIXES, writes_mp4
from transflow_core.limits import MOST_PHOTOGRAPHS, Range
from transflow_core.recipes import Restyle as Recipe

from ..controls import code_pair, download, downloads, number_slider
from ..evidence_panel import EvidencePanel, drop_zone
from ..examples import PHOTOGRAPH
from ..painting import mask_of, paintable
from ..render import data_uri, picture, uri_of
from ..server.admission import CancelToken
from ..server.errors import warn
from ..server.events import Updates, on
from ..server.files import new_folder
from ..server.priors import Engines
from ..server.state import Session
from ..snippet import command_line, python_code
from .work import PERCENT, Photograph, Request, settings_of, steps_of, write, write_painted

__all__ = ["Restyle"]

TAB, PHOTOGRAPHS = "restyle", "photographs"
_DEFAULT = Recipe()
_EXPORTS = {
    "png": "Photo (PNG)",
    "strip": "Strip (PNG)",
    "webp": "Animation (WebP)",
    **({"mp4": "Video (MP4)"} if writes_mp4() else {}),
    "style": "Style (posterior)",
}
_HINT = (
    "<p class='hint'>Drop a photo of a person. Then choose a style below it: "
    "an example set, or a few images of your own.</p>"
)
# Faces that are compared with the photo: a third of a second each.
_MEASURED = 3
_SAME_PERSON = 0.6  # dlib's threshold

_PAINTED_JS = "element.addEventListener('painted', ({detail}) => trigger('edit', detail))"
_REMOVE = "<p class='hint'>Paint over glasses or a hand on a face. The model fills in this part. The rest stays.</p>"


@dataclass
class _State:
    """A visitor's last request, the photograph with the key it was made for, and the mask with the key of its photo."""

    request: Request | None = None
    photograph: tuple[Any, Photograph] | None = None
    mask: tuple[Any, Image.Image] | None = None


class Restyle:
    """Build the tab inside the current Blocks.

    Args:
        engines: the priors that the page serves.
        prior: the component with the name of this session's prior.
        follow: when the prior was changed or the tab was opened.
    """

    def __init__(self, engines: Engines, prior: Component, follow: Sequence[Dependency]) -> None:
        self._engines = engines
        with gr.Row():
            with gr.Column(scale=5, min_width=320):
                self._build_photograph()
                nothing = "No style yet. Choose a set above, or drop a few images."
                self._panel = EvidencePanel(
                    engines, prior, panel="style", title="Style", tab=TAB, follow=follow, nothing=nothing
                )
            with gr.Column(scale=7, min_width=320):
                self._build_result(engines.get(prior.value).prior.levels)
        self._python, self._shell = code_pair("restyle-")
        self._wire(prior, follow)

    def _build_photograph(self) -> None:
        with gr.Group(elem_id="restyle-photograph"):
            self._files, self._camera = drop_zone(
                "Photo: drop one here, or several",
                [*sorted(IMAGE_SUFFIXES), ".safetensors"],
                elem_id="restyle",
                height=130,
            )
            self._try = gr.Button("Try a sample photo (these people do not exist)", elem_id="restyle-try", size="sm")
        self._faces = gr.HTML("", elem_id="restyle-faces", elem_classes="status", label="Photos")

    def _build_result(self, levels: Sequence[Any]) -> None:
        self._which = gr.Radio([], label="Photo", visible=False, elem_id="restyle-which")
        self._hint = gr.HTML(_HINT, elem_id="restyle-hint", label="What to do")
        self._slider = gr.ImageSlider(
            label="Before and after",
            show_label=False,
            interactive=False,
            visible=False,
            max_height=620,
            buttons=["fullscreen"],
            elem_id="restyle-slider",
        )
        self._status = gr.HTML("", elem_id="restyle-status", elem_classes="status", label="Status")
        with gr.Row():
            self._strength = number_slider("Strength, %", PERCENT, 100, elem_id="restyle-strength", min_width=200)
            self._likeness = number_slider(
                "More like the style images, %",
                PERCENT,
                100 * _DEFAULT.likeness,
                elem_id="restyle-likeness",
                min_width=200,
            )
        with gr.Accordion("More", open=False, elem_id="restyle-more"):
            self._levels = number_slider(
                "Coarse levels to keep",
                Range(0, len(levels) - 1),
                0,
                info="Keeps light, shapes and hair of the photo. The style changes texture and fine colours.",
                elem_id="restyle-levels",
            )
            self._match_colours = gr.Checkbox(
                _DEFAULT.match_colours,
                label="Change the colours of the whole photo",
                elem_id="restyle-match-colours",
            )
        with gr.Accordion("Remove something", open=False, elem_id="restyle-remove"):
            self._paint = gr.HTML("", js_on_load=_PAINTED_JS, elem_id="restyle-paint", label="Remove something")
            download("Mask (PNG)", partial(self._export, "mask"), elem_id="restyle-get-mask", size="sm", min_width=120)
        self._strip = gr.HTML("", elem_id="restyle-strip", label="From 0 to 100 %")
        downloads(_EXPORTS, self._export, prefix="restyle")

    def _wire(self, prior: Component, follow: Sequence[Dependency]) -> None:
        numbers = [self._strength, self._likeness, self._levels, self._match_colours]
        read = [self._faces, self._which]
        changes = [
            *on(self._files.upload, self._add_files, [self._files, prior], [*read, self._files, *self._panel.outputs]),
            *on(self._camera.input, self._add_picture, [self._camera, prior], [*read, self._camera]),
            *on(self._try.click, self._use_sample, prior, read),
            *on(self._paint.edit, self._paint_over, (), (), event=True),
            *on(follow, self._follow, prior, read),
        ]
        sliders = [self._strength, self._likeness, self._levels]
        shown = [self._hint, self._slider, self._status, self._strip, self._paint, self._python, self._shell]
        inputs = [prior, self._which, *numbers]
        changed = [*changes, *self._panel.events, self._which.input, self._match_colours.input]
        on([*changed, *(slider.release for slider in sliders)], self._run, inputs, shown)
        on(follow, self._relevel, prior, self._levels)

    # Photographs ---------------------------------------------------------------------------------------------------

    def _add_files(self, session: Session, files: list[str] | None, prior: str) -> Iterator[Updates]:
        yield {self._files: None}
        # A saved posterior is a style, in whichever drop zone it lands.
        styles = [file for file in files or [] if Path(file).suffix.lower() == ".safetensors"]
        photographs = [file for file in files or [] if file not in styles]
        if styles:
            yield from self._panel.add(session, styles, prior)
        if photographs:
            yield from self._read(session, photographs, prior)

    def _add_picture(self, session: Session, file: str | None, prior: str) -> Iterator[Updates]:
        yield {self._camera: None}
        if file is not None:
            snapshot = new_folder() / "picture"
            shutil.copyfile(file, snapshot)
            yield from self._read(session, [str(snapshot)], prior)

    def _use_sample(self, session: Session, prior: str) -> Iterator[Updates]:
        yield from self._read(session, [PHOTOGRAPH], prior)

    def _paint_over(self, session: Session, data: dict) -> None:
        """The mask is for the photo that is shown."""
        state, mask = session.state(_State), mask_of(data.get("mask"))
        if state.photograph is not None:
            photographs, index, _ = state.photograph[0]
            state.mask = ((photographs.sources, index), mask) if mask is not None else None

    def _follow(self, session: Session, prior: str) -> Iterator[Updates]:
        """For another prior, the photos are read again."""
        old = session.evidence.get(PHOTOGRAPHS)
        if session.tab == TAB and old is not None and old.prior != prior:
            yield from self._read(session, list(dict.fromkeys(source.file for source in old.sources)), prior)

    def _read(self, session: Session, sources: list[Any], prior: str) -> Iterator[Updates]:
        """New photos replace all earlier ones. Every face of each is read."""
        with session.queued(PHOTOGRAPHS, newest=True) as cancel:
            if len(sources) > MOST_PHOTOGRAPHS:
                extra = len(sources) - MOST_PHOTOGRAPHS
                warn(f"At most {MOST_PHOTOGRAPHS} photos at a time. The last {extra} were not read.")
            yield {self._faces: "Looking for faces …"}
            engine = self._engines.get(prior)
            evidence = engine.read(sources[:MOST_PHOTOGRAPHS], onto=Evidence(prior=prior), faces="all", cancel=cancel)
            session.evidence[PHOTOGRAPHS] = evidence
            for image in evidence:
                if image.problem:
                    warn(f"{image.name}: {image.problem}")
            names = [image.name for image in {image.source.file: image for image in evidence.used}.values()]
            yield {
                self._faces: _faces(evidence),
                self._which: gr.update(
                    choices=[(name, index) for index, name in enumerate(names)], value=0, visible=len(names) > 1
                ),
            }

    def _relevel(self, session: Session, prior: str) -> Updates:
        return {self._levels: gr.update(maximum=len(self._engines.get(prior).prior.levels) - 1)}

    # The result ----------------------------------------------------------------------------------------------------

    def _run(self, session: Session, prior: str, which: Any, *numbers: Any) -> Iterator[Updates]:
        """The restyled photo first; then the strip, and whether the faces still look like the same people."""
        photographs, style = session.evidence.get(PHOTOGRAPHS), self._panel.evidence(session)
        if photographs is None or not photographs.used or photographs.prior != prior:
            return
        state = session.state(_State)
        with session.queued(TAB, newest=True) as cancel:
            engine, before = self._engines.get(prior), state.photograph
            photograph = self._photograph(state, engine, photographs, int(which or 0), cancel)
            shown: Updates = {self._hint: gr.update(visible=False)}
            if state.photograph is not before:  # else the user may be painting now
                shown[self._paint] = _paintable(photograph)
            if not style.ready or style.remaining or style.prior != prior:
                state.request = None
                text = "Now choose a style: an example set, or images of your own." if not style.remaining else ""
                yield shown | {
                    self._slider: gr.update(value=(photograph.image, photograph.image), visible=True),
                    self._status: text,
                    self._strip: "",
                }
                return
            started = time.perf_counter()
            settings = settings_of(*numbers)
            request = state.request = Request(photograph, style.posterior(), style, prior, settings)
            restyled = request.restyled(engine, [request.strength], cancel)
            after = engine.call(
                restyled.pasted,
                photograph.image,
                match_colours=settings.match_colours,
                scale=photograph.scale,
                cancel=cancel,
            )
            count = len(photograph.faces)
            text = f"{count} face{'s' * (count > 1)} in {time.perf_counter() - started:.1f} s."
            yield shown | {
                self._slider: gr.update(value=(photograph.image, after), visible=True),
                self._status: text,
                self._python: python_code(steps_of(request)),
                self._shell: command_line(steps_of(request)),
            }
            strip = request.strip(engine, cancel)
            yield {self._strip: picture(strip, "the largest face, from the photo to the full style")}
            distances = restyled.identity(most=_MEASURED)  # in this thread: no batch waits for it
            yield {self._status: f"{text} {_likeness(distances)}"}

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

    def _export(self, kind: str, session: Session) -> Path:
        state = session.state(_State)
        request, photographs = state.request, session.evidence.get(PHOTOGRAPHS)
        if state.photograph is not None and photographs is not None and (request is None or kind == "mask"):
            return write_painted(kind, state.photograph[1], self._engines.get(photographs.prior), session)
        if request is None:
            raise ValueError("There is nothing to save yet. Add a photo and a style.")
        return write(kind, request, self._engines.get(request.prior), session)


def _faces(evidence: Evidence) -> str:
    faces = [
        f'<img src="{data_uri(image.face.image)}" alt="a face of {escape(image.name)}" width="44" height="44">'
        for image in evidence.used[:24]
        if image.face is not None
    ]
    found = sum(image.face is not None and image.face.placement != "whole" for image in evidence.used)
    text = f"{found} face{'s' * (found != 1)} found" if found else "No face found: the whole picture is used"
    return f'<div class="faces">{"".join(faces)}<span>{text}</span></div>'


def _paintable(photograph: Photograph) -> str:
    """The photo, to paint over."""
    picture, name = photograph.read[0].picture, photograph.name
    source = uri_of(picture.preview)
    return _REMOVE + paintable(source, picture.size, index=0, name=name, apply="Remove this", mask=photograph.mask)


def _likeness(distances: list[float]) -> str:
    """Whether dlib's face descriptor takes the faces for the same people."""
    mean = sum(distances) / len(distances)
    who = "the same person" if mean < _SAME_PERSON else "another person"
    return f"To a face descriptor (dlib), this is {who}: distance {mean:.2f}, limit {_SAME_PERSON:g}."
