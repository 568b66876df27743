"""The How it works tab: Figure 2 of the paper live in two dimensions, computed in the browser, with its formulas."""

import math
from collections.abc import Sequence
from string import Template

import gradio as gr
import numpy as np
from gradio.events import Dependency

from transflow_core.priors.prior import Prior

from ..controls import track
from ..server.events import on
from ..server.priors import Engines
from ..static import static

__all__ = ["Explain", "numbers"]


class Explain:
    """Build the tab inside the current Blocks. The figure needs no server; it gets the numbers of another prior alone.

    The figure is `explain.html`, moved by `explain.js`, which computes eq. 7-8 in two dimensions. The formulas are
    MathML, which browsers draw without a library.

    Args:
        engines: the priors that the page serves.
        prior: the component with the name of this session's prior.
        follow: when the prior was changed or the tab was opened.
    """

    def __init__(self, engines: Engines, prior: gr.components.Component, follow: Sequence[Dependency]) -> None:
        figure = gr.HTML(
            numbers(engines.get(prior.value).prior),
            html_template=_html(),
            js_on_load=static("explain.js"),
            apply_default_css=False,
            elem_id="how",
            label="How it works",
        )
        on(follow, lambda _, name: {figure: numbers(engines.get(name).prior)}, prior, figure)


def numbers(prior: Prior) -> dict[str, float]:
    """The numbers of a prior in the text: its dimension, and how far photographs are from the origin."""
    if prior.typicality is None:
        return {"dim": prior.dim, "photograph": math.sqrt(prior.dim), "measured": False}
    median = float(np.interp(50, prior.typicality.percent, prior.typicality.log_prior))
    # log N(z; 0, I) = -(|z|² + D log 2π) / 2: half of all photographs lie farther out than the median.
    photograph = math.sqrt(max(0.0, -2 * median - prior.dim * math.log(2 * math.pi)))
    return {"dim": prior.dim, "photograph": photograph, "measured": True}


def _html() -> str:
    parts = {
        "SLIDER_ONE": _slider("how-lam", 0, "λ/m, the tolerance"),
        "SLIDER_FIRST": _slider("how-lam-1", 0, "λ₁/m across, such as coarse (pose, shape)"),
        "SLIDER_SECOND": _slider("how-lam-2", 1, "λ₂/m upwards, such as fine (texture)"),
        "FALLOFF_PRIOR": _falloff("prior"),
        "FALLOFF_POSTERIOR": _falloff("posterior"),
        "TICKS": _ticks(),
        "EACH_FIRST": _each(1),
        "EACH_SECOND": _each(2),
        **_MATH,
    }
    return Template(static("explain.html")).substitute(parts)


def _slider(elem_id: str, index: int, name: str) -> str:
    """A slider for λ/m, like that of the Studio."""
    range_input = track(elem_id, f'data-ratio="{index}"')
    return (
        f'<div class="own-slider advised"><div class="row"><label for="{elem_id}">{name}</label>'
        f'<output for="{elem_id}"></output></div>{range_input}</div>'
    )


def _falloff(kind: str) -> str:
    """A gradient over three standard deviations that falls like the density."""
    parts = [
        f'<stop class="{kind}-stop" offset="{part}" stop-opacity="{0.42 * math.exp(-0.5 * (3 * part) ** 2):.3f}"/>'
        for part in (0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1)
    ]
    return "".join(parts)


def _ticks() -> str:
    across = [
        f'<path d="M{x} -.06V.06"/><text x="{x}" y=".36" class="middle">{_signed(x)}</text>' for x in _grid(-3, 5)
    ]
    upwards = [
        f'<path d="M-.06 {-y}H.06"/><text x="-.14" y="{-y + 0.09}" class="end">{_signed(y)}</text>'
        for y in _grid(-2, 3)
    ]
    return "".join(across + upwards)


def _grid(low: int, high: int) -> list[int]:
    return [value for value in range(low, high + 1) if value]


def _signed(value: int) -> str:
    return f"{value}".replace("-", "−")


def _out(name: str) -> str:
    return f'<mn data-out="{name}"></mn>'


def _pair(name: str) -> str:
    return f"<mrow><mo>(</mo>{_out(name + '1')}<mo>,</mo>{_out(name + '2')}<mo>)</mo></mrow>"


def _each(i: int) -> str:
    """Eq. 7 and 8 in one dimension, with the numbers."""
    ratio = f"<mrow><mn>1</mn><mo>+</mo>{_out(f'ratio{i}')}</mrow>"
    mean = (
        f"<msub><mi>μ</mi><mrow><mi>p</mi><mo>,</mo><mn>{i}</mn></mrow></msub><mo>=</mo>"
        f"<mfrac>{_out(f'centre{i}')}{ratio}</mfrac><mo>=</mo>{_out(f'mean{i}')}"
    )
    variance = (
        f"<msub><mi>Σ</mi><mrow><mi>p</mi><mo>,</mo><mn>{i}</mn></mrow></msub><mo>=</mo>"
        f"<mfrac>{_out(f'ratio{i}')}{ratio}</mfrac><mo>=</mo>{_out(f'variance{i}')}"
    )
    return "".join(
        f'<div class="equation live"><math display="block"><mrow>{body}</mrow></math></div>'
        for body in (mean, variance)
    )


_MINUS_ONE = "<mrow><mo>−</mo><mn>1</mn></mrow>"
_SIGMA_INVERSE = f"<msup><mi>Σ</mi>{_MINUS_ONE}</msup>"


def _inverse(first: str) -> str:
    return f"<msup><mrow><mo>(</mo>{first}<mo>+</mo><mi>m</mi>{_SIGMA_INVERSE}<mo>)</mo></mrow>{_MINUS_ONE}</msup>"


_SLASH = '<mo lspace="0" rspace="0">/</mo>'
_MATH = {
    "SUB_MU_P": "<msub><mi>μ</mi><mi>p</mi></msub>",
    "SUB_SIGMA_P": "<msub><mi>Σ</mi><mi>p</mi></msub>",
    "INVERSE_GENERAL": _inverse(f"<msubsup><mi>Σ</mi><mn>0</mn>{_MINUS_ONE}</msubsup>"),
    "INVERSE_STANDARD": _inverse("<mi>I</mi>"),
    "SIGMA_INVERSE": _SIGMA_INVERSE,
    "ZETA_BAR": '<mover><mi>ζ</mi><mo accent="true" stretchy="false">¯</mo></mover>',
    "M_OVER_LAM": f"<mrow><mi>m</mi>{_SLASH}<mi>λ</mi></mrow>",
    "LAM_OVER_M": f"<mrow><mi>λ</mi>{_SLASH}<mi>m</mi></mrow>",
    "PAIR_CENTRE": _pair("centre"),
    "PAIR_MEAN": _pair("mean"),
}
