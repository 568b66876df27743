"""More like one sample, and sliders of the set's own directions: the controls of `near` and `along` of a `Sample`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr
import torch
from gradio.components import Component

from transflow_core.engine import Engine
from transflow_core.images import to_pil

from ..render import data_uri
from ..server.events import Updates
from ..server.state import Session
from ..static import static
from .studio_results import Request

_FEWEST, _END, _FACE = 5, 2, 64  # images; standard deviations; pixels
_NAMES = ("What differs most", "What differs next", "And then")
_FACE_AT = '<img alt="" hidden>'
_RANGE = f'<div>{_FACE_AT}<input type="range" aria-label="{{}}" min="-{_END}" max="{_END}" step="0.1">{_FACE_AT}</div>'


@dataclass
class _Seen:
    """Whether a visitor opened the sliders, and what their faces were made from."""

    opened: bool = False
    made_from: Any = None


class Moves:
    """Build them inside the current Blocks: the chip where it stands, the sliders by `build_sliders`.

    Attributes:
        inputs: the controls by the names of their parameters, each with a text as its value.
        outputs: the components that `filled` updates.
    """

    def __init__(self) -> None:
        chip = '<button type="button" class="chip" title="Back to all faces" hidden><span></span> ×</button>'
        self.near = gr.HTML("", html_template=chip, js_on_load=static("near.js"), elem_id="near", label="More like one")

    def build_sliders(self) -> None:
        with gr.Accordion("This set's own sliders", open=False, elem_id="moves", visible="hidden") as self.panel:
            text = "Your pictures differ from one another in these ways. Each slider moves all faces."
            gr.Markdown(text, elem_classes="status")
            ranges = f'<div class="moves">{"".join(map(_RANGE.format, _NAMES))}</div>'
            label = "This set's own sliders"
            self.along = gr.HTML("", html_template=ranges, js_on_load=static("moves.js"), elem_id="along", label=label)
        self.inputs: dict[str, Component] = {"near": self.near, "along": self.along}
        self.outputs = [self.panel, self.along]

    def open(self, session: Session) -> None:
        """The sliders are seen from now on."""
        session.state(_Seen).opened = True

    def filled(self, session: Session, request: Request, engine: Engine) -> Iterator[Updates]:
        """The sliders, where the set has enough images, with a face of the set's mean at each end."""
        evidence, seen = request.evidence, session.state(_Seen)
        enough = evidence.ready and len(evidence.posterior().latents) >= _FEWEST
        updates: Updates = {self.panel: gr.update(visible=enough or "hidden")}
        made_from = evidence, request.recipe.prior, request.recipe.choices
        if not enough or not seen.opened or seen.made_from == made_from:
            yield updates
            return
        ends = [(0.0,) * which + (end,) for which in range(len(_NAMES)) for end in (-_END, _END)]
        samplers = [request.sampler(engine, near=None, along=end) for end in ends]
        with (yield session.queued("moves", newest=True)) as cancel:
            means = torch.stack([sampler.mean for sampler in samplers])
            how: dict[str, Any] = {"side": _FACE, "cancel": cancel, "priority": "background"}
            images = engine.decode(means, guards=[samplers[0].guard], **how)
        seen.made_from = made_from
        faces = [data_uri(face.resize((_FACE, _FACE))) for face in to_pil(images)]
        yield updates | {self.along: gr.update(faces=faces)}
