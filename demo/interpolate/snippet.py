"""Code that reproduces an interpolation: Python, and the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transflow_core.intake import Intake
from transflow_core.recipes import Condition, Method
from transflow_core.views import to_python, to_shell

from ..examples import EXAMPLES
from ..snippet import evidence_paths, is_plain
from .route import Route, RouteSettings, first_image

__all__ = ["POSTERIOR_FILES", "STRIP_FILE", "command_line", "python_code"]

STRIP_FILE = "interpolation.png"
_POINT: Any = {"method": "posterior", "lam_ratio": 0.0, "likeness": None, "images_per_sample": None}
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
        calls.append(f'engine.interpolate({ends}, {{steps}}, {{n}}, method="{route.path}", {draw})')
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
    """`transflow interpolate …`, one for each path; first `condition` where an end is more than one path of files."""
    lines: list[str] = []
    ends: list[str] = []
    asked = settings.recipe.replace(prior=a.prior or b.prior)
    for route in shown:
        output = STRIP_FILE if len(shown) == 1 else f"interpolation_{route.key}.png"
        recipe = asked.replace(interpolation=route.path, n=route.n)
        if route.key == "direct":
            if not _as_largest_face(a, "A") or not _as_largest_face(b, "B"):
                lines.append("# the face that was picked by hand can only be named in Python")
                continue
            sources = [_image_path(intake, side) for intake, side in ((a, "A"), (b, "B"))]
            recipe = recipe.replace(**_POINT, lam_ratio_a=None, lam_ratio_b=None)
        else:
            one_each = all(len(_end_paths(intake)) == 1 for intake in (a, b))
            if not ends:
                ends = [_end_paths(intake)[0] for intake in (a, b)] if one_each else _as_files(a, b, settings, lines)
            sources = ends
            if not one_each:  # each file keeps its own method
                recipe = recipe.replace(**dict(Method()), lam_ratio_a=None, lam_ratio_b=None)
        lines.append(to_shell(recipe, sources, output))
    return "\n".join(lines)


def _as_files(a: Intake, b: Intake, settings: RouteSettings, lines: list[str]) -> list[str]:
    """Both ends as posteriors; adds the commands that make them."""
    for letter, intake, lam in (("a", a, settings.lam_a), ("b", b, settings.lam_b)):
        paths, file = _end_paths(intake), POSTERIOR_FILES[letter]
        if paths and intake.saved is None:
            how = Condition.checked(dict(settings.method.replace(lam_ratio=lam)) | {"prior": intake.prior})
            lines.append(to_shell(how, paths, file))
        else:
            lines.append(f"# {file} is the file to take away on this page")
    return list(POSTERIOR_FILES.values())


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
    return f"{letter} = engine.draw({posterior}, tfc.{to_python(settings.method.replace(lam_ratio=lam))}){where}"


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
