"""Public priors that are known (the table is `known.json`). None of them ships with us."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["KNOWN_PRIORS", "KnownPrior", "known_prior"]


@dataclass(frozen=True)
class KnownPrior:
    """A public checkpoint.

    Attributes:
        name: what `load_prior` calls it, where it can be fetched.
        title: what it is.
        address: `hf://…` where it can be fetched by name; otherwise where its authors say it is.
        format: the name of its layout, see `LAYOUTS`.
        image_size: side in pixels.
        licence: the words that its authors give, and for what.
        hardware: what it needs.
        size: bytes of the file, or None where nobody has measured it.
        sha256: its digest, or None where it is not known; where it is, a file that differs is refused.
        settings: what its tensors do not say.
        note: what to know before use.
    """

    name: str
    title: str
    address: str
    format: str
    image_size: int
    licence: str
    hardware: str
    size: int | None = None
    sha256: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""

    @property
    def fetchable(self) -> bool:
        """Can `load_prior(name)` fetch it?"""
        return self.address.startswith("hf://")

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self) | {"settings": dict(self.settings), "fetchable": self.fetchable}


KNOWN_PRIORS: tuple[KnownPrior, ...] = tuple(
    KnownPrior(**values) for values in json.loads(Path(__file__).with_name("known.json").read_text(encoding="utf-8"))
)


def known_prior(name: str) -> KnownPrior | None:
    """The known prior of this name, or None."""
    return next((prior for prior in KNOWN_PRIORS if prior.name == name), None)
