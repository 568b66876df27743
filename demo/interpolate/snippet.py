"""Code that reproduces an interpolation: Python, and the command line."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from transflow_core.intake import Intake

from ..examples import EXAMPLES
from ..snippet import evidence_paths, is_plain
from .route import Route, RouteSettings, first_image

__all__ = ["POSTERIOR_FILES", "STRIP_FILE", "command_line", "python_code"]

STRIP_FILE = "interpolation.png"
#: The ends as files to take away, for evidence that files alone do not describe: weights, faces picked by hand.
POSTERIOR_FILES = {"a": "posterior_a.safetensors", "b": "posterior_b.safetensors"}


def python_code(shown: Sequence[Route], a: Intake, b: Intake, settings: RouteSettings) -> str:
    """Python that makes the strip and the animation; a pixel may be off by the last byte of an image, in rounding."""
    keys = [route.key for route in shown]
    lines = [
        "import transflow_core as tfc",
        "from transflow_core.images import labelled_rows, save_animation",
        "",
        f"engine = tfc.Engine(tfc.load_prior({a.prior!r}))",
    ]
    if keys != ["direct"]:
        lines += [_python_end("a", a, settings, settings.lam_a), _python_end("b", b, settings, settings.lam_b)]
    if "direct" in keys:
        lines += [*_python_image("image_a", a, "A"), *_python_image("image_b", b, "B")]
    draw = f"seed={settings.seed}, temperature={settings.temperature:g}"
    calls = []
    for route in shown:
        ends = "image_a, image_b" if route.key == "direct" else "a, b"
        calls.append(f'engine.interpolate({ends}, {{steps}}, {{n}}, method="{route.method}", {draw})')
    ns = [route.n for route in shown]
    if len(shown) == 1:
        lines += [
            f"x = {calls[0].format(steps=settings.steps, n=ns[0])}",
            f"rows = [tfc.to_pil(x[:, draw]) for draw in range({ns[0]})]",
        ]
    else:
        lines.append("strips = [")
        lines += [f"    {call.format(steps=settings.steps, n=n)}," for call, n in zip(calls, ns, strict=True)]
        lines += ["]", "rows = [tfc.to_pil(x[:, draw]) for x in strips for draw in range(x.shape[1])]"]
        labels = [label for route in shown for label in [route.title] + [""] * (route.n - 1)]
        lines.append(f"names = {labels!r}")
    named = "row_labels=names, " if len(shown) > 1 else ""
    lines += [
        f'labels = [f"{{i / {settings.steps - 1}:.2f}}" for i in range({settings.steps})]',
        f'labelled_rows(rows, {named}column_labels=labels).save("{STRIP_FILE}")',
        "",
    ]
    if len(shown) == 1:
        lines += [
            f"x = {calls[0].format(steps=settings.frames, n=ns[0])}",
            "frames = [tfc.contact_sheet(tfc.to_pil(frame)) for frame in x]",
        ]
    else:
        lines.append("ways = [")
        lines += [f"    {call.format(steps=settings.frames, n=1)}," for call in calls]
        titles = [route.title for route in shown]
        lines += [
            "]",
            "frames = [",
            f"    tfc.contact_sheet([tfc.to_pil(x[i])[0] for x in ways], columns={len(shown)}, labels={titles!r})",
            f"    for i in range({settings.frames})",
            "]",
        ]
    lines.append('save_animation(frames, "interpolation.webp", boomerang=True)')
    return "\n".join(lines)


def command_line(shown: Sequence[Route], a: Intake, b: Intake, settings: RouteSettings) -> str:
    """`python -m transflow_core interpolate …`, one for each route; first `sample` where an end must become a file."""
    lines: list[str] = []
    prior = f"--prior {shlex.quote(a.prior)}"
    common = f"--steps {settings.steps} --seed {settings.seed} --temperature {settings.temperature:g} {prior}"
    ends, ratio = None, ""
    for route in shown:
        output = STRIP_FILE if len(shown) == 1 else f"interpolation_{route.key}.png"
        if route.key == "direct":
            images = [_image_path(intake, side) for intake, side in ((a, "A"), (b, "B"))]
            if not _as_largest_face(a, "A") or not _as_largest_face(b, "B"):
                lines.append("# the face that was picked by hand can only be named in Python")
                continue
            sources, options = images, "--manner mean:lam_ratio=0 -n 1"
        else:
            if ends is None:
                ends, ratio = _command_ends(a, b, settings, prior, lines)
            sources, options = ends, f"{ratio}-n {route.n}"
        paths = " ".join(map(shlex.quote, sources))
        method = f"--method {route.method} " if route.key == "wasserstein" else ""
        lines.append(f"python -m transflow_core interpolate {paths} {method}{options} {common} -o {output}")
    return "\n".join(lines)


def _command_ends(a: Intake, b: Intake, settings: RouteSettings, prior: str, lines: list[str]) -> tuple[list[str], str]:
    """The two arguments of `interpolate` and its manner; adds commands that save an end as a file where that is needed.

    `interpolate` takes one path an end and one manner for both; a saved posterior keeps its own.
    """
    paths = [_end_paths(intake) for intake in (a, b)]
    if settings.lam_a == settings.lam_b and all(len(found) == 1 for found in paths):
        return [found[0] for found in paths], f"--manner {settings.manner.with_lam(settings.lam_a)} "
    for letter, found, lam in (("a", paths[0], settings.lam_a), ("b", paths[1], settings.lam_b)):
        if found:
            sources = " ".join(map(shlex.quote, found))
            lines.append(
                f"python -m transflow_core sample {sources} --manner {settings.manner.with_lam(lam)} {prior} -n 1 "
                f"--save-posterior {POSTERIOR_FILES[letter]} -o sample_{letter}.png"
            )
        else:
            lines.append(f"# {POSTERIOR_FILES[letter]} is the file to take away on this page")
    return list(POSTERIOR_FILES.values()), ""


def _end_paths(intake: Intake) -> list[str]:
    """Paths that describe what a side holds in full; empty where only a saved posterior does."""
    if intake.saved is not None:
        return [intake.saved_name]
    paths = evidence_paths(intake) if intake.ready else None
    return paths if paths and is_plain(intake) else []


def _python_end(letter: str, intake: Intake, settings: RouteSettings, lam: float) -> str:
    if not intake.ready:
        return f"{letter} = tfc.Gaussian.standard(engine.prior.dim)"
    paths, where = _end_paths(intake), ""
    if intake.saved is not None:
        posterior = f"tfc.Posterior.load({intake.saved_name!r})"
    elif paths:
        posterior = f"engine.posterior(tfc.find_images({paths!r}))"
    else:
        posterior, where = f"tfc.Posterior.load({POSTERIOR_FILES[letter]!r})", "  # the file to take away on this page"
    return f"{letter} = engine.draw({posterior}, tfc.{settings.manner.with_lam(lam)!r}){where}"


def _python_image(name: str, intake: Intake, side: str) -> list[str]:
    """A single image is a posterior at λ = 0: a point."""
    image, path = first_image(intake, side), _image_path(intake, side)
    if _as_largest_face(intake, side):
        return [f"{name} = engine.posterior([{path!r}], 0)"]
    chosen = image.face
    face = "whole" if chosen is None or chosen is image.picture.whole else f"faces[{chosen.index}]"
    return [
        f"image = engine.intake([{path!r}]).evidence[0]",
        f"image = engine.choose(image, image.picture.{face})",
        f"{name} = tfc.Posterior.condition(image.latent.z[None], lam_ratio=0)",
    ]


def _as_largest_face(intake: Intake, side: str) -> bool:
    image = first_image(intake, side)
    return image.face is image.picture.faces[0]


def _image_path(intake: Intake, side: str) -> str:
    """The first image's file as a person has it; a picture of the webcam must be saved under this name."""
    image = first_image(intake, side)
    if not isinstance(image.source, str | Path):
        return f"{image.name}.png"
    if intake.example:
        return Path(image.source).relative_to(EXAMPLES.parent.parent).as_posix()
    return Path(image.source).name
