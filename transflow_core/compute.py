"""A server's work in turn: one thread for all arithmetic, one lane for pictures, and no visitor before another."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import os
import pickle
import subprocess
import sys
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import torch
from PIL import Image

from .pictures import Picture

__all__ = ["Cancelled", "ComputeThread", "FairThread", "PictureLane", "owned_by", "owned_steps"]

# The slowest picture that is let in takes ten seconds on an idle core.
_SECONDS = 120.0

T = TypeVar("T")
_owner: contextvars.ContextVar[Hashable] = contextvars.ContextVar("owner", default=None)


class Cancelled(Exception):
    """The person pressed Stop, asked for something newer, or left."""


@contextlib.contextmanager
def owned_by(owner: Hashable) -> Iterator[None]:
    """Whatever is run within belongs to `owner`, a visitor's session say, and takes turns with that of other owners.

    Without it, work belongs to the thread that asks. Not for a block that yields: Gradio takes each step of a generator
    in another context, and `owned_steps` is for these.
    """
    token = _owner.set(owner)
    try:
        yield
    finally:
        _owner.reset(token)


def owned_steps(owner: Hashable, steps: Iterator[T]) -> Iterator[T]:
    """The same iterator, each of its steps `owned_by(owner)`."""
    try:
        while True:
            with owned_by(owner):
                try:
                    step = next(steps)
                except StopIteration:
                    return
            yield step
    finally:
        if close := getattr(steps, "close", None):
            close()  # a generator that is given up lets go of what it asked for


class FairThread:
    """A thread that runs jobs of several owners, one of each in turn.

    An owner with a hundred jobs delays another's first by the one that is running. So run work in pieces: a batch of
    images, or a picture; not a whole set.

    Args:
        name: of the thread.

    Example:
        >>> FairThread("sums").run(sum, [1, 2])
        3
    """

    def __init__(self, name: str = "fair") -> None:
        # One call of `_step` for each job; which job it runs is found when its time has come.
        self._executor = ThreadPoolExecutor(1, name)
        self._thread = self._executor.submit(threading.current_thread).result()
        self._lock = threading.Lock()
        self._waiting: OrderedDict[Hashable, deque[_Job]] = OrderedDict()  # whose turn it is comes first

    @classmethod
    @functools.cache
    def shared(cls) -> Self:
        """The one of this process, where a server wants no second."""
        return cls()

    def run(self, function: Callable[..., T], *args: Any, stop: threading.Event | None = None, **kwargs: Any) -> T:
        """`function(*args, **kwargs)`, run in the thread at its owner's turn; gives or raises what it does.

        Raises Cancelled if `stop` is set before that turn comes. From within the thread itself, the call is made at
        once.
        """
        if threading.current_thread() is self._thread:
            return function(*args, **kwargs)
        return self.submit(function, *args, stop=stop, **kwargs).result()

    def submit(
        self, function: Callable[..., T], *args: Any, stop: threading.Event | None = None, **kwargs: Any
    ) -> Future[T]:
        """As `run`, without waiting; the future can be cancelled until its turn comes."""
        future: Future[T] = Future()
        owner = _owner.get()
        owner = threading.get_ident() if owner is None else owner
        with self._lock:
            job = _Job(future, functools.partial(function, *args, **kwargs), stop)
            self._waiting.setdefault(owner, deque()).append(job)
        self._executor.submit(self._step)
        return future

    def _step(self) -> None:
        job = self._next()
        if job is None:
            return
        try:
            job.future.set_result(job.call())
        except BaseException as error:
            job.future.set_exception(error)

    def _next(self) -> _Job | None:
        """The first job that is still wanted, of the owner whose turn it is; what is not wanted takes no turn."""
        with self._lock:
            while self._waiting:
                owner, jobs = self._waiting.popitem(last=False)
                while jobs:
                    job = jobs.popleft()
                    if job.begins():
                        if jobs:
                            self._waiting[owner] = jobs  # behind all others
                        return job
        return None


@dataclass(frozen=True)
class _Job:
    future: Future
    call: Callable[[], Any]
    stop: threading.Event | None

    def begins(self) -> bool:
        """Whether somebody still waits for it; from now on it cannot be cancelled."""
        wanted = self.future.set_running_or_notify_cancel()
        if wanted and self.stop is not None and self.stop.is_set():
            self.future.set_exception(Cancelled())
            return False
        return wanted


class ComputeThread(FairThread):
    """The thread that computes, on all cores; it leaves one core to the thread that makes it and to all that follow.

    A web server answers each request in a thread of its own. Each would have its own team of OpenMP threads, and as
    soon as there are more of them than cores, GNU's OpenMP no longer lets them spin between two parallel loops, but
    puts them to sleep. Waking them costs more than many of the thousands of loops of a Glow: on two cores images took
    1.3 to 1.5 times as long (`python -m benchmarks.threads`). And two threads that compute at
    once on the same cores collapse.

    `torch.set_num_threads` is of the thread that calls it and of those that have not computed yet
    (pytorch/pytorch#37461): the thread here takes all cores first. Make this object before anything is computed: a
    team that is there already stays.

    Example:
        >>> compute = ComputeThread()
        >>> compute.run(torch.add, torch.ones(1), 1)
        tensor([2.])
    """

    def __init__(self) -> None:
        super().__init__("compute")
        threads = torch.get_num_threads()
        self.run(torch.set_num_threads, threads)
        self.run(torch.get_num_threads)  # from here on it counts as one that has computed, and keeps its number
        torch.set_num_threads(1)


class PictureLane(FairThread):
    """A lane that decodes files and finds the faces in them, one picture a turn, in a process of its own.

    dlib's CNN detector holds Python's lock for a second or two of each picture without a face: in a thread it would
    stop all others of a server (`python -m benchmarks.gil`). A decoder that fails on a crafted file takes its process
    along and no more: the next picture has a new one.

    Example:
        >>> PictureLane().read(b"no picture", name="a.png", size=64).problem
        'this is not an image. JPEG, PNG, WebP, HEIC, AVIF, GIF, TIFF and BMP are read.'
    """

    def __init__(self) -> None:
        super().__init__("pictures")
        self._worker = self._started()

    def read(self, content: bytes | Path | Image.Image, **how: Any) -> Picture:
        """`pictures.read_picture` at its owner's turn."""
        return self.run(self._ask, content, how)

    def _ask(self, content: bytes | Path | Image.Image, how: dict[str, Any]) -> Picture:
        if self._worker.poll() is not None:
            self._worker = self._started()
        timer = threading.Timer(_SECONDS, self._worker.kill)
        timer.start()
        try:
            pickle.dump((content, how), self._worker.stdin)
            self._worker.stdin.flush()
            return pickle.load(self._worker.stdout)
        except (EOFError, OSError, pickle.UnpicklingError):
            self._worker.kill()
            self._worker.wait()
            return Picture(how["name"], problem="its decoder failed on it. Export it again, as PNG or JPEG.")
        finally:
            timer.cancel()

    @staticmethod
    def _started() -> subprocess.Popen:
        # Not by multiprocessing, whose child would run the main module again: the page's builds the page.
        package = Path(__file__).resolve().parent
        paths = [str(package.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        return subprocess.Popen(
            [sys.executable, "-c", f"from {package.name}.pictures import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
