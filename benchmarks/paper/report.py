"""docs/results.md, written from the numbers in results.json: no sentence about a result is typed by hand."""

from __future__ import annotations

import textwrap
from types import ModuleType

from . import fig1, fig2, fig3, fig5, fig6, fig7, fig8, fig9, near, styles, table1, typical
from .words import Result, table

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
    minutes = sum(seconds.values()) / 60
    rows = [[name, f"{value:.0f}"] for name, value in seconds.items()]
    head = f"""# The paper, reproduced and answered

The figures and the table of *Transflow Learning* on the prior `{run["prior"]}` (fingerprint
`{run["fingerprint"][:12]}`, {run["image_size"]}×{run["image_size"]} pixels, D = {run["dim"]:,}). Written by

    python -m benchmarks.paper --evidence FOLDER --faces SET    # everything; what is below took {minutes:.0f} minutes
    python -m benchmarks.paper --only fig7          # one section; --fast: a small subset in seconds

from [results.json](results/results.json), where every number is; sentences are made from the numbers, so that a re-run
changes both. Samples use temperature 1 unless it is said, and the same noise in every column of a figure (common random
numbers). Evidence: {evidence} (the most that a section takes). Photographs are of
the folder that is given, a folder for each set, plain ones of the set of faces that priors are trained from, and held
out there; they are not published; pictures show samples, and of evidence
only faces that nobody has.

**Measures.** *Chroma*: mean CIELAB chroma. *Diversity*: mean root-mean-square difference of two samples. ± is
half the width of a 95 % t interval, over what is said there; nothing is added where there is one value. "Ahead"
and "nearer" are said only where the interval of the paired difference leaves out 0."""
    parts = [head, *[section.words(results[name]) for name, section in SECTIONS.items() if name in results]]
    missing = [name for name in SECTIONS if name not in results]
    if missing:
        parts.insert(1, f"**Not measured in this run**: {', '.join(missing)} (`--only {' '.join(missing)}` adds them).")
    parts.append(
        "## Beyond the paper\n\nPages of their own: [samples like the whole set](results/likeness.md); "
        "[photographs restyled](results/restyle.md), where the paper says that it would be unable to modify a single "
        "image in a meaningful way; [bars that do not count](results/masks.md), as in Figure 6; and [what spoilt "
        "pieces do](results/robust.md)."
    )
    took = f"Seconds of each section, on the machine of this run ({run['threads']} threads):"
    parts.append(f"## What it took\n\n{took}\n\n{table(['section', 's'], rows)}")
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
