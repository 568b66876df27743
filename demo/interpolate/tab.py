"""The Interpolate tab: two posteriors, and everything between them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import gradio as gr
from gradio.events import Dependency

from transflow_core.images import writes_mp4
from transflow_core.intake import Intake
from transflow_core.limits import STEPS_SLIDER
from transflow_core.posterior import Recommendation
from transflow_core.prior import Prior
from transflow_core.recipes import Interpolate as Recipe
from transflow_core.recipes import within
from transflow_core.views import to_link, to_metadata
from transflow_core.worker import Cancelled

from ..engines import Engines
from ..errors import words_of
from ..events import on
from ..examples import example_sets, title_of
from ..method import MethodChoice
from ..panel import EvidencePanel
from ..render import progress
from ..session import Session
from ..widgets import code, download, log_slider, relay, whole_number
from .decoding import Decoding, Result, write
from .mix import MixPanel
from .player import player, player_value
from .route import DRAWS, PATHS, Route, RouteSettings, routes
from .snippet import command_line, python_code

__all__ = ["Interpolate"]

DEFAULT = RouteSettings()
PLACE = "interpolate"
_TRY = ("greyscale", "red_hair")
_EXPORTS = {
    "png": "Strip (PNG)",
    "webp": "Animation (WebP)",
    "gif": "Animation (GIF)",
    **({"mp4": "Video (MP4)"} if writes_mp4() else {}),
    "a": "Posterior A",
    "b": "Posterior B",
}
# Seconds that nobody needs to be told about.
_QUICK = 0.5


@dataclass
class _Kept:
    """What a visitor's tab shows.

    Attributes:
        result: what the files to take away are made of.
        request: evidence, prior and settings of the newest run, while nobody stopped it.
        said: what that run said at its end, or "" until then.
    """

    result: Result | None = None
    request: tuple | None = None
    said: str = ""


class Interpolate:
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
        prior: gr.components.Component,
        follow: Sequence[Dependency],
        arrived: Sequence[Dependency],
        query: gr.components.Component,
    ) -> None:
        self._engines = engines
        with gr.Row(elem_id="interpolate-tab"):
            self.a, self.lam_a = self._build_end("A", "where it starts", prior, follow)
            with gr.Column(scale=6, min_width=340, elem_id="interpolate-way"):
                # Controls above what they change: a strip that grows must not push a slider from under the pointer.
                self._build_controls()
                self._player = player("player")
                with gr.Row(elem_id="interpolate-exports"):
                    for kind, label in _EXPORTS.items():
                        write_it = partial(self._export, kind)
                        download(label, write_it, elem_id=f"interpolate-get-{kind}", size="sm", min_width=120)
            self.b, self.lam_b = self._build_end("B", "where it ends", prior, follow)
        MixPanel(engines, prior, self.a, self.b)
        with gr.Accordion("The same as code", open=False, elem_id="interpolate-code"):
            self._python = code("python", label="Python", elem_id="interpolate-python", wrap_lines=True)
            self._shell = code("shell", label="Command line", elem_id="interpolate-shell", wrap_lines=True)
        self._address = relay("told")
        self._wire(prior, arrived, query)

    def _build_end(
        self, letter: str, about: str, prior: gr.components.Component, follow: Sequence[Dependency]
    ) -> tuple[EvidencePanel, gr.HTML]:
        key = letter.lower()
        with gr.Column(scale=4, min_width=280, elem_id=f"interpolate-{key}"):
            gr.Markdown(f"## {letter}, {about}")
            lam = log_slider(DEFAULT.lam_a, name=f"λ/m of {letter}", elem_id=f"lam-{key}")
            panel = EvidencePanel(self._engines, prior, place=f"side-{key}", title=letter, tab=PLACE, follow=follow)
        return panel, lam

    def _build_controls(self) -> None:
        titles = [example_sets()[key].title for key in _TRY]
        with gr.Row(elem_id="interpolate-buttons"):
            self._run_button = gr.Button("Run", variant="primary", size="md", min_width=70, elem_id="interpolate-run")
            self._stop_button = gr.Button(
                "Stop", variant="stop", size="md", min_width=70, interactive=False, elem_id="interpolate-stop"
            )
            self._try = gr.Button(
                f"Try it: {' → '.join(titles)}", size="md", min_width=200, scale=3, elem_id="interpolate-try"
            )
        self._status = gr.HTML(_status(""), elem_id="interpolate-status", label="What is being done")
        self.path = gr.Radio(
            [(title, key) for key, title in PATHS.items()],
            value=DEFAULT.path,
            label="Method",
            info="Direct joins the latents of two images: the first in use of A, and of B.",
            elem_id="interpolate-path",
        )
        # Folded, so that the picture is in sight when "Try it" is clicked.
        with gr.Accordion("How it draws: method, steps, temperature, seed", open=False, elem_id="interpolate-more"):
            self.method = MethodChoice("interpolate-method")
            with gr.Row():
                self.steps = _slider("Steps", STEPS_SLIDER, DEFAULT.steps)
                self.n = _slider("Draws", DRAWS, DEFAULT.n)
            with gr.Row():
                self.temperature = _slider("Temperature", within(Recipe, "temperature"), DEFAULT.temperature, step=0.05)
                self.seed = whole_number(
                    DEFAULT.seed, within(Recipe, "seed"), label="First seed", elem_id="interpolate-seed", min_width=140
                )

    def _wire(
        self, prior: gr.components.Component, arrived: Sequence[Dependency], query: gr.components.Component
    ) -> None:
        settings = [self.path, self.lam_a, self.lam_b, self.steps, self.n, self.seed, self.temperature]
        settings += self.method.inputs
        kind = self.method.wire([self.lam_a, self.lam_b])
        outputs = [self._player, self._status, self._stop_button, self._python, self._shell, self._address]
        own = [*self.a.outputs, *self.b.outputs, *settings, *self.method.outputs]
        opened = on(arrived, self._open, [prior, query], [*dict.fromkeys(own)])
        tried = on(self._try.click, self._take_examples, prior, [*self.a.outputs, *self.b.outputs, self._status])
        given = [*tried, *self.a.events, *self.b.events, self.method.auto.input]
        chosen = on(given, self._choose, [prior, self.method.auto], self.method.outputs)
        sliders = [self.lam_a, self.lam_b, self.steps, self.n, self.temperature, *self.method.sliders]
        moved = [event for slider in sliders for event in (slider.input, slider.release)]
        changed = [self.path.change, self.seed.change, *moved, *kind, *chosen, *opened]
        on(changed, self._run, [prior, *settings], outputs)
        on(self._run_button.click, partial(self._run, again=True), [prior, *settings], outputs)
        on(self._stop_button.click, self._stop, queue=False)

    def _open(self, session: Session, prior: str, query: str) -> dict:
        """The tab opens with the ends and the settings that its address names."""
        found = dict(parse_qsl(query))
        if found.get("tab") != PLACE:
            return {}
        ends = {key: panel for key, panel in (("a", self.a), ("b", self.b)) if found.get(key) in example_sets()}
        shown = {}
        for key, panel in ends.items():
            for step in panel.open(session, found[key], prior):
                shown |= step
        shown |= self._choose(session, prior, True)
        with contextlib.suppress(ValueError):  # an address that was typed wrong opens with the defaults
            told = settings_in(found)
            if {"method", "manner"} & found.keys():
                shown |= self.method.shown(Recommendation(told.method, ""), False)
                for lam, ratio in ((self.lam_a, told.lam_a), (self.lam_b, told.lam_b)):
                    shown[lam] = shown[lam] | {"value": ratio}
            rest = {self.path: told.path, self.steps: told.steps, self.n: told.n}
            shown |= rest | {self.seed: told.seed, self.temperature: told.temperature}
        return shown

    def _take_examples(self, session: Session, prior: str) -> Iterator[dict]:
        """Both ends filled at one click. The run that follows says what comes next: a status that was emptied here
        could reach a slow browser after the one of a quick run."""
        for panel, key in zip((self.a, self.b), _TRY, strict=True):
            yield {self._status: _status(f"Reading {example_sets()[key].title} …")}
            yield from panel.open(session, key, prior)

    def _choose(self, session: Session, prior: str, auto: bool) -> dict:
        """One method for both ends: the one that suits the end with fewer images."""
        sides = [side.intake(session) for side in (self.a, self.b)]
        posteriors = [side.posterior() for side in sides if side.ready and side.prior == prior]
        if not posteriors:
            return {}
        fewest = min(posteriors, key=lambda posterior: posterior.m)
        if not auto:
            return self.method.limited(fewest.m)
        return self.method.chosen(fewest, self._engines.get(prior))

    def _stop(self, session: Session) -> None:
        session.of_kind(_Kept).request = None
        session.stop(PLACE)

    def _run(self, session: Session, prior: str, *values: Any, again: bool = False) -> Iterator[dict]:
        """The strip first, since it is what was asked for; then the frames between its steps, for the scrubber.

        Whatever runs ends at its next batch, and the newest settings follow: a drag is never waited for. The same once
        more, as when a slider is let go where it was dragged to, is only made if it is asked for `again`.
        """
        kept, a, b = session.of_kind(_Kept), self.a.intake(session), self.b.intake(session)
        if any(side.ready and side.prior != prior for side in (a, b)):
            yield {self._status: _status(f"A and B are read with {prior} …")}  # and this is called again then
            return
        own, method = values[:7], list(values[7:])
        request = (a, b, prior, *own, *method[1:])  # by whom the method was chosen changes nothing
        if request == kept.request and not again:
            if kept.said:
                yield {self._status: _status(kept.said)}
            return
        kept.request, kept.said = request, ""
        with session.turn(PLACE, newest=True) as stop:
            started = time.perf_counter()
            try:
                if not (a.ready or b.ready):
                    nothing = "Give A or B something first: images, an example set, or a posterior that you saved"
                    raise ValueError(nothing if again else "")
                settings = RouteSettings.checked(*own, method=self.method.read(method, own[1]))
                engine = self._engines.get(prior)
                shown, notes = routes(settings, a, b, engine)
            except (ValueError, OSError) as error:
                kept.result, kept.said = None, str(error) and f"{words_of(error).removesuffix('.')}."
                yield self._shown(None, kept.said, running=False)
                return
            decoding = Decoding(engine, stop, settings, shown)
            metadata = _metadata(engine.prior, settings, a, b, shown)

            def so_far() -> dict:
                """A bar, or nothing while it is quick."""
                seconds = time.perf_counter() - started
                if seconds < _QUICK:
                    return {}
                bar = progress(decoding.done, decoding.total, seconds, engine.before, "images")
                return {self._status: _status("", bar), self._stop_button: gr.update(interactive=True)}

            try:
                for _ in decoding.strips():
                    yield so_far()
                kept.result = decoding.result(metadata)
                snippets = python_code(shown, a, b, settings), command_line(shown, a, b, settings)
                ends = title_of(a), title_of(b)
                yield self._shown(player_value(kept.result, ends), "", *snippets, running=True) | so_far()
                for _ in decoding.between():
                    yield so_far()
            except Cancelled:
                # What is shown stays. Something newer says for itself what it does.
                if stop.by_hand:
                    said = f"Stopped after {decoding.done} of {decoding.total} images."
                    yield {self._status: _status(said), self._stop_button: gr.update(interactive=False)}
                return
            kept.result = decoding.result(metadata)
            seconds = time.perf_counter() - started
            words = (
                f"{settings.steps} steps, {settings.frames} frames · {decoding.total} images in {seconds:.2f} s · "
                f"seed {settings.seed}."
            )
            kept.said = " ".join([words, *notes])
            told = {"place": PLACE, "query": address_of(settings, a, b)}
            done = self._shown(player_value(kept.result, ends), kept.said, *snippets, running=False)
            yield done | {self._address: told}

    def _shown(self, value: dict | None, words: str, python: str = "", shell: str = "", *, running: bool) -> dict:
        return {
            self._player: value,
            self._status: _status(words),
            self._stop_button: gr.update(interactive=running),
            self._python: python,
            self._shell: shell,
        }

    def _export(self, kind: str, session: Session) -> Path:
        result = session.of_kind(_Kept).result
        if result is None:
            raise ValueError("There is nothing to save yet. Give A and B evidence and wait for the picture.")
        return write(kind, result, session)


def _slider(label: str, bound: Any, value: float, step: float = 1) -> gr.Slider:
    return gr.Slider(
        bound.low, bound.high, value, step=step, label=label, elem_id=f"interpolate-{label.lower()}", min_width=140
    )


def address_of(settings: RouteSettings, a: Intake, b: Intake) -> str:
    """What an address keeps: all but files of one's own."""
    told = {"tab": PLACE, "a": a.example, "b": b.example, "prior": a.prior or b.prior}
    if settings.path not in ("linear", "wasserstein"):  # two that the page alone has
        told["interpolation"] = settings.path
    return "&".join(filter(None, (urlencode(told, safe="/"), to_link(settings.recipe))))


def settings_in(query: dict[str, str]) -> RouteSettings:
    """The settings in an address, of this version or an earlier one. Raises ValueError for what is none."""
    texts = Recipe.upgrade({name: text for name, text in query.items() if name not in ("a", "b", "prior")})
    path = texts.pop("interpolation", "linear")
    recipe = Recipe.from_texts(texts)
    method = recipe.choices if recipe.method != "auto" else DEFAULT.method
    lams = recipe.lam_ratio_a, recipe.lam_ratio_b
    usual = method.filled().lam_ratio
    lam_a, lam_b = (usual if lam is None else lam for lam in lams)
    return RouteSettings.checked(
        path, lam_a, lam_b, recipe.steps, recipe.n, recipe.seed, recipe.temperature, method.filled()
    )


def _status(words: str, bar: str = "") -> str:
    return f'<div class="status" role="status">{bar}{escape(words)}</div>'


def _metadata(prior: Prior, settings: RouteSettings, a: Intake, b: Intake, shown: list[Route]) -> dict[str, str]:
    """What the files say about how they were made."""
    words = {"interpolation": ", ".join(route.key for route in shown), "a": title_of(a), "b": title_of(b)}
    return to_metadata(settings.recipe) | words | prior.provenance
