"""Controls for the parameters of a recipe that no tab places: a new parameter needs no line of the page."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any, Literal, get_args, get_origin

import gradio as gr
from gradio.components import Component

from transflow_core.recipes import Recipe, bounds, kinds, ordered, within

__all__ = ["checked", "controls"]


def controls(model: type[Recipe], placed: Container[str]) -> dict[str, Component]:
    """Build a control for every other parameter of a recipe inside the current Blocks.

    Args:
        model: the recipe.
        placed: the names of the parameters that have a control already.

    Returns the controls by the name of their parameter.
    """
    return {name: _control(model, name) for name in ordered(model) if name not in placed}


def _control(model: type[Recipe], name: str) -> Component:
    field, (kind, *_) = model.model_fields[name], kinds(model.model_fields[name])
    how: dict[str, Any] = {
        "value": field.default,
        "label": name.replace("_", " ").capitalize(),
        "info": field.description,
        "elem_id": f"more-{name}",
    }
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


def checked(model: type[Recipe], values: Mapping[str, object]) -> dict[str, Any]:
    """Untrusted values of controls, by parameter: a number out of range becomes the nearest.

    Raises ValueError for what is no number.
    """
    found: dict[str, Any] = {}
    for name, value in values.items():
        field = model.model_fields[name]
        if None not in bounds(field):
            value = within(model, name).clip(value, name)
            value = int(value) if int in kinds(field) else value
        found[name] = value
    return found
