"""Turns: each owner's in order, nobody behind somebody else's."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from demo.queues import Lane
from transflow_core.worker import Cancelled

PATIENCE = 60


class Worker:
    """Has one turn in a thread of its own, and keeps it until told."""

    def __init__(self, pool, lane, owner, **how):
        self.lane, self.owner, self.how = lane, owner, how
        self.has_turn, self.go_on, self.stop = threading.Event(), threading.Event(), None
        before = set(lane._tickets)
        self.done = pool.submit(self._work)
        self.done.add_done_callback(lambda _: self._tell())
        with lane._changed:  # it stands in line before the next one comes
            assert lane._changed.wait_for(lambda: self.done.done() or set(lane._tickets) - before, PATIENCE)

    def _tell(self):
        with self.lane._changed:
            self.lane._changed.notify_all()

    def _work(self):
        with self.lane.turn(self.owner, **self.how) as self.stop:
            self.has_turn.set()
            assert self.go_on.wait(PATIENCE)
            return self.stop.is_set()

    def finish(self):
        assert self.has_turn.wait(PATIENCE)
        self.go_on.set()
        return self.done.result(PATIENCE)


@pytest.fixture
def pool():
    with ThreadPoolExecutor(32) as pool:
        yield pool


@pytest.fixture
def start(pool):
    """`start(lane, owner)` gives a worker that stands in line; whatever still waits at the end is let go."""
    workers = []

    def start(lane, owner, **how):
        workers.append(Worker(pool, lane, owner, **how))
        return workers[-1]

    yield start
    for worker in workers:
        worker.go_on.set()


def test_an_owner_s_turns_come_in_order_and_hold_nobody_else_up(start):
    lane = Lane()
    first, second, third = (start(lane, "a") for _ in range(3))
    other = start(lane, "b")
    assert other.finish() is False
    assert not second.has_turn.is_set() and not third.has_turn.is_set()
    for worker in (first, second, third):
        assert worker.finish() is False
    assert not lane.busy("a")


def test_the_newest_ends_what_runs_and_what_waits(start):
    lane = Lane()
    running, waiting, other = start(lane, "a"), start(lane, "a"), start(lane, "b")
    newest = start(lane, "a", newest=True)
    with pytest.raises(Cancelled):
        waiting.done.result(PATIENCE)
    assert not newest.has_turn.is_set()  # the one before it must let go first
    assert running.finish() is True and not running.stop.by_hand
    assert newest.finish() is False and other.finish() is False


def test_stop_is_told_from_being_replaced(start):
    lane = Lane()
    worker = start(lane, "a")
    assert worker.has_turn.wait(PATIENCE)
    lane.stop("a")
    assert worker.finish() is True and worker.stop.by_hand


def test_one_who_sends_too_much_is_refused_and_others_are_not(start):
    lane = Lane(each=1, waiting=2)
    workers = [start(lane, "a") for _ in range(3)]
    with pytest.raises(ValueError, match="Too much is waiting"):
        start(lane, "a").done.result(PATIENCE)
    assert start(lane, "b").finish() is False
    for worker in workers:
        worker.finish()


def test_a_place_that_becomes_free_goes_to_whoever_waits_longest_with_none_of_their_own(start):
    lane = Lane(each=1, total=2)
    a, b = start(lane, "a"), start(lane, "b")
    more_of_a, c = start(lane, "a"), start(lane, "c")
    b.finish()
    assert c.has_turn.wait(PATIENCE)  # before the second of a, whose first still runs
    assert not more_of_a.has_turn.is_set()
    a.finish()
    assert more_of_a.finish() is False and c.finish() is False


def test_a_turn_ends_with_an_error(start):
    lane = Lane()
    with pytest.raises(RuntimeError), lane.turn("a"):
        raise RuntimeError
    assert start(lane, "a").finish() is False
