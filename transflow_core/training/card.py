"""The model card of a prior that was trained here: what it saw, how it was trained, and what came of it."""

from __future__ import annotations

from pathlib import Path

import jinja2

from ..flows import count_parameters, unrolled
from ..hub import make_card
from ..priors.prior import Prior
from .data import ImageSet
from .measure import TEMPERATURE
from .plan import Plan
from .recipe import DECAY
from .state import Counters

__all__ = ["CLIP", "model_card"]

CLIP = 1.0
"""Largest norm of a gradient."""

_ROWS = 16


def model_card(prior: Prior, plan: Plan, images: ImageSet, counters: Counters, command: str = "") -> str:
    """Markdown under the YAML that the Hub reads: `card.md`, filled. What nobody said is called so."""
    measured, (details, glow) = counters.measured, unrolled(plan.config)
    text = Path(__file__).with_suffix(".md").read_text(encoding="utf-8")
    text = jinja2.Template(text, keep_trailing_newline=True).render(
        prior=prior,
        plan=plan,
        settings=plan.settings,
        images=images,
        counters=counters,
        command=command,
        details=details,
        glow=glow,
        parameters=count_parameters(prior.flow),
        blended=plan.settings.blend < 1,
        unsaid="not said by whoever trained it",
        rows=[*measured[:-1][:: -(-len(measured) // _ROWS)], measured[-1]],
        last=measured[-1],
        decay=DECAY,
        clip=CLIP,
        temperature=TEMPERATURE,
    )
    return str(make_card(text, licence=plan.settings.licence, tags=["prior", "glow"], thumbnail="samples.png"))
