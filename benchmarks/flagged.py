"""Which images are said to be unlike what a prior knows, and why: yours, the examples, and bad ones.

Ordinary photographs of faces should (nearly) never be. Heavy blur, noise, bars of noise and pictures without a face
should (nearly) always be. Those are 200: flat colours, noise, textures, and parts of the photographs in FOLDER beside
their faces.

    python -m benchmarks.flagged [FOLDER …] [--prior celeba256]
    python -m benchmarks.flagged --write …       # and into docs/priors.md
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from transflow_core.engine import Engine
from transflow_core.faces.detection import detect
from transflow_core.images import find_images, load_image
from transflow_core.priors.catalogue import ASSETS, load_prior

from .page import ROOT
from .tables import into

_SIDE = 128
_WAYS = ("too busy", "too smooth", "no face")


def _bad(face: Image.Image) -> dict[str, list[Image.Image]]:
    """Images that are no good evidence, made from nothing or of a face."""
    rng = np.random.default_rng(0)
    pixels = np.asarray(face, float)
    noisy = [np.clip(pixels + rng.normal(0, sigma, pixels.shape), 0, 255).astype(np.uint8) for sigma in (20, 40, 80)]
    return {
        "a face, blurred by 2, 4 and 8 pixels": [face.filter(ImageFilter.GaussianBlur(radius)) for radius in (2, 4, 8)],
        "a face with noise of σ 20, 40 and 80": [Image.fromarray(one) for one in noisy],
    }


def faceless(photographs: Sequence[Path] = (), n: int = 30) -> dict[str, list[Image.Image]]:
    """Pictures of no face: n flat colours, n of noise, 2n textures, and of each photograph eight parts beside faces."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:_SIDE, :_SIDE][..., None]
    plain, noise, textures, parts = [], [], [], []
    for index in range(n):
        first, second = rng.uniform(0, 255, (2, 3))
        plain.append(_picture(first + (second - first) * (x / _SIDE if index % 2 else 0 * x)))
        grain = rng.normal(0, (5, 10, 20, 40, 80)[index % 5], (_SIDE, _SIDE, 3 if index % 3 else 1))
        noise.append(_picture(rng.uniform(60, 190, 3) + grain))
    for index in range(2 * n):
        first, second = rng.uniform(0, 255, (2, 3))
        angle, period = rng.uniform(0, np.pi), rng.uniform(4, 40)
        turned = x * np.cos(angle) + y * np.sin(angle)
        cells = (x / period).astype(int) + (y / period).astype(int)
        clouds = sum(_clouds(rng, size) / size for size in (2, 4, 8, 16, 32, 64))
        drawn = (np.sin(2 * np.pi * turned / period) / 2 + 0.5, cells % 2, turned % period < period / 2, clouds + 0.5)
        textures.append(_picture(first + (second - first) * drawn[index % 4]))
    for path in photographs:
        photograph, found = load_image(path), 0
        faces = [face.box for face in detect(photograph)]
        for _ in range(400):
            side = int(rng.uniform(64, 0.8 * min(photograph.size)))
            left, top = (int(rng.integers(0, size - side + 1)) for size in photograph.size)
            beside = all(left >= c or left + side <= a or top >= d or top + side <= b for a, b, c, d in faces)
            if beside and found < 8:
                part = photograph.crop((left, top, left + side, top + side))
                parts.append(part.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS))
                found += 1
    return {"flat colours": plain, "noise": noise, "textures": textures, "parts beside faces": parts}


def _clouds(rng: np.random.Generator, size: int) -> np.ndarray:
    small = Image.fromarray(rng.normal(0, 1, (size, size)).astype(np.float32))
    return np.asarray(small.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC))[..., None]


def _picture(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.broadcast_to(pixels.clip(0, 255), (_SIDE, _SIDE, 3)).astype(np.uint8))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--prior", default="celeba256")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    engine = Engine(load_prior(given.prior, device="cpu"))
    examples = sorted(path for path in (ASSETS / "examples").iterdir() if path.is_dir())
    sets = {f"{path.parent.name}/{path.name}": find_images([path]) for path in (*given.folders, *examples)}
    face = Image.open(sets["examples/greyscale"][0]).convert("RGB").resize((_SIDE, _SIDE))
    photographs = [path for folder in given.folders if folder.name == "photos" for path in folder.glob("*.jpg")]
    made = faceless(sorted(photographs)) | _bad(face)
    lines = [f"| images | n | {' | '.join(_WAYS)} |", "| --- " * (2 + len(_WAYS)) + "|"]
    print(*lines, sep="\n")
    for name, sources in {**sets, **made}.items():
        evidence = engine.read(sources, faces="all")
        verdicts = [image.verdict for image in evidence if image.verdict is not None]
        counts = [sum(one.way == way for one in verdicts) for way in _WAYS]
        lines.append(f"| {name} | {len(verdicts)} | {' | '.join(map(str, counts))} |")
        print(lines[-1], flush=True)
    if given.write:
        into(ROOT / "docs" / "priors.md", "flagged", "\n".join(lines))


if __name__ == "__main__":
    main()
