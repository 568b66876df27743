"""The head of a card: what the Hub reads of a prior, a posterior or a classifier."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["front_matter"]

TAGS = ("transflow-learning", "normalizing-flow")
LIBRARY = "transflow-studio"


def front_matter(
    licence: str = "", *, datasets: Sequence[str] = (), tags: Sequence[str] = (), thumbnail: str | None = None
) -> str:
    """The YAML before a card's Markdown, with its fences.

    Args:
        licence: an identifier of the Hub, such as "mit"; anything else is "other", and told in the card's own words.
        datasets: what it was trained on, as the Hub calls it.
        tags: beside those that all of ours have.
        thumbnail: a picture of what it makes: a file beside the card, or an address.

    Example:
        >>> print(front_matter("mit", tags=["glow"], thumbnail="samples.png"))
        ---
        library_name: transflow-studio
        license: mit
        tags:
        - transflow-learning
        - normalizing-flow
        - glow
        thumbnail: samples.png
        ---
        <BLANKLINE>
    """
    from huggingface_hub import ModelCardData

    known = re.fullmatch(r"[a-z][a-z0-9.-]*", licence) is not None
    data = ModelCardData(
        library_name=LIBRARY,
        license=licence if known else "other",
        license_name=None if known else "see-card",
        license_link=None if known else "README.md",
        tags=[*TAGS, *tags],
        datasets=list(datasets) or None,
        thumbnail=thumbnail,
    )
    return f"---\n{data.to_yaml()}\n---\n"
