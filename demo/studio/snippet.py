"""Code that reproduces what is on the screen: Python and the command line."""

import shlex

from transflow_core.posterior import PRIOR_TEMPERATURE

from ..examples import EXAMPLES
from ..snippet import evidence_paths, is_plain
from .settings import EVIDENCE, PRIOR, Asked

__all__ = ["POSTERIOR_FILE", "command_line", "python_code"]

POSTERIOR_FILE = "posterior.safetensors"


def command_line(asked: Asked) -> str:
    """One `python -m transflow_core sample …`; from the saved posterior where files alone do not say it all."""
    intake, settings = asked.intake, asked.settings
    if settings.mixed:
        return "# levels of several sources can only be put together in Python"
    paths = evidence_paths(intake)
    source = " ".join(map(shlex.quote, paths)) if paths and is_plain(intake) else POSTERIOR_FILE
    return (
        f"python -m transflow_core sample {source} --prior {shlex.quote(asked.prior)} "
        f"--manner {shlex.quote(str(settings.manner))} -n {settings.n} --seed {settings.seed} "
        f"--temperature {settings.temperature:g} -o sheet.png"
    )


def python_code(asked: Asked) -> str:
    """The same in Python, with every weight and choice of face."""
    intake, settings = asked.intake, asked.settings
    lines = ["import transflow_core as tfc", "", f"engine = tfc.Engine(tfc.load_prior({asked.prior!r}))"]
    if not settings.mixed or EVIDENCE in (settings.structure, settings.style):
        lines += _posterior(asked)
    lines.append(f"manner = tfc.{settings.manner!r}")
    if settings.mixed:
        lines += _source("structure", settings.structure, intake.ready)
        same = settings.style == settings.structure
        lines += ["style = structure"] if same else _source("style", settings.style, intake.ready)
        lines += [
            f"fine = min({settings.split}, len(engine.prior.levels))  # levels that the style comes from",
            "coarse = len(engine.prior.levels) - fine",
            "sampler = tfc.compose([style] * fine + [structure] * coarse, engine.prior.levels)",
        ]
    else:
        lines.append("sampler = engine.draw(posterior, manner)")
    lines += [
        f"x = engine.sample(sampler, {settings.n}, seed={settings.seed}, temperature={settings.temperature:g})",
        'tfc.contact_sheet(tfc.to_pil(x)).save("sheet.png")',
    ]
    return "\n".join(lines)


def _posterior(asked: Asked) -> list[str]:
    intake = asked.intake
    if not intake.ready:
        return []
    paths = evidence_paths(intake)
    if paths is None:
        return [f"posterior = engine.posterior([{intake.saved_name or POSTERIOR_FILE!r}])"]
    if is_plain(intake):
        return [f"posterior = engine.posterior(tfc.find_images({paths!r}))"]
    lines = [f"intake = engine.intake(tfc.find_images({paths!r}))"]
    for index, image in enumerate(intake.evidence):
        if image.face is not None and image.face is not image.picture.faces[0]:
            face = "whole" if image.face is image.picture.whole else f"faces[{image.face.index}]"
            lines.append(f"image = intake.evidence[{index}]")
            lines.append(f"intake = intake.put({index}, engine.choose(image, image.picture.{face}))")
        if image.weight != 1:
            lines.append(f"intake = intake.replace({index}, weight={image.weight:g})")
        if not image.robust:
            lines.append(f"intake = intake.replace({index}, robust=False)")
    return [*lines, "posterior = intake.posterior()"]


def _source(name: str, key: str, ready: bool) -> list[str]:
    """A source of levels, see `settings.sources`."""
    if key == PRIOR or (key == EVIDENCE and not ready):
        return [f"{name} = tfc.Gaussian.standard(engine.prior.dim, std={PRIOR_TEMPERATURE:g})"]
    if key == EVIDENCE:
        return [f"{name} = engine.draw(posterior, manner)"]
    folder = (EXAMPLES / key).relative_to(EXAMPLES.parent.parent).as_posix()
    return [f"{name} = engine.draw(engine.posterior(tfc.find_images([{folder!r}])), manner)"]
