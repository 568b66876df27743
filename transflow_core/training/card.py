"""The model card of a prior that was trained here: what it saw, how it was trained, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence

from ..flows import DetailConfig, FlowConfig, LevelConfig, count_parameters, unrolled
from ..hub import card_head
from ..prior import Prior
from .data import ImageSet
from .recipe import Plan
from .state import Counters

_ROWS = 16


def model_card(prior: Prior, plan: Plan, images: ImageSet, counters: Counters, words: dict[str, str]) -> str:
    """Markdown under the YAML that the Hub reads.

    `words` has what a person said: "data", "licence", "command"; what they did not say is called so.
    """
    settings, blended, unsaid = plan.settings, plan.blend < 1, "not said by whoever trained it"
    rows = _thinned(counters.measured)
    last = rows[-1]
    begun = f" from the weights of {_named(plan.start)}" if plan.start else " from nothing"
    if plan.grow:
        begun += f", the means from those of {_named(plan.grow)}"
    left_out = "".join(f" Left out: {count:,} ({why.rstrip('.')})." for why, count in images.left_out.items())
    lines = [
        card_head(words.get("licence", ""), tags=["prior", "glow"], thumbnail="samples.png"),
        f"# {prior.name}",
        "",
        f"{_architecture(prior)}; {count_parameters(prior.flow):,} parameters; images of {prior.pixels.bits} bits.",
        "",
        f"- **Data**: {words.get('data') or unsaid}. {len(images.train):,} images for training, "
        f"{len(images.held_out):,} held out{', mirrored at random' if settings.mirror else ''}.{left_out}",
        f"- **Licence**: {words.get('licence') or unsaid}.",
        f"- **Training**: maximum likelihood{begun}; Adam (0.9, 0.99), learning rate {settings.learning_rate:g} after "
        f"{settings.warmup_steps} steps of warm-up, falling over the last {settings.decay:.0%}; batch "
        f"{settings.batch_size}; gradient norm clipped at {settings.clip:g}; weights averaged (EMA {settings.ema:g}); "
        f"coupling nets in {'bfloat16' if settings.half_nets else 'float32'}; seed {settings.seed}. "
        f"{counters.images:,} images seen in {counters.step:,} steps, {counters.seconds / 60:.0f} minutes; "
        f"{counters.skipped} steps skipped as not finite.",
        f"- **Held out**: {last['held_out_bits']:.4f} bits per dimension ({last['held_out_images']:,} images).",
    ]
    if settings.checkerboard:
        lines.append(
            "- **Checkerboard penalty**: the nets of the finest levels alone were trained. They also minimise "
            f"{settings.checkerboard:g} times the mean squared distance of what latents of small norm decode to from "
            "what they decoded to before, less its checkerboard (`transflow_core/training/checkerboard.py`)."
        )
    if blended:
        lines.append(
            f"- **Blended**: the weights are {plan.blend:.0%} of the trained ones and {1 - plan.blend:.0%} of those at "
            f"the start. The trained ones alone have {counters.measured[-2]['held_out_bits']:.4f} bits."
        )
    if prior.typicality is not None:
        pairs = zip(prior.levels, prior.typicality.median_rms, strict=True)
        lines.append(
            f"- **Latents** of {prior.typicality.n} held-out images without noise, median root mean square a level: "
            f"{', '.join(f'{level.name} {rms:.2f}' for level, rms in pairs)}."
        )
    if words.get("command"):
        lines += ["", "```", words["command"], "```"]
    lines += ["", "| step | images | minutes | bits, training | bits, held out |", "|---|---|---|---|---|"]
    for row in rows:
        step = "blended" if blended and row is last else f"{row['step']:,}"
        training = "" if row["train_bits"] is None else f"{row['train_bits']:.4f}"
        lines.append(f"| {step} | {row['images']:,} | {row['minutes']:.1f} | {training} | {row['held_out_bits']:.4f} |")
    if rows[0]["held_out_images"] < last["held_out_images"]:
        number = "last two" if blended else "last"
        lines += ["", f"Held-out bits on the way are of {rows[0]['held_out_images']} images, the {number} of all."]
    lines += ["", f"Samples at temperature {settings.sheet_temperature:g}:", "", "![samples](samples.png)", ""]
    return "\n".join(lines)


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


def _thinned(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    """At most _ROWS of them, the first and the last among them."""
    if len(rows) <= _ROWS:
        return rows
    return [rows[round(i * (len(rows) - 1) / (_ROWS - 1))] for i in range(_ROWS)]
