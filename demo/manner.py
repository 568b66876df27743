"""The choice of how samples are drawn: three manners in words, the numbers of the one chosen, and "choose for me"."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from transflow_core.drawing import TITLES, ask
from transflow_core.engine import Engine
from transflow_core.limits import LAM_RATIO_SLIDER, LIKENESS, PIECES, Range, choice
from transflow_core.posterior import DEFAULT_MANNER, KINDS, Choice, Manner, Posterior

from .events import on
from .session import Session
from .widgets import slider

__all__ = ["MannerChoice"]

_HELP = {
    "local": "Each sample is put together from several of your images, each place of it from another one.",
    "blend": "Each sample averages a few of your images. Fewer images give crisper samples, but nearly copies.",
    "mean": "The paper's method. Samples show only what all your images share.",
}
_FEWEST = 2  # a slider from 1 to 1 cannot be moved
_MOST = 20  # and one as far as this before the evidence is known
Shown = dict[Component, Any]


class MannerChoice:
    """Build the radio, the sliders and the box inside the current Blocks.

    Args:
        elem_id: prefix of the ids of its components.

    Attributes:
        inputs: the components whose values `read` takes, in order; λ/m is not among them.
        outputs: all that `shown` gives values for.
        sliders: those of its own numbers, for previews.
    """

    def __init__(self, elem_id: str) -> None:
        self._lams: Sequence[gr.HTML] = ()
        with gr.Column(elem_id=elem_id, elem_classes="manner"):
            self.kind = gr.Radio(
                [(title, kind) for kind, title in TITLES.items()],
                value=DEFAULT_MANNER.kind,
                label="Draw samples",
                show_label=False,
                container=False,
                elem_id=f"{elem_id}-kind",
            )
            self.auto = gr.Checkbox(True, label="Choose for me", elem_id=f"{elem_id}-auto", container=False)
            self._words = gr.HTML(
                _words(DEFAULT_MANNER.kind), elem_id=f"{elem_id}-words", elem_classes="status", label="Why"
            )
            with gr.Row():
                self._likeness = slider(
                    100 * (DEFAULT_MANNER.likeness or 0),
                    Range(100 * LIKENESS.low, 100 * LIKENESS.high),
                    step=1,
                    name="newer",
                    far="closer to my photos",
                    elem_id=f"{elem_id}-likeness",
                    unit=" %",
                    visible=DEFAULT_MANNER.kind == "local",
                    min_width=220,
                )
                self._pieces = slider(
                    KINDS["blend"].pieces or 1,
                    Range(PIECES.low, _MOST),
                    step=0.5,
                    name="Images in one sample",
                    elem_id=f"{elem_id}-pieces",
                    visible=DEFAULT_MANNER.kind == "blend",
                    min_width=220,
                )

    def wire(self, lams: Sequence[gr.HTML], more: Sequence[Any] = ()) -> list[Dependency]:
        """Moving anything by hand ends "choose for me"; another kind brings its own numbers along.

        Args:
            lams: the sliders of λ/m that go with it.
            more: other events that are a choice by hand.

        Gives when the kind was chosen and its numbers are there.
        """
        self._lams = lams
        moved = [*self.sliders, *lams]
        by_hand = [*(event for one in moved for event in (one.input, one.release)), *more]
        on(by_hand, None, (), self.auto, js="() => false")
        on(self.auto.change, self._reword, [self.kind, self.auto], self._words)
        return on(self.kind.input, self._take_kind, self.kind, self.outputs)

    @property
    def sliders(self) -> list[gr.HTML]:
        """See above."""
        return [self._likeness, self._pieces]

    @property
    def inputs(self) -> list[Component]:
        """See above."""
        return [self.auto, self.kind, *self.sliders]

    @property
    def outputs(self) -> list[Component]:
        """See above."""
        return [*self.inputs, self._words, *self._lams]

    @staticmethod
    def read(values: Sequence[Any], lam_ratio: Any) -> Manner:
        """The manner that the controls say: of untrusted values of `inputs`, out of range is brought into it."""
        _, kind, likeness, pieces = values
        kind = choice(kind, "the manner of drawing", TITLES)
        levels = isinstance(lam_ratio, tuple)
        ratio = tuple(map(_ratio, lam_ratio)) if levels else _ratio(lam_ratio)
        if kind == "local":
            return Manner.local(LIKENESS.clip(_percent(likeness), "likeness"), ratio)
        if kind == "blend":
            return Manner.blend(PIECES.clip(pieces, "the number of pieces"), ratio)
        return Manner.mean(ratio)

    def shown(self, made: Choice, auto: bool, m: float | None = None) -> Shown:
        """The controls at a manner.

        Args:
            made: the manner, and why.
            auto: whether it was chosen for them.
            m: pieces of evidence, where they are known: a slider goes no further.
        """
        manner = made.manner
        blend = manner.pieces if manner.kind == "blend" else KINDS["blend"].pieces
        likeness = manner.likeness if manner.likeness is not None else DEFAULT_MANNER.likeness
        values: Shown = {
            self.auto: auto,
            self.kind: manner.kind,
            self._words: _words(manner.kind, made.why if auto else ""),
            self._likeness: gr.update(value=100 * (likeness or 0), visible=manner.kind == "local"),
            self._pieces: gr.update(most=_most(m), value=min(blend or 1, _most(m)), visible=manner.kind == "blend"),
        }
        ratio = manner.lam_ratio
        for lam in self._lams:
            values[lam] = gr.update(advised=manner.kind == "mean" and not isinstance(ratio, tuple))
            if not isinstance(ratio, tuple):
                values[lam]["value"] = LAM_RATIO_SLIDER.clip(min(ratio, LAM_RATIO_SLIDER.high), "λ/m")
        return values

    def limited(self, m: float) -> Shown:
        """The sliders, going as far as there are pieces of evidence."""
        return {self._pieces: gr.update(most=_most(m))}

    def chosen(self, posterior: Posterior | None, engine: Engine) -> Shown:
        """The controls at the manner that suits the evidence; without any, at the default."""
        if posterior is None:
            return self.shown(Choice(DEFAULT_MANNER, ""), True)
        return self.shown(ask(posterior, looks=engine.looks), True, posterior.m)

    def _reword(self, session: Session, kind: str, auto: bool) -> Shown:
        """What was moved by hand was not chosen."""
        return {} if auto else {self._words: _words(choice(kind, "the manner of drawing", TITLES))}

    def _take_kind(self, session: Session, kind: str) -> Shown:
        kind = choice(kind, "the manner of drawing", TITLES)
        shown = self.shown(Choice(KINDS[kind], ""), False)
        return shown | {self.kind: gr.skip()}


def _most(m: float | None) -> float:
    """How far the slider of pieces goes."""
    return _MOST if m is None else max(_FEWEST, m)


def _percent(value: object) -> object:
    return round(value / 100, 6) if isinstance(value, int | float) else value


def _ratio(value: Any) -> float:
    return LAM_RATIO_SLIDER.clip(value, "λ/m")


def _words(kind: str, why: str = "") -> str:
    chosen = f" <b>Chosen for you:</b> {escape(why)}" if why else ""
    return f"{escape(_HELP[kind])}{chosen}"
