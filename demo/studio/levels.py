"""Structure and style: the source of each level of the latent, and pictures of the levels."""

from __future__ import annotations

from html import escape

import gradio as gr
from gradio.components import Component

from transflow_core.engine import Engine
from transflow_core.images import contact_sheet, to_pil
from transflow_core.limits import Range
from transflow_core.recipes import within

from ..render import picture
from ..server.admission import CancelToken
from ..server.events import Updates, on
from ..server.state import Session
from ..static import static
from ..widgets import number_slider
from .settings import DEFAULT, EVIDENCE, PAGE, PRIOR, Request, sources

__all__ = ["Levels", "strips"]

_DRAWS = 4


class Levels:
    """Build the controls inside the current Blocks.

    Attributes:
        inputs: the controls of `structure`, `style` and `style_levels`, by these names.
        split: the slider, how many of the finest levels are style.
        strips: the component for the value of `strips`.
        events: when another source or another strip was chosen.
    """

    def __init__(self) -> None:
        gr.Markdown(
            "Each sample has levels, from coarse to fine. Choose where the coarse levels come from, its **structure**, "
            "and the fine levels, its **style**. Each strip below shows the same samples with another number of style "
            "levels. Click the strip that you like.",
            elem_classes="status",
        )
        options = [(title, key) for key, title in sources().items()]
        with gr.Row():
            structure, style = (
                gr.Dropdown(options, value=EVIDENCE, label=f"{name} from", elem_id=name.lower(), min_width=160)
                for name in ("Structure", "Style")
            )
            self.split = number_slider("Levels that are style", Range(0, 8), DEFAULT.style_levels, elem_id="split")
        self.strips = gr.HTML(
            elem_id="strips", label="The samples at each number of style levels", js_on_load=static("levels.js")
        )
        self.inputs: dict[str, Component] = {"structure": structure, "style": style, "style_levels": self.split}
        self._structure = structure
        picked = on(self.strips.select, self._pick, [structure, style], [structure, self.split], event=True)
        self.events = [structure.input, style.input, *picked]

    def limited(self, levels: int) -> Updates:
        """The slider for a prior with so many levels. Its maximum is at least its first value: Gradio refuses a value
        above the maximum before a handler sees it. More levels than there are mean all."""
        return {self.split: gr.update(maximum=max(levels, DEFAULT.style_levels))}

    def _pick(self, session: Session, data: dict, structure: str, style: str) -> Updates:
        """A strip was clicked: use its sources."""
        updates: Updates = {self.split: int(within(PAGE, "style_levels").clip(data.get("split"), "the split"))}
        return updates | ({self._structure: _other(style)} if structure == style else {})


def _other(style: str) -> str:
    """The source of the structure in the strips, where structure and style have the same source."""
    return EVIDENCE if style == PRIOR else PRIOR


def strips(request: Request, engine: Engine, cancel: CancelToken) -> str:
    """A strip for each number of style levels. Where both have one source, structure comes from the other one."""
    settings = request.settings
    style, structure = settings.recipe.style, settings.recipe.structure
    if style == structure:
        structure = _other(style)
    if EVIDENCE in (style, structure) and not request.evidence.ready:
        return '<p class="status">No images yet. Add images, or choose an example set.</p>'
    levels, names = engine.prior.levels, sources()
    splits = range(len(levels) + 1)
    mixtures = [request.mixture(engine, style, structure, split) for split in splits]
    how = {"seed": settings.recipe.seed, "temperature": settings.recipe.temperature}
    buttons = []
    for split, mixture in zip(splits, mixtures, strict=True):
        images = to_pil(engine.sample(mixture, _DRAWS, cancel=cancel, **how).images)
        if split == 0:
            text = f"all of {names[structure]}"
        elif split == len(levels):
            text = f"all of {names[style]}"
        else:
            text = f"{levels[split - 1].name} and finer of {names[style]}, the rest of {names[structure]}"
        strip = picture(contact_sheet(images, columns=_DRAWS, gap=2), text)
        pressed = str(settings.recipe.mixed and settings.recipe.style_levels == split).lower()
        buttons.append(
            f'<button type="button" data-split="{split}" aria-pressed="{pressed}">{strip}{escape(text)}</button>'
        )
    return f'<div class="strips">{"".join(buttons)}</div>'
