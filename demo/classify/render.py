"""What the Classify tab shows: a class's examples, a card a query with its probabilities, mean images."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from PIL import Image

from transflow_core.images import load_image

from ..render import data_uri
from .pile import NONE, Item, Pile
from .result import Answer, Result
from .tasks import Task

__all__ = ["class_means", "examples_html", "pile_html", "query_cards", "reading", "result_status"]


def examples_html(tasks: dict[str, Task]) -> str:
    """One button a task, each with two images of its first four classes."""
    buttons = []
    for key, task in tasks.items():
        strip = Image.new("RGB", (256, 64))
        for place, given in enumerate([one for of in list(task.classes.values())[:4] for one in of[:1]]):
            strip.paste(load_image(given.source).resize((64, 64)), (64 * place, 0))
        buttons.append(
            f'<button type="button" data-example="{key}" title="{escape(task.about)}">'
            f'<img src="{data_uri(strip)}" alt="" width="256" height="64">{escape(task.title)}</button>'
        )
    return f'<div class="examples tasks" role="group" aria-label="Ready classes and queries">{"".join(buttons)}</div>'


def pile_html(pile: Pile, name: str) -> str:
    """The examples of one class: a thumbnail each with a button to remove it, and what happened to each file."""
    if not pile.items:
        return '<div class="pile"><p class="status">No examples yet</p></div>'
    used, total = len(pile.used), len(pile.items)
    count = f"{used} example{'s' * (used != 1)}" + (f", {total - used} skipped" if used < total else "")
    thumbs = "".join(_thumb(index, item, name) for index, item in enumerate(pile.items))
    skipped = "".join(_verdict(item) for item in pile.items if not item.image.used)
    rest = "".join(_verdict(item) for item in pile.items if item.image.used)
    details = f"<details><summary>each file</summary><ul>{rest}</ul></details>" if rest else ""
    return (
        f'<div class="pile"><p class="count">{count}</p><div class="thumbs" role="list">{thumbs}</div>'
        f'<ul class="skipped">{skipped}</ul>{details}</div>'
    )


def _thumb(index: int, item: Item, of: str) -> str:
    image, name = item.image, escape(item.image.name)
    inside = (
        f'<img src="{data_uri(image.face.image)}" alt="{name}" width="40" height="40">'
        if image.face
        else f'<span class="missing" role="img" aria-label="{name}, not readable">?</span>'
    )
    return (
        f'<div class="thumb{"" if image.used else " problem"}" role="listitem">{inside}'
        f'<button type="button" class="remove" data-action="remove" data-index="{index}" '
        f'aria-label="remove {name} from {escape(of)}" title="Remove {name}">×</button></div>'
    )


def _verdict(item: Item) -> str:
    return f"<li><b>{escape(item.image.name)}</b>: {escape(item.image.summary)}</li>"


def reading(done: int, total: int) -> str:
    """Progress while images are read."""
    return (
        f'<p role="status"><progress max="{total}" value="{done}" aria-label="images read"></progress> '
        f"{done} of {total} images read</p>"
    )


def query_cards(queries: Pile, result: Result | None) -> str:
    """One card a query, with its answer where there is one. `panel.CARDS_JS` listens to their buttons."""
    answers = {answer.index: answer for answer in result.answers} if result else {}
    cards = "".join(_card(index, item, answers.get(index), result) for index, item in enumerate(queries.items))
    if not cards:
        cards = '<p class="hint">Each image that you drop above gets a card here: what it is, and how surely.</p>'
    return f'<div class="queries" role="list">{cards}</div>'


def _card(index: int, item: Item, answer: Answer | None, result: Result | None) -> str:
    image, name = item.image, escape(item.image.name)
    thumbnail = (
        f'<img src="{data_uri(image.face.image, "PNG")}" alt="{name}, aligned" width="72" height="72">'
        if image.face
        else '<div class="missing" aria-hidden="true">?</div>'
    )
    state = "problem" if not image.used else "none" if answer and answer.none else "known"
    if answer is None:
        body = f'<p class="verdict">{escape(image.summary)}</p>'
        if image.used:
            body += '<p class="verdict">Waiting for two classes with examples.</p>'
        return _frame(index, state, name, thumbnail, body, "")
    top = max(answer.probabilities)
    words = (
        f'<p class="answer">{escape(NONE.capitalize())}</p><p class="verdict">closest: {escape(answer.best)}</p>'
        if answer.none
        else f'<p class="answer">{escape(answer.best)}</p><p class="verdict">with {escape(_percent(top))}</p>'
    )
    return _frame(index, state, name, thumbnail, words + _truth(answer, result), _bars(answer, result))


def _frame(index: int, state: str, name: str, thumbnail: str, words: str, below: str) -> str:
    return (
        f'<div class="card query {state}" role="listitem">'
        f'<button type="button" class="remove" data-action="remove" data-index="{index}" '
        f'aria-label="remove {name}" title="Remove">×</button>'
        f'<div class="top">{thumbnail}<div class="words">'
        f'<div class="name" title="{name}">{name}</div>{words}</div></div>{below}</div>'
    )


def _truth(answer: Answer, result: Result) -> str:
    right = result.right(answer)
    if right is None:
        return ""
    mark = "✓ right" if right else f"✗ wrong: {escape(answer.item.given.truth)}"
    return f'<p class="truth {"right" if right else "wrong"}">{mark}</p>'


def _bars(answer: Answer, result: Result) -> str:
    threshold = result.fit.classifier.threshold
    rows = "".join(
        f'<tr{" class=best" if name == answer.best else ""}><th scope="row" title="{escape(name)}">{escape(name)}</th>'
        f'<td class="bar" aria-hidden="true"><span style="width: {100 * p:.2f}%"></span></td>'
        f"<td>{escape(_percent(p))}</td></tr>"
        for name, p in zip(result.classes, answer.probabilities, strict=True)
    )
    caption = "If it had to be one of them" if answer.none else "Probability"
    sign = "&gt;" if answer.none else "≤"
    return (
        f'<table class="bars"><caption>{caption}</caption><tbody>{rows}</tbody></table>'
        f'<div class="novelty"><span>none of these: {answer.novelty:.2f} {sign} {threshold:.2f}</span>'
        f'<div class="gauge" aria-hidden="true"><span style="width: {100 * answer.novelty:.2f}%"></span>'
        f'<i style="left: {100 * threshold:.2f}%"></i></div></div>'
    )


def _percent(p: float) -> str:
    if 0 < p < 0.005:
        return "< 1 %"
    return "> 99 %" if 0.995 <= p < 1 else f"{100 * p:.0f} %"


def class_means(result: Result | None, images: Sequence[Image.Image]) -> str:
    """The mean image of each class's posterior, its name, and how many examples made it."""
    if result is None:
        return '<p class="status">Here the mean image of each class appears.</p>'
    figures = "".join(
        f'<figure><img src="{data_uri(image)}" alt="mean image of {escape(name)}" width="64" height="64">'
        f"<figcaption>{escape(name)}<br>m = {count}</figcaption></figure>"
        for image, name, count in zip(images, result.classes, result.fit.classifier.counts, strict=True)
    )
    return f'<div class="means">{figures}</div>'


def result_status(result: Result, chosen: bool) -> str:
    """One line of numbers: how many right, the held-out accuracy, λ/m."""
    fit = result.fit
    parts = []
    judged = [result.right(answer) for answer in result.answers]
    known = [right for right in judged if right is not None]
    if result.answers:
        none = sum(answer.none for answer in result.answers)
        parts.append(f"<b>{len(result.answers)}</b> queries, {none} of them of no class")
    if known:
        parts.append(f"<b>{sum(known)} of {len(known)}</b> answers right")
    if fit.classifier.held_out_accuracy is not None:
        parts.append(
            f"examples found again when held out: <b>{_percent(fit.classifier.held_out_accuracy)}</b> "
            f"(by chance {_percent(1 / len(result.classes))})"
        )
    parts.append(f"λ/m = {fit.lam_ratio:.3g}{', chosen from the examples' if chosen else ''}")
    parts.append(f"none of these above {fit.classifier.threshold:.2f}")
    parts.append(f"fitted in {fit.seconds:.2f} s")
    return " · ".join(parts)
