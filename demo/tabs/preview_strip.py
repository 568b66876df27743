"""The shown samples from the closest to the newest, as one sprite: while the user drags, the browser fades between two.

The samples are coupled (one ε at every λ), so that a sheet at one position morphs into the next. `python -m
benchmarks.page --strip` measures how far a cross-fade of neighbours is from the true images. It decided their number.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from PIL import Image

from transflow_core.engine import Engine
from transflow_core.evidence import Evidence
from transflow_core.limits import LAM_RATIO_SLIDER
from transflow_core.posterior.methods import along, position_of

from ..render import GAP, data_uri, sheet_picture
from ..server.admission import CancelToken
from .studio_results import PRIOR, SHEET_SIDE, Request, draw

POSITIONS = tuple(index / 8 for index in range(9))
"""Positions of a strip on the slider, see `along`. Every second one comes first, as a strip of its own, in half the
time."""
MOST_DRAWS = 25
"""Samples of a strip: 250 coarse previews, 2 to 3 s of two cores at 64×64 and about 530 kB to the browser, at most
once for each change of anything but the position. For a larger sheet, the server draws previews as the slider moves."""


def values_at(method: str | None, position: float, evidence: Evidence | None = None) -> dict[str, float]:
    """λ/m, and the likeness of the method that has one, at a position from 0, the closest to the images, to 1."""
    images = len(evidence.used) or 2 if evidence is not None and evidence.saved is None else 2
    there = along(position, images if method == "local" else 1)
    values = {"lam_ratio": float(f"{min(there.lam_ratio or 0.0, LAM_RATIO_SLIDER.high):.3g}")}
    return values | ({"likeness": round(there.likeness or 0.0, 2)} if method == "local" else {})


@dataclass
class Strip:
    """A visitor's strip, with the previews so far, so that a drag in between loses nothing."""

    serial: int = 0  # its number; 0 while there is no evidence
    base: Hashable = None  # all that decides the samples but the position: the serial changes with it
    done: dict[float, list[Image.Image]] = field(default_factory=dict)  # by position, inf for the prior; {} once sent
    sent: int = 0  # how many the page has
    # Not a number of an earlier session of the same page.
    _last: int = field(default_factory=lambda: secrets.randbelow(2**30))

    def number(self, request: Request) -> int:
        """The number of the strip for a request: a new one where more than the position has changed."""
        recipe = request.recipe
        base = replace(request, recipe=recipe.replace(**values_at(recipe.method, 0))), _moves(request)
        if base != self.base:
            self._last += 1
            self.base, self.done, self.sent = base, {}, 0
        self.serial = self._last if request.evidence.ready else 0
        return self.serial

    def missing(self, request: Request, engine: Engine, cancel: CancelToken) -> Iterator[dict[str, Any] | None]:
        """Decode the missing previews while no other request waits: those of the model alone, and then the nearest to
        the samples first. Yields None after each, and the value for `static/sheet.js` with the first one, with every
        second position, and with all. Raises Cancelled."""
        positions = list(POSITIONS) if _moves(request) else []
        if not self.serial or self.sent > len(positions):
            return
        serial, done, method, now = self.serial, self.done, request.recipe.method, position_of(request.recipe)
        positions.sort(key=lambda position: abs(position - now))
        first, frames = [one for one in positions if one in POSITIONS[::2]], list[float]()
        side = request.side(engine)
        for part in ([math.inf], first, [one for one in positions if one not in first]):
            for one in part:
                if one not in done:
                    alone = {"structure": PRIOR, "style": PRIOR}
                    values = alone if one == math.inf else values_at(method, one, request.evidence)
                    there = replace(request, recipe=request.recipe.replace(**values))
                    done[one], *_ = draw(there, engine, cancel, preview=True, priority="background")
                    yield None
            frames = sorted([*frames, *part])
            if serial == self.serial and len(frames) > self.sent:
                self.sent = len(frames)
                yield {"serial": serial, "slider": "closeness-range"} | _sprite(frames, done, side)
        if serial == self.serial:
            self.done = {}


def _sprite(frames: list[float], done: dict[float, list[Image.Image]], side: int) -> dict[str, Any]:
    """The previews at these positions in one picture, below one another; those of the prior come last."""
    cell = side * -(-SHEET_SIDE // side) // 2  # half of the sheet's
    sheets = [sheet_picture(done[one], cell=cell, gap=GAP // 2) for one in frames]
    width, height = sheets[0].size
    sprite = Image.new("RGB", (width, height * len(sheets)))
    for index, sheet in enumerate(sheets):
        sprite.paste(sheet, (0, index * height))
    at = [one for one in frames if one != math.inf]
    src = data_uri(sprite, quality=80)
    return {"at": at, "bare": math.inf in frames, "src": src, "width": width, "height": height}


def _moves(request: Request) -> bool:
    """Whether one λ moves the samples, and they are few enough. Those without evidence are decoded in any case."""
    return not isinstance(request.recipe.lam_ratio, tuple) and request.recipe.n <= MOST_DRAWS
