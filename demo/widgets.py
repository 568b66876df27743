"""Components that Gradio does not have."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import gradio as gr

from transflow_core.limits import LAM_RATIO_SLIDER, Range

from .server.admission import EXPORTS
from .server.events import on
from .server.state import Session
from .static import static

__all__ = [
    "code",
    "code_pair",
    "download",
    "downloads",
    "drop_zone",
    "integer",
    "log_slider",
    "number_slider",
    "relay",
    "slider",
    "status_line",
    "track",
]

_BAND = (0.3, 0.7)  # the paper's recommendation, section 3.3
_TICKS = (0.01, 0.03, 0.1, 0.3, 0.7, 2, 10)


def _position(value: float) -> float:
    """The position of λ/m on the scale, in per cent of its length."""
    low, high = math.log10(LAM_RATIO_SLIDER.low), math.log10(LAM_RATIO_SLIDER.high)
    return 100 * (math.log10(value) - low) / (high - low)


def track(range_id: str, attributes: str = "") -> str:
    """The range input of a slider for λ/m, which works in log10, with the recommended band and a scale, as HTML."""
    ticks = "".join(f'<span style="left: {_position(v):.2f}%">{v:g}</span>' for v in _TICKS)
    low, high = math.log10(LAM_RATIO_SLIDER.low), math.log10(LAM_RATIO_SLIDER.high)
    return (
        f'<div class="track"><div class="band" style="left: {_position(_BAND[0]):.2f}%; '
        f'width: {_position(_BAND[1]) - _position(_BAND[0]):.2f}%" title="recommended: 0.3 to 0.7"></div>'
        f'<input type="range" id="{range_id}" {attributes} min="{low:g}" max="{high:g}" step="0.01"></div>'
        f'<div class="scale" aria-hidden="true">{ticks}</div>'
    )


def log_slider(
    value: float = 0.5, *, name: str, elem_id: str, far: str = "", sign: str = "", **options: Any
) -> gr.HTML:
    """A slider for λ/m from 0.01 to 10 on a logarithmic scale. After `gr.update(advised=True)` it marks the band [0.3,
    0.7], which the paper advises for its own method; `gr.update(name=…)` renames it.

    Its value is λ/m itself. `input` fires while it moves, unless a sprite in the page shows the samples
    (`static/sheet.js`); then `pause` fires when it rests. `release` fires when the user lets go, or after a key.

    Args:
        value: λ/m.
        name: at its left; of its low end, where `far` names the other.
        elem_id: the component's.
        far: the name of its high end.
        sign: before the number, such as "λ/m ".
    """
    # A function and not a subclass of gr.HTML: Gradio would write a stub file beside the module of a subclass.
    range_input = track(f"{elem_id}-range", f'data-sign="{sign}"')
    return _slider(value, range_input, name, elem_id, far, options)


def slider(
    value: float, within: Range, *, step: float, name: str, elem_id: str, far: str = "", unit: str = "", **options: Any
) -> gr.HTML:
    """A slider with the ends and events of a `log_slider`, for any other number. Its value is not checked here.

    An update may change its maximum: `gr.update(most=…)`.
    """
    range_input = (
        f'<input type="range" id="{elem_id}-range" data-unit="{unit}" min="{within.low:g}" max="{within.high:g}" '
        f'step="{step:g}">'
    )
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


def integer(value: int, within: Range, *, label: str, elem_id: str, min_width: int) -> gr.Number:
    """A field for a whole number."""
    return gr.Number(
        value,
        label=label,
        precision=0,
        minimum=within.low,
        maximum=within.high,
        elem_id=elem_id,
        min_width=min_width,
    )


def number_slider(
    label: str, within: Range, value: float, *, elem_id: str, step: float = 1, **options: Any
) -> gr.Slider:
    """Gradio's slider, for a number that nothing follows while it moves."""
    options = {"min_width": 140} | options
    return gr.Slider(within.low, within.high, value, step=step, label=label, elem_id=elem_id, **options)


def drop_zone(label: str, file_types: Sequence[str], *, elem_id: str, height: int) -> tuple[gr.File, gr.Image]:
    """The drop zone, `{elem_id}-files`, and below it the camera and the clipboard, `{elem_id}-camera`."""
    files = gr.File(
        label=label,
        file_count="multiple",
        file_types=list(file_types),
        height=height,
        elem_id=f"{elem_id}-files",
        elem_classes="takes-files",
    )
    with gr.Accordion("Webcam or clipboard", open=False):
        camera = gr.Image(
            sources=["webcam", "clipboard"],
            type="filepath",
            image_mode=None,
            label="One picture",
            height=240,
            buttons=[],  # the picture is added at once, and nothing is shared through another server
            elem_id=f"{elem_id}-camera",
        )
        # Gradio would open the stranger's file in this process, where no limit holds.
        camera.preprocess = lambda payload: payload and payload.path  # type: ignore[method-assign]
    return files, camera


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
    return gr.HTML(None, js_on_load=static("relay.js").replace("$EVENT", event), visible="hidden", label=event)


def status_line(value: str, *, elem_id: str, **options: Any) -> gr.HTML:
    """A line of status. A screen reader reads its changes."""
    return gr.HTML(
        value, js_on_load="element.setAttribute('role', 'status')", elem_id=elem_id, elem_classes="status", **options
    )


# The user pressed the button already, so the browser downloads the file at once.
_DOWNLOAD_JS = """
file => {
  const link = Object.assign(document.createElement('a'), {href: file.url, download: file.orig_name});
  document.body.append(link);
  link.click();
  link.remove();
}
"""


def download(label: str, make: Callable[..., Path], inputs: Any = (), *, elem_id: str, **options: Any) -> gr.Button:
    """A button that makes a file when it is clicked. The browser downloads it then.

    Args:
        label: on the button.
        make: `make(session, *inputs)` writes the file and returns its path. Raises ValueError with a message when there
            is nothing to download.
        inputs: components, or one.
        elem_id: the button's.
        options: as for gr.Button.
    """
    button = gr.Button(label, elem_id=elem_id, **options)
    file = gr.DownloadButton(label, visible="hidden", elem_id=f"{elem_id}-file")

    def made(session: Session, *values: Any) -> dict:
        with EXPORTS.enter(session.id):
            return {file: str(make(session, *values))}

    for written in on(button.click, made, inputs, file):
        written.success(None, file, None, js=_DOWNLOAD_JS, api_visibility="private")
    return button


def downloads(labels: Mapping[str, str], make: Callable[..., Path], *, prefix: str) -> None:
    """A row of `download` buttons, by kind of file: `make(kind, session)` writes the file."""
    with gr.Row(elem_id=f"{prefix}-exports"):
        for kind, label in labels.items():
            download(label, partial(make, kind), elem_id=f"{prefix}-get-{kind}", size="sm", min_width=120)
