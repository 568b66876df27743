"""Tables and phrases of the page. A phrase follows from its numbers, so that a re-run cannot make it false."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import t as student

__all__ = ["Result", "Word", "amount", "difference", "listing", "number", "sign", "summary", "table", "trend"]

Result = Mapping[str, Any]
Word = Callable[[float], str]


def summary(values: Iterable[float]) -> dict[str, Any]:
    """Mean, half the width of its 95 % t interval (None for a single value), and the values themselves."""
    found = np.array(list(values), float)
    half = None
    if len(found) > 1:
        half = round(float(student.ppf(0.975, len(found) - 1) * found.std(ddof=1) / len(found) ** 0.5), 5)
    return {"mean": round(float(found.mean()), 5), "half": half, "values": [round(float(v), 4) for v in found]}


def number(digits: int) -> Word:
    """How a number is written: `number(2)(0.5)` is "0.50"."""
    return lambda value: f"{value:.{digits}f}"


_TWO = number(2)


def amount(cell: Result | None, word: Word = _TWO, signed: bool = False) -> str:
    """A summary as "mean ± half", with a + where it is a difference; nothing for None."""
    if cell is None:
        return ""
    return (
        "+" * (signed and cell["mean"] >= 0)
        + word(cell["mean"])
        + (f" ± {word(cell['half'])}" if cell["half"] is not None else "")
    )


def difference(a: Result, b: Result) -> dict[str, Any]:
    """Of two summaries whose values belong together (the same draw, the same split): a less b, where both have some."""
    return summary(x - y for x, y in zip(a["values"], b["values"], strict=False))


def sign(cell: Result) -> int:
    """1 or -1 where the 95 % interval leaves out 0, else 0."""
    if cell["half"] is None or abs(cell["mean"]) <= cell["half"]:
        return 0
    return 1 if cell["mean"] > 0 else -1


def trend(values: Sequence[float], word: Word = _TWO) -> str:
    """What a row of numbers does: "rises from 1 to 3", "falls …", or "goes 1, 3, 2"."""
    steps = np.diff(values)
    ends = f"from {word(values[0])} to {word(values[-1])}"
    if (steps >= 0).all():
        return f"rises {ends}"
    if (steps <= 0).all():
        return f"falls {ends}"
    return "goes " + ", ".join(map(word, values))


def listing(values: Sequence[Any], nothing: str = "none") -> str:
    """ "a, b and c"."""
    words = [str(value) for value in values]
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]])) or nothing


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Markdown; all columns but the first are flush right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
