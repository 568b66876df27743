"""The page: header, prior picker, tabs."""

import gradio as gr

from transflow_core.shipped import DEFAULT_PRIOR

from .api import add_endpoints
from .classify import Classify
from .engines import Engines
from .explain import Explain
from .interpolate import Interpolate
from .studio import Studio

__all__ = ["build"]

_TITLE = """
# Transflow Studio
Show a trained generative model a handful of images, and it makes new ones like them. Nothing is trained.
"""


CLASSIFYING_PRIOR = "celeba64"


def build(engines: Engines | None = None, first_prior: str = DEFAULT_PRIOR) -> gr.Blocks:
    """The whole demo, to be launched.

    Args:
        engines: the priors to offer; the shipped ones by default.
        first_prior: the prior that a new session starts with. It is loaded here, so that the first visitor need not
            wait.
    """
    engines = engines or Engines()
    engines.get(first_prior)
    # Output pictures are files in a cache: those older than an hour go, every ten minutes.
    with gr.Blocks(title="Transflow Studio", analytics_enabled=False, delete_cache=(600, 3600)) as demo:
        with gr.Row():
            gr.Markdown(_TITLE, elem_id="title")
            prior = _prior_picker(engines, first_prior, "A shipped one, or hf://owner/repo/file", "prior")
        with gr.Tab("Studio", id="studio"):
            studio = Studio(engines, prior, first_prior)
        with gr.Tab("Interpolate", id="interpolate"):
            Interpolate(engines, prior, first_prior)
        with gr.Tab("Classify", id="classify"):
            # The fine details of a larger prior drown what tells classes apart: the tab has a prior of its own.
            about = "Of this tab alone: celeba64 tells classes apart better"
            own = _prior_picker(engines, CLASSIFYING_PRIOR, about, "classify-prior")
            Classify(engines, own, CLASSIFYING_PRIOR)
        with gr.Tab("How it works", id="how"):
            Explain(engines.get(first_prior).prior)
        studio.open_with(demo)
        add_endpoints(engines)
    return demo


def _prior_picker(engines: Engines, value: str, info: str, elem_id: str) -> gr.Dropdown:
    return gr.Dropdown(
        engines.names(),
        value=value,
        label="Prior",
        info=info,
        allow_custom_value=True,
        elem_id=elem_id,
        scale=0,
        min_width=260,
    )
