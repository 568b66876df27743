"""The Studio tab: evidence, sliders, and samples that follow them."""

from __future__ import annotations

import contextlib
import io
import itertools
import math
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import parse_qsl, urlencode

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency
from PIL import Image, ImageOps

from transflow_core.engine import Engine
from transflow_core.evidence import Evidence
from transflow_core.images import to_pil
from transflow_core.images.output import save_png
from transflow_core.limits import MOST_IMAGES, Range, choice
from transflow_core.posterior.methods import position_of
from transflow_core.recipes import DEFAULT_PRIOR, Conditioning, Method, Sample, to_text, within
from transflow_core.views import to_link

from ..controls import (
    MethodControls,
    Model,
    controls,
    description_of,
    integer,
    log_slider,
    on_download,
    on_slider,
    recommended,
    relay,
    slider,
    status_line,
)
from ..evidence_panel import OWN, EvidencePanel, own_photos
from ..examples import EXAMPLES, title_of
from ..render import GAP, data_uri, images_of, sheet_picture, updating, uri_of
from ..server.admission import CancelToken
from ..server.events import Updates, new_signal, on
from ..server.state import Session
from ..share import card
from ..static import FOLDER, static
from .larger import LABEL, OFF, Larger, Picture, can_enlarge
from .morph import Morph
from .preview_strip import Strip, values_at
from .studio_moves import Moves
from .studio_results import (
    DEFAULT,
    PAGE,
    QUEUE,
    SHEET_SIDE,
    Request,
    Result,
    Results,
    View,
    draw,
    recipe_of,
    result_of,
    sheet_file,
    sources,
    zip_file,
)

OPENING, NOTHING = "paintings", "none"
"""The example set that the page opens with; its value in an address without images."""
_MOST_LEVELS, _MOST_STATES = 8, 10
_STRIP, _LARGE, _TAB = "strip", "large", "studio"
_FACE = "face"
"""In an address: which sample is large, from 1, where it is another than the page would choose."""
_FIRST = 13  # the sample of `static/opening.jpg` that is large: the first of `Result.best`
_ENLARGES = f'<button type="button" class="needs" data-do="larger">{LABEL}</button>'
_NO_EVIDENCE = Evidence()  # the very same one, so that requests are equal
_IN_NO_LINK = "Your photos are not in a link. Share the picture, or the set as a file. The file contains your photos."


class Studio:
    """Build the tab inside the current Blocks.

    Args:
        model: its model.
        arrived: when the page was opened, and `Session.query` is the query of its address.
        panel: the side panel for researchers, for most of the controls.
    """

    def __init__(self, model: Model, arrived: Sequence[Dependency], panel: gr.Column) -> None:
        self._engines, self._prior, self._first_prior = model.engines, model.prior, str(model.prior.value)
        with gr.Row(elem_id="studio"):
            # The samples first: few presses of Tab reach λ, and a phone shows them first. On a desktop they are right.
            with gr.Column(scale=6, min_width=320, elem_id="samples"):
                self._build_sheet()
                self._moves = Moves()
                with gr.Row(elem_id="steer"):
                    texts = [f"{values_at('local', at / 200)['lam_ratio']:g}" for at in range(201)]
                    ends = {"name": "closer to my photos", "far": "newer", "sign": "λ/m ", "texts": texts}
                    at = position_of(DEFAULT)
                    self._closeness = slider(at, Range(0, 1), step=0.005, elem_id="closeness", min_width=200, **ends)
                    self._dice = gr.Button("↻ New faces", elem_id="dice", size="sm", min_width=120, scale=0)
                self._plain = status_line("", elem_id="faces-status")
                # Undo, pictures of the last states, and "Share". `select` returns to one of them.
                script = f"const withPhotos = {static('photos.js')}, copyLink = {static('copy.js')};"
                self._history = gr.HTML(
                    None,
                    html_template=static("history.html"),
                    js_on_load=script + static("history.js"),
                    elem_id="history",
                    label="The last states",
                )
                self._morph = Morph()
                self._moves.build_sliders()  # last: it comes and goes with the set
                # The menu clicks it.
                self._larger = Larger(self._large_face, "face", self._morph.working, visible="hidden")
            with gr.Column(scale=5, min_width=320, elem_id="your-images"):
                gr.HTML(static("drawer.html"), js_on_load=static("drawer.js"), elem_id="drawer", label="Your images")
                self._panel = EvidencePanel(model, panel="evidence", title="+ Add photos", tab=_TAB, opening=OPENING)
        with panel:
            self._status = status_line("", elem_id="samples-status")
            self._statuses = [self._plain, self._status]
            self._lam = log_slider(_lam(DEFAULT), name="λ/m", elem_id="lam")
            self._method = MethodControls("method")
            self._build_controls(self._engines.get(self._first_prior))
        with gr.Column(elem_id="lab-results"):  # too wide for the panel: below the samples while it is open
            self._results = Results(_most_levels(self._engines.get(self._first_prior)))
            drawing: dict[str, Component] = {"temperature": self._temperature, "n": self._n, "seed": self._seed}
            drawing |= self._results.inputs | self._moves.inputs
            more = controls(PAGE, {*drawing, "steps", *Method.model_fields, *Conditioning.model_fields})
        self._drawing, self._more = drawing | more, list(more.values())
        self._wire(model, arrived)

    def _build_sheet(self) -> None:
        """The samples as one picture. A page without an address shows one of its first samples until they are drawn."""
        self._sheet = gr.HTML(
            _opening() if self._first_prior == DEFAULT_PRIOR else None,
            html_template=Template(static("sheet.html")).substitute(larger=_ENLARGES if can_enlarge() else OFF),
            js_on_load=static("sprite.js") + static("sheet.js"),
            elem_id="sheet",
            label="Samples",
        )
        self._sample, self._strip, self._card = relay("sample"), relay("strip"), relay("card")

    def _build_controls(self, engine: Engine) -> None:
        with gr.Row(elem_id="draws"):
            bounds = within(PAGE, "temperature")
            how = {"name": "Temperature", "elem_id": "temperature", "min_width": 140}
            self._temperature = slider(DEFAULT.temperature, bounds, step=0.05, **how)
            # Not a slider: Gradio's slider has no event for a number that was typed.
            self._n = integer(DEFAULT.n, within(PAGE, "n"), label="Samples", elem_id="number", min_width=90)
            self._seed = integer(DEFAULT.seed, within(PAGE, "seed"), label="Seed", elem_id="seed", min_width=110)
            self._reset = gr.Button("Reset all", elem_id="reset", size="sm", min_width=90)
        with gr.Accordion("Advanced: one λ/m for each latent level", open=False):
            text = "Coarse levels hold the pose and the shape of the face. Fine levels hold texture."
            gr.Markdown(text, elem_classes="status")
            self._by_level = gr.Checkbox(False, label="Use these instead of the slider above", elem_id="by-level")
            self._levels = [
                log_slider(_lam(DEFAULT), name=name, elem_id=f"lam-{i}", visible=bool(name))
                for i, name in enumerate(_level_names(engine))
            ]

    def _wire(self, model: Model, arrived: Sequence[Dependency]) -> None:
        prior = model.prior
        main, lams = list(self._drawing.values()), [self._lam, *self._levels]
        levels = [self._by_level, *self._levels]
        self._inputs = [self._closeness, *main, *self._method.inputs, self._lam, *levels]
        inputs, along = [prior, *self._inputs[1:]], [prior, *self._inputs]
        shown = [self._sheet, self._sample, *self._statuses, self._history]
        shown += [*self._results.outputs, *self._morph.outputs]
        self._method.wire([self._lam], [self._by_level.input, *(lam.input for lam in self._levels)])
        numbers, others = [*lams, *self._method.sliders], [self._results.inputs["style_levels"], self._temperature]
        sliders = [*numbers, *others, self._moves.along]
        moved = [one.input for one in sliders]  # type: ignore[attr-defined]
        seen = [self._sheet, *self._statuses]
        for events, front in ((moved, False), (self._closeness.input, True)):
            on(events, partial(self._preview, front), along, seen, trigger_mode="always_last")
        large = [self._sample, self._history]
        on(self._sheet.expand, self._enlarge, (), large, event=True)
        on(self._larger.made, partial(self._enlarge, data={}), (), large)
        on(self._history.download, self._share, (), self._card, event=True)
        on_download(self._sheet.download, _file, event=True, elem_id="get-files")
        # A user who moves λ/m, or that of a level, chooses it.
        on(self._lam.input, None, (), self._by_level, js="() => false")
        on([lam.input for lam in self._levels], None, (), self._by_level, js="() => true")
        method = [*self._method.outputs, *levels, self._closeness]
        own = [*method, *self._moves.inputs.values()]
        everything = [*self._panel.outputs, *main, *method]
        set_, drawn = new_signal(), new_signal()
        on(arrived, self._open, prior, everything, signals=set_)
        on(self._history.select, self._restore, prior, [prior, *everything], event=True, signals=set_)
        # Events of the user, and signals. A `change` comes while an answer is being set as well: half of it was drawn.
        released = [one.release for one in (*others, *self._moves.inputs.values())]  # type: ignore[attr-defined]
        typed = [one.input for one in (self._seed, self._n, *self._more)]  # type: ignore[attr-defined]
        on([set_.change, *released, *typed, *self._results.events], self._refresh, inputs, shown, signals=drawn)
        numbered = [one.release for one in self._method.sliders]  # type: ignore[attr-defined]
        for events, what, outputs in (
            (self._closeness.release, self._move, method),
            ([self._by_level.input, *numbered], self._by_hand, method),
            (self._lam.release, partial(self._by_hand, by_level=False), method),
            ([lam.release for lam in self._levels], partial(self._by_hand, by_level=True), method),
            (self._method.kind.input, self._pick, method),
            (self._method.auto.input, self._choose, own),
            (self._panel.changed, partial(self._choose, changed=True), own),
            (self._dice.click, self._roll, [self._seed, self._moves.near]),
            (self._reset.click, lambda session, prior, _: self._set(DEFAULT, True, session, prior), [*main, *method]),
        ):
            refresh = partial(self._set_and_refresh, what)
            on(events, refresh, along, [*outputs, *shown], signals=drawn)
        on(drawn.change, self._fill_strip, inputs, self._strip)
        on(self._panel.steps, self._draw_early, inputs, seen)
        unfolded = on(self._moves.panel.expand, self._moves.open)
        on([drawn.change, *unfolded], self._fill_moves, inputs, self._moves.outputs)
        for key, tab in self._results.tabs.items():
            on(tab.select, partial(self._open_tab, key), inputs, shown)
        on(model.changed, self._relevel, prior, [*self._levels, self._results.inputs["style_levels"]])

    # Controls ----------------------------------------------------------------------------------------------------

    def _request(self, session: Session, prior: str, values: Sequence[Any]) -> tuple[Request, Engine]:
        """The request of the controls. Images that are not yet read for a new prior are no evidence."""
        engine, evidence = self._engines.get(prior), self._panel.evidence(session)
        ready = evidence.prior == prior and (evidence.saved is not None or len(evidence))
        own, methods = len(self._drawing), len(self._method.inputs)
        drawing, method, (lam, by_level, *levels) = values[:own], values[own : own + methods], values[own + methods :]
        ratio = tuple(levels[: len(engine.prior.levels)]) if by_level else lam
        draws = dict(zip(self._drawing, drawing, strict=True))
        draws |= {name: str(draws[name]).split(",") if draws[name] else None for name in self._moves.inputs}
        recipe = recipe_of({"prior": prior, **draws, **dict(self._method.read(method, ratio))})
        return Request(evidence if ready else _NO_EVIDENCE, recipe, bool(method[0]), session.call), engine

    def _set(self, recipe: Sample, auto: bool, session: Session, prior: str) -> Updates:
        """The controls at a recipe. With "choose for me", the method is that for the evidence of now."""
        shown: Updates = {one: getattr(recipe, name) for name, one in self._drawing.items()}
        shown |= {one: to_text(getattr(recipe, name) or "") for name, one in self._moves.inputs.items()}
        chosen = self._chosen(session, prior) if auto else self._at(recipe.choices)
        return shown | chosen

    def _at(self, method: Method, reason: str | None = None, m: float | None = None) -> Updates:
        """The controls at a method, see `MethodControls.shown`."""
        ratio = method.lam_ratio
        levels = ratio if isinstance(ratio, tuple) else (_lam(method),) * len(self._levels)
        shown = dict(zip(self._levels, map(on_slider, levels), strict=False)) | self._position(method)
        return self._method.shown(method, reason, m) | shown | {self._by_level: isinstance(ratio, tuple)}

    def _position(self, method: Method) -> Updates:
        """The slider in front at a method, with its λ/m."""
        ratio = method.lam_ratio
        text = "by level" if isinstance(ratio, tuple) else f"{ratio or 0.0:.3g}"
        return {self._closeness: gr.update(value=position_of(method), text=text)}

    def _set_and_refresh(
        self, what: Callable[..., Updates | None], session: Session, prior: str, *values: Any
    ) -> Iterator[Updates]:
        """Set some controls, and refresh as if they had been so, in one answer: a second event takes 0.1 s more.

        `what(session, prior, given)` says how, where `given` has the value of each control. None: there is no need.
        """
        given = dict(zip(self._inputs, values, strict=True))
        if (updates := what(session, prior, given)) is None:
            return
        after = _values(given, updates)  # before Gradio takes them out of the updates
        yield updates
        yield from self._refresh(session, prior, *after)

    def _move(self, session: Session, prior: str, given: dict[Component, Any]) -> Updates:
        """The slider in front was released: λ/m and likeness follow it."""
        kind = given[self._method.kind]
        there = values_at(kind, given[self._closeness], self._panel.evidence(session))
        moved: Updates = {self._method.auto: False, self._by_level: False}
        if "likeness" in there:
            moved[self._method.likeness] = there["likeness"]
        moved |= dict.fromkeys([self._lam, *self._levels], on_slider(there["lam_ratio"]))
        moved[self._lam] = gr.update(value=moved[self._lam], advised=kind == "posterior")
        return moved | {self._closeness: gr.update(text=f"{there['lam_ratio']:g}")}

    def _by_hand(
        self, session: Session, prior: str, given: dict[Component, Any], by_level: bool | None = None
    ) -> Updates:
        """A control of the method was moved: the slider in front follows it, and those of the levels λ/m itself.

        The slider of λ/m shows the paper's advice only for the paper's method, and where it decides λ.
        """
        own = given[self._by_level] if by_level is None else by_level
        advised = given[self._method.kind] == "posterior" and not own
        moved: Updates = {self._method.auto: False, self._by_level: own, self._lam: gr.update(advised=advised)}
        if by_level is False:
            moved |= dict.fromkeys(self._levels, given[self._lam])
        return self._placed(session, prior, given, moved)

    def _pick(self, session: Session, prior: str, given: dict[Component, Any]) -> Updates:
        """A method was picked."""
        return self._placed(session, prior, given, self._method.picked(session, given[self._method.kind]))

    def _placed(self, session: Session, prior: str, given: dict[Component, Any], updates: Updates) -> Updates:
        """These updates, and the slider in front at the method that they make."""
        return updates | self._position(self._request(session, prior, _values(given, updates))[0].recipe)

    def _roll(self, session: Session, prior: str, given: dict[Component, Any]) -> Updates:
        return {self._seed: random.randrange(10_000), self._moves.near: ""}

    def _chosen(self, session: Session, prior: str) -> Updates:
        """The controls at the method that suits the evidence, or at the default while there is none."""
        evidence = self._panel.evidence(session)
        posterior = evidence.posterior() if evidence.ready and evidence.prior == prior else None
        return self._at(*recommended(posterior, self._engines.get(prior)), posterior and posterior.m)

    def _choose(
        self, session: Session, prior: str, given: dict[Component, Any], changed: bool = False
    ) -> Updates | None:
        """New evidence (`changed`), or "choose for me" was turned on: the method follows the evidence.

        None if the evidence changes again, which comes here too, or the page is still being opened.
        """
        evidence, view = self._panel.evidence(session), session.state(View)
        if self._opening(session) or session.busy(self._panel.panel):
            return None
        if changed and view.settled is evidence:
            return {}  # it is the same, and the user may have chosen a method since
        view.settled = evidence
        before, own = view.request, {}
        # A sample and directions of other images.
        if before is not None and _latents(before.evidence) != _latents(evidence):
            own = dict.fromkeys(self._moves.inputs.values(), "")
        if given[self._method.auto]:
            return own | self._chosen(session, prior)
        if not evidence.ready:
            return own
        if before is not None and before.recipe.method == "local" and _single(before.evidence) != _single(evidence):
            there = values_at("local", position_of(before.recipe), evidence)  # the slider in front stays where it is
            return own | self._at(before.recipe.choices.replace(**there))
        return own | self._method.limited(evidence.posterior().m)

    def _opening(self, session: Session) -> bool:
        """Whether the page is still being opened, which makes everything, with the settings of its address."""
        view = session.state(View)
        return view.opening or (view.request is None and not self._panel.evidence(session).prior)

    def _relevel(self, session: Session, prior: str) -> Updates:
        """Another prior may have other levels: show as many sliders, with their names."""
        names = _level_names(self._engines.get(prior))
        shown: Updates = {
            one: gr.update(name=name, visible=bool(name)) for one, name in zip(self._levels, names, strict=True)
        }
        most = _most_levels(self._engines.get(prior))
        return shown | {self._results.inputs["style_levels"]: gr.update(most=most)}

    def _open(self, session: Session, prior: str, again: bool = False) -> Iterator[Updates]:
        """The page opens with the settings and the example set of its address; where the visitor's own images are there
        already, with these."""
        if not again and (session.busy(self._panel.panel) or self._panel.evidence(session).prior):
            return
        found, recipe, auto = dict(parse_qsl(session.query)), DEFAULT, True
        key, own = found.get("example", OPENING), []
        if key == OWN:  # the browser sends the photos that it kept
            own = own_photos(found)
            session.query = urlencode(found)
            key = key if own else OPENING
        with contextlib.suppress(ValueError):  # an invalid address opens with the defaults
            if found.get("tab") != "interpolate":  # its settings are its own
                recipe, auto = settings_in(found)
        view, face = session.state(View), found.get(_FACE, "")
        view.asked = min(int(face), recipe.n) - 1 if re.fullmatch("[1-9][0-9]{0,2}", face) else None
        view.opening = True
        try:
            yield from self._panel.open(session, key, prior, own)
            view.settled = self._panel.evidence(session)
            yield self._set(recipe, auto, session, prior)
        finally:
            view.opening = False

    def _restore(self, session: Session, data: dict, prior: str) -> Iterator[Updates]:
        """Back to a state: with its evidence while it is kept, else that of its address."""
        client, _, number = str(data.get("id")).partition("/")
        known = session.state(History).states.get(int(number)) if client == session.id and number.isdecimal() else None
        if known is None:
            session.query = str(data.get("query"))
            yield from self._open(session, prior, again=True)
            return
        old = known.recipe.prior
        shown = (yield from self._panel.put(session, known.evidence, old)) | {self._prior: old}
        yield shown | self._set(known.recipe, known.auto, session, old)

    # Samples -----------------------------------------------------------------------------------------------------

    def _preview(self, front: bool, session: Session, prior: str, position: float, *values: Any) -> Iterator[Updates]:
        """The samples while a slider moves, less sharp where that is faster: that in front, where no strip has these
        samples, or another one."""
        request, engine = self._request(session, prior, values)
        if front:
            there = values_at(request.recipe.method, position, request.evidence)
            request = replace(request, recipe=request.recipe.replace(**there))
        return self._previewed(session, request, engine)

    def _previewed(self, session: Session, request: Request, engine: Engine) -> Iterator[Updates]:
        view = session.state(View)
        # The last preview of a drag is often requested after the user let go: it would hide the final samples.
        if view.request == request:
            return
        view.request = None
        session.cancel(_STRIP)  # its previews so far are kept
        with (yield session.queued(QUEUE, newest=True)) as cancel:
            view.result = None
            pictures, _, seconds = draw(request, engine, cancel, preview=True)
            yield self._shown(session, pictures, request, seconds)

    def _draw_early(self, session: Session, prior: str, *values: Any) -> Iterator[Updates]:
        """Samples of the first of one's own images, while others are read: these come first."""
        request, engine = self._request(session, prior, values)
        evidence, view = request.evidence, session.state(View)
        if not evidence.used or EXAMPLES in getattr(evidence[0].source.file, "parents", ()):  # they are read at once
            return
        with (yield session.queued(QUEUE)) as cancel:
            if not session.busy(self._panel.panel) or evidence.images is view.early:
                return
            view.early, view.result = evidence.images, None  # the page shows other samples now
            pictures, *_ = draw(request, engine, cancel, preview=True, priority="background")
            text = f'<span class="early">From the first {len(evidence.used)} of your images. More are coming …</span>'
            yield self._shown(session, pictures, request, 0.0) | dict.fromkeys(self._statuses, text)

    def _shown(self, session: Session, pictures: list[Image.Image], request: Request, seconds: float) -> Updates:
        """The sheet of these samples, or of previews of them, and its status."""
        sheet, recipe, result = sheet_picture(pictures), request.recipe, session.state(View).result
        cell = max(pictures[0].size)
        cell *= -(-SHEET_SIDE // cell)
        alt = f"{recipe.n} sample{'s' * (recipe.n > 1)}, {_about(request)}"
        columns = (sheet.width - GAP) // (cell + GAP)
        value = _sheet_value(data_uri(sheet), alt, len(pictures), columns=columns, cell=cell)
        value["strip"], value["sheet"] = session.state(Strip).number(request), result.number if result else 0
        value["own"] = request.own
        at = position_of(recipe)
        # Null where λ/m and likeness are not those of the slider in front.
        there = values_at(recipe.method, at, request.evidence)
        value["at"] = at if all(_alike(getattr(recipe, name), value) for name, value in there.items()) else None
        timing = _timing(request, self._engines.get(recipe.prior), seconds)
        return {self._sheet: value, self._status: timing, self._plain: _plain(request, seconds)}

    def _enlarge(self, session: Session, data: dict) -> Iterator[Updates]:
        """A sample was clicked: show it at its full size."""
        view, index = session.state(View), data.get("index")
        if isinstance(index, int) and index >= 0:
            view.large = index
        with (yield session.queued(_LARGE, newest=True)) as cancel:
            if (result := view.result) is None:
                return
            shown: Updates = {self._sample: _large(view, result, cancel)}
            if (now := view.request) is not None and now == result.request:  # no newer samples are being drawn
                shown[self._history] = self._state(session, now) | {"known": True}
            yield shown

    def _large_face(self, session: Session) -> tuple[Engine, Picture]:
        """The large sample and the text of its file, to be enlarged."""
        view, result = session.state(View), result_of(session)
        view.larger = result.number, view.large, session.file(self._larger.name)
        view.larger[2].unlink(missing_ok=True)
        index, facts = view.large, result.metadata | {"sample": f"{view.large}"}
        return result.engine, lambda cancel: (result.face(index, cancel), facts)

    def _share(self, session: Session, data: dict) -> Iterator[Updates]:
        """The picture to share. An example set has an address; files of one's own are in none."""
        with (yield session.queued(QUEUE)):  # samples that are still being drawn come first
            result = session.state(View).result
        answer = {"asked": data.get("asked")}  # an equal value would not reach the page
        if result is None:
            yield {self._card: answer | {"text": "No samples yet. Share them when they are drawn."}}
            return
        evidence, own, buffer = result.request.evidence, result.request.own, io.BytesIO()
        images = [one.shown for one in evidence.used if one.shown]
        files = len({str(one.source.file) for one in evidence.used})  # of one there may be several faces
        count = f" from {files} photo{'s' * (files > 1)}" if own and images else ""  # no name of a file
        title = f"{title_of(evidence)}: new faces" if evidence.example else f"New faces{count}"
        address = f"{data.get('host')}?{address_of(result.request, self._first_prior)}"
        shown = images if data.get("strip") is True else []
        best = dict.fromkeys([session.state(View).large, *result.best, *range(result.request.recipe.n)])
        samples = [result.face(index) for index in list(best)[:4]]
        made = {"DigitalSourceType": result.metadata["DigitalSourceType"]}  # no more: it may name files
        save_png(card(samples, title, "Transflow Studio" if own else address, shown), buffer, metadata=made)
        text = _IN_NO_LINK if own else "The link opens the same samples. The picture shows four of them."
        value = {"src": uri_of(buffer.getvalue(), "PNG"), "name": f"{evidence.example or 'new_faces'}.png"}
        yield {self._card: answer | value | {"title": title, "text": text, "own": own, "images": len(images)}}

    def _open_tab(self, key: str, session: Session, prior: str, *values: Any) -> Iterator[Updates]:
        """An inner tab was opened. The first one opens with the page, which fills it."""
        view = session.state(View)
        if view.open_tab == key and view.result is None:
            return
        view.open_tab = key
        request, engine = self._request(session, prior, values)
        with (yield session.queued(QUEUE)) as cancel:
            view.request = request
            yield from self._fill(session, request, engine, cancel)

    def _refresh(self, session: Session, prior: str, *values: Any) -> Iterator[Updates]:
        """Update all that is open to the controls and the evidence. The newest request cancels the older ones."""
        request, engine = self._request(session, prior, values)
        view = session.state(View)
        if session.tab != _TAB:
            return
        same = view.request == request and session.busy(QUEUE)
        view.request = request  # equal or not: the state depends on `auto` and `call`
        if same:
            return
        session.cancel(_STRIP)
        with (yield session.queued(QUEUE, newest=True)) as cancel:
            yield from self._fill(session, request, engine, cancel)

    def _fill(self, session: Session, request: Request, engine: Engine, cancel: CancelToken) -> Iterator[Updates]:
        """The samples first, then the open inner tab, then the address: only what has changed."""
        view = session.state(View)
        if view.result is None or view.result.request != request:
            view.result = None  # if this is stopped, whoever asks for those before has to say so again
            yield dict.fromkeys(self._statuses, updating(engine.ahead)) | {self._history: None}
            pictures, counts, seconds = draw(request, engine, cancel)
            view.result = Result(request, engine, pictures, counts)
            shown = self._shown(session, pictures, request, seconds)
            drawn_from = _latents(request.evidence), request.recipe.seed, request.recipe.near
            first = view.result.best[:1] if view.asked is None else [view.asked]
            if view.drawn_from != drawn_from and first:  # other people
                view.large = shown[self._sheet]["large"] = first[0]
            view.drawn_from, view.asked = drawn_from, None
            yield shown | self._morph.gone(session)
        if view.sent != (view.result.number, view.large):
            yield {self._sample: _large(view, view.result, cancel)}
        yield from self._results.fill(view, view.result, cancel)
        now = view.request  # `auto` and `call` may differ
        yield {self._history: self._state(session, now if now and now == request else request)}

    def _state(self, session: Session, request: Request) -> dict[str, str | int]:
        """What `static/history.js` keeps of a state: its number, its address, a text, and which event asked for it."""
        # Browsers keep it with the address. The same number of another session is another state.
        key = f"{session.id}/{session.state(History).keep(request)}"
        query = address_of(request, self._first_prior, session.state(View).chosen)
        return {"id": key, "query": query, "text": _about(request), "call": request.call}

    def _fill_strip(self, session: Session, prior: str, *values: Any) -> Iterator[Updates]:
        """The previews for a drag, once the samples are ready, while nobody waits for anything else."""
        request, engine = self._request(session, prior, values)
        if session.state(View).request != request or session.busy(QUEUE):
            return  # another refresh runs, and this follows it too
        with (yield session.queued(_STRIP, newest=True)) as cancel:
            for value in session.state(Strip).missing(request, engine, cancel):
                if session.tab != _TAB:
                    return  # another tab is open
                yield {self._strip: value} if value else {}

    def _fill_moves(self, session: Session, prior: str, *values: Any) -> Iterator[Updates] | Updates:
        """The set's own sliders, once the samples are ready."""
        request, engine = self._request(session, prior, values)
        return self._moves.filled(session, request, engine) if session.state(View).request == request else {}


class History:
    """A visitor's last states by number: ten of them, with no more different images in all than one panel may have."""

    def __init__(self) -> None:
        self.states: dict[int, Request] = {}
        self._numbers = itertools.count(1)

    def keep(self, request: Request) -> int:
        """Keep a state. Returns its number, which is that of an equal earlier state."""
        for known in self.states.values():
            if known.evidence is not request.evidence:
                known.evidence.forget()
        number = next((number for number, known in self.states.items() if known == request), 0) or next(self._numbers)
        self.states[number] = request  # `auto` may differ
        while len(self.states) > _MOST_STATES or (len(self.states) > 1 and self._images() > MOST_IMAGES):
            del self.states[next(iter(self.states))]
        return number

    def _images(self) -> int:
        return len({id(image) for request in self.states.values() for image in request.evidence})


def settings_in(query: dict[str, str]) -> tuple[Sample, bool]:
    """The recipe in an address, of this version or an earlier one, and whether its method was chosen for the evidence.

    Raises ValueError for an invalid one.
    """
    texts = {name: text for name, text in query.items() if name not in Conditioning.model_fields}
    recipe = recipe_of(dict(PAGE.from_texts(texts))).decided()
    auto = recipe.method == "auto"
    return recipe.replace(**dict(DEFAULT.choices)) if auto else recipe, auto


def address_of(request: Request, first_prior: str, large: int | None = None) -> str:
    """The address of a state: all values that differ from the defaults, but for the user's own files; and the large
    sample, where another one was chosen."""
    prior = request.recipe.prior
    recipe = request.recipe.replace(**{"prior": DEFAULT.prior} | (dict(Method()) if request.auto else {}))
    values = {} if prior == first_prior else {"prior": prior}
    values["example"] = request.evidence.example or (OWN if request.evidence.ready else NOTHING)
    values |= {} if large is None else {_FACE: str(large + 1)}
    return "&".join(filter(None, (to_link(recipe), urlencode(values, safe="/"))))


def _most_levels(engine: Engine) -> int:
    """More levels than there are mean all."""
    return max(len(engine.prior.levels), DEFAULT.style_levels)


def _values(given: dict[Component, Any], updates: Updates) -> list[Any]:
    """The values of all controls but the first, the slider in front, after updates of some."""
    after = [(value, updates.get(one, value)) for one, value in given.items()]
    return [update.get("value", value) if isinstance(update, dict) else update for value, update in after[1:]]


def _opening() -> dict[str, Any]:
    """The samples of the opening set, which `assets/make_pictures.py` draws."""
    with Image.open(path := FOLDER / "opening.jpg") as image:
        cell = image.width // 4 - GAP
    value = _sheet_value(uri_of(path.read_bytes()), "16 samples", 16, columns=4, cell=cell)
    return value | {"opening": True, "large": _FIRST}


def _sheet_value(src: str, alt: str, n: int, *, columns: int, cell: int) -> dict[str, Any]:
    """What `static/sheet.js` shows: a picture of `n` samples in cells of `cell` pixels. It may serve a strip."""
    return {"src": src, "alt": alt, "n": n, "columns": columns, "cell": cell, "gap": GAP, "strip": 0}


def _large(view: View, result: Result, cancel: CancelToken) -> dict[str, Any]:
    """The large sample at its full size, as a file that contains its recipe, for `static/sheet.js`."""
    index = view.large = min(view.large, len(result.pictures) - 1)
    buffer, request, recipe = io.BytesIO(), result.request, result.request.recipe
    view.sent, larger = (result.number, index), view.larger and view.larger[2]
    if larger is not None and view.larger == (*view.sent, larger) and larger.exists():
        buffer.write(larger.read_bytes())
    else:
        save_png(result.face(index, cancel), buffer, metadata=result.metadata | {"sample": f"{index}"})
    stem = request.evidence.example or ("samples" if request.evidence.ready else "prior")
    return {
        "sheet": result.number,
        "index": index,
        "src": uri_of(buffer.getvalue(), "PNG"),
        "name": f"{stem}_seed{recipe.seed}_{index:04d}.png",
        "text": f"Face {index + 1} of {recipe.n}: {_about(request)}",
        "closest": _closest(result, index),
    }


def _closest(result: Result, index: int) -> dict[str, str] | None:
    """The image of the evidence that is closest to a sample, and its distance as text."""
    if not result.closest:
        return None
    found, evidence = result.closest[index], result.request.evidence
    images = result.engine.looks(evidence.posterior()).images
    image = to_pil(images[[found.index]])[0]
    if len(evidence.used) == len(images):  # the picture itself: a small one is smoother than what is kept of it
        image = (evidence.used[found.index].shown or image).resize(image.size)
    image = ImageOps.mirror(image) if found.mirrored else image
    mirrored = ", mirrored" if found.mirrored else ""
    scale = "0 is a copy, 1 is as different as two of your pictures" if len(images) > 1 else "0 is a copy"
    return {
        "src": data_uri(image),
        "label": "Nearest of the set" if evidence.example else "Nearest of yours",
        "distance": f"{found.distance:.2f}",
        "text": f"{found.name}{mirrored}. Distance {found.distance:.2f}: {scale}.",
    }


def _file(session: Session, data: dict) -> Path:
    """The file that the menu Save asks for."""
    return {"zip": zip_file, "sheet": sheet_file}[choice(data.get("kind"), "the file", ("zip", "sheet"))](session)


def _about(request: Request) -> str:
    """What samples are drawn from, as a text in the place of the picture."""
    if not request.evidence.ready:
        return "of the model alone"
    return f"{title_of(request.evidence).lower()}, λ/m {request.lam_text}"


def _alike(value: Any, there: float) -> bool:
    """Whether a number of a recipe is that of a place on the slider, but for what is rounded."""
    return isinstance(value, float) and math.isclose(value, there, rel_tol=0.02, abs_tol=0.0101 * (there > 0.1))


def _lam(method: Method) -> float:
    """The position of the one slider of λ/m."""
    ratio = method.lam_ratio[0] if isinstance(method.lam_ratio, tuple) else method.lam_ratio or 0.0
    return on_slider(ratio)


def _level_names(engine: Engine) -> list[str]:
    """The names of the levels' sliders; "" for sliders beyond the levels of this prior."""
    names = [f"λ/m of level {level.name}" for level in engine.prior.levels][:_MOST_LEVELS]
    names[0] += " (finest: texture)"
    names[-1] += " (coarsest: pose and face shape)"
    return names + [""] * (_MOST_LEVELS - len(names))


def _latents(evidence: Evidence) -> list[int]:
    """What tells whether samples were drawn from the same images."""
    return [id(image.latent) for image in evidence.used]


def _single(evidence: Evidence) -> bool:
    """Whether there is one image alone, whose samples differ by λ/m and nothing else."""
    return evidence.saved is None and len(evidence.used) == 1


def _plain(request: Request, seconds: float) -> str:
    """How many samples there are, in everyday words."""
    n, evidence = request.recipe.n, request.evidence
    text = f"{n} new face{'s' * (n > 1)}, {seconds:.1f} s."
    if not evidence.ready:
        return f"{text} They are the model's own."
    if evidence.example == OPENING:  # people who lived
        return f"{text} Some may resemble a painting."
    return f"{text} {'Nobody here exists.' if evidence.example else 'Some may resemble yours.'}"


def _timing(request: Request, engine: Engine, seconds: float) -> str:
    """The same with every number, for researchers."""
    recipe, evidence = request.recipe, request.evidence
    text = "No images yet: samples of the model. Add images to steer them"
    if evidence.ready:
        text = f"λ/m = {request.lam_text}, m = {images_of(evidence.posterior().m)} · {description_of(recipe)}"
    if recipe.mixed:
        names = sources()
        text += f" · structure: {names[recipe.structure]}, style: {names[recipe.style]}"
    text += f" · {recipe.n} sample{'s' * (recipe.n > 1)} in {seconds:.2f} s · seed {recipe.seed}"
    side, full = request.side(engine), engine.prior.image_size
    return text if side == full else f"{text} · shown at {side} of {full} pixels: the large one and files have all"
