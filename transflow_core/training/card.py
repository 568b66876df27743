"""The model card of a prior that was trained here: what it saw, how it was trained, and what came of it."""

from pathlib import Path

import jinja2

from ..flows.base import count_parameters
from ..flows.wavelet import unrolled
from ..hub import make_card
from ..priors.prior import Prior
from .data import ImageSet
from .measure import TEMPERATURE, bits_of_levels, reduced
from .plan import Counters, Plan, trainable
from .recipe import DECAY

CLIP = 1.0
"""Largest norm of a gradient."""

_ROWS = 16
_BITS_OF = 512  # images


def training_words(plan: Plan, counters: Counters) -> str:
    """How the weights of a run came about, in a sentence or two; "" where nothing was trained."""
    settings, words = plan.settings, "maximum likelihood"
    if not counters.step:
        return ""
    words += f" from the weights of {plan.start.name} ({plan.start.fingerprint})" if plan.start else " from nothing"
    if plan.grow:
        words += f", of the finest level above {plan.grow.name} ({plan.grow.fingerprint}) alone, on whose condition "
        words += f"was noise of at most {settings.condition_noise:g}"
    words += f"; Adam (0.9, 0.99), learning rate {settings.learning_rate} after {settings.warmup_steps} steps of "
    words += f"warm-up, falling over the last {DECAY:.0%}; batch {settings.batch_size}; gradient norm clipped at "
    words += f"{CLIP}; weights averaged (EMA {settings.ema}); coupling nets in {settings.nets}; seed {settings.seed}. "
    words += f"{counters.images:,} images seen in {counters.step:,} steps, {counters.seconds / 60:.0f} minutes; "
    return words + f"{counters.skipped} steps skipped as not finite"


def model_card(prior: Prior, plan: Plan, images: ImageSet, counters: Counters, command: str = "") -> str:
    """Markdown under the YAML that the Hub reads: `card.md`, filled. What nobody said is called so."""
    measured, held_out, sizes = counters.measured, images.held_out[:_BITS_OF], []
    blended = (plan.settings.blend or 1) < 1
    whole = 2 if blended else 1  # the last measurements, which are of all held-out images
    for size in map(prior.at, prior.sizes):
        *wavelets, glow = unrolled(trainable(size).config)
        details = [one.details for one in wavelets]
        levels = bits_of_levels(size, reduced(held_out, size.image_size))
        bits = sum(level["dim"] * level["bits"] for level in levels) / size.dim
        facts = {"levels": levels, "bits": bits, "parameters": count_parameters(size.flow)}
        sizes.append({"prior": size, "details": details, "glow": glow, **facts})
    text = Path(__file__).with_suffix(".md").read_text(encoding="utf-8")
    text = jinja2.Template(text, keep_trailing_newline=True).render(
        prior=prior,
        sizes=sizes,
        plan=plan,
        settings=plan.settings,
        images=images,
        counters=counters,
        command=command,
        blended=blended,
        unsaid="not said by whoever trained it",
        rows=[*measured[:-whole][:: -(-len(measured) // _ROWS)], *measured[-whole:]],
        last=measured[-1],
        bits_of=len(held_out),
        temperature=TEMPERATURE,
    )
    licence = prior.metadata.get("licence", "")
    return str(make_card(text, licence=licence, tags=["prior", "glow"], thumbnail="samples.png"))
