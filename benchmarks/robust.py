"""What two spoilt pieces do to a set: left out, counting less (the default), and as they are.

    python -m benchmarks.robust

Half of each example set is evidence, with a picture of noise and a blank one; samples are compared with the other half.
"""

import argparse
import itertools
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

from transflow_core.engine import Engine
from transflow_core.images import find_images, load_image
from transflow_core.priors.catalogue import load_prior
from transflow_core.recipes import Method

from .distances import energy_distance, standardised
from .features import colour_texture
from .measures import as_unit
from .paper.setting import Setting
from .paper.words import amount, number, summary
from .sets import EXAMPLES, ROOT

TABLE = ROOT / "docs" / "results" / "robust.md"
SETS = ("greyscale", "red_hair", "sepia", "sketch")
METHODS = {"the paper's, λ/m = 0.3": Method(method="posterior", lam_ratio=0.3), "local": Method(method="local")}
HEAD = """<!-- Written by `python -m benchmarks.robust`. -->
# Outliers, measured

Half of an example set is evidence, and with it a picture of noise and a blank one. Cells have the energy distance of
16 samples to the held-out half, in colour and texture, and the share of samples that are torn, in %. *Torn* have a nose
and a mouth like those of no real face. Of real faces {alarms:.0f} % are, and of real faces with another one's mouth,
moved by an eighth of the side, {misses:.0f} % are not. *Own* is the share of the set's own images. {splits} splits; ±
is half the width of a 95 % t interval. *Weights* are those of noise and blank: an ordinary image has 1.

"""


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description="What two spoilt pieces do to a set.")
    parser.add_argument("--prior", default="celeba64", help="name, file or folder")
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--faces", type=Path, help="a folder or zip of real faces; else sampled faces")
    parser.add_argument("--splits", type=int, default=5)
    options = parser.parse_args()
    engine = Engine(load_prior(options.prior))
    side = engine.prior.image_size
    real_faces = Setting(engine, options.table.parent, None, faces=options.faces).real_faces
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8))
    spoilt = [noise, Image.new("RGB", (side, side), "grey")]
    columns = [f"{name}, {how}" for how in METHODS for name in ("left out", "the default", "as they are")]
    lines = [f"| set | {' | '.join(columns)} | own | weights |", "|---" * (len(columns) + 3) + "|"]
    for name in SETS:
        files = find_images(EXAMPLES / name)
        frames = [load_image(file).resize((side, side), Image.Resampling.LANCZOS) for file in files]
        everything = as_unit(frames)
        energies, torn, weights = defaultdict(list), defaultdict(list), []
        for split in range(options.splits):
            order = np.random.default_rng(split).permutation(len(frames))
            given, held_out = order[::2], order[1::2]
            scale = standardised(colour_texture(everything[given]))
            real = scale(colour_texture(everything[held_out]))
            inside = [frames[index] for index in given]
            sets = [
                engine.read(inside, align="never"),
                engine.read([*inside, *spoilt], align="never"),
                engine.read([*inside, *spoilt], align="never", robust=False),
            ]
            weights.append(sets[1].effective_weights[-2:])
            for how, (which, evidence) in itertools.product(METHODS, enumerate(sets)):
                x = engine.sample(engine.draw(evidence.posterior(), METHODS[how]), 16, seed=split).images
                key = how, which
                energies[key].append(energy_distance(scale(colour_texture(x)), real))
                torn[key].append(real_faces.torn(x.cpu()))
        cells = [f"{amount(summary(energies[key]), number(1))} / {np.mean(torn[key]):.0f}" for key in energies]
        counted = ", ".join(f"{weight:.3f}" for weight in np.mean(weights, 0))
        lines.append(
            f"| {name.replace('_', ' ')} | {' | '.join(cells)} | {real_faces.torn(everything):.0f} | {counted} |"
        )
        print(lines[-1], flush=True)
    options.table.write_text(
        HEAD.format(splits=options.splits, alarms=real_faces.alarms["torn"], misses=real_faces.misses["torn"])
        + "\n".join(lines)
        + "\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
