"""Who waits for whom: every queue of the page and of the API, with its limits and their reasons.

Gradio's own queues are for the whole app: whoever waits in one blocks all who come after. So none of them has a limit
here (`SERVER`, `events.on`), and order is kept by `Lane`s: for each owner, a visitor or a caller, by itself. What is
computed is shared out fairly further down, a batch or a picture at a time (`transflow_core.worker`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from transflow_core.worker import Cancelled

__all__ = ["API", "CALLS", "EXPORTS", "SERVER", "VISITORS", "Calls", "Lane", "Stop", "drain"]


class Stop(threading.Event):
    """Ends one piece of work at its next batch or picture.

    Attributes:
        by_hand: whether the person pressed Stop; otherwise something newer takes its place, or the person left.
        late: whether it took longer than it may.
    """

    by_hand = False
    late = False


@dataclass(eq=False)
class _Ticket:
    owner: Hashable
    stop: Stop = field(default_factory=Stop)
    running: bool = False


class Lane:
    """Turns: each owner's in the order in which they came, and no owner's behind another's.

    Args:
        each: how many of one owner run at once.
        total: how many run at once in all; None for no limit.
        waiting, most: how many of one owner may wait, and of all run and wait; one more is refused.
    """

    def __init__(self, *, each: int = 1, total: int | None = None, waiting: int = 16, most: int = 1000) -> None:
        self.each, self.total, self.waiting, self._most = each, total or most, waiting, most
        self._tickets: list[_Ticket] = []  # in the order in which they came
        self._changed = threading.Condition()
        self._closed = False

    @contextmanager
    def turn(self, owner: Hashable, *, newest: bool = False, stop: Stop | None = None) -> Iterator[Stop]:
        """Wait for the owner's turn, and have it within. The `newest` ends all that the owner asked for before.

        Raises Cancelled if it is stopped while it waits, by `drop` where it brought its own `stop`; ValueError if too
        many wait already, or the lane is closed.
        """
        ticket = _Ticket(owner, stop or Stop())
        with self._changed:
            if self._closed:
                raise ValueError("The server is being restarted. Try again in a minute.")
            if newest:
                self._stop(owner, by_hand=False)
            elif len(self._of(owner)) >= self.each + self.waiting or len(self._tickets) >= self._most:
                raise ValueError("Too much is waiting already. Try again in a moment.")
            self._tickets.append(ticket)
            self._changed.notify_all()
        try:
            with self._changed:
                self._changed.wait_for(lambda: ticket.stop.is_set() or self._first(ticket))
                if ticket.stop.is_set():
                    raise Cancelled
                ticket.running = True
            yield ticket.stop
        finally:
            with self._changed:
                self._tickets.remove(ticket)
                self._changed.notify_all()

    def stop(self, owner: Hashable, *, by_hand: bool = True) -> None:
        """End what the owner has running and waiting."""
        with self._changed:
            self._stop(owner, by_hand=by_hand)

    def drop(self, stop: Stop) -> None:
        """End the one piece of work that brought this `stop`."""
        with self._changed:
            stop.set()
            self._changed.notify_all()

    def drained(self, seconds: float) -> bool:
        """Let nobody in any more, and wait so long for those who are; gives whether all were finished."""
        with self._changed:
            self._closed = True
            return self._changed.wait_for(lambda: not self._tickets, seconds)

    def busy(self, owner: Hashable) -> bool:
        """Whether the owner has something running or waiting."""
        with self._changed:
            return bool(self._of(owner))

    def _of(self, owner: Hashable) -> list[_Ticket]:
        return [ticket for ticket in self._tickets if ticket.owner == owner]

    def _stop(self, owner: Hashable, *, by_hand: bool) -> None:
        for ticket in self._of(owner):
            ticket.stop.by_hand = by_hand
            ticket.stop.set()
        self._changed.notify_all()

    def _first(self, ticket: _Ticket) -> bool:
        """Whether it is this one's turn: the first of those whose owner has nothing before them."""
        running: dict[Hashable, int] = {}
        for other in self._tickets:
            if other.running:
                running[other.owner] = running.get(other.owner, 0) + 1
        if sum(running.values()) >= self.total:
            return False
        free = (t for t in self._tickets if not t.running and running.get(t.owner, 0) < self.each)
        return next(free, None) is ticket


# Owners are a visitor's session and a place of the page, such as one evidence panel: each change of a place starts from
# what the one before it left. Sixteen clicks ahead is more than a hand does; what sends more is no hand.
VISITORS = Lane()
# Files to take away, by session: animations take a core of their own for seconds, outside of the compute thread.
EXPORTS = Lane(total=2, waiting=3)
# By the caller's address. Whoever has calls running and 64 more waiting holds up nobody but themselves: eight places
# stay for others, and the page waits here not at all.
API = Lane(each=4, total=12, waiting=64, most=256)


class Calls:
    """Calls of the API that are under way: whoever hangs up ends theirs, and none takes longer than it may.

    Args:
        lane: in which they have their turns.
        seconds: that one may take, from its turn on.
    """

    def __init__(self, lane: Lane, seconds: float = 600) -> None:
        self.seconds, self._lane = seconds, lane
        self._stops: dict[tuple[str, str], set[Stop]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def turn(self, owner: Hashable, event: str | None, session: str | None) -> Iterator[Stop]:
        """`Lane.turn`, for the call that this event of Gradio's is, asked for in this session."""
        stop = Stop()
        keys = [(kind, key) for kind, key in (("event", event), ("session", session)) if key]
        with self._lock:
            for key in keys:
                self._stops.setdefault(key, set()).add(stop)
        try:
            with self._lane.turn(owner, stop=stop):
                timer = threading.Timer(self.seconds, self._late, [stop])
                timer.daemon = True
                timer.start()
                try:
                    yield stop
                finally:
                    timer.cancel()
        except Cancelled:
            if stop.late:
                raise ValueError(
                    f"This took longer than the {self.seconds:g} s that a call may. Ask for less."
                ) from None
            raise
        finally:
            with self._lock:
                for key in keys:
                    self._stops[key].discard(stop)
                    if not self._stops[key]:
                        del self._stops[key]

    def left(self, kind: str, key: str) -> None:
        """Whoever waited for this event, or for all of this session, hung up."""
        with self._lock:
            stops = list(self._stops.get((kind, key), ()))
        for stop in stops:
            self._lane.drop(stop)

    def _late(self, stop: Stop) -> None:
        stop.late = True
        self._lane.drop(stop)


# Ten minutes are what the largest call takes on two busy cores, several times over.
CALLS = Calls(API)


def drain(seconds: float) -> bool:
    """Let no new work begin, and wait so long for what is under way; gives whether all of it was finished."""
    end = time.monotonic() + seconds
    return all([lane.drained(max(0.0, end - time.monotonic())) for lane in (API, EXPORTS, VISITORS)])


# How the app is launched. Gradio gives a place and a thread to each event, those that wait for their turn among them;
# they cost little. It keeps the state of each session for ever if it is not told otherwise.
SERVER = {"max_threads": 400, "state_session_capacity": 200}
