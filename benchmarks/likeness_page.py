"""The page of `benchmarks.likeness`, from its numbers: tables with intervals, and the Pareto front as a chart."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from .charts import Chart
from .distances import interval
from .features import DESCRIPTOR, PIXELS
from .methods import DEFAULT, HELD_OUT, METHODS, MIRRORED, PREDICTIVE
from .sets import OTHERS, SHIPPED
from .sitter import IMPOSTORS
from .sitter import OTHERS as OTHER_PHOTOGRAPHS

__all__ = ["front", "page"]

_ENERGY = ["network", "colour and texture", DESCRIPTOR]
_NOVELTY = ["network", DESCRIPTOR]
#: The goals: the least novelty in each space, and how many times as often as held-out people samples may be within 0.6.
_GOALS = {
    DEFAULT: ({"network": 0.85, DESCRIPTOR: 0.92, PIXELS: 0.82}, 2.2),
    "local, likeness 0": ({"network": 0.92, DESCRIPTOR: 0.97, PIXELS: 0.90}, 1.8),
}
#: Tables set by set have these rows alone.
_MAIN = (PREDICTIVE, next(name for name in METHODS if name.startswith("pixels")), DEFAULT, "the paper's, λ/m = 0.5")
#: These are measured, and drawn in the chart, but have no row of the tables.
_LEFT_OUT = (
    MIRRORED,
    "predictive, chroma clipped",
    "predictive, guarded and clipped",
    "local, likeness 0.75",
    "local, likeness 0.25",
)
HEAD = """<!-- Written by `python -m benchmarks.likeness`; its numbers are in likeness.json. -->
# Are samples like the set, and new?

Good samples are as near to a set as its other images are, and as new as these. Half of each set is given, at random.
Samples are drawn from it, and compared with both halves. Each split has its own halves and its own seed. Model:
{prior}.

- **Energy distance** to the held-out half: 0 means that both have one distribution. A copy comes near to 0 as well,
  so energy distance alone proves nothing.
- **Novelty**: the distance to the nearest given image, or to its mirror image. The unit is the same distance of a
  held-out image. 0 is a copy, and 1 is as new as a held-out image. More than 1 is no gain.
- **Within 0.6**: the share of samples whose face descriptor is within 0.6 of a given image's. dlib takes two such
  images for one person. Only sets of photographs count.

Features are standardised on both halves. Brackets hold 95 % bootstrap intervals, over sets and
splits. Splits of one set share its images. So the intervals of one set are too short for a new set of that kind.
In the charts left is better, and so is up, as far as 1. The line joins the methods that no other beats in both.

Rows named *local* are the local bootstrap. *Predictive* is a kernel density around the given images. *Pixels cut and
pasted* has local weights but no model: the difference from *local* is what the model changes. More methods and
measures are in [likeness.json](likeness.json).

    # The sets that ship, then a folder of other sets.
    python -m benchmarks.likeness --first-split 100 --splits 6 --slow-splits 2 --other-splits 2
    python -m benchmarks.likeness --evidence FOLDER --first-split 100 --splits 20 --slow-splits 4 --other-splits 2

"""

Rows = list[dict]
# Of one set; of fewer splits an interval is too short.
_LEAST = 5


def page(rows: Rows, people: Rows, prior: str, charts: dict[str, Path], galleries: Sequence[Path]) -> str:
    """All of it as Markdown: a section for each group of sets, then one person, then galleries."""
    parts = []
    for group in (OTHERS, SHIPPED):
        having = [row for row in rows if row["group"] == group]
        if having:
            parts += [f"## {group.capitalize()}", *_section(having, charts.get(group))]
    parts.append(_person(people))
    if galleries:
        shown = [f"![{path.stem.removeprefix('like_').replace('_', ' ')}]({path.name})" for path in galleries]
        words = "The whole set is given. Each row is a method. Each column has the same random numbers."
        parts += ["## What it looks like", words, *shown]
    return HEAD.format(prior=prior) + "\n\n".join(parts) + "\n"


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
    drawn.text(drawn.place(ends[0], 1)[0] + 6, drawn.place(1, 1)[1] - 4, "as new as held-out images")
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
    fewest = min(len({row["split"] for row in rows if row["method"] == name}) for name in _shown(rows))
    parts = [
        f"Sets: {len(names)}. Splits: {len(splits)}, of which {len(slow)} have face descriptors; of less important\n"
        f"rows {fewest}. Each method draws {rows[0]['n']} samples in each split."
    ]
    if chart_file is not None:
        parts.append(f"![Distance and novelty of each method]({chart_file.name})")
    columns = [(f"energy, {space}", _in(space, "energy")) for space in _ENERGY]
    columns += [(f"novelty, {space}", _in(space, "novelty")) for space in _NOVELTY]
    columns.append(("within 0.6", _in(DESCRIPTOR, "within")))
    parts += ["### Means over sets", _table(rows, columns)]
    if rows[0]["group"] == OTHERS:
        parts += ["### What was asked of it", _goals(rows)]
    parts.append("### Set by set")
    parts += [_by_set(rows, names, key, "network") for key in ("energy", "novelty")]
    return parts


Value = Callable[[dict], float | None]


def _in(space: str | None, key: str) -> Value:
    return lambda row: (row if space is None else row.get(space, {})).get(key)


def _methods(rows: Rows) -> list[str]:
    return [name for name in METHODS if any(row["method"] == name for row in rows)]


def _shown(rows: Rows) -> list[str]:
    """The rows of the tables."""
    return [name for name in _methods(rows) if name not in _LEFT_OUT]


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


def _cell(groups: list[list[float]]) -> str:
    """Mean and interval."""
    if not groups:
        return ""

    def number(x: float) -> str:
        return f"{x:.2f}"

    mean = float(np.mean([np.mean(group) for group in groups]))
    if len(groups) == 1 and len(groups[0]) < _LEAST:
        return number(mean)
    return f"{number(mean)} [{', '.join(map(number, interval(groups)))}]"


def _table(rows: Rows, columns: Sequence[tuple[str, Value]]) -> str:
    """A row a method; columns that nobody has are left out, and methods that have none."""
    methods = _shown(rows)
    cells = [(head, [_cell(_values(rows, method, of)) for method in methods]) for head, of in columns]
    cells = [(head, column) for head, column in cells if any(column)]
    lines = ["| | " + " | ".join(head for head, _ in cells) + " |", "|" + "---|" * (len(cells) + 1)]
    for index, method in enumerate(methods):
        if any(column[index] for _, column in cells):
            lines.append(f"| {method} | " + " | ".join(column[index] for _, column in cells) + " |")
    return "\n".join(lines)


def _goals(rows: Rows) -> str:
    """What a good sampler should reach, and whether it does."""
    asked: list[tuple[str, float | None, float | None, bool]] = []
    for space in ("network", "colour and texture"):
        now, before = (_mean(rows, name, _in(space, "energy")) for name in (DEFAULT, PREDICTIVE))
        asked.append((f"the default: energy, {space}, no more than predictive's", now, before, False))
    for name, (least, times) in _GOALS.items():
        words = "the default" if name == DEFAULT else name
        for space, goal in least.items():
            new = _mean(rows, name, _in(space, "novelty_given"))
            asked.append((f"{words}: novelty, {space}, mirror images not counted", new, goal, True))
        within, real = (_mean(rows, of, _in(DESCRIPTOR, "within")) for of in (name, HELD_OUT))
        share = within / real if within is not None and real else None
        asked.append((f"{words}: within 0.6, times as often as held-out images", share, times, False))
    lines = ["| | asked | measured | |", "|---|---|---|---|"]
    for what, value, goal, least in asked:
        if value is not None and goal is not None:
            holds = value >= goal if least else value <= goal
            sign = "at least" if least else "at most"
            lines.append(f"| {what} | {sign} {goal:.2f} | {value:.2f} | {'yes' if holds else 'missed'} |")
    return "\n".join(lines)


def _by_set(rows: Rows, names: list[str], key: str, space: str) -> str:
    lines = [f"| {key}, {space} | " + " | ".join(name.replace("_", " ") for name in names) + " |"]
    lines.append("|" + "---|" * (len(names) + 1))
    for method in (name for name in _MAIN if name in _methods(rows)):
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
            f"{head} No measured row ships.\n"
            "Measure seven photographs or more of your own: `python -m benchmarks.likeness --sitter FOLDER`."
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
    words = f"""Distances are of dlib's descriptors; people: {len(people)}. Each other photograph
is compared with the rest. The descriptors also chose which held-out photographs of CelebA are of one person
(`python -m benchmarks.people FACES FOLDER`), and leave out photographs that they do not know."""
    return f"{head} {words}\n\n" + "\n".join(lines)
