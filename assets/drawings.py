"""A soft-shaded drawing of somebody who does not exist, from shapes and light alone: numpy, no model.

All eyes are where the aligned frame has them, and all people look straight ahead, so that samples of a set of drawings
have whole faces. Hair, skin, light, clothes, backgrounds and the parts of the face differ.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageFilter

__all__ = ["drawing"]

_EYES, _EYE_LINE = (0.37, 0.63), 0.48
_SKIN = ("#f6d7c3", "#eebf9f", "#dba57f", "#c08658", "#94603c", "#6d4529")
_HAIR = ("#1d1715", "#3b2417", "#6a4025", "#a5672f", "#d9b36a", "#b5482a", "#7d2f22", "#c4c0b8")
_EYE = ("#4b3322", "#6c4b2a", "#4d6b3f", "#48749b", "#5f6a72")
_CLOTHES = ("#27435f", "#7b2f36", "#2f5d4b", "#d8d2c4", "#57456e", "#b98a3c", "#30343a")
_WALLS = ("#9fb4c2", "#b9a98f", "#8d9c86", "#b08f87", "#6f7681", "#c9c3b8", "#54606b")
# How much wider than the face the hair is.
_CUTS = {"short": 0.055, "parted": 0.07, "bun": 0.045, "long": 0.09, "bob": 0.1, "curls": 0.15, "shaved": 0.015}
Field = NDArray[np.float32]  # one number for each pixel


def _colour(text: str) -> NDArray[np.float32]:
    return np.array([int(text[i : i + 2], 16) / 255 for i in (1, 3, 5)], np.float32)


class _Canvas:
    """Pixels in [0, 1], drawn four times as large as they are shown; places are in [0, 1] too."""

    def __init__(self, side: int) -> None:
        self.y, self.x = np.mgrid[0:side, 0:side].astype(np.float32) / (side - 1)
        self.pixels = np.zeros((side, side, 3), np.float32)

    def put(self, colour: ArrayLike, mask: Field) -> None:
        self.pixels += mask[..., None] * (np.asarray(colour, np.float32) - self.pixels)

    def shade(self, factor: float, mask: Field) -> None:
        """Darker, or above 1 lighter. Shadows of skin are warm."""
        tint = np.array([factor**0.8, factor, factor**1.1], np.float32)
        self.pixels *= 1 + mask[..., None] * (tint - 1)

    def far(self, x: float, y: float, rx: float, ry: float, power: float = 2.0) -> Field:
        """0 in the centre of a rounded shape, 1 at its edge."""
        return (np.abs((self.x - x) / rx) ** power + np.abs((self.y - y) / ry) ** power) ** (1 / power)

    def inside(self, far: Field, size: float, soft: float = 0.008) -> Field:
        """How surely each pixel is in a shape of this size, with an edge as wide as `soft`."""
        return np.clip(0.5 - (far - 1) * size / soft, 0, 1)

    def glow(self, x: float, y: float, rx: float, ry: float) -> Field:
        """A soft spot."""
        return np.exp(-2 * self.far(x, y, rx, ry) ** 2)


def drawing(rng: np.random.Generator, size: int = 128) -> Image.Image:
    """One person, (size, size)."""
    canvas = _Canvas(4 * size)
    x, y = canvas.x, canvas.y

    def pick(colours: tuple[str, ...], change: float = 0.04) -> NDArray[np.float32]:
        return np.clip(_colour(colours[rng.integers(len(colours))]) + rng.normal(0, change, 3), 0.03, 0.97)

    skin, hair, wall, shirt = pick(_SKIN, 0.02), pick(_HAIR, 0.02), pick(_WALLS), pick(_CLOTHES)
    cut = list(_CUTS)[rng.integers(len(_CUTS))]
    side = rng.choice([-1.0, 1.0])  # where the light comes from
    width, chin = rng.uniform(0.245, 0.285), rng.uniform(0.90, 0.95)
    hairline = rng.uniform(0.19, 0.25)
    canvas.put(wall, np.ones_like(x))
    canvas.shade(1.25, canvas.glow(0.5 + 0.3 * side, 0.25, 0.6, 0.6))
    canvas.shade(0.7, np.clip(canvas.far(0.5, 0.5, 0.75, 0.75) - 0.6, 0, 1))

    # Hair: light on a round head, and strands that fall from the crown.
    angle = np.arctan2(x - 0.5 - 0.05 * side, y + 0.1)
    waves = sum(np.sin(angle * f + rng.uniform(0, 6.3) + 3 * y * rng.normal()) for f in rng.uniform(40, 130, 6)) / 6
    if cut == "curls":
        waves = np.sin(60 * x + 3 * np.sin(41 * y + 9 * x)) * np.sin(52 * y + 3 * np.sin(37 * x - 11 * y))
    light = 0.78 + 0.5 * canvas.glow(0.5 + 0.14 * side, 0.1, 0.22, 0.2) + 0.13 * waves
    light -= 0.25 * np.clip((y - 0.5) / 0.5, 0, 1)
    strands = np.clip(hair * light[..., None] + 0.02, 0, 1)
    crown = rng.uniform(0.0, 0.06)
    full = _CUTS[cut]
    head = canvas.far(0.5, 0.45, width + full, 0.45 - crown, 2.3)
    if cut == "curls":
        turn = np.arctan2(y - 0.42, x - 0.5)
        head = head + 0.035 * np.sin(11 * turn + rng.uniform(0, 6)) + 0.02 * np.sin(23 * turn)
    back = canvas.inside(head, 0.3, 0.02) * np.clip((0.72 - y) / 0.06, 0, 1)
    if cut in ("long", "bob"):
        end = 1.2 if cut == "long" else rng.uniform(0.84, 0.92)
        wave = 1 + rng.uniform(0.0, 0.05) * np.sin(rng.uniform(16, 26) * y + rng.uniform(0, 6))
        falls = canvas.far(0.5, 0.4, (width + full) * wave, end - 0.4, 5)
        back = np.maximum(back, canvas.inside(falls, 0.3, 0.03) * np.clip((y - 0.36) / 0.12, 0, 1))
    if cut == "bun":
        back = np.maximum(back, canvas.inside(canvas.far(0.5, crown - 0.01, 0.13, 0.11), 0.1, 0.02))
    canvas.put(strands * 0.72, back)

    # Neck and clothes.
    neck = canvas.inside(np.abs(x - 0.5) / (0.145 + 0.1 * np.clip(y - 0.9, 0, 1)), 0.15, 0.02) * (y > 0.7)
    canvas.put(skin * 0.78, neck)
    canvas.shade(0.72, canvas.glow(0.5, chin + 0.01, 0.24, 0.1) * neck)
    collar = canvas.far(0.5, 1.26, 0.62, 0.27 + 0.05 * rng.random(), 2.6)
    shirt_mask = canvas.inside(collar, 0.3, 0.015)
    if rng.random() < 0.5:  # an open collar
        shirt_mask = shirt_mask * canvas.inside(2 - canvas.far(0.5, 0.92, 0.13, 0.14), 0.1, 0.02)
    canvas.put(shirt * (0.85 + 0.3 * canvas.glow(0.5 + 0.3 * side, 1.0, 0.4, 0.2))[..., None], shirt_mask)

    # Ears, then the face: a ball in the light from one side.
    for at in (-1, 1):
        ear = canvas.inside(canvas.far(0.5 + at * (width + 0.005), 0.53, 0.035, 0.075), 0.04, 0.012)
        canvas.put(skin * (0.86 if at == side else 0.68), ear * (cut not in ("long", "bob")))
    low = chin - 0.5
    jaw = rng.uniform(2.0, 2.5)
    nx, ny = (x - 0.5) / width, np.where(y < 0.5, (y - 0.5) / 0.42, (y - 0.5) / low)
    far = (np.abs(nx) ** np.where(y < 0.5, 2.2, jaw) + np.abs(ny) ** np.where(y < 0.5, 2.2, 2.1)) ** (1 / 2.2)
    face = canvas.inside(far, width, 0.012)
    nz = np.sqrt(np.clip(1.15 - np.clip(far, 0, 1) ** 2, 0, 1))
    lit = np.clip(0.62 + 0.34 * nz + 0.13 * side * nx - 0.05 * ny, 0, 1.2)
    canvas.put(np.clip(skin * lit[..., None] ** np.array([0.85, 1.0, 1.12], np.float32), 0, 1), face)
    canvas.shade(1.1, canvas.glow(0.5 + 0.08 * side, 0.3, 0.2, 0.12) * face)
    blush = rng.uniform(0.1, 0.3)
    for ex in _EYES:
        cheek = canvas.glow(ex + 0.03 * np.sign(ex - 0.5), 0.64, 0.11, 0.08)
        canvas.put(skin * np.array([1.02, 0.72, 0.68], np.float32), blush * cheek * face)

    # Nose.
    tip, nose = rng.uniform(0.62, 0.645), rng.uniform(0.045, 0.06)
    canvas.shade(0.86, canvas.glow(0.5 - side * 0.042, 0.55, 0.03, 0.12))
    canvas.shade(1.13, canvas.glow(0.5 + side * 0.006, 0.55, 0.018, 0.13))
    canvas.shade(0.72, canvas.glow(0.5, tip + 0.028, nose, 0.018))
    canvas.shade(1.14, canvas.glow(0.5 + side * 0.008, tip - 0.005, 0.024, 0.022))
    for at in (-1, 1):
        canvas.shade(0.55, canvas.glow(0.5 + at * 0.024, tip + 0.02, 0.013, 0.01))
        canvas.shade(0.84, canvas.glow(0.5 + at * (nose + 0.004), tip + 0.005, 0.012, 0.028))

    # Eyes and brows.
    iris, open_ = pick(_EYE, 0.02), rng.uniform(0.030, 0.040)
    brow, arch, thick = rng.uniform(0.385, 0.405), rng.uniform(0.004, 0.02), rng.uniform(0.010, 0.018)
    tilt = rng.uniform(-0.004, 0.008)
    for ex in _EYES:
        out = np.sign(ex - 0.5)
        u = (x - ex) / 0.066
        canvas.shade(0.82, canvas.glow(ex, _EYE_LINE - 0.035, 0.085, 0.04))
        canvas.shade(0.88, canvas.glow(ex - 0.05 * out, _EYE_LINE - 0.01, 0.03, 0.05))
        upper = _EYE_LINE - open_ * np.clip(1 - u * u, 0, 1) ** 0.7 - 0.004 * out * u
        lower = _EYE_LINE + 0.75 * open_ * np.clip(1 - u * u, 0, 1) - 0.004 * out * u
        within = np.clip((y - upper) / 0.006, 0, 1) * np.clip((lower - y) / 0.006, 0, 1) * (np.abs(u) < 1)
        canvas.put((0.93, 0.91, 0.89), within * 0.95)
        ball = canvas.far(ex, _EYE_LINE - 0.003, 0.033, 0.033)
        canvas.put(iris, within * canvas.inside(ball, 0.033))
        canvas.shade(0.6, within * canvas.inside(ball, 0.033) * np.clip(ball, 0, 1) ** 4)
        canvas.put((0.04, 0.03, 0.03), within * canvas.inside(ball / 0.45, 0.013))
        canvas.shade(0.62, within * np.clip(1 - (y - upper) / 0.014, 0, 1))
        gleam = canvas.far(ex + 0.01 * side, _EYE_LINE - 0.013, 0.007, 0.007)
        canvas.put((0.98, 0.98, 1.0), canvas.inside(gleam, 0.007))
        lid = np.exp(-(((y - upper) / 0.006) ** 2)) * np.clip(1.06 - np.abs(u), 0, 0.15) / 0.15
        canvas.put(hair * 0.25 + 0.03, np.clip(0.9 * lid, 0, 1))
        canvas.shade(0.8, np.exp(-(((y - upper + 0.02) / 0.006) ** 2)) * np.clip(1 - np.abs(u), 0, 1))
        canvas.shade(0.85, np.exp(-(((y - lower - 0.006) / 0.007) ** 2)) * np.clip(1 - np.abs(u), 0, 1))
        v = (x - ex) * out / 0.085
        line = brow - 0.012 + arch * (v - 0.15) ** 2 * 2 + tilt * v
        hairs = np.exp(-(((y - line) / (thick * np.clip(1.1 - 0.45 * v, 0.3, 1.4))) ** 2))
        canvas.put(hair * 0.55, 0.85 * hairs * np.clip((1 - np.abs(v)) / 0.2, 0, 1))

    # Mouth.
    mouth, wide, smile = rng.uniform(0.735, 0.755), rng.uniform(0.082, 0.105), rng.uniform(0.004, 0.024)
    lips = np.clip(skin * np.array([0.92, 0.62, 0.62], np.float32) + rng.uniform(0, 0.1) * np.array([1, 0, 0.2]), 0, 1)
    u = np.clip((x - 0.5) / wide, -1, 1)
    line = mouth - smile * u * u
    bow = rng.uniform(0.02, 0.03) * (1 - u * u) * (1 - 0.35 * np.exp(-((u / 0.22) ** 2)))
    full_lip = rng.uniform(0.030, 0.044) * (1 - u * u) ** 0.8
    beside = np.abs(x - 0.5) < wide
    upper_lip = np.clip((y - line + bow) / 0.008, 0, 1) * (y <= line) * beside
    lower_lip = np.clip((line + full_lip - y) / 0.01, 0, 1) * (y > line) * beside
    canvas.put(lips * 0.84, 0.9 * upper_lip)
    canvas.put(lips, 0.9 * lower_lip)
    canvas.shade(1.18, canvas.glow(0.5 + 0.02 * side, mouth + 0.016, 0.04, 0.009) * lower_lip)
    canvas.shade(0.35, np.exp(-(((y - line) / 0.004) ** 2)) * np.clip((1 - np.abs(u)) / 0.15, 0, 1))
    canvas.shade(0.82, canvas.glow(0.5, mouth + 0.048, 0.07, 0.018))
    beard = rng.random() < 0.3 and cut in ("short", "parted", "shaved", "curls")
    if beard:
        cheeks = np.clip(1 - np.abs(nx) / 0.75, 0, 1)
        jawline = np.clip((y - 0.66 - 0.1 * cheeks) / 0.08, 0, 1)
        gap = canvas.inside(canvas.far(0.5, mouth + 0.008, wide - 0.005, 0.03), 0.03, 0.025)
        moustache = 1.3 * canvas.glow(0.5, mouth - 0.036, 0.12, 0.024)
        mask = np.clip(np.maximum(jawline * canvas.inside(far, width, 0.03), moustache) - gap, 0, 1)
        canvas.put(strands * 0.8, 0.85 * mask * (0.85 + 0.15 * waves))

    # The hair in front: all of the head above a hairline.
    part = {"parted": 0.05 * side, "long": 0.02 * side, "bob": 0.03 * side}.get(cut, 0.0)
    opening = canvas.far(0.5 + part / 2, 0.62, width * rng.uniform(0.93, 1.0), 0.62 - hairline, 2.6)
    if cut in ("bob", "short") and rng.random() < 0.5:  # a fringe
        opening = np.maximum(opening, 1 + (rng.uniform(0.29, 0.34) + 0.012 * np.sin(60 * x + 4 * side) - y) / 0.3)
    front = canvas.inside(head, 0.3, 0.02) * canvas.inside(2 - opening, 0.3, 0.025 if cut != "shaved" else 0.06)
    front *= np.clip(((0.97 if cut == "long" else 0.8 if cut == "bob" else 0.56) - y) / 0.08, 0, 1)
    canvas.shade(0.75, np.clip(canvas.inside(2 - opening * 1.05, 0.3, 0.06) - front, 0, 1) * face)
    canvas.put(strands, front * (0.8 if cut == "shaved" else 1.0))

    rgb = Image.fromarray(np.rint(255 * canvas.pixels.clip(0, 1)).astype(np.uint8))
    shown = rgb.filter(ImageFilter.GaussianBlur(1.2)).resize((size, size), Image.Resampling.BOX)
    grain = rng.normal(0, 1.6, (size, size, 1))  # of the paper
    return Image.fromarray(np.rint(np.clip(np.asarray(shown) + grain, 0, 255)).astype(np.uint8))
