"""The scrubber and its strips: one element that moves inside the browser, without a request to the server."""

from __future__ import annotations

from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from transflow_core.images import contact_sheet, enlarge

from ..render import data_uri
from ..static import static
from .decoding import Result
from .paths import LatentPath

__all__ = ["player", "player_value"]


def player(elem_id: str) -> gr.HTML:
    """A stage with a slider and a play button above labelled strips. Its value is a `player_value`, or None."""
    # The template has no value: its elements stay, so that a new picture neither moves the page nor loses the focus.
    return gr.HTML(
        None,
        html_template=static("player.html"),
        js_on_load=static("sprite.js") + static("player.js"),
        elem_id=elem_id,
        label="From A to B",
    )


def player_value(result: Result, ends: tuple[str, str]) -> dict[str, Any]:
    """The value for the browser: one sprite with every frame, and one picture for each strip.

    Args:
        result: the result; the names of its cells are below the stage.
        ends: names of A and B.
    """
    frames = result.frames
    count, cells, side = frames.shape[:3]
    # Lanczos at twice the size, once: a browser would show blocks or blur.
    size = side * max(1, 128 // side)
    rows = [np.concatenate(list(frame), axis=1) for frame in frames]
    sprite = Image.fromarray(np.concatenate(rows, axis=0))
    if size != side:
        # Each picture by itself, so that no edge has colours of its neighbour.
        enlarged = Image.new("RGB", (cells * size, count * size))
        for i in range(count):
            for j in range(cells):
                enlarged.paste(enlarge(Image.fromarray(frames[i, j]), size), (j * size, i * size))
        sprite = enlarged
    return {
        "sprite": data_uri(sprite, quality=90),
        "frames": count,
        "cells": cells,
        "size": size,
        "labels": result.cell_names,
        "a": ends[0],
        "b": ends[1],
        "strips": [_strip(path, images, ends) for path, images in zip(result.paths, result.strips, strict=True)],
    }


def _strip(path: LatentPath, images: NDArray[np.uint8], ends: tuple[str, str]) -> dict[str, Any]:
    steps, n = images.shape[:2]
    pictures = [Image.fromarray(images[step, draw]) for draw in range(n) for step in range(steps)]
    sheet = contact_sheet(pictures, columns=steps, cell=max(64, min(128, 1600 // steps)), gap=2, background="#808080")
    return {
        "title": path.title,
        "caption": path.caption,
        "src": data_uri(sheet),
        "width": sheet.width,
        "height": sheet.height,
        "labels": ["0", *(f"{i / (steps - 1):.2f}" for i in range(1, steps - 1)), "1"],
        "alt": f"{path.title}: {n} draw{'s' * (n > 1)} at {steps} steps from {ends[0]} to {ends[1]}",
    }
