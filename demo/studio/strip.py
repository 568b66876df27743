"""The shown draws at several λ/m, as one sprite: while λ is dragged the browser fades between two of them.

The draws are coupled (one ε at every λ), so that a sheet at one λ/m morphs into the next. `python -m benchmarks.page
--strip` tells how far a cross-fade of neighbours is from the true images, by which their number was chosen.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field, replace

from PIL import Image

from transflow_core.engine import Engine
from transflow_core.images import to_pil
from transflow_core.limits import LAM_RATIO_SLIDER

from ..queues import Stop
from ..render import data_uri
from .settings import PRIOR, Asked
from .sheet import GAP, sheet_picture

__all__ = ["MOST_DRAWS", "PLACES", "Strip", "lam_places"]

PLACES = 9
"""λ/m of a strip, evenly on the slider's logarithmic scale. Every second one comes first, as a strip of its own: it is
there in half the time."""
MOST_DRAWS = 25
"""Draws of a strip: 250 coarse previews, 2 to 3 s of two cores at 128×128 and some 530 kB to the browser, at most once
for each change of anything but λ. Larger sheets are previewed by the server as they move."""


def lam_places(count: int = PLACES) -> list[float]:
    """λ/m evenly on the slider's scale, its ends among them."""
    low, high = math.log10(LAM_RATIO_SLIDER.low), math.log10(LAM_RATIO_SLIDER.high)
    return [10 ** (low + (high - low) * i / (count - 1)) for i in range(count)]


@dataclass
class Strip:
    """A visitor's: what is decoded of the one that is being made, so that a drag in between loses nothing.

    Attributes:
        serial: changes with all but λ that decides the draws; 0 while there is no evidence.
        base: that.
        done: previews by λ/m, inf for the prior's; nothing once all were sent, since the page has them then.
        sent: how many the page has.
    """

    serial: int = 0
    base: Hashable = None
    done: dict[float, list[Image.Image]] = field(default_factory=dict)
    sent: int = 0
    _last: int = field(default_factory=lambda: secrets.randbelow(2**30))  # no other session's, which a page may outlive

    def meet(self, asked: Asked) -> int:
        """The number of the strip that moves what is asked for; a new one where it is of something else."""
        base = _at(asked, 1.0), _moves(asked)
        if base != self.base:
            self._last += 1
            self.base, self.done, self.sent = base, {}, 0
        self.serial = self._last if asked.intake.ready else 0
        return self.serial

    def missing(self, asked: Asked, engine: Engine, stop: Stop) -> Iterator[dict | None]:
        """Decode what is not yet, from the λ/m asked for outwards, while nobody waits for anything else; gives None
        after each, and what `static/sheet.js` needs once every second one is there, and again with all. Raises
        Cancelled."""
        places = lam_places() if _moves(asked) else []
        if not self.serial or self.sent > len(places):
            return
        serial, done, frames = self.serial, self.done, list[float]()
        settings, now = asked.settings, asked.settings.recipe.lam_ratio
        coarse, fine = places[::2], places[1::2]
        if now and not isinstance(now, tuple):
            for part in (coarse, fine):
                part.sort(key=lambda place: abs(math.log(place / now)))
        for part in (coarse, [*fine, math.inf]):
            for place in part:
                if place not in done:
                    at = _at(asked, place)
                    drawn = asked.source(engine, PRIOR) if place == math.inf else at.sampler(engine)
                    done[place] = to_pil(engine.preview(drawn, cancel=stop, priority=1, **settings.draws))
                    yield None
            frames = sorted([*frames, *part])
            if serial == self.serial and len(frames) > self.sent:
                self.sent = len(frames)
                yield {"serial": serial, "slider": "lam-range"} | _sprite(frames, done, engine.prior.image_size)
        if serial == self.serial:
            self.done = {}


def _sprite(frames: list[float], done: dict[float, list[Image.Image]], size: int) -> dict:
    """The previews at these λ/m in one picture, below one another; those of the prior are the last, where they are."""
    cell = 64 * -(-size // 128)  # half of the sheet's
    sheets = [sheet_picture(done[place], cell=cell, gap=GAP // 2) for place in frames]
    width, height = sheets[0].size
    sprite = Image.new("RGB", (width, height * len(sheets)))
    for index, sheet in enumerate(sheets):
        sprite.paste(sheet, (0, index * height))
    return {
        "at": [math.log10(place) for place in frames if place != math.inf],
        "bare": math.inf in frames,
        "src": data_uri(sprite, quality=80),
        "width": width,
        "height": height,
    }


def _moves(asked: Asked) -> bool:
    """Whether one λ moves the samples, few enough of them. What they are without evidence is shown in any case."""
    return not isinstance(asked.settings.recipe.lam_ratio, tuple) and asked.settings.recipe.n <= MOST_DRAWS


def _at(asked: Asked, lam_ratio: float) -> Asked:
    """The same at another λ/m."""
    return replace(asked, settings=replace(asked.settings, recipe=asked.settings.recipe.replace(lam_ratio=lam_ratio)))
