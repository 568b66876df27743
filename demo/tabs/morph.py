"""The morph: the samples of the Studio one after another, each into the next, as a picture that moves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from transflow_core.images import save_animation
from transflow_core.limits import MOST_DECODED
from transflow_core.operations.sampling import morph

from ..controls import ANIMATIONS, Working, downloads
from ..render import uri_of
from ..server.events import Updates, on
from ..server.state import Session

if TYPE_CHECKING:
    from .studio_results import Result


_PART = "morph"
_FEWEST, _MOST = 3, 16
"""Frames of each sample: as many as one call may decode for all, and within these."""


@dataclass
class _State:
    """The frames of a visitor's morph."""

    frames: list[Image.Image] | None = None


class Morph:
    """Build a button, what it plays, and its downloads inside the current Blocks.

    Args:
        result_of: the samples that a visitor sees. Raises ValueError while there are none.
    """

    def __init__(self, result_of: Callable[[Session], Result]) -> None:
        self._result_of = result_of
        with gr.Row(equal_height=True, elem_id="morph-row"):
            run = gr.Button("Play all as a morph", elem_id="morph-run", min_width=220, scale=0)
            self._working = Working(_PART, "morph")
        with gr.Column(visible=False, elem_id="morph") as self._made:
            self._shown = gr.HTML("", elem_id="morph-shown", label="The samples as a morph")
            downloads(ANIMATIONS, self._export, prefix="morph")
        on(run.click, self._run, (), [*self._working.outputs, self._made, self._shown])

    def _run(self, session: Session) -> Iterator[Updates]:
        result = self._result_of(session)
        engine, draws, state = result.engine, result.request.draws, session.state(_State)
        if draws["n"] < 2:
            raise ValueError("A morph needs two samples or more.")
        with session.queued(_PART, newest=True) as cancel:
            started, steps = time.perf_counter(), max(_FEWEST, min(_MOST, MOST_DECODED // draws["n"]))

            def make(**how: Any) -> list[Image.Image]:
                return morph(engine, result.sampler, engine.sample(result.sampler, **draws, **how), steps, **how)

            frames = yield from self._working.run(make, cancel, engine, "pictures")
            if frames is None:
                return
            state.frames = frames
            path = session.file("morph-shown.webp")
            save_animation(frames, path, loop=True)
            alt = f"{draws['n']} faces, each turns into the next"
            text = f"{len(frames)} pictures in {time.perf_counter() - started:.1f} s."
            yield self._working.says(text) | {
                self._shown: f'<img class="picture" src="{uri_of(path.read_bytes(), "WEBP")}" alt="{alt}">',
                self._made: gr.update(visible=True),
            }

    def _export(self, kind: str, session: Session) -> Path:
        frames, path = session.state(_State).frames, session.file(f"morph.{kind}")
        if frames is None:
            raise ValueError("There is nothing to save yet. Play the morph first.")
        save_animation(frames, path, loop=True)
        return path
