"""What the Studio makes of its samples: six inner tabs, each filled when it is looked at, and files to take away."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Hashable, Iterator
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from transflow_core.images import contact_sheet, enlarge, labelled_rows, save_png, to_pil
from transflow_core.operations import sweep_of
from transflow_core.posterior import BayesianBootstrap, Gaussian, Posterior, Sampler
from transflow_core.prior import LatentLevel
from transflow_core.recipes import Sweep

from ..method import described
from ..queues import Stop
from ..render import number, picture, sheet
from ..session import Session
from ..widgets import code, download
from .levels import Levels, strips
from .screen import Screen, Whole
from .settings import Asked
from .snippet import POSTERIOR_FILE, command_line, python_code

__all__ = ["Results"]

_SWEEP_ROWS, _REBUILT = 3, 24
_COUNTS = {
    "redrawn": "samples drawn again, because they came out noisy",
    "projected": "samples moved towards one image, because they stayed noisy",
    "guarded": "samples kept within the values that your images have inside the model",
}
# What each inner tab shows, by its key.
_PARTS = {key: (key,) for key in ("away", "sweep", "levels", "numbers")} | {"mean": ("mean", "rebuilt")}
Shown = dict[Component, Any]


class Results:
    """Build the inner tabs inside the current Blocks.

    Attributes:
        tabs: by key, for their `select`.
        outputs: all that `fill` gives values for.
        levels: where the levels of the samples come from, in an inner tab of its own.
        over: what the sweep is over; `Screen.over` follows it.
    """

    def __init__(self) -> None:
        with gr.Tabs(elem_id="results"):
            with gr.Tab("Take away") as away:
                with gr.Row():
                    download("Sheet (PNG)", _sheet_file, elem_id="get-sheet", min_width=150)
                    download("All images (ZIP)", _zip_file, elem_id="get-zip", min_width=150)
                    download("Posterior", _posterior_file, elem_id="get-posterior", min_width=150)
                gr.Markdown(
                    "The posterior is a file of its own: drop it on the evidence here or in the Interpolate tab later.",
                    elem_classes="status",
                )
                with gr.Accordion("The same as code", open=False):
                    self._python = code("python", label="The same in Python", elem_id="python")
                    self._shell = code("shell", label="The same on the command line", elem_id="shell")
            with gr.Tab("Sweep") as sweep:
                options = [("the method's own number", "own"), ("λ/m", "lam")]
                self.over = gr.Radio(options, value="own", label="The same draws over", elem_id="sweep-over")
                self._sweep = gr.HTML(elem_id="sweep", label="The same draws at several values of one number")
            with gr.Tab("Structure and style") as levels:
                self.levels = Levels()
            with gr.Tab("Mean and evidence") as mean, gr.Row():
                self._mean = gr.HTML(elem_id="mean", label="Posterior mean")
                self._rebuilt = gr.HTML(elem_id="rebuilt", label="The evidence, rebuilt from its latents")
            with gr.Tab("Numbers") as numbers:
                self._numbers = gr.HTML(elem_id="numbers", label="Every number")
                with gr.Accordion("Each image, as JSON", open=False):
                    self._json = code("json", label="Evidence", elem_id="evidence-json", max_lines=30)
        self.tabs = {
            "away": away,
            "sweep": sweep,
            "levels": levels,
            "mean": mean,
            "numbers": numbers,
        }
        pictures = [self._sweep, self.levels.strips, self._mean, self._rebuilt]
        self.outputs = [*pictures, self._numbers, self._json, self._python, self._shell]

    def fill(self, screen: Screen, whole: Whole, stop: Stop) -> Iterator[Shown]:
        """Make what the open tab shows and was not made from the same before. Raises Cancelled."""
        for part in _PARTS[screen.looked]:
            made_from = _made_from(part, whole.asked, screen.over)
            if screen.made.get(part) != made_from:
                how = {"over": screen.over} if part == "sweep" else {}
                yield from getattr(self, f"_make_{part}")(whole, stop, **how)
                screen.made[part] = made_from

    def _make_sweep(self, whole: Whole, stop: Stop, over: str) -> Iterator[Shown]:
        if not whole.asked.intake.ready:
            yield {self._sweep: _note("A sweep needs evidence.")}
            return
        yield {self._sweep: _note("The sweep is being made…")}
        draws, posterior = dict(whole.asked.settings.draws, n=_SWEEP_ROWS), whole.asked.intake.posterior()
        swept = _swept(whole.asked, posterior.m, over)
        x = whole.engine.sweep(posterior, swept.values(), cancel=stop, **draws)
        rows = [to_pil(x[:, row]) for row in range(_SWEEP_ROWS)]
        alt = f"the same draws from {next(iter(swept))} to {next(reversed(swept))}"
        yield {self._sweep: picture(labelled_rows(rows, column_labels=list(swept)), alt)}

    def _make_levels(self, whole: Whole, stop: Stop) -> Iterator[Shown]:
        yield {self.levels.strips: strips(whole.asked, whole.engine, stop)}

    def _make_mean(self, whole: Whole, stop: Stop) -> Iterator[Shown]:
        image = enlarge(to_pil(whole.engine.decode(whole.sampler.mean[None], cancel=stop))[0], 256)
        caption = "mean of what is drawn" if whole.asked.settings.recipe.mixed else "posterior mean μp"
        yield {self._mean: _figure(picture(image, caption), caption)}

    def _make_rebuilt(self, whole: Whole, stop: Stop) -> Iterator[Shown]:
        """The evidence as the flow gives it back from its latents: what the posterior was told."""
        evidence = whole.asked.intake.evidence
        if not evidence.used:
            yield {self._rebuilt: _note("No evidence to rebuild.")}
            return
        x = whole.engine.decode(evidence.z[:_REBUILT], cancel=stop)
        more = f" (the first {_REBUILT})" if len(evidence.used) > _REBUILT else ""
        caption = f"the evidence, decoded from its latents{more}"
        yield {self._rebuilt: _figure(sheet(x, caption), caption)}

    def _make_numbers(self, whole: Whole, stop: Stop) -> Iterator[Shown]:
        told = [image.to_dict() for image in whole.asked.intake.evidence]
        yield {
            self._numbers: whole.engine.call(_numbers, whole, cancel=stop),
            self._json: json.dumps(told, indent=1, ensure_ascii=False),
        }

    def _make_away(self, whole: Whole, stop: Stop) -> Iterator[Shown]:
        asked, ready = whole.asked, whole.asked.intake.ready
        yield {self._python: python_code(asked) if ready else "", self._shell: command_line(asked) if ready else ""}


def _swept(asked: Asked, m: float, over: str) -> dict[str, Sweep]:
    """What the sweep draws by, see `Screen.over`."""
    recipe = Sweep(**dict(asked.recipe.choices), over="lam_ratio" if over == "lam" else "auto")
    return sweep_of(recipe, m)


def _made_from(part: str, asked: Asked, over: str) -> Hashable:
    """What of that which was asked for a part depends on: what is swept plays no part in the sweep, nor draws in the
    mean."""
    settings = asked.settings
    draws = settings.recipe.seed, settings.recipe.temperature
    depends: dict[str, Hashable] = {
        "sweep": (tuple(_swept(asked, 2.0, over).values()), *draws),
        "levels": (
            settings.recipe.choices,
            settings.recipe.structure,
            settings.recipe.style,
            settings.recipe.style_levels,
            *draws,
        ),
        "mean": (
            settings.recipe.choices,
            settings.recipe.structure,
            settings.recipe.style,
            settings.recipe.style_levels,
        ),
        "rebuilt": None,
    }
    return asked.intake, asked.prior, depends.get(part, settings)


def _whole(session: Session) -> Whole:
    whole = session.of_kind(Screen).whole
    if whole is None:
        raise ValueError("The samples are still being made. Take them when they stand still.")
    return whole


def _sheet_file(session: Session) -> Path:
    whole, path = _whole(session), session.file("sheet.png")
    save_png(contact_sheet(whole.pictures), path, metadata=whole.how)
    return path


def _zip_file(session: Session) -> Path:
    whole, path = _whole(session), session.file("samples.zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for index, image in enumerate(whole.pictures):
            with archive.open(f"sample_{index:04d}.png", "w") as entry:
                image.save(entry, "PNG")
    return path


def _posterior_file(session: Session) -> Path:
    whole, path = _whole(session), session.file(POSTERIOR_FILE)
    intake, posterior = whole.asked.intake, whole.posterior
    if not isinstance(posterior, Posterior):
        raise ValueError("Without evidence there is no posterior to take: what you see is the prior.")
    names = ", ".join(image.name for image in intake.used)[:2000]
    posterior.save(path, metadata=whole.how | {"evidence": names or intake.saved_name})
    return path


def _note(words: str) -> str:
    return f'<p class="status">{words}</p>'


def _figure(content: str, caption: str) -> str:
    return f"<figure>{content}<figcaption>{escape(caption)}</figcaption></figure>"


def _numbers(whole: Whole) -> str:
    """Every number behind the samples, with its equation."""
    prior, posterior, settings = whole.engine.prior, whole.posterior, whole.asked.settings
    rows = [("prior", f"{prior.name} ({prior.fingerprint})"), ("D, dimensions of the latent", f"{prior.dim:,}")]
    moments = _moments(whole.sampler)
    if isinstance(posterior, Posterior):
        norm = float(posterior.evidence_mean.double().square().sum())
        rows += [
            ("m, pieces of evidence (sum of weights)", f"{posterior.m:g}"),
            ("method", described(settings.recipe)),
            ("λ/m", settings.words),
            ("λ", f"{float(posterior.lam):g}" if posterior.lam.ndim == 0 else "one for each level"),
            ("‖ζ̄‖², evidence mean (D under the prior if m = 1)", number(norm)),
            ("‖μp‖², eq. 7", number(float(posterior.mean.double().square().sum()))),
            ("Σp, eq. 8 (mean over dimensions)", f"{float(posterior.variance.double().mean()):.4f}"),
            ("KL(posterior ‖ prior)", f"{number(posterior.kl(posterior.prior))} nats"),
        ]
    if moments is not None:
        rows += [
            ("what is drawn: variance (mean over dimensions)", f"{float(moments.variance.double().mean()):.4f}"),
            ("what is drawn: rank of its covariance beyond a diagonal", f"{moments.covariance.rank}"),
        ]
    rows += [(words, f"{whole.counts[name]} of {settings.recipe.n}") for name, words in _COUNTS.items()]
    body = "".join(f"<tr><th scope='row'>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    mean = whole.sampler.mean
    levels = "".join(
        f"<tr><th scope='row'>{escape(level.name)}</th><td>{level.dim:,}</td>"
        f"<td>{float(mean[level.slice].double().square().mean().sqrt()):.3f}</td>"
        f"<td>{_deviation(moments, level)}</td></tr>"
        for level in prior.levels
    )
    return (
        f"<div class='table'><table>{body}</table>"
        "<table><thead><tr><th>level, fine to coarse</th><th>dimensions</th><th>root mean square of the mean</th>"
        f"<th>standard deviation of draws</th></tr></thead><tbody>{levels}</tbody></table></div>"
    )


def _moments(sampler: Sampler) -> Gaussian | None:
    """Mean and covariance of what is drawn, before anything is drawn again; None where they have no such form."""
    if isinstance(sampler, BayesianBootstrap):
        try:
            return sampler.moments
        except ValueError:
            return None
    return sampler if isinstance(sampler, Gaussian) else None


def _deviation(moments: Gaussian | None, level: LatentLevel) -> str:
    if moments is None:
        return "–"
    variance = moments.variance.expand(len(moments.mean))[level.slice]
    return f"{float(variance.double().mean().sqrt()):.3f}"
