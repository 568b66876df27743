"""The Interpolate tab: a path from one posterior to another."""

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

from transflow_core.evidence import Evidence
from transflow_core.images import writes_mp4
from transflow_core.limits import STEPS_SLIDER
from transflow_core.posterior import Recommendation
from transflow_core.priors.prior import Prior
from transflow_core.recipes import Interpolate as Recipe
from transflow_core.recipes import within
from transflow_core.runtime.worker import Cancelled
from transflow_core.views import to_link, to_metadata

from ..controls import MethodControls, code_pair, downloads, integer, log_slider, number_slider, relay
from ..evidence_panel import EvidencePanel
from ..examples import example_sets, title_of
from ..render import progress
from ..server.errors import message_of
from ..server.events import Updates, on
from ..server.priors import Engines
from ..server.state import Session
from ..snippet import command_line, python_code
from .decoding import Decoding, Result, write
from .mix import MixPanel
from .paths import DRAWS, PATHS, LatentPath, PathSettings, paths_of
from .player import player, player_value
from .snippet import steps_of

__all__ = ["Interpolate"]

DEFAULT = PathSettings()
TAB = "interpolate"
_TRY = ("greyscale", "red_hair")
_EXPORTS = {
    "png": "Strip (PNG)",
    "webp": "Animation (WebP)",
    "gif": "Animation (GIF)",
    **({"mp4": "Video (MP4)"} if writes_mp4() else {}),
    "a": "Posterior A",
    "b": "Posterior B",
}
# Seconds without a progress bar.
_QUICK = 0.5


@dataclass
class _State:
    """A visitor's last run.

    Attributes:
        result: for the files to download.
        request: evidence, prior and settings of the newest run, unless the user stopped it.
        message: the status at the end of that run, or "" until then.
    """

    result: Result | None = None
    request: tuple | None = None
    message: str = ""


class Interpolate:
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
        prior: gr.components.Component,
        follow: Sequence[Dependency],
        arrived: Sequence[Dependency],
    ) -> None:
        self._engines = engines
        with gr.Row(elem_id="interpolate-tab"):
            self.a, self.lam_a = self._build_end("A", "where it starts", prior, follow)
            with gr.Column(scale=6, min_width=340, elem_id="interpolate-path-column"):
                # Controls above what they change: a strip that grows must not push a slider from under the pointer.
                self._build_controls()
                self._player = player("player")
                downloads(_EXPORTS, self._export, prefix="interpolate")
            self.b, self.lam_b = self._build_end("B", "where it ends", prior, follow)
        MixPanel(engines, prior, self.a, self.b)
        self._python, self._shell = code_pair("interpolate-")
        self._address = relay("address")
        self._wire(prior, arrived)

    def _build_end(
        self, letter: str, about: str, prior: gr.components.Component, follow: Sequence[Dependency]
    ) -> tuple[EvidencePanel, gr.HTML]:
        key = letter.lower()
        with gr.Column(scale=4, min_width=280, elem_id=f"interpolate-{key}"):
            gr.Markdown(f"## {letter}, {about}")
            lam = log_slider(DEFAULT.lam_a, name=f"λ/m of {letter}", elem_id=f"lam-{key}")
            panel = EvidencePanel(self._engines, prior, panel=f"side-{key}", title=letter, tab=TAB, follow=follow)
        return panel, lam

    def _build_controls(self) -> None:
        titles = [example_sets()[key].title for key in _TRY]
        with gr.Row(elem_id="interpolate-buttons"):
            self._run_button = gr.Button("Run", variant="primary", size="md", min_width=70, elem_id="interpolate-run")
            self._cancel = gr.Button(
                "Stop", variant="stop", size="md", min_width=70, interactive=False, elem_id="interpolate-stop"
            )
            self._try = gr.Button(
                f"Try it: {' → '.join(titles)}", size="md", min_width=200, scale=3, elem_id="interpolate-try"
            )
        self._status = gr.HTML(_status(""), elem_id="interpolate-status", label="Status")
        self.path = gr.Radio(
            [(title, key) for key, title in PATHS.items()],
            value=DEFAULT.path,
            label="Path",
            info="Direct: a straight line between the first image of A and the first of B.",
            elem_id="interpolate-path",
        )
        # Folded, so that the picture is in sight when "Try it" is clicked.
        with gr.Accordion("Settings: method, steps, temperature, seed", open=False, elem_id="interpolate-more"):
            self.method = MethodControls("interpolate-method")
            with gr.Row():
                self.steps = number_slider("Steps", STEPS_SLIDER, DEFAULT.steps, elem_id="interpolate-steps")
                self.n = number_slider("Draws", DRAWS, DEFAULT.n, elem_id="interpolate-draws")
            with gr.Row():
                self.temperature = number_slider(
                    "Temperature",
                    within(Recipe, "temperature"),
                    DEFAULT.temperature,
                    elem_id="interpolate-temperature",
                    step=0.05,
                )
                self.seed = integer(
                    DEFAULT.seed, within(Recipe, "seed"), label="First seed", elem_id="interpolate-seed", min_width=140
                )

    def _wire(self, prior: gr.components.Component, arrived: Sequence[Dependency]) -> None:
        settings = [self.path, self.lam_a, self.lam_b, self.steps, self.n, self.seed, self.temperature]
        settings += self.method.inputs
        kind = self.method.wire([self.lam_a, self.lam_b])
        outputs = [self._player, self._status, self._cancel, self._python, self._shell, self._address]
        own = [*self.a.outputs, *self.b.outputs, *settings, *self.method.outputs]
        opened = on(arrived, self._open, prior, [*dict.fromkeys(own)])
        tried = on(self._try.click, self._use_examples, prior, [*self.a.outputs, *self.b.outputs, self._status])
        new = [*tried, *self.a.events, *self.b.events, self.method.auto.input]
        chosen = on(new, self._choose, [prior, self.method.auto], self.method.outputs)
        sliders = [self.lam_a, self.lam_b, self.steps, self.n, self.temperature, *self.method.sliders]
        moved = [event for slider in sliders for event in (slider.input, slider.release)]
        changed = [self.path.change, self.seed.change, *moved, *kind, *chosen, *opened]
        on(changed, self._run, [prior, *settings], outputs)
        on(self._run_button.click, partial(self._run, again=True), [prior, *settings], outputs)
        on(self._cancel.click, self._cancel_run, queue=False)

    def _open(self, session: Session, prior: str) -> Updates:
        """The tab opens with the ends and the settings of its address."""
        found = dict(parse_qsl(session.query))
        if found.get("tab") != TAB:
            return {}
        ends = {key: panel for key, panel in (("a", self.a), ("b", self.b)) if found.get(key) in example_sets()}
        updates = {}
        for key, panel in ends.items():
            for step in panel.open(session, found[key], prior):
                updates |= step
        updates |= self._choose(session, prior, True)
        with contextlib.suppress(ValueError):  # an invalid address opens with the defaults
            settings = settings_in(found)
            if {"method", "manner"} & found.keys():
                updates |= self.method.shown(Recommendation(settings.method, ""), False)
                for lam, ratio in ((self.lam_a, settings.lam_a), (self.lam_b, settings.lam_b)):
                    updates[lam] = updates[lam] | {"value": ratio}
            updates |= {self.path: settings.path, self.steps: settings.steps, self.n: settings.n}
            updates |= {self.seed: settings.seed, self.temperature: settings.temperature}
        return updates

    def _use_examples(self, session: Session, prior: str) -> Iterator[Updates]:
        """Fill both ends at one click. The status stays until the run that follows: an empty status could reach a slow
        browser after that of a quick run."""
        for panel, key in zip((self.a, self.b), _TRY, strict=True):
            yield {self._status: _status(f"Reading {example_sets()[key].title} …")}
            yield from panel.open(session, key, prior)

    def _choose(self, session: Session, prior: str, auto: bool) -> Updates:
        """One method for both ends: the one that suits the end with fewer images."""
        sides = [side.evidence(session) for side in (self.a, self.b)]
        posteriors = [side.posterior() for side in sides if side.ready and side.prior == prior]
        if not posteriors:
            return {}
        fewest = min(posteriors, key=lambda posterior: posterior.m)
        if not auto:
            return self.method.limited(fewest.m)
        return self.method.chosen(fewest, self._engines.get(prior))

    def _cancel_run(self, session: Session) -> None:
        session.state(_State).request = None
        session.cancel(TAB)

    def _run(self, session: Session, prior: str, *values: Any, again: bool = False) -> Iterator[Updates]:
        """The strip first; then the frames between its steps, for the scrubber.

        A new request cancels the one that runs, at its next batch. An equal request, such as at the end of a drag, is
        done only with `again`.
        """
        state, a, b = session.state(_State), self.a.evidence(session), self.b.evidence(session)
        if any(side.ready and side.prior != prior for side in (a, b)):
            yield {self._status: _status(f"Reading A and B for {prior} …")}  # and this is called again after that
            return
        own, method = values[:7], list(values[7:])
        request = (a, b, prior, *own, *method[1:])  # `auto` does not matter
        if request == state.request and not again:
            if state.message:
                yield {self._status: _status(state.message)}
            return
        state.request, state.message = request, ""
        with session.queued(TAB, newest=True) as cancel:
            started = time.perf_counter()
            try:
                if not (a.ready or b.ready):
                    nothing = "Add images to A or B first, or an example set, or a saved posterior"
                    raise ValueError(nothing if again else "")
                settings = PathSettings.checked(*own, method=self.method.read(method, own[1]))
                engine = self._engines.get(prior)
                paths, notes = paths_of(settings, a, b, engine)
            except (ValueError, OSError) as error:
                state.result, state.message = None, str(error) and f"{message_of(error).removesuffix('.')}."
                yield self._updates(None, state.message, running=False)
                return
            decoding = Decoding(engine, cancel, settings, paths)
            metadata = _metadata(engine.prior, settings, a, b, paths)

            def bar() -> Updates:
                """A progress bar, after a moment."""
                seconds = time.perf_counter() - started
                if seconds < _QUICK:
                    return {}
                done = progress(decoding.done, decoding.total, seconds, engine.ahead, "images")
                return {self._status: _status("", done), self._cancel: gr.update(interactive=True)}

            try:
                for _ in decoding.strips():
                    yield bar()
                state.result = decoding.result(metadata)
                code_of = steps_of(paths, a, b, settings)
                snippets = python_code(*code_of), command_line(*code_of)
                ends = title_of(a), title_of(b)
                yield self._updates(player_value(state.result, ends), "", *snippets, running=True) | bar()
                for _ in decoding.inner_frames():
                    yield bar()
            except Cancelled:
                # The result so far stays. A newer request has a status of its own.
                if cancel.by_user:
                    message = f"Stopped after {decoding.done} of {decoding.total} images."
                    yield {self._status: _status(message), self._cancel: gr.update(interactive=False)}
                return
            state.result = decoding.result(metadata)
            seconds = time.perf_counter() - started
            message = (
                f"{settings.steps} steps, {settings.frames} frames · {decoding.total} images in {seconds:.2f} s · "
                f"seed {settings.seed}."
            )
            state.message = " ".join([message, *notes])
            address = {"tab": TAB, "query": address_of(settings, a, b)}
            done = self._updates(player_value(state.result, ends), state.message, *snippets, running=False)
            yield done | {self._address: address}

    def _updates(
        self, value: dict | None, message: str, python: str = "", shell: str = "", *, running: bool
    ) -> Updates:
        return {
            self._player: value,
            self._status: _status(message),
            self._cancel: gr.update(interactive=running),
            self._python: python,
            self._shell: shell,
        }

    def _export(self, kind: str, session: Session) -> Path:
        result = session.state(_State).result
        if result is None:
            raise ValueError("There is nothing to save yet. Add images to A and B, and wait for the strip.")
        return write(kind, result, session)


def address_of(settings: PathSettings, a: Evidence, b: Evidence) -> str:
    """The address of a result: all but the user's own files."""
    values = {"tab": TAB, "a": a.example, "b": b.example, "prior": a.prior or b.prior}
    if settings.path not in ("linear", "wasserstein"):  # two that the page alone has
        values["interpolation"] = settings.path
    return "&".join(filter(None, (urlencode(values, safe="/"), to_link(settings.recipe))))


def settings_in(query: dict[str, str]) -> PathSettings:
    """The settings in an address, of this version or an earlier one. Raises ValueError for an invalid one."""
    texts = Recipe.upgrade({name: text for name, text in query.items() if name not in ("a", "b", "prior")})
    path = texts.pop("interpolation", "linear")
    recipe = Recipe.from_texts(texts)
    method = recipe.choices if recipe.method != "auto" else DEFAULT.method
    lams = recipe.lam_ratio_a, recipe.lam_ratio_b
    default = method.filled().lam_ratio
    lam_a, lam_b = (default if lam is None else lam for lam in lams)
    return PathSettings.checked(
        path, lam_a, lam_b, recipe.steps, recipe.n, recipe.seed, recipe.temperature, method.filled()
    )


def _status(message: str, bar: str = "") -> str:
    return f'<div class="status" role="status">{bar}{escape(message)}</div>'


def _metadata(
    prior: Prior, settings: PathSettings, a: Evidence, b: Evidence, paths: list[LatentPath]
) -> dict[str, str]:
    """The text inside the files: how they were made."""
    texts = {"interpolation": ", ".join(path.key for path in paths), "a": title_of(a), "b": title_of(b)}
    return to_metadata(settings.recipe) | texts | prior.provenance
