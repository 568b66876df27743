"""Decoding for the eye, while a slider moves: less exact and faster, behind a measured error."""

import copy
import threading
import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .flows import Glow, GrownGlow, compute_nets_in
from .posterior import standard_normal
from .prior import Prior

__all__ = ["Measured", "Preview"]

# One byte is what rounding takes anyway; nobody sees two in a picture that stands there for a moment.
_LARGEST_ERROR = 2 / 255
# The trial: images enough to tell, few where each takes seconds; and no third turn where the second was late already.
_MOST_IMAGES, _MOST_NUMBERS = 8, 300_000
_MOST_TURNS, _ENOUGH_SECONDS = 5, 2.0


@dataclass(frozen=True)
class Measured:
    """How a prior decodes for previews, and what the trial told.

    Attributes:
        prior: decodes; its nets may compute in bfloat16.
        bfloat16: whether they do.
        speed_up: float32's seconds divided by bfloat16's; None where nothing was tried.
        error: the largest difference of a pixel, in [0, 1].
    """

    prior: Prior
    bfloat16: bool = False
    speed_up: float | None = None
    error: float | None = None


class Preview:
    """What a prior shows while a slider moves.

    On a processor, a grown flow gives the 2×2 means of its images (see `GrownGlow.means`), and the nets inside the
    couplings compute in bfloat16, if on this machine that is faster and changes no pixel of a few samples by more than
    2/255. Both are found out once, at the first preview. On a GPU a preview is the image itself.

    Evidence never comes this way: an inverse rebuilds what the nets read only to float32 rounding, of which bfloat16
    makes an error of 1e-2. The preview's flow is another object with the same weights, so that an inversion which
    runs at the same time is not touched.

    Args:
        prior: the prior; it may be moved to another device afterwards.

    Example:
        >>> from transflow_core import load_prior
        >>> prior = load_prior("celeba128", device="cpu")
        >>> Preview(prior).decode(torch.zeros(1, prior.dim)).shape
        torch.Size([1, 3, 64, 64])
    """

    def __init__(self, prior: Prior) -> None:
        self._prior, self._lock = prior, threading.Lock()
        self._found: Measured | None = None

    def decode(self, z: Tensor, batch_size: int = 32) -> Tensor:
        """(n, D) -> (n, C, S, S), or (n, C, S/2, S/2), in [0, 1] on the prior's device."""
        if self._prior.device.type != "cpu":
            return self._prior.decode(z, batch_size)
        return self.measured().prior.decode(z, batch_size, coarse=True)

    def measured(self) -> Measured:
        """What this processor makes of bfloat16; tried once."""
        with self._lock:
            if self._found is None:
                self._found = self._measure()
            return self._found

    def _measure(self) -> Measured:
        if not isinstance(self._prior.flow, Glow | GrownGlow):
            return Measured(self._prior)
        tensors = (*self._prior.flow.parameters(), *self._prior.flow.buffers())
        flow = copy.deepcopy(self._prior.flow, {id(tensor): tensor for tensor in tensors})
        compute_nets_in(flow, torch.bfloat16)
        fast = replace(self._prior, flow=flow)
        z = standard_normal(min(_MOST_IMAGES, max(1, _MOST_NUMBERS // self._prior.dim)), self._prior.dim)
        # In turn, and faster in every turn, since another program's work may slow one of them: a page opens while its
        # browser draws. The first run of each makes its matrices ready.
        runs, start = [], time.perf_counter()
        while len(runs) < 2 or (len(runs) < _MOST_TURNS and time.perf_counter() - start < _ENOUGH_SECONDS):
            runs.append((_timed(self._prior, z), _timed(fast, z)))
        (exact, _), (rough, _) = runs[-1]
        error = float((rough - exact).abs().max())
        seconds = [(exact_run[1], rough_run[1]) for exact_run, rough_run in runs[1:]]
        used = all(rough < exact for exact, rough in seconds) and error <= _LARGEST_ERROR
        speed_up = min(exact for exact, _ in seconds) / min(rough for _, rough in seconds)
        return Measured(fast if used else self._prior, used, speed_up, error)


def _timed(prior: Prior, z: Tensor) -> tuple[Tensor, float]:
    """Images, and the seconds that they took."""
    start = time.perf_counter()
    x = prior.decode(z, coarse=True)
    return x, time.perf_counter() - start
