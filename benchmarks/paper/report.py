"""docs/results.md, written from the numbers in results.json: no sentence about a result is typed by hand."""

from __future__ import annotations

import textwrap
from types import ModuleType

from . import fig1, fig2, fig3, fig5, fig6, fig7, fig8, fig9, near, styles, table1, typical
from .words import Result

__all__ = ["SECTIONS", "render"]

#: Each section by its name, in the page's order: a module with `run(setting)` and `words(result)`.
SECTIONS: dict[str, ModuleType] = {
    module.__name__.rpartition(".")[2]: module
    for module in (fig1, fig2, fig3, fig5, fig6, fig7, fig8, near, typical, fig9, table1, styles)
}


def render(results: Result) -> str:
    """The page, from what `python -m benchmarks.paper` measured; what was not run is left out."""
    run = results["run"]
    seconds = {name: run["seconds"][name] for name in SECTIONS if name in run["seconds"]}
    evidence = "; ".join(dict.fromkeys(run["evidence"].values())) or "none"
    late = ", ".join(f"`{name}`" for name in run.get("untimed", ()))
    untimed = f"The minutes of {late} are an earlier version's. " if late else ""
    minutes = sum(seconds.values()) / 60
    head = f"""# The paper, reproduced and answered

The figures and the table of *Transflow Learning* on the prior `{run["prior"]}` (fingerprint
`{run["fingerprint"][:12]}`, {run["image_size"]}×{run["image_size"]} pixels, D = {run["dim"]:,}). Every number is in
[results.json](results/results.json). Every sentence about a result is made from its numbers.

    python -m benchmarks.paper --evidence FOLDER --faces SET    # {minutes:.0f} minutes on {run["threads"]} cores
    python -m benchmarks.paper --only fig7                      # one section
    python -m benchmarks.paper --fast                           # a small part of everything, in seconds

{untimed}Evidence: {evidence}. Photographs come from the given folder. They are not published: pictures show samples,
and only evidence of people who do not exist.

*Chroma* is the mean CIELAB chroma. *Diversity* is the mean root-mean-square difference of two samples. ± is half the
width of a 95 % t interval. "Ahead" and "nearer" mean that the interval of the paired difference excludes 0. Samples
have temperature 1, and every column of a figure has the same noise."""
    parts = [head, *[section.words(results[name]) for name, section in SECTIONS.items() if name in results]]
    missing = [name for name in SECTIONS if name not in results]
    if missing:
        parts.insert(1, f"**Not measured in this run**: {', '.join(missing)} (`--only {' '.join(missing)}` adds them).")
    parts.append(
        "## Beyond the paper\n\nOther pages measure [samples like the set](results/likeness.md), [whole "
        "faces](results/judged.md), [ten given images](results/fewshot_adaptation.md), [restyled "
        "photographs](results/restyle.md), [ignored parts](results/masks.md) and [outliers](results/robust.md)."
    )
    return "\n\n".join(map(_filled, "\n\n".join(parts).split("\n\n"))) + "\n"


def _filled(block: str) -> str:
    """Prose and points in lines of at most 120; tables, headings, pictures and code as they are."""
    if block.startswith(("|", "#", "!", "    ")):
        return block
    parts = block.split("\n") if block.startswith("- ") else [block]
    indents = ["  " * part.startswith("- ") for part in parts]
    return "\n".join(
        textwrap.fill(part, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
        for part, indent in zip(parts, indents, strict=True)
    )
