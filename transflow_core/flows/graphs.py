"""The fused flow as modules that become graphs: tensors in, tensors out, for any number of images."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .base import Guard
from .fused import GuardedFlow

Pixels = Callable[[Tensor], Tensor]


class Encode(nn.Module):
    """Images (n, C, S, S), of which `to_flow` makes x -> z (n, D), log_det (n,), ranges (n, 2, R)."""

    inputs, outputs = ("images",), ("z", "log_det", "ranges")

    def __init__(self, flow: GuardedFlow, to_flow: Pixels = lambda x: x) -> None:
        super().__init__()
        self._flow, self._to_flow = flow, to_flow

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        guard = _Kept(images)
        z, log_det = self._flow.forward(self._to_flow(images), guard)
        return z, log_det, guard.seen()


class Decode(nn.Module):
    """z (n, D) and ranges (n, 2, R) -> images, their side halved `times`, and what the guard saw, (n, 2, R).

    That is their ranges where it held nothing. The coarser images have no values at the places that belong to finer
    details: what was given.
    """

    inputs, outputs = ("z", "ranges"), ("images", "seen")

    def __init__(self, flow: GuardedFlow, times: int = 0, from_flow: Pixels = lambda x: x) -> None:
        super().__init__()
        self._flow, self._times, self._from_flow = flow, times, from_flow

    def forward(self, z: Tensor, ranges: Tensor) -> tuple[Tensor, ...]:
        guard = _Kept(ranges, at=self._flow.guarded)
        images = self._flow.low_pass(z, self._times, guard)
        return self._from_flow(images), torch.cat([ranges[:, :, : guard.at], guard.seen()], 2)


class _Kept(Guard):
    """A guard that writes into no tensor but the one that it clamps: it keeps what it sees."""

    def __init__(self, ranges: Tensor, at: int = 0) -> None:
        super().__init__(ranges, at=at)
        self._least: list[Tensor] = []
        self._largest: list[Tensor] = []
        self._order = -1 if at else 1

    def note(self, x: Tensor) -> None:
        self._least.append(x.amin((2, 3)))
        self._largest.append(x.amax((2, 3)))

    def check(self, x: Tensor) -> None:
        end, self.at = self.at, self.at - x.shape[1]
        self.note(x)
        x.clamp_(*self.ranges[:, :, self.at : end, None, None].unbind(1))

    def seen(self) -> Tensor:
        """Of each channel the least and the largest value, (n, 2, R), in the order of `ranges`."""
        return torch.stack([torch.cat(parts[:: self._order], 1) for parts in (self._least, self._largest)], 1)
