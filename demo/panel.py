"""The evidence panel, shared by tabs: files in, cards that say what happened to each, and one posterior out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from transflow_core.engine import Engine
from transflow_core.evidence import Evidence, EvidenceImage, Source
from transflow_core.images import IMAGE_SUFFIXES
from transflow_core.posterior import Posterior

from .engines import Engines
from .examples import example_sets
from .render import cards, data_uri
from .session import Stop

__all__ = ["EvidencePanel", "Given"]

MOST_IMAGES = 100
_FILE_TYPES = [*sorted(IMAGE_SUFFIXES), ".safetensors"]

# Delegated listeners: the cards are drawn anew at each change, the element that holds them stays.
CARDS_JS = """
const tell = target => {
  const {action, index} = target.dataset;
  trigger('edit', {action, index: Number(index), value: target.value ?? ''});
};
element.addEventListener('click', event => {
  const button = event.target.closest('button[data-action]');
  if (button) tell(button);
});
element.addEventListener('change', event => { if (event.target.dataset.action) tell(event.target); });
"""
EXAMPLES_JS = """
element.addEventListener('click', event => {
  const button = event.target.closest('button[data-example]');
  if (button) trigger('select', {example: button.dataset.example});
});
"""


@dataclass(frozen=True)
class Given:
    """What one panel holds: evidence and the sources that it came from, or a saved posterior.

    Attributes:
        prior: name of the prior that the evidence was inverted with.
        evidence: one image for each source.
        sources: where each image came from, to be read again under another prior.
        example: key of the example set that this is, when it is nothing else.
        saved: a posterior that was dropped in; it stands in the evidence's place.
        saved_name: its file's name.
    """

    prior: str
    evidence: Evidence = field(default_factory=Evidence)
    sources: tuple[Source, ...] = ()
    example: str | None = None
    saved: Posterior | None = None
    saved_name: str = ""

    @property
    def ready(self) -> bool:
        """Whether there is something to condition on."""
        return self.saved is not None or bool(self.evidence.used)

    def posterior(self, lam_ratio: Any) -> Posterior:
        """The posterior at λ/m. Raises ValueError when nothing is given, with what to do."""
        if self.saved is not None:
            return self.saved.with_lam(lam_ratio)
        return self.evidence.condition(lam_ratio=lam_ratio)

    def added(self, image: EvidenceImage, source: Source) -> Given:
        """With one more image."""
        return replace(
            self,
            evidence=Evidence((*self.evidence, image)),
            sources=(*self.sources, source),
            example=None,
            saved=None,
            saved_name="",
        )

    def removed(self, index: int) -> Given:
        """Without one image."""
        keep = [i for i in range(len(self.evidence)) if i != index]
        return replace(
            self,
            evidence=Evidence(tuple(self.evidence[i] for i in keep)),
            sources=tuple(self.sources[i] for i in keep),
            example=None,
        )


class EvidencePanel:
    """Drop zone, webcam and clipboard, example sets, cards.

    Args:
        engines: the priors that the page serves.
        prior: the component that holds the name of this session's prior.
        title: a heading for the panel.
        elem_id: prefix of the ids of its components.
        first_prior: name of the prior that a session starts with.

    Attributes:
        given: gr.State with a `Given`; input for whatever uses the evidence.
        example: hidden, the key of the example set that the evidence is, or "".
    """

    def __init__(
        self, engines: Engines, prior: gr.components.Component, *, title: str, elem_id: str, first_prior: str
    ) -> None:
        self._engines = engines
        self.given = gr.State(Given(first_prior), time_to_live=3600)
        self._stop = gr.State(Stop())
        with gr.Group(elem_id=elem_id):
            self.files = gr.File(
                label=f"{title}: drop images here",
                file_count="multiple",
                file_types=_FILE_TYPES,
                height=130,
                elem_id=f"{elem_id}-files",
            )
            with gr.Accordion("Webcam or clipboard", open=False):
                self._camera = gr.Image(
                    sources=["webcam", "clipboard"],
                    type="pil",
                    label="One picture",
                    height=240,
                    elem_id=f"{elem_id}-camera",
                )
            self._examples = gr.HTML(
                _examples_html(),
                js_on_load=EXAMPLES_JS,
                elem_id=f"{elem_id}-examples",
                label="Example sets",
                padding=True,
            )
        with gr.Row(equal_height=True):
            self.status = gr.HTML(_status(Given(first_prior)), elem_classes="status", elem_id=f"{elem_id}-status")
            self._stop_button = gr.Button("Stop", variant="stop", size="sm", visible=False, min_width=80, scale=0)
            self._clear = gr.Button("Clear all", size="sm", min_width=90, scale=0, elem_id=f"{elem_id}-clear")
        self.example = gr.Textbox(visible="hidden", label="Example set")
        self._cards = gr.HTML("", js_on_load=CARDS_JS, elem_id=f"{elem_id}-cards", label="Evidence")
        self._wire(prior, elem_id)

    def _wire(self, prior: gr.components.Component, elem_id: str) -> None:
        shown = self.outputs
        quiet = {"show_progress": "hidden", "api_visibility": "private"}
        # One change of a panel after the other: each starts from what the one before it left, and none is dropped.
        working = {
            **quiet,
            "concurrency_limit": 1,
            "concurrency_id": f"read-{elem_id}",
            "trigger_mode": "multiple",
        }
        inputs = [self.given, prior, self._stop]
        self._events = [
            self.files.upload(self._add_files, [self.files, *inputs], [*shown, self.files], **working),
            self._camera.input(self._add_picture, [self._camera, *inputs], [*shown, self._camera], **working),
            self._examples.select(self._take_example, inputs, shown, **working),
            self._cards.edit(self._edit, [self.given, prior], shown, **working),
            self._clear.click(self._cleared, [prior], shown, **working),
            prior.change(self._read_again, inputs, shown, **working),
        ]
        self._stop_button.click(lambda stop: stop.event.set(), self._stop, None, queue=False, **quiet)

    def then(self, fn: Callable, inputs: Sequence, outputs: Sequence, **options) -> list:
        """Run `fn` after each change of the evidence (not while it is still being read)."""
        return [event.then(fn, inputs, outputs, **options) for event in self._events]

    def _add_files(self, files: list[str] | None, given: Given, prior: str, stop: Stop) -> Iterator[tuple]:
        """Files were dropped: a saved posterior takes the evidence's place, images are added one by one."""
        files = files or []
        posteriors = [file for file in files if file.lower().endswith(".safetensors")]
        if posteriors:
            yield (*self._show(self._load_posterior(posteriors[0], prior)), None)
            return
        for shown in self._add(list(files), replace(given, example=None), prior, stop):
            yield (*shown, None)

    def _add_picture(self, image: Image.Image | None, given: Given, prior: str, stop: Stop) -> Iterator[tuple]:
        if image is None:
            yield (*self._show(given), None)
            return
        image.filename = f"picture {len(given.evidence) + 1}"
        for shown in self._add([image], given, prior, stop):
            yield (*shown, None)

    def _take_example(self, given: Given, prior: str, stop: Stop, event: gr.EventData) -> Iterator[tuple]:
        """One click replaces what is there: an example is a thing to look at, not to mix."""
        key = str(event._data.get("example"))
        if key not in example_sets():
            raise gr.Error("There is no such example set.", print_exception=False)
        files = list(example_sets()[key].files)
        for read in self._read(files, Given(prior), prior, stop):
            yield self._show(read, stopping=True)
        yield self._show(replace(read, example=key if len(read.evidence) == len(files) else None))

    def open(self, key: str, prior: str) -> tuple:
        """Values for `outputs` that show an example set, as when a shared link names one; an unknown key shows none."""
        if key not in example_sets():
            return self._show(Given(prior))
        *_, read = self._read(list(example_sets()[key].files), Given(prior), prior, Stop())
        return self._show(replace(read, example=key))

    @property
    def outputs(self) -> list[gr.components.Component]:
        """The components that `open` fills."""
        return [self.given, self._cards, self.status, self._stop_button, self.example]

    def _read_again(self, given: Given, prior: str, stop: Stop) -> Iterator[tuple]:
        """Another prior: the evidence is aligned to its frame and inverted through it anew."""
        again = Given(prior)
        for again in self._read(list(given.sources), Given(prior), prior, stop):
            yield self._show(again, stopping=True)
        yield self._show(replace(again, example=given.example))

    def _add(self, sources: list[Source], given: Given, prior: str, stop: Stop) -> Iterator[tuple]:
        room = MOST_IMAGES - len(given.evidence)
        if len(sources) > room:
            gr.Warning(f"Only {MOST_IMAGES} images fit: the last {len(sources) - room} are left out.")
        read = given
        for read in self._read(sources[:room], given, prior, stop):
            yield self._show(read, stopping=True)
        yield self._show(read)

    def _read(self, sources: list[Source], given: Given, prior: str, stop: Stop) -> Iterator[Given]:
        """Read and invert one source after the other, so that each is seen as soon as it is there."""
        engine = self._engine(prior)
        stop.event.clear()
        shown = 0.0
        for index, source in enumerate(sources):
            if stop.event.is_set():
                gr.Info(f"Stopped: {len(sources) - index} images were not read.")
                return
            given = given.added(engine.evidence([source])[0], source)
            # The page is told four times a second: cards are worth seeing early, not worth sending in each version.
            if time.monotonic() - shown > 0.25:
                shown = time.monotonic()
                yield given
        yield given

    def _edit(self, given: Given, prior: str, event: gr.EventData) -> tuple:
        """A card's control was used: remove, another crop, another weight."""
        action, index, value = (event._data.get(key) for key in ("action", "index", "value"))
        if not isinstance(index, int) or not 0 <= index < len(given.evidence):
            return self._show(given)  # the card of an image that is gone already
        image = given.evidence[index]
        if action == "remove":
            return self._show(given.removed(index))
        if action == "weight":
            try:
                weight = min(max(float(value), 0.0), 100.0)
            except (TypeError, ValueError):
                weight = 1.0
            weight = weight if weight == weight else 1.0
            return self._show(replace(given, evidence=given.evidence.replace(index, weight=weight), example=None))
        faces = {str(i): face for i, face in enumerate(image.picture.faces)} | {"whole": image.picture.whole}
        if action == "face" and faces.get(value) is not None:
            chosen = self._engine(prior).choose([(image.picture, faces[value])])[0]
            chosen = replace(chosen, weight=image.weight)
            return self._show(replace(given, evidence=given.evidence.put(index, chosen), example=None))
        return self._show(given)

    def _cleared(self, prior: str) -> tuple:
        return self._show(Given(prior))

    def _load_posterior(self, file: str, prior: str) -> Given:
        try:
            posterior = self._engine(prior).load_posterior(file)
        except (ValueError, OSError) as error:
            raise gr.Error(str(error), print_exception=False) from error
        return Given(prior, saved=posterior, saved_name=Path(file).name)

    def _engine(self, prior: str) -> Engine:
        try:
            return self._engines.get(prior)
        except (ValueError, OSError) as error:
            raise gr.Error(str(error), print_exception=False) from error

    def _show(self, given: Given, stopping: bool = False) -> tuple:
        return given, cards(given.evidence), _status(given), gr.update(visible=stopping), given.example or ""


def _status(given: Given) -> str:
    if given.saved is not None:
        m = given.saved.m
        return f"Saved posterior <b>{escape(given.saved_name)}</b>, m = {m:g}"
    if not len(given.evidence):
        return "No evidence yet: the samples come from the prior itself."
    used, total = len(given.evidence.used), len(given.evidence)
    return f"<b>{used} of {total}</b> images condition the posterior" if used < total else f"<b>m = {total}</b> images"


def _examples_html() -> str:
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
