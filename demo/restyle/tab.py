"""The Restyle tab: a photograph of people, in the style of a few images."""

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
from transflow_core.images import IMAGE_SUFFIXES, writes_mp4
from transflow_core.intake import Intake
from transflow_core.limits import MOST_PHOTOGRAPHS
from transflow_core.recipes import Restyle as Recipe

from ..engines import Engines
from ..errors import warn
from ..events import on
from ..examples import PHOTOGRAPH
from ..painting import mask_of, paintable
from ..panel import EvidencePanel
from ..queues import Stop
from ..render import data_uri, picture, uri_of
from ..session import Session, new_folder
from ..widgets import code, download, drop_zone
from .snippet import command_line, python_code
from .work import Asked, Sitting, settings_of, write, write_painted

__all__ = ["Restyle"]

PLACE, PHOTOGRAPHS = "restyle", "photographs"
_DEFAULT = Recipe()
_EXPORTS = {
    "png": "Photograph (PNG)",
    "strip": "Strip (PNG)",
    "webp": "Animation (WebP)",
    **({"mp4": "Video (MP4)"} if writes_mp4() else {}),
    "style": "Style (posterior)",
}
_HINT = (
    "<p class='hint'>Drop a photograph of a person, and choose a style below it: "
    "an example set, or a few images of your own.</p>"
)
# Faces whose likeness to what they were is measured: a third of a second each.
_MEASURED = 3
_SAME_PERSON = 0.6  # dlib's threshold

_PAINTED_JS = "element.addEventListener('painted', ({detail}) => trigger('edit', detail))"
_AWAY = "<p class='hint'>Paint over glasses or a hand on a face: it is drawn anew, and the rest stays.</p>"

Shown = dict[Component, Any]


@dataclass
class _Kept:
    """What a visitor's tab shows, the photograph that it was last made of, and what is painted away of which."""

    asked: Asked | None = None
    sitting: tuple[Any, Sitting] | None = None
    mask: tuple[Any, Image.Image] | None = None


class Restyle:
    """Build the tab inside the current Blocks.

    Args:
        engines: the priors that the page serves.
        prior: the component with the name of this session's prior.
        follow: when the prior was changed or the tab came into view.
    """

    def __init__(self, engines: Engines, prior: Component, follow: Sequence[Dependency]) -> None:
        self._engines = engines
        with gr.Row():
            with gr.Column(scale=5, min_width=320):
                self._build_photograph()
                nothing = "No style yet: choose a set above, or drop a few images."
                self._panel = EvidencePanel(
                    engines, prior, place="style", title="Style", tab=PLACE, follow=follow, nothing=nothing
                )
            with gr.Column(scale=7, min_width=320):
                self._build_result(engines.get(prior.value).prior.levels)
        with gr.Accordion("The same as code", open=False, elem_id="restyle-code"):
            self._python = code("python", label="Python", elem_id="restyle-python", wrap_lines=True)
            self._shell = code("shell", label="Command line", elem_id="restyle-shell", wrap_lines=True)
        self._wire(prior, follow)

    def _build_photograph(self) -> None:
        with gr.Group(elem_id="restyle-photograph"):
            self._files, self._camera = drop_zone(
                "Photograph: drop one here, or several",
                [*sorted(IMAGE_SUFFIXES), ".safetensors"],
                elem_id="restyle",
                height=130,
            )
            self._try = gr.Button(
                "None at hand? Take this one: people whom the model made up", elem_id="restyle-try", size="sm"
            )
        self._given = gr.HTML("", elem_id="restyle-given", elem_classes="status", label="Photographs")

    def _build_result(self, levels: Sequence[Any]) -> None:
        self._which = gr.Radio([], label="Photograph", visible=False, elem_id="restyle-which")
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
        self._status = gr.HTML("", elem_id="restyle-status", elem_classes="status", label="What was done")
        with gr.Row():
            self._strength = _slider("Strength, %", 100, "restyle-strength")
            self._likeness = _slider("More like the examples, %", 100 * _DEFAULT.likeness, "restyle-likeness")
        with gr.Accordion("More", open=False, elem_id="restyle-more"):
            self._levels = gr.Slider(
                0,
                len(levels) - 1,
                0,
                step=1,
                label="Coarse levels that stay",
                info="Their light, shapes and hair stay the photograph's: the style gives texture and finer colours.",
                elem_id="restyle-levels",
            )
            self._toned = gr.Checkbox(
                _DEFAULT.match_colours,
                label="The rest of the photograph takes the colours too",
                elem_id="restyle-toned",
            )
        with gr.Accordion("Paint something away", open=False, elem_id="restyle-away"):
            self._paint = gr.HTML("", js_on_load=_PAINTED_JS, elem_id="restyle-paint", label="Paint something away")
            download("Mask (PNG)", partial(self._export, "mask"), elem_id="restyle-get-mask", size="sm", min_width=120)
        self._strip = gr.HTML("", elem_id="restyle-strip", label="From 0 to 100 %")
        with gr.Row(elem_id="restyle-exports"):
            for kind, label in _EXPORTS.items():
                download(label, partial(self._export, kind), elem_id=f"restyle-get-{kind}", size="sm", min_width=120)

    def _wire(self, prior: Component, follow: Sequence[Dependency]) -> None:
        numbers = [self._strength, self._likeness, self._levels, self._toned]
        given = [self._given, self._which]
        taken = [
            *on(
                self._files.upload, self._take_files, [self._files, prior], [*given, self._files, *self._panel.outputs]
            ),
            *on(self._camera.input, self._take_picture, [self._camera, prior], [*given, self._camera]),
            *on(self._try.click, self._take_example, prior, given),
            *on(self._paint.edit, self._paint_over, (), (), event=True),
            *on(follow, self._follow, prior, given),
        ]
        sliders = [self._strength, self._likeness, self._levels]
        shown = [self._hint, self._slider, self._status, self._strip, self._paint, self._python, self._shell]
        asked = [prior, self._which, *numbers]
        changed = [*taken, *self._panel.events, self._which.input, self._toned.input]
        on([*changed, *(slider.release for slider in sliders)], self._run, asked, shown)
        on(follow, self._relevel, prior, self._levels)

    # Photographs ---------------------------------------------------------------------------------------------------

    def _take_files(self, session: Session, files: list[str] | None, prior: str) -> Iterator[Shown]:
        yield {self._files: None}
        # A posterior is a style, wherever on the page it is dropped.
        styles = [file for file in files or [] if Path(file).suffix.lower() == ".safetensors"]
        photographs = [file for file in files or [] if file not in styles]
        if styles:
            yield from self._panel.add(session, styles, prior)
        if photographs:
            yield from self._read(session, photographs, prior)

    def _take_picture(self, session: Session, file: str | None, prior: str) -> Iterator[Shown]:
        yield {self._camera: None}
        if file is not None:
            snapshot = new_folder() / "picture"
            shutil.copyfile(file, snapshot)
            yield from self._read(session, [str(snapshot)], prior)

    def _take_example(self, session: Session, prior: str) -> Iterator[Shown]:
        yield from self._read(session, [PHOTOGRAPH], prior)

    def _paint_over(self, session: Session, data: dict) -> None:
        """What was painted is away from now on, of the photograph that is shown."""
        kept, mask = session.of_kind(_Kept), mask_of(data.get("mask"))
        if kept.sitting is not None:
            photographs, index, _ = kept.sitting[0]
            kept.mask = ((photographs.sources, index), mask) if mask is not None else None

    def _follow(self, session: Session, prior: str) -> Iterator[Shown]:
        """Under another prior, the photographs are read anew."""
        old = session.intakes.get(PHOTOGRAPHS)
        if session.tab == PLACE and old is not None and old.prior != prior:
            yield from self._read(session, list(dict.fromkeys(old.sources)), prior)

    def _read(self, session: Session, sources: list[Any], prior: str) -> Iterator[Shown]:
        """Photographs take the place of those before: every face of each."""
        with session.turn(PHOTOGRAPHS, newest=True) as stop:
            if len(sources) > MOST_PHOTOGRAPHS:
                warn(
                    f"Only {MOST_PHOTOGRAPHS} photographs fit: the last {len(sources) - MOST_PHOTOGRAPHS} are left out."
                )
            yield {self._given: "Looking for faces …"}
            engine = self._engines.get(prior)
            intake = engine.intake(sources[:MOST_PHOTOGRAPHS], onto=Intake(prior), faces="all", cancel=stop)
            session.intakes[PHOTOGRAPHS] = intake
            for image in intake.evidence:
                if image.problem:
                    warn(f"{image.name}: {image.problem}")
            names = [image.name for image in {image.source: image for image in intake.used}.values()]
            yield {
                self._given: _faces(intake),
                self._which: gr.update(
                    choices=[(name, index) for index, name in enumerate(names)], value=0, visible=len(names) > 1
                ),
            }

    def _relevel(self, session: Session, prior: str) -> Shown:
        return {self._levels: gr.update(maximum=len(self._engines.get(prior).prior.levels) - 1)}

    # The result ----------------------------------------------------------------------------------------------------

    def _run(self, session: Session, prior: str, which: Any, *numbers: Any) -> Iterator[Shown]:
        """The photograph first, since it is what was asked for; then the strip, and what became of the likeness."""
        photographs, style = session.intakes.get(PHOTOGRAPHS), self._panel.intake(session)
        if photographs is None or not photographs.used or photographs.prior != prior:
            return
        kept = session.of_kind(_Kept)
        with session.turn(PLACE, newest=True) as stop:
            engine, before = self._engines.get(prior), kept.sitting
            sitting = self._sitting(kept, engine, photographs, int(which or 0), stop)
            shown: Shown = {self._hint: gr.update(visible=False)}
            if kept.sitting is not before:  # else a hand may be painting just now
                shown[self._paint] = _paintable(sitting)
            if not style.ready or style.left or style.prior != prior:
                kept.asked = None
                words = "Now choose a style: an example set, or images of your own." if not style.left else ""
                yield shown | {
                    self._slider: gr.update(value=(sitting.image, sitting.image), visible=True),
                    self._status: words,
                    self._strip: "",
                }
                return
            started = time.perf_counter()
            settings = settings_of(*numbers)
            asked = kept.asked = Asked(sitting, style.posterior(), style, prior, settings)
            restyled = asked.restyled(engine, [asked.strength], stop)
            after = engine.call(
                restyled.pasted, sitting.image, match_colours=settings.match_colours, scale=sitting.scale, cancel=stop
            )
            count = len(sitting.faces)
            words = f"{count} face{'s' * (count > 1)} in {time.perf_counter() - started:.1f} s."
            yield shown | {
                self._slider: gr.update(value=(sitting.image, after), visible=True),
                self._status: words,
                self._python: python_code(asked),
                self._shell: command_line(asked),
            }
            strip = asked.strip(engine, stop)
            yield {self._strip: picture(strip, "the largest face, from the photograph to all of the style")}
            distances = restyled.identity(most=_MEASURED)  # in this thread: nobody's batch waits for it
            yield {self._status: f"{words} {_likeness(distances)}"}

    def _sitting(self, kept: _Kept, engine: Engine, photographs: Intake, index: int, stop: Stop) -> Sitting:
        """The photograph that is meant, without what was painted away of it."""
        mask = kept.mask[1] if kept.mask is not None and kept.mask[0] == (photographs.sources, index) else None
        asked = (photographs, index, mask)
        if kept.sitting is None or kept.sitting[0] != asked:
            try:
                kept.sitting = asked, Sitting.of(engine, photographs, index, mask, stop)
            except ValueError:  # it touches no face, which is said once
                kept.mask = None
                raise
        return kept.sitting[1]

    def _export(self, kind: str, session: Session) -> Path:
        kept = session.of_kind(_Kept)
        asked, photographs = kept.asked, session.intakes.get(PHOTOGRAPHS)
        if kept.sitting is not None and photographs is not None and (asked is None or kind == "mask"):
            return write_painted(kind, kept.sitting[1], self._engines.get(photographs.prior), session)
        if asked is None:
            raise ValueError("There is nothing to save yet. Give a photograph and a style.")
        return write(kind, asked, self._engines.get(asked.prior), session)


def _slider(label: str, value: float, elem_id: str) -> gr.Slider:
    return gr.Slider(0, 100, value, step=1, label=label, elem_id=elem_id, min_width=200)


def _faces(intake: Intake) -> str:
    faces = [
        f'<img src="{data_uri(image.face.image)}" alt="a face of {escape(image.name)}" width="44" height="44">'
        for image in intake.used[:24]
        if image.face is not None
    ]
    found = sum(image.face is not None and image.face.placement != "whole" for image in intake.used)
    words = f"{found} face{'s' * (found != 1)} found" if found else "No face found: taken whole"
    return f'<div class="faces">{"".join(faces)}<span>{words}</span></div>'


def _paintable(sitting: Sitting) -> str:
    """The photograph, to paint over."""
    picture = sitting.given[0].picture
    source = uri_of(picture.preview)
    return _AWAY + paintable(source, picture.size, index=0, name=sitting.name, apply="Paint it away", mask=sitting.mask)


def _likeness(distances: list[float]) -> str:
    """What dlib's descriptor says of whether it is still the same person."""
    mean = sum(distances) / len(distances)
    word = "is taken for the same person" if mean < _SAME_PERSON else "is taken for another person"
    return f"By dlib's descriptor the face {word}: distance {mean:.2f}, where {_SAME_PERSON:g} is the border."
