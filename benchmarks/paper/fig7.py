"""Fig. 7: greyscale at several λ."""

from __future__ import annotations

from typing import Any

from .setting import Setting
from .sweep import sweep, told
from .words import Result

__all__ = ["run", "words"]

RATIOS = (0.2, 0.4, 0.6, 0.8, 1.0)


def run(setting: Setting) -> dict[str, Any]:
    """Greyscale at λ/m = 0.2 … 1."""
    return sweep(setting, "fig7", "greyscale", 21, RATIOS, None, local=False)


def words(r: Result) -> str:
    """The section of the page."""
    low, *_, high = r["sweep"].values()
    grey, own = r["evidence"]["chroma"]["mean"], r["prior"]["chroma"]["mean"]
    between = grey < low["chroma"]["mean"] < high["chroma"]["mean"] < own
    return f"""## Figure 7: greyscale, λ/m = {" … ".join((next(iter(r["sweep"])), list(r["sweep"])[-1]))}

![Figure 7](results/{r["picture"]})

The paper sees "pencil sketches" at a low λ and "very subdued colors" at a high one. Here both ends
{"lie" if between else "do not both lie"} between the evidence's chroma ({grey:.1f}) and the prior's ({own:.1f}).
{told(r)}"""
