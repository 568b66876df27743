"""Behind it: Figure 2 of the paper live in two dimensions, with its formulas; how far it goes; what all this is."""

import math
from string import Template

import gradio as gr
import numpy as np

from transflow_core.priors.catalogue import shipped_priors
from transflow_core.priors.prior import Prior

from ..controls import Model, track
from ..examples import example_sets
from ..server.events import on
from ..server.files import AGE
from ..static import static

_DRAWN = {
    "images": "Images that the model is given",
    "unguarded": "New images, as the model draws them",
    "guarded": "New images, as this page shows them",
}


class Explain:
    """Build the tab inside the current Blocks. The figure needs no server; it gets the numbers of another prior alone.

    The figure is `explain.html`, moved by `explain.js`, which computes eq. 7-8 in two dimensions. The formulas are
    MathML, which browsers draw without a library.
    """

    def __init__(self, model: Model) -> None:
        figure = gr.HTML(
            numbers(model.engines.get(model.prior.value).prior),
            html_template=Template(static("explain.html")).substitute(how_lam=track("how-lam")),
            js_on_load=static("explain.js"),
            apply_default_css=False,
            elem_id="how",
            label="How it works",
        )
        on(model.changed, lambda _, name: {figure: numbers(model.engines.get(name).prior)}, model.prior, figure)


def numbers(prior: Prior) -> dict[str, float]:
    """The numbers of a prior in the text: its dimension, and how far photographs are from the origin."""
    if prior.typicality is None:
        return {"dim": prior.dim, "photograph": math.sqrt(prior.dim), "measured": False}
    median = float(np.interp(50, prior.typicality.percent, prior.typicality.log_prior))
    # log N(z; 0, I) = -(|z|² + D log 2π) / 2: half of all photographs lie farther out than the median.
    photograph = math.sqrt(max(0.0, -2 * median - prior.dim * math.log(2 * math.pi)))
    return {"dim": prior.dim, "photograph": photograph, "measured": True}


def how_far() -> str:
    """Sets that go too far, without and with the guard, as HTML. `assets/make_pictures.py` draws the pictures."""
    rows = []
    for one in (one for one in example_sets().values() if not one.shown):
        pictures = "".join(
            f'<figure><img src="far/{one.key}_{kind}.jpg" alt="{one.title}: {caption}" loading="lazy" width="522" '
            f'height="262"><figcaption>{caption}</figcaption></figure>'
            for kind, caption in _DRAWN.items()
        )
        rows.append(
            f'<section><h2>{one.title}</h2><p>{one.about} <a href="?example={one.key}">Try it in the Studio</a></p>'
            f'<div class="row">{pictures}</div></section>'
        )
    return static("far.html") + "".join(rows)


def about() -> str:
    """Paper, code, licences, models and privacy, as HTML."""
    return Template(static("about.html")).substitute(models=" and ".join(shipped_priors()), minutes=f"{AGE / 60:g}")
