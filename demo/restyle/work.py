"""The work of the Restyle tab: a photograph at one strength, at several, and the files to download."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from transflow_core.engine import Engine
from transflow_core.evidence import Evidence, EvidenceImage
from transflow_core.images import labelled_rows, save_animation, save_png
from transflow_core.limits import RESTYLE_FRAMES, RESTYLE_SIDE, Range
from transflow_core.operations.inpaint import remove
from transflow_core.operations.restyle import Restyled, level_strengths, restyle_faces
from transflow_core.pictures import File
from transflow_core.posterior import Posterior
from transflow_core.recipes import Restyle, within
from transflow_core.views import to_metadata

from ..server.state import Session
from ..snippet import Step, evidence_files, file_of

__all__ = [
    "MASK_FILE",
    "PERCENT",
    "POSTERIOR_FILE",
    "Photograph",
    "Request",
    "settings_of",
    "steps_of",
    "write",
    "write_painted",
]

POSTERIOR_FILE, MASK_FILE = "posterior.safetensors", "mask.png"
PERCENT = Range(0, 100)

_SHOWN = 1024  # pixels of a side on the page
_STEPS = 6


def settings_of(strength: object, likeness: object, keep_levels: object, match_colours: object) -> Restyle:
    """From untrusted values, the first two in per cent. A number out of range becomes the nearest."""
    return Restyle(
        strength=PERCENT.clip(strength, "strength") / 100,
        likeness=PERCENT.clip(likeness, "likeness") / 100,
        keep_levels=int(within(Restyle, "keep_levels").clip(keep_levels, "the number of levels")),
        match_colours=bool(match_colours),
    )


@dataclass(frozen=True, eq=False)
class Photograph:
    """One photograph at the size of the page, with those of its faces that can be restyled.

    Attributes:
        image: the photograph, reduced by `scale`, without what the mask covers.
        read: the faces as they were read.
        mask: white where a part is removed; None without one.
        faces: the faces without what the mask covers.
    """

    file: File
    name: str
    image: Image.Image
    scale: float
    read: tuple[EvidenceImage, ...]
    mask: Image.Image | None
    faces: tuple[EvidenceImage, ...]

    @classmethod
    def of(
        cls,
        engine: Engine,
        evidence: Evidence,
        index: int,
        mask: Image.Image | None = None,
        cancel: threading.Event | None = None,
    ) -> Photograph:
        """The photograph of this index, without what the mask covers."""
        files = list(dict.fromkeys(image.source.file for image in evidence.used))
        file = files[min(index, len(files) - 1)]
        read = tuple(image for image in evidence.used if image.source.file == file)
        full = engine.picture(file, cancel=cancel)
        scale = min(1.0, _SHOWN / max(full.size))
        size = max(1, round(scale * full.width)), max(1, round(scale * full.height))
        # As large as the file to download, so that the code on the page makes the same picture.
        mask = mask and mask.resize(size, Image.Resampling.NEAREST)
        full, faces = _without(engine, full, read, mask, cancel)
        image = full if size == full.size else full.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
        return cls(file, read[0].name, image, image.width / full.width, read, mask, faces)

    def full(self, engine: Engine) -> Image.Image:
        """The photograph at its full size, without what the mask covers."""
        return _without(engine, engine.picture(self.file), self.read, self.mask, None)[0]

    def smaller(self, side: int) -> Photograph:
        """The same at no more than this side, in pixels."""
        image = self.image.copy()
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        return replace(self, image=image, scale=self.scale * image.width / self.image.width)


def _without(
    engine: Engine,
    photograph: Image.Image,
    faces: tuple[EvidenceImage, ...],
    mask: Image.Image | None,
    cancel: threading.Event | None,
) -> tuple[Image.Image, tuple[EvidenceImage, ...]]:
    return remove(engine, photograph, faces, mask, cancel=cancel) if mask is not None else (photograph, faces)


@dataclass(frozen=True, eq=False)
class Request:
    """A photograph, a style, and settings: all that decides the result."""

    photograph: Photograph
    posterior: Posterior
    style: Evidence
    prior: str
    settings: Restyle

    @property
    def strength(self) -> float:
        """One strength for all levels, as on the page."""
        assert not isinstance(self.settings.strength, tuple)
        return self.settings.strength

    @property
    def recipe(self) -> Restyle:
        """The recipe of the settings, with the prior."""
        return self.settings.replace(prior=self.prior)

    def restyled(
        self, engine: Engine, strengths: list[float], cancel: threading.Event | None = None, faces: int | None = None
    ) -> Restyled:
        """The faces at several strengths: all of them, or so many, the largest first."""
        chosen, settings = self.photograph.faces[:faces], self.settings
        levels = [level_strengths(strength, settings.keep_levels, len(engine.prior.levels)) for strength in strengths]
        return restyle_faces(engine, chosen, self.posterior, levels, likeness=settings.likeness, cancel=cancel)

    def strip(self, engine: Engine, cancel: threading.Event) -> Image.Image:
        """The largest face, from the photograph to the full style."""
        strengths = [i / (_STEPS - 1) for i in range(_STEPS)]
        restyled = self.restyled(engine, strengths, cancel, faces=1)
        row = [restyled.frames(step)[0] for step in range(_STEPS)]
        return labelled_rows([row], column_labels=[f"{s:.0%}" for s in strengths], background="#808080", gap=2)

    def metadata(self, engine: Engine) -> dict[str, str]:
        """The text inside the files."""
        evidence = {"evidence": self.style.example or self.style.title}
        return to_metadata(self.recipe) | evidence | engine.prior.provenance


def steps_of(request: Request) -> list[Step]:
    """The code of a restyled photograph."""
    photograph = request.photograph
    inputs = {
        "photographs": [file_of(photograph.file, photograph.name)],
        "evidence": evidence_files(request.style, POSTERIOR_FILE),
    }
    if photograph.mask is not None:
        inputs["masks"] = [MASK_FILE]
    return [Step(request.recipe, inputs, "restyled.png")]


def write(kind: str, request: Request, engine: Engine, session: Session) -> Path:
    """Write one file: "png", the photograph at its full size; "strip"; "style", the posterior; or an animation, from
    the photograph to the full style."""
    settings = request.settings
    if kind == "style":
        path = session.file(POSTERIOR_FILE)
        request.posterior.save(
            path, {key: request.metadata(engine)[key] for key in ("prior", "fingerprint", "evidence")}
        )
        return path
    if kind in ("png", "strip"):
        path = session.file("restyled.png" if kind == "png" else "restyle_strip.png")
        if kind == "strip":
            picture = request.strip(engine, threading.Event())
        else:
            restyled = request.restyled(engine, [request.strength])
            picture = restyled.pasted(request.photograph.full(engine), match_colours=settings.match_colours)
        save_png(picture, path, metadata=request.metadata(engine))
        return path
    photograph = request.photograph.smaller(RESTYLE_SIDE)
    restyled = request.restyled(engine, [request.strength * i / (RESTYLE_FRAMES - 1) for i in range(RESTYLE_FRAMES)])
    frames = [
        restyled.pasted(photograph.image, step, match_colours=settings.match_colours, scale=photograph.scale)
        for step in range(RESTYLE_FRAMES)
    ]
    path = session.file(f"restyled.{kind}")
    save_animation(frames, path)
    return path


def write_painted(kind: str, photograph: Photograph, engine: Engine, session: Session) -> Path:
    """Write a file of a photograph without a style: "mask"; or "png", the photograph without what the mask covers.

    Raises ValueError where nothing was painted, and for every other kind.
    """
    if photograph.mask is None or kind not in ("mask", "png"):
        missing = "Paint over something first." if kind == "mask" else "Choose a style."
        raise ValueError(f"There is nothing to save yet. {missing}")
    path = session.file(MASK_FILE if kind == "mask" else "painted.png")
    if kind == "mask":
        photograph.mask.save(path)
    else:
        save_png(photograph.full(engine), path, metadata={"command": "remove", "prior": engine.prior.name})
    return path
