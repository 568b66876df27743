"""The picture that a visitor shares: four large samples, what they are, and where others can make them."""

from collections.abc import Sequence

from PIL import Image

from transflow_core.images import contact_sheet
from transflow_core.images.sheets import draw_text

_SIDE, _GAP, _FOOT, _SMALL = 1080, 8, 104, 80
_LONGEST = 54  # characters of an address that are sure to fit beside the images


def card(samples: Sequence[Image.Image], title: str, address: str, images: Sequence[Image.Image] = ()) -> Image.Image:
    """A square of 1080 pixels, as social networks show it whole.

    Args:
        samples: the first four are shown.
        title, address: the two lines below them; of a long address, what is before its query.
        images: what the samples are made from; the first three are shown.

    Example:
        >>> card([Image.new("RGB", (64, 64))] * 16, "New faces", "").size
        (1080, 1080)
    """
    columns = 1 if len(samples) == 1 else 2
    cell = (_SIDE - _FOOT - _GAP) // columns - _GAP
    sheet = contact_sheet(samples[:4], columns=columns, cell=cell, gap=_GAP)
    picture, left, top = Image.new("RGB", (_SIDE, _SIDE), "white"), (_SIDE - sheet.width) // 2, _SIDE - _FOOT
    picture.paste(sheet, (left, 0))
    left += _GAP
    draw_text(picture, left, top + 8, title, 38, "black")
    short = address if len(address) <= _LONGEST else address.partition("?")[0][:_LONGEST]
    draw_text(picture, left, top + 58, short, 22, "#475569")
    if images:
        strip = contact_sheet(images[:3], columns=len(images[:3]), cell=_SMALL, gap=4)
        draw_text(picture, _SIDE - left - strip.width - 110, top + 34, "made from", 22, "#475569")
        picture.paste(strip, (_SIDE - left - strip.width, top + 6))
    return picture
