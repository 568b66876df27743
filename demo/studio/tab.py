"""The Studio tab: evidence, sliders, and samples that follow them."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from transflow_core.engine import Engine
from transflow_core.evidence import Evidence
from transflow_core.images import to_pil
from transflow_core.limits import LAM_RATIO_SLIDER
from transflow_core.posterior import Recommendation, resolve
from transflow_core.recipes import DEFAULT_PRIOR, Method, Reading, within

from ..controls import controls
from ..method import MethodControls, description_of
from ..panel import EvidencePanel
from ..render import updating
from ..server.admission import CancelToken
from ..server.events import Updates, on
from ..server.priors import Engines
from ..server.state import Session, new_folder
from ..static import static
from ..widgets import integer, log_slider, slider, status_line
from .history import OPENING, History, history_bar, history_entry, settings_in
from .results import Results
from .settings import PAGE, Request, Settings, sources
from .sheet import Enlarged, Sheet
from .strip import Strip
from .view_state import Result, ViewState

__all__ = ["Studio"]

_MOST_LEVELS = 8
_SAMPLES, _STRIP, _TAB = "samples", "strip", "studio"
_DEFAULT, _NOTHING = Settings(), Evidence()
_STEP = '<h2 class="step"><b>{}</b> {}</h2>'


class Studio:
    """Build the tab inside the current Blocks.

    Args:
        engines: the priors that the page serves.
        prior: the component with the name of this session's prior.
        follow: when the prior was changed or the tab was opened.
        arrived: when the page was opened, and `Session.query` is the query of its address.
    """

    def __init__(
        self,
        engines: Engines,
        prior: Component,
        follow: Sequence[Dependency],
        arrived: Sequence[Dependency],
    ) -> None:
        self._engines, self._prior, self._first_prior = engines, prior, str(prior.value)
        with gr.Row(elem_id="studio"):
            # The samples first: few presses of Tab reach λ, and a phone shows them first. On a desktop they are right.
            with gr.Column(scale=6, min_width=320, elem_id="samples"):
                gr.HTML(_STEP.format(2, "Move the slider"), elem_classes="steps")
                with gr.Column(elem_id="result"):
                    self._lam = log_slider(
                        _lam(_DEFAULT.recipe), name="close to your images", far="free", sign="λ/m ", elem_id="lam"
                    )
                    self._sheet = Sheet(opening=prior.value == DEFAULT_PRIOR)
                self._status = status_line("", elem_id="samples-status")
                self._history = history_bar()
                self._method = MethodControls("method")
                self._build_controls(engines.get(self._first_prior))
            with gr.Column(scale=5, min_width=320, elem_id="your-images"):
                gr.HTML(static("drawer.html"), js_on_load=static("drawer.js"), elem_id="drawer", label="Your images")
                how = {"panel": "evidence", "title": "Your images", "tab": _TAB, "opening": OPENING}
                self._panel = EvidencePanel(engines, prior, follow=follow, **how)
        gr.HTML(_STEP.format(3, "Keep what you like"), elem_classes="steps")
        self._results = Results()
        drawing: dict[str, Component] = {"temperature": self._temperature, "n": self._n, "seed": self._seed}
        drawing |= self._results.levels.inputs
        more = controls(PAGE, {*drawing, *Method.model_fields, *Reading.model_fields})
        self._drawing, self._more = drawing | more, list(more.values())
        self._wire(prior, follow, arrived)

    def _build_controls(self, engine: Engine) -> None:
        with gr.Row(elem_id="draws"):
            self._temperature = slider(
                _DEFAULT.recipe.temperature,
                within(PAGE, "temperature"),
                step=0.05,
                name="Temperature",
                elem_id="temperature",
                min_width=140,
            )
            # Not a slider: Gradio's slider has no event for a number that was typed.
            self._n = integer(_DEFAULT.recipe.n, within(PAGE, "n"), label="Samples", elem_id="number", min_width=90)
            seed = within(PAGE, "seed")
            self._seed = integer(_DEFAULT.recipe.seed, seed, label="Seed", elem_id="seed", min_width=110)
            self._dice = gr.Button("New seed", elem_id="dice", size="sm", min_width=90)
            self._reset = gr.Button("Reset all", elem_id="reset", size="sm", min_width=90)
        with gr.Accordion("Advanced: one λ/m for each latent level", open=False):
            gr.Markdown(
                "Coarse levels hold the pose and the shape of the face. Fine levels hold texture.",
                elem_classes="status",
            )
            self._by_level = gr.Checkbox(False, label="Use these instead of the slider above", elem_id="by-level")
            self._levels = [
                log_slider(_lam(_DEFAULT.recipe), name=name, elem_id=f"lam-{i}", visible=bool(name))
                for i, name in enumerate(_level_names(engine))
            ]

    def _wire(self, prior: Component, follow: Sequence[Dependency], arrived: Sequence[Dependency]) -> None:
        main = list(self._drawing.values())
        levels = [self._by_level, *self._levels]
        inputs = [prior, *main, *self._method.inputs, self._lam, *levels]
        shown = [self._sheet.view, self._status, self._history, *self._results.outputs]
        lams = [self._lam, *self._levels]
        by_user = [self._by_level.input, *(event for lam in self._levels for event in (lam.input, lam.release))]
        kind = self._method.wire([self._lam], by_user)
        sliders = [*lams, *self._method.sliders, self._results.levels.split, self._temperature]
        moved, seen = [s.input for s in sliders], [self._sheet.view, self._status]
        on(moved, self._preview, inputs, seen, trigger_mode="always_last")
        on(self._lam.pause, self._rest, inputs, seen)
        on(self._sheet.view.expand, self._enlarge, (), self._sheet.sample, event=True)
        used = on(self._sheet.view.apply, self._use, prior, self._panel.outputs, event=True)
        on(self._dice.click, self._roll, (), self._seed)
        # While all levels have one λ, their sliders follow it.
        evenly = "(lam, own, ...levels) => own ? levels : levels.map(() => lam)"
        on(self._lam.release, None, [self._lam, *levels], self._levels, js=evenly)
        advice = [self._by_level, self._method.kind]
        on(self._by_level.change, self._advise, advice, self._lam)
        method = [*self._method.outputs, *levels]
        everything = [*self._panel.outputs, *main, *method]
        opened = on(arrived, self._open, prior, everything)
        opened += on(self._history.select, self._restore, prior, [prior, *everything], event=True)
        reset = on(self._reset.click, self._defaults, prior, [*main, *method])
        auto = on(self._method.auto.input, self._choose, [prior, self._method.auto], method)
        new = on([*self._panel.events, *used], self._choose, [prior, self._method.auto], method)
        released = [
            *(s.release for s in sliders),
            self._seed.change,
            self._n.change,
            self._by_level.change,
            self._method.auto.change,
            *(one.change for one in self._more),  # type: ignore[attr-defined]
        ]
        released += [*kind, *auto, *self._results.levels.events]
        refreshed = on([*opened, *reset, *released], self._refresh, inputs, shown)
        refreshed += on(new, self._evidence_changed, inputs, shown)
        on(refreshed, self._fill_strip, inputs, self._sheet.strip)
        on(self._results.over.input, self._sweep_over, [self._results.over, *inputs], shown)
        for key, tab in self._results.tabs.items():
            on(tab.select, partial(self._open_tab, key), inputs, shown)
        on(follow, self._relevel, prior, [*self._levels, *self._results.levels.inputs.values()])

    # Requests ----------------------------------------------------------------------------------------------------

    def _request(self, session: Session, prior: str, values: Sequence[Any]) -> tuple[Request, Engine]:
        """The request of the controls. Images that are not yet read for a new prior are no evidence."""
        engine, evidence = self._engines.get(prior), self._panel.evidence(session)
        ready = evidence.prior == prior and (evidence.saved is not None or len(evidence))
        own, methods = len(self._drawing), len(self._method.inputs)
        drawing, method, (lam, by_level, *levels) = values[:own], values[own : own + methods], values[own + methods :]
        ratio = tuple(levels[: len(engine.prior.levels)]) if by_level else lam
        chosen = self._method.read(method, ratio)
        settings = Settings.checked(chosen, dict(zip(self._drawing, drawing, strict=True)), auto=method[0])
        return Request(evidence if ready else _NOTHING, prior, settings), engine

    def _roll(self, session: Session) -> Updates:
        return {self._seed: random.randrange(10_000)}

    def _defaults(self, session: Session, prior: str) -> Updates:
        return self._set(session, _DEFAULT, prior)

    def _set(self, session: Session, settings: Settings, prior: str) -> Updates:
        """The controls at settings. With "choose for me", the method is that for the evidence of now."""
        shown = {one: getattr(settings.recipe, name) for name, one in self._drawing.items()}
        if settings.auto:
            return shown | self._chosen(session, prior)
        return shown | self._at(Recommendation(settings.recipe.choices, ""), False)

    def _at(self, recommendation: Recommendation, auto: bool, m: float | None = None) -> Updates:
        ratio = recommendation.method.lam_ratio
        levels = ratio if isinstance(ratio, tuple) else (_lam(recommendation.method),) * len(self._levels)
        clipped = [LAM_RATIO_SLIDER.clip(min(level, LAM_RATIO_SLIDER.high), "λ/m") for level in levels]
        return {
            **self._method.shown(recommendation, auto, m),
            self._by_level: isinstance(ratio, tuple),
            **dict(zip(self._levels, clipped, strict=False)),
        }

    def _chosen(self, session: Session, prior: str) -> Updates:
        """The controls at the method that suits the evidence, or at the default while there is none."""
        evidence = self._panel.evidence(session)
        if not evidence.ready or evidence.prior != prior:
            return self._at(Recommendation(_DEFAULT.recipe.choices, ""), True)
        posterior = evidence.posterior()
        return self._at(
            Recommendation(*resolve(Method(), posterior, self._engines.get(prior).looks)), True, posterior.m
        )

    def _choose(self, session: Session, prior: str, auto: bool) -> Updates:
        """New evidence, or "choose for me" was turned on: the method follows the evidence."""
        evidence = self._panel.evidence(session)
        if self._opening(session) or session.busy(self._panel.panel):
            return {}
        if auto:
            return self._chosen(session, prior)
        return self._method.limited(evidence.posterior().m) if evidence.ready else {}

    def _opening(self, session: Session) -> bool:
        """Whether the page is still being opened, which makes everything."""
        return session.state(ViewState).request is None and not self._panel.evidence(session).prior

    def _relevel(self, session: Session, prior: str) -> Updates:
        """Another prior may have other levels: show as many sliders, with their names."""
        pairs = zip(self._levels, _level_names(self._engines.get(prior)), strict=True)
        shown: dict = {slider: gr.update(name=name, visible=bool(name)) for slider, name in pairs}
        return shown | self._results.levels.limited(len(self._engines.get(prior).prior.levels))

    def _advise(self, session: Session, by_level: bool, kind: str) -> Updates:
        """The slider shows the paper's advice only for the paper's method, and where it decides λ."""
        return {self._lam: gr.update(advised=kind == "posterior" and not by_level)}

    def _open(self, session: Session, prior: str) -> Iterator[Updates]:
        """The page opens with the settings and the example set of its address."""
        found = dict(parse_qsl(session.query))
        settings = _DEFAULT
        with contextlib.suppress(ValueError):  # an invalid address opens with the defaults
            settings = settings_in(found)
        yield from self._panel.open(session, found.get("example", OPENING), prior)
        yield self._set(session, settings, prior)

    def _restore(self, session: Session, data: dict, prior: str) -> Iterator[Updates]:
        """Back to a state: with its evidence while it is kept, else that of its address."""
        client, _, number = str(data.get("id")).partition("/")
        known = session.state(History).get(int(number)) if client == session.id and number.isdecimal() else None
        if known is None:
            session.query = str(data.get("query"))
            yield from self._open(session, prior)
            return
        shown = self._panel.put(session, known.evidence, known.prior)
        yield shown | {self._prior: known.prior} | self._set(session, known.settings, known.prior)

    # Samples ------------------------------------------------------------------------------------------------------

    def _preview(self, session: Session, prior: str, *values: Any) -> Updates:
        """The samples while a slider moves, less sharp where that is faster.

        The last preview of a drag is often requested after the user let go: it would hide the final samples.
        """
        request, engine = self._request(session, prior, values)
        state = session.state(ViewState)
        if state.request == request:
            return {}
        state.request = None
        session.cancel(_STRIP)  # its previews so far are kept
        with session.queued(_SAMPLES, newest=True) as cancel:
            state.result = None
            started = time.perf_counter()
            x = engine.sample(request.sampler(engine), cancel=cancel, **request.settings.draws, preview=True).images
            text = _timing(request, time.perf_counter() - started)
            number = session.state(Strip).number(request)
            return self._sheet.shown(to_pil(x), request, number) | {self._status: text}

    def _enlarge(self, session: Session, data: dict) -> Updates:
        """A sample was clicked: show it at its full size."""
        result = session.state(ViewState).result
        return self._sheet.enlarge(result, data.get("index"), session.state(Enlarged)) if result is not None else {}

    def _use(self, session: Session, data: dict, prior: str) -> Iterator[Updates]:
        """A sample becomes evidence, as if its file were dropped."""
        name, content = session.state(Enlarged).get(data)
        file = new_folder() / name
        file.write_bytes(content)
        yield from self._panel.add(session, [file], prior)

    def _evidence_changed(self, session: Session, prior: str, *values: Any) -> Iterator[Updates]:
        """Refresh, unless the evidence changes again, which comes here too, or the page is still being opened."""
        if not self._opening(session) and not session.busy(self._panel.panel):
            yield from self._refresh(session, prior, *values)

    def _open_tab(self, key: str, session: Session, prior: str, *values: Any) -> Iterator[Updates]:
        """An inner tab was opened. The first one opens with the page, which fills it."""
        state = session.state(ViewState)
        if state.open_tab == key and state.result is None:
            return
        state.open_tab = key
        request, engine = self._request(session, prior, values)
        with session.queued(_SAMPLES) as cancel:
            state.request = request
            yield from self._fill(session, request, engine, cancel)

    def _sweep_over(self, session: Session, over: str, prior: str, *values: Any) -> Iterator[Updates]:
        session.state(ViewState).over = over
        yield from self._open_tab("sweep", session, prior, *values)

    def _refresh(self, session: Session, prior: str, *values: Any) -> Iterator[Updates]:
        """Update all that is open to the controls and the evidence. The newest request cancels the older ones."""
        request, engine = self._request(session, prior, values)
        state = session.state(ViewState)
        if session.tab != _TAB:
            return
        same = state.request == request and session.busy(_SAMPLES)
        state.request = request  # equal or not: the address depends on `auto`
        if same and not state.resting:
            return
        session.cancel(_STRIP)
        with session.queued(_SAMPLES, newest=not same) as cancel:
            state.resting = False
            yield from self._fill(session, request, engine, cancel)

    def _fill_strip(self, session: Session, prior: str, *values: Any) -> Iterator[Updates]:
        """The previews for a drag, once the samples are ready. They have the lowest priority."""
        request, engine = self._request(session, prior, values)
        if session.state(ViewState).request != request or session.busy(_SAMPLES):
            return  # another refresh runs, and this follows it too
        with session.queued(_STRIP, newest=True) as cancel:
            for value in session.state(Strip).missing(request, engine, cancel):
                if session.tab != _TAB:
                    return  # another tab is open
                yield {self._sheet.strip: value} if value else {}

    def _rest(self, session: Session, prior: str, *values: Any) -> Iterator[Updates]:
        """The slider rests on a preview: draw the samples, before the user lets go."""
        request, engine = self._request(session, prior, values)
        state = session.state(ViewState)
        if state.request != request:
            session.cancel(_STRIP)
            state.request = request
            with session.queued(_SAMPLES, newest=True) as cancel:
                state.resting = True
                yield from self._draw(session, request, engine, cancel)

    def _fill(self, session: Session, request: Request, engine: Engine, cancel: CancelToken) -> Iterator[Updates]:
        """The samples first, then the open inner tab, then the address: only what has changed."""
        state = session.state(ViewState)
        yield from self._draw(session, request, engine, cancel)
        assert state.result is not None
        yield from self._results.fill(state, state.result, cancel)
        yield {self._history: history_entry(session, state.request or request, self._first_prior)}

    def _draw(self, session: Session, request: Request, engine: Engine, cancel: CancelToken) -> Iterator[Updates]:
        state = session.state(ViewState)
        if state.result is None or state.result.request != request:
            yield {self._status: updating(engine.ahead)}
            started, sampler = time.perf_counter(), request.sampler(engine)
            drawn = engine.sample(sampler, cancel=cancel, **request.settings.draws)
            pictures = to_pil(drawn.images)
            state.result = Result(request, engine, sampler, pictures, drawn.counts, time.perf_counter() - started)
            sheet = self._sheet.shown(pictures, request, session.state(Strip).number(request))
            yield sheet | {self._status: _timing(request, state.result.seconds)}


def _lam(method: Method) -> float:
    """The position of the one slider of λ/m."""
    ratio = method.lam_ratio[0] if isinstance(method.lam_ratio, tuple) else method.lam_ratio or 0.0
    return LAM_RATIO_SLIDER.clip(min(ratio, LAM_RATIO_SLIDER.high), "λ/m")


def _level_names(engine: Engine) -> list[str]:
    """The names of the levels' sliders; "" for sliders beyond the levels of this prior."""
    names = [f"λ/m of level {level.name}" for level in engine.prior.levels][:_MOST_LEVELS]
    names[0] += " (finest: texture)"
    names[-1] += " (coarsest: pose and face shape)"
    return names + [""] * (_MOST_LEVELS - len(names))


def _timing(request: Request, seconds: float) -> str:
    settings, evidence = request.settings, request.evidence
    text = "No images yet: samples of the model. Add images to steer them"
    if evidence.ready:
        text = f"λ/m = {settings.lam_text}, m = {evidence.posterior().m:g} · {description_of(settings.recipe)}"
    if settings.recipe.mixed:
        names = sources()
        text += f" · structure: {names[settings.recipe.structure]}, style: {names[settings.recipe.style]}"
    return f"{text} · {settings.recipe.n} samples in {seconds:.2f} s · seed {settings.recipe.seed}"
