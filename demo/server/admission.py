"""Who waits for whom, and how much one client may ask for: every queue and every rate, with its reason.

Gradio's own queues are for the whole app: one waiting request there blocks all that come after. So none of them has a
limit (`SERVER`, `events.on`), and a `Queue` keeps the order: of each client, a visitor or a caller, by itself. The
computing is shared out fairly further down, a batch or a picture at a time (`transflow_core.runtime.worker`).
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import Context
from dataclasses import dataclass
from typing import Any
from weakref import WeakMethod

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from transflow_core.runtime.worker import Cancelled, as_client

RESTARTS = "The server is restarting. Try again in a minute."
"""Why a queue that is closed takes nothing, and what it had is cut off."""


class CancelToken(threading.Event):
    """Once it is set, a request ends at its next batch or picture.

    Attributes:
        by_user: whether the user pressed Stop. Otherwise a newer request replaced this one, or the user left.
    """

    by_user = False


class Request(CancelToken):
    """The place of a request in a `Queue`: a coroutine awaits `admitted`; then work `with` it, in any thread."""

    def __init__(self, queue: Queue, names: tuple[Hashable, ...], newest: bool, ready: bool) -> None:
        super().__init__()
        self.queue, self.client, self.names, self.newest, self.ready = queue, names[0], names, newest, ready
        self.come = Future[Exception | None]()  # once it may run, or what `with` raises

    async def admitted(self) -> Request:
        """Join the queue, and return once its turn has come. No thread waits."""
        queue, loop = self.queue, asyncio.get_running_loop()
        queue.add(self)
        if not self.ready:
            _later(loop, queue.timeout or 0, self._unheard)
        try:
            await asyncio.shield(asyncio.wrap_future(self.come))
        except BaseException:  # nobody works with it any more
            queue.remove(self)
            raise
        if queue.seconds < math.inf:
            _later(loop, queue.seconds, self.set)
        return self

    def _unheard(self) -> None:
        if not self.ready:
            self.queue.cancel(self, by_user=False)

    def __enter__(self) -> Request:
        """Raises Cancelled if it was cancelled, or ValueError if too many waited or the queue was closed."""
        if error := self.come.result():
            raise error
        return self

    def __exit__(self, *_: object) -> None:
        self.queue.remove(self)


def _later(loop: asyncio.AbstractEventLoop, seconds: float, method: Callable[[], None]) -> None:
    """Call a method of a request, unless that is over by then. A loop keeps what it will call, and its context, in
    which is all that the client sent."""
    known = WeakMethod(method)
    loop.call_later(seconds, lambda: (found := known()) and found(), context=Context())


@dataclass(eq=False)
class Queue:
    """Each client's requests run in the order in which they came, and wait for no other client's.

    Args:
        each: how many requests of one client run at once.
        total: how many run at once in all.
        waiting: how many of one client may wait. One more is refused.
        seconds: how long a request may run. Then it is cancelled.
        timeout: seconds within which somebody must wait for its answer, see `awaited`; None where nobody need.
    """

    each: int = 1
    total: int = 1000
    waiting: int = 16
    seconds: float = math.inf
    timeout: float | None = None

    def __post_init__(self) -> None:
        self._awaited: Counter[Hashable] = Counter()
        self._requests: list[Request] = []  # in the order in which they came
        self._changed, self.closed = threading.Condition(), False

    def request(self, client: Hashable, *names: Hashable, newest: bool = False, awaited: bool = False) -> Any:
        """A `Request`, which joins the queue when it is waited for. A handler yields it, to wait (`events.on`).

        Args:
            client: whose request it is.
            names: others by which `cancel` finds it, such as the page that waits for it.
            newest: cancel all earlier requests of the client.
            awaited: somebody waits for its answer in any case.
        """
        return Request(self, (client, *names), newest, awaited or self.timeout is None)

    @contextmanager
    def awaited(self, name: Hashable) -> Iterator[None]:
        """Somebody waits for the answers of requests of this name."""
        with self._changed:
            self._awaited[name] += 1
            for request in self._of(name):
                request.ready = True
            self._advance()
        try:
            yield
        finally:
            with self._changed:
                self._awaited[name] -= 1
                self._awaited += Counter()  # without those that are 0

    def cancel(self, name: Hashable, *, by_user: bool = True) -> None:
        """Cancel what runs and waits of a client, or under another name."""
        with self._changed:
            for request in self._of(name):
                request.by_user = by_user
                request.set()
            self._advance()

    def heard(self, name: Hashable) -> bool:
        """Whether somebody waits for the answers of requests of this name, see `awaited`."""
        return bool(self._awaited[name])

    def busy(self, client: Hashable) -> bool:
        """Whether a request of the client runs or waits."""
        with self._changed:
            return bool(self._of(client))

    def full(self, client: Hashable) -> bool:
        """Whether one more request of the client would be refused."""
        with self._changed:
            return len(self._of(client)) >= self.each + self.waiting

    def close(self) -> None:
        """Accept no more requests, and drop those that wait."""
        with self._changed:
            self.closed = True
            self._advance()

    def drain(self, seconds: float) -> None:
        """Wait so long for what runs, then cancel it."""
        with self._changed:
            self._changed.wait_for(lambda: not self._requests, seconds)
            for request in self._requests:
                request.set()

    def add(self, request: Request) -> None:
        """Let it wait, unless too many do."""
        with self._changed:
            if request.newest:
                self.cancel(request.client, by_user=False)
            elif self.full(request.client):
                request.come.set_result(ValueError("Too many requests are waiting. Try again in a moment."))
                return
            request.ready |= any(map(self._awaited.get, request.names))
            self._requests.append(request)
            self._advance()

    def remove(self, request: Request) -> None:
        """It is over, if it was not before."""
        with self._changed:
            self._requests = [other for other in self._requests if other is not request]
            self._advance()

    def _of(self, name: Hashable) -> list[Request]:
        return [request for request in self._requests if name in (request, *request.names)]

    def _advance(self) -> None:
        """Let run all that may: each client's first ones, where there is room. What is cancelled waits no longer."""
        running = Counter(request.client for request in self._requests if request.come.done())
        for request in [one for one in self._requests if not one.come.done()]:
            if self.closed or request.is_set():
                self._requests.remove(request)
                request.come.set_result(ValueError(RESTARTS) if self.closed else Cancelled())
            elif request.ready and running.total() < self.total and running[request.client] < self.each:
                running[request.client] += 1
                request.come.set_result(None)
        self._changed.notify_all()


class RateLimit:
    """How much of something one caller may use: so much at once, then so much a second (ITU-T I.371).

    Args:
        rate: how much a second.
        burst: how much at once, after a silence.
        timeout: seconds; what would have to wait longer is refused.
    """

    def __init__(self, rate: float, burst: float, timeout: float) -> None:
        self._rate, self._burst, self._timeout = rate, burst, timeout
        self._due: OrderedDict[str, float] = OrderedDict()  # when each caller will have paid for all so far

    def wait(self, caller: str, cost: float = 1, now: float | None = None, *, done: bool = False) -> float | None:
        """Count what a caller asks for. Returns the seconds to wait, or None where they would exceed the timeout.

        What is `done` already counts in any case.
        """
        now = time.monotonic() if now is None else now
        due = max(self._due.get(caller, now), now) + cost / self._rate
        wait = max(0.0, due - now - self._burst / self._rate)
        if wait > self._timeout and not done:
            return None
        self._due[caller] = due
        self._due.move_to_end(caller)
        if len(self._due) > 10_000:
            self._due.popitem(last=False)
        return wait


# Events of the page, by address: those that run hold one of the threads below, those that wait, also in `PAGE`, hold
# none. A class behind one address has a few each. The first event of a session runs once its page listens, as a script
# does with its next request.
EVENTS = Queue(each=100, waiting=0, timeout=10)
# A client is a visitor's session and a part of the page, such as one evidence panel: each change of a part starts from
# the result of the change before. Sixteen clicks ahead is more than a person makes.
PAGE = Queue()
# Files to download, by session: an animation takes a core of its own for seconds, outside of the compute thread.
EXPORTS = Queue(total=2, waiting=3)
# By the caller's address. A caller with calls running and 64 more waiting delays nobody else: eight places stay free
# for others, and the page does not wait here at all. The largest call takes a few minutes on two busy cores.
API = Queue(each=4, total=12, waiting=64, seconds=600, timeout=60)
AGENT = "x-agent"
"""The header by which an agent's calls are known when it hangs up (`middleware`)."""
# Requests of agents, by address, in front of Gradio: its own client makes their calls, with 40 threads for all of them.
AGENTS = Queue(each=4, total=32, waiting=64)

# Copies of the page, or of what describes it, by address: each takes a thread, and the interpreter for 0.2 s. In all
# there is no limit: who reads slowly keeps a place.
PAGES = Queue(each=2, waiting=100)

# By address: requests cost the server's one interpreter ten milliseconds and more before anything is computed, and no
# queue behind it can share these out. So they wait in front of it, where waiting costs nothing. A click on the page is
# about ten events, and a class behind one address shares the rate. A call counts as five (`middleware`).
RATE = RateLimit(rate=50, burst=150, timeout=10)
# Bytes by address, of uploads and of what calls make: a hundred large photographs, twice, and as many within an hour.
UPLOADS, RESULTS = (RateLimit(rate=2 * 2**30 / 3600, burst=2 * 2**30, timeout=0) for _ in range(2))

# How the app is launched: so many events run or wait, and Gradio keeps the state of so many sessions.
SERVER = {"max_threads": 2000, "state_session_capacity": 200}
_THREADS = CapacityLimiter(400)


async def in_thread(client: tuple[Hashable, ...], function: Callable[..., Any], *args: Any) -> Any:
    """`function(*args)` in one of the threads of the page's events and the API's calls, as this client's work."""
    with as_client(*client):
        return await run_sync(function, *args, limiter=_THREADS)


def drain(seconds: float) -> None:
    """Accept no more work, drop what waits, and wait so long for what runs; the rest of it is cancelled."""
    end, queues = time.monotonic() + seconds, (AGENTS, PAGES, EVENTS, API, EXPORTS, PAGE)
    for queue in queues:
        queue.close()
    for queue in queues:
        queue.drain(max(0.0, end - time.monotonic()))
