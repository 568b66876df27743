"""What two spoilt pieces do to a set: left out, counting less (the default), and as they are.

    python -m benchmarks.robust

Half of each example set is evidence, with a picture of noise and a blank one; samples are compared with the other half.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from transflow_core.engine import Engine
from transflow_core.images import find_images, load_image
from transflow_core.priors.catalogue import load_prior
from transflow_core.recipes import Method

from .distances import energy_distance, standardised
from .features import colour_texture
from .measures import as_unit, face_rate
from .sets import EXAMPLES, ROOT

TABLE = ROOT / "docs" / "results" / "robust.md"
SETS = ("greyscale", "red_hair", "sepia", "sketch")
METHODS = {"the paper's, λ/m = 0.3": Method(method="posterior", lam_ratio=0.3), "local": Method(method="local")}
HEAD = """<!-- Written by `python -m benchmarks.robust`. -->
# Outliers, measured

Nine images of an example set are evidence, and with them a picture of noise and a blank one. Cells have the energy
distance of 16 samples to the nine held-out images, in colour and texture, and the share of samples in which dlib finds
a face, in %. *Weights* are those of noise and blank: an ordinary image has 1.

"""


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description="What two spoilt pieces do to a set.")
    parser.add_argument("--prior", default="celeba64", help="name, file or folder")
    parser.add_argument("--table", type=Path, default=TABLE)
    options = parser.parse_args()
    engine = Engine(load_prior(options.prior))
    side = engine.prior.image_size
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8))
    spoilt = [noise, Image.new("RGB", (side, side), "grey")]
    columns = [f"{name}, {how}" for how in METHODS for name in ("left out", "the default", "as they are")]
    lines = [f"| set | {' | '.join(columns)} | weights |", "|---" * (len(columns) + 2) + "|"]
    for name in SETS:
        files = find_images(EXAMPLES / name)
        frames = [load_image(file).resize((side, side), Image.Resampling.LANCZOS) for file in files]
        given, held_out = frames[::2], frames[1::2]
        scale = standardised(colour_texture(as_unit(given)))
        real = scale(colour_texture(as_unit(held_out)))
        sets = [
            engine.read(given, align="never"),
            engine.read([*given, *spoilt], align="never"),
            engine.read([*given, *spoilt], align="never", robust=False),
        ]
        cells = []
        for how in METHODS.values():
            for evidence in sets:
                x = engine.sample(engine.draw(evidence.posterior(), how), 16).images
                energy = energy_distance(scale(colour_texture(x)), real)
                cells.append(f"{energy:.1f} / {100 * face_rate(x.numpy()):.0f}")
        counts = ", ".join(f"{count:.3f}" for count in sets[1].effective_weights[-2:])
        lines.append(f"| {name.replace('_', ' ')} | {' | '.join(cells)} | {counts} |")
        print(lines[-1], flush=True)
        options.table.write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
