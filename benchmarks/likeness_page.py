"""The page of `benchmarks.likeness`, from its numbers: tables with intervals, and the Pareto front as a chart."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from .charts import Chart
from .distances import interval
from .features import DESCRIPTOR, FEATURES, PIXELS
from .methods import DEFAULT, HELD_OUT, METHODS, PREDICTIVE
from .sets import OTHERS, SHIPPED
from .sitter import IMPOSTORS
from .sitter import OTHERS as OTHER_PHOTOGRAPHS

__all__ = ["front", "page"]

_ENERGY = [space for space in FEATURES if space != PIXELS]
_NOVELTY = ["network", DESCRIPTOR, PIXELS]
HEAD = """<!-- Written by `python -m benchmarks.likeness`; its numbers are in likeness.json. -->
Good samples are as near to a set as its other images are, and as new as these. Half of each set is given, at random.
Samples are drawn from it and compared with both halves. Each split has its own halves and its own seed.

- **Energy distance** to the held-out half, without bias: 0 means that the two have one distribution. It tells nothing
  of copies: the given half itself comes near to 0.
- **Novelty**: the distance to the nearest given image, or to its mirror image, in units of a held-out image's. 0 is a
  copy, 1 is as new as a held-out image, and more than 1 is no gain. The *tenth* is the 10th percentile over samples.
- **Within 0.6**: share of samples whose face descriptor is within 0.6 of a given image's or of its mirror image's.
  dlib takes two such images for one person. Only sets of photographs count here.
- **Noisy**: share of samples with more noise in one place than any given image. The local methods draw these again.
  *Shown noisy* is what is left; *projected* are samples that were moved towards an image, or towards the mean.

Features are standardised on the given half, except for pixels. Brackets hold 95 % bootstrap intervals: of a set's mean,
over its splits; of a mean over sets, over sets and splits. Splits of one set share its images, so intervals of one set
are too short for a new set of that kind.

"predictive" is a kernel density around the given images: it was the default until the local bootstrap came. "Pixels cut
and pasted" has local weights but no model: what it lacks is what the model adds.

"""

Rows = list[dict]


def page(rows: Rows, people: Rows, charts: dict[str, Path], galleries: Sequence[Path]) -> str:
    """All of it, as Markdown: a section for each group of sets, then one person, then galleries."""
    parts = []
    for group in (OTHERS, SHIPPED):
        having = [row for row in rows if row["group"] == group]
        if having:
            parts += [f"## {group.capitalize()}", *_section(having, charts.get(group))]
    parts.append(_person(people))
    if galleries:
        shown = [f"![{path.stem.removeprefix('like_').replace('_', ' ')}]({path.name})" for path in galleries]
        words = "The whole set is given. Each row is a method, each column has the same random numbers."
        parts += ["## What it looks like", words, *shown]
    return HEAD + "\n\n".join(parts) + "\n"


def front(rows: Rows, table: Path) -> dict[str, Path]:
    """Draw each group's chart beside the page. Gives the files by group."""
    found = {}
    for group, name in ((OTHERS, table.stem), (SHIPPED, f"{table.stem}_shipped")):
        having = [row for row in rows if row["group"] == group]
        if any("energy" in row.get("network", {}) for row in having):
            found[group] = table.with_name(f"{name}.svg")
            found[group].write_text(chart(having), encoding="utf-8")
    return found


def chart(rows: Rows) -> str:
    """Network energy distance across, network novelty up: a point a method, and a line through the Pareto front.

    The held-out half would be at distance 0 and novelty 1.
    """
    points = {}
    for name in _methods(rows):
        energy, new = (_mean(rows, name, _in("network", key)) for key in ("energy", "novelty"))
        if energy is not None and new is not None:
            points[name] = (max(energy, 0.1), new)
    across = [x for x, _ in points.values()]
    ends = (0.8 * min(across), 1.25 * max(across))
    highest = max(1.0, *(y for _, y in points.values()))
    drawn = Chart(
        "energy distance to the held-out half, in the network (logarithmic)",
        "novelty, in the network",
        ends,
        (0, 1.08 * highest),
        logarithmic=True,
        width=860,
        height=520,
    )
    drawn.line([(ends[0], 1), (ends[1], 1)], "#bbbbbb", 0.8)
    best = pareto({name: (x, min(y, 1)) for name, (x, y) in points.items()})  # newer than real images is no gain
    drawn.line([points[name] for name in best], "#0891b2")
    colours = dict.fromkeys(points, "#888888") | dict.fromkeys(best, "#0891b2") | {DEFAULT: "#be123c"}
    for name, (x, y) in sorted(points.items(), key=lambda entry: -entry[1][1]):
        drawn.point(x, y, name, colours[name])
    drawn.text(drawn.place(ends[1], 1)[0], drawn.place(1, 1)[1] - 4, "as new as held-out images", "end")
    return drawn.svg()


def pareto(points: dict[str, tuple[float, float]]) -> list[str]:
    """Names of points that no other one beats in both, less across and more up; in the order across."""
    best, highest = [], -np.inf
    for name, (_, y) in sorted(points.items(), key=lambda entry: (entry[1][0], -entry[1][1])):
        if y > highest:
            best.append(name)
            highest = y
    return best


def _section(rows: Rows, chart_file: Path | None) -> list[str]:
    names = list(dict.fromkeys(row["set"] for row in rows))
    splits = {row["split"] for row in rows}
    slow = {row["split"] for row in rows if DESCRIPTOR in row}
    parts = [
        f"Sets: {len(names)}. Splits: {min(splits)} to {max(splits)}, of which {len(slow)} have descriptors.\n"
        f"Less important rows have fewer splits. Each method draws {rows[0]['n']} samples in each split."
    ]
    if chart_file is not None:
        words = (
            "Left is better, and so is up, as far as 1. The line joins the methods that no other beats in both.\n"
            "No method reaches the ideal: distance 0 at novelty 1."
        )
        parts += [f"![Distance and novelty of each method]({chart_file.name})", words]
    parts.append("### Means over sets")
    columns = [(f"energy, {space}", _in(space, "energy")) for space in _ENERGY]
    parts.append(_table(rows, columns))
    parts.append(_table(rows, [(f"energy less predictive's, {space}", _less(rows, space)) for space in _ENERGY]))
    columns = [(f"novelty, {space}", _in(space, "novelty")) for space in _NOVELTY]
    columns += [(f"tenth, {space}", _in(space, "tenth")) for space in _NOVELTY]
    parts.append(_table(rows, columns))
    columns = [(f"distance to the given half, {space}", _in(space, "near")) for space in ("network", DESCRIPTOR)]
    columns += [("within 0.6", _in(DESCRIPTOR, "within"))]
    parts.append(_table(rows, columns, _times_held_out(rows)))
    columns = [(key.replace("_", " "), _in(None, key)) for key in ("noisy", "noisy_shown", "projected", "faces")]
    parts.append(_table(rows, [(name.replace("noisy shown", "shown noisy"), of) for name, of in columns], share=True))
    parts.append("### Set by set")
    for key, spaces in (("energy", _ENERGY), ("novelty", _NOVELTY)):
        parts += [_by_set(rows, names, key, space) for space in spaces if any(space in row for row in rows)]
    parts.append("### Other measures")
    keys = ("kid", "precision", "recall", "diversity")
    parts += [
        _table(rows, [(f"{key.upper() if key == 'kid' else key}, {space}", _in(space, key)) for key in keys])
        for space in _ENERGY
        if any(space in row for row in rows)
    ]
    return parts


Value = Callable[[dict], float | None]


def _in(space: str | None, key: str) -> Value:
    return lambda row: (row if space is None else row.get(space, {})).get(key)


def _less(rows: Rows, space: str) -> Value:
    """What energy distance is over yesterday's default, in the same set and split."""
    of = _in(space, "energy")
    before = {(row["set"], row["split"]): of(row) for row in rows if row["method"] == PREDICTIVE}

    def value(row: dict) -> float | None:
        mine, its = of(row), before.get((row["set"], row["split"]))
        return None if mine is None or its is None else mine - its

    return value


def _methods(rows: Rows) -> list[str]:
    return [name for name in METHODS if any(row["method"] == name for row in rows)]


def _values(rows: Rows, method: str, value: Value) -> list[list[float]]:
    """Of each set that has some."""
    found: dict[str, list[float]] = {}
    for row in rows:
        if row["method"] == method and (number := value(row)) is not None:
            found.setdefault(row["set"], []).append(number)
    return list(found.values())


def _mean(rows: Rows, method: str, value: Value) -> float | None:
    groups = _values(rows, method, value)
    return float(np.mean([np.mean(group) for group in groups])) if groups else None


def _cell(groups: list[list[float]], share: bool = False) -> str:
    """Mean and interval."""
    if not groups:
        return ""

    def number(x: float) -> str:
        return f"{x:.1%}" if share else f"{x:.2f}"

    mean = float(np.mean([np.mean(group) for group in groups]))
    if max(map(len, groups)) == 1 and len(groups) == 1:
        return number(mean)
    return f"{number(mean)} [{', '.join(map(number, interval(groups)))}]"


def _table(
    rows: Rows,
    columns: Sequence[tuple[str, Value]],
    last: tuple[str, Callable[[str], str]] | None = None,
    share: bool = False,
) -> str:
    """A row a method; columns that nobody has are left out, and methods that have none."""
    methods = _methods(rows)
    cells = [(head, [_cell(_values(rows, method, of), share) for method in methods]) for head, of in columns]
    cells = [(head, column) for head, column in cells if any(column)]
    if last is not None:
        cells += [(last[0], column)] if any(column := [last[1](method) for method in methods]) else []
    lines = ["| | " + " | ".join(head for head, _ in cells) + " |", "|" + "---|" * (len(cells) + 1)]
    for index, method in enumerate(methods):
        if any(column[index] for _, column in cells):
            lines.append(f"| {method} | " + " | ".join(column[index] for _, column in cells) + " |")
    return "\n".join(lines)


def _times_held_out(rows: Rows) -> tuple[str, Callable[[str], str]]:
    of = _in(DESCRIPTOR, "within")
    own = _mean(rows, HELD_OUT, of)

    def cell(method: str) -> str:
        share = _mean(rows, method, of)
        return f"{share / own:.1f} times" if share is not None and own else ""

    return "of held-out images' share", cell


def _by_set(rows: Rows, names: list[str], key: str, space: str) -> str:
    lines = [f"| {key}, {space} | " + " | ".join(name.replace("_", " ") for name in names) + " |"]
    lines.append("|" + "---|" * (len(names) + 1))
    for method in _methods(rows):
        of_sets = [_values([row for row in rows if row["set"] == name], method, _in(space, key)) for name in names]
        if any(of_sets):
            lines.append(f"| {method} | " + " | ".join(map(_cell, of_sets)) + " |")
    return "\n".join(lines)


def _person(rows: Rows) -> str:
    head = """## One person

Five photographs of one person are given, and the person's other photographs are held out. Are samples as near to the
person as these are?"""
    if not rows:
        return (
            f"{head} No measured row ships, because no set of one person's photographs is at hand.\n"
            "Measure one of your own: `python -m benchmarks.likeness --sitter FOLDER`, with seven photographs or more."
        )
    people = list(dict.fromkeys(row["person"] for row in rows))
    names = list(dict.fromkeys(row["method"] for row in rows))
    names.sort(key=lambda name: (name != OTHER_PHOTOGRAPHS, name == IMPOSTORS))
    keys = {"mean": "distance to their mean", "nearest": "to the nearest", "within": "within 0.6 of one"}
    lines = ["| | " + " | ".join(keys.values()) + " |", "|" + "---|" * (len(keys) + 1)]
    for name in names:
        cells = []
        for key in keys:
            of = [[r[key] for r in rows if (r["person"], r["method"]) == (person, name)] for person in people]
            cells.append(_cell([values for values in of if values]))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    words = f"Distances are of dlib's descriptors; people: {len(people)}."
    return f"{head} {words} Each other photograph is compared with the rest.\n\n" + "\n".join(lines)
