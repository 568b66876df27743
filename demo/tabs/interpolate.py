"""The Interpolate tab: a path from one set to another, and both in one posterior."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
from PIL import Image

from transflow_core.engine import Engine
from transflow_core.evidence import Evidence
from transflow_core.images import contact_sheet, labelled_rows, to_pil
from transflow_core.images.output import save_png
from transflow_core.limits import MOST_DRAWS, STEPS_SLIDER, Range, is_number
from transflow_core.operations import Result
from transflow_core.posterior import Posterior, recommend
from transflow_core.recipes import NUMBERS, Condition, Method, Mix, within
from transflow_core.recipes import Interpolate as Recipe
from transflow_core.views import to_link

from ..controls import (
    ANIMATIONS,
    MethodControls,
    Model,
    Working,
    code_pair,
    download,
    downloads,
    filled_in,
    integer,
    log_slider,
    number_slider,
    on_slider,
    recommended,
    relay,
)
from ..evidence_panel import NOT_KEPT, OWN, EvidencePanel
from ..examples import example_sets, title_of
from ..render import GAP, data_uri, picture, sheet_picture
from ..server.admission import EXPORTS, CancelToken
from ..server.errors import message_of, warn
from ..server.events import Updates, new_signal, on
from ..server.state import Session
from ..snippet import POSTERIOR_FILES, Step, command_line, evidence_files, python_code
from ..static import static

#: The name of each path on the page, by its key.
PATHS = {"linear": "Posterior", "wasserstein": "Wasserstein", "direct": "Direct"}
TAB = "interpolate"
_OWN = ("interpolation", "lam_ratio_a", "lam_ratio_b", "steps", "n", "seed", "temperature")
"""The parameters of a path that are no parameters of its method."""
_Recipe = Recipe.limited(steps=STEPS_SLIDER.high, n=MOST_DRAWS)
_DEFAULT, _METHOD = _Recipe(), Method(method="local").filled()
_FIRST = ("greyscale", "paintings")
"""The sets that the tab opens with."""
_ABOUT = (
    "Posterior mixes means and covariances (Fig. 3): (1 − t)(μA, ΣA) + t(μB, ΣB). Wasserstein mixes standard "
    "deviations instead. Direct is a straight line from the first image of A to the first of B (Fig. 4), without λ."
)
_FRAMES = 28
"""So many frames make a smooth morph: with more, faces hardly differ from one to the next."""
_SIDE = 128  # pixels of a face on the page; a file has all of the model's
_MIXES = {"add": "More of both", "subtract": "A, and less like B", "move": "A, moved towards B"}
# In per cent. With more, nothing of most sets remains: at 60 the mean is 2.5 times as far from the origin.
_SHARE = Range(0, 60)
_Mix = Mix.limited(share=_SHARE.high / 100)


# The recipe of the page ----------------------------------------------------------------------------------------------


def recipe_of(values: Mapping[str, Any], method: Method = _METHOD) -> Recipe:
    """The recipe of untrusted values of `_OWN`. Raises ValueError, in one sentence, for a value out of its bounds."""
    a, b = values["lam_ratio_a"], values["lam_ratio_b"]
    ratios = {"lam_ratio": a, "lam_ratio_a": None, "lam_ratio_b": None} if a == b else {"lam_ratio": None}
    return _Recipe.checked(filled_in(dict(method) | dict(values) | ratios))


def _ratios(recipe: Recipe) -> tuple[Any, Any]:
    """λ/m of A and of B."""
    a, b = (recipe.lam_ratio if one is None else one for one in (recipe.lam_ratio_a, recipe.lam_ratio_b))
    return a, b


def link_to(recipe: Recipe, a: Evidence, b: Evidence) -> str:
    """The address of a result: all but the user's own files."""
    ends = {key: end.example or (OWN if end.ready else "") for key, end in (("a", a), ("b", b))}
    values = {"tab": TAB, **ends, "prior": a.prior or b.prior}
    return "&".join(filter(None, (urlencode(values, safe="/"), to_link(recipe))))


def recipe_in(query: dict[str, str]) -> Recipe:
    """The recipe in an address, of this version or an earlier one. Raises ValueError for an invalid one."""
    texts = Recipe.upgrade({name: text for name, text in query.items() if name not in ("a", "b", "prior")})
    if texts.get("interpolation") == "compare":  # an earlier version showed all three
        del texts["interpolation"]
    recipe = Recipe.from_texts(texts)
    method = recipe.choices.decided()
    method = _METHOD if method.method == "auto" else method
    a, b = _ratios(recipe.replace(lam_ratio=method.lam_ratio))
    if not (is_number(a) and is_number(b)):
        raise ValueError("A path has one λ/m at each end.")
    return recipe_of({name: getattr(recipe, name) for name in _OWN} | {"lam_ratio_a": a, "lam_ratio_b": b}, method)


# What the page shows, and the files of it ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Shown:
    """What a run has made so far."""

    engine: Engine
    recipe: Recipe  # of the page
    ends: tuple[Evidence, Evidence]  # A and B; the model itself in the place of an end without images
    result: Result  # of the path
    stride: int = 1  # frames from one step of the strip to the next

    def whole(self, **how: Any) -> Shown:
        """The same with all pixels of the model."""
        if self.frames[0][0].width == self.engine.prior.image_size:
            return self
        a, b = self.ends
        return replace(self, result=self.engine.run(self.result.recipe, a=a, b=b, **how))

    @property
    def rows(self) -> list[list[Image.Image]]:
        """The rows of the strip, a draw each."""
        return [[*row[:: self.stride]] for row in self.result.pictures.values()]

    @property
    def frames(self) -> list[tuple[Image.Image, ...]]:
        """What plays: every draw."""
        return list(zip(*self.result.pictures.values(), strict=True))

    @property
    def strip(self) -> Image.Image:
        """The strip, as the code on the page makes it."""
        return labelled_rows(self.rows, column_labels=_labels(len(self.rows[0])))

    @property
    def player(self) -> dict[str, Any]:
        """What `static/player.js` shows: one sprite with every frame, and the strip."""
        frames, (a, b) = self.frames, map(title_of, self.ends)
        side = max(frames[0][0].size)
        # Lanczos at twice the size, once: a browser would show blocks or blur.
        size = side * max(1, _SIDE // side)
        cells = [cell for frame in frames for cell in frame]
        sprite = contact_sheet(cells, columns=len(frames[0]), cell=size, gap=0)
        value = {"sprite": data_uri(sprite, quality=90), "frames": len(frames), "cells": len(frames[0]), "size": size}
        strip = _strip(self.recipe.interpolation, self.rows, f"{a} to {b}")
        linked = all(end.example or end.saved_name == _MODEL for end in self.ends)
        return value | {"a": a, "b": b, "strip": strip, "linked": linked}


_MODEL = "the model"
_DRAWING = "Drawing the way from A to B …"


def _strip(key: str, rows: list[list[Image.Image]], ends: str) -> str:
    """The strip as HTML."""
    n, steps = len(rows), len(rows[0])
    cell = max(64, min(128, 1600 // steps))
    strip = labelled_rows(rows, column_labels=_labels(steps), cell=cell, gap=GAP, background="#808080")
    shown = picture(strip, f"{PATHS[key]}: {n} draw{'s' * (n > 1)} at {steps} steps from {ends}")
    says = "From one face to one other." if key == "direct" else "From A to B, one person a row."
    return (
        f'<figure class="strip" style="--steps: {steps}" tabindex="0" aria-label="{PATHS[key]}, the strip">'
        f"<figcaption>{says}</figcaption>{shown}</figure>"
    )


def _labels(steps: int) -> list[str]:
    """How far each step is, from 0 to 1."""
    return [f"{t:.2f}" for t in np.linspace(0, 1, steps)]


def write(kind: str, shown: Shown, session: Session) -> Path:
    """Write one file: "png", the strip; "webp", "gif" or "mp4", the frames there and back; "a" or "b", that end's
    posterior."""
    path = session.file(POSTERIOR_FILES.get(kind, f"interpolation.{kind}"))
    if kind in POSTERIOR_FILES:
        at = "ab".index(kind)
        end, ratio = shown.ends[at], _ratios(shown.recipe)[at]
        about = {key: str(shown.result.facts[key]) for key in ("prior", "fingerprint")} | {"evidence": title_of(end)}
        method = shown.recipe.choices.replace(lam_ratio=ratio)
        end.posterior(ratio).save(path, metadata=about | method.texts())
    elif kind == "png":
        texts = {"interpolation": shown.recipe.interpolation, "steps": str(shown.recipe.steps)}
        texts |= {key: title_of(end) for key, end in zip("ab", shown.ends, strict=True)}
        save_png(shown.strip, path, metadata=shown.result.metadata | texts)
    else:
        shown.result.save(path)
    return path


def steps_of(recipe: Recipe, a: Evidence, b: Evidence) -> list[Step]:
    """The code: first a posterior of each end, where an end is more than one file or folder. Then the strip, and the
    animation."""
    recipe, ratios = recipe.replace(prior=a.prior or b.prior), dict(zip("ab", _ratios(recipe), strict=True))
    steps: list[Step] = []
    # The model itself is a posterior to download.
    ends = {
        key: evidence_files(side, POSTERIOR_FILES[key]) if side.ready else [POSTERIOR_FILES[key]]
        for key, side in {"a": a, "b": b}.items()
    }
    if any(len(files) > 1 or files == [POSTERIOR_FILES[key]] for key, files in ends.items()):
        # Each end keeps its own method in its file.
        for key, files in ends.items():
            if not files[0].endswith(".safetensors"):
                method = dict(recipe.choices) | {"lam_ratio": ratios[key], "prior": recipe.prior}
                steps.append(Step(Condition.checked(method), {"evidence": files}, POSTERIOR_FILES[key]))
        ends = {key: [file] for key, file in POSTERIOR_FILES.items()}
        recipe = recipe.replace(**dict(Method()), lam_ratio_a=None, lam_ratio_b=None)
    steps.append(Step(recipe, ends, "interpolation.png"))
    steps.append(Step(_in_frames(recipe, _stride(recipe)), ends, "interpolation.webp"))
    return steps


def _stride(recipe: Recipe) -> int:
    """Frames from one step of the strip to the next, so that each step is one of the frames."""
    return max(1, round(_FRAMES / (recipe.steps - 1)))


def _in_frames(recipe: Recipe, stride: int) -> Recipe:
    return Recipe.checked(dict(recipe) | {"steps": stride * (recipe.steps - 1) + 1})


# The page ------------------------------------------------------------------------------------------------------------


@dataclass
class _State:
    """A visitor's last run."""

    shown: Shown | None = None  # for the files to download
    request: tuple | None = None  # evidence, prior and settings of the newest run, unless the user stopped it
    message: str = ""  # the status at the end of that run, or "" until then


class Interpolate:
    """Build the tab inside the current Blocks.

    `arrived` is when the page was opened, and `Session.query` is the query of its address.
    """

    def __init__(self, model: Model, arrived: Sequence[Dependency]) -> None:
        self._engines = model.engines
        # A and B first; on a desktop the style sheet puts the path between them.
        with gr.Row(elem_id="interpolate-tab"):
            self.a, self.b = (self._build_end(letter, model) for letter in "AB")
            with gr.Column(scale=6, min_width=340, elem_id="interpolate-path-column"):
                # The template has no value: its elements stay, so that a new picture neither moves the page nor loses
                # the focus.
                self._player = gr.HTML(
                    None,
                    html_template=static("player.html"),
                    js_on_load=f"const copyLink = {static('copy.js')};{static('sprite.js')}{static('player.js')}",
                    elem_id="player",
                    label="From A to B",
                )
                with gr.Row(elem_id="interpolate-buttons"):
                    self._working = Working(TAB)
                kinds, outputs = ANIMATIONS | {"png": "Save strip (PNG)"}, [self._working.output]
                downloads(kinds, self._export_whole, prefix="interpolate", outputs=outputs)
        with gr.Accordion("For researchers", open=False, elem_id="interpolate-more"):
            self._build_controls()
            self._build_mix(model.prior)
            self._python, self._shell = code_pair("interpolate-")
        self._address = relay("address")
        self._wire(model, arrived)

    def _build_end(self, letter: str, model: Model) -> EvidencePanel:
        key = letter.lower()
        with gr.Column(scale=3, min_width=150, elem_id=f"interpolate-{key}", elem_classes="end"):
            gr.HTML(f"<h2>{letter}</h2>", elem_classes="steps")
            how: dict[str, Any] = {"panel": f"side-{key}", "title": f"+ Add photos to {letter}"}
            return EvidencePanel(model, **how, tab=TAB, nothing="No images: the model itself.")

    def _build_controls(self) -> None:
        options, ratio = [(title, key) for key, title in PATHS.items()], NUMBERS["local"]["lam_ratio"]
        path = gr.Radio(options, value="linear", label="Path", info=_ABOUT, elem_id="interpolate-path")
        self._method = MethodControls("interpolate-method")
        with gr.Row():
            lams = [
                log_slider(ratio, name=f"λ/m of {end}", elem_id=f"lam-{end.lower()}", min_width=260) for end in "AB"
            ]
        with gr.Row():
            heat, seeds, name = within(Recipe, "temperature"), within(Recipe, "seed"), "interpolate-temperature"
            steps = number_slider("Steps", STEPS_SLIDER, _DEFAULT.steps, elem_id="interpolate-steps")
            n = number_slider("Draws", within(_Recipe, "n"), _DEFAULT.n, elem_id="interpolate-draws")
            temperature = number_slider("Temperature", heat, _DEFAULT.temperature, elem_id=name, step=0.05)
            seed = integer(_DEFAULT.seed, seeds, label="First seed", elem_id="interpolate-seed", min_width=140)
            self._run_button = gr.Button("Run", size="sm", min_width=70, scale=0, elem_id="interpolate-run")
        self.own: dict[str, Any] = dict(zip(_OWN, (path, *lams, steps, n, seed, temperature), strict=True))
        downloads({"a": "Posterior A", "b": "Posterior B"}, self._export, prefix="interpolate")

    def _build_mix(self, prior: Component) -> None:
        gr.Markdown("### A and B in one posterior", elem_id="mix")
        how = gr.Radio([(title, key) for key, title in _MIXES.items()], label="Mix", value=None, elem_id="mix-how")
        share = number_slider("How much, %", _SHARE, 30, elem_id="mix-share", step=5, min_width=200)
        self._mix = gr.HTML("", elem_id="mix-shown", label="Samples of the mix")
        download("Posterior", self._write_mix, [prior, how, share], elem_id="mix-get", size="sm", min_width=120)
        gr.Markdown(
            "Drop this file in the Studio in the place of images, or as a style in Restyle.", elem_classes="hint"
        )
        changed = [how.input, share.input, share.release, self.a.changed, self.b.changed]
        on(changed, self._show_mix, [prior, how, share], self._mix)

    def _wire(self, model: Model, arrived: Sequence[Dependency]) -> None:
        prior, lams = model.prior, [self.own["lam_ratio_a"], self.own["lam_ratio_b"]]
        settings = [*self.own.values(), *self._method.inputs]
        self._method.wire(lams)
        kind = on(self._method.kind.input, self._method.picked, self._method.kind, self._method.outputs)
        outputs = [self._player, self._working.output, self._python, self._shell, self._address]
        panels = [*self.a.outputs, *self.b.outputs, self._working.output]
        begun, chosen = new_signal(), new_signal()
        everything = dict.fromkeys([*panels, *settings, *self._method.outputs])
        on(arrived, self._open, prior, [*everything], signals=chosen)
        on(model.changed, self._begin, prior, panels, signals=begun)
        new = [begun.change, self.a.changed, self.b.changed, self._method.auto.input]
        on(new, self._choose, [prior, self._method.auto], self._method.outputs, signals=chosen)
        sliders = [*lams, *(self.own[name] for name in ("steps", "n", "temperature")), *self._method.sliders]
        moved = [event for slider in sliders for event in (slider.input, slider.release)]
        changed = [self.own["interpolation"].input, self.own["seed"].input, *moved, *kind, chosen.change]
        on(changed, self._run, [prior, *settings], outputs)
        on(self._run_button.click, partial(self._run, again=True), [prior, *settings], outputs)

    def _open(self, session: Session, prior: str) -> Iterator[Updates]:
        """The page opens at this tab, with the ends and the settings of its address."""
        found, updates = dict(parse_qsl(session.query)), dict[Any, Any]()
        if found.get("tab") != TAB:
            return
        for key, panel in (("a", self.a), ("b", self.b)):
            if found.get(key) in example_sets():
                yield from panel.open(session, found[key], prior)
            elif found.get(key) == OWN:
                warn(f"{key.upper()}: {NOT_KEPT}")
        yield from self._begin(session, prior, opening=True)
        updates |= self._choose(session, prior, True)
        with contextlib.suppress(ValueError):  # an invalid address opens with the defaults
            recipe = recipe_in(found)
            if {"method", "manner"} & found.keys():
                updates |= self._method.shown(recipe.choices)
                for end, ratio in zip("ab", _ratios(recipe), strict=True):
                    updates[self.own[f"lam_ratio_{end}"]]["value"] = on_slider(ratio)
            updates |= {one: getattr(recipe, name) for name, one in self.own.items() if "lam_ratio" not in name}
        yield updates

    def _begin(self, session: Session, prior: str, opening: bool = False) -> Iterator[Updates]:
        """Where nobody has given anything, the tab opens with two sets. The status stays until the run that follows: an
        empty one could reach a slow browser after that of a quick run."""
        here = dict(parse_qsl(session.query)).get("tab") == TAB
        # As it is drawn, the page says that its first tab was opened, which may come after the tab of the address.
        if not (opening or (session.tab == TAB and not here)):
            return
        if any(side.evidence(session).prior or session.busy(side.panel) for side in (self.a, self.b)):
            return
        a, b = _FIRST
        yield self._working.says("Reading two example sets …") | self.a.soon(a) | self.b.soon(b)
        for panel, key in ((self.a, a), (self.b, b)):
            yield from panel.open(session, key, prior)
        yield self._working.says(_DRAWING)

    def _choose(self, session: Session, prior: str, auto: bool) -> Updates:
        """One method for both ends: the one that suits the end with fewer images."""
        sides = [side.evidence(session) for side in (self.a, self.b)]
        posteriors = [side.posterior() for side in sides if side.ready and side.prior == prior]
        if not posteriors:
            return {}
        fewest = min(posteriors, key=lambda posterior: posterior.m)
        if not auto:
            return self._method.limited(fewest.m)
        return self._method.shown(*recommended(fewest, self._engines.get(prior)), fewest.m)

    def _run(self, session: Session, prior: str, *values: Any, again: bool = False) -> Iterator[Updates]:
        """The strip first; then the frames between its steps, for the player.

        A new request cancels the one that runs, at its next batch. An equal request, such as at the end of a drag, is
        done only with `again`.
        """
        state, a, b = session.state(_State), self.a.evidence(session), self.b.evidence(session)
        if any(side.ready and side.prior != prior for side in (a, b)):
            yield self._working.says(f"Reading A and B for {prior} …")  # and this is called again after that
            return
        own, method = dict(zip(_OWN, values, strict=False)), values[len(_OWN) :]
        request = (a, b, prior, *own.values(), *method[1:])  # `auto` does not matter
        # Without an end, it was lost with the line.
        if request == state.request and not again and (state.message or session.busy(TAB)):
            yield self._working.says(state.message) if state.message else {}
            return
        state.request, state.message = request, ""
        with (yield session.queued(TAB, newest=True)) as cancel:
            try:
                if not (a.ready or b.ready):
                    reading = any(session.busy(side.panel) for side in (self.a, self.b))
                    raise ValueError("" if reading else "Add photos to A or B first, or choose a set")
                # The model is a posterior as well: at an infinite λ the evidence has no effect.
                own |= {f"lam_ratio_{end}": math.inf for end, side in zip("ab", (a, b), strict=True) if not side.ready}
                recipe = recipe_of(own, self._method.read(method, own["lam_ratio_a"]))
                if state.shown is None:
                    yield self._working.says(_DRAWING, running=True)
                yield from self._show(state, prior, recipe, a, b, cancel)
            except (ValueError, OSError) as error:
                state.shown, state.message = None, str(error) and escape(f"{message_of(error).removesuffix('.')}.")
                nothing: Updates = {self._player: None, self._python: "", self._shell: ""}
                if state.message:
                    nothing[self._address] = {"tab": TAB, "query": f"tab={TAB}"}
                yield nothing | self._working.says(state.message)

    def _show(
        self, state: _State, prior: str, recipe: Recipe, a: Evidence, b: Evidence, cancel: CancelToken
    ) -> Iterator[Updates]:
        """The strip first; then the frames between its steps, for the player."""
        engine, started = self._engines.get(prior), time.perf_counter()
        first, last = (side if side.ready else _model(engine, prior) for side in (a, b))
        stride, steps = _stride(recipe), steps_of(recipe, a, b)
        shown: Updates = {self._python: python_code(steps), self._shell: command_line(steps)}
        shown[self._address] = {"tab": TAB, "query": link_to(recipe, a, b)}
        # One face alone is large.
        side = min(engine.prior.image_size, _SIDE) if recipe.n > 1 else engine.prior.image_size
        for apart in dict.fromkeys((1, stride)):
            run = partial(engine.run, _in_frames(recipe, apart), a=first, b=last, side=side)
            result = yield from self._working.run(run, cancel, engine, "images")
            if result is None:  # the picture so far stays, and "Run" begins again
                state.request = None if cancel.by_user else state.request
                return
            state.shown = Shown(engine, recipe, (first, last), result, apart)
            shown[self._player] = state.shown.player
            if apart != stride:
                yield shown | self._working.says("Drawing the pictures in between …", running=True)
            else:
                images = sum(map(len, result.pictures.values()))
                state.message = f"{images} images in {time.perf_counter() - started:.1f} s."
        yield shown | self._working.says(state.message)

    def _export(self, kind: str, session: Session) -> Path:
        return write(kind, _shown(session), session)

    def _export_whole(self, kind: str, session: Session) -> Generator[Updates, Any, Path | None]:
        """A picture or an animation with all pixels of the model. They are drawn for the first of them."""
        with (yield session.queued(TAB)) as cancel:
            shown, state = _shown(session), session.state(_State)
            whole = yield from self._working.run(shown.whole, cancel, shown.engine, "images")
            if whole is None:
                return None
            state.shown = whole
            yield self._working.says(state.message)
        with (yield EXPORTS.request(session.id)):
            return write(kind, whole, session)

    # A and B in one posterior ------------------------------------------------------------------------------------

    def _mixed(self, session: Session, prior: str, how: Any, share: Any) -> Result:
        a, b = self.a.evidence(session), self.b.evidence(session)
        if how is None:
            raise ValueError("Choose how to mix A and B.")
        if not all(side.ready and side.prior == prior and not side.remaining for side in (a, b)):
            raise ValueError("Add images to A and B first.")
        recipe = _Mix.checked({"prior": prior, "how": how, "share": share / 100 if is_number(share) else share})
        return self._engines.get(prior).run(recipe, a=a, b=b)

    def _show_mix(self, session: Session, prior: str, how: Any, share: Any) -> Iterator[Updates]:
        """Samples of the mix, once the user has chosen how, and again when A or B change."""
        if how is None:
            return
        with (yield session.queued("mix", newest=True)) as cancel:
            try:
                engine, posterior = self._engines.get(prior), self._mixed(session, prior, how, share).saved
            except ValueError as error:
                yield {self._mix: f'<p class="hint">{escape(str(error))}</p>'}
                return
            assert isinstance(posterior, Posterior)
            sampler = engine.draw(posterior, recommend(posterior).method)
            samples = engine.sample(sampler, 8, side=_SIDE, cancel=cancel)
            shown = sheet_picture(to_pil(samples.images), columns=4)
            yield {self._mix: picture(shown, f"samples: {_MIXES[how]}")}

    def _write_mix(self, session: Session, prior: str, how: Any, share: Any) -> Path:
        return self._mixed(session, prior, how, share).save(session.file("mixed.safetensors"))[0]


def _shown(session: Session) -> Shown:
    shown = session.state(_State).shown
    if shown is None:
        raise ValueError("There is nothing to save yet. Add images to A and B, and wait for the strip.")
    return shown


def _model(engine: Engine, prior: str) -> Evidence:
    """The model itself, in the place of an end without images."""
    saved = Posterior.condition(torch.zeros(1, engine.prior.dim), lam_ratio=math.inf)
    return Evidence(prior=prior, saved=saved, saved_name=_MODEL)
