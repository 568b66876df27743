"""Evidence: images as latents, what happened to each, and the posterior of them."""

import functools
import math
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .checkpoints.typicality import Typicality, Verdict
from .faces import AlignedFace
from .limits import DEFAULT_LAM_RATIO
from .pictures import File, Picture
from .posterior import Posterior, standard_normal
from .posterior.local import PRIOR_TEMPERATURE

# Beyond two bytes of error nobody would call decode(encode(image)) the same image.
_LARGEST_ERROR = 2 / 255
_PLACES = 32
LARGEST_LATENT = 1000.0
"""No number of a latent in use is as large. A standard normal never leaves ±7, and with a latent this far out one image
would throw the mean of a hundred good ones."""

Pick = Literal["largest", "all", "whole"] | int
"""Which of a picture's faces: its largest, all, the whole picture, or face number 0, 1, … in their order."""


@dataclass(frozen=True)
class Source:
    """A file that becomes evidence, and how it counts: all that is needed to read the same again.

    Attributes:
        file: a path, bytes, a binary file or a PIL image.
        label: the class that it is known to be of; "" for unknown.
        weight: how many times it counts, 0 or more.
        face: which of its faces counts.
        robust: whether an outlier counts less, see `Evidence.effective_weights`.
    """

    file: File
    label: str = ""
    weight: float = 1.0
    face: Pick = "largest"
    robust: bool = True


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
    def invertible(self) -> bool:
        """Whether decode(z) shows the image again, and no number of z is beyond all bounds."""
        return self.error is None or (self.error < _LARGEST_ERROR and bool(self.z.abs().max() < LARGEST_LATENT))


@dataclass(frozen=True)
class EvidenceImage:
    """One image of the evidence, or one file that could not become one.

    Attributes:
        source: where it came from, and how it counts.
        picture: the file as it was read.
        face: the aligned face, or the whole picture, that was chosen; None when there is none.
        latent: None when there is no face.
        verdict: where its latent lies among those of held-out images, if the prior knows.
        problem: why it is not used, in plain words; None if it is used.
        mask: what of the aligned image is ignored, mode L, white there; None where nothing is.
        filled: the aligned image as it counts, where a part is ignored: see `operations.inpaint`.
        lacks: how many of the prior's finest levels it has no pixels for: see `Prior.lacking`.
    """

    source: Source
    picture: Picture
    face: AlignedFace | None = None
    latent: Latent | None = None
    verdict: Verdict | None = None
    problem: str | None = None
    mask: Image.Image | None = None
    filled: Image.Image | None = None
    lacks: int = 0

    @classmethod
    def of(cls, source: Source, picture: Picture, face: AlignedFace | None, lacks: int = 0) -> "EvidenceImage":
        """A picture's face before it is encoded (see `judged`), or a picture without one."""
        if face is None:
            return cls(source, picture, problem=picture.problem)
        pick: Pick = "largest" if picture.faces and face is picture.faces[0] else face.index
        source = replace(source, face="whole" if pick != "largest" and face.placement == "whole" else pick)
        return cls(source, picture, face, lacks=lacks)

    def judged(self, latent: Latent, of: Typicality | None) -> "EvidenceImage":
        """The same image with its latent, or another one, and what is to be said of it by what is typical."""
        different = "it is too different from the training images, so the model cannot encode it."
        faceless = self.face is not None and self.face.missed
        # What it has no pixels for is not too smooth: it is missing.
        levels = (*of.median_rms[: self.lacks], *latent.level_rms[self.lacks :]) if of else ()
        verdict = of.judge(latent.log_prior, levels, faceless) if of else None
        return replace(self, latent=latent, verdict=verdict, problem=None if latent.invertible else different)

    @property
    def name(self) -> str:
        """The file's name."""
        return self.picture.name

    @property
    def weight(self) -> float:
        """See `Source`."""
        return self.source.weight

    @property
    def shown(self) -> Image.Image | None:
        """The aligned image as it counts, with what is ignored filled in; None where there is no face."""
        return self.filled or (self.face and self.face.image)

    @property
    def since(self) -> int:
        """The first number of its latent that it has pixels for. A Haar level is three quarters of what is left."""
        return 0 if self.latent is None else len(self.latent.z) - len(self.latent.z) // 4**self.lacks

    @property
    def z(self) -> Tensor:
        """Its latent, (D,), in which levels that it lacks are those of a draw of the prior: it fits no others.

        They count nothing (see `Posterior.condition`), but without them a picture of it would be soft.
        """
        assert self.latent is not None
        z, since = self.latent.z, self.since
        if not since:
            return z
        seed = zlib.crc32(z[since:].numpy().tobytes())
        return torch.cat([PRIOR_TEMPERATURE * standard_normal(1, since, seed)[0], z[since:]])

    @property
    def used(self) -> bool:
        """Whether it conditions the posterior."""
        return self.problem is None and self.weight > 0

    @property
    def is_outlier(self) -> bool:
        """Whether it is unlike the images that the model knows; see `Verdict`."""
        return self.verdict is not None and self.verdict.word == "far outside"

    @property
    def summary(self) -> str:
        """What happened, in a short sentence for a person."""
        if self.problem or self.face is None:
            return f"skipped: {self.problem}"
        words = self.face.how + ("; a part is ignored" if self.mask is not None else "")
        words += "; it has few pixels: the model adds fine detail" if self.lacks else ""
        if self.verdict is not None and self.verdict.way in ("too busy", "too smooth"):
            words += f"; far {self.verdict.way} for this model"
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


@dataclass(frozen=True, eq=False)
class Evidence:
    """The images that a user gave, in their order, or a saved posterior in their place. It never changes: what changes
    it gives another one.

    Its posterior is computed once, at λ = m, and moved from there: a slider costs nothing that depends on m.

    Attributes:
        images: each with its source; those in use condition the posterior.
        prior: the prior that it was read with, by the name under which it was asked for.
        saved: a posterior from a file, in the place of images.
        saved_name: that file's name.
        example: key of the example set that this is, while it is nothing else.
        remaining: how many sources are still to be read; after a cancel, how many were not.
        notes: what of the last sources was refused or left out, each a sentence for a person.
        coming: pictures that are read already, while their latents are not: see `Reader.read_steps`.

    Example:
        >>> Evidence().ready, Evidence().title
        (False, 'the prior')
    """

    images: tuple[EvidenceImage, ...] = ()
    prior: str = ""
    saved: Posterior | None = None
    saved_name: str = ""
    example: str = ""
    remaining: int = 0
    notes: tuple[str, ...] = ()
    coming: tuple[EvidenceImage, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> EvidenceImage:
        return self.images[index]

    def __iter__(self) -> Iterator[EvidenceImage]:
        return iter(self.images)

    @property
    def sources(self) -> tuple[Source, ...]:
        """What to read to have the same again, under another prior say."""
        return tuple(image.source for image in self.images)

    @property
    def used(self) -> tuple[EvidenceImage, ...]:
        """The images that condition the posterior."""
        return tuple(image for image in self.images if image.used)

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

    @property
    def z(self) -> Tensor:
        """Latents of those in use, (m, D). Raises ValueError when there are none."""
        if not self.used:
            raise ValueError(self.why_unusable())
        return torch.stack([image.z for image in self.used])

    @property
    def encoded(self) -> Tensor:
        """The same as they were encoded: enlarged pictures are soft at the levels that they lack (see `z` of each)."""
        return torch.stack([image.latent.z for image in self.used if image.latent is not None])

    @functools.cached_property
    def effective_weights(self) -> tuple[float, ...]:
        """How many times each image counts, in or out of use: its weight, and less for an outlier.

        An image whose latent is, at some level, k times as far out as the line beyond which it is an outlier (see
        `Verdict.excess`) counts 1 / k⁴ (Geman and McClure, 1987): it adds to the mean at most what an image at the line
        would. Where half of those in use or more are far out, they are what was meant, and all count in full; so does
        an image that is not `robust`.
        """
        used = self.used
        meant = 2 * sum(image.is_outlier for image in used) >= len(used)

        def share(image: EvidenceImage) -> float:
            return 1.0 if meant or not image.source.robust or image.verdict is None else 1 / image.verdict.excess**4

        return tuple(image.weight * share(image) if image.used else 0.0 for image in self.images)

    @property
    def weights(self) -> Tensor:
        """How many times each of those in use counts, (m,): see `effective_weights`."""
        each = zip(self.images, self.effective_weights, strict=True)
        return torch.tensor([weight for image, weight in each if image.used], dtype=torch.float64)

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
        """Of every image `EvidenceImage.to_dict`, and how many times it counts, as JSON takes it."""
        each = zip(self.images, self.effective_weights, strict=True)
        return [image.to_dict() | {"effective_weight": weight} for image, weight in each]

    def why_unusable(self) -> str:
        """What to tell a person when no image is in use."""
        problems = [f"{image.name}: {image.problem}" for image in self.images if image.problem]
        if problems:
            return "none of the images can be used. " + " ".join(problems[:5])
        return "every image has weight 0" if self.images else "there are no images"

    def checked(self) -> "Evidence":
        """Itself. Raises ValueError with its `notes`, or, when there is nothing to condition on, with the reasons."""
        if self.notes or not self.ready:
            raise ValueError(" ".join(self.notes) or self.why_unusable())
        return self

    def added(self, images: Iterable[EvidenceImage], remaining: int = 0) -> "Evidence":
        """With more images at the end; a saved posterior makes room for them."""
        more = (*self.images, *images)
        return replace(self, images=more, saved=None, saved_name="", example="", remaining=remaining, coming=())

    def removed(self, index: int) -> "Evidence":
        """Without one image."""
        return self.put(index)

    def put(self, index: int, *instead: EvidenceImage) -> "Evidence":
        """With another image in one place, or none."""
        index = range(len(self.images))[index]
        return replace(self, images=(*self.images[:index], *instead, *self.images[index + 1 :]), example="")

    def replace(self, index: int, **changes: Any) -> "Evidence":
        """With fields of one image's source changed, such as `weight=2.0`."""
        image = self.images[index]
        return self.put(index, replace(image, source=replace(image.source, **changes)))

    def posterior(self, lam_ratio: float | Tensor | None = None) -> Posterior:
        """The posterior at λ/m: a number, or (D,) as `Engine.ratio` makes of one a level.

        By default it is that of the saved file, or at λ/m = 0.5. Raises ValueError when there is nothing to condition
        on, with what is wrong with each image.
        """
        if lam_ratio is None and self.saved is not None:
            return self.saved
        return self._at_one.with_lam(DEFAULT_LAM_RATIO if lam_ratio is None else lam_ratio)

    def forget(self) -> None:
        """Forget the posterior, as large as the latents themselves; it is computed again when it is asked for."""
        self.__dict__.pop("_at_one", None)

    @functools.cached_property
    def _at_one(self) -> Posterior:
        if self.saved is not None:
            return self.saved
        since = torch.tensor([image.since for image in self.used])
        return Posterior.condition(self.z, 1.0, weights=self.weights, visible=self.visible, since=since)
