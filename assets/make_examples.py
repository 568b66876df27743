"""Draw the example evidence in `assets/examples`: nobody's face, so that anyone may ship it.

Faces are sampled from the default prior and then changed; the drawings and cartoons are drawn from shapes. Old masters
are paintings, aligned by the program: `assets/examples/paintings/CREDITS.md` names them. Run from the checkout:

    python -m assets.make_examples [a folder with these paintings]
"""

import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from transflow_core.faces import align
from transflow_core.faces.detection import detect
from transflow_core.images import find_images, load_image, to_pil
from transflow_core.posterior import standard_normal
from transflow_core.posterior.local import PRIOR_TEMPERATURE
from transflow_core.priors.catalogue import load_prior
from transflow_core.priors.prior import Prior

from .drawings import drawing

EXAMPLES = Path(__file__).resolve().parent / "examples"
SIZE = 128
COUNT = 18
DRAWINGS = 24
DRAWN = 360  # faces from which a set's are chosen: all of them take seconds
CLEAREST = 200  # of these
Pixels = NDArray[np.float32]  # (SIZE, SIZE, 3) in [0, 1]


def faces(prior: Prior, seed: int) -> list[Image.Image]:
    """Samples of the prior, people who do not exist: first those that a detector is surest of."""
    z = PRIOR_TEMPERATURE * standard_normal(DRAWN, prior.dim, seed=seed)
    drawn = [image for some in z.split(24) for image in to_pil(prior.decode(some))]
    scores = [max((face.score for face in detect(image, thorough=False)), default=0.0) for image in drawn]
    return [drawn[index] for index in sorted(range(DRAWN), key=lambda index: -scores[index])[:CLEAREST]]


def as_array(image: Image.Image) -> Pixels:
    return np.asarray(image, np.float32) / 255


def as_image(pixels: Pixels) -> Image.Image:
    return Image.fromarray(np.rint(pixels.clip(0, 1) * 255).astype(np.uint8))


def luma(pixels: Pixels) -> NDArray[np.float32]:
    return pixels @ np.array([0.299, 0.587, 0.114], np.float32)


def greyscale(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return ImageOps.grayscale(image).convert("RGB")


def sepia(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """An old print: brown tones, less contrast, darker towards the corners."""
    grey = 0.12 + 0.8 * luma(as_array(image))
    tint = np.array([1.07, 0.86, 0.62], np.float32)
    y, x = np.mgrid[0:SIZE, 0:SIZE] / (SIZE - 1) - 0.5
    vignette = 1 - 0.7 * (x * x + y * y)
    return as_image((grey * vignette)[..., None] * tint)


def sketch(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A pencil on paper: the picture divided by its own blur leaves lines and light shading."""
    large = 4 * SIZE
    grey = luma(as_array(image.resize((large, large), Image.Resampling.LANCZOS)))
    blurred = np.asarray(
        Image.fromarray(np.rint(255 * (1 - grey)).astype(np.uint8)).filter(ImageFilter.GaussianBlur(large / 18)),
        np.float32,
    )
    dodge = np.clip(grey / np.maximum(1 - blurred / 255, 1e-2), 0, 1)
    shading = np.clip(0.55 + 0.5 * grey, 0, 1)
    paper = np.clip(np.minimum(dodge**1.3, 1) * shading + 0.08 - 0.02 * rng.standard_normal(grey.shape), 0, 1)
    return (
        Image.fromarray(np.rint(255 * paper).astype(np.uint8)).resize((SIZE, SIZE), Image.Resampling.BOX).convert("RGB")
    )


def colours(pixels: Pixels) -> list[NDArray[np.float32]]:
    """The colours of the crown, of the cheeks and of the corners."""
    boxes = (0.39, 0.09, 0.61, 0.17), (0.34, 0.53, 0.66, 0.72), (0, 0, 0.08, 0.19)
    edges = [[round(edge * SIZE) for edge in box] for box in boxes]
    return [np.median(pixels[top:low, left:right].reshape(-1, 3), axis=0) for left, top, right, low in edges]


def plain(image: Image.Image) -> float:
    """How far the crown's colour is from those of the cheeks and the corners: hair of their colour is not found."""
    crown, *others = colours(as_array(image))
    return min(float(abs(crown - other).max()) for other in others)


def hair(pixels: Pixels) -> NDArray[np.float32]:
    """How surely each pixel is hair, 0 to 1: near the crown's colour, far from the cheeks' and the corners'."""

    def likeness(c: NDArray[np.float32]) -> NDArray[np.float32]:
        return -((pixels - c) ** 2).sum(-1) / (2 * 0.11**2)

    crown, cheeks, corners = colours(pixels)
    others = np.logaddexp(likeness(cheeks), likeness(corners))
    y, x = np.mgrid[0:SIZE, 0:SIZE] / (SIZE - 1)
    face = ((x - 0.5) / 0.23) ** 2 + ((y - 0.57) / 0.33) ** 2  # below 1: inside the face
    head = ((x - 0.5) / 0.46) ** 2 + ((y - 0.5) / 0.52) ** 2  # above 1: outside the head
    # Where hair and background have one colour, only the place can tell them apart.
    place = np.minimum(8 * (face - 1.0), 10 * (0.95 - head))
    colour = (likeness(crown) - others).clip(-6, 3)
    surely = 1 / (1 + np.exp(-(colour + place).clip(-30, 30)))
    soft = Image.fromarray(np.rint(255 * surely).astype(np.uint8)).filter(ImageFilter.GaussianBlur(SIZE / 64))
    return np.asarray(soft, np.float32) / 255


def red_hair(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The hair's hue becomes copper; its light and shade stay."""
    pixels = as_array(image)
    mask = hair(pixels)[..., None]
    light = luma(pixels)[..., None]
    level = float((light * mask).sum() / mask.sum().clip(1e-3))
    copper = np.array([1.0, rng.uniform(0.44, 0.54), rng.uniform(0.24, 0.34)], np.float32)
    wanted = (0.5 * level + 0.15 + 0.95 * (light - level)).clip(0.03, 0.62) / luma(copper)
    return as_image(mask * np.clip(wanted * copper, 0, 1) + (1 - mask) * pixels)


def _bar(image: Image.Image, fill: Callable[[tuple[int, int]], NDArray]) -> Image.Image:
    pixels = np.asarray(image).copy()
    top, bottom = round(0.40 * SIZE), round(0.56 * SIZE)
    left, right = round(0.20 * SIZE), round(0.80 * SIZE)
    pixels[top:bottom, left:right] = fill((bottom - top, right - left))
    return Image.fromarray(pixels)


def neon_bar(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Fig. 6: a solid occlusion over the eyes."""
    return _bar(image, lambda size: np.array([57, 255, 20], np.uint8))


def noise_bar(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Fig. 6: the occlusion that the paper's prior could not take, random pixels."""
    return _bar(image, lambda size: rng.integers(0, 256, (*size, 3), dtype=np.uint8))


def cartoon(rng: np.random.Generator) -> Image.Image:
    """A face from shapes, with its eyes where the frame has them; drawn large and reduced, so that edges are smooth."""
    s = 8 * SIZE
    skin = tuple(int(v) for v in np.array([255, 214, 176]) * rng.uniform(0.72, 1.0))
    hues = [(40, 30, 28), (92, 52, 28), (196, 132, 48), (232, 200, 92), (178, 60, 36), (120, 60, 150), (40, 110, 170)]
    hair_colour = hues[rng.integers(len(hues))]
    backgrounds = [(186, 222, 240), (246, 226, 178), (204, 232, 190), (240, 204, 214), (226, 226, 236)]
    image = Image.new("RGB", (s, s), backgrounds[rng.integers(len(backgrounds))])
    draw = ImageDraw.Draw(image)
    line = max(3, s // 110)

    def ellipse(x: float, y: float, rx: float, ry: float, **style) -> None:
        draw.ellipse([(x - rx) * s, (y - ry) * s, (x + rx) * s, (y + ry) * s], **style)

    long = rng.random() < 0.55
    width = rng.uniform(0.225, 0.26)
    # From back to front: the hair behind, neck and shoulders, ears, face, fringe.
    ellipse(0.5, 0.44, width + 0.09, 0.36, fill=hair_colour)
    if long:
        draw.rounded_rectangle(
            [(0.5 - width - 0.09) * s, 0.44 * s, (0.5 + width + 0.09) * s, 0.98 * s], 0.08 * s, hair_colour
        )
    shirt = tuple(int(v) for v in rng.integers(40, 220, 3))
    ellipse(0.5, 1.08, 0.42, 0.22, fill=shirt)
    draw.rectangle([0.43 * s, 0.78 * s, 0.57 * s, 0.93 * s], fill=tuple(int(0.88 * v) for v in skin))
    for side in (-1, 1):
        ellipse(0.5 + side * width, 0.53, 0.035, 0.06, fill=skin, outline=(90, 60, 50), width=line)
    ellipse(0.5, 0.54, width, rng.uniform(0.31, 0.34), fill=skin, outline=(90, 60, 50), width=line)
    fringe = rng.uniform(0.30, 0.37)
    draw.pieslice([(0.5 - width) * s, 0.2 * s, (0.5 + width) * s, (2 * fringe + 0.06) * s], 180, 360, fill=hair_colour)
    iris = [(60, 110, 170), (80, 130, 60), (100, 66, 40), (50, 50, 60)][rng.integers(4)]
    tall = rng.uniform(0.045, 0.062)
    tilt = rng.uniform(-0.02, 0.02)
    for x in (0.37, 0.63):
        ellipse(x, 0.48, 0.058, tall, fill="white", outline=(50, 40, 40), width=line)
        ellipse(x, 0.485, 0.034, 0.036, fill=iris)
        ellipse(x, 0.485, 0.016, 0.018, fill=(15, 15, 20))
        ellipse(x + 0.014, 0.47, 0.009, 0.009, fill="white")
        inner = math.copysign(1, 0.5 - x)
        brow = [(x - inner * 0.07, 0.395 - tilt), (x, 0.375), (x + inner * 0.06, 0.395 + tilt)]
        draw.line(
            [(a * s, b * s) for a, b in brow],
            fill=tuple(int(0.6 * v) for v in hair_colour),
            width=3 * line,
            joint="curve",
        )
    draw.line(
        [(0.5 * s, 0.52 * s), (0.485 * s, 0.61 * s), (0.515 * s, 0.615 * s)],
        fill=(120, 80, 66),
        width=line,
        joint="curve",
    )
    smile = rng.uniform(0.02, 0.07)
    lips = (190, 60, 70)
    box = [0.41 * s, (0.70 - smile) * s, 0.59 * s, (0.70 + smile) * s]
    if rng.random() < 0.4:
        draw.chord(box, 0, 180, fill=(120, 30, 40), outline=lips, width=line)
    else:
        draw.arc(box, 10, 170, fill=lips, width=2 * line)
    for x in (0.36, 0.64):
        cheek = Image.new("L", (s, s), 0)
        ImageDraw.Draw(cheek).ellipse([(x - 0.05) * s, 0.57 * s, (x + 0.05) * s, 0.65 * s], fill=90)
        image.paste((240, 120, 110), mask=cheek.filter(ImageFilter.GaussianBlur(0.015 * s)))
    if rng.random() < 0.25:
        for x in (0.37, 0.63):
            ellipse(x, 0.485, 0.085, 0.08, outline=(40, 40, 46), width=2 * line)
        draw.line([(0.455 * s, 0.48 * s), (0.545 * s, 0.48 * s)], fill=(40, 40, 46), width=2 * line)
    return image.resize((SIZE, SIZE), Image.Resampling.BOX)


CHANGES: dict[str, Callable] = {
    "greyscale": greyscale,
    "red_hair": red_hair,
    "sketch": sketch,
    "sepia": sepia,
    "neon_bar": neon_bar,
    "noise_bar": noise_bar,
}


def photograph(prior: Prior) -> Image.Image:
    """A wall with three framed portraits, to be restyled by who has no photograph at hand."""
    rng = np.random.default_rng(98)
    y, x = np.mgrid[0:420, 0:800].astype(np.float32)
    light = 0.62 + 0.2 * np.exp(-(((x - 300) / 420) ** 2 + ((y - 60) / 300) ** 2))
    grain = 0.012 * rng.standard_normal((420, 800, 1)).astype(np.float32)
    wall = as_image(light[..., None] * np.array([0.80, 0.86, 0.84], np.float32) + grain)
    drawing = ImageDraw.Draw(wall)
    for (left, top, side), face in zip(
        ((50, 100, 200), (300, 50, 240), (590, 120, 170)), faces(prior, 90), strict=False
    ):
        drawing.rectangle((left - 16, top - 10, left + side + 24, top + side + 26), fill=(112, 116, 112))  # its shadow
        drawing.rectangle((left - 18, top - 18, left + side + 17, top + side + 17), fill=(58, 44, 36))
        drawing.rectangle((left - 8, top - 8, left + side + 7, top + side + 7), fill=(240, 236, 226))
        wall.paste(face.resize((side, side), Image.Resampling.LANCZOS), (left, top))
    return wall


def main() -> None:
    """Write every set; `sets.json` beside them has their titles."""
    prior = load_prior(device="cpu")
    for seed, (name, change) in enumerate(CHANGES.items(), start=100):
        rng = np.random.default_rng(seed)
        # Each set has people of its own: two sets that share faces would interpolate without moving.
        people = faces(prior.at(SIZE), seed)
        if change is red_hair:
            people.sort(key=plain, reverse=True)
        write(name, [change(face, rng) for face in people[:COUNT]])
    rng = np.random.default_rng(99)
    write("cartoon", [cartoon(rng) for _ in range(COUNT)])
    rng = np.random.default_rng(97)
    write("drawings", [drawing(rng, SIZE) for _ in range(DRAWINGS)])
    photograph(prior).save(EXAMPLES / "photograph.png", optimize=True)
    if sys.argv[1:]:
        paintings(find_images(sys.argv[1:]))


def paintings(files: list[Path]) -> None:
    """Each face as the program aligns it, at 256 pixels: whole paintings take three times as long to read."""
    for file in files:
        face = align(load_image(file), size=2 * SIZE)[0].image
        face.save(EXAMPLES / "paintings" / f"{file.stem}.png", optimize=True)


def write(name: str, images: list[Image.Image]) -> None:
    """Replace one set's images."""
    folder = EXAMPLES / name
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    for index, image in enumerate(images):
        image.save(folder / f"{name}_{index:02d}.png", optimize=True)


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
