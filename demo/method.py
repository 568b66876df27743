"""The choice of how samples are drawn: three methods in words, the numbers of the chosen one, and "choose for me"."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from transflow_core.engine import Engine
from transflow_core.limits import LAM_RATIO_SLIDER, Range, choice
from transflow_core.posterior import Posterior, Recommendation, resolve
from transflow_core.recipes import NUMBERS, Method, within

from .events import on
from .session import Session
from .widgets import slider

__all__ = ["MethodChoice", "described"]

TITLES = {
    "local": "New members of the set",
    "bootstrap": "Like blends of a few",
    "posterior": "The paper's posterior of the mean",
}
_DEFAULT = Method(method="local").filled()
_LIKENESS, _PIECES = within(Method, "likeness"), within(Method, "images_per_sample")
_HELP = {
    "local": "Each sample is put together from several of your images, each place of it from another one.",
    "bootstrap": "Each sample averages a few of your images. Fewer images give crisper samples, but nearly copies.",
    "posterior": "The paper's method. Samples show only what all your images share.",
}
_FEWEST = 2  # a slider from 1 to 1 cannot be moved
_MOST = 20  # and one as far as this before the evidence is known
Shown = dict[Component, Any]


class MethodChoice:
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
        with gr.Column(elem_id=elem_id, elem_classes="method"):
            self.kind = gr.Radio(
                [(title, kind) for kind, title in TITLES.items()],
                value=_DEFAULT.method,
                label="Draw samples",
                show_label=False,
                container=False,
                elem_id=f"{elem_id}-kind",
            )
            self.auto = gr.Checkbox(True, label="Choose for me", elem_id=f"{elem_id}-auto", container=False)
            self._words = gr.HTML(
                _words(_DEFAULT.method), elem_id=f"{elem_id}-words", elem_classes="status", label="Why"
            )
            with gr.Row():
                self._likeness = slider(
                    100 * (_DEFAULT.likeness or 0),
                    Range(100 * _LIKENESS.low, 100 * _LIKENESS.high),
                    step=1,
                    name="newer",
                    far="closer to my photos",
                    elem_id=f"{elem_id}-likeness",
                    unit=" %",
                    visible=_DEFAULT.method == "local",
                    min_width=220,
                )
                self._pieces = slider(
                    NUMBERS["bootstrap"]["images_per_sample"],
                    Range(_PIECES.low, _MOST),
                    step=0.5,
                    name="Images in one sample",
                    elem_id=f"{elem_id}-pieces",
                    visible=_DEFAULT.method == "bootstrap",
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
    def read(values: Sequence[Any], lam_ratio: Any) -> Method:
        """The method that the controls say: of untrusted values of `inputs`, out of range is brought into it."""
        _, kind, likeness, pieces = values
        method = choice(kind, "the sampling method", TITLES)
        ratio = tuple(map(_ratio, lam_ratio)) if isinstance(lam_ratio, tuple) else _ratio(lam_ratio)
        numbers: dict[str, Any] = {}
        if method == "local":
            numbers["likeness"] = _LIKENESS.clip(_percent(likeness), "likeness")
        elif method == "bootstrap":
            numbers["images_per_sample"] = _PIECES.clip(pieces, "the number of images in a sample")
        return Method(method=method, lam_ratio=ratio, **numbers)  # type: ignore[arg-type]

    def shown(self, made: Recommendation, auto: bool, m: float | None = None) -> Shown:
        """The controls at a method.

        Args:
            made: the method with its numbers, and why.
            auto: whether it was chosen for them.
            m: images of the evidence, where they are known: a slider goes no further.
        """
        method = made.method
        few = method.images_per_sample or NUMBERS["bootstrap"]["images_per_sample"]
        likeness = _DEFAULT.likeness if method.likeness is None else method.likeness
        local, bootstrap = method.method == "local", method.method == "bootstrap"
        values: Shown = {
            self.auto: auto,
            self.kind: method.method,
            self._words: _words(method.method, made.reason if auto else ""),
            self._likeness: gr.update(value=100 * (likeness or 0), visible=local),
            self._pieces: gr.update(most=_most(m), value=min(few, _most(m)), visible=bootstrap),
        }
        ratio = method.lam_ratio
        for lam in self._lams:
            values[lam] = gr.update(advised=method.method == "posterior" and not isinstance(ratio, tuple))
            if ratio is not None and not isinstance(ratio, tuple):
                values[lam]["value"] = LAM_RATIO_SLIDER.clip(min(ratio, LAM_RATIO_SLIDER.high), "λ/m")
        return values

    def limited(self, m: float) -> Shown:
        """The sliders, going as far as there are images of the evidence."""
        return {self._pieces: gr.update(most=_most(m))}

    def chosen(self, posterior: Posterior | None, engine: Engine) -> Shown:
        """The controls at the method that suits the evidence; without any, at the default."""
        if posterior is None:
            return self.shown(Recommendation(_DEFAULT, ""), True)
        return self.shown(Recommendation(*resolve(Method(), posterior, engine.looks)), True, posterior.m)

    def _reword(self, session: Session, kind: str, auto: bool) -> Shown:
        """What was moved by hand was not chosen."""
        return {} if auto else {self._words: _words(choice(kind, "the sampling method", TITLES))}

    def _take_kind(self, session: Session, kind: str) -> Shown:
        kind = choice(kind, "the sampling method", TITLES)
        shown = self.shown(Recommendation(Method(method=kind).filled(), ""), False)  # type: ignore[arg-type]
        return shown | {self.kind: gr.skip()}


def described(method: Method) -> str:
    """A method in a few words for a person, but for its λ/m: `new members of the set, likeness 90 %`."""
    title = TITLES.get(method.method, method.method)
    words = [title[0].lower() + title[1:]]
    if method.likeness is not None:
        words.append(f"likeness {100 * method.likeness:.3g} %")
    if method.images_per_sample is not None:
        words.append(f"{method.images_per_sample:g} images each")
    return ", ".join(words)


def _most(m: float | None) -> float:
    """How far the slider of images in a sample goes."""
    return _MOST if m is None else max(_FEWEST, m)


def _percent(value: object) -> object:
    return round(value / 100, 6) if isinstance(value, int | float) else value


def _ratio(value: Any) -> float:
    return LAM_RATIO_SLIDER.clip(value, "λ/m")


def _words(kind: str, why: str = "") -> str:
    chosen = f" <b>Chosen for you:</b> {escape(why)}" if why else ""
    return f"{escape(_HELP[kind])}{chosen}"
