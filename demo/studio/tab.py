"""The Studio tab: evidence, sliders, and samples that follow them."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlencode

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from transflow_core.drawing import ask, described
from transflow_core.engine import Engine
from transflow_core.images import to_pil
from transflow_core.intake import Intake
from transflow_core.limits import LAM_RATIO_SLIDER, SAMPLES, SEED, TEMPERATURE
from transflow_core.posterior import Choice, Manner

from ..engines import Engines
from ..events import on
from ..manner import MannerChoice
from ..panel import EvidencePanel
from ..queues import Stop
from ..render import sheet, updating
from ..session import Session
from ..widgets import lam_update, log_slider, status_line
from .results import Results, Screen, Whole
from .settings import EVIDENCE, Asked, Settings, sources

__all__ = ["Studio"]

_MOST_LEVELS = 8
_PLACE, _TAB = "samples", "studio"
_LAM = "λ/m, how far they may stray"
_DEFAULT, _NOTHING = Settings(), Intake()
# The address keeps the settings: it can be sent to somebody, and a reload comes back to them.
_MANNER = {"manner": "kind", "lam": "lam_ratio", "likeness": "likeness", "pieces": "pieces"}
_LEVELS = ("structure", "style", "split")
_ADDRESS_JS = """
told => {
  const query = new URLSearchParams(location.search);
  for (const key of ['manner', 'lam', 'likeness', 'pieces', 't', 'n', 'seed', 'structure', 'style', 'split',
    'example']) query.delete(key);
  for (const [key, value] of new URLSearchParams(told)) query.set(key, value);
  history.replaceState(null, '', '?' + query.toString());
}
"""


class Studio:
    """Build the tab inside the current Blocks.

    Args:
        engines: the priors that the page serves.
        prior: the component with the name of this session's prior.
        follow: when the prior was changed or the tab came into view.
        demo: the page, whose opening this tab answers.
    """

    def __init__(self, engines: Engines, prior: Component, follow: Sequence[Dependency], demo: gr.Blocks) -> None:
        self._engines = engines
        with gr.Row():
            with gr.Column(scale=5, min_width=320):
                self._panel = EvidencePanel(engines, prior, place="evidence", title="Evidence", tab=_TAB, follow=follow)
            with gr.Column(scale=6, min_width=320):
                # The choice first and the samples right below: on a phone too, both are in sight while one is dragged.
                self._manner = MannerChoice("manner")
                with self._manner.row:
                    self._lam = log_slider(_lam(_DEFAULT.manner), name=_LAM, elem_id="lam", min_width=220)
                self._sheet = gr.HTML(elem_id="sheet", elem_classes="sheet", label="Samples")
                self._status = status_line("", elem_id="samples-status")
                self._build_controls(engines.get(prior.value))
        self._results = Results()
        self._address = gr.Textbox(visible="hidden", label="Address")
        self._wire(prior, follow, demo)

    def _build_controls(self, engine: Engine) -> None:
        with gr.Row():
            self._temperature = gr.Slider(
                TEMPERATURE.low,
                TEMPERATURE.high,
                _DEFAULT.temperature,
                step=0.05,
                label="Temperature",
                elem_id="temperature",
                min_width=140,
            )
            self._n = gr.Slider(
                SAMPLES.low, SAMPLES.high, _DEFAULT.n, step=1, label="Samples", elem_id="number", min_width=140
            )
        with gr.Row():
            self._seed = gr.Number(
                _DEFAULT.seed,
                label="Seed",
                precision=0,
                minimum=SEED.low,
                maximum=SEED.high,
                elem_id="seed",
                min_width=110,
            )
            self._dice = gr.Button("New seed", elem_id="dice", size="sm", min_width=90)
            self._reset = gr.Button("Reset all", elem_id="reset", size="sm", min_width=90)
        with gr.Accordion("Advanced: one λ/m for each latent level", open=False):
            gr.Markdown("Coarse levels hold pose and the shape of the face, fine ones texture.", elem_classes="status")
            self._by_level = gr.Checkbox(False, label="Use these instead of the slider above", elem_id="by-level")
            self._levels = [
                log_slider(_lam(_DEFAULT.manner), name=name, elem_id=f"lam-{i}", visible=bool(name))
                for i, name in enumerate(_level_names(engine))
            ]

    def _wire(self, prior: Component, follow: Sequence[Dependency], demo: gr.Blocks) -> None:
        main = [self._temperature, self._n, self._seed, *self._results.levels.inputs]
        levels = [self._by_level, *self._levels]
        controls = [prior, *main, *self._manner.inputs, self._lam, *levels]
        shown = [self._sheet, self._status, self._address, *self._results.outputs]
        lams = [self._lam, *self._levels]
        by_hand = [self._by_level.input, *(lam.input for lam in self._levels)]
        kind = self._manner.wire([(self._lam, _LAM)], by_hand)
        sliders = [*lams, *self._manner.sliders, self._results.levels.split, self._temperature, self._n]
        on([s.input for s in sliders], self._preview, controls, [self._sheet, self._status], trigger_mode="always_last")
        on(self._dice.click, self._roll, (), self._seed)
        named = [prior, self._address]
        query = "prior => [prior, location.search.slice(1)]"
        manner = [*self._manner.outputs, *levels]
        opened = on(demo.load, self._open, named, [*self._panel.outputs, *main, *manner], js=query)
        reset = on(self._reset.click, self._defaults, prior, [*main, *manner])
        asked = on(self._manner.auto.input, self._choose, [prior, self._manner.auto], manner)
        new = on(self._panel.events, self._choose, [prior, self._manner.auto], manner)
        released = [*(s.release for s in sliders), self._seed.change, self._by_level.change, self._manner.auto.change]
        released += [*kind, *asked, *self._results.levels.events]
        on([*opened, *reset, *released], self._refresh, controls, shown)
        on(new, self._evidence_changed, controls, shown)
        for key, tab in self._results.tabs.items():
            on(tab.select, partial(self._look, key), controls, shown)
        on(self._address.change, None, self._address, js=_ADDRESS_JS)
        on(follow, self._relevel, prior, [*self._levels, *self._results.levels.inputs])

    # What is asked for --------------------------------------------------------------------------------------------

    def _asked(self, session: Session, prior: str, values: Sequence[Any]) -> tuple[Asked, Engine]:
        """What the controls say. Evidence that is still to be read under a prior chosen just now is none."""
        engine, intake = self._engines.get(prior), self._panel.intake(session)
        given = intake.prior == prior and (intake.saved is not None or len(intake.evidence))
        temperature, n, seed, structure, style, split, *manner = values
        manner, (lam, by_level, *levels) = manner[: len(self._manner.inputs)], manner[len(self._manner.inputs) :]
        ratio = tuple(levels[: len(engine.prior.levels)]) if by_level else lam
        made = self._manner.read(manner, ratio)
        settings = Settings.checked(made, temperature, n, seed, structure, style, split, auto=manner[0])
        return Asked(intake if given else _NOTHING, prior, settings), engine

    def _roll(self, session: Session) -> dict:
        return {self._seed: random.randrange(10_000)}

    def _defaults(self, session: Session, prior: str) -> dict:
        return self._set(session, _DEFAULT, prior)

    def _set(self, session: Session, settings: Settings, prior: str) -> dict:
        """The controls at settings; a manner that is chosen for the evidence is chosen anew."""
        shown = dict(
            zip(self._results.levels.inputs, (settings.structure, settings.style, settings.split), strict=True)
        )
        shown |= {self._temperature: settings.temperature, self._n: settings.n, self._seed: settings.seed}
        if settings.auto:
            return shown | self._chosen(session, prior)
        return shown | self._at(Choice(settings.manner, ""), False)

    def _at(self, made: Choice, auto: bool, m: float | None = None) -> dict:
        ratio = made.manner.lam_ratio
        levels = ratio if isinstance(ratio, tuple) else (_lam(made.manner),) * len(self._levels)
        clipped = [LAM_RATIO_SLIDER.clip(min(level, LAM_RATIO_SLIDER.high), "λ/m") for level in levels]
        return {
            **self._manner.shown(made, auto, m),
            self._by_level: isinstance(ratio, tuple),
            **dict(zip(self._levels, clipped, strict=False)),
        }

    def _chosen(self, session: Session, prior: str) -> dict:
        """The controls at the manner that suits the evidence, or at the default while there is none."""
        intake = self._panel.intake(session)
        if not intake.ready or intake.prior != prior:
            return self._at(Choice(_DEFAULT.manner, ""), True)
        posterior = intake.posterior()
        return self._at(ask(posterior), True, posterior.m)

    def _choose(self, session: Session, prior: str, auto: bool) -> dict:
        """New evidence, or the wish to have it chosen: until something is moved by hand, the manner follows."""
        intake = self._panel.intake(session)
        if self._opening(session) or session.busy(self._panel.place):
            return {}
        if auto:
            return self._chosen(session, prior)
        return self._manner.limited(intake.posterior().m) if intake.ready else {}

    def _opening(self, session: Session) -> bool:
        """Whether the page is only being opened, which sees to everything."""
        return session.of_kind(Screen).asked is None and not self._panel.intake(session).prior

    def _relevel(self, session: Session, prior: str) -> dict:
        """Another prior may have other levels: name and show as many sliders."""
        names = _level_names(self._engines.get(prior))
        shown = {self._levels[i]: lam_update(name, f"lam-{i}", visible=bool(name)) for i, name in enumerate(names)}
        return shown | self._results.levels.among(len(self._engines.get(prior).prior.levels))

    def _open(self, session: Session, prior: str, query: str) -> dict:
        """The page opens with the settings and the example set that its address names."""
        told = dict(parse_qsl(query))
        settings = _DEFAULT
        with contextlib.suppress(ValueError):  # an address that was typed wrong opens with the defaults
            settings = _told(told)
        shown = self._panel.open(session, told["example"], prior) if "example" in told else {}
        return shown | self._set(session, settings, prior)

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
        with session.turn(_PLACE, newest=True) as stop:
            screen.whole = None
            started = time.perf_counter()
            x = engine.preview(asked.sampler(engine), stop=stop, **asked.settings.draws)
            return {self._sheet: sheet(x, "samples"), self._status: _timing(asked, time.perf_counter() - started)}

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

    def _refresh(self, session: Session, prior: str, *values: Any) -> Iterator[dict]:
        """Bring what is looked at to what the controls and the evidence say; the newest such wish ends the older."""
        asked, engine = self._asked(session, prior, values)
        screen = session.of_kind(Screen)
        if session.tab != _TAB:
            return
        under_way = screen.asked == asked and session.busy(_PLACE)
        screen.asked = asked  # equal or not: by whom the manner was chosen is for the address
        if under_way:
            return
        with session.turn(_PLACE, newest=True) as stop:
            yield from self._fill(session, asked, engine, stop)

    def _fill(self, session: Session, asked: Asked, engine: Engine, stop: Stop) -> Iterator[dict]:
        """The samples first, then the inner tab that is looked at, then the address: only what is not so already."""
        screen = session.of_kind(Screen)
        if screen.whole is None or screen.whole.asked != asked:
            yield {self._status: updating(engine.before)}
            started, sampler = time.perf_counter(), asked.sampler(engine)
            drawn = engine.drawn(sampler, stop=stop, **asked.settings.draws)
            pictures, pulled = to_pil(drawn.images), int(drawn.pulled.sum())
            screen.whole = Whole(asked, engine, sampler, pictures, pulled, time.perf_counter() - started)
            yield {self._sheet: sheet(drawn.images, "samples"), self._status: _timing(asked, screen.whole.seconds)}
        yield from self._results.fill(screen, screen.whole, stop)
        yield {self._address: _address(screen.asked or asked)}


def _lam(manner: Manner) -> float:
    """Where the one slider of λ/m stands."""
    ratio = manner.lam_ratio[0] if isinstance(manner.lam_ratio, tuple) else manner.lam_ratio
    return LAM_RATIO_SLIDER.clip(min(ratio, LAM_RATIO_SLIDER.high), "λ/m")


def _level_names(engine: Engine) -> list[str]:
    """What the sliders of the levels are called; "" for those that this prior has no level for."""
    names = [f"λ/m of level {level.name}" for level in engine.prior.levels][:_MOST_LEVELS]
    names[0] += " (finest: texture)"
    names[-1] += " (coarsest: pose and face shape)"
    return names + [""] * (_MOST_LEVELS - len(names))


def _timing(asked: Asked, seconds: float) -> str:
    settings, intake = asked.settings, asked.intake
    words = "the prior itself"
    if intake.ready:
        words = f"λ/m = {settings.words}, m = {intake.posterior().m:g} · {described(settings.manner)}"
    if settings.mixed:
        names = sources()
        words += f" · structure: {names[settings.structure]}, style: {names[settings.style]}"
    return f"{words} · {settings.n} samples in {seconds:.2f} s · seed {settings.seed}"


def _told(told: dict[str, str]) -> Settings:
    """The settings in an address. Raises ValueError for what is none."""
    by_hand = "manner" in told
    manner = _DEFAULT.manner
    if by_hand:
        text = {name: told[key] for key, name in _MANNER.items() if key in told}
        numbers = ",".join(f"{name}={value}" for name, value in text.items() if name != "kind")
        manner = Manner.parse(f"{text['kind']}:{numbers}")
    numbers = [float(told.get(key) or value) for key, value in (("t", 1), ("n", _DEFAULT.n), ("seed", 0))]
    levels = [told.get("structure", EVIDENCE), told.get("style", EVIDENCE), float(told.get("split") or _DEFAULT.split)]
    return Settings.checked(manner, *numbers, *levels, auto=not by_hand)


def _address(asked: Asked) -> str:
    """What the address keeps of it: nothing of a page that stands as it opens."""
    settings, example = asked.settings, asked.intake.example
    told: dict[str, Any] = {}
    if not settings.auto:
        values = dict(part.split("=") for part in str(settings.manner).partition(":")[2].split(","))
        told = {key: values[name] for key, name in _MANNER.items() if name in values}
        told = {"manner": settings.manner.kind} | told
    told |= {"t": f"{settings.temperature:g}", "n": settings.n, "seed": settings.seed}
    if settings.mixed:
        told |= {key: getattr(settings, key) for key in _LEVELS}
    if replace(settings, manner=_DEFAULT.manner) == _DEFAULT and settings.auto and not example:
        return ""
    return urlencode(told | ({"example": example} if example else {}), safe="/")
