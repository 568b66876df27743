"""What spoilt pieces and misaligned faces do to a set: samples beside images that are held out.

    python -m benchmarks.robust --faces FACES

Half of each example set is evidence, and samples are compared with the other half. First a picture of noise and a blank
one join the evidence: left out, counting less (the default), and as they are. Then each image of the evidence is moved,
turned or scaled, at random, by at most the amount in the table (the paper, section 5.2).
"""

import argparse
import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from transflow_core.engine import Engine
from transflow_core.evidence import Evidence
from transflow_core.fewshot import jitter
from transflow_core.images import find_images, load_image
from transflow_core.priors.catalogue import load_prior
from transflow_core.recipes import Method

from .distances import energy_distance, standardised
from .features import colour_texture
from .measures import as_unit
from .paper.setting import Setting
from .paper.words import amount, difference, number, sign, summary, table
from .real_faces import RealFaces
from .sets import EXAMPLES, ROOT

TABLE = ROOT / "docs" / "results" / "robust.md"
SETS = ("greyscale", "red_hair", "sepia", "sketch")
METHODS = {"the paper's, λ/m = 0.3": Method(method="posterior", lam_ratio=0.3), "local": Method(method="local")}
SPOILT = ("left out", "the default", "as they are")
ALIGNED = "aligned"
_STILL = {"shift": 0.0, "degrees": 0.0, "scale": 0.0, "shear": 0.0}
MISALIGNED = {
    ALIGNED: {},
    "moved by 3 % of the side": {"shift": 0.03},
    "by 6 %": {"shift": 0.06},
    "by 12 %": {"shift": 0.12},
    "turned by 5°": {"degrees": 5.0},
    "by 10°": {"degrees": 10.0},
    "by 20°": {"degrees": 20.0},
    "scaled by 5 %": {"scale": 0.05},
    "by 10 %": {"scale": 0.1},
    "by 20 %": {"scale": 0.2},
}
Found = Mapping[tuple[str, str, str], Mapping[str, list[float]]]


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.robust", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prior", default="celeba64", help="name, file or folder")
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--faces", type=Path, required=True, help="a folder or zip of real faces")
    parser.add_argument("--splits", type=int, default=5)
    options = parser.parse_args()
    engine = Engine(load_prior(options.prior))
    side = engine.prior.image_size
    real_faces = Setting(engine, options.table.parent, None, faces=options.faces).real_faces
    found: dict[tuple[str, str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    weights, own = defaultdict(list), {}
    for name in SETS:
        files = find_images(EXAMPLES / name)
        frames = [load_image(file).resize((side, side), Image.Resampling.LANCZOS) for file in files]
        everything = as_unit(frames)
        own[name] = real_faces.torn(everything)
        for split in range(options.splits):
            order = np.random.default_rng(split).permutation(len(frames))
            given, held_out = order[::2], order[1::2]
            scale = standardised(colour_texture(everything[given]))
            real = scale(colour_texture(everything[held_out]))
            for kind, evidence in variants(engine, [frames[index] for index in given], split):
                if kind == "the default":
                    weights[name].append(evidence.effective_weights[-2:])
                for how, method in METHODS.items():
                    x = engine.sample(engine.draw(evidence.posterior(), method), 16, seed=split).images
                    cell = found[name, how, kind]
                    cell["energy"].append(energy_distance(scale(colour_texture(x)), real))
                    cell["torn"].append(real_faces.torn(x.cpu()))
            print(name, split, flush=True)
    options.table.write_text(page(found, weights, own, real_faces, options), encoding="utf-8")


def variants(engine: Engine, given: list[Image.Image], split: int) -> Iterator[tuple[str, Evidence]]:
    """The given images with two spoilt ones, then misaligned."""
    side = given[0].width
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8))
    spoilt = [*given, noise, Image.new("RGB", (side, side), "grey")]
    yield "left out", engine.read(given, align="never")
    yield "the default", engine.read(spoilt, align="never")
    yield "as they are", engine.read(spoilt, align="never", robust=False)
    for kind, most in MISALIGNED.items():
        moved = [copy for _, copy in jitter(given, 1, seed=split, **(_STILL | most))] if most else given
        yield kind, engine.read(moved, align="never")


def page(
    found: Found, weights: Mapping[str, list], own: Mapping[str, float], faces: RealFaces, options: argparse.Namespace
) -> str:
    """Both tables; sentences about results are made from their numbers."""

    def cell(name: str, how: str, kind: str) -> str:
        values = found[name, how, kind]
        return f"{amount(summary(values['energy']), number(1))} / {np.mean(values['torn']):.0f}"

    both = list(itertools.product(METHODS, SPOILT))
    outliers = []
    for name in SETS:
        counted = ", ".join(f"{weight:.3f}" for weight in np.mean(weights[name], 0))
        row = [cell(name, how, kind) for how, kind in both]
        outliers.append([name.replace("_", " "), *row, f"{own[name]:.0f}", counted])
    columns = list(itertools.product(SETS, METHODS))
    heads = [f"{name.replace('_', ' ')}, {how}" for name, how in columns]
    steps = [[kind, *[cell(name, how, kind) for name, how in columns]] for kind in MISALIGNED]
    kinds = list(MISALIGNED)
    alarms, misses = (f"{of['torn']:.0f}" for of in (faces.alarms, faces.misses))
    worse = []
    for how, (kind, words) in itertools.product(METHODS, zip(kinds[3::3], ("moved", "turned", "scaled"), strict=True)):
        by = {key: _changed(found, how, kind, key) for key in ("energy", "torn")}
        worse.append(
            f"- {how}, {words} most: farther on {by['energy'].count(1)}, nearer on {by['energy'].count(-1)}; "
            f"more torn on {by['torn'].count(1)}, fewer on {by['torn'].count(-1)}."
        )
    return f"""<!-- Written by `python -m benchmarks.robust --faces FACES`. -->
# Outliers and misaligned faces, measured

Half of an example set is evidence. Cells have the energy distance of 16 samples to the held-out half, in colour and
texture, and the share of samples that are torn, in %. *Torn* have a nose and a mouth like those of no real face, where
a face has them: an intact face that is moved may count too. Of real faces {alarms} % are torn. Of real faces with
another one's mouth, moved by an eighth of the side, {misses} % are not. *Own* is the share of the set's own images.
{options.splits} splits; ± is half the width of a 95 % t interval. Model: {options.prior}.

## Outliers

A picture of noise and a blank one are with the evidence. *Weights* are those of noise and blank: an ordinary image
has 1.

{table(["set", *[f"{kind}, {how}" for how, kind in both], "own", "weights"], outliers)}

## Misaligned faces

The paper finds that "sample quality decreased sharply in the presence of poorly aligned inputs" (section 5.2). Here
each image of the evidence is moved, turned or scaled, at random. The first column has the largest amount. Held-out
images stay as they are.

{table(["evidence", *heads], steps)}

Of {len(SETS)} sets, against aligned evidence, where the paired interval excludes 0:

{chr(10).join(worse)}
"""


def _changed(found: Found, how: str, kind: str, key: str) -> list[int]:
    """Set by set: 1 where misaligned evidence has more, -1 where it has less."""
    cells = ([summary(found[name, how, one][key]) for name in SETS] for one in (kind, ALIGNED))
    return [sign(difference(*pair)) for pair in zip(*cells, strict=True)]


if __name__ == "__main__":
    main()
