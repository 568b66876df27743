"""Painting over a picture in the page: the picture with its canvas as HTML, and the mask that the page sends."""

from __future__ import annotations

import re
from html import escape

import numpy as np
from PIL import Image

# Cells of the longer side: finer than a finger.
_CELLS = 96
_TEXT = re.compile(r"([1-9]\d{0,1})x([1-9]\d{0,1}):([01]+)")


def paintable(
    source: str,
    size: tuple[int, int],
    *,
    index: int,
    name: str,
    apply: str,
    apply_all: str = "",
    mask: Image.Image | None = None,
) -> str:
    """A picture to paint over, with `static/paint.js`.

    Args:
        source: the picture's address.
        size: its width and height.
        index: becomes `data-index`.
        name: of the picture, for users who cannot see it.
        apply, apply_all: the text of the button, and of another one where the mask may be for all pictures.
        mask: the current mask.
    """
    width, height = (max(1, round(side * _CELLS / max(size))) for side in size)
    painted = f' data-mask="{_text_of(mask.resize((width, height)))}"' if mask is not None else ""
    every = f'<button type="button" data-paint="all">{escape(apply_all)}</button>' if apply_all else ""
    return (
        f'<div class="paint" data-index="{index}"><div class="canvas"><img src="{source}" alt="{escape(name)}">'
        f'<canvas width="{width}" height="{height}" tabindex="0" role="img"{painted} '
        f'aria-label="paint over {escape(name)}: arrow keys move, the space bar paints"></canvas></div>'
        f'<div class="buttons"><button type="button" data-paint="apply">{escape(apply)}</button>{every}'
        '<button type="button" data-paint="clear">Clear</button></div></div>'
    )


def mask_of(text: object) -> Image.Image | None:
    """The mask that `static/paint.js` sends, mode L, white where it was painted; None for "". Its text is untrusted.

    Raises ValueError for anything else.

    Example:
        >>> mask_of("4x2:00001111").getbbox()
        (0, 1, 4, 2)
    """
    if text == "":
        return None
    found = _TEXT.fullmatch(text) if isinstance(text, str) and len(text) < 2 * _CELLS**2 else None
    width, height = (int(found[1]), int(found[2])) if found else (0, 0)
    if found is None or max(width, height) > _CELLS or len(found[3]) != width * height:
        raise ValueError("this is not a painted mask")
    cells = np.frombuffer(found[3].encode(), np.uint8).reshape(height, width) - ord("0")
    return Image.fromarray(255 * cells) if cells.any() else None


def _text_of(mask: Image.Image) -> str:
    cells = np.asarray(mask.convert("L")) // 128
    return f"{mask.width}x{mask.height}:{''.join(map(str, cells.flat))}"
