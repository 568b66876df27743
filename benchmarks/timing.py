"""What benchmarks time with: jobs in turn, and what a processor could do at best."""

import math
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["convolution_peak", "flops_of", "in_turn", "timed"]

K = TypeVar("K", bound=Hashable)


def timed(function: Callable[[], Any]) -> Callable[[], float]:
    """The seconds that a call of `function` takes."""

    def call() -> float:
        start = time.perf_counter()
        function()
        return time.perf_counter() - start

    return call


def in_turn(jobs: Mapping[K, Callable[[], float]], rounds: int) -> dict[K, list[float]]:
    """What each job gives, `rounds` times in turn after a warm-up, so that a busy machine slows all alike."""
    found: dict[K, list[float]] = {name: [] for name in jobs}
    for turn in range(rounds + 1):
        for name, job in jobs.items():
            value = job()
            if turn:
                found[name].append(value)
    return found


def _flops_of_convolution(_: Any, weight: Sequence[int], *more: Any, out_shape: Sequence[int]) -> int:
    return 2 * math.prod(out_shape) * math.prod(weight[1:])


def flops_of(function: Callable[[], Any]) -> int:
    """Additions and multiplications in convolutions and matrix products of a call, on this thread alone."""
    onednn = {torch.ops.aten.mkldnn_convolution: _flops_of_convolution}  # which torch does not count
    with torch.inference_mode(), FlopCounterMode(display=False, custom_mapping=onednn) as counter:
        function()
    return counter.get_total_flops()


def convolution_peak() -> float:
    """GFLOP/s of a fast float32 convolution, the best of a few: 3×3, 256 channels, its maps in the cache."""
    best = 0.0
    with torch.inference_mode():
        for n, side in ((4, 16), (1, 32), (16, 16)):
            x = torch.ones(n, 256, side, side).contiguous(memory_format=torch.channels_last)
            weight = torch.ones(256, 256, 3, 3).contiguous(memory_format=torch.channels_last)
            job = timed(lambda x=x, weight=weight: torch.nn.functional.conv2d(x, weight, padding=1))
            best = max(best, *(2 * 9 * 256**2 * n * side**2 / job() / 1e9 for _ in range(3)))
    return best
