"""The model card: what a prior was trained on, how, and what came of it."""

from __future__ import annotations

from ..cards import front_matter
from ..flows import FlowConfig, count_parameters, unrolled
from ..prior import Prior
from .data import ImageSet
from .settings import TrainSettings
from .state import Counters

__all__ = ["model_card"]

_ROWS = 16


def model_card(
    prior: Prior,
    architecture: FlowConfig,
    images: ImageSet,
    settings: TrainSettings,
    counters: Counters,
    words: dict[str, str],
    start: str | None = None,
    grown: str | None = None,
    blend: float = 1.0,
) -> str:
    """Markdown under the YAML that the Hub reads.

    `words` has what a person said: "data", "licence", "command"; what they did not say is called so.

    `start` and `grown` name the priors whose weights the run, and its means, began with.
    """
    rows = _thinned(counters.measured)
    last = rows[-1]
    begun = f" from the weights of {start}" if start else " from nothing"
    if grown:
        begun += f", the means from those of {grown}"
    lines = [
        front_matter(words.get("licence", ""), tags=["prior", "glow"], thumbnail="samples.png"),
        f"# {prior.name}",
        "",
        f"{_architecture(prior, architecture)}; {count_parameters(prior.flow):,} parameters; "
        f"trained on {prior.pixels.bits}-bit images.",
        "",
        f"- **Data**: {words.get('data') or 'not said by whoever trained it'}. {len(images.train):,} images for "
        f"training, {len(images.held_out):,} held out"
        + (", mirrored at random." if settings.mirror else ".")
        + "".join(f" Left out: {count:,} ({why.rstrip('.')})." for why, count in images.left_out.items()),
        f"- **Licence**: {words.get('licence') or 'not said by whoever trained it'}.",
        f"- **Training**: maximum likelihood{begun}; Adam (0.9, 0.99), learning rate {settings.learning_rate:g} after "
        f"{settings.warmup_steps} steps of warm-up, falling over the last {settings.decay:.0%}; batch "
        f"{settings.batch_size}; gradient norm clipped at {settings.clip:g}; weights averaged (EMA {settings.ema:g}); "
        f"coupling nets in {'bfloat16' if settings.half_nets else 'float32'}; seed {settings.seed}. "
        f"{counters.images:,} images seen in {counters.step:,} steps, {counters.seconds / 60:.0f} minutes; "
        f"{counters.skipped} steps skipped as not finite.",
        f"- **Held out**: {last['held_out_bits']:.4f} bits per dimension ({last['held_out_images']:,} images, "
        f"{prior.pixels.bits} bits).",
    ]
    if settings.interior:
        lines.append(
            "- **Interior**: the nets of the finest levels alone were trained, and beside the bits they minimise "
            f"{settings.interior:g} times the mean squared distance of what latents of small norm decode to from what "
            "they decoded to before, less its grid (`transflow_core/training/interior.py`)."
        )
    if blend < 1:
        lines.append(
            f"- **Blended**: the weights are {blend:.0%} of the trained ones and {1 - blend:.0%} of those that the run "
            f"began with. The trained ones alone have {counters.measured[-2]['held_out_bits']:.4f} bits."
        )
    if prior.typicality is not None:
        levels = [
            f"{level.name} {rms:.2f}" for level, rms in zip(prior.levels, prior.typicality.median_rms, strict=True)
        ]
        lines.append(
            f"- **Latents** of {prior.typicality.n} held-out images without noise, median root mean square a level: "
            f"{', '.join(levels)}."
        )
    if words.get("command"):
        lines += ["", "```", words["command"], "```"]
    lines += ["", "| step | images | minutes | bits, training | bits, held out |", "|---|---|---|---|---|"]
    for row in rows:
        step = "blended" if blend < 1 and row is last else f"{row['step']:,}"
        training = "" if row["train_bits"] is None else f"{row['train_bits']:.4f}"
        lines.append(f"| {step} | {row['images']:,} | {row['minutes']:.1f} | {training} | {row['held_out_bits']:.4f} |")
    if rows[0]["held_out_images"] < last["held_out_images"]:
        number = "last two" if blend < 1 else "last"
        lines += ["", f"Held-out bits on the way are of {rows[0]['held_out_images']} images, the {number} of all."]
    lines += ["", f"Samples at temperature {settings.sheet_temperature:g}:", "", "![samples](samples.png)", ""]
    return "\n".join(lines)


def _architecture(prior: Prior, architecture: FlowConfig) -> str:
    size = f"{prior.image_size}×{prior.image_size}, {'RGB' if prior.channels == 3 else f'{prior.channels} channels'}"
    details, config = unrolled(architecture)
    steps, widths = (" ".join(str(getattr(level, key)) for level in config.levels) for key in ("steps", "width"))
    glow = f"{len(config.levels)} levels, steps {steps}, coupling widths {widths}"
    if not details:
        return f"Glow, {size}, {glow}"
    steps, widths = (" ".join(str(getattr(level, key)) for level in details) for key in ("steps", "width"))
    plural = "s" if len(details) > 1 else ""
    return (
        f"Grown Glow, {size}: Haar details in {len(details)} level{plural}, fine to coarse, conditional steps {steps} "
        f"of widths {widths}, on a Glow of {config.image_size}×{config.image_size} ({glow})"
    )


def _thinned(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    """At most _ROWS of them, the first and the last among them."""
    if len(rows) <= _ROWS:
        return rows
    return [rows[round(i * (len(rows) - 1) / (_ROWS - 1))] for i in range(_ROWS)]
