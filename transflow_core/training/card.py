"""The model card of a prior that was trained here: what it saw, how it was trained, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from string import Template

from ..flows import DetailConfig, FlowConfig, LevelConfig, count_parameters, unrolled
from ..hub import make_card
from ..priors.prior import Prior
from .data import ImageSet
from .plan import Plan
from .recipe import DECAY
from .state import Counters

CLIP, TEMPERATURE = 1.0, 0.7
"""Largest norm of a gradient; and the temperature of the samples on sheets."""

_ROWS = 16


def model_card(prior: Prior, plan: Plan, images: ImageSet, counters: Counters, command: str = "") -> str:
    """Markdown under the YAML that the Hub reads: `card.md`, filled. What nobody said is called so."""
    settings, blended, unsaid = plan.settings, plan.settings.blend < 1, "not said by whoever trained it"
    measured = counters.measured
    rows = [*measured[:-1][:: -(-len(measured) // _ROWS)], measured[-1]]
    last = rows[-1]
    begun = f" from the weights of {_named(plan.start)}" if plan.start else " from nothing"
    if plan.grow:
        begun += f", of the level above {_named(plan.grow)} alone, on whose condition was noise of at most "
        begun += f"{settings.condition_noise:g}"
    levels = [f"{level['level']} {level['bits']:.4f}" for level in counters.levels]
    more = [f"- **Level by level**, with one noise for all: {', '.join(levels)} bits."] if len(levels) > 1 else []
    if settings.checkerboard:
        more.append(
            "- **Checkerboard penalty**: the nets of the finest levels alone were trained. They also minimise "
            f"{settings.checkerboard:g} times the mean squared distance of what latents of small norm decode to from "
            "what they decoded to before, less its checkerboard (`transflow_core/training/checkerboard.py`)."
        )
    if blended:
        more.append(
            f"- **Blended**: the weights are {settings.blend:.0%} of the trained ones and {1 - settings.blend:.0%} of "
            f"those at the start. The trained ones alone have {counters.measured[-2]['held_out_bits']:.4f} bits."
        )
    if prior.typicality is not None:
        pairs = zip(prior.levels, prior.typicality.median_rms, strict=True)
        more.append(
            f"- **Latents** of {prior.typicality.n} held-out images without noise, median root mean square a level: "
            f"{', '.join(f'{level.name} {rms:.2f}' for level, rms in pairs)}."
        )
    few = rows[0]["held_out_images"]
    final = "last two" if blended else "last"
    note = f"\nHeld-out bits on the way are of {few} images, the {final} of all.\n"
    template = Template(Path(__file__).with_suffix(".md").read_text(encoding="utf-8"))
    text = template.substitute(
        {**dict(settings), **vars(counters), **last},
        name=prior.name,
        architecture=_architecture(prior),
        parameters=f"{count_parameters(prior.flow):,}",
        bits=prior.pixels.bits,
        data=settings.data_words or unsaid,
        licence=settings.licence or unsaid,
        train=f"{len(images.train):,}",
        held_out=f"{len(images.held_out):,}",
        mirrored=", mirrored at random" if settings.mirror else "",
        left_out="".join(f" Left out: {count:,} ({why.rstrip('.')})." for why, count in images.left_out.items()),
        begun=begun,
        decay=f"{DECAY:.0%}",
        clip=CLIP,
        images=f"{counters.images:,}",
        step=f"{counters.step:,}",
        minutes=f"{counters.seconds / 60:.0f}",
        held_out_bits=f"{last['held_out_bits']:.4f}",
        more="\n".join([*more, *(["", "```", command, "```"] if command else []), ""]),
        rows="\n".join(_row(row, "blended" if blended and row is last else f"{row['step']:,}") for row in rows),
        note=note if few < last["held_out_images"] else "",
        temperature=TEMPERATURE,
    )
    return str(make_card(text, licence=settings.licence, tags=["prior", "glow"], thumbnail="samples.png"))


def _row(row: dict[str, float], step: str) -> str:
    training = "" if row["train_bits"] is None else f"{row['train_bits']:.4f}"
    return f"| {step} | {row['images']:,} | {row['minutes']:.1f} | {training} | {row['held_out_bits']:.4f} |"


def _named(prior: Prior) -> str:
    return f"{prior.name} ({prior.fingerprint})"


def _architecture(prior: Prior) -> str:
    config: FlowConfig = prior.flow.config  # pyright: ignore[reportAttributeAccessIssue]  # what is trained has one
    details, glow = unrolled(config)
    shape = f"{'RGB' if prior.channels == 3 else f'{prior.channels} channels'}, {_levels(glow.levels)}"
    if not details:
        return f"Glow, {prior.image_size}×{prior.image_size}, {shape}"
    above = f"Wavelet Glow, {prior.image_size}×{prior.image_size}: Haar details in {_levels(details)}, fine to coarse"
    return f"{above}, on a Glow of {glow.image_size}×{glow.image_size}, {shape}"


def _levels(levels: Sequence[LevelConfig | DetailConfig]) -> str:
    steps, widths = (" ".join(str(getattr(one, key)) for one in levels) for key in ("steps", "width"))
    return f"levels of {steps} steps and coupling widths {widths}"
