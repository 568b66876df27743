"""The choice of how samples are drawn: three manners in words, the numbers of the one chosen, and "choose for me"."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from transflow_core.drawing import TITLES, ask
from transflow_core.limits import LAM_RATIO_SLIDER, LIKENESS, PIECES, choice
from transflow_core.posterior import DEFAULT_MANNER, KINDS, Choice, Manner, Posterior

from .events import on
from .session import Session
from .widgets import lam_update

__all__ = ["MannerChoice"]

_HELP = {
    "predictive": "Each sample is a new member of the set; with more likeness it leans more on one of your images.",
    "blend": "Each sample is mixed from a few of your images: the fewer, the crisper, and the nearer to copies.",
    "mean": "What your images have in common, drawn as in the paper: a tint of the set on what the model knows.",
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
        row: where its sliders are: λ/m may stand beside them.
    """

    def __init__(self, elem_id: str) -> None:
        self._lams: Sequence[tuple[gr.HTML, str]] = ()
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
            with gr.Row() as self.row:
                self._likeness = gr.Slider(
                    100 * LIKENESS.low,
                    100 * LIKENESS.high,
                    100 * (DEFAULT_MANNER.likeness or 0),
                    step=1,
                    label="Likeness, %",
                    visible=DEFAULT_MANNER.kind == "predictive",
                    elem_id=f"{elem_id}-likeness",
                    min_width=220,
                )
                self._pieces = _pieces(
                    "Images in one sample", KINDS["blend"].pieces, f"{elem_id}-pieces", min_width=220
                )

    def wire(self, lams: Sequence[tuple[gr.HTML, str]], more: Sequence[Any] = ()) -> list[Dependency]:
        """Moving anything by hand ends "choose for me"; another kind brings its own numbers along.

        Args:
            lams: the sliders of λ/m that go with it, with their names.
            more: other events that are a choice by hand.

        Gives when the kind was chosen and its numbers are there.
        """
        self._lams = lams
        by_hand = [*(slider.input for slider in self.sliders), *(lam.input for lam, _ in lams), *more]
        on(by_hand, None, (), self.auto, js="() => false")
        on(self.auto.change, self._reword, [self.kind, self.auto], self._words)
        return on(self.kind.input, self._take_kind, self.kind, self.outputs)

    @property
    def sliders(self) -> list[gr.Slider]:
        """See above."""
        return [self._likeness, self._pieces]

    @property
    def inputs(self) -> list[Component]:
        """See above."""
        return [self.auto, self.kind, *self.sliders]

    @property
    def outputs(self) -> list[Component]:
        """See above."""
        return [*self.inputs, self._words, *(lam for lam, _ in self._lams)]

    @staticmethod
    def read(values: Sequence[Any], lam_ratio: Any) -> Manner:
        """The manner that the controls say: of untrusted values of `inputs`, out of range is brought into it."""
        _, kind, likeness, pieces = values
        kind = choice(kind, "the manner of drawing", TITLES)
        levels = isinstance(lam_ratio, tuple)
        ratio = tuple(map(_ratio, lam_ratio)) if levels else _ratio(lam_ratio)
        if kind == "predictive":
            return Manner.predictive(LIKENESS.clip(_percent(likeness), "likeness"), ratio)
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
        most: dict[str, Any] = {} if m is None else {"maximum": max(_FEWEST, m)}
        blend = manner.pieces if manner.kind == "blend" else KINDS["blend"].pieces
        likeness = manner.likeness if manner.likeness is not None else DEFAULT_MANNER.likeness
        values: Shown = {
            self.auto: auto,
            self.kind: manner.kind,
            self._words: _words(manner.kind, made.why if auto else ""),
            self._likeness: gr.update(value=100 * (likeness or 0), visible=manner.kind == "predictive"),
            self._pieces: gr.update(value=_within(blend, m), visible=manner.kind == "blend", **most),
        }
        for lam, name in self._lams:
            ratio = manner.lam_ratio
            scalar = (
                None if isinstance(ratio, tuple) else LAM_RATIO_SLIDER.clip(min(ratio, LAM_RATIO_SLIDER.high), "λ/m")
            )
            values[lam] = lam_update(name, str(lam.elem_id), value=scalar, advised=manner.kind == "mean")
        return values

    def limited(self, m: float) -> Shown:
        """The sliders, going as far as there are pieces of evidence. Never less far than they begin: Gradio refuses a
        value above the maximum before a handler sees it, and more pieces than there are count as all."""
        return {self._pieces: gr.update(maximum=max(_MOST, m))}

    def chosen(self, posterior: Posterior | None) -> Shown:
        """The controls at the manner that suits the evidence; without any, at the default."""
        if posterior is None:
            return self.shown(Choice(DEFAULT_MANNER, ""), True)
        return self.shown(ask(posterior), True, posterior.m)

    def _reword(self, session: Session, kind: str, auto: bool) -> Shown:
        """What was moved by hand was not chosen."""
        return {} if auto else {self._words: _words(choice(kind, "the manner of drawing", TITLES))}

    def _take_kind(self, session: Session, kind: str) -> Shown:
        kind = choice(kind, "the manner of drawing", TITLES)
        shown = self.shown(Choice(KINDS[kind], ""), False)
        return shown | {self.kind: gr.skip()}


def _pieces(label: str, value: float | None, elem_id: str, visible: bool = False, **options: Any) -> gr.Slider:
    return gr.Slider(1, _MOST, value or 1, step=0.5, label=label, elem_id=elem_id, visible=visible, **options)


def _within(value: float | None, m: float | None) -> float:
    return min(value or 1, max(_FEWEST, m)) if m is not None else value or 1


def _percent(value: object) -> object:
    return round(value / 100, 6) if isinstance(value, int | float) else value


def _ratio(value: Any) -> float:
    return LAM_RATIO_SLIDER.clip(value, "λ/m")


def _words(kind: str, why: str = "") -> str:
    chosen = f" <b>Chosen for you:</b> {escape(why)}" if why else ""
    return f"{escape(_HELP[kind])}{chosen}"
