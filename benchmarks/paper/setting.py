"""What every figure is run with: the prior, the folders, how much, and who is told."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from transflow_core.engine import Engine
from transflow_core.evidence import Evidence
from transflow_core.images import find_images, labelled_rows, save_png, to_pil
from transflow_core.prior import Prior

__all__ = ["ROOT", "Setting"]

ROOT = Path(__file__).resolve().parents[2]
_SHIPPED = ROOT / "assets" / "examples"
_PHOTOGRAPHS = ROOT.parent / "shared" / "data" / "evidence"


@dataclass
class Setting:
    """One run of the figures.

    Attributes:
        engine: the prior at work.
        pictures: where pictures go.
        cache: where what takes long is kept, or None.
        fast: few samples, few digits, shipped evidence: what the tests run.
        evidence_used: set by set, which folder it came from.
    """

    engine: Engine
    pictures: Path
    cache: Path | None
    fast: bool = False
    evidence_used: dict[str, str] = field(default_factory=dict)

    @property
    def prior(self) -> Prior:
        """The prior."""
        return self.engine.prior

    def evidence(self, name: str, most: int, shipped: str | None = None) -> Evidence:
        """A set of evidence: photographs where the shared folder is beside the checkout, else the drawn examples.

        Args:
            name: of the folder of photographs.
            most: how many are taken, the first by name.
            shipped: of the folder of examples, where it differs.
        """
        folder, source = _PHOTOGRAPHS / name, "photographs"
        if self.fast or not folder.is_dir():
            folder, source = _SHIPPED / (shipped or name), "shipped examples"
        most = min(most, 4) if self.fast else most
        found = self.engine.intake(find_images([folder])[:most]).evidence
        self.evidence_used[name] = f"{len(found.used)} {source} ({folder.name})"
        return found

    def shipped_faces(self, most: int) -> list[Image.Image]:
        """Faces that nobody has: samples of the prior at temperature 0.7, so that pictures of them may be shown."""
        from transflow_core.posterior import Gaussian

        samples = self.engine.sample(
            Gaussian.standard(self.prior.dim), min(most, 4) if self.fast else most, seed=2024, temperature=0.7
        )
        return to_pil(samples)

    def count(self, full: int) -> int:
        """How many samples: all of them, or 4 in a fast run."""
        return min(full, 4) if self.fast else full

    def show(self, name: str, rows: list[list[Image.Image]], **labels: Any) -> str:
        """Write one picture; its file name."""
        self.pictures.mkdir(parents=True, exist_ok=True)
        save_png(labelled_rows(rows, **labels), self.pictures / f"{name}.png", metadata={"prior": self.prior.name})
        return f"{name}.png"

    def rows(self, x: Tensor) -> list[list[Image.Image]]:
        """(columns, n, C, S, S) images, as n rows."""
        return [to_pil(x[:, draw]) for draw in range(x.shape[1])]

    def say(self, words: str) -> None:
        """Progress, for a person."""
        print(words, file=sys.stderr, flush=True)
