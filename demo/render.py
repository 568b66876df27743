"""From tensors and words to what the page shows."""

import base64
import io
import math
from html import escape
from typing import Any

from PIL import Image
from torch import Tensor

from transflow_core.images import contact_sheet, to_pil

__all__ = ["data_uri", "number", "picture", "progress", "sheet", "updating", "uri_of"]


def data_uri(image: Image.Image, format: str = "JPEG", **options: Any) -> str:
    """An image inside the page: one message to the browser, no file on the server and no second request."""
    buffer = io.BytesIO()
    image.save(buffer, format, **({"quality": 88} if format == "JPEG" else {}) | options)
    return uri_of(buffer.getvalue(), format)


def uri_of(data: bytes, format: str = "JPEG") -> str:
    """The same for an image that is encoded already."""
    return f"data:image/{format.lower()};base64,{base64.b64encode(data).decode()}"


def picture(image: Image.Image, alt: str, **options: Any) -> str:
    """An <img> that keeps its place: its size is known before it is decoded."""
    return (
        f'<img class="picture" src="{data_uri(image, **options)}" alt="{escape(alt)}" '
        f'width="{image.width}" height="{image.height}">'
    )


def sheet(x: Tensor, alt: str, columns: int | None = None) -> str:
    """Samples (n, C, S, S) in [0, 1] as one compact JPEG."""
    return picture(contact_sheet(to_pil(x), columns=columns, background="#808080", gap=2), alt)


def number(value: float) -> str:
    """A number of nats for people: thousands apart, a true minus sign."""
    return f"{value:,.0f}".replace("-", "−")


def updating(before: int, words: str = "updating…") -> str:
    """A status while something newer is made: what it is of is dimmed (`panel.css`). `before`: see `Engine.before`."""
    return f'<span class="updating">{words}{_waiting(before)}</span>'


def _waiting(before: int) -> str:
    """How many others have their turn before, in words."""
    return f" · {before} other{'s' * (before > 1)} before you" if before else ""


def progress(done: int, total: int, seconds: float, before: int, what: str = "images read") -> str:
    """A bar, "3 of 12 images read, 4 s left", and who comes before; "" when all is done."""
    if done >= total:
        return ""
    left = f", {math.ceil(seconds / done * (total - done))} s left" if done else ""
    return (
        f'<progress max="{total}" value="{done}" aria-label="{what}"></progress> '
        f"{done} of {total} {what}{left}{_waiting(before)}"
    )
