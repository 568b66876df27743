"""The Interpolate tab: two posteriors, and everything between them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from functools import partial
from html import escape
from typing import Any

import gradio as gr

from transflow_core.engine import Cancelled, Engine

from ..engines import Engines
from ..examples import example_sets
from ..panel import EvidencePanel, Given
from ..session import Workspace
from ..widgets import log_slider
from .decoding import Result, Work, write
from .player import player, player_value
from .route import METHODS, MOST_DRAWS, MOST_STEPS, Route, RouteSettings, name_of, routes
from .snippet import command_line, python_code

__all__ = ["Interpolate"]

DEFAULT = RouteSettings()
_TRY = ("greyscale", "red_hair")
_EXPORTS = {
    "png": "Strip (PNG)",
    "webp": "Animation (WebP)",
    "gif": "Animation (GIF)",
    "mp4": "Video (MP4)",
    "a": "Posterior A",
    "b": "Posterior B",
}
# Seconds that nobody needs to be told about.
_QUICK = 0.5
# The file was written because it was asked for, so the browser takes it at once.
_FETCH_JS = "() => { setTimeout(() => document.querySelector('#ID').click(), 50); }"


class _Runs:
    """A session's runs, of which only the newest counts, and what the last complete one made."""

    def __init__(self) -> None:
        self.result: Result | None = None
        self.by_hand = False
        self._current = threading.Event()

    def __deepcopy__(self, memo: dict) -> _Runs:
        return _Runs()

    def begin(self) -> threading.Event:
        """A new run: ends the one before, and gives the event that ends this one."""
        self.stop(by_hand=False)
        self._current = threading.Event()
        return self._current

    def stop(self, by_hand: bool = True) -> None:
        """End the run under way: the person pressed Stop, or something newer is asked for."""
        self.by_hand = by_hand
        self._current.set()


class Interpolate:
    """Build the tab inside the current Blocks.

    Args:
        engines: the priors that the page serves.
        prior: the component with the name of this session's prior.
        first_prior: name of the prior that a session starts with.
    """

    def __init__(self, engines: Engines, prior: gr.components.Component, first_prior: str) -> None:
        self._engines = engines
        self._runs = gr.State(_Runs(), time_to_live=3600)
        self._workspace = gr.State(Workspace(), time_to_live=3600, delete_callback=Workspace.close)
        with gr.Row(elem_id="interpolate-tab"):
            self.a, self.lam_a = self._build_end("A", "where it starts", first_prior, prior)
            with gr.Column(scale=6, min_width=340, elem_id="interpolate-way"):
                # Controls above what they change: a strip that grows must not push a slider from under the pointer.
                self._build_controls()
                self._player = player("player")
                self._build_exports()
            self.b, self.lam_b = self._build_end("B", "where it ends", first_prior, prior)
        with gr.Accordion("The same as code", open=False, elem_id="interpolate-code"):
            self._python = gr.Code(language="python", label="Python", elem_id="interpolate-python", wrap_lines=True)
            self._shell = gr.Code(
                language="shell",
                label="Command line",
                elem_id="interpolate-shell",
                wrap_lines=True,
            )
        self._wire(prior)

    def _build_end(
        self, letter: str, about: str, first_prior: str, prior: gr.components.Component
    ) -> tuple[EvidencePanel, gr.HTML]:
        with gr.Column(scale=4, min_width=280, elem_id=f"interpolate-{letter.lower()}"):
            gr.Markdown(f"### {letter}, {about}")
            lam = log_slider(0.5, name=f"λ/m of {letter}", elem_id=f"lam-{letter.lower()}")
            panel = EvidencePanel(
                self._engines, prior, title=letter, elem_id=f"side-{letter.lower()}", first_prior=first_prior
            )
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
        self.method = gr.Radio(
            [(title, key) for key, title in METHODS.items()],
            value=DEFAULT.method,
            label="Method",
            info="Direct joins the latents of two images: the first in use of A, and of B.",
            elem_id="interpolate-method",
        )
        with gr.Accordion("Steps, draws, temperature, seed", open=False, elem_id="interpolate-more"):
            with gr.Row():
                self.steps = gr.Slider(
                    3, MOST_STEPS, DEFAULT.steps, step=1, label="Steps", elem_id="interpolate-steps", min_width=140
                )
                self.n = gr.Slider(
                    1, MOST_DRAWS, DEFAULT.n, step=1, label="Draws", elem_id="interpolate-draws", min_width=140
                )
            with gr.Row():
                self.temperature = gr.Slider(
                    0,
                    1.5,
                    DEFAULT.temperature,
                    step=0.05,
                    label="Temperature",
                    elem_id="interpolate-temperature",
                    min_width=140,
                )
                self.seed = gr.Number(
                    DEFAULT.seed,
                    label="First seed",
                    precision=0,
                    minimum=0,
                    maximum=2**31 - 1,
                    elem_id="interpolate-seed",
                    min_width=140,
                )

    def _build_exports(self) -> None:
        self._exports: dict[str, tuple[gr.Button, gr.DownloadButton]] = {}
        with gr.Row(elem_id="interpolate-exports"):
            for kind, label in _EXPORTS.items():
                button = gr.Button(label, size="sm", min_width=120, elem_id=f"interpolate-get-{kind}")
                file = gr.DownloadButton(label, visible="hidden", elem_id=f"interpolate-file-{kind}")
                self._exports[kind] = button, file

    def _wire(self, prior: gr.components.Component) -> None:
        quiet = {"show_progress": "hidden", "api_visibility": "private"}
        at_once = {**quiet, "queue": False, "trigger_mode": "multiple"}
        settings = [self.method, self.lam_a, self.lam_b, self.steps, self.n, self.seed, self.temperature]
        inputs = [self._runs, self.a.given, self.b.given, prior, *settings]
        outputs = [self._player, self._status, self._stop_button, self._python, self._shell]

        def supersede(runs: _Runs) -> None:
            runs.stop(by_hand=False)

        # Whatever runs ends at its next batch, and the newest settings follow: a drag is never waited for.
        changed = [
            gr.on(
                [
                    self._run_button.click,
                    self.method.change,
                    self.seed.change,
                    *(slider.input for slider in (self.lam_a, self.lam_b, self.steps, self.n, self.temperature)),
                ],
                supersede,
                self._runs,
                None,
                **at_once,
            ),
            self._try.click(
                self._take_examples,
                prior,
                [*self.a.outputs, *self.b.outputs, self._status],
                concurrency_limit=2,
                concurrency_id="invert",
                **quiet,
            ).then(supersede, self._runs, None, **at_once),
            *self.a.then(supersede, [self._runs], [], **at_once),
            *self.b.then(supersede, [self._runs], [], **at_once),
        ]
        for event in changed:
            event.then(
                self._run,
                inputs,
                outputs,
                concurrency_limit=1,
                concurrency_id="decode",
                trigger_mode="always_last",
                **quiet,
            )
        self._stop_button.click(lambda runs: runs.stop(), self._runs, None, queue=False, **quiet)
        for kind, (button, file) in self._exports.items():
            button.click(
                partial(self._export, kind),
                [self._runs, self._workspace],
                [file, self._status],
                concurrency_limit=2,
                concurrency_id="export",
                **quiet,
            ).success(None, None, None, js=_FETCH_JS.replace("ID", f"interpolate-file-{kind}"), **quiet)

    def _take_examples(self, prior: str) -> Iterator[tuple]:
        """Both ends filled at one click."""
        keys = [key for key in _TRY if key in example_sets()]
        shown = [gr.skip()] * (len(self.a.outputs) + len(self.b.outputs))
        for index, (panel, key) in enumerate(zip((self.a, self.b), keys, strict=True)):
            yield (*shown, _status(f"Reading {example_sets()[key].title} …", index, len(keys)))
            start = index * len(self.a.outputs)
            shown[start : start + len(panel.outputs)] = panel.open(key, prior)
        yield (*shown, _status(""))

    def _run(self, runs: _Runs, given_a: Given, given_b: Given, prior: str, *values: Any) -> Iterator[tuple]:
        """The strip first, since it is what was asked for; then the frames between its steps, for the scrubber."""
        event = runs.begin()
        if not (given_a.ready or given_b.ready) or {given_a.prior, given_b.prior} != {prior}:
            runs.result = None
            yield None, _status(""), gr.update(interactive=False), "", ""
            return
        try:
            settings = RouteSettings.checked(*values)
            if settings.method == "direct" and not (given_a.ready and given_b.ready):
                runs.result = None
                yield None, _status("Direct needs an image in A and one in B."), gr.update(interactive=False), "", ""
                return
            engine = self._engines.get(prior)
            shown, notes = routes(settings, given_a, given_b, engine.prior.dim)
        except (ValueError, OSError) as error:
            message = str(error)
            raise gr.Error(message[:1].upper() + message[1:], print_exception=False) from error
        work = Work(engine, event, settings, shown)
        how = _how(engine, settings, given_a, given_b, shown)
        code = python_code(shown, given_a, given_b, settings), command_line(shown, given_a, given_b, settings)
        ends = name_of(given_a), name_of(given_b)
        kept, enabled, disabled = gr.skip(), gr.update(interactive=True), gr.update(interactive=False)
        try:
            for _ in work.decode_strips():
                if work.seconds > _QUICK:
                    yield kept, _progress(work), enabled, kept, kept
            runs.result = work.result(how)
            yield _value(runs.result, ends), _progress(work), enabled, *code
            for _ in work.decode_between():
                if work.seconds > _QUICK:
                    yield kept, _progress(work), enabled, kept, kept
        except Cancelled:
            # What is shown stays. Something newer says for itself what it does.
            said = f"Stopped after {work.done} of {work.total} images." if runs.by_hand else ""
            yield kept, _status(said), disabled, kept, kept
            return
        runs.result = work.result(how)
        words = (
            f"{settings.steps} steps, {settings.frames} frames · {work.total} images in {work.seconds:.2f} s · "
            f"seed {settings.seed}."
        )
        yield _value(runs.result, ends), _status(" ".join([words, *notes])), disabled, *code

    def _export(self, kind: str, runs: _Runs, workspace: Workspace) -> Iterator[tuple]:
        """Write one file, because somebody asked for it."""
        result = runs.result
        if result is None:
            raise gr.Error(
                "There is nothing to save yet. Give A and B evidence and wait for the picture.",
                print_exception=False,
            )
        label = _EXPORTS[kind]
        yield gr.skip(), _status(f"Writing {label} …")
        path = write(kind, result, workspace)
        yield str(path), _status(f"{path.name}: {path.stat().st_size / 1000:,.0f} KB")


def _value(result: Result, ends: tuple[str, str]) -> dict[str, Any]:
    strips = [(route.title, route.caption, images) for route, images in zip(result.shown, result.strips, strict=True)]
    return player_value(result.frames, strips, ends=ends, cell_names=result.cell_names)


def _status(words: str, done: int | None = None, total: int = 1) -> str:
    bar = f'<progress value="{done}" max="{total}" aria-label="Progress"></progress> ' if done is not None else ""
    return f'<div class="status" role="status">{bar}{escape(words)}</div>'


def _progress(work: Work) -> str:
    """A bar, or nothing while it is quick."""
    if work.seconds <= _QUICK:
        return _status("")
    return _status(f"{work.done} of {work.total} images", work.done, work.total)


def _how(
    engine: Engine, settings: RouteSettings, given_a: Given, given_b: Given, shown: Sequence[Route]
) -> dict[str, str]:
    """What the PNG says of itself."""
    return {
        "command": "interpolate",
        "method": ", ".join(route.key for route in shown),
        "a": name_of(given_a),
        "b": name_of(given_b),
        "lam_ratio_a": f"{settings.lam_a:g}",
        "lam_ratio_b": f"{settings.lam_b:g}",
        "steps": str(settings.steps),
        "n": str(settings.n),
        "seed": str(settings.seed),
        "temperature": f"{settings.temperature:g}",
        "prior": engine.prior.name,
        "fingerprint": engine.prior.fingerprint,
    }
