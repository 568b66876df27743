"""The Classify tab: a few examples of each class, and for each query the probability of each class, or of none."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cache, partial
from html import escape
from pathlib import Path
from typing import Any, cast

import gradio as gr
from gradio.components import Component

from transflow_core.evidence import Evidence, EvidenceImage, Source
from transflow_core.fewshot import FewShotClassifier
from transflow_core.fewshot.classifier import NONE
from transflow_core.images import contact_sheet, load_image
from transflow_core.images.files import IMAGE_SUFFIXES
from transflow_core.limits import CLASS_NAME_LENGTH, CLASSES_ON_PAGE, MOST_EXAMPLES, MOST_QUERIES
from transflow_core.operations import Result
from transflow_core.operations.classify import variants
from transflow_core.pictures import AlignMode, File
from transflow_core.recipes import Classify as Recipe
from transflow_core.recipes import Reading, within

from ..cards import mostly_outliers
from ..controls import Model, code, controls, download, log_slider, number_slider, on_slider, status_line
from ..evidence_panel import CARDS_JS, EXAMPLES_JS, ImageList, Images, files_button, on_files, row_of
from ..examples import EXAMPLES, example_sets
from ..render import data_uri, progress, updating
from ..server.admission import CancelToken
from ..server.errors import warn
from ..server.events import Updates, new_signal, on
from ..server.priors import Engines
from ..server.state import Session
from ..snippet import Step, evidence_files, file_names, python_code

_FEWEST, _MOST = int(CLASSES_ON_PAGE.low), int(CLASSES_ON_PAGE.high)
_CLASSES = tuple(f"classify-{index}" for index in range(_MOST))
_QUERIES, _ANSWERS = "classify-queries", "classify-answers"
_PANELS = (_QUERIES, *_CLASSES)
# With ten classes of five examples, 20 copies of each are a thousand inversions.
_Recipe = Recipe.limited(copies=20)
# In one column the answers are far below the button.
_TO_ANSWERS_JS = """
() => { if (innerWidth < 760) document.querySelector('#classify-status').scrollIntoView({block: 'start'}); }
"""
_NOTHING = "Add an example to at least two classes."
_FILE = "classifier.safetensors"
_NO_CODE = (
    "# The names of your files do not say which images, faces or parts count here. Download the classifier instead."
)
_BARS = 4  # of the likeliest classes on a card


@dataclass(frozen=True)
class Task:
    """An example task."""

    title: str = ""
    about: str = ""
    classes: Mapping[str, Sequence[File]] = field(default_factory=dict)
    queries: Sequence[tuple[File, str]] = ()  # not among the examples, each with its true class or `NONE`
    align: AlignMode = "auto"  # of all images
    copies: int = 0  # distorted copies of each example to learn from


@cache
def tasks() -> dict[str, Task]:
    """The tasks that ship, by key. Each has a query or two that belong to no class."""
    sets, digits = example_sets(), EXAMPLES / "digits"
    styles = {sets[key].title: sets[key].files for key in ("greyscale", "red_hair", "sketch", "cartoon")}
    return {
        "digits": Task(
            "Digits",
            "Five examples of each handwritten digit of MNIST, two queries of each, and two faces.",
            {str(digit): sorted((digits / str(digit)).glob("*.png")) for digit in range(10)},
            [
                *((file, file.name[0]) for file in sorted((digits / "queries").glob("*.png"))),
                *((sets[key].files[0], NONE) for key in ("greyscale", "red_hair")),
            ],
            align="never",
            copies=12,  # a shifted or slanted digit is the same digit: as in Table 1
        ),
        "styles": Task(
            "Styles of faces",
            "6 examples of each of four styles, other images of these styles, and two of no style.",
            {name: files[:6] for name, files in styles.items()},
            [
                *((file, name) for name, files in styles.items() for file in files[6:9]),
                *((file, NONE) for file in sets["noise_bar"].files[:2]),
            ],
        ),
    }


@dataclass(frozen=True)
class Answers:
    """What each query is: a result whose facts have an answer for each."""

    recipe: Recipe
    classes: Mapping[str, Evidence]  # the examples, compared by identity
    queries: Evidence
    result: Result

    @property
    def classifier(self) -> FewShotClassifier:
        """The fitted classifier."""
        assert isinstance(self.result.saved, FewShotClassifier)
        return self.result.saved

    def right(self, image: EvidenceImage, answer: Mapping[str, Any]) -> bool | None:
        """Whether an answer is right; None where the truth is unknown, or not the name of a class."""
        said, truth = NONE if answer["none_of_these"] else answer["best"], image.source.label
        return said == truth if truth in (*self.classifier.classes, NONE) else None


@dataclass
class _State:
    """The names of a visitor's open classes by their index, and the answers on the page."""

    names: dict[int, str] = field(default_factory=lambda: _names(()))
    answers: Answers | None = None


class _Busy:
    """Progress of all that is read, with a button that stops it. It floats at the bottom of the window while there is
    some (`page.css`): always visible, and nothing moves for it."""

    def __init__(self) -> None:
        with gr.Row(equal_height=True, elem_id="classify-progress"):
            self.output = gr.HTML("", label="Progress")
            stop = gr.Button("Stop", variant="stop", size="sm", min_width=80, scale=0, elem_id="classify-stop")
        on(stop.click, lambda session: [session.cancel(panel) for panel in _PANELS] and None, queue=False)

    def shown(self, reading: str) -> Updates:
        """While something is read."""
        return {self.output: reading} if reading else {}

    def over(self, session: Session) -> Updates:
        """After something was read. Whatever ends last takes the bar away: two that end together both see one more."""
        return {} if any(map(session.busy, _PANELS)) else {self.output: ""}


class _Slot(ImageList):
    """One class: its name, its button for files, its examples. Build it inside the current Blocks.

    Attributes:
        box, name, remove, files: its components.
        parts: all of them.
    """

    def __init__(self, engines: Engines, index: int, busy: _Busy, changed: gr.HTML) -> None:
        panel, name = _CLASSES[index], _default_name(index)
        self.box = gr.Column(
            elem_id=panel, elem_classes="class-slot takes-around", min_width=150, visible=index < _FEWEST
        )
        with self.box:
            with gr.Row(equal_height=True, elem_classes="class-head"):
                self.name = gr.Textbox(
                    placeholder=name,
                    label=f"Name of class {index + 1}",
                    show_label=False,
                    container=False,
                    max_length=CLASS_NAME_LENGTH,
                    elem_id=f"{panel}-name",
                    min_width=60,
                )
                self.remove = gr.Button(
                    f"Remove class {index + 1}",
                    size="sm",
                    min_width=30,
                    scale=0,
                    interactive=False,
                    elem_id=f"{panel}-remove",
                    elem_classes="cross",
                )
            self.files = files_button(_drop_label(name), IMAGE_SUFFIXES, elem_id=f"{panel}-files", size="sm")
            self._count = gr.HTML(_count(Evidence()), elem_classes="status", label="Examples")
            super().__init__(engines, panel, most=MOST_EXAMPLES, weighted=False)
        self._busy, shown = busy, [self._count, self._cards, self._details]
        self.parts = [self.box, self.name, self.remove, self.files, *shown]
        self._wire([*shown, busy.output], changed)

    def shown(self, session: Session) -> Updates:
        """The examples."""
        return self._images(session) | {self._count: _count(self.evidence(session))}

    def _show(self, session: Session, reading: str = "") -> Updates:
        return self.shown(session) | self._busy.shown(reading)


class _Queries(Images):
    """What to classify. It is shown with its answers."""

    def __init__(self, engines: Engines, busy: _Busy) -> None:
        super().__init__(engines, _QUERIES, most=MOST_QUERIES)
        self._busy = busy

    def _show(self, session: Session, reading: str = "") -> Updates:
        return self._busy.shown(reading)


class Classify:
    """Build the tab inside the current Blocks."""

    def __init__(self, model: Model) -> None:
        self._engines, self._busy, self._changed = model.engines, _Busy(), new_signal()
        self._queries = _Queries(model.engines, self._busy)
        with gr.Row():
            with gr.Column(scale=5, min_width=320):
                gr.Markdown("## 1. Show a few examples of each class", elem_classes="step")
                self._examples = gr.HTML(
                    _examples_html(), js_on_load=EXAMPLES_JS, elem_id="classify-examples", label="Example tasks"
                )
                with gr.Row(elem_id="classify-classes"):
                    how = self._busy, self._changed
                    self._slots = [_Slot(model.engines, index, *how) for index in range(_MOST)]
                with gr.Row():
                    self._add = gr.Button("Add a class", size="sm", elem_id="classify-add")
                    self._clear = gr.Button("Clear all", size="sm", elem_id="classify-clear")
            with gr.Column(scale=6, min_width=320):
                self._build_queries()
                self._build_results()
        self._wire(model.prior, model.changed)

    def _build_queries(self) -> None:
        gr.Markdown("## 2. Classify other images", elem_classes="step")
        self._files = files_button("+ Add images to classify", IMAGE_SUFFIXES, elem_id=_QUERIES)
        self._lam = log_slider(0.1, name="λ/m, how varied a class is", elem_id="classify-lam")
        with gr.Row():
            box: dict[str, Any] = {"container": False}
            self._chosen = gr.Checkbox(
                True, label="Choose λ from the examples", elem_id="classify-chosen", min_width=200, **box
            )
            self._unaligned = gr.Checkbox(
                False, label="Use whole pictures", elem_id="classify-whole", min_width=160, **box
            )
        with gr.Accordion("Advanced: features and likelihood", open=False):
            self._more = controls(_Recipe, {"lam_ratio", "copies", *Reading.model_fields})
            self._copies = number_slider(
                "Distorted copies of each example",
                within(_Recipe, "copies"),
                0,
                info="Turned, slanted and shifted a little. Good for handwriting, which stays the same then.",
                elem_id="classify-copies",
            )

    def _build_results(self) -> None:
        self._status = status_line(_NOTHING, elem_id="classify-status")
        with gr.Tabs(elem_id="classify-results"):
            with gr.Tab("Answers"):
                self._cards = gr.HTML(_cards(Evidence(), None), js_on_load=CARDS_JS, elem_id=_ANSWERS, label="Answers")
                # Below the answers: several lines on a phone, which would push them down.
                self._numbers = gr.HTML("", elem_id="classify-numbers", elem_classes="status", label="Numbers")
            with gr.Tab("Download"):
                download("Classifier", self._write, elem_id="classify-file", min_width=150, scale=0)
                self._python = code("python", label="The same in Python", elem_id="classify-python")

    def _wire(self, prior: Component, changed_prior: Sequence[Any]) -> None:
        progress, read, new = self._busy.output, [prior, self._unaligned], self._changed
        parts = [part for slot in self._slots for part in slot.parts]
        self._made = [self._status, self._numbers, self._python]
        everything = [*parts, self._cards, *self._made, progress, self._unaligned, self._copies]
        filled = on(self._examples.select, self._use_task, prior, everything, event=True, signals=new)
        on([*filled, self._files.upload], None, js=_TO_ANSWERS_JS)
        on(self._add.click, self._add_class, outputs=everything, signals=new)
        on(self._clear.click, partial(self._fill, Task()), prior, everything, signals=new)
        on_files(self._files.upload, self._queries.add, read, [progress], new)
        on(self._cards.edit, self._remove_query, event=True, signals=new)
        on(self._unaligned.input, self._read_again, read, everything, signals=new)
        on(changed_prior, self._follow, read, everything, signals=new)
        for index, slot in enumerate(self._slots):
            on_files(slot.files.upload, slot.add, read, [*slot.parts, progress], new)
            on(slot.remove.click, partial(self._remove_class, index), prior, everything, signals=new)
            named = [slot.name.submit, slot.name.blur]
            on(named, partial(self._rename, index), slot.name, slot.files, signals=new)
        more = self._more.values()
        inputs = [prior, self._chosen, self._lam, self._copies, self._unaligned, *more]
        shown = [self._status, self._cards, self._numbers, self._python, self._lam, progress]
        changed = [new.change, self._chosen.input, self._copies.input, self._copies.release]
        changed += [one.change for one in more]  # type: ignore[attr-defined]
        # A user who moves λ chooses it.
        changed += on(self._lam.release, None, outputs=self._chosen, js="() => false")
        on(changed, self._refresh, inputs, shown)

    # Classes -----------------------------------------------------------------------------------------------------

    def _use_task(self, session: Session, data: dict, prior: str) -> Iterator[Updates]:
        task = tasks().get(str(data.get("example")))
        if task is None:
            raise ValueError("There is no such example task.")
        yield from self._fill(task, session, prior)

    def _fill(self, task: Task, session: Session, prior: str) -> Iterator[Updates]:
        """One click replaces all classes and queries, and cancels reading."""
        classes = zip(_CLASSES, task.classes.values(), strict=False)
        sources = {panel: [Source(file) for file in files] for panel, files in classes}
        sources[_QUERIES] = [Source(file, truth) for file, truth in task.queries]
        with ExitStack() as stack:
            cancel = yield from _all_panels(session, stack, newest=True)
            state = session.state(_State)
            state.names = names = _names(task.classes)
            state.answers = None
            settings = {self._unaligned: task.align == "never", self._copies: task.copies}
            settings |= dict.fromkeys([self._cards, *self._made], "")
            yield self._boxes(session, names) | settings
            yield from self._read(session, sources, prior, task.align, cancel)

    def _boxes(self, session: Session, names: Mapping[int, str]) -> Updates:
        """Show the open classes, some with new names. None can be removed while there are only two."""
        opened = session.state(_State).names
        shown: Updates = {slot.box: gr.update(visible=index in opened) for index, slot in enumerate(self._slots)}
        shown |= {slot.remove: gr.update(interactive=len(opened) > _FEWEST) for slot in self._slots}
        for index, name in names.items():
            typed = "" if name == _default_name(index) else name
            shown |= {self._slots[index].name: typed} | self._rename(index, session, name)
        return shown

    def _rename(self, index: int, session: Session, name: str) -> Updates:
        names = session.state(_State).names
        if index not in names:  # it was removed
            return {}
        # A classifier's file needs a printable name that is not too long.
        name = "".join(c for c in str(name or "") if c.isprintable()).strip()[:CLASS_NAME_LENGTH]
        names[index] = name = name or _default_name(index)
        return {self._slots[index].files: gr.update(label=_drop_label(name))}

    def _add_class(self, session: Session) -> Updates:
        names = session.state(_State).names
        index = next((index for index in range(_MOST) if index not in names), None)
        if index is None:
            warn(f"At most {_MOST} classes.")
            return {}
        names[index] = _default_name(index)
        return self._boxes(session, {index: names[index]})

    def _remove_class(self, index: int, session: Session, prior: str) -> Iterator[Updates]:
        slot, names = self._slots[index], session.state(_State).names
        with (yield session.queued(slot.panel, newest=True)):
            if len(names) <= _FEWEST or not names.pop(index, None):
                return
            session.evidence[slot.panel] = Evidence(prior=prior)
            yield self._boxes(session, {}) | slot.shown(session)

    def _remove_query(self, session: Session, data: dict) -> Iterator[Updates]:
        with (yield session.queued(_QUERIES)):
            queries = self._queries.evidence(session)
            if (index := row_of(data, queries)) is not None:
                session.evidence[_QUERIES] = queries.removed(index)

    # Reading -----------------------------------------------------------------------------------------------------

    def _read_again(self, session: Session, prior: str, unaligned: bool) -> Iterator[Updates]:
        """For another prior, or whole pictures instead of faces, everything is aligned and inverted again."""
        with ExitStack() as stack:
            cancel = yield from _all_panels(session, stack)
            sources = {panel: evidence.sources for panel in _PANELS if (evidence := session.evidence.get(panel))}
            yield from self._read(session, sources, prior, _align(unaligned), cancel)

    def _follow(self, session: Session, prior: str, unaligned: bool) -> Iterator[Updates]:
        # The outer tab alone says so where it is opened again.
        if session.tab in ("classify", "behind") and any(
            session.evidence.get(panel, Evidence(prior=prior)).prior != prior for panel in _PANELS
        ):
            yield from self._read_again(session, prior, unaligned)

    def _read(
        self,
        session: Session,
        sources: Mapping[str, Sequence[Source]],
        prior: str,
        align: AlignMode,
        cancel: CancelToken,
    ) -> Iterator[Updates]:
        """Replace all images: the sources of each panel."""
        session.evidence.update(dict.fromkeys(_PANELS, Evidence(prior=prior)))
        yield {part: value for slot in self._slots for part, value in slot.shown(session).items()}
        done, started, total = 0, time.monotonic(), sum(map(len, sources.values()))
        for one in (*self._slots, self._queries):
            if (new := sources.get(one.panel)) and not cancel.is_set():
                around = done, total - done - len(new), started
                yield from one.read(session, new, Evidence(prior=prior), cancel, align, around)
                done += len(new)

    # Answers -----------------------------------------------------------------------------------------------------

    def _refresh(
        self, session: Session, prior: str, chosen: bool, lam: float, copies: float, unaligned: bool, *more: Any
    ) -> Iterator[Updates]:
        """The answers; then the code. It follows whatever was read."""
        state = session.state(_State)
        yield self._busy.over(session)
        with (yield session.queued(_ANSWERS, newest=True)) as cancel:
            queries = _of_prior(session, _QUERIES, prior)
            try:
                classes, ratio = _classes(session, prior), None if chosen else lam
                how = {"prior": prior, "align": _align(unaligned), "lam_ratio": ratio, "copies": copies}
                recipe = _Recipe.checked(how | dict(zip(self._more, more, strict=True)))
                engine, status = self._engines.get(prior), "Fitting the classes…"
                if state.answers is None:
                    yield {self._status: updating(engine.ahead, status)}
                # The answers without copies come at once.
                learned = state.answers is not None and state.answers.recipe.copies
                for one in (recipe,) if learned or not recipe.copies else (recipe.replace(copies=0), recipe):
                    images, begun = variants(classes.values(), one.copies) if one.copies else [], time.monotonic()
                    for start in range(0, len(images), engine.batch_size):
                        bar = progress(start, len(images), time.monotonic() - begun, engine.ahead, "distorted copies")
                        yield {self._status: f"{bar} · {status}"}
                        engine.encode(images[start : start + engine.batch_size], cancel=cancel)  # it remembers them
                    known, examples = state.answers, cast(Any, classes)
                    if known is not None and (known.recipe, known.classes) == (one, classes):
                        examples = known.classifier  # it was fitted to the same
                    result = engine.run(one, examples=examples, images=queries, cancel=cancel)
                    if known is not None and examples is known.classifier:  # what it was compared with stays
                        result = replace(result, lines=(known.result.lines[0], *result.lines[1:]))
                    state.answers = answers = Answers(one, classes, queries, result)
                    status = _status(answers)
                    shown: Updates = {self._status: status, self._cards: _cards(queries, answers)}
                    shown[self._numbers] = _numbers(answers)
                    yield shown | ({self._lam: on_slider(answers.classifier.lam_ratio)} if chosen else {})
                yield {self._python: _python_code(recipe, classes, queries)}
            except ValueError as error:
                state.answers = None
                shown = {self._status: escape(str(error)), self._cards: _cards(queries, None)}
                yield shown | {self._numbers: "", self._python: ""}

    def _write(self, session: Session) -> Path:
        answers = session.state(_State).answers
        if answers is None:
            raise ValueError(_NOTHING)
        return answers.result.save(session.file(_FILE))[0]


def _all_panels(session: Session, stack: ExitStack, newest: bool = False) -> Generator[Any, Any, CancelToken]:
    """Wait for the earlier requests of all panels. Gives what cancels that of the queries: no removed class does."""
    turns = []
    for panel in _PANELS:
        turns.append(stack.enter_context((yield session.queued(panel, newest=newest))))
    return turns[0]


def _align(unaligned: bool) -> AlignMode:
    return "never" if unaligned else "auto"


def _of_prior(session: Session, panel: str, prior: str) -> Evidence:
    """A panel's images; none while they are not yet read for another prior."""
    evidence = session.evidence.get(panel, Evidence())
    return evidence if evidence.prior == prior else Evidence()


def _classes(session: Session, prior: str) -> dict[str, Evidence]:
    """Name to examples of every class that has some. Raises ValueError with what the user must do first."""
    classes = dict[str, Evidence]()
    for index, name in sorted(session.state(_State).names.items()):
        evidence = _of_prior(session, _CLASSES[index], prior)
        if not evidence.used:
            continue
        if name in classes:
            raise ValueError("Two classes have the same name. Give each class its own name.")
        classes[name] = evidence
    if len(classes) < _FEWEST:
        raise ValueError("" if any(map(session.busy, _PANELS)) else _NOTHING)  # else those that are being read count
    return classes


# What the results say ------------------------------------------------------------------------------------------------


def _status(answers: Answers) -> str:
    """How many queries there are, and how many answers are right, where that is known."""
    facts = answers.result.facts["images"]
    each = [(image, answer) for image, answer in zip(answers.queries, facts, strict=True) if image.used]
    known = [right for image, answer in each if (right := answers.right(image, answer)) is not None]
    none = sum(answer["none_of_these"] for _, answer in each)
    queries = f"<b>{len(each)}</b> {'queries' if len(each) > 1 else 'query'}"
    queries += f", {none} of them in no class" * bool(none)
    parts = [queries if each else "Now add images to classify."]
    return " · ".join(parts + [f"<b>{sum(known)} of {len(known)}</b> answers right"] * bool(known))


def _numbers(answers: Answers) -> str:
    """The held-out accuracy, λ/m, and whether the prior knows such images."""
    recipe, classifier, classes = answers.recipe, answers.classifier, answers.classes
    chance = f"; by chance {_percent(1 / len(classes))}" * (classifier.held_out_accuracy is not None)
    parts = [answers.result.lines[0].replace(" %", "\xa0%") + chance]
    parts.append(f"λ/m = {classifier.lam_ratio:.3g}{', chosen from the examples' if recipe.lam_ratio is None else ''}")
    if recipe.copies:
        parts.append(f"learned from {recipe.copies} distorted copies of each example")
    parts.append(f"none of these above {classifier.threshold:.2f}")
    if mostly_outliers(Evidence(tuple(image for evidence in classes.values() for image in evidence))):
        parts.append("this model was trained on very different images")
    return " · ".join(parts)


def _python_code(recipe: Recipe, classes: Mapping[str, Evidence], queries: Evidence) -> str:
    examples = {name: evidence_files(Evidence(evidence.used), _FILE) for name, evidence in classes.items()}
    if [_FILE] in examples.values():
        return _NO_CODE
    inputs = {"images": file_names(queries.used) or ["query.png"], "examples": examples}
    return python_code([Step(recipe, inputs, _FILE)]) + '\nprint("\\n".join(result.lines))'


# HTML ----------------------------------------------------------------------------------------------------------------


def _examples_html() -> str:
    """A button for each task, with an image of each of its first four classes."""
    buttons = []
    for key, task in tasks().items():
        firsts = [load_image(first) for first, *_ in list(task.classes.values())[:4]]
        strip = contact_sheet(firsts, columns=4, cell=64, gap=0)
        buttons.append(
            f'<button type="button" data-example="{key}" title="{escape(task.about)}">'
            f'<img src="{data_uri(strip)}" alt="" width="256" height="64">{escape(task.title)}</button>'
        )
    return f'<div class="examples tasks" role="group" aria-label="Example tasks">{"".join(buttons)}</div>'


def _count(evidence: Evidence) -> str:
    """The number of examples of a class."""
    if not evidence:
        return "No examples yet"
    used, total = len(evidence.used), len(evidence)
    return f"{used} example{'s' * (used != 1)}" + (f", {total - used} skipped" if used < total else "")


def _cards(queries: Evidence, answers: Answers | None) -> str:
    """A card for each query, with its answer where there is one. `panel.CARDS_JS` listens to the buttons."""
    cards = "".join(_card(index, image, answers) for index, image in enumerate(queries))
    if not cards:
        return '<p class="hint">Drop images above. The answer for each appears here, with its probability.</p>'
    return f'<div class="queries" role="list">{cards}</div>'


def _card(index: int, image: EvidenceImage, answers: Answers | None) -> str:
    name, below = escape(image.name), ""
    thumbnail = (
        f'<img src="{data_uri(image.face.image, "PNG")}" alt="{name}, aligned" width="72" height="72">'
        if image.face
        else '<div class="missing" aria-hidden="true">?</div>'
    )
    if answers is None or not image.used:
        state, texts = "known" if image.used else "problem", [("verdict", image.summary)]
    else:
        answer = answers.result.facts["images"][index]
        none, best, right = answer["none_of_these"], answer["best"], answers.right(image, answer)
        state, below = "none" if none else "known", _bars(answer, answers.classifier.threshold)
        sure = f"closest: {best}" if none else f"probability {_percent(answer['probabilities'][best])}"
        texts = [("answer", NONE.capitalize() if none else best), ("verdict", sure)]
        if right is not None:
            texts.append(("truth right", "✓ right") if right else ("truth wrong", f"✗ wrong: {image.source.label}"))
    text = "".join(f'<p class="{kind}">{escape(words)}</p>' for kind, words in texts)
    return (
        f'<div class="query {state}" role="listitem">'
        f'<button type="button" class="remove" data-action="remove" data-index="{index}" data-name="{name}" '
        f'aria-label="remove {name}" title="Remove">×</button>'
        f'<div class="top">{thumbnail}<div class="text">'
        f'<div class="name" title="{name}">{name}</div>{text}</div></div>{below}</div>'
    )


def _bars(answer: Mapping[str, Any], threshold: float) -> str:
    probabilities, novelty, none = answer["probabilities"], answer["novelty"], answer["none_of_these"]
    least = sorted(probabilities.values())[-_BARS:][0]
    shown = {name: p for name, p in probabilities.items() if p >= least}
    if len(shown) == len(probabilities) - 1:  # a row for one other would be as high as its own
        shown = probabilities
    rows = "".join(
        f'<tr{" class=best" if name == answer["best"] else ""}><th scope="row" title="{escape(name)}">'
        f'{escape(name)}</th><td class="bar" aria-hidden="true"><span style="width: {100 * p:.2f}%"></span></td>'
        f"<td>{escape(_percent(p))}</td></tr>"
        for name, p in shown.items()
    )
    if (rest := len(probabilities) - len(shown)) > 1:
        p = max(0.0, 1 - sum(shown.values()))
        rows += f'<tr><th scope="row">{rest} others</th><td></td><td>{escape(_percent(p))}</td></tr>'
    return (
        f'<table class="bars"><caption>{"If it were one of these classes" if none else "Probability"}</caption>'
        f'<tbody>{rows}</tbody></table><div class="novelty">'
        f"<span>strangeness {novelty:.2f}; none of these: above {threshold:.2f}</span>"
        f'<meter value="{novelty:.4f}" high="{threshold:.4f}" optimum="0" aria-hidden="true"></meter></div>'
    )


def _percent(p: float) -> str:
    if 0 < p < 0.005:
        return "<\xa01\xa0%"
    return ">\xa099\xa0%" if 0.995 <= p < 1 else f"{100 * p:.0f}\xa0%"


def _names(names: Iterable[str]) -> dict[int, str]:
    """The names of open classes: these, and at least two."""
    some = dict(enumerate(names))
    return {index: _default_name(index) for index in range(_FEWEST)} | some


def _default_name(index: int) -> str:
    """The name of a class until the user names it."""
    return f"Class {index + 1}"


def _drop_label(name: str) -> str:
    return f"+ images of {name}"
