"""Queues and rates: the requests of each client run in order, and wait for no other client's."""

import asyncio
import gc
from contextvars import ContextVar
from weakref import ref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.server.admission import Queue, RateLimit
from transflow_core.runtime.worker import Cancelled

from ...helpers import TIMEOUT


def joined(queue, *names, **how):
    """A request in the queue; `queue.remove` ends it."""
    queue.add(request := queue.request(*names, **how))
    return request


def runs(request):
    """Whether its turn has come. Raises what it is refused with."""
    return request.come.done() and request.__enter__() is request


def test_requests_of_a_client_run_in_order_and_delay_no_other_client():
    queue = Queue()
    ours = [joined(queue, "a") for _ in range(3)]
    assert runs(joined(queue, "b"))
    for first, later in ((0, (False, False)), (1, (True, False)), (2, (True, True))):
        assert (runs(ours[0]), *map(runs, ours[1:])) == (True, *later)
        queue.remove(ours[first])
    assert not queue.busy("a")


def test_the_newest_ends_what_runs_and_what_waits():
    queue = Queue()
    running, waiting, other = joined(queue, "a"), joined(queue, "a"), joined(queue, "b")
    newest = joined(queue, "a", newest=True)
    with pytest.raises(Cancelled):
        runs(waiting)
    assert running.is_set() and not running.by_user and not other.is_set()
    assert not runs(newest)  # the one before it must let go first
    queue.remove(running)
    assert runs(newest)


def test_a_request_is_cancelled_by_its_client_or_another_name():
    queue = Queue()
    one, two, other = joined(queue, "a", "page 1"), joined(queue, "b", "page 1"), joined(queue, "c", "page 2")
    queue.cancel("page 1", by_user=False)
    assert [request.is_set() for request in (one, two, other)] == [True, True, False] and not two.by_user
    queue.cancel("c")
    assert other.is_set() and other.by_user


def test_a_request_whose_answer_nobody_waits_for_never_runs():
    queue = Queue(timeout=TIMEOUT)
    assert runs(joined(queue, "a", "stream 1", awaited=True))
    late = joined(queue, "b", "stream 1")
    with queue.awaited("stream 2"):
        assert runs(joined(queue, "c", "stream 2"))  # meanwhile the other is in nobody's way
    assert not runs(late)
    with queue.awaited("stream 1"), queue.awaited("stream 2"):
        assert runs(late) and runs(joined(queue, "d", "stream 1"))
    assert not runs(joined(queue, "e", "stream 1"))
    queue.timeout = 0.05
    with pytest.raises(Cancelled), asyncio.run(queue.request("f", "stream 1").admitted()):
        pass


def test_a_free_place_goes_to_the_longest_waiting_client_without_a_running_request():
    queue = Queue(each=1, total=2)
    a, b, more_of_a, c = (joined(queue, name) for name in "abac")
    queue.remove(b)
    assert runs(c) and not runs(more_of_a)  # before the second of a, whose first still runs
    queue.remove(a)
    assert runs(more_of_a)


def test_a_request_that_ends_with_an_error_leaves_the_queue():
    queue = Queue()
    with pytest.raises(RuntimeError), asyncio.run(queue.request("a").admitted()):
        raise RuntimeError
    assert not queue.busy("a")


def test_a_request_that_nobody_waits_for_any_more_leaves_the_queue():
    async def given_up():
        waiting = asyncio.create_task(queue.request("a").admitted())
        while len(queue._requests) < 2:
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])

    queue = Queue()
    first = joined(queue, "a")
    asyncio.run(given_up())
    assert queue._requests == [first]


def test_what_is_over_and_what_came_with_it_is_forgotten_long_before_its_time_is_up():
    queue, came = Queue(seconds=10 * TIMEOUT, timeout=10 * TIMEOUT), ContextVar("came")

    class Body:
        pass

    async def call():
        came.set(body := Body())
        with await queue.request("a", awaited=True).admitted() as request:
            return ref(body), ref(request)

    async def called():
        found = await asyncio.create_task(call())
        for _ in range(9):  # a task is dropped a few turns later
            await asyncio.sleep(0)
        gc.collect()
        return [one() for one in found]

    assert asyncio.run(called()) == [None, None]


def test_a_closed_queue_drops_what_waits_and_cancels_what_still_runs_in_the_end():
    queue = Queue()
    running, waiting = joined(queue, "a"), joined(queue, "a")
    queue.close()
    for dropped in (waiting, joined(queue, "b")):
        with pytest.raises(ValueError, match="is restarting"):
            runs(dropped)
    assert not running.is_set()
    queue.drain(0)
    assert running.is_set()


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
