"""One thread for all of a server's arithmetic."""

import functools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

__all__ = ["ComputeThread"]


class ComputeThread:
    """A thread that computes on all cores, and leaves one core to the thread that makes it and to all that start later.

    A web server answers each request in a thread of its own. Each would have its own team of OpenMP threads, and as
    soon as there are more of them than cores, GNU's OpenMP no longer lets them spin between two parallel loops, but
    puts them to sleep. Waking them costs more than many of the thousands of loops of a Glow: on two cores images took
    1.3 to 1.5 times as long (`python -m benchmarks.threads`). And two threads that compute at
    once on the same cores collapse.

    What is run here waits its turn, so run it in pieces: a batch of images, not a whole set.

    `torch.set_num_threads` is of the thread that calls it and of those that have not computed yet
    (pytorch/pytorch#37461): the thread here takes all cores first. Make this object before anything is computed: a
    team that is there already stays.

    Example:
        >>> compute = ComputeThread()
        >>> compute.run(torch.add, torch.ones(1), 1)
        tensor([2.])
    """

    def __init__(self) -> None:
        threads = torch.get_num_threads()
        self._executor = ThreadPoolExecutor(1, "compute")
        self._thread = self._executor.submit(self._take, threads).result()
        torch.set_num_threads(1)

    @classmethod
    @functools.cache
    def shared(cls) -> "ComputeThread":
        """The one of this process: a second would have one core."""
        return cls()

    @staticmethod
    def _take(threads: int) -> threading.Thread:
        torch.set_num_threads(threads)
        torch.get_num_threads()  # from here on the thread counts as one that has computed, and keeps its number
        return threading.current_thread()

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """`function(*args, **kwargs)`, computed in the thread; gives or raises what it does.

        From within the thread itself, the call is made at once.
        """
        if threading.current_thread() is self._thread:
            return function(*args, **kwargs)
        return self._executor.submit(function, *args, **kwargs).result()
