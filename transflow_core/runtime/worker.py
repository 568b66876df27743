"""One worker for all arithmetic of a server: a batch of each client in turn, and no client before another."""

import contextlib
import contextvars
import functools
import math
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

Priority = Literal["now", "background", "idle"]
"""When a job runs: in its client's turn; when no worker of this process does what a client waits for; when none does
anything else. Beside a photograph whose faces are looked for, previews took both cores, and it took twice as long."""
_PRIORITIES: tuple[Priority, ...] = ("now", "background", "idle")
# Somebody may invent sessions without end. Where there are more, those that wait for nothing begin anew.
_MOST_SERVED = 1000
# Seconds that a job of each priority waits after those before it: a request is many small jobs, one after another, and
# each would wait for another's between them.
_QUIET = (0.0, 0.1, 0.5)
_LOOK_AGAIN = 0.2  # seconds: another worker does not say when it ends

T = TypeVar("T")
W = TypeVar("W", bound="Worker")
_client: contextvars.ContextVar[tuple[Hashable, ...]] = contextvars.ContextVar("client", default=())


class Cancelled(Exception):
    """The user cancelled, asked for something newer, or left."""


@contextlib.contextmanager
def as_client(*client: Hashable) -> Iterator[None]:
    """Jobs that are submitted within belong to this client, and else to their thread.

    Args:
        client: such as a visitor's address, then one of its sessions. The sessions share the turns of their address.
    """
    token = _client.set(client)
    try:
        yield
    finally:
        _client.reset(token)


def _current_client() -> tuple[Hashable, ...]:
    return _client.get() or (threading.get_ident(),)


class _Activity:
    """How many jobs of some priorities run, in all workers of this process, and when the last one ended."""

    def __init__(self) -> None:
        self._lock, self._running, self.ended = threading.Lock(), 0, -math.inf

    def begin(self) -> None:
        with self._lock:
            self._running, self.ended = self._running + 1, math.inf

    def end(self, now: float) -> None:
        with self._lock:
            self._running -= 1
            self.ended = math.inf if self._running else now


# What background jobs wait for, and what idle ones do: all that come before them.
_before = _Activity(), _Activity()


@dataclass(frozen=True, eq=False)
class _Job:
    queue: tuple[int, *tuple[Hashable, ...]]
    """Its priority, 0 to 2, and its client."""
    future: Future
    call: Callable[[], Any]
    cancel: threading.Event | None


def _levels(queue: tuple[Hashable, ...]) -> list[tuple[Hashable, ...]]:
    """The client as a whole, such as an address, and then each part of it, such as a session."""
    return [queue[:end] for end in range(2, len(queue) + 1)]


class Worker:
    """A thread that runs jobs of several clients in turn, so that each has the same share of its time.

    The next job is of the client that was served the shortest, counted from when it came, and within it of the part
    that was (hierarchical start-time fair queueing: Goyal, Vin and Cheng, 1996). Submit work in pieces, a batch of
    images or a picture: a client with a hundred jobs delays another's first by one job.

    Example:
        >>> Worker("sums").run(sum, [1, 2])
        3
    """

    def __init__(self, name: str = "worker") -> None:
        # One call of `_step` for each job; which job it runs is decided at that time.
        self._executor = ThreadPoolExecutor(1, name)
        self._thread = self._executor.submit(threading.current_thread).result()
        self._lock = threading.Condition()
        self._waiting: list[_Job] = []
        self._served: dict[tuple[Hashable, ...], float] = {}  # seconds of each client, and of each part of one
        # Seconds of what was served last, by what it is a part of: where a new one begins.
        self._now: dict[tuple[Hashable, ...], float] = {}
        self._running: tuple[Hashable, ...] = ()

    @classmethod
    @functools.cache
    def shared(cls: type[W]) -> W:
        """The one of this process, where a server wants no second."""
        return cls()

    @property
    def ahead(self) -> int:
        """How many other clients have a job that runs, or that comes before the next one of this client."""
        me = _current_client()
        with self._lock:
            mine = self._order((0, *me))
            ahead = {job.queue[1:] for job in self._waiting if job.queue[0] == 0 and self._order(job.queue) <= mine}
        return len((ahead | {self._running}) - {me, ()})

    def run(self, function: Callable[..., T], *args: Any, **how: Any) -> T:
        """As `submit`, and wait: what the function returns or raises. Within the thread itself it runs at once."""
        if threading.current_thread() is self._thread:
            return function(*args, **{name: value for name, value in how.items() if name not in ("cancel", "priority")})
        return self.submit(function, *args, **how).result()

    def submit(
        self,
        function: Callable[..., T],
        *args: Any,
        cancel: threading.Event | None = None,
        priority: Priority = "now",
        **kwargs: Any,
    ) -> Future[T]:
        """`function(*args, **kwargs)` in the thread, at its client's turn; it can be cancelled until then.

        The future raises Cancelled if `cancel` is set before that turn. Raises Cancelled as the process ends.
        """
        future: Future[T] = Future()
        queue = (_PRIORITIES.index(priority), *_current_client())
        with self._lock:
            self._served |= zip(_levels(queue), self._order(queue)[1:], strict=True)
            self._waiting.append(_Job(queue, future, functools.partial(function, *args, **kwargs), cancel))
            self._lock.notify()
        try:
            self._executor.submit(self._step)
        except RuntimeError:  # the process ends
            raise Cancelled from None
        return future

    def _step(self) -> None:
        with self._lock:
            while not (cancelled := self._cancelled()) and (rest := self._rest()) > 0:
                self._lock.wait(rest)
            self._waiting = [job for job in self._waiting if job not in cancelled]
            job = None if cancelled else self._next()  # each of the others has a step of its own
        for one in cancelled:  # at once: a turn in the background may take minutes
            if one.future.set_running_or_notify_cancel():
                one.future.set_exception(Cancelled())
        if job is None:
            return
        activities = _before[job.queue[0] :]
        for activity in activities:
            activity.begin()
        begun = time.perf_counter()
        result = error = None
        try:
            result = job.call()
        except BaseException as raised:
            error = raised
        ended = time.perf_counter()
        for activity in activities:
            activity.end(ended)
        with self._lock:
            self._running = ()
            for level in _levels(job.queue):
                self._served[level] += ended - begun
        if error is None:
            job.future.set_result(result)
        else:
            job.future.set_exception(error)

    def _cancelled(self) -> list[_Job]:
        return [job for job in self._waiting if job.cancel is not None and job.cancel.is_set()]

    def _rest(self) -> float:
        """Seconds for which all that wait still have to, since a request may go on."""
        priority = min((job.queue[0] for job in self._waiting), default=0)
        ended = _before[priority - 1].ended if priority else -math.inf
        return min(ended + _QUIET[priority] - time.perf_counter(), _LOOK_AGAIN)

    def _order(self, queue: tuple[Hashable, ...]) -> tuple[Any, ...]:
        """Its priority, and the seconds of its client and of each part of it: the smallest comes first."""
        levels = _levels(queue)
        return queue[0], *(max(self._served.get(level, 0.0), self._now.get(level[:-1], 0.0)) for level in levels)

    def _next(self) -> _Job | None:
        """The first job of the client that was served the shortest, taken out of the queue."""
        while self._waiting:
            job = min(self._waiting, key=lambda job: self._order(job.queue))
            self._waiting.remove(job)
            if job.future.set_running_or_notify_cancel():
                for level in _levels(job.queue):
                    self._now[level[:-1]] = self._served[level]
                if job.queue[0] == 0:  # all others make way, and delay nobody
                    self._running = job.queue[1:]
                if len(self._served) > _MOST_SERVED:
                    kept = {level for one in (job, *self._waiting) for level in _levels(one.queue)}
                    self._served = {level: self._served[level] for level in kept}
                    self._now = {of: seconds for of, seconds in self._now.items() if len(of) == 1 or of in kept}
                return job
        return None


class ComputeWorker(Worker):
    """The worker that computes, on all cores; it leaves one core to the thread that makes it and to all that follow.

    Each thread that answers a request would have its own team of OpenMP threads, and two that compute at once collapse:
    images took 1.3 to 1.5 times as long on two cores (`python -m benchmarks.threads`).

    `torch.set_num_threads` is of the thread that calls it and of those that have not computed yet
    (pytorch/pytorch#37461): make this object before anything is computed.
    """

    def __init__(self) -> None:
        super().__init__("compute")
        import torch  # not before: the command line reads pictures while it is loaded

        from .devices import begin_cores

        threads = torch.get_num_threads()
        self.run(torch.set_num_threads, threads)
        self.run(torch.get_num_threads)  # from here on it counts as one that has computed, and keeps its number
        self.run(begin_cores)  # the number of all that follow is set below
        torch.set_num_threads(1)
