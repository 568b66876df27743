"""The Studio's inner tabs, each filled when it is opened, and files to download."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Hashable, Iterator
from html import escape
from pathlib import Path

import gradio as gr

from transflow_core.images import contact_sheet, enlarge, labelled_rows, save_png, to_pil
from transflow_core.operations import sweep_of
from transflow_core.posterior import Gaussian, Posterior
from transflow_core.priors.prior import LatentLevel
from transflow_core.recipes import Sweep

from ..method import description_of
from ..render import number, picture, sheet
from ..server.admission import CancelToken
from ..server.events import Updates
from ..server.state import Session
from ..snippet import Step, command_line, evidence_files, python_code
from ..widgets import code, code_pair, download
from .levels import Levels, strips
from .settings import Request
from .view_state import Result, ViewState

__all__ = ["POSTERIOR_FILE", "Results", "steps_of"]

POSTERIOR_FILE = "posterior.safetensors"

_SWEEP_ROWS, _REBUILT = 3, 24
_COUNTS = {
    "redrawn": "samples drawn again, because they were noisy",
    "projected": "samples moved towards one image, because they stayed noisy",
    "guarded": "samples kept within the values that your images have inside the model",
}
# The parts of each inner tab, by its key.
_PARTS = {key: (key,) for key in ("download", "sweep", "levels", "numbers")} | {"mean": ("mean", "rebuilt")}


class Results:
    """Build the inner tabs inside the current Blocks.

    Attributes:
        tabs: by key, for their `select`.
        outputs: the components that `fill` updates.
        levels: the sources of the levels, in an inner tab of its own.
        over: what the sweep is over; `ViewState.over` follows it.
    """

    def __init__(self) -> None:
        with gr.Tabs(elem_id="results"):
            with gr.Tab("Download") as downloads:
                with gr.Row():
                    download("Sheet (PNG)", _sheet_file, elem_id="get-sheet", min_width=150)
                    download("All images (ZIP)", _zip_file, elem_id="get-zip", min_width=150)
                    download("Posterior", _posterior_file, elem_id="get-posterior", min_width=150)
                gr.Markdown(
                    "The posterior file replaces your images. Drop it here later, or in another tab.",
                    elem_classes="status",
                )
                self._python, self._shell = code_pair()
            with gr.Tab("Sweep") as sweep:
                options = [("the method's own number", "own"), ("λ/m", "lam")]
                self.over = gr.Radio(
                    options, value="own", label="What changes from left to right", elem_id="sweep-over"
                )
                self._sweep = gr.HTML(elem_id="sweep", label="The same samples at several values of one number")
            with gr.Tab("Structure and style") as levels:
                self.levels = Levels()
            with gr.Tab("Mean and images") as mean, gr.Row():
                self._mean = gr.HTML(elem_id="mean", label="Posterior mean")
                self._rebuilt = gr.HTML(elem_id="rebuilt", label="Your images, decoded from their latents")
            with gr.Tab("Numbers") as numbers:
                self._numbers = gr.HTML(elem_id="numbers", label="Every number")
                with gr.Accordion("Each image, as JSON", open=False):
                    self._json = code("json", label="Your images", elem_id="evidence-json", max_lines=30)
        self.tabs = {"download": downloads, "sweep": sweep, "levels": levels, "mean": mean, "numbers": numbers}
        pictures = [self._sweep, self.levels.strips, self._mean, self._rebuilt]
        self.outputs = [*pictures, self._numbers, self._json, self._python, self._shell]

    def fill(self, state: ViewState, result: Result, cancel: CancelToken) -> Iterator[Updates]:
        """Make the parts of the open tab that have changed. Raises Cancelled."""
        for part in _PARTS[state.open_tab]:
            made_from = _made_from(part, result.request, state.over)
            if state.made_from.get(part) != made_from:
                how = {"over": state.over} if part == "sweep" else {}
                yield from getattr(self, f"_make_{part}")(result, cancel, **how)
                state.made_from[part] = made_from

    def _make_sweep(self, result: Result, cancel: CancelToken, over: str) -> Iterator[Updates]:
        if not result.request.evidence.ready:
            yield {self._sweep: _note("No images yet. A sweep needs some.")}
            return
        yield {self._sweep: _note("Drawing the sweep…")}
        draws, posterior = dict(result.request.settings.draws, n=_SWEEP_ROWS), result.request.evidence.posterior()
        swept = _swept(result.request, posterior.m, over)
        at = [result.engine.draw(posterior, one, cancel=cancel) for one in swept.values()]
        x = result.engine.series(at, cancel=cancel, **draws)
        rows = [to_pil(x[:, row]) for row in range(_SWEEP_ROWS)]
        alt = f"the same samples from {next(iter(swept))} to {next(reversed(swept))}"
        yield {self._sweep: picture(labelled_rows(rows, column_labels=list(swept)), alt)}

    def _make_levels(self, result: Result, cancel: CancelToken) -> Iterator[Updates]:
        yield {self.levels.strips: strips(result.request, result.engine, cancel)}

    def _make_mean(self, result: Result, cancel: CancelToken) -> Iterator[Updates]:
        image = enlarge(to_pil(result.engine.decode(result.sampler.mean[None], cancel=cancel))[0], 256)
        caption = "mean of the samples" if result.request.settings.recipe.mixed else "posterior mean μp"
        yield {self._mean: _figure(picture(image, caption), caption)}

    def _make_rebuilt(self, result: Result, cancel: CancelToken) -> Iterator[Updates]:
        """The evidence, decoded from its latents: all that the posterior knows of it."""
        evidence = result.request.evidence
        if not evidence.used:
            yield {self._rebuilt: _note("No images yet.")}
            return
        x = result.engine.decode(evidence.z[:_REBUILT], cancel=cancel)
        more = f" (the first {_REBUILT})" if len(evidence.used) > _REBUILT else ""
        caption = f"your images, decoded from their latents{more}"
        yield {self._rebuilt: _figure(sheet(x, caption), caption)}

    def _make_numbers(self, result: Result, cancel: CancelToken) -> Iterator[Updates]:
        facts = [image.to_dict() for image in result.request.evidence]
        yield {
            self._numbers: result.engine.call(_numbers, result, cancel=cancel),
            self._json: json.dumps(facts, indent=1, ensure_ascii=False),
        }

    def _make_download(self, result: Result, cancel: CancelToken) -> Iterator[Updates]:
        request, ready = result.request, result.request.evidence.ready
        yield {
            self._python: python_code(steps_of(request)) if ready else "",
            self._shell: command_line(steps_of(request)) if ready else "",
        }


def steps_of(request: Request) -> list[Step]:
    """The code of a sheet: from the saved posterior, where the files alone are not all of the evidence."""
    return [Step(request.recipe, {"evidence": evidence_files(request.evidence, POSTERIOR_FILE)}, "sheet.png")]


def _swept(request: Request, m: float, over: str) -> dict[str, Sweep]:
    """The recipe of each column of the sweep, see `ViewState.over`."""
    recipe = Sweep(**dict(request.recipe.choices), over="lam_ratio" if over == "lam" else "auto")
    return sweep_of(recipe, m)


def _made_from(part: str, request: Request, over: str) -> Hashable:
    """The values of a request on which a part depends. The sweep does not depend on the number that it sweeps, nor the
    mean on the seed."""
    recipe = request.settings.recipe
    draws = recipe.seed, recipe.temperature
    sources = recipe.choices, recipe.structure, recipe.style, recipe.style_levels
    depends: dict[str, Hashable] = {
        "sweep": (tuple(_swept(request, 2.0, over).values()), *draws),
        "levels": (*sources, *draws),
        "mean": sources,
        "rebuilt": None,
    }
    return request.evidence, request.prior, depends.get(part, request.settings)


def _result(session: Session) -> Result:
    result = session.state(ViewState).result
    if result is None:
        raise ValueError("The samples are still being drawn. Download them when they are ready.")
    return result


def _sheet_file(session: Session) -> Path:
    result, path = _result(session), session.file("sheet.png")
    save_png(contact_sheet(result.pictures), path, metadata=result.metadata)
    return path


def _zip_file(session: Session) -> Path:
    result, path = _result(session), session.file("samples.zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for index, image in enumerate(result.pictures):
            with archive.open(f"sample_{index:04d}.png", "w") as entry:
                image.save(entry, "PNG")
    return path


def _posterior_file(session: Session) -> Path:
    result, path = _result(session), session.file(POSTERIOR_FILE)
    evidence, posterior = result.request.evidence, result.posterior
    if not isinstance(posterior, Posterior):
        raise ValueError("No images yet. A posterior needs some.")
    names = ", ".join(image.name for image in evidence.used)[:2000]
    posterior.save(path, metadata=result.metadata | {"evidence": names or evidence.saved_name})
    return path


def _note(text: str) -> str:
    return f'<p class="status">{text}</p>'


def _figure(content: str, caption: str) -> str:
    return f"<figure>{content}<figcaption>{escape(caption)}</figcaption></figure>"


def _numbers(result: Result) -> str:
    """Every number behind the samples, with its equation."""
    prior, posterior, settings = result.engine.prior, result.posterior, result.request.settings
    rows = [("model", f"{prior.name} ({prior.fingerprint})"), ("D, dimensions of the latent", f"{prior.dim:,}")]
    gaussian = result.sampler if isinstance(result.sampler, Gaussian) else None
    if isinstance(posterior, Posterior):
        norm = float(posterior.evidence_mean.double().square().sum())
        rows += [
            ("m, number of images (sum of weights)", f"{posterior.m:g}"),
            ("method", description_of(settings.recipe)),
            ("λ/m", settings.lam_text),
            ("λ", f"{float(posterior.lam):g}" if posterior.lam.ndim == 0 else "one for each level"),
            ("‖ζ̄‖², evidence mean (D under the prior if m = 1)", number(norm)),
            ("‖μp‖², eq. 7", number(float(posterior.mean.double().square().sum()))),
            ("Σp, eq. 8 (mean over dimensions)", f"{float(posterior.variance.double().mean()):.4f}"),
            ("KL(posterior ‖ prior)", f"{number(posterior.kl(posterior.prior))} nats"),
        ]
    if gaussian is not None:
        rows.append(("samples: variance (mean over dimensions)", f"{float(gaussian.variance.double().mean()):.4f}"))
    rows += [(text, f"{result.counts[name]} of {settings.recipe.n}") for name, text in _COUNTS.items()]
    body = "".join(f"<tr><th scope='row'>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    mean = result.sampler.mean
    levels = "".join(
        f"<tr><th scope='row'>{escape(level.name)}</th><td>{level.dim:,}</td>"
        f"<td>{float(mean[level.slice].double().square().mean().sqrt()):.3f}</td>"
        f"<td>{_deviation(gaussian, level)}</td></tr>"
        for level in prior.levels
    )
    return (
        f"<div class='table'><table>{body}</table>"
        "<table><thead><tr><th>level, fine to coarse</th><th>dimensions</th><th>root mean square of the mean</th>"
        f"<th>standard deviation of samples</th></tr></thead><tbody>{levels}</tbody></table></div>"
    )


def _deviation(gaussian: Gaussian | None, level: LatentLevel) -> str:
    if gaussian is None:
        return "–"
    variance = gaussian.variance.expand(gaussian.dim)[level.slice]
    return f"{float(variance.double().mean().sqrt()):.3f}"
