"""The Interpolate tab: a path from one posterior to another, and both in one posterior."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import gradio as gr
import numpy as np
import torch
from gradio.components import Component
from gradio.events import Dependency
from numpy.typing import NDArray
from PIL import Image

from transflow_core.engine import Engine
from transflow_core.evidence import Evidence, EvidenceImage
from transflow_core.images import contact_sheet, enlarge, labelled_rows, save_animation, save_png, to_uint8, writes_mp4
from transflow_core.limits import MOST_DRAWS, STEPS_SLIDER, Range, choice, is_number
from transflow_core.operations import Result as MixResult
from transflow_core.posterior import Gaussian, Posterior, Recommendation, Sampler, interpolate, recommend
from transflow_core.recipes import NUMBERS, Condition, Method, Mix, within
from transflow_core.recipes import Interpolate as Recipe
from transflow_core.runtime.worker import Cancelled
from transflow_core.views import to_link, to_metadata

from ..controls import MethodControls, code_pair, download, downloads, integer, log_slider, number_slider, relay
from ..evidence_panel import EvidencePanel
from ..examples import example_sets, title_of
from ..render import data_uri, progress, sheet
from ..server.admission import CancelToken
from ..server.errors import message_of
from ..server.events import Updates, on
from ..server.priors import Engines
from ..server.state import Session
from ..snippet import Step, command_line, evidence_files, file_of, python_code
from ..static import static

__all__ = ["PATHS", "Decoding", "Interpolate", "link_to", "paths_of", "recipe_in", "recipe_of", "steps_of", "write"]

#: The name of each path on the page, by its key. "compare" is all three.
PATHS = {"linear": "Posterior", "wasserstein": "Wasserstein", "direct": "Direct", "compare": "Compare all"}
TAB = "interpolate"
POSTERIOR_FILES = {"a": "posterior_a.safetensors", "b": "posterior_b.safetensors"}
"""The ends as files to download, for evidence that files alone do not describe: weights, chosen faces."""
STRIP_FILE = "interpolation.png"
_Recipe = Recipe.limited(steps=STEPS_SLIDER.high, n=MOST_DRAWS)
_DEFAULT, _METHOD = _Recipe(), Method(method="local").filled()
_POINT, _PRIOR = (Method(method="posterior", lam_ratio=ratio) for ratio in (0.0, math.inf))
_TRY = ("greyscale", "red_hair")
_EXPORTS = {
    "png": "Strip (PNG)",
    "webp": "Animation (WebP)",
    "gif": "Animation (GIF)",
    **({"mp4": "Video (MP4)"} if writes_mp4() else {}),
    "a": "Posterior A",
    "b": "Posterior B",
}
# So many frames make a smooth scrubber: with more, faces of 64 pixels hardly differ from one to the next.
_FRAMES = 28
_QUICK = 0.5  # seconds without a progress bar
_MIXES = {"add": "More of both", "subtract": "A, and less like B", "move": "A, moved towards B"}
# In per cent. With more, nothing of most sets remains: at 60 the mean is 2.5 times as far from the origin.
_SHARE = Range(0, 60)
_Mix = Mix.limited(share=_SHARE.high / 100)


# The recipe of the page, and the path that its recipe has no name for -------------------------------------------------


def recipe_of(
    path: Any, lam_a: Any, lam_b: Any, steps: Any, n: Any, seed: Any, temperature: Any, method: Method = _METHOD
) -> Recipe:
    """The recipe of untrusted values. A path that only the page has is a straight line there.

    Raises ValueError, in one sentence, for a value out of its bounds.
    """
    interpolation = "wasserstein" if choice(path, "the path", PATHS) == "wasserstein" else "linear"
    same = lam_a == lam_b
    ratios = {"lam_ratio": lam_a if same else None}
    ratios |= {"lam_ratio_a": None if same else lam_a, "lam_ratio_b": None if same else lam_b}
    own = {"interpolation": interpolation, "steps": steps, "n": n, "seed": seed, "temperature": temperature}
    return _Recipe.checked(dict(method) | ratios | own)


def _ratios(recipe: Recipe) -> tuple[Any, Any]:
    """λ/m of A and of B."""
    a, b = (recipe.lam_ratio if one is None else one for one in (recipe.lam_ratio_a, recipe.lam_ratio_b))
    return a, b


def link_to(path: str, recipe: Recipe, a: Evidence, b: Evidence) -> str:
    """The address of a result: all but the user's own files."""
    values = {"tab": TAB, "a": a.example, "b": b.example, "prior": a.prior or b.prior}
    if path not in ("linear", "wasserstein"):  # two that the page alone has
        values["interpolation"] = path
    return "&".join(filter(None, (urlencode(values, safe="/"), to_link(recipe))))


def recipe_in(query: dict[str, str]) -> tuple[str, Recipe]:
    """The path and the recipe in an address, of this version or an earlier one. Raises ValueError for an invalid
    one."""
    texts = Recipe.upgrade({name: text for name, text in query.items() if name not in ("a", "b", "prior")})
    path = texts.pop("interpolation", "linear")
    recipe = Recipe.from_texts(texts)
    method = (recipe.choices if recipe.method != "auto" else _METHOD).filled()
    lam_a, lam_b = (method.lam_ratio if one is None else one for one in (recipe.lam_ratio_a, recipe.lam_ratio_b))
    if not (is_number(lam_a) and is_number(lam_b)):
        raise ValueError("A path has one λ/m at each end.")
    return path, recipe_of(path, lam_a, lam_b, recipe.steps, recipe.n, recipe.seed, recipe.temperature, method)


# Paths ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LatentPath:
    """One path from A to B.

    Attributes:
        key: "linear", "wasserstein" or "direct".
        caption: what the path does.
        ends: the posteriors of A and B, each with its sampling method. A single image is a posterior at λ = 0: a point.
        samplers: of the ends.
        n: draws; 1 where the ends are points.
    """

    key: str
    caption: str
    ends: tuple[tuple[Posterior, Method], tuple[Posterior, Method]]
    samplers: tuple[Sampler, Sampler]
    n: int

    @property
    def title(self) -> str:
        """Its name on the page."""
        return PATHS[self.key]

    @property
    def interpolation(self) -> Any:
        """The `interpolation` of the recipe."""
        return "wasserstein" if self.key == "wasserstein" else "linear"


def paths_of(path: str, recipe: Recipe, a: Evidence, b: Evidence, engine: Engine) -> tuple[list[LatentPath], list[str]]:
    """The requested paths, and notes about those that cannot be shown beside the others.

    A side without evidence is the prior. Raises ValueError, with a message for the page, if the one requested path is
    not possible.
    """
    keys = ["linear", "wasserstein", "direct"] if path == "compare" else [path]
    found, notes = [], []
    for key in keys:
        try:
            found.append(_direct(a, b) if key == "direct" else _posteriors(key, recipe, a, b, engine))
        except ValueError as error:
            if len(keys) == 1:
                raise
            notes.append(f"{PATHS[key]} is not shown: {error}")
    return found, notes


def _direct(a: Evidence, b: Evidence) -> LatentPath:
    caption = (
        f"A straight line between the latents of two images, {_first(a, 'A').name} and {_first(b, 'B').name} (Fig. 4). "
        "λ and temperature have no effect. The middle may not look like a face."
    )
    start, end = (Posterior.condition(side.z[:1], lam_ratio=0.0) for side in (a, b))
    return LatentPath("direct", caption, ((start, _POINT), (end, _POINT)), (start, end), 1)


def _first(evidence: Evidence, side: str) -> EvidenceImage:
    """The first image in use of a side. Raises ValueError, with what to do, if there is none."""
    if evidence.saved is not None:
        raise ValueError(
            f"a direct path needs two images, and {side} is a saved posterior without images. "
            f"Add an image to {side}, or choose another path."
        )
    if not evidence.used:
        raise ValueError(f"a direct path needs two images. Add one to {side}, or choose another path.")
    return evidence.used[0]


def _posteriors(key: str, recipe: Recipe, a: Evidence, b: Evidence, engine: Engine) -> LatentPath:
    # The prior is a posterior as well: at an infinite λ the evidence has no effect.
    start, end = (
        (side.posterior(ratio), recipe.choices.replace(lam_ratio=ratio))
        if side.ready
        else (Posterior.condition(torch.zeros(1, engine.prior.dim), lam_ratio=math.inf), _PRIOR)
        for side, ratio in zip((a, b), _ratios(recipe), strict=True)
    )
    samplers = engine.draw(*start), engine.draw(*end)
    caption = "Mixes means and covariances (Fig. 3): (1 − t)(μA, ΣA) + t(μB, ΣB). Each row is one draw."
    if key == "wasserstein":
        caption = "Mixes means, and standard deviations instead of covariances. Each row is one draw."
        try:
            interpolate(*samplers, 0.5, method=key)
        except ValueError as error:
            raise ValueError(
                "the Wasserstein path is not possible here, because the covariance of one posterior has a low-rank "
                "part. Choose Posterior, which is the paper's method, or other posteriors."
            ) from error
        numbers = [one.variance for one in samplers if isinstance(one, Gaussian) and one.variance.ndim == 0]
        if len(numbers) == 2 and torch.isclose(numbers[0], numbers[1]):
            caption += " Σ is the same at A and B, so the two paths are one. Choose different λ for A and B."
    return LatentPath(key, caption, (start, end), samplers, recipe.n)


# Decoding, and the files to download ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """The result as bytes.

    Attributes:
        paths: the paths, with their ends.
        strips: (steps, n, S, S, 3) of each path.
        frames: (frames, cells, S, S, 3) of the scrubber.
        metadata: the text inside the files.
    """

    paths: list[LatentPath]
    strips: list[NDArray[np.uint8]]
    frames: NDArray[np.uint8]
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def cell_names(self) -> list[str]:
        """The names of the paths, where the stage shows one draw of each."""
        return [path.title for path in self.paths] if len(self.paths) > 1 else []


class Decoding:
    """Decodes paths batch by batch, and knows how far it is.

    With several paths, the scrubber has one cell for each, with its first draw; else one cell for each draw.

    Args:
        engine: decodes.
        cancel: makes it raise Cancelled at its next batch.
        recipe: steps, seed and temperature.
        paths: the paths.

    Attributes:
        done, total: images that are decoded, and all images.
        stride: frames of the scrubber from one step of the strip to the next, so that each step is one of its frames.
        frames: of the scrubber, 20 to 37.
    """

    def __init__(self, engine: Engine, cancel: CancelToken, recipe: Recipe, paths: list[LatentPath]) -> None:
        self._engine, self._cancel, self._recipe, self._paths = engine, cancel, recipe, paths
        self._cells = [path.n for path in paths] if len(paths) == 1 else [1] * len(paths)
        self.stride = _stride(recipe)
        self.frames = self.stride * (recipe.steps - 1) + 1
        self._ts = [i / (self.frames - 1) for i in range(self.frames)]
        self._between = [t for i, t in enumerate(self._ts) if i % self.stride]
        self.done = 0
        self.total = recipe.steps * sum(path.n for path in paths) + len(self._between) * sum(self._cells)
        self._strips: list[NDArray[np.uint8]] = []
        self._inner: list[NDArray[np.uint8]] = []

    def strips(self) -> Iterator[None]:
        """Decode every step of every path; yields after each batch. Raises Cancelled."""
        for path in self._paths:
            self._strips.append((yield from self._decode(path, self._ts[:: self.stride], path.n)))

    def inner_frames(self) -> Iterator[None]:
        """Decode the frames between the steps; yields after each batch. Raises Cancelled."""
        for path, n in zip(self._paths, self._cells, strict=True) if self._between else ():
            self._inner.append((yield from self._decode(path, self._between, n)))

    def _decode(self, path: LatentPath, ts: Sequence[float], n: int) -> Generator[None, None, NDArray[np.uint8]]:
        """n draws at each t, with the same noise everywhere, (len(ts), n, S, S, 3)."""
        samplers = [interpolate(*path.samplers, t, method=path.interpolation) for t in ts]
        draws = {"seed": self._recipe.seed, "temperature": self._recipe.temperature}
        z = torch.cat([sampler.sample(n, **draws) for sampler in samplers])
        means = torch.cat([sampler.mean.expand(n, -1) for sampler in samplers])
        guards, parts = [sampler.guard for sampler in samplers for _ in range(n)], []
        for start in range(0, len(z), self._engine.batch_size):
            rows = slice(start, start + self._engine.batch_size)
            how = {"centre": means[rows], "guards": guards[rows], "cancel": self._cancel}
            parts.append(to_uint8(self._engine.decode(z[rows], **how)))
            self.done += len(z[rows])
            yield
        images = np.concatenate(parts)
        return images.reshape(len(ts), n, *images.shape[1:])

    def result(self, metadata: dict[str, str]) -> Result:
        """The result so far: with the frames between the steps once they are decoded."""
        frames = np.concatenate([strip[:, :n] for strip, n in zip(self._strips, self._cells, strict=True)], axis=1)
        if self._inner:
            at_step, coarse = np.arange(self.frames) % self.stride == 0, frames
            frames = np.empty((self.frames, *coarse.shape[1:]), np.uint8)
            frames[at_step], frames[~at_step] = coarse, np.concatenate(self._inner, axis=1)
        return Result(self._paths, list(self._strips), frames, metadata)


def _stride(recipe: Recipe) -> int:
    return max(1, round(_FRAMES / (recipe.steps - 1)))


def write(kind: str, result: Result, session: Session) -> Path:
    """Write one file: "png", the strips; "webp", "gif" or "mp4", the scrubber's frames there and back; "a" or "b", the
    posterior at that end."""
    if kind in POSTERIOR_FILES:
        path = session.file(POSTERIOR_FILES[kind])
        posterior, method = result.paths[0].ends["ab".index(kind)]
        about = {key: result.metadata[key] for key in ("prior", "fingerprint")} | {"evidence": result.metadata[kind]}
        posterior.save(path, metadata=about | method.texts())
    elif kind == "png":
        path = session.file(STRIP_FILE)
        save_png(strip_picture(result), path, metadata=result.metadata)
    else:
        path, names = session.file(f"interpolation.{kind}"), result.cell_names
        frames = [
            contact_sheet([Image.fromarray(cell) for cell in frame], columns=len(names) or None, labels=names or None)
            for frame in result.frames
        ]
        save_animation(frames, path)
    return path


def strip_picture(result: Result) -> Image.Image:
    """All strips on one sheet, as the code on the page makes it."""
    rows, names = [], []
    for path, images in zip(result.paths, result.strips, strict=True):
        rows += [[Image.fromarray(step[draw]) for step in images] for draw in range(path.n)]
        names += [path.title] + [""] * (path.n - 1)
    labels = [f"{t:.2f}" for t in np.linspace(0, 1, len(rows[0]))]
    return labelled_rows(rows, column_labels=labels, row_labels=names if result.cell_names else ())


def _metadata(recipe: Recipe, paths: list[LatentPath], a: Evidence, b: Evidence, engine: Engine) -> dict[str, str]:
    """The text inside the files: how they were made."""
    texts = {"interpolation": ", ".join(path.key for path in paths), "a": title_of(a), "b": title_of(b)}
    return to_metadata(recipe) | texts | engine.prior.provenance


def steps_of(recipe: Recipe, paths: Sequence[LatentPath], a: Evidence, b: Evidence) -> tuple[list[Step], list[str]]:
    """The code: its steps, and the files that the user must download for them.

    First a posterior of each end, where an end is more than one file or folder. Then the strip of each path; of one
    path alone, its animation as well.
    """
    recipe, ratios = recipe.replace(prior=a.prior or b.prior), dict(zip("ab", _ratios(recipe), strict=True))
    steps: list[Step] = []
    downloads: list[str] = []
    sides = {"a": a, "b": b}
    # The model itself is a posterior to download.
    ends = {
        key: evidence_files(side, POSTERIOR_FILES[key]) if side.ready else [POSTERIOR_FILES[key]]
        for key, side in sides.items()
    }
    plain = all(len(files) == 1 and files != [POSTERIOR_FILES[key]] for key, files in ends.items())
    if [path.key for path in paths] != ["direct"] and not plain:
        # Each end keeps its own method in its file.
        for key, files in ends.items():
            if files[0].endswith(".safetensors"):
                downloads.append(POSTERIOR_FILES[key])
            else:
                method = dict(recipe.choices) | {"lam_ratio": ratios[key], "prior": recipe.prior}
                steps.append(Step(Condition.checked(method), {"evidence": files}, POSTERIOR_FILES[key]))
        ends = {key: [file] for key, file in POSTERIOR_FILES.items()}
        recipe = recipe.replace(**dict(Method()), lam_ratio_a=None, lam_ratio_b=None)
    for path in paths:
        output = STRIP_FILE if len(paths) == 1 else f"interpolation_{path.key}.png"
        inputs, one = ends, recipe.replace(interpolation=path.interpolation, n=path.n)
        if path.key == "direct":
            inputs = {key: [_first_file(side, key)] for key, side in sides.items()}
            one = one.replace(**dict(_POINT), lam_ratio_a=None, lam_ratio_b=None)
            downloads += [file for key, file in POSTERIOR_FILES.items() if inputs[key] == [file]]
        steps.append(Step(one, inputs, output))
    if len(paths) == 1:
        frames = Recipe.checked(dict(steps[-1].recipe) | {"steps": 1 + _stride(recipe) * (recipe.steps - 1)})
        steps.append(Step(frames, steps[-1].inputs, "interpolation.webp"))
    return steps, list(dict.fromkeys(downloads))


def _first_file(evidence: Evidence, key: str) -> str:
    """The file of the first image; with another face than the largest, the posterior of this image alone."""
    image = _first(evidence, key.upper())
    same = image.face is image.picture.faces[0]
    return file_of(image.source.file, image.name) if same else POSTERIOR_FILES[key]


def _player_value(result: Result, ends: tuple[str, str]) -> dict[str, Any]:
    """What `static/player.js` shows: one sprite with every frame, and one picture for each strip."""
    count, cells, side = result.frames.shape[:3]
    # Lanczos at twice the size, once: a browser would show blocks or blur.
    size = side * max(1, 128 // side)
    sprite = Image.new("RGB", (cells * size, count * size))
    for row, frame in enumerate(result.frames):
        for column, cell in enumerate(frame):
            # Each picture by itself, so that no edge has colours of its neighbour.
            sprite.paste(enlarge(Image.fromarray(cell), size), (column * size, row * size))
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
    cell = max(64, min(128, 1600 // steps))
    strip = contact_sheet(pictures, columns=steps, cell=cell, gap=2, background="#808080")
    return {
        "title": path.title,
        "caption": path.caption,
        "src": data_uri(strip),
        "width": strip.width,
        "height": strip.height,
        "labels": ["0", *(f"{i / (steps - 1):.2f}" for i in range(1, steps - 1)), "1"],
        "alt": f"{path.title}: {n} draw{'s' * (n > 1)} at {steps} steps from {ends[0]} to {ends[1]}",
    }


# The page ------------------------------------------------------------------------------------------------------------


@dataclass
class _State:
    """A visitor's last run.

    Attributes:
        result: for the files to download.
        request: evidence, prior and settings of the newest run, unless the user stopped it.
        message: the status at the end of that run, or "" until then.
    """

    result: Result | None = None
    request: tuple | None = None
    message: str = ""


class Interpolate:
    """Build the tab inside the current Blocks.

    Args:
        engines: the priors that the page serves.
        prior: the component with the name of this session's prior.
        follow: when the prior was changed or the tab was opened.
        arrived: when the page was opened, and `Session.query` is the query of its address.
    """

    def __init__(
        self, engines: Engines, prior: Component, follow: Sequence[Dependency], arrived: Sequence[Dependency]
    ) -> None:
        self._engines = engines
        with gr.Row(elem_id="interpolate-tab"):
            self.a, self.lam_a = self._build_end("A", "where it starts", prior, follow)
            with gr.Column(scale=6, min_width=340, elem_id="interpolate-path-column"):
                # Controls above what they change: a strip that grows must not push a slider from under the pointer.
                self._build_controls()
                # The template has no value: its elements stay, so that a new picture neither moves the page nor loses
                # the focus.
                self._player = gr.HTML(
                    None,
                    html_template=static("player.html"),
                    js_on_load=static("sprite.js") + static("player.js"),
                    elem_id="player",
                    label="From A to B",
                )
                downloads(_EXPORTS, self._export, prefix="interpolate")
            self.b, self.lam_b = self._build_end("B", "where it ends", prior, follow)
        self._build_mix(prior)
        self._python, self._shell = code_pair("interpolate-")
        self._address = relay("address")
        self._wire(prior, arrived)

    def _build_end(
        self, letter: str, about: str, prior: Component, follow: Sequence[Dependency]
    ) -> tuple[EvidencePanel, gr.HTML]:
        key = letter.lower()
        with gr.Column(scale=4, min_width=280, elem_id=f"interpolate-{key}"):
            gr.Markdown(f"## {letter}, {about}")
            lam = log_slider(NUMBERS["local"]["lam_ratio"], name=f"λ/m of {letter}", elem_id=f"lam-{key}")
            panel = EvidencePanel(
                self._engines, prior, panel=f"side-{key}", title=f"+ Add photos to {letter}", tab=TAB, follow=follow
            )
        return panel, lam

    def _build_controls(self) -> None:
        titles = [example_sets()[key].title for key in _TRY]
        with gr.Row(elem_id="interpolate-buttons"):
            usual: dict[str, Any] = {"size": "md", "min_width": 70}
            self._run_button = gr.Button("Run", variant="primary", elem_id="interpolate-run", **usual)
            self._cancel = gr.Button("Stop", variant="stop", interactive=False, elem_id="interpolate-stop", **usual)
            self._try = gr.Button(
                f"Try it: {' → '.join(titles)}", size="md", min_width=200, scale=3, elem_id="interpolate-try"
            )
        self._status = gr.HTML(_status(""), elem_id="interpolate-status", label="Status")
        self.path = gr.Radio(
            [(title, key) for key, title in PATHS.items()],
            value="linear",
            label="Path",
            info="Direct: a straight line between the first image of A and the first of B.",
            elem_id="interpolate-path",
        )
        # Folded, so that the picture is in sight when "Try it" is clicked.
        with gr.Accordion("Settings: method, steps, temperature, seed", open=False, elem_id="interpolate-more"):
            self.method = MethodControls("interpolate-method")
            with gr.Row():
                self.steps = number_slider("Steps", STEPS_SLIDER, _DEFAULT.steps, elem_id="interpolate-steps")
                self.n = number_slider("Draws", within(_Recipe, "n"), _DEFAULT.n, elem_id="interpolate-draws")
            with gr.Row():
                self.temperature = number_slider(
                    "Temperature",
                    within(Recipe, "temperature"),
                    _DEFAULT.temperature,
                    elem_id="interpolate-temperature",
                    step=0.05,
                )
                self.seed = integer(
                    _DEFAULT.seed, within(Recipe, "seed"), label="First seed", elem_id="interpolate-seed", min_width=140
                )

    def _build_mix(self, prior: Component) -> None:
        with gr.Accordion("A and B in one posterior", open=False, elem_id="mix"):
            how = gr.Radio([(title, key) for key, title in _MIXES.items()], label="Mix", value=None, elem_id="mix-how")
            share = number_slider("How much, %", _SHARE, 30, elem_id="mix-share", step=5, min_width=200)
            self._mix = gr.HTML("", elem_id="mix-shown", label="Samples of the mix")
            download("Posterior", self._write_mix, [prior, how, share], elem_id="mix-get", size="sm", min_width=120)
            gr.Markdown(
                "Drop this file in the Studio in the place of images, or as a style in Restyle.", elem_classes="hint"
            )
        on([how.input, share.release, *self.a.events, *self.b.events], self._show_mix, [prior, how, share], self._mix)

    def _wire(self, prior: Component, arrived: Sequence[Dependency]) -> None:
        settings = [self.path, self.lam_a, self.lam_b, self.steps, self.n, self.seed, self.temperature]
        settings += self.method.inputs
        kind = self.method.wire([self.lam_a, self.lam_b])
        outputs = [self._player, self._status, self._cancel, self._python, self._shell, self._address]
        own = [*self.a.outputs, *self.b.outputs, *settings, *self.method.outputs]
        opened = on(arrived, self._open, prior, [*dict.fromkeys(own)])
        tried = on(self._try.click, self._use_examples, prior, [*self.a.outputs, *self.b.outputs, self._status])
        new = [*tried, *self.a.events, *self.b.events, self.method.auto.input]
        chosen = on(new, self._choose, [prior, self.method.auto], self.method.outputs)
        sliders = [self.lam_a, self.lam_b, self.steps, self.n, self.temperature, *self.method.sliders]
        moved = [event for slider in sliders for event in (slider.input, slider.release)]
        changed = [self.path.change, self.seed.change, *moved, *kind, *chosen, *opened]
        on(changed, self._run, [prior, *settings], outputs)
        on(self._run_button.click, partial(self._run, again=True), [prior, *settings], outputs)
        on(self._cancel.click, self._cancel_run, queue=False)

    def _open(self, session: Session, prior: str) -> Updates:
        """The tab opens with the ends and the settings of its address."""
        found, updates = dict(parse_qsl(session.query)), dict[Any, Any]()
        if found.get("tab") != TAB:
            return {}
        for key, panel in (("a", self.a), ("b", self.b)):
            for step in panel.open(session, found[key], prior) if found.get(key) in example_sets() else ():
                updates |= step
        updates |= self._choose(session, prior, True)
        with contextlib.suppress(ValueError):  # an invalid address opens with the defaults
            path, recipe = recipe_in(found)
            if {"method", "manner"} & found.keys():
                updates |= self.method.shown(Recommendation(recipe.choices, ""), False)
                for lam, ratio in zip((self.lam_a, self.lam_b), _ratios(recipe), strict=True):
                    updates[lam] = updates[lam] | {"value": ratio}
            updates |= {self.path: path, self.steps: recipe.steps, self.n: recipe.n}
            updates |= {self.seed: recipe.seed, self.temperature: recipe.temperature}
        return updates

    def _use_examples(self, session: Session, prior: str) -> Iterator[Updates]:
        """Fill both ends at one click. The status stays until the run that follows: an empty status could reach a slow
        browser after that of a quick run."""
        for panel, key in zip((self.a, self.b), _TRY, strict=True):
            yield {self._status: _status(f"Reading {example_sets()[key].title} …")}
            yield from panel.open(session, key, prior)

    def _choose(self, session: Session, prior: str, auto: bool) -> Updates:
        """One method for both ends: the one that suits the end with fewer images."""
        sides = [side.evidence(session) for side in (self.a, self.b)]
        posteriors = [side.posterior() for side in sides if side.ready and side.prior == prior]
        if not posteriors:
            return {}
        fewest = min(posteriors, key=lambda posterior: posterior.m)
        return self.method.chosen(fewest, self._engines.get(prior)) if auto else self.method.limited(fewest.m)

    def _cancel_run(self, session: Session) -> None:
        session.state(_State).request = None
        session.cancel(TAB)

    def _run(self, session: Session, prior: str, *values: Any, again: bool = False) -> Iterator[Updates]:
        """The strip first; then the frames between its steps, for the scrubber.

        A new request cancels the one that runs, at its next batch. An equal request, such as at the end of a drag, is
        done only with `again`.
        """
        state, a, b = session.state(_State), self.a.evidence(session), self.b.evidence(session)
        if any(side.ready and side.prior != prior for side in (a, b)):
            yield {self._status: _status(f"Reading A and B for {prior} …")}  # and this is called again after that
            return
        own, method = values[:7], list(values[7:])
        request = (a, b, prior, *own, *method[1:])  # `auto` does not matter
        if request == state.request and not again:
            yield {self._status: _status(state.message)} if state.message else {}
            return
        state.request, state.message = request, ""
        with session.queued(TAB, newest=True) as cancel:
            started = time.perf_counter()
            try:
                if not (a.ready or b.ready):
                    nothing = "Add images to A or B first, or an example set, or a saved posterior"
                    raise ValueError(nothing if again else "")
                recipe, engine = recipe_of(*own, method=self.method.read(method, own[1])), self._engines.get(prior)
                paths, notes = paths_of(own[0], recipe, a, b, engine)
            except (ValueError, OSError) as error:
                state.result, state.message = None, str(error) and f"{message_of(error).removesuffix('.')}."
                shown = {self._player: None, self._python: "", self._shell: ""}
                yield shown | self._said(state.message)
                return
            decoding = Decoding(engine, cancel, recipe, paths)
            metadata, ends = _metadata(recipe, paths, a, b, engine), (title_of(a), title_of(b))

            def bar() -> Updates:
                """A progress bar, after a moment."""
                seconds = time.perf_counter() - started
                if seconds < _QUICK:
                    return {}
                done = progress(decoding.done, decoding.total, seconds, engine.ahead, "images")
                return {self._status: _status("", done), self._cancel: gr.update(interactive=True)}

            def player() -> Updates:
                state.result = decoding.result(metadata)
                return {self._player: _player_value(state.result, ends)}

            try:
                for _ in decoding.strips():
                    yield bar()
                steps = steps_of(recipe, paths, a, b)
                code = {self._python: python_code(*steps), self._shell: command_line(*steps)}
                yield player() | code | self._said("", running=True) | bar()
                for _ in decoding.inner_frames():
                    yield bar()
            except Cancelled:
                # The result so far stays. A newer request has a status of its own.
                if cancel.by_user:
                    yield self._said(f"Stopped after {decoding.done} of {decoding.total} images.")
                return
            summary = (
                f"{recipe.steps} steps, {decoding.frames} frames · {decoding.total} images in "
                f"{time.perf_counter() - started:.2f} s · seed {recipe.seed}."
            )
            state.message = " ".join([summary, *notes])
            address = {self._address: {"tab": TAB, "query": link_to(own[0], recipe, a, b)}}
            yield player() | self._said(state.message) | address

    def _said(self, message: str, running: bool = False) -> Updates:
        return {self._status: _status(message), self._cancel: gr.update(interactive=running)}

    def _export(self, kind: str, session: Session) -> Path:
        result = session.state(_State).result
        if result is None:
            raise ValueError("There is nothing to save yet. Add images to A and B, and wait for the strip.")
        return write(kind, result, session)

    # A and B in one posterior ------------------------------------------------------------------------------------

    def _mixed(self, session: Session, prior: str, how: Any, share: Any) -> MixResult:
        a, b = self.a.evidence(session), self.b.evidence(session)
        if how is None:
            raise ValueError("Choose how to mix A and B.")
        if not all(side.ready and side.prior == prior and not side.remaining for side in (a, b)):
            raise ValueError("Add images to A and B first.")
        recipe = _Mix.checked({"prior": prior, "how": how, "share": share / 100 if is_number(share) else share})
        return self._engines.get(prior).run(recipe, a=a, b=b)

    def _show_mix(self, session: Session, prior: str, how: Any, share: Any) -> Updates:
        """Samples of the mix, once the user has chosen how, and again when A or B change."""
        if how is None:
            return {}
        with session.queued("mix", newest=True) as cancel:
            try:
                engine, posterior = self._engines.get(prior), self._mixed(session, prior, how, share).saved
            except ValueError as error:
                return {self._mix: f'<p class="hint">{escape(str(error))}</p>'}
            assert isinstance(posterior, Posterior)
            samples = engine.sample(engine.draw(posterior, recommend(posterior).method), 8, cancel=cancel)
            return {self._mix: sheet(samples.images, f"samples: {_MIXES[how]}", columns=4)}

    def _write_mix(self, session: Session, prior: str, how: Any, share: Any) -> Path:
        return self._mixed(session, prior, how, share).save(session.file("mixed.safetensors"))[0]


def _status(message: str, bar: str = "") -> str:
    return f'<div class="status" role="status">{bar}{escape(message)}</div>'
