"""A batch on all cores of a processor, a part of it on each; and in halves, on a device whose memory is short.

torch would have all cores work on one operation after the other, and each of a flow's thousands of operations then
waits for the slowest core. Parts of a batch wait for nobody before their end (`python -m benchmarks.threads --busy`).
"""

import contextlib
import functools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from .worker import Cancelled

T = TypeVar("T")
_LOADAVG = Path("/proc/loadavg")
_TASKS = Path("/proc/self/task")
# What is said when a device does not come back.
_LOST = ("CUDA error", "device-side assert", "launch failure", "illegal memory access", "GPU is lost", "off the bus")
# What has no class of its own where memory is short: Apple's GPUs, and a processor whose system gives no more.
_SHORT = ("MPS backend out of memory", "can't allocate memory", "not enough memory")


def on_cores(function: Callable[[Tensor], T], batch: Tensor) -> list[T]:
    """`function` of each part of a batch, (n, ...), n ≥ 1, in order, under `torch.inference_mode`.

    There are as many parts as this thread has threads of torch's, each computed by one. Fewer images are a part each
    where others keep the machine busy (`others_run`), and else one part, computed here. So is a batch that lies on
    another device. Several threads may call the function at once. Raises Cancelled as the process ends.
    """
    count = torch.get_num_threads()
    if batch.device.type != "cpu" or count == 1 or (len(batch) < count and not others_run(count)):
        with torch.inference_mode():
            return [function(batch)]
    parts = batch.tensor_split(min(count, len(batch)))
    try:
        made = _pool(count).map(torch.inference_mode()(function), parts)
    except RuntimeError:  # the process ends
        raise Cancelled from None
    return list(made)


def others_run(count: int) -> bool:
    """Whether `count` more threads would wait for cores that other threads have at this moment, of any program.

    By the number of threads that run on the machine, this one among them (Linux, /proc/loadavg); False where there is
    no such number. Torch's own do not count: they spin for some milliseconds after an operation.
    """
    for _ in range(2):  # one of torch's may stop between a look at all and a look at those
        try:
            running = int(_LOADAVG.read_text(encoding="ascii").split()[3].split("/")[0])
        except (OSError, ValueError, IndexError):
            return False
        free = (os.cpu_count() or count) + 1 - count
        if running <= free or running - _spinning() <= free:
            return False
    return True


def _spinning() -> int:
    """Threads of this process that run and are not Python's."""
    pythons, found = {thread.native_id for thread in threading.enumerate()}, 0
    for task in _TASKS.iterdir():
        if int(task.name) not in pythons:
            with contextlib.suppress(OSError):  # it has ended
                found += (task / "stat").read_text().rpartition(")")[2].split()[0] == "R"
    return found


def begin_cores() -> None:
    """Have the threads ready that compute a batch of this thread's, before the first one comes.

    Threads that have not computed yet have as many of torch's as this one from then on: set theirs afterwards.
    """
    if (count := torch.get_num_threads()) > 1:
        _pool(count)


@functools.cache
def _pool(count: int) -> ThreadPoolExecutor:
    pool, all_there = ThreadPoolExecutor(count, "core"), threading.Barrier(count)

    def alone(_: int) -> None:
        torch.set_num_threads(1)
        torch.get_num_threads()  # from here on it counts as one that has computed, and keeps its number
        all_there.wait()

    list(pool.map(alone, range(count)))
    torch.set_num_threads(count)
    return pool


class DeviceError(OSError):
    """The device that computes cannot: too little memory for a single image, or lost. The message is for a person."""


def in_halves(function: Callable[[Tensor], T], batch: Tensor) -> list[T]:
    """`function` of a batch, (n, ...), n ≥ 1; of its halves, one after the other, where the device's memory is short.

    Returns what the function gives, in order: of the whole batch, or of each part. Raises DeviceError if not even one
    row fits, or the device is lost.
    """
    try:
        return [function(batch)]
    except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
        if any(words in str(error) for words in _LOST) and not isinstance(error, torch.OutOfMemoryError):
            raise DeviceError("the GPU stopped answering: restart this program, or use device cpu") from error
        short = isinstance(error, torch.OutOfMemoryError | MemoryError) or any(word in str(error) for word in _SHORT)
        if not short:
            raise
        # The halves are computed below, outside: in here the traceback would keep what the first try had taken.
        reason = error.with_traceback(None)
    if len(batch) == 1:
        where = "this machine" if batch.device.type == "cpu" else "the GPU"
        instead = "" if batch.device.type == "cpu" else ", or use device cpu"
        raise DeviceError(
            f"{where} has not enough free memory for a single image: end other programs, take a smaller prior{instead}"
        ) from reason
    if batch.is_cuda:
        torch.cuda.empty_cache()
    half = len(batch) // 2
    return in_halves(function, batch[:half]) + in_halves(function, batch[half:])
