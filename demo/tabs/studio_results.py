"""The samples of the Studio and what they were drawn from, and its inner tabs, each filled when it is opened."""

from __future__ import annotations

import itertools
import time
import zipfile
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from html import escape
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import gradio as gr
import numpy as np
import torch
from gradio.components import Component
from PIL import Image

from transflow_core.compute import Cache
from transflow_core.engine import Engine
from transflow_core.evidence import Evidence, EvidenceImage
from transflow_core.images import contact_sheet, to_pil
from transflow_core.images.output import save_png
from transflow_core.limits import SAMPLES, Range, choice
from transflow_core.operations import sampler_of
from transflow_core.posterior import Gaussian, Posterior
from transflow_core.posterior.gaussian import Sampler
from transflow_core.posterior.guard import Closest, clear
from transflow_core.recipes import NUMBERS, Sample, Sweep
from transflow_core.runtime.worker import Priority
from transflow_core.views import to_metadata

from ..controls import code_pair, description_of, download, filled_in, slider
from ..examples import example_sets
from ..render import images_of, number, picture
from ..server.admission import CancelToken
from ..server.events import Updates
from ..server.state import Session
from ..snippet import POSTERIOR_FILE, Step, command_line, evidence_files, python_code

T = TypeVar("T")

EVIDENCE, PRIOR = "evidence", "prior"
QUEUE = "samples"
"""Where requests for samples wait for each other."""
PAGE = Sample.limited(n=int(SAMPLES.high))
"""The recipe within the page's bounds."""
DEFAULT = Sample(method="local").filled()
"""The settings of a new page."""
SHEET_SIDE, _LARGE_CELLS = 128, 4
"""Pixels a side of the samples on a sheet: its cells are 65 to 170 wide. So few samples have larger cells."""
_SWEEP_ROWS = 3
_COUNTS = {
    "redrawn": "samples drawn again, because they were noisy or torn",
    "projected": "samples moved towards one image, because they stayed so",
    "guarded": "samples kept within the values that your images have inside the model",
}


def sources() -> dict[str, str]:
    """The possible sources of the levels of a latent: their names on the page, by key."""
    sets = {key: f"example: {example.title}" for key, example in example_sets().items()}
    return {EVIDENCE: "your images", PRIOR: "the model"} | sets


def recipe_of(values: Mapping[str, Any]) -> Sample:
    """The recipe of untrusted values. Raises ValueError in one sentence for a value that is not valid."""
    recipe = Sample(**dict(PAGE.checked(filled_in(values)))).filled()
    for name in ("structure", "style"):
        choice(getattr(recipe, name), f"the source of the {name}", sources())
    return recipe


@dataclass(frozen=True)
class Request:
    """All that decides the samples. Two requests are equal if they have the very same evidence.

    Attributes:
        evidence: without any, the samples are those of the prior.
        recipe: with the prior, and the method of the controls and its numbers.
        auto: whether the method was chosen for the evidence, not by the user.
        call: the number of the event that asked for them last, see `Session.call`.
    """

    evidence: Evidence
    recipe: Sample = DEFAULT
    auto: bool = field(default=True, compare=False)
    call: int = field(default=0, compare=False)

    @property
    def own(self) -> bool:
        """Whether the samples are of the visitor's own images."""
        return self.evidence.ready and not self.evidence.example

    @property
    def draws(self) -> dict[str, Any]:
        """Number of samples, seed and temperature: keywords of `Engine.sample` and similar methods."""
        return {"n": self.recipe.n, "seed": self.recipe.seed, "temperature": self.recipe.temperature}

    def side(self, engine: Engine) -> int:
        """Pixels a side of the samples on the page. One of them, large, and downloads have all that the prior has."""
        full = engine.prior.image_size
        return full if self.recipe.n <= _LARGE_CELLS else min(full, SHEET_SIDE)

    @property
    def lam_text(self) -> str:
        """λ/m as text: `0.5`, or one of each level from fine to coarse."""
        ratio = self.recipe.lam_ratio
        return ", ".join(f"{level:g}" for level in (ratio if isinstance(ratio, tuple) else (ratio or 0.0,)))

    def sampler(self, engine: Engine, **values: Any) -> Sampler:
        """The sampler of the samples, or with other values of the recipe."""
        posterior = self.evidence.posterior() if self.evidence.ready else None
        return sampler_of(engine, self.recipe.replace(**values), posterior)


# Of the last requests alone: it is twice as large as the evidence, and made again in 30 ms.
sampler_for = lru_cache(4)(Request.sampler)
# Sheets and faces of each model, of less than 1 MB each. A model that nobody uses any more is not kept for them.
SHARED: WeakKeyDictionary[Engine, Cache] = WeakKeyDictionary()
_MOST_SHARED = 64


def _once(request: Request, engine: Engine, key: Hashable, make: Callable[[], T]) -> T:
    """What `make` gives: of an example set, and of the model alone, it is made once for all visitors."""
    if request.own or request.recipe.n > DEFAULT.n:
        return make()
    known = SHARED.setdefault(engine, Cache(_MOST_SHARED))
    if (found := known.get((request, key))) is None:
        known.put((request, key), found := make())
    return found


def draw(
    request: Request, engine: Engine, cancel: CancelToken, *, preview: bool = False, priority: Priority = "now"
) -> tuple[list[Image.Image], dict[str, int], float]:
    """The samples of a request for the page, how many were redrawn, projected and guarded, and the seconds it took.

    Raises Cancelled.
    """

    def made() -> tuple[list[Image.Image], dict[str, int], float]:
        started = time.perf_counter()
        sampler = request.sampler(engine) if preview else sampler_for(request, engine)
        how: dict[str, Any] = request.draws | {"side": request.side(engine), "cancel": cancel, "priority": priority}
        samples = engine.sample(sampler, preview=preview, **how)
        return to_pil(samples.images), samples.counts, time.perf_counter() - started

    return _once(request, engine, "preview" if preview else "sheet", made)


@dataclass(frozen=True, eq=False)
class Result:
    """Samples as the sheet shows them, and how many were redrawn, projected and guarded. Each has its own number."""

    request: Request
    engine: Engine
    pictures: list[Image.Image]
    counts: dict[str, int]
    number: int = field(default_factory=itertools.count(1).__next__)

    @property
    def sampler(self) -> Sampler:
        """What the samples were drawn from."""
        return sampler_for(self.request, self.engine)

    def full(self, n: int | None = None, start: int = 0, cancel: CancelToken | None = None) -> list[Image.Image]:
        """Samples at the size of the prior: all, or at most n, from `start` on. They are decoded now."""
        n = min(n or len(self.pictures), len(self.pictures) - start)
        if max(self.pictures[0].size) == self.engine.prior.image_size:
            return self.pictures[start : start + n]
        how = self.request.draws | {"n": n, "start": start, "cancel": cancel}
        return to_pil(self.engine.sample(self.sampler, **how).images)

    def face(self, index: int, cancel: CancelToken | None = None) -> Image.Image:
        """One sample at the size of the prior."""
        return _once(self.request, self.engine, index, lambda: self.full(1, index, cancel)[0])

    @property
    def metadata(self) -> dict[str, str]:
        """The text inside a file of these samples."""
        evidence = self.request.evidence
        names = ", ".join(image.name for image in evidence.used)[:2000] or evidence.saved_name
        text = to_metadata(self.request.recipe) | self.engine.prior.provenance
        return text | ({"evidence": names} if names else {})

    @property
    def posterior(self) -> Posterior | None:
        """The posterior at the requested λ/m; None without evidence."""
        evidence = self.request.evidence
        return evidence.posterior(self.engine.ratio(self.request.recipe.lam_ratio)) if evidence.ready else None

    @cached_property
    def closest(self) -> list[Closest]:
        """For each sample the closest image of the evidence; empty without evidence."""
        evidence = self.request.evidence
        if not evidence.ready:
            return []
        return self.engine.closest(self._pixels, evidence.posterior(), evidence)

    @cached_property
    def best(self) -> list[int]:
        """The samples' indices: of the half that is farther from the evidence first, and of each half clear faces.

        Empty without evidence.
        """
        if not self.closest:
            return []
        clarity = clear(self._pixels, self.engine.looks(self.request.evidence.posterior())).tolist()
        apart = [one.distance for one in self.closest]
        middle = sorted(apart)[len(apart) // 2]
        return sorted(range(len(apart)), key=lambda index: (apart[index] < middle, -clarity[index]))

    @property
    def _pixels(self) -> torch.Tensor:
        pixels = torch.from_numpy(np.stack([np.asarray(picture) for picture in self.pictures])).permute(0, 3, 1, 2)
        return self.engine.prior.pixels.from_bytes(pixels)


@dataclass
class View:
    """What one visitor sees."""

    request: Request | None = None  # it runs, or ran last
    result: Result | None = None  # the samples on the page; None while it shows previews
    large: int = 0  # index of the sample that is large: the best one, until another is clicked
    drawn_from: Any = None  # what decides who is on the sheet: evidence, seed, and the sample that others are around
    asked: int | None = None  # the sample that an address wants large
    larger: tuple[int, int, Path] | None = None  # result and sample that were enlarged last, and the file of that
    sent: tuple[int, int] | None = None  # result, and the sample of it that the page has in full
    open_tab: str = "download"  # key of the open inner tab
    made_from: dict[str, Any] = field(default_factory=dict)  # what the contents of each inner tab depend on
    opening: bool = False  # an address is being opened: its images are read, and its settings come after them
    settled: Evidence | None = None  # these settings came with it, or the method was chosen for it
    early: tuple[EvidenceImage, ...] = ()  # samples were drawn from these last, while others were read

    @property
    def chosen(self) -> int | None:
        """The large sample, where it is not the one that the page would choose."""
        if self.result is None:
            return None
        first = self.result.best[0] if self.result.best else 0
        return None if self.large == first else self.large


class Results:
    """Build the inner tabs inside the current Blocks.

    Attributes:
        tabs: by key, for their `select`.
        outputs: the components that `fill` updates.
        inputs: the controls of `structure`, `style` and `style_levels`, by these names.
        events: when another source of the levels was chosen.
    """

    def __init__(self, levels: int) -> None:
        with gr.Tabs(elem_id="results"):
            with gr.Tab("Download") as downloads:
                download("Posterior", _posterior_file, elem_id="get-posterior", min_width=150, scale=0)
                text = "Save the set as a small file. Drop it in again any time. The file contains your photos."
                gr.Markdown(text, elem_classes="status")
                self._python, self._shell = code_pair()
            with gr.Tab("Sweep") as sweep:
                self._sweep = gr.HTML(elem_id="sweep", label="Samples of your images at several values of one number")
            with gr.Tab("Structure and style"):
                self._build_levels(levels)
            with gr.Tab("Numbers") as numbers:
                self._numbers = gr.HTML(elem_id="numbers", label="Every number")
        self.tabs = {"download": downloads, "sweep": sweep, "numbers": numbers}
        self.outputs = [self._sweep, self._numbers, self._python, self._shell]

    def _build_levels(self, levels: int) -> None:
        gr.Markdown(
            "Each sample has levels, from coarse to fine. Choose where the coarse levels come from, its **structure**, "
            "and the fine levels, its **style**.",
            elem_classes="status",
        )
        options: dict[str, Any] = {"choices": [(title, key) for key, title in sources().items()], "value": EVIDENCE}
        with gr.Row():
            structure = gr.Dropdown(label="Structure from", elem_id="structure", min_width=160, **options)
            style = gr.Dropdown(label="Style from", elem_id="style", min_width=160, **options)
            name = "Levels that are style"
            split = slider(DEFAULT.style_levels, Range(0, levels), step=1, name=name, elem_id="split", min_width=160)
        self.inputs: dict[str, Component] = {"structure": structure, "style": style, "style_levels": split}
        self.events = [structure.input, style.input]

    def fill(self, view: View, result: Result, cancel: CancelToken) -> Iterator[Updates]:
        """Make the open tab, where anything that it depends on has changed. Raises Cancelled."""
        request, recipe = result.request, result.request.recipe
        own = [*NUMBERS[recipe.method]][-1]  # the number that the sweep changes
        draws = request.draws | {"n": _SWEEP_ROWS, "prior": recipe.prior}
        swept = Sweep.checked(dict(recipe.choices) | draws | {own: None})
        made_from = request.evidence, recipe.prior, (swept, _apart(recipe)) if view.open_tab == "sweep" else recipe
        if view.made_from.get(view.open_tab) == made_from:
            return
        if view.open_tab == "sweep":
            yield from self._make_sweep(result, swept, cancel)
        else:
            yield getattr(self, f"_make_{view.open_tab}")(result, cancel)
        view.made_from[view.open_tab] = made_from

    def _make_sweep(self, result: Result, recipe: Sweep, cancel: CancelToken) -> Iterator[Updates]:
        if not result.request.evidence.ready:
            yield {self._sweep: _note("No images yet. A sweep needs some.")}
            return
        yield {self._sweep: _note("Drawing the sweep…")}
        swept = result.engine.run(recipe, side=SHEET_SIDE, evidence=result.request.evidence, cancel=cancel)
        assert isinstance(swept.recipe, Sweep) and swept.recipe.values and swept.overview is not None
        first, *_, last = swept.recipe.values
        alt = f"samples of your images, {swept.recipe.over.replace('_', ' ')} from {first:g} to {last:g}"
        note = (
            _note("Without “More like this”, the sliders of this set, and “Structure and style”.")
            if _apart(result.request.recipe)
            else ""
        )
        yield {self._sweep: picture(swept.overview, alt) + note}

    def _make_numbers(self, result: Result, cancel: CancelToken) -> Updates:
        return {self._numbers: result.engine.call(_numbers, result, cancel=cancel)}

    def _make_download(self, result: Result, _: CancelToken) -> Updates:
        request = result.request
        if not request.evidence.ready:
            return {self._python: "", self._shell: ""}
        steps = steps_of(request)
        return {self._python: python_code(steps), self._shell: command_line(steps)}


def steps_of(request: Request) -> list[Step]:
    """The code of a sheet: from the saved posterior, where the files alone are not all of the evidence."""
    return [Step(request.recipe, {"evidence": evidence_files(request.evidence, POSTERIOR_FILE)}, "sheet.png")]


def result_of(session: Session) -> Result:
    result = session.state(View).result
    if result is None:
        raise ValueError("The samples are still being drawn. Try again when they are ready.")
    return result


def sheet_file(session: Session) -> Path:
    """All samples on one sheet, which contains their recipe."""
    result, path = result_of(session), session.file("sheet.png")
    save_png(contact_sheet(result.full()), path, metadata=result.metadata)
    return path


def zip_file(session: Session) -> Path:
    """All samples, a file each."""
    result, path = result_of(session), session.file("samples.zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for index, image in enumerate(result.full()):
            with archive.open(f"sample_{index:04d}.png", "w") as entry:
                save_png(image, entry, metadata=result.metadata | {"sample": f"{index}"})
    return path


def _posterior_file(session: Session) -> Path:
    result, path = result_of(session), session.file(POSTERIOR_FILE)
    posterior = result.posterior
    if posterior is None:
        raise ValueError("No images yet. A posterior needs some.")
    posterior.save(path, metadata=result.metadata)
    return path


def _apart(recipe: Sample) -> bool:
    """Whether the sheet has what a sweep does not."""
    return bool(recipe.near or recipe.along) or {recipe.structure, recipe.style} != {EVIDENCE}


def _note(text: str) -> str:
    return f'<p class="status">{text}</p>'


def _numbers(result: Result) -> str:
    """Every number behind the samples, with its equation."""
    prior, posterior, request = result.engine.prior, result.posterior, result.request
    rows = {"model": f"{prior.name} ({prior.fingerprint})", "D, dimensions of the latent": f"{prior.dim:,}"}
    moments = result.sampler if isinstance(result.sampler, Gaussian) else None
    if posterior is not None:
        rows |= {
            "m, number of images (sum of weights)": images_of(posterior.m),
            "method": description_of(request.recipe),
            "λ/m": request.lam_text,
            "λ": f"{float(posterior.lam):g}" if posterior.lam.ndim == 0 else "one for each level",
            "‖ζ̄‖², evidence mean (D under the prior if m = 1)": number(_squared(posterior.evidence_mean)),
            "‖μp‖², eq. 7": number(_squared(posterior.mean)),
            "Σp, eq. 8 (mean over dimensions)": f"{float(posterior.variance.double().mean()):.4f}",
            "KL(posterior ‖ prior)": f"{number(posterior.kl(posterior.prior))} nats",
        }
    variances = None
    if moments is not None:
        variances = request.recipe.temperature**2 * moments.variance.double().expand(prior.dim)
        rows["samples: variance (mean over dimensions)"] = f"{float(variances.mean()):.4f}"
    rows |= {text: f"{result.counts[name]} of {request.recipe.n}" for name, text in _COUNTS.items()}
    body = levels = ""
    for name, text in rows.items():
        body += f"<tr><th scope='row'>{escape(name)}</th><td>{escape(text)}</td></tr>"
    for level in prior.levels:
        spread = "–"
        if variances is not None:
            spread = f"{float(variances[level.slice].mean().sqrt()):.3f}"
        mean = (_squared(result.sampler.mean[level.slice]) / level.dim) ** 0.5
        cells = "".join(f"<td>{text}</td>" for text in (f"{level.dim:,}", f"{mean:.3f}", spread))
        levels += f"<tr><th scope='row'>{escape(level.name)}</th>{cells}</tr>"
    return (
        f"<div class='table'><table>{body}</table>"
        "<table><thead><tr><th>level, fine to coarse</th><th>dimensions</th><th>root mean square of the mean</th>"
        f"<th>standard deviation of samples</th></tr></thead><tbody>{levels}</tbody></table></div>"
    )


def _squared(z: Any) -> float:
    return float(z.double().square().sum())
