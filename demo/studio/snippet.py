"""Code that reproduces what is on the screen: Python and the command line."""

from transflow_core.views import to_python, to_shell

from ..snippet import evidence_paths, is_plain
from .settings import Asked

__all__ = ["POSTERIOR_FILE", "command_line", "python_code"]

POSTERIOR_FILE = "posterior.safetensors"


def command_line(asked: Asked) -> str:
    """One `transflow sample …`; from the saved posterior where files alone do not say it all."""
    paths = evidence_paths(asked.intake)
    source = paths if paths and is_plain(asked.intake) else [asked.intake.saved_name or POSTERIOR_FILE]
    return to_shell(asked.recipe, source, "sheet.png")


def python_code(asked: Asked) -> str:
    """The same in Python, with every weight and choice of face."""
    recipe = to_python(asked.recipe)
    lines = ["import transflow_core as tfc", "", f"engine = tfc.Engine(tfc.load_prior({asked.prior!r}))"]
    lines += [*_evidence(asked), f"result = engine.run(tfc.{recipe}, evidence=evidence)", 'result.save("sheet.png")']
    return "\n".join(lines)


def _evidence(asked: Asked) -> list[str]:
    intake = asked.intake
    paths = evidence_paths(intake)
    if paths is None:
        return [f"evidence = [{intake.saved_name or POSTERIOR_FILE!r}]"]
    if is_plain(intake):
        return [f"evidence = tfc.find_images({paths!r})"]
    lines = [f"evidence = engine.intake(tfc.find_images({paths!r}))"]
    for index, image in enumerate(intake.evidence):
        if image.face is not None and image.face is not image.picture.faces[0]:
            face = "whole" if image.face is image.picture.whole else f"faces[{image.face.index}]"
            lines.append(f"image = evidence.evidence[{index}]")
            lines.append(f"evidence = evidence.put({index}, engine.choose(image, image.picture.{face}))")
        if image.weight != 1:
            lines.append(f"evidence = evidence.replace({index}, weight={image.weight:g})")
        if not image.robust:
            lines.append(f"evidence = evidence.replace({index}, robust=False)")
    return lines
