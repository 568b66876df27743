"""Components that Gradio does not have."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import gradio as gr

from transflow_core.limits import LAM_RATIO_SLIDER, Range

from .events import on
from .queues import EXPORTS
from .session import Session
from .static import static

__all__ = ["code", "download", "drop_zone", "log_slider", "relay", "slider", "status_line", "track", "whole_number"]

_BAND = (0.3, 0.7)  # the paper's recommendation, section 3.3
_TICKS = (0.01, 0.03, 0.1, 0.3, 0.7, 2, 10)


def _place(value: float) -> float:
    """Where λ/m stands on the scale, in per cent of its length."""
    low, high = math.log10(LAM_RATIO_SLIDER.low), math.log10(LAM_RATIO_SLIDER.high)
    return 100 * (math.log10(value) - low) / (high - low)


def track(range_id: str, attributes: str = "") -> str:
    """The range input of a slider for λ/m, which works in log10, with the recommended band and a scale, as HTML."""
    ticks = "".join(f'<span style="left: {_place(v):.2f}%">{v:g}</span>' for v in _TICKS)
    low, high = math.log10(LAM_RATIO_SLIDER.low), math.log10(LAM_RATIO_SLIDER.high)
    return (
        f'<div class="track"><div class="band" style="left: {_place(_BAND[0]):.2f}%; '
        f'width: {_place(_BAND[1]) - _place(_BAND[0]):.2f}%" title="recommended: 0.3 to 0.7"></div>'
        f'<input type="range" id="{range_id}" {attributes} min="{low:g}" max="{high:g}" step="0.01"></div>'
        f'<div class="scale" aria-hidden="true">{ticks}</div>'
    )


def log_slider(
    value: float = 0.5, *, name: str, elem_id: str, far: str = "", sign: str = "", **options: Any
) -> gr.HTML:
    """A slider for λ/m from 0.01 to 10 on a logarithmic scale; with the band [0.3, 0.7] marked, which the paper advises
    for its own method, once `gr.update(advised=True)` says so; `gr.update(name=…)` renames it.

    Its value is λ/m itself. `input` fires while it moves, unless a sprite in the page serves it (`static/sheet.js`);
    then `pause` does when it rests. `release` fires when it is let go (or a key was pressed).

    Args:
        value: λ/m.
        name: at its left; of its low end where there is a name for the other.
        elem_id: the component's.
        far: what its high end means.
        sign: before the number, such as "λ/m ".
    """
    # A function and not a subclass of gr.HTML: Gradio would write a stub file beside the module of a subclass.
    range_input = track(f"{elem_id}-range", f'data-sign="{sign}"')
    return _slider(value, range_input, name, elem_id, far, options)


def slider(
    value: float, within: Range, *, step: float, name: str, elem_id: str, far: str = "", unit: str = "", **options: Any
) -> gr.HTML:
    """A slider with the ends and events of a `log_slider`, for any other number. Its value is not checked here.

    An update may move its end: `gr.update(most=…)`.
    """
    range_input = (
        f'<input type="range" id="{elem_id}-range" data-unit="{unit}" min="{within.low:g}" max="{within.high:g}" '
        f'step="{step:g}">'
    )
    return _slider(value, range_input, name, elem_id, far, options)


def _slider(value: float, range_input: str, name: str, elem_id: str, far: str, options: dict[str, Any]) -> gr.HTML:
    if far:  # who hears it hears both ends
        range_input = range_input.replace("<input ", f'<input aria-label="{name} ↔ {far}" ', 1)
    return gr.HTML(
        value,
        # It holds nothing that changes: nothing is drawn anew under a finger that drags. What an update leaves out is
        # undefined for the script, which leaves it as it is.
        html_template=f'<div class="own-slider"><div class="row"><label for="{elem_id}-range">{name}</label>'
        f'<output for="{elem_id}-range"></output><span>{far}</span></div>{range_input}</div>',
        js_on_load=static("slider.js"),
        elem_id=elem_id,
        label=name,
        **options,
    )


def whole_number(value: int, within: Range, *, label: str, elem_id: str, min_width: int) -> gr.Number:
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


def drop_zone(label: str, file_types: Sequence[str], *, elem_id: str, height: int) -> tuple[gr.File, gr.Image]:
    """Where files are dropped, `{elem_id}-files`, and below it the camera and the clipboard, `{elem_id}-camera`."""
    files = gr.File(
        label=label,
        file_count="multiple",
        file_types=list(file_types),
        height=height,
        elem_id=f"{elem_id}-files",
        elem_classes="takes-files",
    )
    with gr.Accordion("Webcam or clipboard", open=False):
        # As a file: Gradio would decode it before it met any limit.
        camera = gr.Image(
            sources=["webcam", "clipboard"],
            type="filepath",
            image_mode=None,
            label="One picture",
            height=240,
            buttons=[],  # it is taken at once; and nothing is shared through somebody else's server
            elem_id=f"{elem_id}-camera",
        )
    return files, camera


def code(language: Literal["python", "shell", "json"], *, label: str, elem_id: str, **options: Any) -> gr.Code:
    """Code to take along. Gradio's button that downloads it is a link around a button, too small for a finger."""
    return gr.Code(language=language, label=label, elem_id=elem_id, buttons=["copy"], **options)


def relay(event: str) -> gr.HTML:
    """What the server says to a script of the page: each value becomes the `detail` of an event of the document."""
    return gr.HTML(None, js_on_load=static("relay.js").replace("$EVENT", event), visible="hidden", label=event)


def status_line(value: str, *, elem_id: str, **options: Any) -> gr.HTML:
    """A line that says what is going on; what changes in it is read out to those who cannot see it."""
    return gr.HTML(
        value, js_on_load="element.setAttribute('role', 'status')", elem_id=elem_id, elem_classes="status", **options
    )


# The file itself is handed over: the browser takes it at once, since it was written because it was asked for.
_TAKE_JS = """
file => {
  const link = Object.assign(document.createElement('a'), {href: file.url, download: file.orig_name});
  document.body.append(link);
  link.click();
  link.remove();
}
"""


def download(label: str, make: Callable[..., Path], inputs: Any = (), *, elem_id: str, **options: Any) -> gr.Button:
    """A button whose file is made when it is clicked, and taken by the browser then.

    Args:
        label: on the button.
        make: `make(session, *inputs)` writes the file and gives its path. Raises ValueError, with words, when there is
            nothing to take.
        inputs: components, or one.
        elem_id: the button's.
        options: as for gr.Button.
    """
    button = gr.Button(label, elem_id=elem_id, **options)
    file = gr.DownloadButton(label, visible="hidden", elem_id=f"{elem_id}-file")

    def made(session: Session, *values: Any) -> dict:
        with EXPORTS.turn(session.id):
            return {file: str(make(session, *values))}

    for written in on(button.click, made, inputs, file):
        written.success(None, file, None, js=_TAKE_JS, api_visibility="private")
    return button
