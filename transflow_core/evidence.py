"""Evidence: aligned faces became latents, and what happened to each is kept, judged and said."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .faces import AlignedFace
from .pictures import Picture, Source
from .posterior import Posterior
from .typicality import Typicality, Verdict

__all__ = ["LARGEST_LATENT", "Evidence", "EvidenceImage", "Latent"]

# The flow holds an image when decode(encode(image)) shows it again. Beyond two bytes of error nobody would call it
# the same.
_LARGEST_ERROR = 2 / 255
_PLACES = 32
LARGEST_LATENT = 1000.0
"""No number of a latent in use is as large. A standard normal never leaves ±7, and with a latent this far out one image
would throw the mean of a hundred good ones."""


@dataclass(frozen=True, eq=False)
class Latent:
    """One image's whitened latent and densities, on the CPU.

    Attributes:
        z: (D,) float32.
        log_prior: log N(z; 0, I) in nats, as the paper reports it.
        log_prob: log density of the image's x, in nats.
        level_rms: root mean square of each level of z, fine to coarse.
        error: largest difference, in [0, 1], between the image and decode(z), or None where there was no reason to
            look: the latent is typical.
    """

    z: Tensor
    log_prior: float
    log_prob: float
    level_rms: tuple[float, ...] = ()
    error: float | None = None

    @property
    def held(self) -> bool:
        """Whether the flow holds the image: it comes back, and no number of its latent is beyond all bounds."""
        return self.error is None or (self.error < _LARGEST_ERROR and bool(self.z.abs().max() < LARGEST_LATENT))


@dataclass(frozen=True)
class EvidenceImage:
    """One piece of evidence, or one file that could not become one.

    Attributes:
        picture: the file that it came from.
        face: the face, or the whole picture, that was chosen; None when there is none.
        latent: None when there is no face, or when the flow cannot hold the image.
        verdict: where its latent lies among those of held-out images, if the prior knows.
        weight: how many times the image counts, 0 or more.
        problem: why it is left out, in plain words; None if it is used.
        source: where it came from, to be read again under another prior.
        label: the class that it is known to be of; "" for unknown.
        robust: whether it counts less where it lies far outside, see `Evidence.counts`; else it is taken as it is.
        mask: what of the face's frame does not count, mode L, white there; None where all of it does.
        filled: the frame as it counts, where a part does not: see `masked.fill`.
    """

    picture: Picture
    face: AlignedFace | None
    latent: Latent | None = None
    verdict: Verdict | None = None
    weight: float = 1.0
    problem: str | None = None
    source: Source | None = None
    label: str = ""
    robust: bool = True
    mask: Image.Image | None = None
    filled: Image.Image | None = None

    @classmethod
    def judged(
        cls,
        picture: Picture,
        face: AlignedFace | None,
        latent: Latent | None,
        typicality: Typicality | None,
        **given: Any,
    ) -> EvidenceImage:
        """What became of a picture's face, or of a picture without one; `given`: weight, source, label, robust."""
        if face is None or latent is None:
            return cls(picture, None, problem=picture.problem, **given)
        return cls(picture, face, **given).rejudged(latent, typicality)

    def rejudged(self, latent: Latent, typicality: Typicality | None) -> EvidenceImage:
        """The same piece with another latent, and what is to be said of it."""
        verdict = typicality.judge(latent.log_prior, latent.level_rms) if typicality else None
        problem = None
        if not latent.held:
            problem = "it is so unlike the images that this flow was trained on that the flow cannot be inverted on it."
        return replace(self, latent=latent, verdict=verdict, problem=problem)

    @property
    def name(self) -> str:
        """The file's name."""
        return self.picture.name

    @property
    def pick(self) -> int | Literal["largest", "whole"]:
        """What `Engine.stream` is told to take the same of its picture again."""
        if self.face is None or self.face is self.picture.faces[0]:
            return "largest"
        return "whole" if self.face.placement == "whole" else self.face.index

    @property
    def used(self) -> bool:
        """Whether it conditions the posterior."""
        return self.problem is None and self.weight > 0

    @property
    def far(self) -> bool:
        """Whether it lies far outside of where the latents of photographs do."""
        return self.verdict is not None and self.verdict.word == "far outside"

    @property
    def summary(self) -> str:
        """What happened, in a short sentence for a person."""
        if self.problem or self.face is None:
            return f"skipped: {self.problem}"
        words = self.face.how + ("; a part is left out" if self.mask is not None else "")
        if self.far and self.verdict is not None:
            words += f"; far {self.verdict.way} for this prior"
        return words

    def to_dict(self) -> dict:
        """Every number, as JSON takes it; `Evidence.to_dicts` adds how much it counts."""
        face, latent = self.face, self.latent
        return {
            "name": self.name,
            "used": self.used,
            "summary": self.summary,
            "problem": self.problem,
            **(face.to_dict() if face else dict.fromkeys(("how", "box", "eyes", "rotation"))),
            "faces": len(self.picture.faces),
            "weight": self.weight,
            "log_prior": latent.log_prior if latent and math.isfinite(latent.log_prior) else None,
            # An adapted model may give no density: JSON has no word for that but null.
            "log_prob": latent.log_prob if latent and math.isfinite(latent.log_prob) else None,
            "typicality": self.verdict and self.verdict.word,
            "way": self.verdict and self.verdict.way,
            "percentile": self.verdict and self.verdict.percentile,
        }


@dataclass(frozen=True)
class Evidence(Sequence[EvidenceImage]):
    """All images that a person gave, in their order; those in use condition the posterior."""

    images: tuple[EvidenceImage, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    @overload
    def __getitem__(self, index: int) -> EvidenceImage: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[EvidenceImage, ...]: ...

    def __getitem__(self, index: int | slice) -> EvidenceImage | tuple[EvidenceImage, ...]:
        return self.images[index]

    def __iter__(self) -> Iterator[EvidenceImage]:
        return iter(self.images)

    @property
    def used(self) -> tuple[EvidenceImage, ...]:
        """Those that condition the posterior."""
        return tuple(image for image in self.images if image.used)

    @property
    def z(self) -> Tensor:
        """Latents of those in use, (m, D). Raises ValueError when there are none."""
        if not self.used:
            raise ValueError(self.why_unusable())
        return torch.stack([image.latent.z for image in self.used if image.latent is not None])

    @cached_property
    def counts(self) -> tuple[float, ...]:
        """How many times each image counts, in or out of use: its weight, and less where it lies far outside.

        A piece whose latent is, at some level, k times as far out as the line beyond which it is told so (see
        `Verdict.excess`) counts 1 / k⁴, the weight that Geman and McClure (1987) give an outlier far out: it adds to
        the mean at most what a piece at the line would, and to the variance, which goes as k², less and less. Where
        such pieces are half of those in use or more, they are no outliers but what was meant, and all count in full; so
        does one that is taken as it is.
        """
        used = self.used
        outliers = sum(image.far for image in used)
        spared = 2 * outliers >= len(used)

        def share(image: EvidenceImage) -> float:
            if spared or not image.robust or image.verdict is None:
                return 1.0
            return 1 / image.verdict.excess**4

        return tuple(image.weight * share(image) if image.used else 0.0 for image in self.images)

    @property
    def weights(self) -> Tensor:
        """How many times each of those in use counts, (m,): see `counts`."""
        return torch.tensor([count for image, count in zip(self.images, self.counts, strict=True) if image.used])

    @property
    def visible(self) -> Tensor | None:
        """How much each place of those in use counts, (m, 32, 32) in [0, 1]; None where no mask covers anything."""
        masks = [image.mask for image in self.used]
        if not any(masks):
            return None
        size = (_PLACES, _PLACES)
        covered = [mask.resize(size, Image.Resampling.BOX) if mask else Image.new("L", size) for mask in masks]
        return 1 - torch.from_numpy(np.stack([np.asarray(one, np.float32) / 255 for one in covered]))

    def to_dicts(self) -> list[dict]:
        """Of every image, what `EvidenceImage.to_dict` tells and how many times it counts, as JSON takes it."""
        return [image.to_dict() | {"counts": count} for image, count in zip(self.images, self.counts, strict=True)]

    def why_unusable(self) -> str:
        """What to tell a person when no image is in use."""
        problems = [f"{image.name}: {image.problem}" for image in self.images if image.problem]
        if problems:
            return "none of the images can be used. " + " ".join(problems[:5])
        return "every image has weight 0" if self.images else "there are no images"

    def condition(self, **how: Any) -> Posterior:
        """The posterior given the images in use; keywords as for `Posterior.condition`, such as `lam_ratio=0.5`."""
        return Posterior.condition(self.z, weights=self.weights, visible=self.visible, **how)

    def put(self, index: int, image: EvidenceImage) -> Evidence:
        """The same evidence with another image in one place."""
        return Evidence((*self.images[:index], image, *self.images[index + 1 :]))

    def replace(self, index: int, **changes: Any) -> Evidence:
        """The same evidence with fields of one image changed, as `dataclasses.replace` does (`weight=2.0`)."""
        return self.put(index, replace(self.images[index], **changes))
