"""Code that reproduces what is on the screen: Python and the command line."""

import shlex

from ..snippet import evidence_paths, is_plain
from .settings import Asked

__all__ = ["POSTERIOR_FILE", "command_line", "python_code"]

POSTERIOR_FILE = "posterior.safetensors"


def command_line(asked: Asked) -> str:
    """One `python -m transflow_core sample …`; from the saved posterior where files alone do not say it all."""
    intake, settings = asked.intake, asked.settings
    paths = evidence_paths(intake)
    source = " ".join(map(shlex.quote, paths)) if paths and is_plain(intake) else POSTERIOR_FILE
    return (
        f"python -m transflow_core sample {source} --prior {shlex.quote(asked.prior)} "
        f"--lam-ratio {settings.words.replace(' ', '')} -n {settings.n} --seed {settings.seed} "
        f"--temperature {settings.temperature:g} -o sheet.png"
    )


def python_code(asked: Asked) -> str:
    """The same in Python, with every weight and choice of face."""
    intake, settings = asked.intake, asked.settings
    ratio = f"[{settings.words}]" if settings.levels else settings.words
    lines = ["import transflow_core as tfc", "", f"engine = tfc.Engine(tfc.load_prior({asked.prior!r}))"]
    paths = evidence_paths(intake)
    if paths is None:
        lines.append(f"posterior = engine.posterior([{intake.saved_name or POSTERIOR_FILE!r}], {ratio})")
    elif is_plain(intake):
        lines.append(f"posterior = engine.posterior(tfc.find_images({paths!r}), {ratio})")
    else:
        lines.append(f"intake = engine.intake(tfc.find_images({paths!r}))")
        for index, image in enumerate(intake.evidence):
            if image.face is not None and image.face is not image.picture.faces[0]:
                face = "whole" if image.face is image.picture.whole else f"faces[{image.face.index}]"
                lines.append(f"image = intake.evidence[{index}]")
                lines.append(f"intake = intake.put({index}, engine.choose(image, image.picture.{face}))")
            if image.weight != 1:
                lines.append(f"intake = intake.replace({index}, weight={image.weight:g})")
        lines.append(f"posterior = intake.posterior(engine.ratio({ratio}))")
    lines += [
        f"x = engine.sample(posterior, {settings.n}, seed={settings.seed}, temperature={settings.temperature:g})",
        'tfc.contact_sheet(tfc.to_pil(x)).save("sheet.png")',
    ]
    return "\n".join(lines)
