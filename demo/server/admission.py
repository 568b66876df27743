"""Which request waits for which: every queue of the page and of the API, with its limits and their reasons.

Gradio's own queues are for the whole app: one waiting request there blocks all that come after. So none of them has a
limit here (`SERVER`, `events.on`), and a `Queue` keeps the order: of each client, a visitor or a caller, by itself. The
computing is shared out fairly further down, a batch or a picture at a time (`transflow_core.runtime.worker`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from transflow_core.runtime.worker import Cancelled

__all__ = ["API", "CALLS", "EXPORTS", "SERVER", "VISITORS", "Calls", "CancelToken", "Queue", "drain"]


class CancelToken(threading.Event):
    """Once it is set, a request ends at its next batch or picture.

    Attributes:
        by_user: whether the user pressed Stop. Otherwise a newer request replaced this one, or the user left.
        timed_out: whether the request took longer than the limit.
    """

    by_user = False
    timed_out = False


@dataclass(eq=False)
class _Request:
    client: Hashable
    cancel: CancelToken = field(default_factory=CancelToken)
    running: bool = False


class Queue:
    """Each client's requests run in the order in which they came, and wait for no other client's.

    Args:
        each: how many requests of one client run at once.
        total: how many run at once in all; None for no limit.
        waiting, most: how many of one client may wait, and of all run and wait. One more is refused.
    """

    def __init__(self, *, each: int = 1, total: int | None = None, waiting: int = 16, most: int = 1000) -> None:
        self.each, self.total, self.waiting, self._most = each, total or most, waiting, most
        self._requests: list[_Request] = []  # in the order in which they came
        self._changed = threading.Condition()
        self._closed = False

    @contextmanager
    def enter(
        self, client: Hashable, *, newest: bool = False, cancel: CancelToken | None = None
    ) -> Iterator[CancelToken]:
        """Wait in the queue, then run. The `newest` cancels all earlier requests of the client.

        Raises Cancelled if the request is cancelled while it waits; ValueError if too many wait already, or the queue
        is closed.
        """
        request = _Request(client, cancel or CancelToken())
        with self._changed:
            if self._closed:
                raise ValueError("The server is restarting. Try again in a minute.")
            if newest:
                self._cancel(client, by_user=False)
            elif len(self._of(client)) >= self.each + self.waiting or len(self._requests) >= self._most:
                raise ValueError("Too many requests are waiting. Try again in a moment.")
            self._requests.append(request)
            self._changed.notify_all()
        try:
            with self._changed:
                self._changed.wait_for(lambda: request.cancel.is_set() or self._is_next(request))
                if request.cancel.is_set():
                    raise Cancelled
                request.running = True
            yield request.cancel
        finally:
            with self._changed:
                self._requests.remove(request)
                self._changed.notify_all()

    def cancel(self, client: Hashable, *, by_user: bool = True) -> None:
        """Cancel what the client has running and waiting."""
        with self._changed:
            self._cancel(client, by_user=by_user)

    def cancel_one(self, cancel: CancelToken) -> None:
        """Cancel the one request that brought this token."""
        with self._changed:
            cancel.set()
            self._changed.notify_all()

    def drain(self, seconds: float) -> bool:
        """Accept no more requests, and wait so long for the others. Returns whether all of them were finished."""
        with self._changed:
            self._closed = True
            return self._changed.wait_for(lambda: not self._requests, seconds)

    def busy(self, client: Hashable) -> bool:
        """Whether a request of the client runs or waits."""
        with self._changed:
            return bool(self._of(client))

    def _of(self, client: Hashable) -> list[_Request]:
        return [request for request in self._requests if request.client == client]

    def _cancel(self, client: Hashable, *, by_user: bool) -> None:
        for request in self._of(client):
            request.cancel.by_user = by_user
            request.cancel.set()
        self._changed.notify_all()

    def _is_next(self, request: _Request) -> bool:
        """Whether a request may run: the first one whose client has room for one more."""
        running: dict[Hashable, int] = {}
        for other in self._requests:
            if other.running:
                running[other.client] = running.get(other.client, 0) + 1
        if sum(running.values()) >= self.total:
            return False
        free = (r for r in self._requests if not r.running and running.get(r.client, 0) < self.each)
        return next(free, None) is request


# A client is a visitor's session and a part of the page, such as one evidence panel: each change of a part starts from
# the result of the change before. Sixteen clicks ahead is more than a person makes.
VISITORS = Queue()
# Files to download, by session: an animation takes a core of its own for seconds, outside of the compute thread.
EXPORTS = Queue(total=2, waiting=3)
# By the caller's address. A caller with calls running and 64 more waiting delays nobody else: eight places stay free
# for others, and the page does not wait here at all.
API = Queue(each=4, total=12, waiting=64, most=256)


class Calls:
    """The API calls that are running or waiting. A caller who disconnects cancels theirs; none exceeds the time limit.

    Args:
        queue: in which they wait.
        seconds: the time limit of one call, from its start on.
    """

    def __init__(self, queue: Queue, seconds: float = 600) -> None:
        self.seconds, self._queue = seconds, queue
        self._tokens: dict[tuple[str, str], set[CancelToken]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def enter(self, client: Hashable, event: str | None, session: str | None) -> Iterator[CancelToken]:
        """`Queue.enter`, for the call that this event of Gradio's is, in this session of Gradio's."""
        cancel = CancelToken()
        keys = [(kind, key) for kind, key in (("event", event), ("session", session)) if key]
        with self._lock:
            for key in keys:
                self._tokens.setdefault(key, set()).add(cancel)
        try:
            with self._queue.enter(client, cancel=cancel):
                timer = threading.Timer(self.seconds, self._time_out, [cancel])
                timer.daemon = True
                timer.start()
                try:
                    yield cancel
                finally:
                    timer.cancel()
        except Cancelled:
            if cancel.timed_out:
                raise ValueError(
                    f"This call took longer than {self.seconds:g} seconds, which is the limit. Request less."
                ) from None
            raise
        finally:
            with self._lock:
                for key in keys:
                    self._tokens[key].discard(cancel)
                    if not self._tokens[key]:
                        del self._tokens[key]

    def disconnected(self, kind: str, key: str) -> None:
        """The client that waited for this event, or for all of this session, disconnected."""
        with self._lock:
            tokens = list(self._tokens.get((kind, key), ()))
        for cancel in tokens:
            self._queue.cancel_one(cancel)

    def _time_out(self, cancel: CancelToken) -> None:
        cancel.timed_out = True
        self._queue.cancel_one(cancel)


# Several times what the largest call takes on two busy cores.
CALLS = Calls(API)


def drain(seconds: float) -> bool:
    """Accept no more work, and wait so long for what is running. Returns whether all of it was finished."""
    end = time.monotonic() + seconds
    return all([queue.drain(max(0.0, end - time.monotonic())) for queue in (API, EXPORTS, VISITORS)])


# How the app is launched. Gradio gives a thread to each event, and to those that wait in a queue; they cost little. It
# keeps the state of each session for ever unless it gets a capacity.
SERVER = {"max_threads": 400, "state_session_capacity": 200}
