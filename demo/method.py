"""The controls of the sampling method: three methods, the numbers of the chosen one, and "choose for me"."""

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

from .server.events import Updates, on
from .server.state import Session
from .widgets import slider

__all__ = ["MethodControls", "description_of"]

TITLES = {
    "local": "New members of the set",
    "bootstrap": "Like blends of a few",
    "posterior": "The paper's posterior of the mean",
}
_DEFAULT = Method(method="local").filled()
_LIKENESS, _PER_SAMPLE = within(Method, "likeness"), within(Method, "images_per_sample")
_HELP = {
    "local": "Each part of a sample comes from another one of your images.",
    "bootstrap": "Each sample averages a few of your images. Fewer images give crisper samples, but nearly copies.",
    "posterior": "The paper's method. Samples show only what all your images share.",
}
_FEWEST = 2  # a slider from 1 to 1 cannot be moved
_MOST = 20  # its maximum before the evidence is known


class MethodControls:
    """Build the radio, the sliders and the box inside the current Blocks.

    Args:
        elem_id: prefix of the ids of its components.

    Attributes:
        inputs: the components whose values `read` takes, in order; λ/m is not among them.
        outputs: the components that `shown` updates.
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
            self._reason = gr.HTML(
                _reason(_DEFAULT.method), elem_id=f"{elem_id}-reason", elem_classes="status", label="The method"
            )
            with gr.Row():
                self._likeness = slider(
                    100 * (_DEFAULT.likeness or 0),
                    Range(100 * _LIKENESS.low, 100 * _LIKENESS.high),
                    step=1,
                    name="newer",
                    far="closer to your images",
                    elem_id=f"{elem_id}-likeness",
                    unit=" %",
                    visible=_DEFAULT.method == "local",
                    min_width=220,
                )
                self._per_sample = slider(
                    NUMBERS["bootstrap"]["images_per_sample"],
                    Range(_PER_SAMPLE.low, _MOST),
                    step=0.5,
                    name="Images in one sample",
                    elem_id=f"{elem_id}-images-per-sample",
                    visible=_DEFAULT.method == "bootstrap",
                    min_width=220,
                )

    def wire(self, lams: Sequence[gr.HTML], more: Sequence[Any] = ()) -> list[Dependency]:
        """A user who moves anything turns "choose for me" off; another method brings its own numbers along.

        Args:
            lams: the sliders of λ/m that belong to the method.
            more: other events that turn it off.

        Returns when a method was chosen and its numbers are set.
        """
        self._lams = lams
        moved = [*self.sliders, *lams]
        by_user = [*(event for one in moved for event in (one.input, one.release)), *more]
        on(by_user, None, (), self.auto, js="() => false")
        on(self.auto.change, self._forget_reason, [self.kind, self.auto], self._reason)
        return on(self.kind.input, self._choose, self.kind, self.outputs)

    @property
    def sliders(self) -> list[gr.HTML]:
        """See above."""
        return [self._likeness, self._per_sample]

    @property
    def inputs(self) -> list[Component]:
        """See above."""
        return [self.auto, self.kind, *self.sliders]

    @property
    def outputs(self) -> list[Component]:
        """See above."""
        return [*self.inputs, self._reason, *self._lams]

    @staticmethod
    def read(values: Sequence[Any], lam_ratio: Any) -> Method:
        """The method of the controls. The values are untrusted; a number out of range becomes the nearest."""
        _, kind, likeness, per_sample = values
        method = choice(kind, "the sampling method", TITLES)
        ratio = tuple(map(_ratio, lam_ratio)) if isinstance(lam_ratio, tuple) else _ratio(lam_ratio)
        numbers: dict[str, Any] = {}
        if method == "local":
            numbers["likeness"] = _LIKENESS.clip(_percent(likeness), "likeness")
        elif method == "bootstrap":
            numbers["images_per_sample"] = _PER_SAMPLE.clip(per_sample, "the number of images in a sample")
        return Method(method=method, lam_ratio=ratio, **numbers)  # type: ignore[arg-type]

    def shown(self, recommendation: Recommendation, auto: bool, m: float | None = None) -> Updates:
        """The controls at a method.

        Args:
            recommendation: the method with its numbers, and the reason.
            auto: whether "choose for me" is on.
            m: images of the evidence, where they are known: the maximum of a slider.
        """
        method = recommendation.method
        few = method.images_per_sample or NUMBERS["bootstrap"]["images_per_sample"]
        likeness = _DEFAULT.likeness if method.likeness is None else method.likeness
        local, bootstrap = method.method == "local", method.method == "bootstrap"
        values: Updates = {
            self.auto: auto,
            self.kind: method.method,
            self._reason: _reason(method.method, recommendation.reason if auto else ""),
            self._likeness: gr.update(value=100 * (likeness or 0), visible=local),
            self._per_sample: gr.update(most=_most(m), value=min(few, _most(m)), visible=bootstrap),
        }
        ratio = method.lam_ratio
        for lam in self._lams:
            values[lam] = gr.update(advised=method.method == "posterior" and not isinstance(ratio, tuple))
            if ratio is not None and not isinstance(ratio, tuple):
                values[lam]["value"] = LAM_RATIO_SLIDER.clip(min(ratio, LAM_RATIO_SLIDER.high), "λ/m")
        return values

    def limited(self, m: float) -> Updates:
        """The sliders, with the images of the evidence as their maximum."""
        return {self._per_sample: gr.update(most=_most(m))}

    def chosen(self, posterior: Posterior | None, engine: Engine) -> Updates:
        """The controls at the method that suits the evidence; without evidence, at the default."""
        if posterior is None:
            return self.shown(Recommendation(_DEFAULT, ""), True)
        return self.shown(Recommendation(*resolve(Method(), posterior, engine.looks)), True, posterior.m)

    def _forget_reason(self, session: Session, kind: str, auto: bool) -> Updates:
        """The user chose the method: there is no reason to show."""
        return {} if auto else {self._reason: _reason(choice(kind, "the sampling method", TITLES))}

    def _choose(self, session: Session, kind: str) -> Updates:
        kind = choice(kind, "the sampling method", TITLES)
        shown = self.shown(Recommendation(Method(method=kind).filled(), ""), False)  # type: ignore[arg-type]
        return shown | {self.kind: gr.skip()}


def description_of(method: Method) -> str:
    """A short description of a method, without its λ/m: `new members of the set, likeness 90 %`."""
    title = TITLES.get(method.method, method.method)
    parts = [title[0].lower() + title[1:]]
    if method.likeness is not None:
        parts.append(f"likeness {100 * method.likeness:.3g} %")
    if method.images_per_sample is not None:
        parts.append(f"{method.images_per_sample:g} images each")
    return ", ".join(parts)


def _most(m: float | None) -> float:
    """The maximum of the slider of images in a sample."""
    return _MOST if m is None else max(_FEWEST, m)


def _percent(value: object) -> object:
    return round(value / 100, 6) if isinstance(value, int | float) else value


def _ratio(value: Any) -> float:
    return LAM_RATIO_SLIDER.clip(value, "λ/m")


def _reason(kind: str, reason: str = "") -> str:
    chosen = f" <b>Chosen for you:</b> {escape(reason)}" if reason else ""
    return f"{escape(_HELP[kind])}{chosen}"
