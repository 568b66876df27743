"""Evidence: files become aligned faces, faces become latents, and what happened to each is kept and said."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import torch
from PIL import Image
from torch import Tensor

from .faces import AlignedFace, align
from .images import ImageError, load_image
from .posterior import Posterior
from .typicality import Verdict

__all__ = ["Evidence", "EvidenceImage", "Latent", "Picture", "Source", "content_of", "read_picture"]

Source = str | os.PathLike | bytes | BinaryIO | Image.Image


@dataclass(frozen=True)
class Picture:
    """One file as it was read: every face in it, or why there is none.

    Attributes:
        name: what a person calls the file.
        faces: aligned faces, largest first; empty when `problem` says why.
        whole: the picture's centre square in the frame, whether or not there are faces; None if it could not be read.
        problem: in plain words, or None.
    """

    name: str
    faces: tuple[AlignedFace, ...] = ()
    whole: AlignedFace | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Latent:
    """One image's whitened latent and densities, on the CPU.

    Attributes:
        z: (D,) float32.
        log_prior: log N(z; 0, I) in nats, as the paper reports it.
        log_prob: log density of the image's x, in nats.
        error: largest difference, in [0, 1], between the image and decode(z), or None where there was no reason to
            look: the latent is typical.
    """

    z: Tensor
    log_prior: float
    log_prob: float
    error: float | None = None


@dataclass(frozen=True)
class EvidenceImage:
    """One piece of evidence, or one file that could not become one.

    Attributes:
        picture: the file that it came from.
        face: the face, or the whole picture, that was chosen; None when there is none.
        latent: None when there is no face, or when the flow cannot hold the image.
        verdict: where its log-prior lies among held-out images, if the prior knows.
        weight: how many times the image counts, 0 or more.
        problem: why it is left out, in plain words; None if it is used.
    """

    picture: Picture
    face: AlignedFace | None
    latent: Latent | None = None
    verdict: Verdict | None = None
    weight: float = 1.0
    problem: str | None = None

    @property
    def name(self) -> str:
        """The file's name."""
        return self.picture.name

    @property
    def used(self) -> bool:
        """Whether it conditions the posterior."""
        return self.problem is None and self.weight > 0

    @property
    def summary(self) -> str:
        """What happened, in a short sentence for a person."""
        if self.problem:
            return f"skipped: {self.problem}"
        words = self.face.how
        if self.verdict is not None and self.verdict.word != "typical":
            words += f"; {self.verdict.word} for this prior"
        return words

    def to_dict(self) -> dict:
        """Every number, as JSON takes it."""
        face, latent = self.face, self.latent
        return {
            "name": self.name,
            "used": self.used,
            "summary": self.summary,
            "problem": self.problem,
            "how": face and face.how,
            "box": face and list(face.box),
            "eyes": [list(eye) for eye in face.eyes] if face and face.eyes else None,
            "rotation": face and face.rotation,
            "faces": len(self.picture.faces),
            "weight": self.weight,
            "log_prior": latent.log_prior if latent and math.isfinite(latent.log_prior) else None,
            # An adapted model may give no density: JSON has no word for that but null.
            "log_prob": latent.log_prob if latent and math.isfinite(latent.log_prob) else None,
            "typicality": self.verdict and self.verdict.word,
            "percentile": self.verdict and self.verdict.percentile,
        }


@dataclass(frozen=True)
class Evidence(Sequence[EvidenceImage]):
    """All images that a person gave, in their order; those in use condition the posterior."""

    images: tuple[EvidenceImage, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index):
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
        return torch.stack([image.latent.z for image in self.used])

    @property
    def weights(self) -> Tensor:
        """Weights of those in use, (m,)."""
        return torch.tensor([image.weight for image in self.used])

    def why_unusable(self) -> str:
        """What to tell a person when no image is in use."""
        problems = [f"{image.name}: {image.problem}" for image in self.images if image.problem]
        if problems:
            return "none of the images can be used. " + " ".join(problems[:5])
        return "every image has weight 0" if self.images else "there are no images"

    def condition(self, **how) -> Posterior:
        """The posterior given the images in use; keywords as for `Posterior.condition`, such as `lam_ratio=0.5`."""
        return Posterior.condition(self.z, weights=self.weights, **how)

    def put(self, index: int, image: EvidenceImage) -> Evidence:
        """The same evidence with another image in one place."""
        return Evidence((*self.images[:index], image, *self.images[index + 1 :]))

    def replace(self, index: int, **changes) -> Evidence:
        """The same evidence with fields of one image changed, as `dataclasses.replace` does (`weight=2.0`)."""
        return self.put(index, replace(self.images[index], **changes))


def content_of(source: Source) -> tuple[str, bytes | Image.Image, str]:
    """Name, content and digest of one source; what is read once need not be read again.

    Raises ImageError if a path cannot be read.
    """
    if isinstance(source, Image.Image):
        name = Path(getattr(source, "filename", "") or "image").name
        return name, source, hashlib.sha256(source.tobytes() + repr((source.mode, source.size)).encode()).hexdigest()
    if isinstance(source, str | os.PathLike):
        name = Path(source).name
        try:
            data = Path(source).read_bytes()
        except OSError as error:
            raise ImageError(name, f"it cannot be read ({error.strerror or error}).") from error
    else:
        name = Path(getattr(source, "name", "") or "image").name
        data = bytes(source) if isinstance(source, bytes | bytearray | memoryview) else source.read()
    return name, data, hashlib.sha256(data).hexdigest()


def read_picture(source: Source, *, name: str, size: int, whole: str = "auto", landmarks: str = "5") -> Picture:
    """Decode a file and align its faces. A file that cannot be used gives a Picture whose `problem` says why.

    Args:
        source, name: see `images.load_image`.
        size: side of the frame, in pixels.
        whole, landmarks: see `faces.align`.
    """
    try:
        image = load_image(source, name=name)
    except ImageError as error:
        return Picture(error.name, problem=error.problem)
    faces = tuple(align(image, size=size, whole=whole, landmarks=landmarks))
    square = faces[0] if faces and faces[0].placement == "whole" else align(image, size=size, whole="always")[0]
    return Picture(name, faces, square, None if faces else "no face was found in it.")
