"""A and B in one posterior: more of both, less like the other, towards the other; with samples, and as a file."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from transflow_core.limits import Range
from transflow_core.posterior import MIXES, Mix, Posterior, mixed, recommend

from ..controls import download, number_slider
from ..evidence_panel import EvidencePanel
from ..render import sheet
from ..server.events import Updates, on
from ..server.priors import Engines
from ..server.state import Session

__all__ = ["MixPanel"]

_TITLES: dict[Mix, str] = {"add": "More of both", "subtract": "A, and less like B", "move": "A, moved towards B"}
_FILE = "mixed.safetensors"
_SHOWN = 8
# In per cent. The core allows 90 for "subtract", where nothing of most sets remains. At 60 the mean is 2.5 times as far
# from the origin.
_SHARE, _DEFAULT = Range(0, 60), 30


class MixPanel:
    """Build it inside the current Blocks.

    Args:
        engines: the priors that the page serves.
        prior: the component with the name of this session's prior.
        a, b: the two sets.
    """

    def __init__(self, engines: Engines, prior: Component, a: EvidencePanel, b: EvidencePanel) -> None:
        self._engines, self._a, self._b = engines, a, b
        with gr.Accordion("A and B in one posterior", open=False, elem_id="mix"):
            how = gr.Radio([(title, key) for key, title in _TITLES.items()], label="Mix", value=None, elem_id="mix-how")
            share = number_slider("How much, %", _SHARE, _DEFAULT, elem_id="mix-share", step=5, min_width=200)
            self._shown = gr.HTML("", elem_id="mix-shown", label="Samples of the mix")
            download("Posterior", self._write, [prior, how, share], elem_id="mix-get", size="sm", min_width=120)
            gr.Markdown(
                "Drop this file in the Studio in the place of images, or as a style in Restyle.", elem_classes="hint"
            )
        on([how.input, share.release, *a.events, *b.events], self._show, [prior, how, share], self._shown)

    def _posterior(self, session: Session, prior: str, how: Any, share: Any) -> Posterior:
        ends = [panel.evidence(session) for panel in (self._a, self._b)]
        if how not in MIXES:
            raise ValueError("Choose how to mix A and B.")
        if not all(evidence.ready and evidence.prior == prior and not evidence.remaining for evidence in ends):
            raise ValueError("Add images to A and B first.")
        first, second = (evidence.posterior() for evidence in ends)
        return mixed(first, second, how, _SHARE.clip(share, "the share") / 100)

    def _show(self, session: Session, prior: str, how: Any, share: Any) -> Updates:
        """Samples of the mix, once the user has chosen how, and again when A or B change."""
        if how is None:
            return {}
        with session.queued("mix", newest=True) as cancel:
            try:
                engine, posterior = self._engines.get(prior), self._posterior(session, prior, how, share)
            except ValueError as error:
                return {self._shown: f'<p class="hint">{escape(str(error))}</p>'}
            x = engine.sample(engine.draw(posterior, recommend(posterior).method), _SHOWN, cancel=cancel).images
            return {self._shown: sheet(x, f"samples: {_TITLES[how]}", columns=4)}

    def _write(self, session: Session, prior: str, how: Any, share: Any) -> Path:
        posterior, engine = self._posterior(session, prior, how, share), self._engines.get(prior)
        path = session.file(_FILE)
        posterior.save(path, metadata=engine.prior.provenance | recommend(posterior).method.texts())
        return path
