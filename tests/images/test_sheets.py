"""Contact sheets and labelled rows."""

import numpy as np
import pytest
from PIL import Image

from transflow_core.images import contact_sheet, labelled_rows
from transflow_core.images.sheets import enlarge

COLOURS = ["red", "lime", "blue", "yellow", "cyan", "magenta", "gray", "brown", "navy", "olive", "teal", "pink"]
WHITE = (255, 255, 255)


def strip(count: int, labels=()) -> Image.Image:
    return labelled_rows([plain(count)], column_labels=labels)


def plain(count: int, side: int = 64) -> list[Image.Image]:
    return [Image.new("RGB", (side, side), COLOURS[i % len(COLOURS)]) for i in range(count)]


def centre(column: int, row: int, left: int = 0, top: int = 0) -> tuple[int, int]:
    return left + 68 + column * 132, top + 68 + row * 132


def ink(image: Image.Image, box: tuple[int, int, int, int]) -> int:
    return int((np.asarray(image.crop(box), int) != 255).any(-1).sum())


@pytest.mark.parametrize(
    ("count", "columns"),
    [(1, 1), (2, 2), (3, 3), (4, 2), (5, 3), (6, 3), (8, 4), (10, 5), (12, 4), (16, 4), (20, 5), (23, 5)],
)
def test_a_sheet_is_nearly_square_and_in_reading_order(count, columns):
    sheet = contact_sheet(plain(count))
    assert sheet.size == (4 + columns * 132, 4 + -(-count // columns) * 132)
    for i, image in enumerate(plain(count)):
        assert sheet.getpixel(centre(i % columns, i // columns)) == image.getpixel((0, 0))
    assert sheet.getpixel((1, 1)) == WHITE


def test_columns_cell_gap_and_background_are_obeyed():
    sheet = contact_sheet(plain(6), columns=6, cell=20, gap=0, background="#102030")
    assert sheet.size == (120, 20)
    assert sheet.getpixel((110, 10)) == plain(6)[5].getpixel((0, 0))
    assert contact_sheet(plain(3), columns=2, cell=20, background="#102030").getpixel((40, 40)) == (16, 32, 48)
    with pytest.raises(ValueError, match="at least one image"):
        contact_sheet([])


@pytest.mark.parametrize(("side", "cell"), [(64, 128), (28, 140), (128, 128), (200, 200), (63, 189)])
def test_the_default_cell_is_a_whole_multiple_of_at_least_128(side, cell):
    assert contact_sheet(plain(1, side), gap=0).size == (cell, cell)


@pytest.mark.parametrize(
    ("size", "side", "shown"), [((6, 8), 30, (22, 30)), ((6, 8), 4, (3, 4)), ((100, 1), 10, (10, 1))]
)
def test_an_enlarged_image_keeps_its_proportions(size, side, shown):
    assert enlarge(Image.new("RGB", size), side).size == shown


def test_text_is_written_where_it_belongs():
    swept = strip(4, ["λ/m = 0.1", "0.3", "1", "10"])
    above = swept.height - strip(4).height
    assert all(ink(swept, (4 + i * 132, 0, 132 + i * 132, above)) > 10 for i in range(4))

    swept = strip(6, [f"likeness 0.{i}" for i in range(6)])
    assert not any(ink(swept, (i * 132, 0, 4 + i * 132, above)) for i in range(6)), "labels keep apart"

    rows = labelled_rows([plain(4), plain(2)], row_labels=["seed 0", "seed 1"], column_labels=list("abcd"))
    left = rows.width - strip(4).width
    assert ink(rows, (0, above, left, rows.height)) > 50
    assert rows.getpixel(centre(1, 1, left, above)) == plain(2)[1].getpixel((0, 0))
    assert rows.getpixel(centre(2, 1, left, above)) == WHITE  # the short row


def test_the_letters_and_signs_of_labels_are_not_boxes():
    seen = {strip(1, [text]).tobytes() for text in ["", "\U000f0000"]}  # what the font lacks shows as a box
    signs = "λμΣζ∞→éЖ½⁻…✓"
    assert len(seen | {strip(1, [sign]).tobytes() for sign in signs}) == 2 + len(signs)
