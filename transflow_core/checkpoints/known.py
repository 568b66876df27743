"""Public priors that are known (the table is `known.json`). None of them ships with us."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["KNOWN_PRIORS", "KnownPrior"]


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
    settings: dict[str, Any] = field(default_factory=dict)
    note: str = ""

    @property
    def fetchable(self) -> bool:
        """Can `load_prior(name)` fetch it?"""
        return self.address.startswith("hf://")

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self) | {"fetchable": self.fetchable}


KNOWN_PRIORS: tuple[KnownPrior, ...] = tuple(
    KnownPrior(**values) for values in json.loads(Path(__file__).with_name("known.json").read_text(encoding="utf-8"))
)
