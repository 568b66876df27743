"""Queues and rates: the requests of each client run in order, and wait for no other client's."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.server.admission import Queue, RateLimit
from transflow_core.runtime.worker import Cancelled

from ...helpers import TIMEOUT


class Worker:
    """Makes one request in a loop of its own, which runs until `finish`."""

    def __init__(self, pool, queue, *names, **how):
        self.queue, self.names, self.how = queue, names, how
        self.running, self.go_on, self.cancel = threading.Event(), threading.Event(), None
        before = set(queue._requests)
        self.done = pool.submit(asyncio.run, self._work())
        self.done.add_done_callback(lambda _: self._notify())
        with queue._changed:  # it is in the queue before the next one comes
            assert queue._changed.wait_for(lambda: self.done.done() or set(queue._requests) - before, TIMEOUT)

    def _notify(self):
        with self.queue._changed:
            self.queue._changed.notify_all()

    async def _work(self):
        with await self.queue.request(*self.names, **self.how).admitted() as self.cancel:
            return await asyncio.to_thread(self._run)

    def _run(self):
        self.running.set()
        assert self.go_on.wait(TIMEOUT)
        return self.cancel.is_set()

    def finish(self):
        assert self.running.wait(TIMEOUT)
        self.go_on.set()
        return self.done.result(TIMEOUT)


@pytest.fixture
def start():
    """`start(queue, client)` gives a worker in the queue; at the end, all of them go on."""
    workers = []
    with ThreadPoolExecutor(32) as pool:
        yield lambda *who, **how: workers.append(Worker(pool, *who, **how)) or workers[-1]
        for worker in workers:
            worker.go_on.set()


def test_requests_of_a_client_run_in_order_and_delay_no_other_client(start):
    queue = Queue()
    first, second, third = (start(queue, "a") for _ in range(3))
    assert start(queue, "b").finish() is False
    assert not second.running.is_set() and not third.running.is_set()
    for worker in (first, second, third):
        assert worker.finish() is False
    assert not queue.busy("a")


def test_the_newest_ends_what_runs_and_what_waits(start):
    queue = Queue()
    running, waiting, other = start(queue, "a"), start(queue, "a"), start(queue, "b")
    newest = start(queue, "a", newest=True)
    with pytest.raises(Cancelled):
        waiting.done.result(TIMEOUT)
    assert not newest.running.is_set()  # the one before it must let go first
    assert running.finish() is True and not running.cancel.by_user
    assert newest.finish() is False and other.finish() is False


def test_a_request_is_cancelled_by_its_client_or_another_name(start):
    queue = Queue()
    one, two, other = start(queue, "a", "page 1"), start(queue, "b", "page 1"), start(queue, "c", "page 2")
    assert all(worker.running.wait(TIMEOUT) for worker in (one, two, other))
    queue.cancel("page 1", by_user=False)
    assert one.cancel.is_set() and two.cancel.is_set() and not two.cancel.by_user
    queue.cancel("c")
    assert other.finish() is True and other.cancel.by_user


def test_a_request_whose_answer_nobody_waits_for_never_runs(start):
    queue = Queue(timeout=0.05)
    with pytest.raises(Cancelled):
        start(queue, "a", "stream 1").done.result(TIMEOUT)
    assert start(queue, "a", "stream 1", awaited=True).finish() is False
    with queue.awaited("stream 1"), queue.awaited("stream 2"):
        assert start(queue, "a", "stream 1").finish() is False
    with pytest.raises(Cancelled):
        start(queue, "a", "stream 1").done.result(TIMEOUT)
    queue.timeout = TIMEOUT
    late = start(queue, "a", "stream 1")
    with queue.awaited("stream 2"):
        assert start(queue, "b", "stream 2").finish() is False  # meanwhile it is in nobody's way
    with queue.awaited("stream 1"):
        assert late.finish() is False


def test_a_free_place_goes_to_the_longest_waiting_client_without_a_running_request(start):
    queue = Queue(each=1, total=2)
    a, b = start(queue, "a"), start(queue, "b")
    more_of_a, c = start(queue, "a"), start(queue, "c")
    b.finish()
    assert c.running.wait(TIMEOUT)  # before the second of a, whose first still runs
    assert not more_of_a.running.is_set()
    a.finish()
    assert more_of_a.finish() is False and c.finish() is False


def test_a_request_that_ends_with_an_error_leaves_the_queue():
    queue = Queue()
    with pytest.raises(RuntimeError), asyncio.run(queue.request("a").admitted()):
        raise RuntimeError
    assert not queue.busy("a")


def test_a_request_that_nobody_waits_for_any_more_leaves_the_queue(start):
    async def given_up():
        waiting = asyncio.create_task(queue.request("a").admitted())
        while len(queue._requests) < 2:
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])

    queue = Queue()
    first = start(queue, "a")
    assert first.running.wait(TIMEOUT)
    asyncio.run(given_up())
    assert first.finish() is False and not queue.busy("a")


def test_a_closed_queue_drops_what_waits_and_cancels_what_still_runs_in_the_end(start):
    queue = Queue()
    running, waiting = start(queue, "a"), start(queue, "a")
    assert running.running.wait(TIMEOUT)
    queue.close()
    for dropped in (waiting, start(queue, "b")):
        with pytest.raises(ValueError, match="is restarting"):
            dropped.done.result(TIMEOUT)
    assert not running.cancel.is_set()
    queue.drain(0)
    assert running.finish() is True


def test_the_first_come_at_once_and_the_others_at_their_rate_which_silence_pays_back():
    limit = RateLimit(rate=10, burst=3, timeout=60)
    assert [limit.wait("a", now=5.0) for _ in range(6)] == pytest.approx([0, 0, 0, 0.1, 0.2, 0.3])
    assert limit.wait("b", now=5.0) == 0
    assert [limit.wait("a", now=1000.0) for _ in range(4)] == pytest.approx([0, 0, 0, 0.1])
    assert limit.wait("a", cost=5, now=1000.0) == pytest.approx(0.6)


@given(st.lists(st.floats(0, 5), min_size=1, max_size=60), st.floats(0.5, 20), st.integers(1, 10))
def test_no_second_lets_in_more_than_burst_and_rate(gaps, rate, burst):
    limit, now, begun = RateLimit(rate, burst, timeout=1e9), 0.0, []
    for gap in gaps:
        now += gap
        begun.append(now + limit.wait("a", now=now))
    for start in begun:
        assert sum(start <= at < start + 1 for at in begun) <= burst + rate + 1 + 1e-6


def test_whoever_would_wait_too_long_is_refused_and_it_costs_nothing():
    limit = RateLimit(rate=1, burst=1, timeout=2)
    assert [limit.wait("a", now=0.0) for _ in range(5)] == pytest.approx([0, 1, 2, None, None])
    assert limit.wait("a", now=1.0) == pytest.approx(2)
    assert limit.wait("a", now=1.0, cost=3, done=True) == pytest.approx(5)  # what is done costs in any case
