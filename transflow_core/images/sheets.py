"""Contact sheets and labelled grids of images.

`fonts/` holds letters and signs of DejaVu Sans Condensed 2.37 (Latin, Greek, Cyrillic): Pillow's built-in font has no
Greek, and installed fonts differ from machine to machine.
"""

import functools
import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

_FONT = Path(__file__).with_name("fonts") / "DejaVuSansCondensed-subset.ttf"
# A phone shows a sheet about 360 points wide, and 10 points is the least that is read without effort.
_SHEET_WIDTH_PER_TEXT_SIZE = 36
_SMALLEST_TEXT = 12


def enlarge(image: Image.Image, side: int) -> Image.Image:
    """Resize an image by Lanczos so that its longer side is `side` pixels, keeping its proportions."""
    longest = max(image.size)
    size = (max(1, round(image.width * side / longest)), max(1, round(image.height * side / longest)))
    return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)


def contact_sheet(
    images: Sequence[Image.Image],
    *,
    columns: int | None = None,
    cell: int | None = None,
    gap: int = 4,
    background: str = "white",
) -> Image.Image:
    """Images in reading order on one sheet.

    Args:
        images: at least one, else ValueError; those of another size or shape are fitted into the cells.
        columns: by default a nearly square sheet, with a full last row where the number allows it.
        cell, gap, background: see `labelled_rows`.
    """
    columns = columns or _near_square(len(images))
    rows = [images[i : i + columns] for i in range(0, len(images), columns)]
    return labelled_rows(rows, cell=cell, gap=gap, background=background)


def _near_square(count: int) -> int:
    root = max(1, math.isqrt(max(0, count - 1)) + 1)
    widest = max(root, int(root * 1.5))
    return next((columns for columns in range(root, widest + 1) if count % columns == 0), root)


def labelled_rows(
    rows: Sequence[Sequence[Image.Image]],
    *,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    cell: int | None = None,
    gap: int = 4,
    background: str = "white",
) -> Image.Image:
    """Rows of images, labelled above and at the left, as a sweep over λ (Fig. 7 and 8) or an interpolation (Fig. 3).

    Args:
        rows: rows of images, of any length; ValueError if there are none.
        row_labels, column_labels: one for each row, and for each column of the longest row.
        cell: side of a cell in pixels; by default the longest side of an image, times the smallest whole number that
            makes 128.
        gap: pixels between cells and around them.
        background: any colour that Pillow knows; the text is black or white, whichever shows.
    """
    images = [image for row in rows for image in row]
    if not images:
        raise ValueError("a sheet needs at least one image")
    if cell is None:
        longest = max(max(image.size) for image in images)
        cell = longest * math.ceil(128 / longest)
    columns = max(map(len, rows))
    width = columns * (cell + gap) + gap
    size = _text_size(width, cell, column_labels)
    margin = 0
    if row_labels:
        margin = max(_text_width(text, size) for text in row_labels) + 2 * gap
    width += margin
    line = round(size * 1.4)
    top = line + gap if column_labels else 0
    sheet = Image.new("RGB", (width, top + gap + (cell + gap) * len(rows)), background)
    ink = "black" if Image.new("L", (1, 1), background).tobytes()[0] > 127 else "white"
    for j, text in enumerate(column_labels):
        left = margin + gap + j * (cell + gap) + (cell - _text_width(text, size)) // 2
        draw_text(sheet, left, gap, text, size, ink)
    for i, row in enumerate(rows):
        y = top + gap + i * (cell + gap)
        if row_labels:
            draw_text(sheet, gap, y + (cell - line) // 2, row_labels[i], size, ink)
        for j, image in enumerate(row):
            x = margin + gap + j * (cell + gap)
            fitted = enlarge(image, cell)
            sheet.paste(fitted, (x + (cell - fitted.width) // 2, y + (cell - fitted.height) // 2))
    return sheet


def _text_size(width: int, cell: int, texts: Sequence[str]) -> int:
    """Large enough to be read on a phone, where it fits the cells; never smaller than an eighth of a cell."""
    smallest = max(_SMALLEST_TEXT, cell // 8)
    wanted = max(smallest, width // _SHEET_WIDTH_PER_TEXT_SIZE)
    widest = max((_text_width(f"{text}  ", wanted) for text in texts), default=0)  # with a space to the next label
    return max(smallest, min(wanted, wanted * cell // widest)) if widest else wanted


@functools.lru_cache(maxsize=64)  # sheets of every size on one page must not keep a font each for ever
def _font(size: int) -> ImageFont.FreeTypeFont:
    # The plain layout: the other is used only where its library is installed, and moves letters by a pixel.
    return ImageFont.truetype(str(_FONT), size, layout_engine=ImageFont.Layout.BASIC)


def _text_width(text: str, size: int) -> int:
    return round(_font(size).getlength(text))


def draw_text(canvas: Image.Image, left: int, top: int, text: str, size: int, colour: str) -> None:
    """Write one line onto `canvas` in place, its line box's upper left corner at (`left`, `top`)."""
    baseline = top + round(size * 1.05)
    ImageDraw.Draw(canvas).text((left, baseline), text, colour, _font(size), anchor="ls")
