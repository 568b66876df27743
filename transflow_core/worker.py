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
import time
import weakref
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image

from .pictures import Picture

__all__ = ["Cancelled", "ComputeThread", "FairThread", "PictureLane", "owned_by", "owned_steps", "worker_path"]

# The slowest picture that is let in takes ten seconds on an idle core.
_SECONDS = 120.0

_PACKAGE = Path(__file__).resolve().parent

T = TypeVar("T")
S = TypeVar("S", bound="FairThread")
_owner: contextvars.ContextVar[Hashable] = contextvars.ContextVar("owner", default=None)


def worker_path() -> str:
    """The PYTHONPATH of another process of this program: what is imported here, from a checkout say, is found there."""
    return os.pathsep.join([str(_PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])


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


def _asking() -> Hashable:
    """The owner of what is asked for here."""
    owner = _owner.get()
    return threading.get_ident() if owner is None else owner


class FairThread:
    """A thread that runs jobs of several owners in turn, so that each has the same share of its time.

    The next job is of the owner who was served the shortest, counted from when they came: who has a hundred jobs delays
    another's first by the one that is running, and long jobs do not outweigh short ones (start-time fair queueing, of
    Goyal, Vin and Cheng, 1996). So run work in pieces: a batch of images, or a picture; not a whole set.

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
        self._turns = tuple(_Turns() for _ in range(3))  # by what is `priority`, see `submit`
        self._running: Hashable = None

    @classmethod
    @functools.cache
    def shared(cls: type[S]) -> S:
        """The one of this process, where a server wants no second."""
        return cls()

    @property
    def before(self) -> int:
        """How many other owners have a job that is running, or that comes before the next one of who asks."""
        me = _asking()
        with self._lock:
            before = self._turns[0].before(me) | {self._running}
        return len(before - {me, None})

    def run(
        self,
        function: Callable[..., T],
        *args: Any,
        cancel: threading.Event | None = None,
        priority: int = 0,
        **kwargs: Any,
    ) -> T:
        """`function(*args, **kwargs)`, run in the thread at its owner's turn; gives or raises what it does.

        Raises Cancelled if `cancel` is set before that turn comes. From within the thread itself, the call is made at
        once.
        """
        if threading.current_thread() is self._thread:
            return function(*args, **kwargs)
        return self.submit(function, *args, cancel=cancel, priority=priority, **kwargs).result()

    def submit(
        self,
        function: Callable[..., T],
        *args: Any,
        cancel: threading.Event | None = None,
        priority: int = 0,
        **kwargs: Any,
    ) -> Future[T]:
        """As `run`, without waiting; the future can be cancelled until its turn comes.

        Raises Cancelled where the process ends.

        Args:
            priority: 1 for what nobody waits for: it has its turn when there is nothing else for anybody; 2 for what
                nobody may ever ask for, which comes after that, too.
        """
        future: Future[T] = Future()
        with self._lock:
            self._turns[priority].add(_Job(_asking(), future, functools.partial(function, *args, **kwargs), cancel))
        try:
            self._executor.submit(self._step)
        except RuntimeError:  # the process ends
            raise Cancelled from None
        return future

    def _step(self) -> None:
        with self._lock:
            stopped = [one for some in self._turns for one in some.stopped()]
            turns, job = next(((some, one) for some in self._turns if (one := some.next())), (None, None))
            if job is not None and turns is self._turns[0]:
                self._running = job.owner  # what makes way is in nobody's way
        for over in stopped:  # not in their turn, which what is priority may not have for minutes
            over.begins()
        if job is None or turns is None:
            return
        begun = time.perf_counter()
        try:
            result, error = job.call(), None
        except BaseException as raised:
            result, error = None, raised
        with self._lock:
            self._running = None
            turns.served[job.owner] += time.perf_counter() - begun
        if error is None:
            job.future.set_result(result)
        else:
            job.future.set_exception(error)


@dataclass(frozen=True, eq=False)
class _Job:
    owner: Hashable
    future: Future
    call: Callable[[], Any]
    cancel: threading.Event | None

    def begins(self) -> bool:
        """Whether somebody still waits for it; from now on it cannot be cancelled."""
        wanted = self.future.set_running_or_notify_cancel()
        if wanted and self.cancel is not None and self.cancel.is_set():
            self.future.set_exception(Cancelled())
            return False
        return wanted


class _Turns:
    """Which job is next, of those that wait. Not thread-safe: a FairThread locks it.

    Attributes:
        served: seconds of each owner; `now`, of the last one whose turn came: who comes anew starts there.
    """

    def __init__(self) -> None:
        self._waiting: dict[Hashable, deque[_Job]] = {}
        self.served: dict[Hashable, float] = {}
        self.now = 0.0

    def add(self, job: _Job) -> None:
        if job.owner not in self._waiting:
            self._waiting[job.owner] = deque()
            self.served[job.owner] = max(self.served.get(job.owner, 0.0), self.now)
        self._waiting[job.owner].append(job)

    def before(self, me: Hashable) -> set[Hashable]:
        """Who waits for a job that comes before the next one of this owner."""
        served = max(self.served.get(me, 0.0), self.now)
        return {other for other in self._waiting if self.served[other] <= served}

    def stopped(self) -> list[_Job]:
        """Those that nobody wants any more, taken out."""
        over = [
            job for jobs in self._waiting.values() for job in jobs if job.cancel is not None and job.cancel.is_set()
        ]
        for job in over:
            jobs = self._waiting[job.owner]
            jobs.remove(job)
            if not jobs:
                del self._waiting[job.owner]
        return over

    def next(self) -> _Job | None:
        """The first job that is still wanted, of the owner who was served the shortest."""
        while self._waiting:
            owner = min(self._waiting, key=self.served.__getitem__)
            job = self._waiting[owner].popleft()
            if not self._waiting[owner]:
                del self._waiting[owner]
            if job.begins():
                self.now = self.served[owner]
                # What was served to those who are gone is forgotten once it makes no difference.
                self.served = {
                    other: seconds
                    for other, seconds in self.served.items()
                    if other in self._waiting or other == owner or seconds > self.now
                }
                return job
        return None


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
        >>> import torch
        >>> compute = ComputeThread()
        >>> compute.run(torch.add, torch.ones(1), 1)
        tensor([2.])
    """

    def __init__(self) -> None:
        super().__init__("compute")
        import torch  # not before: the command line has a lane for pictures while it is loaded

        from .runtime.devices import begin_cores

        threads = torch.get_num_threads()
        self.run(torch.set_num_threads, threads)
        self.run(torch.get_num_threads)  # from here on it counts as one that has computed, and keeps its number
        self.run(begin_cores)  # the number of all that follow is set below
        torch.set_num_threads(1)


class PictureLane:
    """Decodes files and finds the faces in them, a picture a turn, in processes of its own.

    A decoder that fails on a crafted file takes its process along and no more: the next picture has a new one.

    There are two: one for what is quick (`pictures.is_quick`), so that a small picture never waits for the seconds that
    somebody's photograph takes, and one for all else, which makes way for whatever else the machine computes.

    Example:
        >>> PictureLane().submit(b"no picture", name="a.png", size=64).result().problem
        'this is not an image. JPEG, PNG, WebP, HEIC, AVIF, GIF, TIFF and BMP are read.'
    """

    def __init__(self) -> None:
        self._quick, self._slow = _Reader("quick pictures", nice=0), _Reader("pictures", nice=10)
        self._begun: dict[Hashable, Future[Picture]] = {}

    def begin(self, files: Iterable[Path], **how: Any) -> None:
        """Read files that somebody will ask for: `submit` with the same words then gives what was begun."""
        for file in files:
            words = {"name": file.name, **how}
            self._begun[file, tuple(sorted(words.items()))] = self.submit(file, **words)

    @classmethod
    @functools.cache
    def shared(cls) -> PictureLane:
        """The one of this process, where a server wants no second."""
        return cls()

    @property
    def before(self) -> int:
        """How many other owners have their turn before who asks; see `FairThread.before`."""
        return max(self._quick.before, self._slow.before)

    def submit(
        self, content: bytes | Path | Image.Image, *, cancel: threading.Event | None = None, **how: Any
    ) -> Future[Picture]:
        """`pictures.read_picture` at its owner's turn; see `FairThread.submit`."""
        if isinstance(content, Path) and (begun := self._begun.pop((content, tuple(sorted(how.items()))), None)):
            return begun
        read: Future[Picture] = Future()
        context = contextvars.copy_context()

        def ask(reader: _Reader, then: Callable[[Any], None], **more: bool) -> None:
            asked = reader.submit(reader.ask, content, how | more, cancel=cancel)
            read.add_done_callback(lambda _: read.cancelled() and asked.cancel())
            asked.add_done_callback(lambda _: answered(asked, then))

        def answered(asked: Future[Picture | None], then: Callable[[Any], None]) -> None:
            if asked.cancelled() or read.cancelled():
                return
            error = asked.exception()
            with contextlib.suppress(InvalidStateError):  # it was given up just now
                if error is None:
                    then(asked.result())
                else:
                    read.set_exception(error)

        def looked(picture: Picture | None) -> None:
            if picture is None:
                context.run(ask, self._slow, read.set_result)
            else:
                read.set_result(picture)

        ask(self._quick, looked, quick=True)
        return read


class _Reader(FairThread):
    """A thread with a child process that runs `pictures.serve`."""

    def __init__(self, name: str, nice: int) -> None:
        super().__init__(name)
        self._nice = nice
        self._worker = self._started()

    def ask(self, content: bytes | Path | Image.Image, how: dict[str, Any]) -> Picture | None:
        """What the child answers, within the thread."""
        question = pickle.dumps((content, how))
        if self._worker.poll() is not None:
            self._worker = self._started()
        timer = threading.Timer(_SECONDS, self._worker.kill)
        timer.start()
        try:
            asks, answers = self._worker.stdin, self._worker.stdout
            assert asks is not None and answers is not None  # both are pipes
            asks.write(question)
            asks.flush()
            return pickle.load(answers)
        except Exception:  # EOFError, BrokenPipeError, or whatever half an answer gives
            self._worker.kill()
            self._worker.wait()
            return Picture(how["name"], problem="its decoder failed on it. Export it again, as PNG or JPEG.")
        finally:
            timer.cancel()

    def _started(self) -> subprocess.Popen[bytes]:
        # Not by multiprocessing, whose child would run the main module again: the page's builds the page.
        worker = subprocess.Popen(
            [sys.executable, "-c", f"from {_PACKAGE.name}.pictures import serve; serve({self._nice})"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": worker_path()},
        )
        weakref.finalize(self, _end, worker)
        return worker


def _end(worker: subprocess.Popen[bytes]) -> None:
    worker.kill()
    worker.communicate()  # closes its pipes
