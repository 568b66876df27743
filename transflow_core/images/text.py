"""Draw labels in any script, with a font that a dependency carries.

Pillow's built-in font has no Greek, so that λ comes out as a crossed box. OpenCV 5 carries a Unicode font inside its
wheel, the same on every machine; nothing has to be installed or shipped.
"""

import functools
from typing import Any

import numpy as np
from PIL import Image

__all__ = ["draw_text", "fit_text", "line_height", "text_width"]


@functools.cache
def _font() -> Any:
    import cv2  # only when there is something to write: it takes 75 ms to import

    return cv2.FontFace("uni")


def line_height(size: int) -> int:
    """Height of a line of text of `size` pixels, with room for what hangs below it and a little air."""
    return round(size * 1.4)


def text_width(text: str, size: int) -> int:
    """Width in pixels of one line of text of `size` pixels."""
    import cv2

    return cv2.getTextSize((2**15, 2 * size), text, (0, size), _font(), size)[2]


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
    import cv2

    mask = np.zeros((line_height(size), text_width(text, size) + size), np.uint8)
    cv2.putText(mask, text, (0, round(size * 1.05)), 255, _font(), size)
    canvas.paste(colour, (left, top), Image.fromarray(mask))
