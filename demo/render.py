"""Pictures, numbers and progress as HTML."""

import base64
import io
import math
from collections.abc import Sequence
from html import escape
from typing import Any

from PIL import Image

from transflow_core.images import contact_sheet

GAP = 2
"""Pixels between the cells of a sheet."""


def data_uri(image: Image.Image, format: str = "JPEG", **options: Any) -> str:
    """An image inside the page: one message to the browser, without a file on the server or a second request."""
    buffer = io.BytesIO()
    image.save(buffer, format, **({"quality": 88} if format == "JPEG" else {}) | options)
    return uri_of(buffer.getvalue(), format)


def uri_of(data: bytes, format: str = "JPEG") -> str:
    """The same for an image that is encoded already."""
    return f"data:image/{format.lower()};base64,{base64.b64encode(data).decode()}"


def picture(image: Image.Image, alt: str) -> str:
    """An <img> with its size, so that nothing on the page moves when it is decoded."""
    return (
        f'<img class="picture" src="{data_uri(image)}" alt="{escape(alt)}" '
        f'width="{image.width}" height="{image.height}">'
    )


def sheet_picture(pictures: Sequence[Image.Image], *, gap: int = GAP, **options: Any) -> Image.Image:
    """Samples in reading order, on grey; see `contact_sheet`."""
    return contact_sheet(pictures, background="#808080", gap=gap, **options)


def number(value: float) -> str:
    """A number of nats as text: thousands apart, a true minus sign."""
    return f"{value:,.0f}".replace("-", "−")


def images_of(m: float) -> str:
    """m as text, with two decimals at most: how many images condition a posterior, by their weights."""
    return f"{round(m, 2):g}"


def updating(before: int, text: str = "updating…") -> str:
    """A status while the page is updated; older results are dimmed (`page.css`). `before`: see `Engine.before`."""
    return f'<span class="updating">{text}{_waiting(before)}</span>'


def _waiting(before: int) -> str:
    """How many other users are ahead."""
    return f" · {before} other{'s' * (before > 1)} ahead of you" if before else ""


def progress(done: int, total: int, seconds: float, before: int, what: str = "images read") -> str:
    """A bar, "3 of 12 images read, 4 s left", and how many users are ahead."""
    left = f", {math.ceil(seconds / done * (total - done))} s left" if 0 < done < total else ""
    return (
        f'<span class="working"><progress max="{total}" value="{done}" aria-label="{what}"></progress> '
        f"{done} of {total} {what}{left}{_waiting(before)}</span>"
    )
