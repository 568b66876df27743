"""A device that has not enough memory for a batch, or that is lost: the batch is halved, and what is left is told."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

__all__ = ["DeviceError", "in_halves"]

T = TypeVar("T")
# What is thrown when a device does not come back; torch has a class of its own for it since 2.8.
_LOST = (
    "CUDA error",
    "device-side assert",
    "unspecified launch failure",
    "illegal memory access",
    "GPU is lost",
    "has fallen off the bus",
)
# What has no class of its own where memory is short: Apple's GPUs, and a processor whose system gives no more.
_SHORT = ("MPS backend out of memory", "can't allocate memory", "not enough memory")


class DeviceError(OSError):
    """The device that computes cannot: too little memory for a single image, or lost. The message is for a person."""


def in_halves(function: Callable[[Tensor], T], batch: Tensor) -> list[T]:
    """`function` of a batch, (n, ...), n ≥ 1; of its halves, one after the other, where the device's memory is short.

    Returns what the function gives, in order: of the whole batch, or of each part. Raises DeviceError if not even one
    row fits, or the device is lost.

    Example:
        >>> in_halves(lambda rows: rows.sum().item(), torch.ones(4, 2))
        [8.0]
    """
    try:
        return [function(batch)]
    except (torch.OutOfMemoryError, MemoryError) as error:
        # The parts are computed below, outside: in here the traceback would keep what the first try had taken.
        reason = error.with_traceback(None)
    except RuntimeError as error:
        if any(words in str(error) for words in _LOST):
            raise DeviceError(
                "the GPU stopped answering, and will not before this program is started again; on a processor it works "
                "with device cpu"
            ) from error
        if not any(words in str(error) for words in _SHORT):
            raise
        reason = error.with_traceback(None)
    if len(batch) == 1:
        if batch.device.type == "cpu":
            raise DeviceError(
                "this machine has not enough free memory for a single image: end what else runs on it, or take a "
                "smaller prior"
            ) from reason
        raise DeviceError(
            "the GPU has not enough free memory for a single image: end what else runs on it, take a smaller prior, or "
            "compute on the processor (device cpu)"
        ) from reason
    if batch.is_cuda:
        torch.cuda.empty_cache()
    half = len(batch) // 2
    return in_halves(function, batch[:half]) + in_halves(function, batch[half:])
