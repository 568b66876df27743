"""What the Interpolate tab shows, decoded batch by batch, and the files that it can become."""

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

from ..session import Session
from .route import Route, RouteSettings
from .snippet import POSTERIOR_FILES, STRIP_FILE

__all__ = ["Decoding", "Result", "strip_picture", "write"]


@dataclass(frozen=True)
class Result:
    """What is on the screen, as bytes.

    Attributes:
        shown: the routes, with their ends.
        strips: (steps, n, S, S, 3) of each route.
        frames: (frames, cells, S, S, 3) of the scrubber.
        metadata: words that go into the files.
    """

    shown: list[Route]
    strips: list[NDArray[np.uint8]]
    frames: NDArray[np.uint8]
    metadata: dict[str, str]

    @property
    def cell_names(self) -> list[str]:
        """Where the stage shows one draw of each route: their names."""
        return [route.title for route in self.shown] if len(self.shown) > 1 else []


class Decoding:
    """Routes, decoded batch by batch: what is done, what is left, and what there is so far.

    Where several routes are shown, the scrubber has one cell for each, with the first draw; else one for each draw.

    Args:
        engine: decodes.
        stop: ends it at its next batch, by Cancelled.
        settings: steps, frames, seed and temperature.
        shown: the routes.

    Attributes:
        done, total: images that were decoded, and that there will be.
    """

    def __init__(self, engine: Engine, stop: threading.Event, settings: RouteSettings, shown: list[Route]) -> None:
        self._engine, self._stop, self._settings, self._shown = engine, stop, settings, shown
        self._cells = [route.n for route in shown] if len(shown) == 1 else [1] * len(shown)
        steps, frames = settings.steps, settings.frames
        self._between = [i / (frames - 1) for i in range(frames) if i % settings.stride]
        self.done, self.total = 0, sum(steps * route.n for route in shown) + len(self._between) * sum(self._cells)
        self._strips: list[NDArray[np.uint8]] = []
        self._inner: list[NDArray[np.uint8]] = []

    def strips(self) -> Iterator[None]:
        """Decode every step of every route; yields after each batch. Raises Cancelled."""
        steps = self._settings.steps
        places = [i / (steps - 1) for i in range(steps)]
        for route in self._shown:
            images = yield from self._decode(route, places, route.n)
            self._strips.append(images)

    def between(self) -> Iterator[None]:
        """Decode the frames between the steps; yields after each batch. Raises Cancelled."""
        if self._between:
            for route, n in zip(self._shown, self._cells, strict=True):
                images = yield from self._decode(route, self._between, n)
                self._inner.append(images)

    def _decode(self, route: Route, places: Sequence[float], n: int) -> Generator[None, None, NDArray[np.uint8]]:
        settings = self._settings
        z, means, guards = route.latents(places, n, settings.seed, settings.temperature)
        size, parts = self._engine.batch_size, []
        for start in range(0, len(z), size):
            rows = slice(start, start + size)
            how = {"centre": means[rows], "guards": guards[rows], "cancel": self._stop}
            parts.append(to_uint8(self._engine.decode(z[rows], **how)))
            self.done += len(z[rows])
            yield
        images = np.concatenate(parts)
        return images.reshape(len(places), n, *images.shape[1:])

    def result(self, metadata: dict[str, str]) -> Result:
        """What there is: with the frames between the steps once they are decoded."""
        coarse = np.concatenate([strip[:, :n] for strip, n in zip(self._strips, self._cells, strict=True)], axis=1)
        if not self._inner:
            return Result(self._shown, list(self._strips), coarse, metadata)
        inner = np.concatenate(self._inner, axis=1)
        frames = np.empty((self._settings.frames, *coarse.shape[1:]), np.uint8)
        at_step = np.arange(len(frames)) % self._settings.stride == 0
        frames[at_step], frames[~at_step] = coarse, inner
        return Result(self._shown, list(self._strips), frames, metadata)


def write(kind: str, result: Result, session: Session) -> Path:
    """Write one file: "png", the strips; "webp", "gif" or "mp4", the scrubber's frames there and back; "a" or "b", the
    posterior at that end."""
    if kind in POSTERIOR_FILES:
        path = session.file(POSTERIOR_FILES[kind])
        words = {key: result.metadata[key] for key in ("prior", "fingerprint")} | {"evidence": result.metadata[kind]}
        posterior, method = result.shown[0].ends["ab".index(kind)]
        posterior.save(path, metadata=words | method.texts())
        return path
    if kind == "png":
        path = session.file(STRIP_FILE)
        save_png(strip_picture(result), path, metadata=result.metadata)
        return path
    path = session.file(f"interpolation.{kind}")
    columns = len(result.shown) if result.cell_names else None
    frames = [
        contact_sheet([Image.fromarray(cell) for cell in frame], columns=columns, labels=result.cell_names or None)
        for frame in result.frames
    ]
    save_animation(frames, path, boomerang=True)
    return path


def strip_picture(result: Result) -> Image.Image:
    """All strips on one sheet, as the code on the page makes it."""
    rows, names = [], []
    for route, images in zip(result.shown, result.strips, strict=True):
        rows += [[Image.fromarray(images[step, draw]) for step in range(len(images))] for draw in range(route.n)]
        names += [route.title] + [""] * (route.n - 1)
    steps = len(rows[0])
    labels = [f"{i / (steps - 1):.2f}" for i in range(steps)]
    return labelled_rows(rows, column_labels=labels, row_labels=names if result.cell_names else None)
