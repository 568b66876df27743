"""The shown samples at several λ/m, as one sprite: while the user drags λ, the browser fades between two of them.

The samples are coupled (one ε at every λ), so that a sheet at one λ/m morphs into the next. `python -m benchmarks.page
--strip` measures how far a cross-fade of neighbours is from the true images. It decided their number.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from PIL import Image

from transflow_core.engine import Engine
from transflow_core.images import to_pil
from transflow_core.limits import LAM_RATIO_SLIDER

from ..render import GAP, data_uri, sheet_picture
from ..server.admission import CancelToken
from .studio_results import PRIOR, Request

__all__ = ["LAMS", "MOST_DRAWS", "Strip", "strip_lams"]

LAMS = 9
"""λ/m of a strip, evenly on the slider's logarithmic scale. Every second one comes first, as a strip of its own, in
half the time."""
MOST_DRAWS = 25
"""Samples of a strip: 250 coarse previews, 2 to 3 s of two cores at 128×128 and about 530 kB to the browser, at most
once for each change of anything but λ. For a larger sheet, the server draws previews as the slider moves."""


def strip_lams(count: int = LAMS) -> list[float]:
    """λ/m evenly on the slider's scale, both ends included."""
    low, high = math.log10(LAM_RATIO_SLIDER.low), math.log10(LAM_RATIO_SLIDER.high)
    return [10 ** (low + (high - low) * i / (count - 1)) for i in range(count)]


@dataclass
class Strip:
    """A visitor's strip, with the previews so far, so that a drag in between loses nothing.

    Attributes:
        serial: its number; 0 while there is no evidence.
        base: all that decides the samples but λ. The serial changes with it.
        done: previews by λ/m, inf for those of the prior; none once all were sent, since the page has them then.
        sent: how many the page has.
    """

    serial: int = 0
    base: Hashable = None
    done: dict[float, list[Image.Image]] = field(default_factory=dict)
    sent: int = 0
    # Not a number of an earlier session of the same page.
    _last: int = field(default_factory=lambda: secrets.randbelow(2**30))

    def number(self, request: Request) -> int:
        """The number of the strip for a request: a new one where more than λ has changed."""
        base = _at(request, 1.0), _moves(request)
        if base != self.base:
            self._last += 1
            self.base, self.done, self.sent = base, {}, 0
        self.serial = self._last if request.evidence.ready else 0
        return self.serial

    def missing(self, request: Request, engine: Engine, cancel: CancelToken) -> Iterator[dict[str, Any] | None]:
        """Decode the missing previews, from the requested λ/m outwards, while no other request waits. Yields None after
        each, and the value for `static/sheet.js` after every second one, and again with all. Raises Cancelled."""
        lams = strip_lams() if _moves(request) else []
        if not self.serial or self.sent > len(lams):
            return
        serial, done, now = self.serial, self.done, request.recipe.lam_ratio
        frames: list[float] = []
        if now and not isinstance(now, tuple):
            lams.sort(key=lambda lam: abs(math.log(lam / now)))
        coarse = set(strip_lams()[::2])
        for part in ([lam for lam in lams if lam in coarse], [*(lam for lam in lams if lam not in coarse), math.inf]):
            for lam in part:
                if lam not in done:
                    alone = {"structure": PRIOR, "style": PRIOR} if lam == math.inf else {"lam_ratio": lam}
                    how = request.draws | {"priority": "background", "preview": True}
                    done[lam] = to_pil(engine.sample(request.sampler(engine, **alone), cancel=cancel, **how).images)
                    yield None
            frames = sorted([*frames, *part])
            if serial == self.serial and len(frames) > self.sent:
                self.sent = len(frames)
                yield {"serial": serial, "slider": "lam-range"} | _sprite(frames, done, engine.prior.image_size)
        if serial == self.serial:
            self.done = {}


def _sprite(frames: list[float], done: dict[float, list[Image.Image]], size: int) -> dict[str, Any]:
    """The previews at these λ/m in one picture, below one another; those of the prior come last."""
    cell = 64 * -(-size // 128)  # half of the sheet's
    sheets = [sheet_picture(done[lam], cell=cell, gap=GAP // 2) for lam in frames]
    width, height = sheets[0].size
    sprite = Image.new("RGB", (width, height * len(sheets)))
    for index, sheet in enumerate(sheets):
        sprite.paste(sheet, (0, index * height))
    at = [math.log10(lam) for lam in frames if lam != math.inf]
    src = data_uri(sprite, quality=80)
    return {"at": at, "bare": math.inf in frames, "src": src, "width": width, "height": height}


def _moves(request: Request) -> bool:
    """Whether one λ moves the samples, and they are few enough. Those without evidence are decoded in any case."""
    return not isinstance(request.recipe.lam_ratio, tuple) and request.recipe.n <= MOST_DRAWS


def _at(request: Request, lam_ratio: float) -> Request:
    """The same at another λ/m."""
    return replace(request, recipe=request.recipe.replace(lam_ratio=lam_ratio))
