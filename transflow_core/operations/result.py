"""What an operation made: pictures, facts, and the recipe with every value resolved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from ..images import save_animation
from ..images.output import ANIMATION_SUFFIXES, save_jpeg, save_png
from ..recipes import Recipe, check_suffix
from ..views import to_metadata

_KEPT = ("prior", "fingerprint", "m")
"""The facts that a picture and a posterior keep beside the recipe."""


class Saved(Protocol):
    """What can be written as a file."""

    def save(self, path: Path, metadata: Mapping[str, str]) -> None: ...


@dataclass(frozen=True, eq=False)
class Result:
    """What an operation made.

    Attributes:
        recipe: with every value resolved.
        facts: numbers and words about it, as JSON takes them.
        pictures: by name without a suffix; of each one or more frames.
        overview: all of them as one picture; None where each stands by itself.
        frames: the overview as an animation.
        loop: whether its last frame leads to the first one; else it plays there and back.
        saved: a posterior, latents or a classifier.
        lines: what a person reads.
    """

    recipe: Recipe
    facts: dict[str, Any]
    pictures: Mapping[str, Sequence[Image.Image]] = field(default_factory=dict)
    overview: Image.Image | None = None
    frames: Sequence[Image.Image] = ()
    loop: bool = False
    saved: Saved | None = None
    lines: tuple[str, ...] = ()

    @property
    def metadata(self) -> dict[str, str]:
        """What its files say about how they were made."""
        return to_metadata(self.recipe) | {name: str(self.facts[name]) for name in _KEPT if name in self.facts}

    def save(self, path: str | Path) -> list[Path]:
        """Write it: the suffix decides; a path without one is a folder of pictures. Gives the files.

        Raises ValueError for a suffix that this operation cannot write.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        check_suffix(type(self.recipe), path)
        if not suffix:
            path.mkdir(parents=True, exist_ok=True)
            return [self._write([frames[-1]], path / f"{name}.png") for name, frames in self.pictures.items()]
        if suffix == ".safetensors":
            assert self.saved is not None  # only such operations have this suffix
            self.saved.save(path, self.metadata)
            return [path]
        some = list(self.pictures.values()) if self.overview is None else [[*self.frames, self.overview]]
        many = [path] if len(some) == 1 else [path.with_stem(f"{path.stem}_{name}") for name in self.pictures]
        return [self._write(frames, file) for frames, file in zip(some, many, strict=True)]

    def _write(self, frames: Sequence[Image.Image], path: Path) -> Path:
        if path.suffix.lower() in ANIMATION_SUFFIXES:
            frames = frames if self.overview is None else self.frames or frames
            save_animation(frames, path, loop=self.loop, source=self.recipe.source)
        elif path.suffix.lower() in (".jpg", ".jpeg"):
            save_jpeg(frames[-1], path, source=self.recipe.source)
        else:
            save_png(frames[-1], path, metadata=self.metadata)
        return path
