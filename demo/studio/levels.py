"""Structure from here, style from there: where each level of the latent comes from, and pictures of what it carries."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr
from gradio.components import Component

from transflow_core.engine import Engine
from transflow_core.images import contact_sheet, to_pil

from ..events import on
from ..queues import Stop
from ..render import picture
from ..session import Session
from ..static import static
from .settings import DEFAULT, EVIDENCE, PRIOR, SPLIT, Asked, sources

__all__ = ["Levels", "strips"]

_DRAWS = 4


class Levels:
    """Build the choice inside the current Blocks.

    Attributes:
        inputs: structure, style and split, in this order.
        split: the slider, how many of the finest levels are style.
        strips: what `strips` is for.
        events: when another source or another strip was chosen.
    """

    def __init__(self) -> None:
        gr.Markdown(
            "Each sample is made of levels, coarse to fine. Take the coarse ones, its **structure**, from one place "
            "and the fine ones, its **style**, from another. Each strip below shows the same draws, cut elsewhere: "
            "click the one that you like.",
            elem_classes="status",
        )
        options = [(title, key) for key, title in sources().items()]
        with gr.Row():
            structure, style = (
                gr.Dropdown(options, value=EVIDENCE, label=f"{name} from", elem_id=name.lower(), min_width=160)
                for name in ("Structure", "Style")
            )
            self.split = gr.Slider(
                SPLIT.low,
                8,
                DEFAULT.style_levels,
                step=1,
                label="Levels that are style",
                elem_id="split",
                min_width=160,
            )
        self.strips = gr.HTML(elem_id="strips", label="What each level carries", js_on_load=static("levels.js"))
        self.inputs: list[Component] = [structure, style, self.split]
        self._structure = structure
        picked = on(self.strips.select, self._pick, [structure, style], [structure, self.split], event=True)
        self.events = [structure.input, style.input, *picked]

    def among(self, levels: int) -> dict[Component, Any]:
        """For a prior of so many levels. No fewer than the slider starts at: Gradio refuses a value above the maximum
        before a handler sees it, and more levels than there are count as all."""
        return {self.split: gr.update(maximum=max(levels, DEFAULT.style_levels))}

    def _pick(self, session: Session, data: dict, structure: str, style: str) -> dict:
        """A strip was clicked: what it shows is taken."""
        taken = {self.split: int(SPLIT.clip(data.get("split"), "the split"))}
        return taken | ({self._structure: _beside(style)} if structure == style else {})


def _beside(style: str) -> str:
    """What the structure comes from in strips of one source alone."""
    return EVIDENCE if style == PRIOR else PRIOR


def strips(asked: Asked, engine: Engine, stop: Stop) -> str:
    """A strip for each place where the levels may be cut; of evidence alone, beside the prior."""
    settings = asked.settings
    style, structure = settings.recipe.style, settings.recipe.structure
    if style == structure:
        structure = _beside(style)
    if EVIDENCE in (style, structure) and not asked.intake.ready:
        return '<p class="status">There is nothing to take levels from yet: give evidence, or choose an example.</p>'
    levels, names = engine.prior.levels, sources()
    splits = range(len(levels) + 1)
    mixtures = [asked.mixture(engine, style, structure, split) for split in splits]
    how = {"seed": settings.recipe.seed, "temperature": settings.recipe.temperature}
    shown = []
    for split, mixture in zip(splits, mixtures, strict=True):
        images = to_pil(engine.sample(mixture, _DRAWS, cancel=stop, **how))
        if split == 0:
            words = f"all of {names[structure]}"
        elif split == len(levels):
            words = f"all of {names[style]}"
        else:
            words = f"{levels[split - 1].name} and finer of {names[style]}, the rest of {names[structure]}"
        strip = picture(contact_sheet(images, columns=_DRAWS, gap=2), words)
        pressed = str(settings.recipe.mixed and settings.recipe.style_levels == split).lower()
        shown.append(
            f'<button type="button" data-split="{split}" aria-pressed="{pressed}">{strip}{escape(words)}</button>'
        )
    return f'<div class="strips">{"".join(shown)}</div>'
