"""What the Studio makes of its samples: five inner tabs, each filled when it is looked at, and files to take away."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component
from PIL import Image

from transflow_core.engine import Engine
from transflow_core.images import contact_sheet, enlarge, labelled_rows, save_png, to_pil
from transflow_core.limits import SWEEP_RATIOS
from transflow_core.posterior import Gaussian, Posterior

from ..queues import Stop
from ..render import number, picture, sheet
from ..session import Session
from ..widgets import download
from .settings import Asked
from .snippet import POSTERIOR_FILE, command_line, python_code

__all__ = ["Results", "Screen", "Whole"]

_SWEEP_ROWS, _REBUILT = 3, 24
# What each inner tab shows, by its key.
_PARTS = {key: (key,) for key in ("gallery", "sweep", "numbers", "away")} | {"mean": ("mean", "rebuilt")}
Shown = dict[Component, Any]


@dataclass(frozen=True, eq=False)
class Whole:
    """Whole images, and what they were drawn from.

    Attributes:
        asked: what the controls said.
        engine: the prior at work.
        posterior: that of the evidence; the prior itself without.
        pictures: the samples.
        seconds: that they took.
    """

    asked: Asked
    engine: Engine
    posterior: Gaussian
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


class Results:
    """Build the inner tabs inside the current Blocks.

    Attributes:
        tabs: by key, for their `select`.
        outputs: all that `fill` gives values for.
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
        pictures = [self._gallery, self._sweep, self._mean, self._rebuilt]
        self.outputs = [*pictures, self._numbers, self._json, self._python, self._shell]

    def fill(self, screen: Screen, whole: Whole, stop: Stop) -> Iterator[Shown]:
        """Make what the open tab shows and was not made from the same before. Raises Cancelled."""
        while part := next((p for p in _PARTS[screen.looked] if screen.made.get(p) != _made_from(p, whole.asked)), ""):
            yield from getattr(self, f"_make_{part}")(whole, stop)
            screen.made[part] = _made_from(part, whole.asked)

    def _make_gallery(self, whole: Whole, stop: Stop) -> Iterator[Shown]:
        yield {self._gallery: [(enlarge(image, 192), f"{index}") for index, image in enumerate(whole.pictures)]}

    def _make_sweep(self, whole: Whole, stop: Stop) -> Iterator[Shown]:
        if not isinstance(whole.posterior, Posterior):
            yield {self._sweep: _note("A sweep over λ needs evidence.")}
            return
        yield {self._sweep: _note("The sweep over λ is being made…")}
        draws = dict(whole.asked.settings.draws, n=_SWEEP_ROWS)
        x = whole.engine.sweep(whole.posterior, SWEEP_RATIOS, stop=stop, **draws)
        rows = [to_pil(x[:, row]) for row in range(_SWEEP_ROWS)]
        labels = [f"λ/m {ratio:g}" for ratio in SWEEP_RATIOS]
        yield {self._sweep: picture(labelled_rows(rows, column_labels=labels), "the same draws at several λ/m")}

    def _make_mean(self, whole: Whole, stop: Stop) -> Iterator[Shown]:
        image = enlarge(to_pil(whole.engine.decode(whole.posterior.mean[None], stop=stop))[0], 256)
        yield {self._mean: _figure(picture(image, "posterior mean μp"), "posterior mean μp")}

    def _make_rebuilt(self, whole: Whole, stop: Stop) -> Iterator[Shown]:
        """The evidence as the flow gives it back from its latents: what the posterior was told."""
        evidence = whole.asked.intake.evidence
        if not evidence.used:
            yield {self._rebuilt: _note("No evidence to rebuild.")}
            return
        x = whole.engine.decode(evidence.z[:_REBUILT], stop=stop)
        more = f" (the first {_REBUILT})" if len(evidence.used) > _REBUILT else ""
        caption = f"the evidence, decoded from its latents{more}"
        yield {self._rebuilt: _figure(sheet(x, caption), caption)}

    def _make_numbers(self, whole: Whole, stop: Stop) -> Iterator[Shown]:
        told = [image.to_dict() for image in whole.asked.intake.evidence]
        yield {
            self._numbers: whole.engine.run(_numbers, whole, stop=stop),
            self._json: json.dumps(told, indent=1, ensure_ascii=False),
        }

    def _make_away(self, whole: Whole, stop: Stop) -> Iterator[Shown]:
        asked, ready = whole.asked, whole.asked.intake.ready
        yield {self._python: python_code(asked) if ready else "", self._shell: command_line(asked) if ready else ""}


def _made_from(part: str, asked: Asked) -> Hashable:
    """What of that which was asked for a part depends on: λ plays no part in the sweep, nor draws in the mean."""
    settings = asked.settings
    depends = {"sweep": (settings.seed, settings.temperature), "mean": settings.ratio, "rebuilt": None}
    return asked.intake, asked.prior, depends.get(part, settings)


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
    if not isinstance(whole.posterior, Posterior):
        raise ValueError("Without evidence there is no posterior to take: what you see is the prior.")
    intake = whole.asked.intake
    names = ", ".join(image.name for image in intake.used)[:2000]
    whole.posterior.save(path, metadata=_how(whole) | {"evidence": names or intake.saved_name})
    return path


def _note(words: str) -> str:
    return f'<p class="status">{words}</p>'


def _figure(content: str, caption: str) -> str:
    return f"<figure>{content}<figcaption>{escape(caption)}</figcaption></figure>"


def _numbers(whole: Whole) -> str:
    """Every number behind the samples, with its equation."""
    prior, posterior = whole.engine.prior, whole.posterior
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
