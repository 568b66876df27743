"""What the Studio makes of its samples: five inner tabs, each filled when it is looked at, and files to take away."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import torch
from PIL import Image

from transflow_core.engine import Engine, Sampler
from transflow_core.images import contact_sheet, enlarge, labelled_rows, save_png, to_pil
from transflow_core.limits import SWEEP_RATIOS
from transflow_core.posterior import Posterior

from ..queues import Stop
from ..render import number, picture, sheet
from ..session import Session
from ..widgets import download
from .settings import Asked
from .snippet import POSTERIOR_FILE, command_line, python_code

__all__ = ["Results", "Screen", "Whole"]

_SWEEP_ROWS, _REBUILT = 3, 24
_NO_SWEEP, _SWEEPING = "A sweep over λ needs evidence.", "The sweep over λ is being made…"
Shown = dict[gr.components.Component, Any]


@dataclass(frozen=True, eq=False)
class Whole:
    """Whole images, and what they were drawn from.

    Attributes:
        asked: what the controls said.
        engine: the prior at work.
        sampler: what was drawn from.
        pictures: the samples.
        seconds: that they took.
    """

    asked: Asked
    engine: Engine
    sampler: Sampler
    pictures: list[Image.Image]
    seconds: float


@dataclass
class Screen:
    """What one visitor sees.

    Attributes:
        asked: what is being made, or was made last.
        whole: the images that stand on the screen; None while previews stand there.
        looked: key of the inner tab that is looked at.
        made: what each inner tab was made from.
    """

    asked: Asked | None = None
    whole: Whole | None = None
    looked: str = "gallery"
    made: dict[str, Hashable] = field(default_factory=dict)


@dataclass(frozen=True)
class _View:
    """One inner tab.

    Attributes:
        key: what of that which was asked for it depends on: as long as it is the same, nothing is made anew.
        make: makes it.
        waiting: what stands there meanwhile; what was there stays if this is empty.
    """

    key: Callable[[Asked], Hashable]
    make: Callable[[Whole, Stop], Shown]
    waiting: Callable[[Asked], Shown] = lambda asked: {}


class Results:
    """Build the inner tabs inside the current Blocks.

    Attributes:
        tabs: by key, for their `select`.
        outputs: all that `waiting` and `make` give values for.
    """

    def __init__(self) -> None:
        with gr.Tabs():
            with gr.Tab("Gallery") as gallery:
                self._gallery = gr.Gallery(
                    columns=8, height="auto", object_fit="contain", label="Samples", show_label=False, elem_id="gallery"
                )
            with gr.Tab("λ sweep") as sweep:
                self._sweep = gr.HTML(elem_id="sweep", label="The same draws at several λ/m")
            with gr.Tab("Mean and evidence") as mean, gr.Row():
                self._mean = gr.HTML(elem_id="mean", label="Posterior mean")
                self._rebuilt = gr.HTML(elem_id="rebuilt", label="The evidence, rebuilt from its latents")
            with gr.Tab("Numbers") as numbers:
                self._numbers = gr.HTML(elem_id="numbers", label="Every number")
                with gr.Accordion("Each image, as JSON", open=False):
                    self._json = gr.Code(language="json", elem_id="evidence-json", label="Evidence", max_lines=30)
            with gr.Tab("Take away") as away:
                with gr.Row():
                    download("Sheet (PNG)", _sheet_file, elem_id="get-sheet", min_width=150)
                    download("All images (ZIP)", _zip_file, elem_id="get-zip", min_width=150)
                    download("Posterior", _posterior_file, elem_id="get-posterior", min_width=150)
                gr.Markdown(
                    "The posterior is a file of its own: drop it on the evidence here or in the Interpolate tab later.",
                    elem_classes="status",
                )
                self._python = gr.Code(language="python", label="The same in Python", elem_id="python")
                self._shell = gr.Code(language="shell", label="The same on the command line", elem_id="shell")
        self.tabs = {"gallery": gallery, "sweep": sweep, "mean": mean, "numbers": numbers, "away": away}
        self.outputs = [
            *(self._gallery, self._sweep, self._mean, self._rebuilt),
            *(self._numbers, self._json, self._python, self._shell),
        ]
        self._views = {
            "gallery": _View(lambda asked: asked, self._make_gallery),
            # λ plays no part in the sweep, nor the number of samples.
            "sweep": _View(_drawn_at_any_lam, self._make_sweep, self._sweep_waiting),
            "mean": _View(lambda asked: (asked.intake, asked.prior, asked.settings.ratio), self._make_mean),
            "numbers": _View(lambda asked: asked, self._make_numbers),
            "away": _View(lambda asked: asked, self._make_code),
        }

    def stale(self, screen: Screen, asked: Asked) -> str:
        """Key of the tab that is looked at, if it shows something else than what is asked for; else ""."""
        key = screen.looked
        return "" if screen.made.get(key) == (key, self._views[key].key(asked)) else key

    def waiting(self, key: str, asked: Asked) -> Shown:
        """What a tab says until it is made."""
        return self._views[key].waiting(asked) if key else {}

    def make(self, screen: Screen, key: str, whole: Whole, stop: Stop) -> Shown:
        """Make one tab. Raises Cancelled."""
        shown = self._views[key].make(whole, stop)
        screen.made[key] = key, self._views[key].key(whole.asked)
        return shown

    def _make_gallery(self, whole: Whole, stop: Stop) -> Shown:
        return {self._gallery: [(enlarge(image, 192), f"{index}") for index, image in enumerate(whole.pictures)]}

    def _sweep_waiting(self, asked: Asked) -> Shown:
        return {self._sweep: _note(_SWEEPING if asked.intake.ready else _NO_SWEEP)}

    def _make_sweep(self, whole: Whole, stop: Stop) -> Shown:
        if not isinstance(whole.sampler, Posterior):
            return {self._sweep: _note(_NO_SWEEP)}
        settings = whole.asked.settings
        x = whole.engine.sweep(
            whole.sampler,
            SWEEP_RATIOS,
            _SWEEP_ROWS,
            seed=settings.seed,
            temperature=settings.temperature,
            stop=stop,
        )
        rows = [to_pil(x[:, row]) for row in range(_SWEEP_ROWS)]
        labels = [f"λ/m {ratio:g}" for ratio in SWEEP_RATIOS]
        return {self._sweep: picture(labelled_rows(rows, column_labels=labels), "the same draws at several λ/m")}

    def _make_mean(self, whole: Whole, stop: Stop) -> Shown:
        """The mean, and the evidence as the flow gives it back from its latents: what the posterior was told."""
        used = whole.asked.intake.used[:_REBUILT]
        z = torch.stack([whole.sampler.mean.cpu(), *(image.latent.z for image in used)])
        x = whole.engine.decode(z, stop=stop)
        caption = "the evidence, decoded from its latents"
        caption += f" (the first {_REBUILT})" if len(whole.asked.intake.used) > _REBUILT else ""
        mean = enlarge(to_pil(x[:1])[0], 256)
        return {
            self._mean: _figure(picture(mean, "posterior mean μp"), "posterior mean μp"),
            self._rebuilt: _figure(sheet(x[1:], caption), caption) if used else _note("No evidence to rebuild."),
        }

    def _make_numbers(self, whole: Whole, stop: Stop) -> Shown:
        told = [image.to_dict() for image in whole.asked.intake.evidence]
        return {
            self._numbers: whole.engine.run(_numbers, whole, stop=stop),
            self._json: json.dumps(told, indent=1, ensure_ascii=False),
        }

    def _make_code(self, whole: Whole, stop: Stop) -> Shown:
        asked = whole.asked
        ready = asked.intake.ready
        return {self._python: python_code(asked) if ready else "", self._shell: command_line(asked) if ready else ""}


def _drawn_at_any_lam(asked: Asked) -> Hashable:
    return asked.intake, asked.prior, asked.settings.seed, asked.settings.temperature


def _whole(session: Session) -> Whole:
    whole = session.of_kind(Screen).whole
    if whole is None:
        raise ValueError("The samples are still being made. Take them when they stand still.")
    return whole


def _how(whole: Whole) -> dict[str, str]:
    """What a file says of itself."""
    settings = whole.asked.settings
    return {
        "prior": whole.engine.prior.name,
        "fingerprint": whole.engine.prior.fingerprint,
        "lam_ratio": settings.words,
        "temperature": f"{settings.temperature:g}",
        "seed": str(settings.seed),
    }


def _sheet_file(session: Session) -> Path:
    whole, path = _whole(session), session.file("sheet.png")
    save_png(contact_sheet(whole.pictures), path, metadata=_how(whole))
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
    if not isinstance(whole.sampler, Posterior):
        raise ValueError("Without evidence there is no posterior to take: what you see is the prior.")
    intake = whole.asked.intake
    names = ", ".join(image.name for image in intake.used)[:2000]
    whole.sampler.save(path, metadata=_how(whole) | {"evidence": names or intake.saved_name})
    return path


def _note(words: str) -> str:
    return f'<p class="status">{words}</p>'


def _figure(content: str, caption: str) -> str:
    return f"<figure>{content}<figcaption>{escape(caption)}</figcaption></figure>"


def _numbers(whole: Whole) -> str:
    """Every number behind the samples, with its equation."""
    prior, posterior = whole.engine.prior, whole.sampler
    rows = [("prior", f"{prior.name} ({prior.fingerprint})"), ("D, dimensions of the latent", f"{prior.dim:,}")]
    if isinstance(posterior, Posterior):
        norm = float(posterior.evidence_mean.double().square().sum())
        rows += [
            ("m, pieces of evidence (sum of weights)", f"{posterior.m:g}"),
            ("λ/m", whole.asked.settings.words),
            ("λ", f"{float(posterior.lam):g}" if posterior.lam.ndim == 0 else "one for each level"),
            ("‖ζ̄‖², evidence mean (D under the prior if m = 1)", number(norm)),
            ("‖μp‖², eq. 7", number(float(posterior.mean.double().square().sum()))),
            ("Σp, eq. 8 (mean over dimensions)", f"{float(posterior.variance.double().mean()):.4f}"),
            ("KL(posterior ‖ prior)", f"{number(posterior.kl(posterior.prior))} nats"),
        ]
    body = "".join(f"<tr><th scope='row'>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    levels = "".join(
        f"<tr><th scope='row'>{escape(level.name)}</th><td>{level.dim:,}</td>"
        f"<td>{float(posterior.mean[level.slice].double().square().mean().sqrt()):.3f}</td>"
        f"<td>{float(posterior.variance.expand(prior.dim)[level.slice].double().mean().sqrt()):.3f}</td></tr>"
        for level in prior.levels
    )
    return (
        f"<div class='table'><table>{body}</table>"
        "<table><thead><tr><th>level, fine to coarse</th><th>dimensions</th><th>root mean square of μp</th>"
        f"<th>standard deviation</th></tr></thead><tbody>{levels}</tbody></table></div>"
    )
