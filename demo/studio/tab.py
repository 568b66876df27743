"""The Studio tab: evidence, sliders, and samples that follow them."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlencode

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from transflow_core.engine import Engine
from transflow_core.images import to_pil
from transflow_core.intake import Intake
from transflow_core.limits import SAMPLES, SEED, TEMPERATURE

from ..engines import Engines
from ..events import on
from ..panel import EvidencePanel
from ..queues import Stop
from ..render import sheet
from ..session import Session
from ..widgets import log_slider, renamed
from .results import Results, Screen, Whole
from .settings import Asked, Settings

__all__ = ["Studio"]

_MOST_LEVELS = 8
_PLACE, _TAB = "samples", "studio"
_DEFAULT, _NOTHING = Settings(), Intake()
# The address keeps the settings: it can be sent to somebody, and a reload comes back to them.
_KEYS = ("lam", "t", "n", "seed")
_ADDRESS_JS = """
told => {
  const query = new URLSearchParams(location.search);
  for (const key of ['lam', 't', 'n', 'seed', 'example']) query.delete(key);
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
                # λ first and the samples right below it: on a phone too, both are in sight while it is dragged.
                self._lam = log_slider(_DEFAULT.lam_ratio, name="λ/m, how far samples may stray", elem_id="lam")
                self._sheet = gr.HTML(elem_id="sheet", elem_classes="sheet", label="Samples")
                self._status = gr.HTML("", elem_id="samples-status", elem_classes="status")
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
                log_slider(_DEFAULT.lam_ratio, name=name, elem_id=f"lam-{i}", visible=bool(name))
                for i, name in enumerate(_level_names(engine))
            ]

    def _wire(self, prior: Component, follow: Sequence[Dependency], demo: gr.Blocks) -> None:
        main = [self._lam, self._temperature, self._n, self._seed]
        controls = [prior, *main, self._by_level, *self._levels]
        shown = [self._sheet, self._status, self._address, *self._results.outputs]
        sliders = [self._lam, self._temperature, self._n, *self._levels]
        on([s.input for s in sliders], self._preview, controls, [self._sheet, self._status], trigger_mode="always_last")
        on(self._dice.click, self._roll, (), self._seed)
        named = [prior, self._address]
        query = "prior => [prior, location.search.slice(1)]"
        opened = on(demo.load, self._open, named, [*self._panel.outputs, *main], js=query)
        reset = on(self._reset.click, self._defaults, (), controls[1:])
        released = [*(s.release for s in sliders), self._seed.change, self._by_level.change]
        on([*opened, *reset, *released], self._refresh, controls, shown)
        on(self._panel.events, self._evidence_changed, controls, shown)
        for key, tab in self._results.tabs.items():
            on(tab.select, partial(self._look, key), controls, shown)
        on(self._address.change, None, self._address, js=_ADDRESS_JS)
        on(follow, self._relevel, prior, self._levels)

    # What is asked for --------------------------------------------------------------------------------------------

    def _asked(self, session: Session, prior: str, values: Sequence[Any]) -> tuple[Asked, Engine]:
        """What the controls say. Evidence that is still to be read under a prior chosen just now is none."""
        engine, intake = self._engines.get(prior), self._panel.intake(session)
        given = intake.prior == prior and (intake.saved is not None or len(intake.evidence))
        lam, temperature, n, seed, by_level, *levels = values
        settings = Settings.checked(lam, temperature, n, seed, levels[: len(engine.prior.levels)] if by_level else ())
        return Asked(intake if given else _NOTHING, prior, settings), engine

    def _roll(self, session: Session) -> dict:
        return {self._seed: random.randrange(10_000)}

    def _defaults(self, session: Session) -> dict:
        return self._set(_DEFAULT) | {self._by_level: False} | dict.fromkeys(self._levels, _DEFAULT.lam_ratio)

    def _set(self, settings: Settings) -> dict:
        return {
            self._lam: settings.lam_ratio,
            self._temperature: settings.temperature,
            self._n: settings.n,
            self._seed: settings.seed,
        }

    def _relevel(self, session: Session, prior: str) -> dict:
        """Another prior may have other levels: name and show as many sliders."""
        names = _level_names(self._engines.get(prior))
        return {self._levels[i]: renamed(name, f"lam-{i}", bool(name)) for i, name in enumerate(names)}

    def _open(self, session: Session, prior: str, query: str) -> dict:
        """The page opens with the settings and the example set that its address names."""
        told = dict(parse_qsl(query))
        values = [_DEFAULT.lam_ratio, _DEFAULT.temperature, _DEFAULT.n, _DEFAULT.seed]
        settings = _DEFAULT
        with contextlib.suppress(ValueError):  # an address that was typed wrong opens with the defaults
            lam, temperature, n, seed = (float(told.get(key) or v) for key, v in zip(_KEYS, values, strict=True))
            settings = Settings.checked(lam, temperature, n, seed)
        shown = self._panel.open(session, told["example"], prior) if "example" in told else {}
        return shown | self._set(settings)

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
        opening = session.of_kind(Screen).asked is None and not self._panel.intake(session).prior
        if not opening and not session.busy(self._panel.place):
            yield from self._refresh(session, prior, *values)

    def _look(self, key: str, session: Session, prior: str, *values: Any) -> Iterator[dict]:
        """An inner tab was opened; the first one opens with the page, which sees to it."""
        screen = session.of_kind(Screen)
        if screen.looked == key and screen.whole is None:
            return
        screen.looked = key
        asked, engine = self._asked(session, prior, values)
        with session.turn(_PLACE) as stop:
            yield from self._fill(session, asked, engine, stop)

    def _refresh(self, session: Session, prior: str, *values: Any) -> Iterator[dict]:
        """Bring what is looked at to what the controls and the evidence say; the newest such wish ends the older."""
        asked, engine = self._asked(session, prior, values)
        screen = session.of_kind(Screen)
        if session.tab != _TAB or (screen.asked == asked and session.busy(_PLACE)):
            return
        screen.asked = asked
        with session.turn(_PLACE, newest=True) as stop:
            yield from self._fill(session, asked, engine, stop)

    def _fill(self, session: Session, asked: Asked, engine: Engine, stop: Stop) -> Iterator[dict]:
        """The samples first, then the inner tab that is looked at, then the address: only what is not so already."""
        screen = session.of_kind(Screen)
        screen.asked = asked
        if screen.whole is None or screen.whole.asked != asked:
            started, posterior = time.perf_counter(), asked.posterior(engine)
            x = engine.sample(asked.sampler(engine), stop=stop, **asked.settings.draws)
            screen.whole = Whole(asked, engine, posterior, to_pil(x), time.perf_counter() - started)
            yield {self._sheet: sheet(x, "samples"), self._status: _timing(asked, screen.whole.seconds)}
        yield from self._results.fill(screen, screen.whole, stop)
        yield {self._address: _address(asked)}


def _level_names(engine: Engine) -> list[str]:
    """What the sliders of the levels are called; "" for those that this prior has no level for."""
    names = [f"λ/m of level {level.name}" for level in engine.prior.levels][:_MOST_LEVELS]
    names[0] += " (finest: texture)"
    names[-1] += " (coarsest: pose and face shape)"
    return names + [""] * (_MOST_LEVELS - len(names))


def _timing(asked: Asked, seconds: float) -> str:
    settings, intake = asked.settings, asked.intake
    words = f"λ/m = {settings.words}, m = {intake.posterior().m:g}" if intake.ready else "the prior itself"
    return f"{words} · {settings.n} samples in {seconds:.2f} s · seed {settings.seed}"


def _address(asked: Asked) -> str:
    """What the address keeps of it: nothing of a page that stands as it opens."""
    settings, example = asked.settings, asked.intake.example
    if settings == _DEFAULT and not example:
        return ""
    values = (f"{settings.lam_ratio:g}", f"{settings.temperature:g}", settings.n, settings.seed)
    return urlencode(dict(zip(_KEYS, values, strict=True)) | ({"example": example} if example else {}))
