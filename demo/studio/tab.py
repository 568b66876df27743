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
from transflow_core.images import to_pil
from transflow_core.intake import Intake
from transflow_core.limits import LAM_RATIO_SLIDER, SAMPLES
from transflow_core.posterior import Recommendation, resolve
from transflow_core.recipes import Method, Sample, within
from transflow_core.shipped import DEFAULT_PRIOR

from ..engines import Engines
from ..events import on
from ..method import MethodChoice, described
from ..panel import EvidencePanel
from ..queues import Stop
from ..render import updating
from ..session import Session, new_folder
from ..static import static
from ..widgets import log_slider, slider, status_line, whole_number
from .history import OPENING, Past, history, settings_in, told
from .results import Results
from .screen import Screen, Whole
from .settings import Asked, Settings, sources
from .sheet import Enlarged, Sheet
from .strip import Strip

__all__ = ["Studio"]

_MOST_LEVELS = 8
_PLACE, _STRIP, _TAB = "samples", "strip", "studio"
_DEFAULT, _NOTHING = Settings(), Intake()
_STEP = '<h2 class="step"><b>{}</b> {}</h2>'


class Studio:
    """Build the tab inside the current Blocks.

    Args:
        engines: the priors that the page serves.
        prior: the component with the name of this session's prior.
        follow: when the prior was changed or the tab came into view.
        arrived: when the page was opened, and `query` holds what its address says.
        query: a component.
    """

    def __init__(
        self,
        engines: Engines,
        prior: Component,
        follow: Sequence[Dependency],
        arrived: Sequence[Dependency],
        query: Component,
    ) -> None:
        self._engines, self._prior, self._first_prior = engines, prior, str(prior.value)
        with gr.Row(elem_id="studio"):
            # The result first: few presses of Tab reach λ, and on a phone it is what is seen. On a desktop it is right.
            with gr.Column(scale=6, min_width=320, elem_id="made"):
                gr.HTML(_STEP.format(2, "Move the slider"), elem_classes="steps")
                with gr.Column(elem_id="result"):
                    self._lam = log_slider(
                        _lam(_DEFAULT.recipe), name="close to your images", far="free", sign="λ/m ", elem_id="lam"
                    )
                    self._sheet = Sheet(opening=prior.value == DEFAULT_PRIOR)
                self._status = status_line("", elem_id="samples-status")
                self._history = history()
                self._method = MethodChoice("method")
                self._build_controls(engines.get(self._first_prior))
            with gr.Column(scale=5, min_width=320, elem_id="given"):
                gr.HTML(static("drawer.html"), js_on_load=static("drawer.js"), elem_id="drawer", label="Your images")
                how = {"place": "evidence", "title": "Evidence", "tab": _TAB, "opening": OPENING}
                self._panel = EvidencePanel(engines, prior, follow=follow, **how)
        gr.HTML(_STEP.format(3, "Keep what you like"), elem_classes="steps")
        self._results = Results()
        self._wire(prior, follow, arrived, query)

    def _build_controls(self, engine: Engine) -> None:
        with gr.Row(elem_id="draws"):
            self._temperature = slider(
                _DEFAULT.recipe.temperature,
                within(Sample, "temperature"),
                step=0.05,
                name="Temperature",
                elem_id="temperature",
                min_width=140,
            )
            # Not a slider: what is typed into one moves it, and no event tells when it is let go.
            self._n = whole_number(_DEFAULT.recipe.n, SAMPLES, label="Samples", elem_id="number", min_width=90)
            self._seed = whole_number(
                _DEFAULT.recipe.seed, within(Sample, "seed"), label="Seed", elem_id="seed", min_width=110
            )
            self._dice = gr.Button("New seed", elem_id="dice", size="sm", min_width=90)
            self._reset = gr.Button("Reset all", elem_id="reset", size="sm", min_width=90)
        with gr.Accordion("Advanced: one λ/m for each latent level", open=False):
            gr.Markdown("Coarse levels hold pose and the shape of the face, fine ones texture.", elem_classes="status")
            self._by_level = gr.Checkbox(False, label="Use these instead of the slider above", elem_id="by-level")
            self._levels = [
                log_slider(_lam(_DEFAULT.recipe), name=name, elem_id=f"lam-{i}", visible=bool(name))
                for i, name in enumerate(_level_names(engine))
            ]

    def _wire(
        self, prior: Component, follow: Sequence[Dependency], arrived: Sequence[Dependency], query: Component
    ) -> None:
        main = [self._temperature, self._n, self._seed, *self._results.levels.inputs]
        levels = [self._by_level, *self._levels]
        controls = [prior, *main, *self._method.inputs, self._lam, *levels]
        shown = [self._sheet.view, self._status, self._history, *self._results.outputs]
        lams = [self._lam, *self._levels]
        by_hand = [self._by_level.input, *(event for lam in self._levels for event in (lam.input, lam.release))]
        kind = self._method.wire([self._lam], by_hand)
        sliders = [*lams, *self._method.sliders, self._results.levels.split, self._temperature]
        moved, seen = [s.input for s in sliders], [self._sheet.view, self._status]
        on(moved, self._preview, controls, seen, trigger_mode="always_last")
        on(self._lam.pause, self._rest, controls, seen)
        on(self._sheet.view.expand, self._enlarge, (), self._sheet.sample, event=True)
        used = on(self._sheet.view.apply, self._use, prior, self._panel.outputs, event=True)
        on(self._dice.click, self._roll, (), self._seed)
        # Where the levels have one λ, theirs follow it.
        evenly = "(lam, own, ...levels) => own ? levels : levels.map(() => lam)"
        on(self._lam.release, None, [self._lam, *levels], self._levels, js=evenly)
        advice = [self._by_level, self._method.kind]
        on(self._by_level.change, self._advise, advice, self._lam)
        method = [*self._method.outputs, *levels]
        everything = [*self._panel.outputs, *main, *method]
        opened = on(arrived, self._open, [prior, query], everything)
        opened += on(self._history.select, self._restore, prior, [prior, *everything], event=True)
        reset = on(self._reset.click, self._defaults, prior, [*main, *method])
        asked = on(self._method.auto.input, self._choose, [prior, self._method.auto], method)
        new = on([*self._panel.events, *used], self._choose, [prior, self._method.auto], method)
        released = [
            *(s.release for s in sliders),
            self._seed.change,
            self._n.change,
            self._by_level.change,
            self._method.auto.change,
        ]
        released += [*kind, *asked, *self._results.levels.events]
        refreshed = on([*opened, *reset, *released], self._refresh, controls, shown)
        refreshed += on(new, self._evidence_changed, controls, shown)
        on(refreshed, self._fill_strip, controls, self._sheet.strip)
        on(self._results.over.input, self._sweep_over, [self._results.over, *controls], shown)
        for key, tab in self._results.tabs.items():
            on(tab.select, partial(self._look, key), controls, shown)
        on(follow, self._relevel, prior, [*self._levels, *self._results.levels.inputs])

    # What is asked for --------------------------------------------------------------------------------------------

    def _asked(self, session: Session, prior: str, values: Sequence[Any]) -> tuple[Asked, Engine]:
        """What the controls say. Evidence that is still to be read under a prior chosen just now is none."""
        engine, intake = self._engines.get(prior), self._panel.intake(session)
        given = intake.prior == prior and (intake.saved is not None or len(intake.evidence))
        temperature, n, seed, structure, style, split, *method = values
        own = len(self._method.inputs)
        method, (lam, by_level, *levels) = method[:own], method[own:]
        ratio = tuple(levels[: len(engine.prior.levels)]) if by_level else lam
        made = self._method.read(method, ratio)
        settings = Settings.checked(made, temperature, n, seed, structure, style, split, auto=method[0])
        return Asked(intake if given else _NOTHING, prior, settings), engine

    def _roll(self, session: Session) -> dict:
        return {self._seed: random.randrange(10_000)}

    def _defaults(self, session: Session, prior: str) -> dict:
        return self._set(session, _DEFAULT, prior)

    def _set(self, session: Session, settings: Settings, prior: str) -> dict:
        """The controls at settings; a method that is chosen for the evidence is chosen anew."""
        shown = dict(
            zip(
                self._results.levels.inputs,
                (settings.recipe.structure, settings.recipe.style, settings.recipe.style_levels),
                strict=True,
            )
        )
        shown |= {
            self._temperature: settings.recipe.temperature,
            self._n: settings.recipe.n,
            self._seed: settings.recipe.seed,
        }
        if settings.auto:
            return shown | self._chosen(session, prior)
        return shown | self._at(Recommendation(settings.recipe.choices, ""), False)

    def _at(self, made: Recommendation, auto: bool, m: float | None = None) -> dict:
        ratio = made.method.lam_ratio
        levels = ratio if isinstance(ratio, tuple) else (_lam(made.method),) * len(self._levels)
        clipped = [LAM_RATIO_SLIDER.clip(min(level, LAM_RATIO_SLIDER.high), "λ/m") for level in levels]
        return {
            **self._method.shown(made, auto, m),
            self._by_level: isinstance(ratio, tuple),
            **dict(zip(self._levels, clipped, strict=False)),
        }

    def _chosen(self, session: Session, prior: str) -> dict:
        """The controls at the method that suits the evidence, or at the default while there is none."""
        intake = self._panel.intake(session)
        if not intake.ready or intake.prior != prior:
            return self._at(Recommendation(_DEFAULT.recipe.choices, ""), True)
        posterior = intake.posterior()
        return self._at(
            Recommendation(*resolve(Method(), posterior, self._engines.get(prior).looks)), True, posterior.m
        )

    def _choose(self, session: Session, prior: str, auto: bool) -> dict:
        """New evidence, or the wish to have it chosen: until something is moved by hand, the method follows."""
        intake = self._panel.intake(session)
        if self._opening(session) or session.busy(self._panel.place):
            return {}
        if auto:
            return self._chosen(session, prior)
        return self._method.limited(intake.posterior().m) if intake.ready else {}

    def _opening(self, session: Session) -> bool:
        """Whether the page is only being opened, which sees to everything."""
        return session.of_kind(Screen).asked is None and not self._panel.intake(session).prior

    def _relevel(self, session: Session, prior: str) -> dict:
        """Another prior may have other levels: name and show as many sliders."""
        pairs = zip(self._levels, _level_names(self._engines.get(prior)), strict=True)
        shown: dict = {slider: gr.update(name=name, visible=bool(name)) for slider, name in pairs}
        return shown | self._results.levels.among(len(self._engines.get(prior).prior.levels))

    def _advise(self, session: Session, by_level: bool, kind: str) -> dict:
        """The slider does not say what the paper advises where it plays no part."""
        return {self._lam: gr.update(advised=kind == "posterior" and not by_level)}

    def _open(self, session: Session, prior: str, query: str) -> Iterator[dict]:
        """The page opens with the settings and the example set that its address names."""
        found = dict(parse_qsl(query))
        settings = _DEFAULT
        with contextlib.suppress(ValueError):  # an address that was typed wrong opens with the defaults
            settings = settings_in(found)
        yield from self._panel.open(session, found.get("example", OPENING), prior)
        yield self._set(session, settings, prior)

    def _restore(self, session: Session, data: dict, prior: str) -> Iterator[dict]:
        """Back to a state: with its evidence while it is known, else as its address says."""
        owner, _, number = str(data.get("id")).partition("/")
        known = session.of_kind(Past).get(int(number)) if owner == session.id and number.isdecimal() else None
        if known is None:
            yield from self._open(session, prior, str(data.get("query")))
            return
        shown = self._panel.put(session, known.intake, known.prior)
        yield shown | {self._prior: known.prior} | self._set(session, known.settings, known.prior)

    # What is shown ------------------------------------------------------------------------------------------------

    def _preview(self, session: Session, prior: str, *values: Any) -> dict:
        """The samples while a slider moves, less sharp where that is faster.

        The last preview of a drag is often asked for after the slider was let go: it would hide the whole images.
        """
        asked, engine = self._asked(session, prior, values)
        screen = session.of_kind(Screen)
        if screen.asked == asked:
            return {}
        screen.asked = None
        session.stop(_STRIP)  # what it decoded is kept
        with session.turn(_PLACE, newest=True) as stop:
            screen.whole = None
            started = time.perf_counter()
            x = engine.preview(asked.sampler(engine), cancel=stop, **asked.settings.draws)
            words = _timing(asked, time.perf_counter() - started)
            return self._sheet.shown(to_pil(x), asked, session.of_kind(Strip).meet(asked)) | {self._status: words}

    def _enlarge(self, session: Session, data: dict) -> dict:
        """A sample was clicked: it comes as it was drawn."""
        whole = session.of_kind(Screen).whole
        return self._sheet.one(whole, data.get("index"), session.of_kind(Enlarged)) if whole is not None else {}

    def _use(self, session: Session, data: dict, prior: str) -> Iterator[dict]:
        """A sample becomes evidence, as if its file were dropped."""
        name, content = session.of_kind(Enlarged).get(data)
        file = new_folder() / name
        file.write_bytes(content)
        yield from self._panel.add(session, [file], prior)

    def _evidence_changed(self, session: Session, prior: str, *values: Any) -> Iterator[dict]:
        """Unless it changes again already, for what follows that comes here, too; or the page is only being opened."""
        if not self._opening(session) and not session.busy(self._panel.place):
            yield from self._refresh(session, prior, *values)

    def _look(self, key: str, session: Session, prior: str, *values: Any) -> Iterator[dict]:
        """An inner tab was opened; the first one opens with the page, which sees to it."""
        screen = session.of_kind(Screen)
        if screen.looked == key and screen.whole is None:
            return
        screen.looked = key
        asked, engine = self._asked(session, prior, values)
        with session.turn(_PLACE) as stop:
            screen.asked = asked
            yield from self._fill(session, asked, engine, stop)

    def _sweep_over(self, session: Session, over: str, prior: str, *values: Any) -> Iterator[dict]:
        session.of_kind(Screen).over = over
        yield from self._look("sweep", session, prior, *values)

    def _refresh(self, session: Session, prior: str, *values: Any) -> Iterator[dict]:
        """Bring what is looked at to what the controls and the evidence say; the newest such wish ends the older."""
        asked, engine = self._asked(session, prior, values)
        screen = session.of_kind(Screen)
        if session.tab != _TAB:
            return
        same = screen.asked == asked and session.busy(_PLACE)
        screen.asked = asked  # equal or not: by whom the method was chosen is for the address
        if same and not screen.resting:
            return
        session.stop(_STRIP)
        with session.turn(_PLACE, newest=not same) as stop:
            screen.resting = False
            yield from self._fill(session, asked, engine, stop)

    def _fill_strip(self, session: Session, prior: str, *values: Any) -> Iterator[dict]:
        """What a drag will show, once the samples are there: nobody waits for it, and it makes way for all else."""
        asked, engine = self._asked(session, prior, values)
        if session.of_kind(Screen).asked != asked or session.busy(_PLACE):
            return  # another refresh is under way, which this follows as well
        with session.turn(_STRIP, newest=True) as stop:
            for value in session.of_kind(Strip).missing(asked, engine, stop):
                if session.tab != _TAB:
                    return  # nobody sees it
                yield {self._sheet.strip: value} if value else {}

    def _rest(self, session: Session, prior: str, *values: Any) -> Iterator[dict]:
        """The slider rests where only the strip was shown: the whole images, before it is let go."""
        asked, engine = self._asked(session, prior, values)
        screen = session.of_kind(Screen)
        if screen.asked != asked:
            session.stop(_STRIP)
            screen.asked = asked
            with session.turn(_PLACE, newest=True) as stop:
                screen.resting = True
                yield from self._draw(session, asked, engine, stop)

    def _fill(self, session: Session, asked: Asked, engine: Engine, stop: Stop) -> Iterator[dict]:
        """The samples first, then the inner tab that is looked at, then the address: only what is not so already."""
        screen = session.of_kind(Screen)
        yield from self._draw(session, asked, engine, stop)
        assert screen.whole is not None
        yield from self._results.fill(screen, screen.whole, stop)
        yield {self._history: told(session, screen.asked or asked, self._first_prior)}

    def _draw(self, session: Session, asked: Asked, engine: Engine, stop: Stop) -> Iterator[dict]:
        screen = session.of_kind(Screen)
        if screen.whole is None or screen.whole.asked != asked:
            yield {self._status: updating(engine.before)}
            started, sampler = time.perf_counter(), asked.sampler(engine)
            drawn = engine.drawn(sampler, cancel=stop, **asked.settings.draws)
            pictures = to_pil(drawn.images)
            screen.whole = Whole(asked, engine, sampler, pictures, drawn.counts, time.perf_counter() - started)
            seen = self._sheet.shown(pictures, asked, session.of_kind(Strip).meet(asked))
            yield seen | {self._status: _timing(asked, screen.whole.seconds)}


def _lam(method: Method) -> float:
    """Where the one slider of λ/m stands."""
    ratio = method.lam_ratio[0] if isinstance(method.lam_ratio, tuple) else method.lam_ratio or 0.0
    return LAM_RATIO_SLIDER.clip(min(ratio, LAM_RATIO_SLIDER.high), "λ/m")


def _level_names(engine: Engine) -> list[str]:
    """What the sliders of the levels are called; "" for those that this prior has no level for."""
    names = [f"λ/m of level {level.name}" for level in engine.prior.levels][:_MOST_LEVELS]
    names[0] += " (finest: texture)"
    names[-1] += " (coarsest: pose and face shape)"
    return names + [""] * (_MOST_LEVELS - len(names))


def _timing(asked: Asked, seconds: float) -> str:
    settings, intake = asked.settings, asked.intake
    words = "the prior itself: give images, and the slider has something to be close to"
    if intake.ready:
        words = f"λ/m = {settings.words}, m = {intake.posterior().m:g} · {described(settings.recipe)}"
    if settings.recipe.mixed:
        names = sources()
        words += f" · structure: {names[settings.recipe.structure]}, style: {names[settings.recipe.style]}"
    return f"{words} · {settings.recipe.n} samples in {seconds:.2f} s · seed {settings.recipe.seed}"
