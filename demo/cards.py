"""What the evidence panel shows, as HTML: a thumbnail of each image, the details of one, a summary, example sets.

Every string that came with a file is escaped.
"""

import weakref
from html import escape

from PIL import Image

from transflow_core.evidence import Evidence, EvidenceImage
from transflow_core.limits import WEIGHT

from .examples import example_sets
from .painting import paintable
from .render import data_uri, images_of, number, uri_of

NOTHING = "No images yet. These samples come from the model alone."

_WARNINGS = {
    "too busy": "Unlike a photo: noise, hard edges or one flat colour.",
    "too smooth": "Unlike a photo: it is blank or blurred.",
    "no face": "No face found.",
}
_SPOILS = "Remove it or lower its weight if the samples look broken."
_MOST = "Most of them are very different from the training images of this model: the samples can look broken."
# Pixels of a thumbnail. A reload reads those of one's own again (`static/keep.js`): a few have all of the model's.
_SIZE, _FEW = 128, 16
_smalls: dict[int, str] = {}
MINE = "mine"
"""The key of the visitor's own photos in the row of sets."""
_MINE = (
    f'<button type="button" data-example="{MINE}" title="Back to your own photos" data-stop tabindex="-1" hidden>'
    '<img alt="" width="32" height="32">My photos</button>'
)


def summary(evidence: Evidence, nothing: str = NOTHING) -> str:
    """How many of the images are in use; `nothing` when there are none."""
    if evidence.saved is not None:
        return f"Saved posterior <b>{escape(evidence.saved_name)}</b>, m = {images_of(evidence.saved.m)}"
    if not len(evidence):
        return nothing
    used, total = len(evidence.used), len(evidence)
    text = f"<b>{used}</b> picture{'s' * (used > 1)}"
    if used < total:
        text = f"<b class='some'>{used} of {total}</b> pictures are in use"
    if others := _unused(evidence):
        text += f"; <span class='some'>{others} other face{'s are' if others > 1 else ' is'} not used</span>"
    weights = zip(evidence, evidence.effective_weights, strict=True)
    if less := sum(image.used and weight < image.weight for image, weight in weights):
        text += f"; {less} {'count' if less > 1 else 'counts'} less, unlike a photo"
    example = example_sets().get(evidence.example)
    if example is not None:
        text += f". {escape(example.about)}"
    if mostly_outliers(evidence) and total > 1 and not (example and example.shown):  # those of the row draw well
        text = f"{text.removesuffix('.')}. {_MOST}"
    return text


def examples_html(without: str = "") -> str:
    """A chip for each example set of the row, but one: a small picture and a name; and behind them one for the
    visitor's own, hidden: none moves under the pointer when it comes. `static/examples.js` and `static/mine.js`
    listen."""
    buttons, sets = [], [one for one in example_sets().values() if one.shown and one.key != without]
    for index, example in enumerate(sets):
        with Image.open(example.files[0]) as image:
            small = image.convert("RGB").resize((64, 64))
        buttons.append(
            f'<button type="button" data-example="{example.key}" title="{escape(example.about)}"{_roving(index)}>'
            f'<img src="{data_uri(small)}" alt="" width="32" height="32">{escape(example.title)}</button>'
        )
    buttons.append(_MINE)
    return f'<div class="examples chips" role="group" aria-label="Example sets" data-roving>{"".join(buttons)}</div>'


def mostly_outliers(evidence: Evidence) -> bool:
    """Whether more than half are outliers: then the page says it once, not of each."""
    return 2 * sum(image.is_outlier for image in evidence) > len(evidence)


def thumbnails(evidence: Evidence, opened: int | None = None, warns: bool = True, remembered: bool = False) -> str:
    """The evidence at a glance: each image opens its details and can be removed. `static/cards.js` listens.

    Args:
        opened: the index of the image whose details are shown.
        warns: whether outliers are marked, where they are fewer than half.
        remembered: whether a reload reads them again.
    """
    warns = warns and (len(evidence) == 1 or not mostly_outliers(evidence))
    large = remembered and not evidence.example and len(evidence) <= _FEW
    images = "".join(
        _thumbnail(evidence, index, index == opened, warns and image.is_outlier, large)
        for index, image in enumerate(evidence)
    )
    for image in evidence.coming:
        if image.face:
            picture = f'<img src="{_small(image.face.image)}" alt="{escape(image.name)}">'
            images += f'<div class="card coming" role="listitem">{picture}</div>'
    return f'<div class="cards" role="list" data-roving>{images}</div>' if images else ""


def keeping(evidence: Evidence, example: bool) -> str:
    """What comes after the thumbnails once they are read: the browser keeps those of one's own for a reload, until the
    visitor unticks the box, also while an example set is in their place. `static/keep.js` reads it."""
    if example or not any(image.face for image in evidence):
        return f'<i data-keep="{"set" if example else "no"}" hidden></i>'
    return '<label class="keep" data-keep="yes"><input type="checkbox" checked><span></span></label>'


def _small(image: Image.Image) -> str:
    """Its address at the size of a thumbnail. It is made once: each image that is read shows all before it again."""
    known = _smalls.get(id(image))
    if known is None:
        known = _smalls[id(image)] = data_uri(image.resize((_SIZE, _SIZE)))
        weakref.finalize(image, _smalls.pop, id(image), None)
    return known


def _thumbnail(evidence: Evidence, index: int, opened: bool, warned: bool, large: bool) -> str:
    image = evidence[index]
    text, frame = escape(f"{image.name}: {image.summary}"), image.shown
    inside = f'<span class="missing" role="img" aria-label="{text}">?</span>'
    if frame:
        # What a reload reads again has no more pixels than the picture had: so it still lacks them.
        side = frame.width >> image.lacks
        src = data_uri(frame.resize((side, side))) if large else _small(frame)
        inside = f'<img src="{src}" alt="{text}" width="{_SIZE}" height="{_SIZE}">'
    mark = "!" if warned else f"×{image.weight:g}" if image.face and image.weight != 1 else ""
    inside += f'<span class="badge">{mark}</span>' if mark else ""
    return (
        f'<div class="card {_state(image, warned)}" role="listitem"><button type="button" class="open" '
        f'data-action="open" data-index="{index}" aria-expanded="{str(opened).lower()}" title="{text}"'
        f' data-name="{escape(image.name)}" data-weight="{evidence.effective_weights[index]:g}"'
        f'{_roving(index)}>{inside}</button>{_others(evidence, index)}<button type="button" class="remove" '
        f'data-action="remove" data-index="{index}" data-name="{escape(image.name)}" tabindex="-1" '
        f'aria-label="remove {escape(image.name)}" '
        'title="Remove">×</button></div>'
    )


def _others(evidence: Evidence, index: int) -> str:
    """A button that uses every face of a picture of several, while one of them is not in use."""
    picture = evidence[index].picture
    faces = len(picture.found)
    if faces < 2 or (used := len(faces_in_use(evidence, index))) == faces:
        return ""
    name, data = escape(f"use all {faces} faces of {picture.name}"), f'data-index="{index}" value="all"'
    return (
        f'<button type="button" class="all" data-action="face" {data} aria-label="{name}">'
        f"{used} of {faces}<br>use all</button>"
    )


def _unused(evidence: Evidence) -> int:
    """How many faces there are besides in the pictures of which one is in use."""
    return sum(
        len(faces) - len(used)
        for index, image in enumerate(evidence)
        if len(faces := image.picture.found) > 1
        and (used := faces_in_use(evidence, index))
        and min(used.values()) == index
    )


def _roving(index: int) -> str:
    """Tab reaches one button of a group, and arrow keys the others (`static/anywhere.js`)."""
    return f' data-stop tabindex="{-1 if index else 0}"'


def _state(image: EvidenceImage, warned: bool) -> str:
    return "problem" if image.problem else "warning" if warned else "unused" if image.weight == 0 else "fine"


def details(evidence: Evidence, index: int | None, weighted: bool = True) -> str:
    """All about one image: its picture with the faces to choose from, and what happened to it.

    Args:
        index: of the one image; None for none.
        weighted: whether samples are drawn from the images: an image has a weight then.
    """
    if index is None:
        return ""
    image = evidence[index]
    name, state = escape(image.name), _state(image, weighted and image.is_outlier)
    parts = [f'<div class="name">{name}</div><div class="verdict">{escape(image.summary)}</div>']
    parts += [_outlier(evidence, index, weighted), _faces(evidence, index)]
    parts += [_weight(evidence, index) if weighted else "", _numbers(image), _painting(evidence, index)]
    parts += [_buttons(_button("remove", index, "Remove"), _button("open", index, "Close"))]
    return (
        f'<section class="details {state}" aria-label="{name}">{_picture(evidence, index)}'
        f'<div class="text">{"".join(parts)}</div></section>'
    )


def _button(action: str, index: int, text: str, value: str = "", pressed: bool | None = None) -> str:
    state = "" if pressed is None else f' aria-pressed="{str(pressed).lower()}"'
    data = f'data-action="{action}" data-index="{index}" value="{value}"'
    return f'<button type="button" {data}{state}>{escape(text)}</button>'


def _buttons(*buttons: str) -> str:
    return f'<div class="buttons">{"".join(buttons)}</div>'


def _picture(evidence: Evidence, index: int) -> str:
    """The picture. Where it has several faces, each is a button: use this face, or not."""
    picture = evidence[index].picture
    if not picture.preview:
        return ""
    width, height = picture.size
    used, boxes = faces_in_use(evidence, index), []
    for face in picture.found:
        left, top, right, bottom = face.box
        position = (
            f"left: {100 * left / width:.2f}%; top: {100 * top / height:.2f}%; "
            f"width: {100 * (right - left) / width:.2f}%; height: {100 * (bottom - top) / height:.2f}%"
        )
        boxes.append(
            f'<button type="button" class="box" data-action="face" data-index="{index}" value="{face.index}" '
            f'style="{position}" aria-pressed="{str(face.index in used).lower()}" '
            f'aria-label="face {face.index + 1} of {len(picture.faces)}"></button>'
        )
    alt = escape(f"{picture.name}, the whole picture")
    image = f'<img src="{uri_of(picture.preview)}" alt="{alt}" width="{width}" height="{height}">'
    return f'<div class="source">{image}{"".join(boxes)}</div>'


def faces_in_use(evidence: Evidence, index: int) -> dict[int, int]:
    """Of the picture of one image: the faces in use, and the indices of their images."""
    file = evidence[index].source.file
    return {
        image.face.index: other
        for other, image in enumerate(evidence)
        if image.face and image.face.placement != "whole" and image.source.file == file
    }


def _numbers(image: EvidenceImage) -> str:
    if image.latent is None:
        return ""
    text = f"log p(z) {number(image.latent.log_prior)}"
    if image.verdict is not None:
        text += f", of held-out images {number(image.verdict.low)} … {number(image.verdict.high)}"
    text += f"<br>‖z‖² / D {float(image.latent.z.square().mean()):.2f}"
    return f'<details class="numbers"><summary>Numbers</summary><div class="likelihood">{text}</div></details>'


def _outlier(evidence: Evidence, index: int, weighted: bool) -> str:
    """Whether an image fits the model, how much it counts if not, and a button that changes it."""
    image = evidence[index]
    if image.verdict is None:
        return ""
    if not image.verdict.way:
        return '<p class="hint">Fits the model well.</p>'
    text, button = _WARNINGS[image.verdict.way], ""
    if weighted and image.used:
        count = evidence.effective_weights[index]
        if count < image.weight:
            text += " It counts less." if count >= 0.1 * image.weight else " It hardly counts."
            button = _button("robust", index, "Count it fully", "off")
        elif image.source.robust:
            text += f" It counts fully, because most of your images are like this. {_SPOILS}"
        else:
            text += f" It counts fully. {_SPOILS}"
            button = _button("robust", index, "Count it less", "on")
    return f'<p class="hint"><strong class="warn">{text}</strong></p>{_buttons(button)}'


def _faces(evidence: Evidence, index: int) -> str:
    image = evidence[index]
    faces = image.picture.found
    if image.face is None or not faces:
        return ""
    whole = _button("face", index, "Use the whole picture", "whole", image.face.placement == "whole")
    if len(faces) == 1:
        return _buttons(whole)
    hint = f'<p class="hint">{len(faces)} faces. Click a face in the picture to use it or not.</p>'
    every = _button("face", index, f"Use all {len(faces)} faces", "all") if _others(evidence, index) else ""
    return hint + _buttons(every, whole)


def _painting(evidence: Evidence, index: int) -> str:
    """The aligned image, to paint over a part of it."""
    image = evidence[index]
    if image.face is None:
        return ""
    frame, filled = image.face.image, ""
    if image.filled is not None:
        filled = f'<img src="{data_uri(image.filled)}" alt="the image with this part filled in" width="72" height="72">'
    all_of_them = f"Ignore it in all {len(evidence)}" if len(evidence) > 1 else ""
    how = {"apply": "Ignore this part", "apply_all": all_of_them, "mask": image.mask}
    painted = paintable(data_uri(frame), frame.size, index=index, name=image.name, **how)
    return (
        f'<details class="ignore"{" open" if image.mask is not None else ""}><summary>Ignore a part</summary>'
        f'<p class="hint">Paint over anything to ignore, such as a hand or a caption.</p>{painted}{filled}</details>'
    )


def _weight(evidence: Evidence, index: int) -> str:
    image = evidence[index]
    if image.face is None:
        return ""
    share = f" of m = {images_of(sum(evidence.effective_weights))}" if image.used else ""
    return (
        f'<label>weight <input type="number" min="{WEIGHT.low:g}" max="{WEIGHT.high:g}" step="any" '
        f'value="{image.weight:g}" data-action="weight" data-index="{index}" aria-label="weight of '
        f'{escape(image.name)}">{share}</label>'
    )
