"""Fig. 8: evidence out of the domain of the training data."""

from __future__ import annotations

from typing import Any

from .setting import Setting
from .sweep import sweep, told
from .words import Result, amount

__all__ = ["run", "words"]

RATIOS = (0.05, 0.2, 0.3, 0.5, 0.7, 1.0, 3.0)


def run(setting: Setting) -> dict[str, Any]:
    """Out of domain: painted portraits and anime over a wide range of λ."""
    return {
        "painted": sweep(setting, "fig8_painted", "painted", 24, RATIOS, "sepia", local=True),
        "anime": sweep(setting, "fig8_anime", "anime", 24, RATIOS, "cartoon", local=True),
    }


def words(r: Result) -> str:
    """The section of the page."""
    parts = [f"![{name.capitalize()}](results/{entry['picture']})\n\n{told(entry)}" for name, entry in r.items()]
    shares = ", ".join(
        f"{first['diversity']['mean'] / entry['prior']['diversity']['mean']:.0%} and "
        f"{last['diversity']['mean'] / entry['prior']['diversity']['mean']:.0%} ({name})"
        for name, entry in r.items()
        for first, *_, last in [entry["sweep"].values()]
    )
    ours = ", ".join(
        f"{amount(entry['local']['diversity'])} of {entry['evidence']['diversity']['mean']:.2f} ({name})"
        for name, entry in r.items()
    )
    return f"""## Figure 8: out of domain

The paper: a λ that is too low gives the mean, and one that is too high the prior. At the ends of the sweep samples have
these shares of the prior's diversity: {shares}. The last column is the local bootstrap, the default. Its diversity, and
the evidence's: {ours}.

""" + "\n\n".join(parts)
