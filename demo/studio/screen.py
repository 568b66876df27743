"""What one visitor of the Studio sees, and what it was made from."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import cached_property

from PIL import Image

from transflow_core.engine import Engine
from transflow_core.posterior import Closest, Gaussian, Sampler
from transflow_core.views import to_metadata

from .settings import Asked

__all__ = ["Screen", "Whole"]


@dataclass(frozen=True, eq=False)
class Whole:
    """Whole images, and what they were drawn from.

    Attributes:
        asked: what the controls said.
        engine: the prior at work.
        sampler: what they were drawn from.
        pictures: the samples.
        counts: how many of them were redrawn, projected and guarded, see `Drawn`.
        seconds: that they took.
    """

    asked: Asked
    engine: Engine
    sampler: Sampler
    pictures: list[Image.Image]
    counts: dict[str, int]
    seconds: float

    @property
    def how(self) -> dict[str, str]:
        """What a file says of itself."""
        names = ", ".join(image.name for image in self.asked.intake.used)[:2000] or self.asked.intake.saved_name
        return {
            **to_metadata(self.asked.recipe),
            **self.engine.prior.provenance,
            **({"evidence": names} if names else {}),
        }

    @property
    def posterior(self) -> Gaussian:
        """That of the evidence; the prior itself without."""
        return self.asked.posterior(self.engine)

    @cached_property
    def closest(self) -> list[Closest]:
        """Of each sample the closest image of the evidence; empty where there is none."""
        intake = self.asked.intake
        if not intake.ready:
            return []
        images = self.engine.prior.to_unit(self.pictures).cpu()
        return self.engine.closest(images, intake.posterior(), intake.evidence)


@dataclass
class Screen:
    """What one visitor sees.

    Attributes:
        asked: what is being made, or was made last.
        whole: the images that stand on the screen; None while previews stand there.
        resting: what is being made is for a slider that rests: it is not let go yet.
        looked: key of the inner tab that is looked at.
        over: what the sweep is over: "own", the method's own number, or "lam".
        made: what each inner tab was made from.
    """

    asked: Asked | None = None
    whole: Whole | None = None
    resting: bool = False
    looked: str = "away"
    over: str = "own"
    made: dict[str, Hashable] = field(default_factory=dict)
