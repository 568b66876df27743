"""Code that reproduces a restyled photograph: Python, and the command line."""

import shlex
from pathlib import Path

from ..examples import PHOTOGRAPH
from ..snippet import evidence_paths, is_plain
from .work import MASK_FILE, POSTERIOR_FILE, Asked

__all__ = ["command_line", "python_code"]


def python_code(asked: Asked) -> str:
    """Python that writes the same picture."""
    settings, levels = asked.settings, asked.settings.kept
    photograph, style = _photograph(asked), _style(asked)
    source = repr(style) if style[0].endswith(".safetensors") else f"tfc.find_images({style!r})"
    strength = f"[{settings.strength:g}]"
    if levels:
        strength = f"[[{settings.strength:g}] * (len(engine.prior.levels) - {levels}) + [0.0] * {levels}]"
    toned = "" if settings.toned else ", toned=False"
    away = [f"photograph, faces = engine.paint_away(photograph, faces, tfc.load_image({MASK_FILE!r}))"]
    if asked.sitting.mask is None:
        away = []
    return "\n".join(
        [
            "import transflow_core as tfc",
            "",
            f"engine = tfc.Engine(tfc.load_prior({asked.prior!r}))",
            f"style = engine.posterior({source})",
            f"photograph = tfc.load_image({photograph!r})",
            f'faces = engine.intake([{photograph!r}], faces="all").evidence',
            *away,
            f"restyled = engine.restyle(faces, style, {strength}, likeness={settings.likeness:g})",
            f'restyled.pasted(photograph{toned}).save("restyled.png")',
        ]
    )


def command_line(asked: Asked) -> str:
    """`python -m transflow_core restyle …`."""
    settings = asked.settings
    options = f"--strength {settings.strength:g} --likeness {settings.likeness:g}"
    options += f" --keep-levels {settings.kept}" if settings.kept else ""
    options += "" if settings.toned else " --no-toned"
    options += "" if asked.sitting.mask is None else f" --mask {MASK_FILE}"
    style = " ".join(f"--style {shlex.quote(path)}" for path in _style(asked))
    photograph, prior = shlex.quote(_photograph(asked)), shlex.quote(asked.prior)
    return f"python -m transflow_core restyle {photograph} {style} {options} --prior {prior} -o restyled.png"


def _photograph(asked: Asked) -> str:
    source = asked.sitting.source
    if source == PHOTOGRAPH:
        return PHOTOGRAPH.relative_to(PHOTOGRAPH.parent.parent.parent).as_posix()
    name = Path(source).name if isinstance(source, str | Path) else asked.sitting.name
    return name if Path(name).suffix else f"{name}.png"


def _style(asked: Asked) -> list[str]:
    """Paths that describe the style; the file to take away where only that does."""
    paths = evidence_paths(asked.style)
    if asked.style.saved is not None:
        return [asked.style.saved_name]
    return paths if paths and is_plain(asked.style) else [POSTERIOR_FILE]
