"""Code that reproduces what is on the screen: Python and the command line."""

import shlex
from pathlib import Path

from .examples import EXAMPLES
from .panel import Given
from .settings import Settings

__all__ = ["POSTERIOR_FILE", "command_line", "evidence_paths", "is_plain", "python_code"]

POSTERIOR_FILE = "posterior.safetensors"


def evidence_paths(given: Given) -> list[str] | None:
    """The evidence's files as a person has them; None when there are none, or two that a name does not tell apart."""
    if given.example:
        return [str((EXAMPLES / given.example).relative_to(EXAMPLES.parent.parent).as_posix())]
    if given.saved is not None or not all(isinstance(source, str | Path) for source in given.sources):
        return None
    names = [Path(source).name for source in given.sources]
    return names if len(set(names)) == len(names) else None


def is_plain(given: Given) -> bool:
    """Whether every image counts once, as its largest face."""
    return all(
        image.weight == 1 and (image.face is None or image.face is image.picture.faces[0]) for image in given.evidence
    )


def command_line(given: Given, settings: Settings) -> str:
    """One `python -m transflow_core sample …`; from the saved posterior where files alone do not say it all."""
    paths = evidence_paths(given)
    source = " ".join(map(shlex.quote, paths)) if paths and is_plain(given) else POSTERIOR_FILE
    lam = ",".join(f"{level:g}" for level in settings.levels) or f"{settings.lam_ratio:g}"
    return (
        f"python -m transflow_core sample {source} --prior {shlex.quote(given.prior)} --lam-ratio {lam} "
        f"-n {settings.n} --seed {settings.seed} --temperature {settings.temperature:g} -o sheet.png"
    )


def python_code(given: Given, settings: Settings) -> str:
    """The same in Python, with every weight and choice of face."""
    lines = ["import transflow_core as tfc", "", f"engine = tfc.Engine(tfc.load_prior({given.prior!r}))"]
    ratio = f"{settings.lam_ratio:g}"
    if settings.levels:
        ratio = f"tfc.per_level([{', '.join(f'{level:g}' for level in settings.levels)}], engine.prior.levels)"
    paths = evidence_paths(given)
    if paths is None:
        lines.append(f'posterior = tfc.Posterior.load("{given.saved_name or POSTERIOR_FILE}").with_lam({ratio})')
    else:
        lines.append(f"evidence = engine.evidence(tfc.find_images({paths!r}))")
        for index, image in enumerate(given.evidence):
            if image.face is not None and image.face is not image.picture.faces[0]:
                face = "whole" if image.face is image.picture.whole else f"faces[{image.face.index}]"
                lines.append(f"picture = evidence[{index}].picture")
                lines.append(f"evidence = evidence.put({index}, engine.choose([(picture, picture.{face})])[0])")
            if image.weight != 1:
                lines.append(f"evidence = evidence.replace({index}, weight={image.weight:g})")
        lines.append(f"posterior = evidence.condition(lam_ratio={ratio})")
    lines += [
        f"x = engine.sample(posterior, {settings.n}, seed={settings.seed}, temperature={settings.temperature:g})",
        'tfc.contact_sheet(tfc.to_pil(x)).save("sheet.png")',
    ]
    return "\n".join(lines)
