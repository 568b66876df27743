"""What share of images is said to be far outside what a prior knows, and which way: yours, the examples, and bad ones.

Ordinary photographs of faces should (nearly) never be; blanks, heavy blur, noise and bars of noise should always be.

    python -m benchmarks.flagged [FOLDER …] [--prior celeba128]
    python -m benchmarks.flagged --write …       # and into docs/priors.md
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from transflow_core.engine import Engine
from transflow_core.images import find_images
from transflow_core.priors.catalogue import ASSETS, load_prior

from .page import ROOT
from .tables import into

_SIDE = 128


def _bad(face: Image.Image) -> dict[str, list[Image.Image]]:
    """Images that are no good evidence, made from nothing or of a face."""
    rng = np.random.default_rng(0)
    pixels = np.asarray(face, float)
    noisy = [np.clip(pixels + rng.normal(0, sigma, pixels.shape), 0, 255).astype(np.uint8) for sigma in (20, 40, 80)]
    return {
        "blank": [Image.new("RGB", (_SIDE, _SIDE), colour) for colour in ("black", "white", "grey", "red", "skyblue")],
        "noise": [Image.fromarray(rng.integers(0, 256, (_SIDE, _SIDE, 3), np.uint8)) for _ in range(4)],
        "a face, blurred by 2, 4 and 8 pixels": [face.filter(ImageFilter.GaussianBlur(radius)) for radius in (2, 4, 8)],
        "a face with noise of σ 20, 40 and 80": [Image.fromarray(one) for one in noisy],
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--prior", default="celeba128")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    engine = Engine(load_prior(given.prior, device="cpu"))
    examples = sorted(path for path in (ASSETS / "examples").iterdir() if path.is_dir())
    sets = {f"{path.parent.name}/{path.name}": find_images([path]) for path in (*given.folders, *examples)}
    face = Image.open(sets["examples/greyscale"][0]).convert("RGB").resize((_SIDE, _SIDE))
    lines = ["| images | n | too busy | too smooth |", "| --- | --- | --- | --- |"]
    print(*lines, sep="\n")
    for name, sources in {**sets, **_bad(face)}.items():
        evidence = engine.read(sources, faces="all")
        verdicts = [image.verdict for image in evidence if image.verdict is not None]
        busy, smooth = (sum(one.way == way for one in verdicts) for way in ("too busy", "too smooth"))
        lines.append(f"| {name} | {len(verdicts)} | {busy} | {smooth} |")
        print(lines[-1], flush=True)
    if given.write:
        into(ROOT / "docs" / "priors.md", "flagged", "\n".join(lines))


if __name__ == "__main__":
    main()
