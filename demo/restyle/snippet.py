"""Code that reproduces a restyled photograph: Python, and the command line."""

from pathlib import Path

from transflow_core.views import to_python, to_shell

from ..examples import PHOTOGRAPH
from ..snippet import evidence_paths, is_plain
from .work import MASK_FILE, POSTERIOR_FILE, Asked

__all__ = ["command_line", "python_code"]


def python_code(asked: Asked) -> str:
    """Python that writes the same picture."""
    photograph, style = _photograph(asked), _style(asked)
    evidence = repr(style) if style[0].endswith(".safetensors") else f"tfc.find_images({style!r})"
    masks = "" if asked.sitting.mask is None else f", masks=[{MASK_FILE!r}]"
    return "\n".join(
        [
            "import transflow_core as tfc",
            "",
            f"engine = tfc.Engine(tfc.load_prior({asked.prior!r}))",
            f"evidence = {evidence}",
            f"recipe = tfc.{to_python(asked.recipe)}",
            f"result = engine.run(recipe, photographs=[{photograph!r}], evidence=evidence{masks})",
            'result.save("restyled.png")',
        ]
    )


def command_line(asked: Asked) -> str:
    """`transflow restyle …`."""
    style = [word for path in _style(asked) for word in ("--style", path)]
    masks = [] if asked.sitting.mask is None else ["--mask", MASK_FILE]
    return to_shell(asked.recipe, [_photograph(asked), *style, *masks], "restyled.png")


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
