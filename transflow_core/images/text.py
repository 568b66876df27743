"""Draw labels in Latin, Greek and Cyrillic letters, with a font of our own.

Pillow's built-in font has no Greek, so that λ comes out as a crossed box, and what is installed differs from machine to
machine. `fonts/` holds the letters and signs of labels from DejaVu Sans Condensed 2.37; other scripts show as boxes.
"""

import functools
import io
import unicodedata
from importlib import resources

from PIL import Image, ImageDraw, ImageFont

__all__ = ["draw_text", "fit_text", "line_height", "text_width"]

_PACKAGE = "transflow_core.images"
_FONT = "fonts/DejaVuSansCondensed-subset.ttf"


@functools.cache
def _font_file() -> bytes:
    return resources.files(_PACKAGE).joinpath(_FONT).read_bytes()


@functools.lru_cache(maxsize=64)  # sheets of every size on one page must not keep a font each for ever
def _font(size: int) -> ImageFont.FreeTypeFont:
    # The plain layout: the other is used only where its library is installed, and moves letters by a pixel.
    return ImageFont.truetype(io.BytesIO(_font_file()), size, layout_engine=ImageFont.Layout.BASIC)


def line_height(size: int) -> int:
    """Height of a line of text of `size` pixels, with room for what hangs below it and a little air."""
    return round(size * 1.4)


def text_width(text: str, size: int) -> int:
    """Width in pixels of one line of text of `size` pixels."""
    return round(_font(size).getlength(_composed(text)))


def fit_text(text: str, size: int, width: int) -> str:
    """The text, its middle replaced by an ellipsis when it is wider than `width` pixels.

    The middle, because file names differ at their ends and begin with what they are about.
    """
    text = " ".join(text.split())
    if text_width(text, size) <= width:
        return text
    for keep in range(len(text) - 1, 0, -1):
        shorter = text[: (keep + 1) // 2].rstrip() + "..." + text[len(text) - keep // 2 :].lstrip()
        if text_width(shorter, size) <= width:
            return shorter
    return "..."


def draw_text(canvas: Image.Image, left: int, top: int, text: str, size: int, colour: str) -> None:
    """Write one line onto `canvas` in place, its line box's upper left corner at (`left`, `top`)."""
    baseline = top + round(size * 1.05)
    ImageDraw.Draw(canvas).text((left, baseline), _composed(text), colour, _font(size), anchor="ls")


def _composed(text: str) -> str:
    """Accents joined to their letters: macOS stores file names apart, and the plain layout would draw them beside."""
    return unicodedata.normalize("NFC", text)
