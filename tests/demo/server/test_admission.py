"""Queues: the requests of each client run in order, and wait for no other client's."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from demo.server.admission import Queue
from transflow_core.runtime.worker import Cancelled

TIMEOUT = 60


class Worker:
    """Makes one request in a thread of its own, which runs until `finish`."""

    def __init__(self, pool, queue, client, **how):
        self.queue, self.client, self.how = queue, client, how
        self.running, self.go_on, self.cancel = threading.Event(), threading.Event(), None
        before = set(queue._requests)
        self.done = pool.submit(self._work)
        self.done.add_done_callback(lambda _: self._notify())
        with queue._changed:  # it is in the queue before the next one comes
            assert queue._changed.wait_for(lambda: self.done.done() or set(queue._requests) - before, TIMEOUT)

    def _notify(self):
        with self.queue._changed:
            self.queue._changed.notify_all()

    def _work(self):
        with self.queue.enter(self.client, **self.how) as self.cancel:
            self.running.set()
            assert self.go_on.wait(TIMEOUT)
            return self.cancel.is_set()

    def finish(self):
        assert self.running.wait(TIMEOUT)
        self.go_on.set()
        return self.done.result(TIMEOUT)


@pytest.fixture
def pool():
    with ThreadPoolExecutor(32) as pool:
        yield pool


@pytest.fixture
def start(pool):
    """`start(queue, client)` gives a worker in the queue; at the end, all of them go on."""
    workers = []

    def start(queue, client, **how):
        workers.append(Worker(pool, queue, client, **how))
        return workers[-1]

    yield start
    for worker in workers:
        worker.go_on.set()


def test_requests_of_a_client_run_in_order_and_delay_no_other_client(start):
    queue = Queue()
    first, second, third = (start(queue, "a") for _ in range(3))
    other = start(queue, "b")
    assert other.finish() is False
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


def test_a_user_who_cancels_is_known_from_a_newer_request(start):
    queue = Queue()
    worker = start(queue, "a")
    assert worker.running.wait(TIMEOUT)
    queue.cancel("a")
    assert worker.finish() is True and worker.cancel.by_user


def test_a_client_with_too_many_requests_is_refused_and_others_are_not(start):
    queue = Queue(each=1, waiting=2)
    workers = [start(queue, "a") for _ in range(3)]
    with pytest.raises(ValueError, match="Too many requests are waiting"):
        start(queue, "a").done.result(TIMEOUT)
    assert start(queue, "b").finish() is False
    for worker in workers:
        worker.finish()


def test_a_free_place_goes_to_the_longest_waiting_client_without_a_running_request(start):
    queue = Queue(each=1, total=2)
    a, b = start(queue, "a"), start(queue, "b")
    more_of_a, c = start(queue, "a"), start(queue, "c")
    b.finish()
    assert c.running.wait(TIMEOUT)  # before the second of a, whose first still runs
    assert not more_of_a.running.is_set()
    a.finish()
    assert more_of_a.finish() is False and c.finish() is False


def test_a_request_ends_with_an_error(start):
    queue = Queue()
    with pytest.raises(RuntimeError), queue.enter("a"):
        raise RuntimeError
    assert start(queue, "a").finish() is False
