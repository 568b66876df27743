"""Controls of a recipe: sliders, the sampling method, code to copy, buttons that make a file."""

from __future__ import annotations

import contextvars
import math
import time
from collections.abc import Callable, Container, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from html import escape
from queue import SimpleQueue
from typing import Any, Literal, NamedTuple, TypeVar, get_args, get_origin

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from transflow_core.engine import Engine
from transflow_core.images.output import writes_mp4
from transflow_core.limits import LAM_RATIO_SLIDER, Range, choice
from transflow_core.posterior import Posterior, resolve
from transflow_core.recipes import NUMBERS, Method, Recipe, bounds, kinds, ordered, within
from transflow_core.runtime.worker import Cancelled

from .render import progress
from .server.admission import EXPORTS, CancelToken
from .server.events import Updates, on
from .server.priors import Engines
from .server.state import Session
from .static import static

T = TypeVar("T")
_BAND = (0.3, 0.7)  # the paper's recommendation, section 3.3
_TICKS = (0.01, 0.03, 0.1, 0.3, 0.7, 2, 10)
_LOW, _HIGH = math.log10(LAM_RATIO_SLIDER.low), math.log10(LAM_RATIO_SLIDER.high)


class Model(NamedTuple):
    """The model that a part of the page works with.

    Attributes:
        engines: the priors that the page serves.
        prior: the component with the name of the visitor's prior.
        changed: the events when another prior was chosen, or the part was opened.
    """

    engines: Engines
    prior: Component
    changed: Sequence[Any]


def controls(model: type[Recipe], placed: Container[str]) -> dict[str, Component]:
    """Build a control for every parameter of a recipe that is not placed: a new parameter needs no line of the page.

    Returns the controls by the name of their parameter.
    """
    return {name: _control(model, name) for name in ordered(model) if name not in placed}


def _control(model: type[Recipe], name: str) -> Component:
    field, (kind, *_) = model.model_fields[name], kinds(model.model_fields[name])
    label = name.replace("_", " ").capitalize()
    how: dict[str, Any] = {"value": field.default, "label": label, "info": field.description, "elem_id": f"more-{name}"}
    least, most = bounds(field)
    if kind is bool:
        return gr.Checkbox(**how)
    if get_origin(kind) is Literal:
        return gr.Radio([str(word) for word in get_args(kind)], **how)
    if kind is float and None not in (least, most):
        return gr.Slider(least, most, step=(most - least) / 100, **how)
    if kind in (int, float):
        return gr.Number(minimum=least, maximum=most, precision=0 if kind is int else None, **how)
    return gr.Textbox(**how)


def filled_in(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of fields that are not empty: for the others, the defaults of the recipe are valid."""
    return {name: value for name, value in values.items() if value is not None}


# Sliders ---------------------------------------------------------------------------------------------------------
# Ours, because Gradio's has no event while it moves by touch, no two names of its ends, and no logarithmic scale.


def _position(value: float) -> float:
    """The position of λ/m on the scale, in per cent of its length."""
    return 100 * (math.log10(value) - _LOW) / (_HIGH - _LOW)


def on_slider(lam_ratio: float) -> float:
    """The nearest λ/m that a slider has."""
    return min(max(lam_ratio, LAM_RATIO_SLIDER.low), LAM_RATIO_SLIDER.high)


def track(range_id: str) -> str:
    """The range input of a slider for λ/m, which works in log10, with the recommended band and a scale, as HTML."""
    ticks = "".join(f'<span style="left: {_position(v):.2f}%">{v:g}</span>' for v in _TICKS)
    start, end = map(_position, _BAND)
    return (
        f'<div class="track"><div class="band" style="left: {start:.2f}%; width: {end - start:.2f}%" '
        f'title="recommended: {_BAND[0]} to {_BAND[1]}"></div>'
        f'<input type="range" id="{range_id}" min="{_LOW:g}" max="{_HIGH:g}" step="0.01"></div>'
        f'<div class="scale" aria-hidden="true">{ticks}</div>'
    )


def log_slider(value: float, *, name: str, elem_id: str, **options: Any) -> gr.HTML:
    """A slider for λ/m from 0.01 to 10 on a logarithmic scale.

    Its value is λ/m itself. `input` fires while it moves, unless a sprite in the page shows the samples
    (`static/sheet.js`); then it fires when the slider rests. `release` fires when the user lets go, or after a key.
    `gr.update(advised=True)` marks what the paper advises for its own method; `gr.update(name=…)` renames it.
    """
    # A function and not a subclass of gr.HTML: Gradio would write a stub file beside the module of a subclass.
    return _slider(value, track(f"{elem_id}-range"), name, elem_id, "", options)


def slider(
    value: float,
    within: Range,
    *,
    step: float,
    name: str,
    elem_id: str,
    far: str = "",
    unit: str = "",
    sign: str = "",
    texts: Sequence[str] = (),
    **options: Any,
) -> gr.HTML:
    """A slider with the ends and events of a `log_slider`, for any other number.

    With the unit "%" it shows 0.5 as 50 %. An update may change its maximum: `gr.update(most=…)`.

    Args:
        name: at its left; of its low end, where `far` names the other.
        sign: before the number, such as "λ/m ".
        texts: what it shows in the place of its number, evenly from its low to its high end. Until the user moves it,
            it shows that of the last update, if any: `gr.update(text=…)`.
    """
    ends = f'min="{within.low:g}" max="{within.high:g}" step="{step:g}" data-sign="{sign}"'
    named = f'data-texts="{" ".join(texts)}"' if texts else ""
    range_input = f'<input type="range" id="{elem_id}-range" data-unit="{unit}" {ends} {named}>'
    return _slider(value, range_input, name, elem_id, far, options)


def _slider(value: float, range_input: str, name: str, elem_id: str, far: str, options: dict[str, Any]) -> gr.HTML:
    if far:  # a screen reader reads both ends
        range_input = range_input.replace("<input ", f'<input aria-label="{name} ↔ {far}" ', 1)
    return gr.HTML(
        value,
        # The template has no value that changes, so that nothing is replaced under a finger that drags. A part that an
        # update leaves out is undefined for the script, which leaves it as it is.
        html_template=f'<div class="own-slider"><div class="row"><label for="{elem_id}-range">{name}</label>'
        f'<output for="{elem_id}-range"></output><span>{far}</span></div>{range_input}</div>',
        js_on_load=static("slider.js"),
        elem_id=elem_id,
        label=name,
        **options,
    )


def number_slider(
    label: str, within: Range, value: float, *, elem_id: str, step: float = 1, **options: Any
) -> gr.Slider:
    """Gradio's slider, for a number that nothing follows while it moves."""
    options = {"min_width": 170} | options
    return gr.Slider(within.low, within.high, value, step=step, label=label, elem_id=elem_id, **options)


def integer(value: int, within: Range, **options: Any) -> gr.Number:
    """A field for a whole number."""
    return gr.Number(value, precision=0, minimum=within.low, maximum=within.high, **options)


# The method ------------------------------------------------------------------------------------------------------

TITLES = {
    "local": "New members of the set",
    "bootstrap": "Blends of a few",
    "posterior": "The paper's posterior of the mean",
}
_HELP = {
    "local": "Each part of a sample mixes several of your images, with its own weights.",
    "bootstrap": "Each sample averages a few of your images. With fewer, samples are crisper, but nearly copies.",
    "posterior": "The paper's method. Samples show only what all your images share.",
}
_DEFAULT = Method(method="local").filled()
_FEWEST, _MOST = 2, 20  # images of a sample: a slider from 1 to 1 cannot be moved; before the evidence is known


def recommended(posterior: Posterior | None, engine: Engine) -> tuple[Method, str]:
    """The method that suits the evidence, and the reason; without evidence, the default."""
    return (_DEFAULT, "") if posterior is None else resolve(Method(), posterior, engine.looks)


class MethodControls:
    """Build three methods, the numbers of the chosen one, and "choose for me" inside the current Blocks.

    Args:
        elem_id: prefix of the ids of its components.

    Attributes:
        kind, auto: the method, and whether it is chosen for the evidence.
        likeness: its slider of that number.
        sliders: those of its own numbers, for previews.
        inputs: the components whose values `read` takes, in order; λ/m is not among them.
    """

    def __init__(self, elem_id: str) -> None:
        self._lams: Sequence[gr.HTML] = ()
        with gr.Column(elem_id=elem_id, elem_classes="method"):
            self.kind = gr.Radio(
                [(title, kind) for kind, title in TITLES.items()],
                value=_DEFAULT.method,
                label="Draw samples",
                show_label=False,
                container=False,
                elem_id=f"{elem_id}-kind",
            )
            self.auto = gr.Checkbox(True, label="Choose for me", elem_id=f"{elem_id}-auto", container=False)
            text = _reason(_DEFAULT.method)
            self._reason = gr.HTML(text, elem_id=f"{elem_id}-reason", elem_classes="status", label="The method")
            with gr.Row():
                self.likeness = slider(
                    NUMBERS["local"]["likeness"],
                    within(Method, "likeness"),
                    step=0.01,
                    name="newer",
                    far="closer to your images",
                    elem_id=f"{elem_id}-likeness",
                    unit="%",
                    min_width=220,
                )
                self._per_sample = slider(
                    NUMBERS["bootstrap"]["images_per_sample"],
                    Range(1, _MOST),
                    step=0.5,
                    name="Images in one sample",
                    elem_id=f"{elem_id}-images-per-sample",
                    visible=False,
                    min_width=220,
                )
        self.sliders = [self.likeness, self._per_sample]
        self.inputs: list[Component] = [self.auto, self.kind, *self.sliders]

    def wire(self, lams: Sequence[gr.HTML], more: Sequence[Any] = ()) -> None:
        """A user who moves anything turns "choose for me" off.

        Args:
            lams: the sliders of λ/m that belong to the method.
            more: other events that turn it off.
        """
        self._lams = lams
        on([*(one.input for one in (*self.sliders, *lams)), *more], None, (), self.auto, js="() => false")

    @property
    def outputs(self) -> list[Component]:
        """The components that `shown` updates."""
        return [*self.inputs, self._reason, *self._lams]

    @staticmethod
    def read(values: Sequence[Any], lam_ratio: Any) -> Method:
        """The method of the controls. Raises ValueError in one sentence for a value that is not valid."""
        _, kind, likeness, per_sample = values
        numbers = {"local": {"likeness": likeness}, "bootstrap": {"images_per_sample": per_sample}}
        method = choice(kind, "the sampling method", TITLES)
        return Method.checked({"method": method, "lam_ratio": lam_ratio, **numbers.get(method, {})})

    def shown(self, method: Method, reason: str | None = None, m: float | None = None) -> Updates:
        """The controls at a method.

        Args:
            method: with its numbers.
            reason: why it was chosen for the evidence. None turns "choose for me" off.
            m: images of the evidence, where they are known: the maximum of a slider.
        """
        few = method.images_per_sample or NUMBERS["bootstrap"]["images_per_sample"]
        likeness = _DEFAULT.likeness if method.likeness is None else method.likeness
        most = _most(m)
        values: Updates = {
            self.auto: reason is not None,
            self.kind: method.method,
            self._reason: _reason(method.method, reason),
            self.likeness: gr.update(value=likeness, visible=method.method == "local"),
            self._per_sample: gr.update(most=most, value=min(few, most), visible=method.method == "bootstrap"),
        }
        ratio = method.lam_ratio
        for lam in self._lams:
            values[lam] = gr.update(advised=method.method == "posterior" and not isinstance(ratio, tuple))
            if ratio is not None and not isinstance(ratio, tuple):
                values[lam]["value"] = on_slider(ratio)
        return values

    def limited(self, m: float) -> Updates:
        """The sliders, with the images of the evidence as their maximum."""
        return {self._per_sample: gr.update(most=_most(m))}

    def picked(self, session: Session, kind: str) -> Updates:
        """The user picked a method, which brings its own numbers along."""
        method = Method.checked({"method": choice(kind, "the sampling method", TITLES)})
        return self.shown(method.filled())


def description_of(method: Method) -> str:
    """A short description of a method, without its λ/m: `new members of the set, likeness 90 %`."""
    title = TITLES.get(method.method, method.method)
    parts = [title[0].lower() + title[1:]]
    if method.likeness is not None:
        parts.append(f"likeness {100 * method.likeness:.3g} %")
    if method.images_per_sample is not None:
        parts.append(f"{method.images_per_sample:g} images each")
    return ", ".join(parts)


def _most(m: float | None) -> float:
    """The maximum of the slider of images in a sample."""
    return _MOST if m is None else max(_FEWEST, m)


def _reason(kind: str, reason: str | None = None) -> str:
    """What a method does, and why it was chosen, which the page hides once the user chooses (`page.css`)."""
    chosen = f" <span><b>Chosen for you:</b> {escape(reason)}</span>" if reason else ""
    return f"<code>{kind}</code>: {escape(_HELP[kind])}{chosen}"


# Text and files --------------------------------------------------------------------------------------------------


def code(language: Literal["python", "shell", "json"], *, label: str, elem_id: str, **options: Any) -> gr.Code:
    """Code to copy. Gradio's own button to download it is a link around a button, too small for a finger."""
    return gr.Code(language=language, label=label, elem_id=elem_id, buttons=["copy"], **options)


def code_pair(prefix: str = "") -> tuple[gr.Code, gr.Code]:
    """The code of a result, as Python and as commands, in an accordion."""
    with gr.Accordion("The same as code", open=False, elem_id=f"{prefix}code"):
        python = code("python", label="Python", elem_id=f"{prefix}python", wrap_lines=True)
        return python, code("shell", label="Command line", elem_id=f"{prefix}shell", wrap_lines=True)


def relay(event: str) -> gr.HTML:
    """Values of the server for a script of the page: each becomes the `detail` of an event of the document."""
    script = f"watch('value', () => document.dispatchEvent(new CustomEvent('{event}', {{detail: props.value}})))"
    return gr.HTML(None, js_on_load=script, visible="hidden", label=event)


def status_line(value: str, *, elem_id: str, **options: Any) -> gr.HTML:
    """A line of status. A screen reader reads its changes."""
    role = "element.setAttribute('role', 'status')"
    return gr.HTML(value, js_on_load=role, elem_id=elem_id, elem_classes="status", **options)


QUICK = 0.5
"""Seconds of work without a bar."""


class Working:
    """A line of status, and while something runs a button that cancels the requests of a part of the page, `part`,
    which is also the prefix of their ids."""

    def __init__(self, part: str, value: str = "") -> None:
        self.part = part
        self.output = status_line(value, elem_id=f"{part}-status")
        stop = gr.Button("Stop", variant="stop", size="sm", min_width=80, scale=0, elem_id=f"{part}-stop")
        on(stop.click, lambda session: session.cancel(part), queue=False)

    def says(self, text: str, running: bool = False) -> Updates:
        """A status as HTML, and whether there is something to stop: `page.css` shows the button beside the mark
        "working" alone, which the page takes away where the line breaks (`stream.js`)."""
        return {self.output: f'<span class="working">{text}</span>' if running else text}

    def clear(self, session: Session) -> Updates:
        """No words about what is gone, while nothing runs."""
        return {} if session.busy(self.part) else self.says("")

    def run(
        self, work: Callable[..., T], cancel: CancelToken, engine: Engine, what: str
    ) -> Generator[Updates, None, T | None]:
        """`work(progress=…, cancel=…)` with a bar of how many pictures, `what`, are done. None if it was cancelled, as
        it is where nobody goes on with this generator."""
        started, done, total = time.perf_counter(), 0, 0
        context, said = contextvars.copy_context(), SimpleQueue[tuple[int, int] | None]()
        with ThreadPoolExecutor(1) as thread:
            how: dict[str, Any] = {"progress": lambda done, total, _: said.put((done, total)), "cancel": cancel}
            result = thread.submit(context.run, partial(work, **how))
            result.add_done_callback(lambda _: said.put(None))
            try:
                while (now := said.get()) is not None:
                    (done, total), seconds = now, time.perf_counter() - started
                    if seconds > QUICK:
                        yield self.says(progress(done, total, seconds, engine.ahead, what), True)
                return result.result()
            except GeneratorExit:
                cancel.set()
                raise
            except Cancelled:
                if cancel.by_user:  # a newer request has a status of its own
                    yield self.says(f"Stopped after {done} of {total} {what}.")
                return None
            except Exception:  # its message is shown apart
                yield self.says("")
                raise


ANIMATIONS = {"gif": "Save GIF", "webp": "Save WebP", **({"mp4": "Save video (MP4)"} if writes_mp4() else {})}
"""The label of the button for each kind of a picture that moves."""
# The user pressed the button already, so the browser downloads the file at once.
_DOWNLOAD_JS = (
    "file => file && Object.assign(document.createElement('a'), {href: file.url, download: file.orig_name}).click()"
)


def on_download(
    trigger: Any,
    make: Callable[..., Any],
    inputs: Any = (),
    *,
    elem_id: str,
    outputs: Sequence[Component] = (),
    **options: Any,
) -> None:
    """Make a file when something happens. The browser downloads it then.

    Args:
        trigger: such as `button.click`.
        make: `make(session, *inputs)` writes the file and returns its path. Raises ValueError with a message when there
            is nothing to download. A generator yields updates of `outputs`, and returns None if it was stopped.
        inputs: components, or one.
        elem_id: of the file.
        options: as for `on`.
    """
    file = gr.DownloadButton(visible="hidden", elem_id=elem_id)

    def made(session: Session, *values: Any) -> Iterator[Updates]:
        yield {file: None}
        with (yield EXPORTS.request(session.id)):
            path = make(session, *values)
        path = (yield from path) if isinstance(path, Generator) else path
        yield {file: path and str(path)}

    send(on(trigger, made, inputs, [file, *outputs], **options), file)


def send(written: Sequence[Dependency], file: gr.DownloadButton) -> None:
    """The browser downloads a file once it is written."""
    for one in written:
        one.success(None, file, None, js=_DOWNLOAD_JS, api_visibility="private")


def download(
    label: str,
    make: Callable[..., Any],
    inputs: Any = (),
    *,
    elem_id: str,
    outputs: Sequence[Component] = (),
    **options: Any,
) -> gr.Button:
    """A button that makes a file when it is clicked, see `on_download`. `options` are those of gr.Button."""
    button = gr.Button(label, elem_id=elem_id, **options)
    on_download(button.click, make, inputs, elem_id=f"{elem_id}-file", outputs=outputs)
    return button


def downloads(labels: Mapping[str, str], make: Callable[..., Any], *, prefix: str, **how: Any) -> None:
    """A row of `download` buttons, by kind of file: `make(kind, session)` writes the file."""
    with gr.Row(elem_id=f"{prefix}-exports"):
        for kind, label in labels.items():
            download(label, partial(make, kind), elem_id=f"{prefix}-get-{kind}", size="sm", min_width=120, **how)
