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
from transflow_core.posterior import Gaussian

from ..queues import Stop
from ..render import data_uri
from .settings import Asked
from .sheet import GAP, sheet_picture

__all__ = ["MOST_DRAWS", "PLACES", "Strip", "lam_places"]

PLACES = 9
"""λ/m of a strip, evenly on the slider's logarithmic scale."""
MOST_DRAWS = 25
"""Draws of a strip: 250 coarse previews, 2 to 3 s of two cores at 128×128 and some 300 kB to the browser, at most once
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
        done: previews by λ/m, inf for the prior's; nothing once it was sent, since the page has it then.
        sent: whether the page has it.
    """

    serial: int = 0
    base: Hashable = None
    done: dict[float, list[Image.Image]] = field(default_factory=dict)
    sent: bool = False
    _last: int = field(default_factory=lambda: secrets.randbelow(2**30))  # no other session's, which a page may outlive

    def meet(self, asked: Asked) -> int:
        """The number of the strip that moves what is asked for; a new one where it is of something else."""
        manner = asked.settings.manner
        base = replace(asked, settings=replace(asked.settings, manner=manner.with_lam(1.0))), _moves(asked)
        if base != self.base:
            self._last += 1
            self.base, self.done, self.sent = base, {}, False
        self.serial = self._last if asked.intake.ready else 0
        return self.serial

    def missing(self, asked: Asked, engine: Engine, stop: Stop) -> Iterator[dict | None]:
        """Decode what is not yet, from the λ/m asked for outwards, while nobody waits for anything else; gives None
        after each, and in the end what `static/sheet.js` needs, once. Raises Cancelled."""
        if self.sent or not self.serial:
            return
        serial, done = self.serial, self.done
        places = lam_places() if _moves(asked) else []
        settings, now = asked.settings, asked.settings.manner.lam_ratio
        if not isinstance(now, tuple):
            places.sort(key=lambda place: abs(math.log(place / now)))
        for place in (*places, math.inf):
            if place not in done:
                at = replace(asked, settings=replace(settings, manner=settings.manner.with_lam(place)))
                drawn = Gaussian.standard(engine.prior.dim) if place == math.inf else at.sampler(engine)
                done[place] = to_pil(engine.preview(drawn, stop=stop, aside=1, **settings.draws))
                yield None
        cell = 64 * -(-engine.prior.image_size // 128)  # half of the sheet's
        frames = [sheet_picture(done[place], cell=cell, gap=GAP // 2) for place in (*sorted(places), math.inf)]
        width, height = frames[0].size
        sprite = Image.new("RGB", (width, height * len(frames)))
        for index, frame in enumerate(frames):
            sprite.paste(frame, (0, index * height))
        if serial == self.serial:
            self.sent, self.done = True, {}
            yield {
                "serial": serial,
                "slider": "lam-range",
                "at": [math.log10(place) for place in sorted(places)],
                "src": data_uri(sprite, quality=80),
                "width": width,
                "height": height,
            }


def _moves(asked: Asked) -> bool:
    """Whether one λ moves the samples, few enough of them. What they are without evidence is shown in any case."""
    return not isinstance(asked.settings.manner.lam_ratio, tuple) and asked.settings.n <= MOST_DRAWS
