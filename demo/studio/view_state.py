"""The state of the Studio for one visitor: the last request and its result."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import cached_property

from PIL import Image

from transflow_core.engine import Engine
from transflow_core.posterior import Closest, Gaussian, Sampler
from transflow_core.views import to_metadata

from .settings import Request

__all__ = ["Result", "ViewState"]


@dataclass(frozen=True, eq=False)
class Result:
    """Samples at their full size, and what they were drawn from.

    Attributes:
        request: the settings of the controls.
        engine: the prior at work.
        sampler: what they were drawn from.
        pictures: the samples.
        counts: how many of them were redrawn, projected and guarded, see `Samples`.
        seconds: that they took.
    """

    request: Request
    engine: Engine
    sampler: Sampler
    pictures: list[Image.Image]
    counts: dict[str, int]
    seconds: float

    @property
    def metadata(self) -> dict[str, str]:
        """The text inside a file of these samples."""
        names = ", ".join(image.name for image in self.request.evidence.used)[:2000] or self.request.evidence.saved_name
        return {
            **to_metadata(self.request.recipe),
            **self.engine.prior.provenance,
            **({"evidence": names} if names else {}),
        }

    @property
    def posterior(self) -> Gaussian:
        """The posterior of the evidence; the prior itself without evidence."""
        return self.request.posterior(self.engine)

    @cached_property
    def closest(self) -> list[Closest]:
        """For each sample the closest image of the evidence; empty without evidence."""
        evidence = self.request.evidence
        if not evidence.ready:
            return []
        images = self.engine.prior.to_unit(self.pictures).cpu()
        return self.engine.closest(images, evidence.posterior(), evidence)


@dataclass
class ViewState:
    """What one visitor sees.

    Attributes:
        request: the request that runs, or ran last.
        result: the samples on the page; None while it shows previews.
        resting: whether the request is for a slider that rests, and that the user still holds.
        open_tab: key of the open inner tab.
        over: what the sweep is over: "own", the method's own number, or "lam".
        made_from: the request of each inner tab's contents, as far as they depend on it.
    """

    request: Request | None = None
    result: Result | None = None
    resting: bool = False
    open_tab: str = "download"
    over: str = "own"
    made_from: dict[str, Hashable] = field(default_factory=dict)
