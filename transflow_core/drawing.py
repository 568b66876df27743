"""Which manner of drawing is meant, told or chosen, and what a person calls it; and the sweep over its own number."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from .limits import SWEEP_LIKENESS, SWEEP_PIECES, SWEEP_RATIOS
from .posterior import KINDS, Choice, Looks, Manner, Posterior, choose_manner

__all__ = ["AUTO", "TITLES", "ask", "described", "sweep_of"]

AUTO = "auto"
#: What a person calls each kind.
TITLES = {
    "local": "New members of the set",
    "blend": "Like blends of a few",
    "mean": "The paper's posterior of the mean",
}


def ask(
    posterior: Posterior,
    told: str = AUTO,
    *,
    looks: Callable[[Posterior], Looks] | None = None,
    lam_ratio: float | Sequence[float] | None = None,
    likeness: float | None = None,
    pieces: float | None = None,
) -> Choice:
    """The manner in which to draw from a posterior, and why.

    Args:
        posterior: of the evidence.
        told: text as `Manner.parse` takes it; or "auto": the one that a saved posterior was kept with, else the one
            that suits the evidence (`choose_manner`), of the kind that has a likeness if one is given.
        looks: `Engine.looks`, by which "auto" chooses.
        lam_ratio, likeness, pieces: in place of the manner's own numbers.

    Raises ValueError in words: for text that names no manner, a number out of its range or that the kind has not.

    Example:
        >>> import torch
        >>> posterior = Posterior.condition(torch.randn(3, 8), lam_ratio=0.5)
        >>> ask(posterior, "blend:lam_ratio=0.1", pieces=1.5).manner
        Manner.blend(lam_ratio=0.1, pieces=1.5)
    """
    choice = Choice(Manner.parse(told), "It was asked for.") if told != AUTO else _chosen(posterior, looks)
    if told == AUTO and likeness is not None and choice.manner.likeness is None:
        choice = Choice(KINDS["local"], "A likeness was asked for.")
    numbers = {"lam_ratio": lam_ratio, "likeness": likeness, "pieces": pieces}
    given = {name: value for name, value in numbers.items() if value is not None}
    return replace(choice, manner=replace(choice.manner, **given)) if given else choice


def _chosen(posterior: Posterior, looks: Callable[[Posterior], Looks] | None) -> Choice:
    with contextlib.suppress(ValueError):  # words in a file are anybody's
        return Choice(Manner.parse(posterior.metadata.get("manner", "")), "It was saved with the posterior.")
    return choose_manner(posterior, looks and looks(posterior))


def described(manner: Manner) -> str:
    """A manner in a few words for a person, but for its λ/m: `new members of the set, likeness 90 %`."""
    title = TITLES[manner.kind]
    words = [title[0].lower() + title[1:]]
    if manner.likeness is not None:
        words.append(f"likeness {100 * manner.likeness:.3g} %")
    if manner.pieces is not None:
        words.append(f"{manner.pieces:g} pieces each")
    return ", ".join(words)


def sweep_of(
    manner: Manner, m: float, values: Sequence[float] | None = None, lam_ratios: Sequence[float] | None = None
) -> dict[str, Manner]:
    """The manner at several values of its own number, by their labels: λ/m of "mean", the likeness of "local", the
    pieces of "blend".

    Args:
        manner: its other numbers stay.
        m: pieces of evidence: there is no blend of more.
        values: by default those of `limits`.
        lam_ratios: sweep λ/m in the stead of its own number.

    Raises ValueError for both, and for a number out of its range.
    """
    if values is not None and lam_ratios is not None:
        raise ValueError("give values of the manner's own number, or of λ/m, not both")
    if manner.kind == "mean" or lam_ratios is not None:
        return {f"λ/m = {ratio:g}": manner.with_lam(ratio) for ratio in lam_ratios or values or SWEEP_RATIOS}
    if manner.kind == "local":
        return {f"{100 * value:.3g} % like": replace(manner, likeness=value) for value in values or SWEEP_LIKENESS}
    few = values or [*(k for k in SWEEP_PIECES if k < m), m]
    return {f"{k:g} piece{'s' * (k != 1)}": replace(manner, pieces=k) for k in few}
