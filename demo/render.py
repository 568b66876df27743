"""From tensors and words to what the page shows."""

import base64
import io
from html import escape

from PIL import Image
from torch import Tensor

from transflow_core.images import contact_sheet, to_pil

__all__ = ["data_uri", "number", "picture", "sheet"]


def data_uri(image: Image.Image, format: str = "JPEG", **options) -> str:
    """An image inside the page: one message to the browser, no file on the server and no second request."""
    buffer = io.BytesIO()
    image.save(buffer, format, **({"quality": 88} if format == "JPEG" else {}) | options)
    return f"data:image/{format.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def picture(image: Image.Image, alt: str, **options) -> str:
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
