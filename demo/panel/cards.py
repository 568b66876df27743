"""What the evidence panel shows: a card an image, a line that sums it up, buttons of example sets."""

from html import escape

from PIL import Image

from transflow_core.evidence import Evidence, EvidenceImage
from transflow_core.intake import Intake
from transflow_core.limits import WEIGHT

from ..examples import example_sets
from ..render import data_uri, number

__all__ = ["cards", "examples_html", "summary"]


def summary(intake: Intake) -> str:
    """How much of what was given conditions the posterior."""
    if intake.saved is not None:
        return f"Saved posterior <b>{escape(intake.saved_name)}</b>, m = {intake.saved.m:g}"
    if not len(intake.evidence):
        return "No evidence yet: the samples come from the prior itself."
    used, total = len(intake.used), len(intake.evidence)
    return f"<b>{used} of {total}</b> images condition the posterior" if used < total else f"<b>m = {total}</b> images"


def examples_html() -> str:
    """A button for each example set. `static/examples.js` listens to them."""
    buttons = []
    for example in example_sets().values():
        strip = Image.new("RGB", (256, 128))
        for index, file in enumerate(example.files[:2]):
            with Image.open(file) as image:
                strip.paste(image.convert("RGB").resize((128, 128)), (128 * index, 0))
        buttons.append(
            f'<button type="button" data-example="{example.key}" title="{escape(example.about)}">'
            f'<img src="{data_uri(strip)}" alt="" width="128" height="64">{escape(example.title)}</button>'
        )
    return f'<div class="examples" role="group" aria-label="Example sets">{"".join(buttons)}</div>'


def cards(evidence: Evidence) -> str:
    """The evidence, one card an image, with its controls. `static/cards.js` listens to them.

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
        f'<label>weight <input type="number" min="{WEIGHT.low:g}" max="{WEIGHT.high:g}" step="0.5" '
        f'value="{image.weight:g}" data-action="weight" data-index="{index}" aria-label="weight of {name}"></label>'
    )
