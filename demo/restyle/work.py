"""What the Restyle tab computes: a photograph at one strength, at several, and the files that it can become."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from transflow_core.engine import Engine
from transflow_core.evidence import EvidenceImage, Source
from transflow_core.images import labelled_rows, save_animation, save_png
from transflow_core.intake import Intake
from transflow_core.limits import RESTYLE_FRAMES, RESTYLE_SIDE, Range
from transflow_core.posterior import Posterior
from transflow_core.recipes import Restyle, within
from transflow_core.restyled import Restyled, keeping
from transflow_core.views import to_metadata

from ..session import Session

__all__ = ["MASK_FILE", "POSTERIOR_FILE", "Asked", "Sitting", "settings_of", "write", "write_painted"]

POSTERIOR_FILE, MASK_FILE = "posterior.safetensors", "mask.png"

_SHOWN = 1024  # pixels of a side: no photograph is shown larger
_STEPS = 6


def settings_of(strength: object, likeness: object, keep_levels: object, match_colours: object) -> Restyle:
    """From untrusted values, the first two in per cent: out of range is brought into it."""
    of_hundred = Range(0, 100)
    return Restyle(
        strength=of_hundred.clip(strength, "strength") / 100,
        likeness=of_hundred.clip(likeness, "likeness") / 100,
        keep_levels=int(within(Restyle, "keep_levels").clip(keep_levels, "the number of levels")),
        match_colours=bool(match_colours),
    )


@dataclass(frozen=True, eq=False)
class Sitting:
    """One photograph, as the page shows it: reduced, by so much, with those of its faces that can be restyled.

    Attributes:
        given: the faces as they were read.
        mask: what was painted away, if anything was: white there.
        faces: the faces as they are now.
    """

    source: Source
    name: str
    image: Image.Image
    scale: float
    given: tuple[EvidenceImage, ...]
    mask: Image.Image | None
    faces: tuple[EvidenceImage, ...]

    @classmethod
    def of(
        cls,
        engine: Engine,
        intake: Intake,
        index: int,
        mask: Image.Image | None = None,
        stop: threading.Event | None = None,
    ) -> Sitting:
        """The photograph of this index among those that were given, without what the mask covers."""
        sources = list(dict.fromkeys(image.source for image in intake.used if image.source is not None))
        source = sources[min(index, len(sources) - 1)]
        given = tuple(image for image in intake.used if image.source == source)
        whole = engine.picture(source, cancel=stop)
        scale = min(1.0, _SHOWN / max(whole.size))
        size = max(1, round(scale * whole.width)), max(1, round(scale * whole.height))
        # As large as the file that can be taken away: the code that is shown makes the same of it.
        mask = mask and mask.resize(size, Image.Resampling.NEAREST)
        whole, faces = _without(engine, whole, given, mask, stop)
        image = whole if size == whole.size else whole.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
        return cls(source, given[0].name, image, image.width / whole.width, given, mask, faces)

    def full(self, engine: Engine) -> Image.Image:
        """The photograph at its full size, without what was painted away."""
        return _without(engine, engine.picture(self.source), self.given, self.mask, None)[0]

    def smaller(self, side: int) -> Sitting:
        """The same at no more than this side, in pixels."""
        image = self.image.copy()
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        return replace(self, image=image, scale=self.scale * image.width / self.image.width)


def _without(
    engine: Engine,
    photograph: Image.Image,
    faces: tuple[EvidenceImage, ...],
    mask: Image.Image | None,
    stop: threading.Event | None,
) -> tuple[Image.Image, tuple[EvidenceImage, ...]]:
    return engine.paint_away(photograph, faces, mask, cancel=stop) if mask is not None else (photograph, faces)


@dataclass(frozen=True, eq=False)
class Asked:
    """A photograph, a style, and numbers: all that decides what is seen."""

    sitting: Sitting
    posterior: Posterior
    style: Intake
    prior: str
    settings: Restyle

    @property
    def strength(self) -> float:
        """One for all levels, as the page has it."""
        assert not isinstance(self.settings.strength, tuple)
        return self.settings.strength

    @property
    def recipe(self) -> Restyle:
        """What is on the screen, with its prior."""
        return self.settings.replace(prior=self.prior)

    def restyled(
        self, engine: Engine, strengths: list[float], stop: threading.Event | None = None, faces: int | None = None
    ) -> Restyled:
        """At several strengths, of all faces or of so many, the largest first."""
        chosen, settings = self.sitting.faces[:faces], self.settings
        levels = [keeping(settings.keep_levels, strength, len(engine.prior.levels)) for strength in strengths]
        return engine.restyle(chosen, self.posterior, levels, likeness=settings.likeness, cancel=stop)

    def strip(self, engine: Engine, stop: threading.Event) -> Image.Image:
        """The largest face on the way from the photograph to all of the style."""
        strengths = [i / (_STEPS - 1) for i in range(_STEPS)]
        restyled = self.restyled(engine, strengths, stop, faces=1)
        row = [restyled.frames(step)[0] for step in range(_STEPS)]
        return labelled_rows([row], column_labels=[f"{s:.0%}" for s in strengths], background="#808080", gap=2)

    def metadata(self, engine: Engine) -> dict[str, str]:
        """What the files say of themselves."""
        evidence = {"evidence": self.style.example or self.style.title}
        return to_metadata(self.recipe) | evidence | engine.prior.provenance


def write(kind: str, asked: Asked, engine: Engine, session: Session) -> Path:
    """Write one file: "png", the photograph at its full size; "strip"; "style", the posterior; or an animation of the
    way."""
    settings = asked.settings
    if kind == "style":
        path = session.file(POSTERIOR_FILE)
        asked.posterior.save(path, {key: asked.metadata(engine)[key] for key in ("prior", "fingerprint", "evidence")})
        return path
    if kind in ("png", "strip"):
        path = session.file("restyled.png" if kind == "png" else "restyle_strip.png")
        if kind == "strip":
            picture = asked.strip(engine, threading.Event())
        else:
            restyled = asked.restyled(engine, [asked.strength])
            picture = restyled.pasted(asked.sitting.full(engine), match_colours=settings.match_colours)
        save_png(picture, path, metadata=asked.metadata(engine))
        return path
    sitting = asked.sitting.smaller(RESTYLE_SIDE)
    restyled = asked.restyled(engine, [asked.strength * i / (RESTYLE_FRAMES - 1) for i in range(RESTYLE_FRAMES)])
    frames = [
        restyled.pasted(sitting.image, step, match_colours=settings.match_colours, scale=sitting.scale)
        for step in range(RESTYLE_FRAMES)
    ]
    path = session.file(f"restyled.{kind}")
    save_animation(frames, path, boomerang=True)
    return path


def write_painted(kind: str, sitting: Sitting, engine: Engine, session: Session) -> Path:
    """Write what there is before a style is chosen: "mask", what was painted away; "png", the photograph without it.

    Raises ValueError where nothing was painted, and for every other kind.
    """
    if sitting.mask is None or kind not in ("mask", "png"):
        raise ValueError("There is nothing to save yet. " + ("Choose a style." if kind != "mask" else "Paint first."))
    path = session.file(MASK_FILE if kind == "mask" else "painted.png")
    if kind == "mask":
        sitting.mask.save(path)
    else:
        save_png(sitting.full(engine), path, metadata={"command": "paint away", "prior": engine.prior.name})
    return path
