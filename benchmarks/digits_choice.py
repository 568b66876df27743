"""How a digit's frame, the strength of its copies and a Σ a level were chosen, on digits that Table 1 never tests.

    python -m benchmarks.digits_choice --shots 1 3 --draws 6    # writes docs/results/digits_choice.md
    python -m benchmarks.digits_choice --draws 1                # sooner

Evidence comes from the half of the digits that Table 1 draws from, and the rest of that half is tested. The rule is
ours: low-rank Σ, with copies. One choice is varied at a time. ± is half the width of a 95 % t interval of the
difference from the first row, paired by draw.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from transflow_core.fewshot import FewShotClassifier
from transflow_core.priors.catalogue import load_prior
from transflow_core.priors.prior import Prior
from transflow_core.recipes import CLASSIFYING_PRIOR

from .paper.digits import JITTER, Digits, load_digits, rank_variants
from .paper.rules import judged, ours
from .paper.table1 import encode_row, variants_of
from .paper.words import amount, difference, number, summary, table

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Framed(Digits):
    """Digits in another frame: smaller on its black ground, or black on white."""

    share: float = 1.0
    inverted: bool = False

    def framed(self, index: int, side: int) -> Image.Image:
        """As `Digits.framed`, of `share` of the side and perhaps inverted."""
        inner = super().framed(index, round(self.share * side))
        margin = (side - inner.width) // 2
        frame = ImageOps.expand(inner, (margin, margin, side - inner.width - margin, side - inner.height - margin))
        return ImageOps.invert(frame) if self.inverted else frame


FRAMES = {
    "the whole frame, white on black": {},
    "three quarters of it": {"share": 0.75},
    "half of it": {"share": 0.5},
    "black on white": {"inverted": True},
}
STRENGTHS = (0.0, 0.5, 1.0, 1.5, 2.0)


def accuracies(
    prior: Prior, digits: Digits, strength: float, levels: bool, shots: tuple[int, ...], draws: int, tested: int
) -> dict:
    """Of each m, a summary over draws of the accuracy in % on `tested` digits of the pool that are no evidence."""
    found: dict[int, list[float]] = {m: [] for m in shots}
    side = prior.image_size
    for draw in range(draws):
        drawn = digits.draw(draw, max(shots))
        left = np.random.default_rng(draw).permutation(np.setdiff1d(digits.pool, drawn))[:tested]
        query = prior.encode([digits.framed(index, side) for index in left]).cpu()
        how = {name: strength * value for name, value in JITTER.items()}
        most = 40 if strength else 0
        copies = [
            encode_row(lambda images: prior.encode(images).cpu(), row)
            for row in rank_variants(digits, drawn, side, draw, most, how)
        ]
        for m in shots:
            scores = ours(FewShotClassifier(prior if levels else None), variants_of(copies, m, most), query)
            found[m].append(judged(scores, digits.labels[left])["accuracy"])
    return {m: summary(values) for m, values in found.items()}


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.digits_choice",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--prior", default=CLASSIFYING_PRIOR, help="name, file or folder")
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 5, 10], help="examples a class")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--tested", type=int, default=500, help="digits a draw")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "digits_choice.md")
    options = parser.parse_args()
    prior, digits, shots = load_prior(options.prior), load_digits(), tuple(options.shots)
    fields = {"pixels": digits.pixels, "labels": digits.labels, "pool": digits.pool, "test": digits.test}
    runs = {f"frame: {name}": (Framed(**fields, **how), 1.0, True) for name, how in FRAMES.items()}
    runs |= {
        f"distortions × {strength:g}": (Framed(**fields), strength, True) for strength in STRENGTHS if strength != 1
    }
    runs["one Σ for all levels"] = (Framed(**fields), 1.0, False)
    rows, chosen = [], None
    for name, (framed, strength, levels) in runs.items():
        found = accuracies(prior, framed, strength, levels, shots, options.draws, options.tested)
        chosen = chosen or found
        rows.append([name, *[_cell(found[m], chosen[m], found is chosen) for m in shots]])
        print(*rows[-1], flush=True)
    head = ["accuracy, % (difference from the first row)", *[f"m = {m}" for m in shots]]
    command = f"python -m benchmarks.digits_choice --shots {' '.join(map(str, shots))} --draws {options.draws}"
    note = f"Prior {prior.name} ({prior.fingerprint[:12]}), {options.draws} draws, {options.tested} digits each."
    top = f"<!-- Written by `{command}`. -->\n# How digits are framed, measured\n"
    options.output.write_text(f"{top}\n{__doc__}\n{note}\n\n{table(head, rows)}\n")


def _cell(found: dict, chosen: dict, same: bool) -> str:
    own = number(1)(found["mean"])
    return own if same else f"{own} ({amount(difference(found, chosen), number(1), signed=True)})"


if __name__ == "__main__":
    main()
