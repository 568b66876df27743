"""The result of the Interpolate tab, decoded batch by batch, and the files to download."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from transflow_core.engine import Engine
from transflow_core.images import contact_sheet, labelled_rows, save_animation, save_png, to_uint8

from ..server.state import Session
from .paths import LatentPath, PathSettings
from .snippet import POSTERIOR_FILES, STRIP_FILE

__all__ = ["Decoding", "Result", "strip_picture", "write"]


@dataclass(frozen=True)
class Result:
    """The result as bytes.

    Attributes:
        paths: the paths, with their ends.
        strips: (steps, n, S, S, 3) of each path.
        frames: (frames, cells, S, S, 3) of the scrubber.
        metadata: the text inside the files.
    """

    paths: list[LatentPath]
    strips: list[NDArray[np.uint8]]
    frames: NDArray[np.uint8]
    metadata: dict[str, str]

    @property
    def cell_names(self) -> list[str]:
        """The names of the paths, where the stage shows one draw of each."""
        return [path.title for path in self.paths] if len(self.paths) > 1 else []


class Decoding:
    """Decodes paths batch by batch, and knows how far it is.

    With several paths, the scrubber has one cell for each, with its first draw; else one cell for each draw.

    Args:
        engine: decodes.
        cancel: makes it raise Cancelled at its next batch.
        settings: steps, frames, seed and temperature.
        paths: the paths.

    Attributes:
        done, total: images that are decoded, and all images.
    """

    def __init__(
        self, engine: Engine, cancel: threading.Event, settings: PathSettings, paths: list[LatentPath]
    ) -> None:
        self._engine, self._cancel, self._settings, self._paths = engine, cancel, settings, paths
        self._cells = [path.n for path in paths] if len(paths) == 1 else [1] * len(paths)
        steps, frames = settings.steps, settings.frames
        self._inner_ts = [i / (frames - 1) for i in range(frames) if i % settings.stride]
        self.done, self.total = 0, sum(steps * path.n for path in paths) + len(self._inner_ts) * sum(self._cells)
        self._strips: list[NDArray[np.uint8]] = []
        self._inner: list[NDArray[np.uint8]] = []

    def strips(self) -> Iterator[None]:
        """Decode every step of every path; yields after each batch. Raises Cancelled."""
        steps = self._settings.steps
        ts = [i / (steps - 1) for i in range(steps)]
        for path in self._paths:
            images = yield from self._decode(path, ts, path.n)
            self._strips.append(images)

    def inner_frames(self) -> Iterator[None]:
        """Decode the frames between the steps; yields after each batch. Raises Cancelled."""
        if self._inner_ts:
            for path, n in zip(self._paths, self._cells, strict=True):
                images = yield from self._decode(path, self._inner_ts, n)
                self._inner.append(images)

    def _decode(self, path: LatentPath, ts: Sequence[float], n: int) -> Generator[None, None, NDArray[np.uint8]]:
        settings = self._settings
        z, means, guards = path.latents(ts, n, settings.seed, settings.temperature)
        size, parts = self._engine.batch_size, []
        for start in range(0, len(z), size):
            rows = slice(start, start + size)
            how = {"centre": means[rows], "guards": guards[rows], "cancel": self._cancel}
            parts.append(to_uint8(self._engine.decode(z[rows], **how)))
            self.done += len(z[rows])
            yield
        images = np.concatenate(parts)
        return images.reshape(len(ts), n, *images.shape[1:])

    def result(self, metadata: dict[str, str]) -> Result:
        """The result so far: with the frames between the steps once they are decoded."""
        coarse = np.concatenate([strip[:, :n] for strip, n in zip(self._strips, self._cells, strict=True)], axis=1)
        if not self._inner:
            return Result(self._paths, list(self._strips), coarse, metadata)
        inner = np.concatenate(self._inner, axis=1)
        frames = np.empty((self._settings.frames, *coarse.shape[1:]), np.uint8)
        at_step = np.arange(len(frames)) % self._settings.stride == 0
        frames[at_step], frames[~at_step] = coarse, inner
        return Result(self._paths, list(self._strips), frames, metadata)


def write(kind: str, result: Result, session: Session) -> Path:
    """Write one file: "png", the strips; "webp", "gif" or "mp4", the scrubber's frames there and back; "a" or "b", the
    posterior at that end."""
    if kind in POSTERIOR_FILES:
        path = session.file(POSTERIOR_FILES[kind])
        metadata = {key: result.metadata[key] for key in ("prior", "fingerprint")} | {"evidence": result.metadata[kind]}
        posterior, method = result.paths[0].ends["ab".index(kind)]
        posterior.save(path, metadata=metadata | method.texts())
        return path
    if kind == "png":
        path = session.file(STRIP_FILE)
        save_png(strip_picture(result), path, metadata=result.metadata)
        return path
    path = session.file(f"interpolation.{kind}")
    columns = len(result.paths) if result.cell_names else None
    frames = [
        contact_sheet([Image.fromarray(cell) for cell in frame], columns=columns, labels=result.cell_names or None)
        for frame in result.frames
    ]
    save_animation(frames, path)
    return path


def strip_picture(result: Result) -> Image.Image:
    """All strips on one sheet, as the code on the page makes it."""
    rows, names = [], []
    for path, images in zip(result.paths, result.strips, strict=True):
        rows += [[Image.fromarray(images[step, draw]) for step in range(len(images))] for draw in range(path.n)]
        names += [path.title] + [""] * (path.n - 1)
    steps = len(rows[0])
    labels = [f"{i / (steps - 1):.2f}" for i in range(steps)]
    return labelled_rows(rows, column_labels=labels, row_labels=names if result.cell_names else ())
