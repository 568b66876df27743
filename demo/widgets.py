"""Components that Gradio does not have."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from transflow_core.limits import LAM_RATIO_SLIDER

from .events import on
from .queues import EXPORTS
from .session import Session
from .static import static

__all__ = ["download", "lam_update", "log_slider", "status_line", "track"]

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


def log_slider(value: float = 0.5, *, name: str, elem_id: str, **options: Any) -> gr.HTML:
    """A slider for λ/m from 0.01 to 10 on a logarithmic scale; with the band [0.3, 0.7] marked, which the paper advises
    for its own manner of drawing, once `lam_update` says so.

    Its value is λ/m itself. `input` fires while it moves, `release` when it is let go (or a key was pressed).
    """
    # A function and not a subclass of gr.HTML: Gradio would write a stub file beside the module of a subclass.
    return gr.HTML(
        value,
        # It holds no value: nothing is drawn anew under a finger that drags.
        html_template='<div class="log-slider ${advice}"><div class="row"><label for="${range_id}">${name}</label>'
        f'<output for="${{range_id}}"></output></div>{track("${range_id}")}</div>',
        js_on_load=static("log_slider.js"),
        elem_id=elem_id,
        label=name,
        **_props(name, elem_id),
        **options,
    )


def lam_update(
    name: str, elem_id: str, *, value: float | None = None, advised: bool = False, **options: Any
) -> dict[str, Any]:
    """An update of a `log_slider`: its name, whether the paper's advice is marked; its value where one is given."""
    changes: dict[str, Any] = {**options, **_props(name, elem_id, advised)}
    return gr.update(**changes) if value is None else gr.update(value=value, **changes)


def _props(name: str, elem_id: str, advised: bool = False) -> dict[str, str]:
    """What the template reads. An update replaces all of it: one that is left out would be undefined."""
    return {"name": name, "range_id": f"{elem_id}-range", "advice": "advised" if advised else "plain"}


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
