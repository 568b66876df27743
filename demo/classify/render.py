"""The contents of the Classify tab: example tasks, a card for each query with its probabilities, mean images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from PIL import Image

from transflow_core.evidence import Evidence, EvidenceImage
from transflow_core.fewshot import NONE, Answer
from transflow_core.images import load_image

from ..evidence_panel import mostly_outliers
from ..render import data_uri
from .result import Result, medoid
from .tasks import Task

__all__ = ["class_pictures", "examples_count", "examples_html", "query_cards", "result_status"]

_MOST_BARS = 4  # of the likeliest classes on a card; "Answers (CSV)" has all


def examples_html(tasks: dict[str, Task]) -> str:
    """A button for each task, with an image of each of its first four classes."""
    buttons = []
    for key, task in tasks.items():
        strip = Image.new("RGB", (256, 64))
        for column, (first, *_) in enumerate(list(task.classes.values())[:4]):
            strip.paste(load_image(first).resize((64, 64)), (64 * column, 0))
        buttons.append(
            f'<button type="button" data-example="{key}" title="{escape(task.about)}">'
            f'<img src="{data_uri(strip)}" alt="" width="256" height="64">{escape(task.title)}</button>'
        )
    return f'<div class="examples tasks" role="group" aria-label="Example tasks">{"".join(buttons)}</div>'


def examples_count(evidence: Evidence) -> str:
    """The number of examples of a class."""
    if not evidence:
        return "No examples yet"
    used, total = len(evidence.used), len(evidence)
    return f"{used} example{'s' * (used != 1)}" + (f", {total - used} skipped" if used < total else "")


def query_cards(queries: Evidence, result: Result | None) -> str:
    """A card for each query, with its answer where there is one. `panel.CARDS_JS` listens to the buttons."""
    cards = "".join(_card(index, image, result) for index, image in enumerate(queries))
    if not cards:
        return '<p class="hint">Drop images above. The answer for each appears here, with its probability.</p>'
    return f'<div class="queries" role="list">{cards}</div>'


def _card(index: int, image: EvidenceImage, result: Result | None) -> str:
    name = escape(image.name)
    thumbnail = (
        f'<img src="{data_uri(image.face.image, "PNG")}" alt="{name}, aligned" width="72" height="72">'
        if image.face
        else '<div class="missing" aria-hidden="true">?</div>'
    )
    answer = result.answers.get(index) if result else None
    state = "problem" if not image.used else "none" if answer and answer.none else "known"
    if result is None or answer is None:
        body = f'<p class="verdict">{escape(image.summary)}</p>'
        if image.used:
            body += '<p class="verdict">Add examples to two classes first.</p>'
        return _frame(index, state, name, thumbnail, body, "")
    best = escape(answer.best)
    text = (
        f'<p class="answer">{escape(NONE.capitalize())}</p><p class="verdict">closest: {best}</p>'
        if answer.none
        else f'<p class="answer">{best}</p>'
        f'<p class="verdict">probability {escape(_percent(answer.probabilities[answer.best]))}</p>'
    )
    truth = _truth(result.right(index), image.label)
    return _frame(index, state, name, thumbnail, text + truth, _bars(answer, result.fit.classifier.threshold))


def _frame(index: int, state: str, name: str, thumbnail: str, text: str, below: str) -> str:
    return (
        f'<div class="query {state}" role="listitem">'
        f'<button type="button" class="remove" data-action="remove" data-index="{index}" '
        f'aria-label="remove {name}" title="Remove">×</button>'
        f'<div class="top">{thumbnail}<div class="text">'
        f'<div class="name" title="{name}">{name}</div>{text}</div></div>{below}</div>'
    )


def _truth(right: bool | None, truth: str) -> str:
    if right is None:
        return ""
    mark = "✓ right" if right else f"✗ wrong: {escape(truth)}"
    return f'<p class="truth {"right" if right else "wrong"}">{mark}</p>'


def _bars(answer: Answer, threshold: float) -> str:
    likely = sorted(answer.probabilities.values())[-_MOST_BARS:][0]
    shown = {name: p for name, p in answer.probabilities.items() if p >= likely}
    rest = len(answer.probabilities) - len(shown)
    rows = "".join(
        f'<tr{" class=best" if name == answer.best else ""}><th scope="row" title="{escape(name)}">{escape(name)}</th>'
        f'<td class="bar" aria-hidden="true"><span style="width: {100 * p:.2f}%"></span></td>'
        f"<td>{escape(_percent(p))}</td></tr>"
        for name, p in shown.items()
    )
    if rest:
        p = max(0.0, 1 - sum(shown.values()))
        rows += f'<tr><th scope="row">{rest} others</th><td></td><td>{escape(_percent(p))}</td></tr>'
    caption = "If it were one of these classes" if answer.none else "Probability"
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


def class_pictures(classes: Mapping[str, Evidence], means: Sequence[Image.Image] = ()) -> str:
    """Each class's most typical example, and beside it the decoded mean of its examples' latents.

    Args:
        classes: name to examples.
        means: the decoded means.
    """
    if not classes:
        return '<p class="status">Each class appears here, with its most typical example and its mean image.</p>'
    figures = []
    for (name, evidence), mean in zip(classes.items(), means, strict=True):
        pictures = (("example", "most typical example", medoid(evidence)), ("mean", "mean image", mean))
        images = "".join(
            f'<img class="{kind}" src="{data_uri(image)}" alt="{text} of {escape(name)}" width="64" height="64">'
            for kind, text, image in pictures
        )
        figures.append(f"<figure>{images}<figcaption>{escape(name)}<br>m = {len(evidence.used)}</figcaption></figure>")
    return (
        '<p class="status">Left: the most typical example of a class. Right: the mean of its examples, decoded by the '
        f'model.</p><div class="means">{"".join(figures)}</div>'
    )


def result_status(result: Result, classes: Mapping[str, Evidence]) -> str:
    """One line of numbers: right answers, the held-out accuracy, λ/m; and whether the prior knows such images.

    Args:
        result: all answers.
        classes: name to examples.
    """
    classifier, rule, parts = result.fit.classifier, result.fit.rule, []
    known = [right for right in map(result.right, result.answers) if right is not None]
    if result.answers:
        none = sum(answer.none for answer in result.answers.values())
        parts.append(f"<b>{len(result.answers)}</b> queries, {none} of them in no class")
    if known:
        parts.append(f"<b>{sum(known)} of {len(known)}</b> answers right")
    if classifier.held_out_accuracy is not None:
        parts.append(
            f"held-out examples recognised: <b>{_percent(classifier.held_out_accuracy)}</b> "
            f"(by chance {_percent(1 / len(result.classes))})"
        )
    parts.append(f"λ/m = {classifier.lam_ratio:.3g}{', chosen from the examples' if rule.lam_ratio is None else ''}")
    if rule.copies:
        parts.append(f"learned from {rule.copies} distorted copies of each example")
    parts.append(f"none of these above {classifier.threshold:.2f}")
    parts.append(f"fitted in {result.fit.seconds:.2f} s")
    if mostly_outliers(Evidence(tuple(image for evidence in classes.values() for image in evidence))):
        parts.append("this model was trained on very different images")
    return " · ".join(parts)
