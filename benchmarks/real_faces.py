"""Does a sample look like a face? Two measures that can fail, each with a known rate of false alarms and of misses.

dlib's detector finds a face in torn samples too, so that its rate says nothing. Here real faces set two limits, which
one in twenty of other real faces breaks: how like theirs nose and mouth must be (`posterior.guard`), and how near the
whole picture must be by a network of ImageNet's (`features.network`). Misses are counted on real faces that were torn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from transflow_core.posterior import Guard

from .distances import nearest
from .features import network

__all__ = ["RealFaces"]

_ALARMS = 0.05
_CUT, _SHIFT = 0.66, 1 / 8  # of the side: where a face is torn, between nose and mouth, and by how much


class RealFaces:
    """What real faces look like, learned from half of some, with limits set by a quarter and checked on the last.

    Args:
        images: (n, 3, S, S) in [0, 1], aligned, n at least 8.
        of: the picture's features.

    Attributes:
        alarms: of each measure, the share of real faces of the last quarter that it takes for none.
        misses: of each measure, the share of those faces, torn, that it takes for faces.
    """

    def __init__(self, images: ArrayLike, of: Callable[[ArrayLike], np.ndarray] = network) -> None:
        x = torch.as_tensor(np.asarray(images), dtype=torch.float32)
        known, limits, checked = x[::2], x[1::4], x[3::4]
        self._of, self._known = of, of(known)
        guard = Guard.of(torch.cat([known, known.flip(-1)]), None)
        guard = replace(guard, parts=(guard.parts[0], guard.parts[1][:0]))  # nose and mouth alone
        for alike in np.arange(0.95, 0, -0.01):
            self._guard = replace(guard, alike=float(alike))
            if self._guard.torn(limits).float().mean() <= _ALARMS:
                break
        self._far = float(np.quantile(nearest(of(limits), self._known), 1 - _ALARMS))
        torn = _torn(checked)
        self.alarms = {name: measure(checked) for name, measure in self.measures.items()}
        self.misses = {name: 100 - measure(torn) for name, measure in self.measures.items()}

    @property
    def measures(self) -> dict[str, Callable[[ArrayLike], float]]:
        """By name, from images to the share in % that is not like a real face."""
        return {"torn": self.torn, "unlike": self.unlike}

    def torn(self, images: ArrayLike) -> float:
        """The share, in %, whose nose and mouth are like those of none of the real faces."""
        x = torch.as_tensor(np.asarray(images), dtype=torch.float32)
        return 100 * float(self._guard.torn(x).float().mean())

    def unlike(self, images: ArrayLike) -> float:
        """The share, in %, that is far from all of the real faces by the network."""
        return 100 * float((nearest(self._of(images), self._known) > self._far).mean())


def _torn(x: Tensor) -> Tensor:
    """Each face with the mouth of the next one, moved sideways."""
    side = x.shape[-1]
    cut = round(_CUT * side)
    torn = x.clone()
    torn[:, :, cut:] = x.roll(1, 0)[:, :, cut:].roll(round(_SHIFT * side), -1)
    return torn
