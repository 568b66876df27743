"""What one place was given: images and what became of them, or a saved posterior in their stead."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from .evidence import Evidence, EvidenceImage, Source
from .limits import DEFAULT_LAM_RATIO
from .posterior import Posterior

__all__ = ["Intake"]


@dataclass(frozen=True, eq=False)
class Intake:
    """What one place was given: a value, which `Engine.stream` makes grow and a card's controls change.

    Its posterior is computed once, at λ = m, and moved from there: a slider costs nothing that depends on m.

    Attributes:
        prior: the prior that it was read with, by the name under which it was asked for.
        evidence: the images, each with its source, label and weight.
        saved: a posterior from a file, in the place of evidence.
        saved_name: that file's name.
        example: key of the example set that this is, while it is nothing else.
        left: how many sources are still to be read; after a Stop, how many were not.
        notes: what of the last sources was refused or left out, each a sentence for a person.

    Example:
        >>> Intake().ready, Intake().title
        (False, 'the prior')
    """

    prior: str = ""
    evidence: Evidence = field(default_factory=Evidence)
    saved: Posterior | None = None
    saved_name: str = ""
    example: str = ""
    left: int = 0
    notes: tuple[str, ...] = ()

    @property
    def sources(self) -> tuple[Source, ...]:
        """Where each image came from, to be read again under another prior."""
        return tuple(image.source for image in self.evidence if image.source is not None)

    @property
    def used(self) -> tuple[EvidenceImage, ...]:
        """The images that condition the posterior."""
        return self.evidence.used

    @property
    def ready(self) -> bool:
        """Whether there is something to condition on."""
        return self.saved is not None or bool(self.used)

    @property
    def title(self) -> str:
        """What a person would call it: a file's name, "12 images", or "the prior" when there is nothing."""
        if self.saved is not None:
            return self.saved_name
        if len(self.used) == 1:
            return self.used[0].name
        return f"{len(self.used)} images" if self.used else "the prior"

    def added(self, images: Iterable[EvidenceImage], left: int = 0) -> Intake:
        """With more images at the end; a saved posterior makes room for them."""
        evidence = Evidence((*self.evidence, *images))
        return replace(self, evidence=evidence, saved=None, saved_name="", example="", left=left)

    def removed(self, index: int) -> Intake:
        """Without one image."""
        images = self.evidence.images
        return replace(self, evidence=Evidence(images[:index] + images[index + 1 :]), example="")

    def put(self, index: int, image: EvidenceImage) -> Intake:
        """With another image in one place."""
        return replace(self, evidence=self.evidence.put(index, image), example="")

    def replace(self, index: int, **changes: Any) -> Intake:
        """With fields of one image changed, such as `weight=2.0`."""
        return self.put(index, replace(self.evidence[index], **changes))

    def checked(self) -> Intake:
        """Itself, where all of the sources that were to be used can be. Raises ValueError with its `notes`, or with
        what is wrong with each image when there is nothing to condition on."""
        if self.notes or not self.ready:
            raise ValueError(" ".join(self.notes) or self.evidence.why_unusable())
        return self

    def posterior(self, lam_ratio: float | Tensor | None = None, *, lam: float | Tensor | None = None) -> Posterior:
        """The posterior at λ/m, or at λ: numbers, or (D,) as `Engine.ratio` makes of one a level.

        With neither it is that of the saved file, or at λ/m = 0.5. Raises ValueError when there is nothing to condition
        on, with what is wrong with each image.
        """
        if lam_ratio is None and lam is None:
            if self.saved is not None:
                return self.saved
            lam_ratio = DEFAULT_LAM_RATIO
        return self._at_one.with_lam(lam_ratio, lam=lam)

    def forget(self) -> None:
        """Let go of the posterior, as large as the latents themselves; it is computed again when it is asked for."""
        self.__dict__.pop("_at_one", None)

    @functools.cached_property
    def _at_one(self) -> Posterior:
        return self.saved if self.saved is not None else self.evidence.condition(lam_ratio=1.0)
