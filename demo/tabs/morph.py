"""The morph: the samples of the Studio one after another, each into the next, as a picture that moves."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from transflow_core.images import save_animation
from transflow_core.limits import MOST_DECODED
from transflow_core.operations.sampling import morph

from ..controls import ANIMATIONS, Working, downloads
from ..render import uri_of
from ..server.admission import EXPORTS, CancelToken
from ..server.events import Updates, on
from ..server.state import Session
from .studio_results import QUEUE, Result, View, result_of

_PART = "morph"
_IN_SIGHT_JS = """const show = () => element.querySelector('img')?.scrollIntoView({block: 'nearest'});
new MutationObserver(show).observe(element, {childList: true, subtree: true});
show();"""
_FEWEST, _MOST = 3, 16
"""Frames of each sample: as many as one call may decode for all, and within these."""


@dataclass
class _State:
    """A visitor's morph: its frames, what they were made from, and their pixels a side."""

    made: tuple[list[Image.Image], Result, int] | None = None


class Morph:
    """Build a button, what it plays, and its downloads inside the current Blocks.

    Attributes:
        working: what shows its progress.
        outputs: all that its events update.
    """

    def __init__(self) -> None:
        with gr.Row(equal_height=True, elem_id="morph-row"):
            run = gr.Button("Play all as a morph", elem_id="morph-run", min_width=220, scale=0)
            self.working = Working(_PART)
        with gr.Column(visible=False, elem_id="morph") as self._made:
            label = "The samples as a morph"
            self._shown = gr.HTML("", js_on_load=_IN_SIGHT_JS, elem_id="morph-shown", label=label)
            downloads(ANIMATIONS, self._export, prefix="morph", outputs=[self.working.output])
        self.outputs = [self.working.output, self._made, self._shown]
        on(run.click, self._run, (), self.outputs)

    def gone(self, session: Session) -> Updates:
        """Hide what was made from other samples than those that are shown, and the words about it."""
        state, says = session.state(_State), self.working.clear(session)
        if state.made is None:
            return says
        state.made = None
        return says | {self._made: gr.update(visible=False), self._shown: ""}

    def _run(self, session: Session) -> Iterator[Updates]:
        with (yield session.queued(QUEUE)):  # samples that are still being drawn come first
            result = result_of(session)
        n, side = result.request.recipe.n, result.request.side(result.engine)
        if n < 2:
            raise ValueError("A morph needs two samples or more.")
        with (yield session.queued(_PART, newest=True)) as cancel:
            started = time.perf_counter()
            frames = yield from self._make(session, result, side, cancel)
            if frames is None:
                return
            yield self.working.says("Writing the animation …")
            path = session.file("morph-shown.webp")
            save_animation(frames, path, loop=True)
            if session.state(View).result is not result:
                yield self.gone(session) | self.working.says("Other faces are shown now. Play these.")
                return
            alt, (width, height) = f"{n} faces, each turns into the next", frames[0].size
            src = uri_of(path.read_bytes(), "WEBP")
            text = f"{len(frames)} pictures in {time.perf_counter() - started:.1f} s."
            yield self.working.says(text) | {
                self._shown: f'<img class="picture" src="{src}" alt="{alt}" width="{width}" height="{height}">',
                self._made: gr.update(visible=True),
            }

    def _make(
        self, session: Session, result: Result, side: int, cancel: CancelToken
    ) -> Generator[Updates, None, list[Image.Image] | None]:
        """The frames at so many pixels a side; None if it was stopped."""
        engine, draws = result.engine, result.request.draws
        steps = max(_FEWEST, min(_MOST, MOST_DECODED // draws["n"]))

        def make(progress: Any, **how: Any) -> list[Image.Image]:
            samples = engine.sample(result.sampler, side=side, **draws, **how)
            return morph(engine, result.sampler, samples, steps, progress=progress, **how)

        frames = yield from self.working.run(make, cancel, engine, "pictures")
        if frames is not None:
            session.state(_State).made = frames, result, side
        return frames

    def _export(self, kind: str, session: Session) -> Generator[Updates, Any, Path | None]:
        """A file with all pixels of the model, which are drawn for the first one."""
        state = session.state(_State)
        with (yield session.queued(_PART)) as cancel:  # a morph that is being made comes first
            if state.made is None:
                raise ValueError("There is nothing to save yet. Play the morph first.")
            frames, result, side = state.made
            if side < (full := result.engine.prior.image_size):
                frames = yield from self._make(session, result, full, cancel)
                if frames is None:
                    return None
                yield self.working.says(f"{len(frames)} pictures.")
        with (yield EXPORTS.request(session.id)):
            save_animation(frames, path := session.file(f"morph.{kind}"), loop=True)
        return path
