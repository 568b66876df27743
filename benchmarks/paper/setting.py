"""What every figure is run with: the prior, the folders, how much, and who is told."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, BinaryIO, cast

from PIL import Image
from torch import Tensor

from benchmarks.features import colour_texture, network
from benchmarks.measures import as_unit
from benchmarks.real_faces import RealFaces
from transflow_core.engine import Engine
from transflow_core.evidence import Evidence
from transflow_core.images import find_images, labelled_rows, to_pil
from transflow_core.images.files import find_members
from transflow_core.images.output import save_png
from transflow_core.priors.prior import Prior

__all__ = ["ROOT", "Setting"]

ROOT = Path(__file__).resolve().parents[2]
_SHIPPED = ROOT / "assets" / "examples"


@dataclass
class Setting:
    """One run of the figures.

    Attributes:
        engine: the prior at work.
        pictures: where pictures go.
        cache: where what takes long is kept, or None.
        photographs: a folder with a folder of photographs for each set, or None for the examples that ship.
        faces: a folder, zip or tar of plain faces, or None; of one that priors are trained from, the part `val*/*`.
        mnist: a folder with MNIST's own test set, or None.
        most_draws, most_splits: draws of few-shot evidence, and random halves and seeds elsewhere, in a full run.
        fast: few samples, few digits, shipped evidence: what the tests run.
        earlier: sections by name whose rows are kept; Table 1 then measures its new rows only.
        evidence_used: set by set, which folder it came from.
    """

    engine: Engine
    pictures: Path
    cache: Path | None
    photographs: Path | None = None
    faces: Path | None = None
    mnist: Path | None = None
    most_draws: int = 10
    most_splits: int = 6
    fast: bool = False
    earlier: Mapping[str, Any] = field(default_factory=dict)
    evidence_used: dict[str, str] = field(default_factory=dict)

    @property
    def prior(self) -> Prior:
        """The prior."""
        return self.engine.prior

    @property
    def draws(self) -> int:
        """Draws of few-shot evidence."""
        return 2 if self.fast else self.most_draws

    @property
    def splits(self) -> int:
        """Random halves of a set, each with a seed of its own, over which what is measured is averaged."""
        return 2 if self.fast else self.most_splits

    def evidence(self, name: str, most: int, shipped: str | None = None, engine: Engine | None = None) -> Evidence:
        """A set of evidence: photographs where there are some, else the drawn examples that ship.

        Args:
            name: of the folder of photographs.
            most: how many are taken, the first by name.
            shipped: of the folder of examples, where it differs.
            engine: of another prior.
        """
        folder, source = _SHIPPED / (shipped or name), "shipped examples"
        if self.photographs and (self.photographs / name).is_dir():
            folder, source = self.photographs / name, "photographs"
        most = min(most, 6) if self.fast else most
        found = (engine or self.engine).read(find_images([folder])[:most])
        self.evidence_used[name] = f"{len(found.used)} {source} ({folder.name})"
        return found

    def plain(self, most: int, engine: Engine | None = None) -> Evidence:
        """Plain photographs of faces: the first of `faces` that are held out; without it, sampled faces."""
        engine = engine or self.engine
        if self.faces is None:
            self.evidence_used["plain"] = f"{most} sampled faces (plain)"
            return engine.read(self.shipped_faces(most), align="never")
        members = find_members(self.faces)
        held_out = [member for member in members if fnmatch(member.name, "val*/*")] or members
        found = engine.read([cast(BinaryIO, member) for member in held_out[:most]])
        self.evidence_used["plain"] = f"{len(found.used)} photographs (plain)"
        return found

    @functools.cached_property
    def real_faces(self) -> RealFaces:
        """What tells faces from what is none; learned from plain photographs, or sampled faces."""
        frames = [image.face.image for image in self.plain(self.count(240)).used if image.face]
        return RealFaces(as_unit(frames), colour_texture if self.fast else network)

    def shipped_faces(self, most: int) -> list[Image.Image]:
        """Faces that nobody has: samples of the prior at temperature 0.7, so that pictures of them may be shown."""
        from transflow_core.posterior import Gaussian

        samples = self.engine.sample(
            Gaussian.standard(self.prior.dim), min(most, 4) if self.fast else most, seed=2024, temperature=0.7
        ).images
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
