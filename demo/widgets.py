"""Components that Gradio does not have."""

import math

import gradio as gr

__all__ = ["log_slider", "renamed"]

_LOW, _HIGH = 0.01, 10.0
_BAND = (0.3, 0.7)  # the paper's recommendation, section 3.3


def _place(value: float) -> float:
    return 100 * (math.log10(value) - math.log10(_LOW)) / (math.log10(_HIGH) - math.log10(_LOW))


# The range input works in log10. Its template holds no value: nothing is drawn anew under a finger that drags.
_TEMPLATE = (
    """
<div class="log-slider">
 <div class="row"><label for="${range_id}">${name}</label><output for="${range_id}"></output></div>
 <div class="track">
  <div class="band" style="left: BAND_LOW%; width: BAND_WIDTH%" title="recommended: 0.3 to 0.7"></div>
  <input type="range" id="${range_id}" min="-2" max="1" step="0.01">
 </div>
 <div class="scale" aria-hidden="true">TICKS</div>
</div>
""".replace("BAND_LOW", f"{_place(_BAND[0]):.2f}")
    .replace("BAND_WIDTH", f"{_place(_BAND[1]) - _place(_BAND[0]):.2f}")
    .replace(
        "TICKS",
        "".join(f'<span style="left: {_place(v):.2f}%">{v:g}</span>' for v in (0.01, 0.03, 0.1, 0.3, 0.7, 2, 10)),
    )
)

_JS = """
const text = v => v < 0.1 ? v.toFixed(3) : v < 1 ? v.toFixed(2) : v.toFixed(1);
const show = () => {
  const input = element.querySelector('input'), at = Math.log10(props.value);
  if (Math.abs(parseFloat(input.value) - at) > 0.006) input.value = at;
  const recommended = props.value >= 0.295 && props.value <= 0.705 ? ' (recommended)' : '';
  element.querySelector('output').textContent = text(props.value) + recommended;
  input.setAttribute('aria-valuetext', text(props.value) + recommended);
};
show();
watch('value', show);
const take = event => {
  if (!event.target.matches('input[type=range]')) return;
  props.value = Number(Math.pow(10, parseFloat(event.target.value)).toPrecision(3));
  show();
  trigger(event.type === 'input' ? 'input' : 'release');
};
element.addEventListener('input', take);
element.addEventListener('change', take);
"""


def log_slider(value: float = 0.5, *, name: str, elem_id: str, **options) -> gr.HTML:
    """A slider for λ/m from 0.01 to 10 on a logarithmic scale, with the recommended band [0.3, 0.7] marked.

    Its value is λ/m itself. `input` fires while it moves, `release` when it is let go (or a key was pressed).
    """
    # A function and not a subclass of gr.HTML: Gradio would write a stub file beside the module of a subclass.
    return gr.HTML(
        value,
        html_template=_TEMPLATE,
        js_on_load=_JS,
        elem_id=elem_id,
        label=name,
        **_props(name, elem_id),
        **options,
    )


def renamed(name: str, elem_id: str, visible: bool) -> dict:
    """An update of a `log_slider`: another name, shown or not."""
    return gr.update(visible=visible, **_props(name, elem_id))


def _props(name: str, elem_id: str) -> dict[str, str]:
    """What the template reads. An update replaces all of it: one that is left out would be undefined."""
    return {"name": name, "range_id": f"{elem_id}-range"}
