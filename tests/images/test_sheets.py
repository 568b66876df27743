"""Contact sheets, strips and labelled rows."""

import unicodedata

import numpy as np
import pytest
from PIL import Image

from transflow_core.images import contact_sheet, enlarge, labelled_rows

COLOURS = ["red", "lime", "blue", "yellow", "cyan", "magenta", "gray", "brown", "navy", "olive", "teal", "pink"]


def strip(images, labels=None):
    return labelled_rows([images], column_labels=labels)


def plain(count: int, side: int = 64) -> list[Image.Image]:
    return [Image.new("RGB", (side, side), COLOURS[i % len(COLOURS)]) for i in range(count)]


def centre(column: int, row: int, cell: int = 128, gap: int = 4, left: int = 0, top: int = 0) -> tuple[int, int]:
    return left + gap + column * (cell + gap) + cell // 2, top + gap + row * (cell + gap) + cell // 2


@pytest.mark.parametrize(
    ("count", "columns"),
    [(1, 1), (2, 2), (3, 3), (4, 2), (5, 3), (6, 3), (8, 4), (10, 5), (12, 4), (16, 4), (20, 5), (23, 5)],
)
def test_a_sheet_is_nearly_square_and_in_reading_order(count, columns):
    sheet = contact_sheet(plain(count))
    rows = -(-count // columns)
    assert sheet.size == (4 + columns * 132, 4 + rows * 132)
    for i, image in enumerate(plain(count)):
        assert sheet.getpixel(centre(i % columns, i // columns)) == image.getpixel((0, 0))
    assert sheet.getpixel((1, 1)) == (255, 255, 255)


def test_columns_cell_gap_and_background_are_obeyed():
    sheet = contact_sheet(plain(6), columns=6, cell=20, gap=0, background="#102030")
    assert sheet.size == (120, 20)
    assert sheet.getpixel((110, 10)) == plain(6)[5].getpixel((0, 0))
    assert contact_sheet(plain(3), columns=2, cell=20, background="#102030").getpixel((40, 40)) == (16, 32, 48)


@pytest.mark.parametrize(("side", "cell"), [(64, 128), (28, 140), (128, 128), (200, 200), (63, 189)])
def test_the_default_cell_is_a_whole_multiple_of_at_least_128(side, cell):
    assert contact_sheet(plain(1, side), gap=0).size == (cell, cell)


def test_images_of_different_sizes_and_modes_are_centred():
    images = [Image.new("RGB", (40, 10), "red"), Image.new("L", (10, 40), 50), Image.new("RGB", (80, 80), "blue")]
    sheet = contact_sheet(images, columns=3, cell=80, gap=0)
    assert sheet.getpixel((40, 40)) == (255, 0, 0)
    assert sheet.getpixel((40, 10)) == (255, 255, 255)
    assert sheet.getpixel((120, 5)) == (50, 50, 50)
    assert sheet.getpixel((85, 40)) == (255, 255, 255)
    assert sheet.getpixel((200, 5)) == (0, 0, 255)


def test_enlarge_by_pixels_repeats_them_and_smooth_does_not_overshoot_the_size():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 6, 3), dtype=np.uint8))
    blocks = enlarge(image, 30, how="pixels")
    assert blocks.size == (18, 24)
    assert (np.asarray(blocks)[::3, ::3] == np.asarray(image)).all()
    assert (np.asarray(blocks) == np.asarray(image).repeat(3, 0).repeat(3, 1)).all()
    assert enlarge(image, 30).size == (22, 30)
    assert enlarge(image, 4).size == enlarge(image, 4, how="pixels").size == (3, 4)
    assert enlarge(Image.new("RGB", (100, 1)), 10).size == (10, 1)


def ink(image: Image.Image, box: tuple[int, int, int, int], background: tuple[int, int, int] = (255, 255, 255)) -> int:
    return int((np.asarray(image.crop(box), int) - background != 0).any(-1).sum())


def test_text_is_written_where_it_belongs():
    pictures = plain(4)
    title = contact_sheet(pictures, title="λ/m = 0.5")
    extra = title.height - contact_sheet(pictures).height
    assert ink(title, (0, 0, title.width, extra)) > 50
    assert title.getpixel(centre(0, 0, top=extra)) == (255, 0, 0)

    captioned = contact_sheet(pictures, labels=["one", "", "three", "four"])
    below = (captioned.height - contact_sheet(pictures).height) // 2
    assert ink(captioned, (4, 132, 132, 132 + below)) > 20
    assert ink(captioned, (136, 132, 264, 132 + below)) == 0

    swept = strip(pictures, labels=["λ/m = 0.1", "0.3", "1", "10"])
    above = swept.height - strip(pictures).height
    assert all(ink(swept, (4 + i * 132, 0, 132 + i * 132, above)) > 10 for i in range(4))

    rows = labelled_rows([pictures, pictures[:2]], row_labels=["seed 0", "seed 1"], column_labels=list("abcd"))
    left = rows.width - strip(pictures).width
    assert ink(rows, (0, above, left, rows.height)) > 50
    assert rows.getpixel(centre(1, 1, left=left, top=above)) == pictures[1].getpixel((0, 0))
    assert rows.getpixel(centre(2, 1, left=left, top=above)) == (255, 255, 255)  # the short row


@pytest.mark.parametrize(("background", "expected"), [("white", 0), ("black", 255), ("#222", 255), ("beige", 0)])
def test_text_shows_on_any_background(background, expected):
    text = contact_sheet(plain(1), title="IIIIII", background=background).crop((0, 0, 136, 20)).convert("L")
    assert np.abs(np.asarray(text, int) - expected).min() < 60


def test_the_letters_and_signs_of_labels_are_not_boxes():
    missing = np.asarray(strip(plain(1), labels=["\U000f0000"]))
    assert (missing != np.asarray(strip(plain(1), labels=[""]))).any()  # what the font lacks shows as a box
    seen = {missing.tobytes()}
    for letter in "λμΣζ∞→éЖ½⁻…✓":
        drawn = np.asarray(strip(plain(1), labels=[letter]))
        assert drawn.tobytes() not in seen
        seen.add(drawn.tobytes())


def test_accents_that_a_file_system_took_apart_stand_on_their_letters():
    together, apart = (strip(plain(1), labels=[unicodedata.normalize(form, "Müller λ̄")]) for form in ("NFC", "NFD"))
    assert (np.asarray(together) == np.asarray(apart)).all()


def test_text_is_large_enough_for_a_phone_where_it_fits():
    def height(columns: int, text: str) -> int:
        labelled = strip(plain(columns), labels=[text] * columns)
        return labelled.height - strip(plain(columns)).height

    assert height(9, "0.3") > 1.5 * height(2, "0.3")
    assert height(9, "IMG_20240101_123456 (copy).jpeg") == height(2, "0.3")


def test_long_labels_keep_inside_their_cells():
    sheet = strip(plain(2), labels=["a very long name of a file " * 9, ""])
    above = sheet.height - strip(plain(2)).height
    assert ink(sheet, (4, 0, 132, above)) > 50
    assert ink(sheet, (133, 0, sheet.width, above)) == 0


def test_errors():
    with pytest.raises(ValueError, match="at least one image"):
        contact_sheet([])
    with pytest.raises(ValueError, match="labels has 1 entries"):
        contact_sheet(plain(2), labels=["a"])
    with pytest.raises(ValueError, match="column_labels has 3 entries; one for each column makes 2"):
        strip(plain(2), labels=list("abc"))
    with pytest.raises(ValueError, match="columns must be"):
        contact_sheet(plain(2), columns=0)
    with pytest.raises(ValueError, match="cell must be"):
        contact_sheet(plain(2), cell=0)
