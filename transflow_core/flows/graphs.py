"""The fused flow as modules that become graphs: tensors in, tensors out, for any number of images."""

from collections.abc import Callable

from torch import Tensor, nn

from .fused import GuardedFlow

Pixels = Callable[[Tensor], Tensor]


class Encode(nn.Module):
    """Images (n, C, S, S), of which `to_flow` makes x -> z (n, D), log_det (n,), ranges (n, 2, R)."""

    inputs, outputs = ("images",), ("z", "log_det", "ranges")

    def __init__(self, flow: GuardedFlow, to_flow: Pixels = lambda x: x) -> None:
        super().__init__()
        self._flow, self._to_flow = flow, to_flow

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return GuardedFlow.noted_forward(self._flow, self._to_flow(images))


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
        images, seen = GuardedFlow.decode_and_see(self._flow, z, ranges, self._times)
        return self._from_flow(images), seen
