"""From tensors and words to what the page shows: data URIs, cards, and status lines."""

import base64
import io
from html import escape

from PIL import Image
from torch import Tensor

from transflow_core.evidence import Evidence, EvidenceImage
from transflow_core.images import contact_sheet, to_pil

__all__ = ["cards", "data_uri", "number", "picture", "sheet"]


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


def cards(evidence: Evidence) -> str:
    """The evidence, one card an image, with its controls. `panel.CARDS_JS` listens to them.

    Every string that came with a file is escaped.
    """
    return f'<div class="cards" role="list">{"".join(_card(i, image) for i, image in enumerate(evidence))}</div>'


def _card(index: int, image: EvidenceImage) -> str:
    name = escape(image.name)
    state = "problem" if image.problem else "warning" if _far(image) else "unused" if image.weight == 0 else "fine"
    thumbnail = (
        f'<img src="{data_uri(image.face.image, "PNG")}" alt="aligned face from {name}" width="88" height="88">'
        if image.face
        else '<div class="missing" aria-hidden="true">?</div>'
    )
    return (
        f'<div class="card {state}" role="listitem">'
        f'<button type="button" class="remove" data-action="remove" data-index="{index}" '
        f'aria-label="remove {name}" title="Remove">×</button>'
        f'{thumbnail}<div class="name" title="{name}">{name}</div>'
        f'<div class="verdict">{escape(image.summary)}</div>{_likelihood(image)}{_controls(index, image)}</div>'
    )


def _far(image: EvidenceImage) -> bool:
    return image.verdict is not None and image.verdict.word == "far outside"


def _likelihood(image: EvidenceImage) -> str:
    if image.latent is None:
        return ""
    text = f"log p(z) {number(image.latent.log_prior)}"
    if image.verdict is not None:
        text += f'<br><span class="range">typical {number(image.verdict.low)} … {number(image.verdict.high)}</span>'
    if _far(image):
        text += (
            '<br><strong class="warn">Far outside what this prior knows: it can spoil the samples. '
            "Remove it or lower its weight if they look broken.</strong>"
        )
    return f'<div class="likelihood">{text}</div>'


def _controls(index: int, image: EvidenceImage) -> str:
    if image.face is None:
        return ""
    name = escape(image.name)
    choices = [
        (str(number), f"face {number + 1} of {len(image.picture.faces)}")
        for number, face in enumerate(image.picture.faces)
        if face.placement != "whole"
    ]
    choices.append(("whole", "taken whole"))
    chosen = "whole" if image.face.placement == "whole" else str(image.face.index)
    options = "".join(
        f'<option value="{value}"{" selected" if value == chosen else ""}>{label}</option>' for value, label in choices
    )
    return (
        f'<label>crop <select data-action="face" data-index="{index}" aria-label="crop of {name}">'
        f"{options}</select></label>"
        f'<label>weight <input type="number" min="0" max="100" step="0.5" value="{image.weight:g}" '
        f'data-action="weight" data-index="{index}" aria-label="weight of {name}"></label>'
    )
