"""A recipe that is run: its inputs, files or evidence that was read before; and what it made."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from PIL import Image

from ..compute import How, Progress
from ..evidence import Evidence
from ..images import save_animation
from ..images.output import ANIMATION_SUFFIXES, save_jpeg, save_png
from ..posterior import Posterior
from ..reading import Reader, listed
from ..recipes import Reading, Recipe, check_suffix
from ..views import to_metadata

R = TypeVar("R", bound=Reading)
T = TypeVar("T")
# No frame of a face shows more of a mask, and a call must not hold the pixels of a huge one.
_MASK_SIDE = 2048
_KEPT = ("prior", "fingerprint", "m")
"""The facts that a picture and a posterior keep beside the recipe."""


@dataclass(frozen=True)
class Call(Generic[R]):
    """What an operation is given.

    Attributes:
        engine: what computes and reads.
        recipe: what to do.
        inputs: by name: sources, an `Evidence`, or for classes a mapping from names to either.
        progress: see `Compute.sample`.
        cancel: ends it with Cancelled at its next batch.
        side: pixels a side that are enough for new images; None for all.
    """

    engine: Reader
    recipe: R
    inputs: Mapping[str, Any]
    progress: Progress | None = None
    cancel: threading.Event | None = None
    side: int | None = None

    @property
    def how(self) -> How:
        """Progress and cancel, as methods of the engine take them."""
        return {"progress": self.progress, "cancel": self.cancel}

    def run(self, function: Callable[..., T], *args: Any) -> T:
        """See `Compute.call`."""
        return self.engine.call(function, *args, **self.how)

    def read(self, value: Any, **how: Any) -> Evidence:
        """Sources, read as the recipe says, or as `how` does; what was read before stays as it is."""
        if isinstance(value, Evidence):
            return value
        if isinstance(value, Posterior):
            return Evidence(prior=self.engine.prior.name, saved=self.engine.checked_posterior(value))
        names = {"align", "faces", "landmarks", "robust"} & type(self.recipe).model_fields.keys()
        asked = {name: getattr(self.recipe, name) for name in names}
        return self.engine.read(value, **self.how, **(asked | how))

    def evidence(self, name: str = "evidence") -> Evidence:
        """A set: images, or one saved posterior. Raises ValueError where something of it cannot be used at all."""
        return _checked(name, self.read(self.inputs[name]))

    def images(self, name: str, *, some: bool = True, **how: Any) -> Evidence:
        """The same, where a saved posterior will not do; `some`: at least one can be used."""
        evidence = self.read(self.inputs[name], **how)
        if evidence.saved is not None:
            raise ValueError(f"{name}: give images, not a saved posterior.")
        return _checked(name, evidence) if some else evidence

    def masks(self, n: int, what: str) -> Iterator[Image.Image | None]:
        """A mask for each of n, or None without any. One is opened at a time, and one that is given again stays open.

        Raises ValueError for another number than 1 and n, before any is opened.
        """
        some = listed(self.inputs.get("masks") or [None])
        if len(some) not in (1, n):
            raise ValueError(f"{n} {what} take one mask, or one for each, not {len(some)}")
        for one, same in groupby(some * n if len(some) == 1 else some):
            mask = one
            if one is not None and not isinstance(one, Image.Image):
                mask = self.engine.picture(one, **self.how)
                mask.thumbnail((_MASK_SIDE, _MASK_SIDE))
            for _ in same:
                yield mask


def _checked(name: str, evidence: Evidence) -> Evidence:
    try:
        return evidence.checked()
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def stem_of(name: str) -> str:
    """The name of a file without its suffix, and short enough for the name of another."""
    return (name.rpartition(".")[0] or name).encode()[:200].decode(errors="ignore")


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
            files = []
            for name, frames in self.pictures.items():
                apart = len(frames) > 1 and self.overview is not None  # a row of pictures; else what moves ends there
                stills = {f"{name}_{at}": one for at, one in enumerate(frames)} if apart else {name: frames[-1]}
                files += [self._write([one], path / f"{still}.png") for still, one in stills.items()]
            return files
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
