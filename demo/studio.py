"""The Studio tab: evidence, sliders, and samples that follow them."""

from __future__ import annotations

import contextlib
import json
import random
import time
import zipfile
from collections.abc import Iterator, Sequence
from html import escape

import gradio as gr
import torch
from PIL import Image

from transflow_core.engine import Engine
from transflow_core.images import contact_sheet, enlarge, labelled_rows, save_png, to_pil
from transflow_core.posterior import Gaussian, Posterior

from .engines import Engines
from .panel import EvidencePanel, Given
from .render import number, picture, sheet
from .session import Workspace
from .settings import MOST_SAMPLES, Settings
from .snippet import POSTERIOR_FILE, command_line, python_code
from .widgets import log_slider, renamed

__all__ = ["Studio"]

SWEEP = (0.05, 0.2, 0.3, 0.5, 0.7, 1.0, 3.0)
_SWEEP_ROWS = 3
_NO_SWEEP = "A sweep over λ needs evidence."
_MOST_LEVELS = 8
DEFAULT = Settings()

# The address keeps the settings: it can be sent to somebody, and a reload comes back to them.
_ADDRESS_JS = """
(lam, temperature, n, seed, example) => {
  const query = new URLSearchParams(location.search);
  const set = (key, value) => value === null || value === '' ? query.delete(key) : query.set(key, value);
  set('lam', lam); set('t', temperature); set('n', n); set('seed', seed); set('example', example);
  history.replaceState(null, '', '?' + query.toString());
}
"""


class Studio:
    """Build the tab inside the current Blocks.

    Args:
        engines: the priors that the page serves.
        prior: the component with the name of this session's prior.
    """

    def __init__(self, engines: Engines, prior: gr.components.Component, first_prior: str) -> None:
        self._engines, self._prior = engines, prior
        with gr.Row():
            with gr.Column(scale=5, min_width=320):
                self.panel = EvidencePanel(
                    engines, prior, title="Evidence", elem_id="evidence", first_prior=first_prior
                )
            with gr.Column(scale=6, min_width=320):
                # λ first and the samples right below it: on a phone too, both are in sight while it is dragged.
                self.lam = log_slider(DEFAULT.lam_ratio, name="λ/m, how far samples may stray", elem_id="lam")
                self._sheet = gr.HTML(elem_id="sheet", elem_classes="sheet", label="Samples")
                self._status = gr.HTML("", elem_id="samples-status", elem_classes="status")
                self._build_controls(first_prior)
        self._build_results()
        self._wire(prior)

    def _build_controls(self, first_prior: str) -> None:
        with gr.Row():
            self.temperature = gr.Slider(
                0, 1.5, DEFAULT.temperature, step=0.05, label="Temperature", elem_id="temperature", min_width=140
            )
            self.n = gr.Slider(1, MOST_SAMPLES, DEFAULT.n, step=1, label="Samples", elem_id="number", min_width=140)
        with gr.Row():
            self.seed = gr.Number(
                DEFAULT.seed, label="Seed", precision=0, minimum=0, maximum=2**31 - 1, elem_id="seed", min_width=110
            )
            self._dice = gr.Button("New seed", elem_id="dice", size="sm", min_width=90)
            self._reset = gr.Button("Reset all", elem_id="reset", size="sm", min_width=90)
        with gr.Accordion("Advanced: one λ/m for each latent level", open=False):
            gr.Markdown("Coarse levels hold pose and the shape of the face, fine ones texture.", elem_classes="status")
            self.by_level = gr.Checkbox(False, label="Use these instead of the slider above", elem_id="by-level")
            names = _level_names(self._engines.get(first_prior))
            self.levels = [
                log_slider(
                    DEFAULT.lam_ratio,
                    name=names[i] if i < len(names) else "",
                    elem_id=f"lam-{i}",
                    visible=i < len(names),
                )
                for i in range(_MOST_LEVELS)
            ]

    def _build_results(self) -> None:
        with gr.Tabs():
            with gr.Tab("Gallery"):
                self._gallery = gr.Gallery(
                    columns=8, height="auto", object_fit="contain", label="Samples", show_label=False, elem_id="gallery"
                )
            with gr.Tab("λ sweep"):
                self._sweep = gr.HTML(elem_id="sweep", label="The same draws at several λ/m")
            with gr.Tab("Mean and evidence"), gr.Row():
                self._mean = gr.HTML(elem_id="mean", label="Posterior mean")
                self._rebuilt = gr.HTML(elem_id="rebuilt", label="The evidence, rebuilt from its latents")
            with gr.Tab("Numbers"):
                self._numbers = gr.HTML(elem_id="numbers", label="Every number")
                with gr.Accordion("Each image, as JSON", open=False):
                    self._json = gr.Code(language="json", elem_id="evidence-json", label="Evidence", max_lines=30)
            with gr.Tab("Take away"):
                with gr.Row():
                    self._sheet_file = gr.DownloadButton("Sheet (PNG)", elem_id="get-sheet", min_width=150)
                    self._zip_file = gr.DownloadButton("All images (ZIP)", elem_id="get-zip", min_width=150)
                    self._posterior_file = gr.DownloadButton("Posterior", elem_id="get-posterior", min_width=150)
                gr.Markdown(
                    "The posterior is a file of its own: drop it on the evidence here or in the Interpolate tab later.",
                    elem_classes="status",
                )
                self._python = gr.Code(language="python", label="The same in Python", elem_id="python")
                self._shell = gr.Code(language="shell", label="The same on the command line", elem_id="shell")
        self._workspace = gr.State(Workspace(), time_to_live=3600, delete_callback=Workspace.close)

    def _wire(self, prior: gr.components.Component) -> None:
        settings = [self.lam, self.temperature, self.n, self.seed, self.by_level, *self.levels]
        inputs = self._inputs = [self.panel.given, prior, *settings]
        live = {
            "show_progress": "hidden",
            "concurrency_limit": 1,
            "concurrency_id": "decode",
            "api_visibility": "private",
        }
        fast = ([self._sheet, self._status], {**live, "trigger_mode": "always_last"})
        everything = self._everything = [
            self._sheet,
            self._status,
            self._gallery,
            self._mean,
            self._rebuilt,
            self._numbers,
            self._json,
            self._sheet_file,
            self._zip_file,
            self._posterior_file,
            self._python,
            self._shell,
            self._sweep,
        ]
        self._full_inputs = [*inputs, self._workspace]
        full = (self._full_inputs, everything, {**live, "trigger_mode": "always_last"})

        sliders = [self.lam, self.temperature, self.n, *self.levels]
        moved = [slider.input for slider in sliders]
        gr.on(moved, self._preview, self._full_inputs, fast[0], **fast[1])
        released = [
            gr.on(
                [slider.release for slider in sliders] + [self.seed.change, self.by_level.change],
                self._full,
                full[0],
                full[1],
                **full[2],
            ),
            *self.panel.then(self._full, full[0], full[1], **live),
        ]
        for event in released:
            event.then(self._swept, inputs, self._sweep, **live).then(
                None,
                [self.lam, self.temperature, self.n, self.seed, self.panel.example],
                None,
                js=_ADDRESS_JS,
                api_visibility="private",
            )
        self._dice.click(
            lambda: random.randrange(10_000), None, self.seed, show_progress="hidden", api_visibility="private"
        )
        self._reset.click(
            lambda: (
                (DEFAULT.lam_ratio, DEFAULT.temperature, DEFAULT.n, DEFAULT.seed, False)
                + (DEFAULT.lam_ratio,) * len(self.levels)
            ),
            None,
            settings,
            show_progress="hidden",
            api_visibility="private",
        ).then(self._full, full[0], full[1], **live).then(self._swept, inputs, self._sweep, **live)
        prior.change(self._relevel, prior, self.levels, show_progress="hidden", api_visibility="private").then(
            self._ready, prior, None, **live
        )

    def open_with(self, demo: gr.Blocks) -> None:
        """When the page opens: the settings and the example set that its address names, and samples at once."""
        controls = [self.lam, self.temperature, self.n, self.seed]
        options = {"show_progress": "hidden", "api_visibility": "private"}
        demo.load(self._from_address, self._prior, [*self.panel.outputs, *controls], **options).then(
            self._full, self._full_inputs, self._everything, **options
        ).then(self._swept, self._inputs, self._sweep, **options).then(
            self._ready, self._prior, None, concurrency_limit=1, concurrency_id="decode", **options
        )

    def _ready(self, prior: str) -> None:
        """Let the engine find out how it shows previews before somebody waits for the first one."""
        engine = self._engines.get(prior)
        engine.preview(Gaussian.standard(engine.prior.dim), 1)

    def _from_address(self, prior: str, request: gr.Request) -> tuple:
        query = dict(request.query_params)
        values = [DEFAULT.lam_ratio, DEFAULT.temperature, DEFAULT.n, DEFAULT.seed]
        for index, key in enumerate(("lam", "t", "n", "seed")):
            with contextlib.suppress(ValueError):  # an address that was typed wrong opens with the default
                values[index] = float(query.get(key, values[index]))
        try:
            settings = Settings.checked(*values)
        except ValueError:
            settings = DEFAULT
        shown = self.panel.open(query.get("example", ""), prior)
        return (*shown, settings.lam_ratio, settings.temperature, settings.n, settings.seed)

    def _posterior(self, given: Given, prior: str, values: Sequence) -> tuple[Engine, Settings, Gaussian]:
        """What the controls say, as an engine, checked settings, and a posterior: the prior itself without evidence."""
        try:
            engine = self._engines.get(prior)
            lam, temperature, n, seed, by_level, *levels = values
            levels = levels[: len(engine.prior.levels)] if by_level else ()
            settings = Settings.checked(lam, temperature, n, seed, tuple(levels))
            if not given.ready or given.prior != prior:
                return engine, settings, Gaussian.standard(engine.prior.dim)
            return engine, settings, given.posterior(settings.ratio(engine.prior))
        except (ValueError, OSError) as error:
            raise gr.Error(str(error), print_exception=False) from error

    def _preview(self, given: Given, prior: str, *values) -> tuple:
        """The samples while a slider moves, less sharp where that is faster.

        The last preview of a drag is often asked for after the slider was let go: it would hide the whole images.
        """
        *values, workspace = values
        engine, settings, posterior = self._posterior(given, prior, values)
        if _same(workspace.shown, (given, prior, settings)):
            return gr.skip(), gr.skip()
        workspace.shown = None
        started = time.perf_counter()
        x = engine.preview(posterior, settings.n, seed=settings.seed, temperature=settings.temperature)
        return sheet(x, "samples"), _timing(posterior, settings, time.perf_counter() - started)

    def _full(self, given: Given, prior: str, *values) -> Iterator[tuple]:
        """Everything that follows from the controls: the sheet first, since it may stand there as a preview."""
        *values, workspace = values
        engine, settings, posterior = self._posterior(given, prior, values)
        if given.prior != prior:  # chosen just now: the evidence is still being read anew
            given = Given(prior)
        started = time.perf_counter()
        x = engine.sample(posterior, settings.n, seed=settings.seed, temperature=settings.temperature)
        seconds = time.perf_counter() - started
        workspace.shown = given, prior, settings
        new = workspace.rebuilt[0] is not given
        # The sweep comes last: what stands there belongs to other evidence.
        sweep = _note("The sweep over λ is being made…" if given.ready else _NO_SWEEP) if new else gr.skip()
        yield sheet(x, "samples"), *[gr.skip()] * (len(self._everything) - 2), sweep
        pictures = to_pil(x)
        mean = to_pil(engine.decode(posterior.mean[None]))[0]
        files = self._files(engine, posterior, given, settings, pictures, workspace)
        if new:
            workspace.rebuilt = given, _rebuilt(engine, given)
        yield (
            gr.skip(),
            _timing(posterior, settings, seconds),
            [(enlarge(image, 192), f"{index}") for index, image in enumerate(pictures)],
            _figure(enlarge(mean, 256), "posterior mean μp"),
            workspace.rebuilt[1],
            _numbers(engine, posterior, given, settings),
            json.dumps([image.to_dict() for image in given.evidence], indent=1, ensure_ascii=False),
            *files,
            python_code(given, settings) if given.ready else "",
            command_line(given, settings) if given.ready else "",
            gr.skip(),
        )

    def _swept(self, given: Given, prior: str, *values) -> str:
        engine, settings, posterior = self._posterior(given, prior, values)
        if not isinstance(posterior, Posterior):
            return _note(_NO_SWEEP)
        z = [
            posterior.with_lam(ratio).sample(_SWEEP_ROWS, seed=settings.seed, temperature=settings.temperature)
            for ratio in SWEEP
        ]
        x = engine.decode(torch.cat(z))
        columns = [to_pil(part) for part in x.split(_SWEEP_ROWS)]
        rows = [[column[row] for column in columns] for row in range(_SWEEP_ROWS)]
        labels = [f"λ/m {ratio:g}" for ratio in SWEEP]
        return picture(labelled_rows(rows, column_labels=labels), "the same draws at several λ/m")

    def _files(
        self,
        engine: Engine,
        posterior: Gaussian,
        given: Given,
        settings: Settings,
        pictures: list[Image.Image],
        workspace: Workspace,
    ) -> tuple:
        """Write what can be taken away; gives updates of the three download buttons."""
        how = {
            "prior": engine.prior.name,
            "fingerprint": engine.prior.fingerprint,
            "lam_ratio": settings.words(),
            "temperature": f"{settings.temperature:g}",
            "seed": str(settings.seed),
        }
        sheet_file, zip_file, posterior_file = (
            workspace.file(name) for name in ("sheet.png", "samples.zip", POSTERIOR_FILE)
        )
        save_png(contact_sheet(pictures), sheet_file, metadata=how)
        with zipfile.ZipFile(zip_file, "w", zipfile.ZIP_STORED) as archive:
            for index, image in enumerate(pictures):
                with archive.open(f"sample_{index:04d}.png", "w") as entry:
                    image.save(entry, "PNG")
        if isinstance(posterior, Posterior):
            names = ", ".join(image.name for image in given.evidence.used)[:2000]
            posterior.save(posterior_file, metadata=how | {"evidence": names or given.saved_name})
        saved = gr.update(
            value=posterior_file if isinstance(posterior, Posterior) else None,
            interactive=isinstance(posterior, Posterior),
        )
        return sheet_file, zip_file, saved

    def _relevel(self, prior: str) -> list:
        """Another prior may have other levels: name and show as many sliders."""
        names = _level_names(self._engines.get(prior))
        return [
            renamed(names[i] if i < len(names) else "", slider.elem_id, i < len(names))
            for i, slider in enumerate(self.levels)
        ]


def _same(shown: tuple | None, asked: tuple) -> bool:
    """Whether both are of the same evidence (Given is replaced, never changed), prior and settings."""
    return shown is not None and shown[0] is asked[0] and shown[1:] == asked[1:]


def _level_names(engine: Engine) -> list[str]:
    levels = engine.prior.levels
    names = [f"λ/m of level {level.name}" for level in levels]
    names[0] += " (finest: texture)"
    names[-1] += " (coarsest: pose and face shape)"
    return names


def _timing(posterior: Gaussian, settings: Settings, seconds: float) -> str:
    words = f"λ/m = {settings.words()}, m = {posterior.m:g}" if isinstance(posterior, Posterior) else "the prior itself"
    return f"{words} · {settings.n} samples in {seconds:.2f} s · seed {settings.seed}"


def _note(words: str) -> str:
    return f'<p class="status">{words}</p>'


def _figure(image: Image.Image, caption: str) -> str:
    return f"<figure>{picture(image, caption)}<figcaption>{escape(caption)}</figcaption></figure>"


def _rebuilt(engine: Engine, given: Given) -> str:
    """The evidence as the flow gives it back from its latents: what the posterior was told."""
    used = given.evidence.used
    if not used:
        return _note("No evidence to rebuild.")
    x = engine.decode(torch.stack([image.latent.z for image in used[:24]]))
    caption = "the evidence, decoded from its latents" + (" (the first 24)" if len(used) > 24 else "")
    return f"<figure>{sheet(x, caption)}<figcaption>{escape(caption)}</figcaption></figure>"


def _numbers(engine: Engine, posterior: Gaussian, given: Given, settings: Settings) -> str:
    """Every number behind the samples, with its equation."""
    prior = engine.prior
    rows = [("prior", f"{prior.name} ({prior.fingerprint})"), ("D, dimensions of the latent", f"{prior.dim:,}")]
    if isinstance(posterior, Posterior):
        norm = float(posterior.evidence_mean.double().square().sum())
        variance = posterior.variance
        rows += [
            ("m, pieces of evidence (sum of weights)", f"{posterior.m:g}"),
            ("λ/m", settings.words()),
            ("λ", f"{float(posterior.lam):g}" if posterior.lam.ndim == 0 else "one for each level"),
            ("‖ζ̄‖², evidence mean (D under the prior if m = 1)", number(norm)),
            ("‖μp‖², eq. 7", number(float(posterior.mean.double().square().sum()))),
            ("Σp, eq. 8 (mean over dimensions)", f"{float(variance.double().mean()):.4f}"),
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
