"""Where a server computes: a job of each client in turn."""

import itertools
import threading
from types import SimpleNamespace

import pytest

from transflow_core.runtime import worker as worker_module
from transflow_core.runtime.worker import Cancelled, ComputeWorker, Worker, as_client

from ..helpers import TIMEOUT


@pytest.fixture(scope="module")
def compute():
    return ComputeWorker()


@pytest.fixture
def clock(monkeypatch):
    """Each job takes a second, unless it moves the clock itself."""
    seconds = itertools.count()
    monkeypatch.setattr(worker_module, "time", SimpleNamespace(perf_counter=lambda: next(seconds)))


class Busy:
    """A worker that is busy until it is let go: what is submitted meanwhile waits, and is noted when it is done."""

    def __init__(self):
        self.worker, self.done, self._go_on = Worker(), [], threading.Event()
        busy = threading.Event()
        self.worker.submit(lambda: busy.set() or self._go_on.wait())
        busy.wait()

    def submit(self, client, name, *then, **how):
        """A job that notes its name, and submits others: a client and a name each."""
        with as_client(*client.split(" of ")[::-1]):
            return self.worker.submit(lambda: self.done.append(name) or [self.submit(*one) for one in then], **how)

    def finished(self):
        """What was done, in order."""
        self._go_on.set()
        with as_client("the test"):
            while self.worker._waiting:
                self.worker.run(lambda: None)
            self.worker.run(lambda: None)  # the last one was begun before this
        return self.done


LATE = [("quiet", f"q{index}") for index in (1, 2, 3)]
SCHEDULES = {
    "each client keeps its own order": (
        [("many", f"m{index}") for index in range(4)] + [("few", "f0"), ("one", "o0"), ("few", "f1")],
        ["m0", "f0", "o0", "m1", "f1", "m2", "m3"],
    ),
    # A hundred batches of one visitor delay another by one: the first of these submits the light one's work.
    "a client that comes late waits for the job that runs": (
        [("heavy", "h0", ("light", "l")), *(("heavy", f"h{index}") for index in range(1, 100))],
        ["h0", "l", "h1", "h2"],
    ),
    # However many sessions an address names, it has one turn.
    "an address has its turn first, and then one of its sessions": (
        [(f"s{index} of many", f"m{index}") for index in range(50)] + [("s of one", "o0"), ("s of one", "o1")],
        ["m0", "o0", "m1", "o1", "m2"],
    ),
    "sessions of an address take turns": (
        [*((f"a of {one}", f"{one}a{index}") for one in "xy" for index in range(2)), ("b of x", "xb0")],
        ["xa0", "ya0", "xb0", "ya1", "xa1"],
    ),
    # Else a page that was quiet for an hour would have the worker for as long.
    "a client that was away is owed nothing": (
        [("quiet", "q0"), *(("busy", f"b{index}", *(LATE if index == 3 else ())) for index in range(6))],
        ["q0", "b0", "b1", "b2", "b3", "q1", "b4", "q2", "b5", "q3"],
    ),
}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_clients_take_turns(clock, schedule, monkeypatch):
    monkeypatch.setattr(worker_module, "_MOST_SERVED", 10)
    busy, (jobs, expected) = Busy(), SCHEDULES[schedule]
    for job in jobs:
        busy.submit(*job)
    assert busy.finished()[: len(expected)] == expected
    assert len(busy.worker._served) + len(busy.worker._now) <= 12  # those who left are forgotten


def test_long_jobs_do_not_outweigh_short_ones(monkeypatch):
    """Photographs take seconds, and small pictures a tenth: each client has the same time, not as many jobs."""
    busy, clock = Busy(), [0.0]
    monkeypatch.setattr(worker_module, "time", SimpleNamespace(perf_counter=lambda: clock[0]))

    def work(name, seconds):
        busy.done.append(name)
        clock[0] += seconds

    for client, seconds in (("long", 4.0), ("short", 1.0)):
        with as_client(client):
            for _ in range(8):
                busy.worker.submit(work, client, seconds)
    done = busy.finished()
    assert done[:11] == ["long", *["short"] * 4, "long", *["short"] * 4, "long"] and len(done) == 16


def test_the_background_makes_way_for_all_others_and_is_not_held_against_its_client(clock):
    busy = Busy()
    for index in range(3):
        busy.submit("one", f"background {index}", priority="background")
    busy.submit("two", "background of two", priority="background")
    busy.submit("three", "perhaps for nobody", priority="idle")
    busy.submit(
        "one", "first", ("three", "late"), ("two", "two 0"), ("one", "one 0"), ("two", "two 1"), ("one", "one 1")
    )
    busy.submit("two", "second")
    assert busy.finished() == [
        *("first", "second", "late", "two 0", "one 0", "two 1", "one 1"),
        *("background 0", "background of two", "background 1", "background 2", "perhaps for nobody"),
    ]


def test_what_nobody_waits_for_any_more_takes_no_turn(clock):
    busy, cancel, seen = Busy(), threading.Event(), []
    cancelled = [
        busy.submit("one", "cancelled", priority=priority, cancel=cancel) for priority in ("now", "background", "idle")
    ]
    wanted, dropped = busy.submit("one", "wanted", cancel=threading.Event()), busy.submit("one", "dropped")
    assert dropped.cancel()
    with as_client("two"):
        busy.worker.submit(lambda: seen.extend(future.done() for future in cancelled))
    later = busy.submit("one", "later", priority="background")
    cancel.set()
    assert busy.finished() == ["wanted", "later"] and wanted.done() and later.done()
    assert seen == [True] * 3, "those in the background wait for no turn"
    for future in cancelled:
        with pytest.raises(Cancelled):
            future.result()


def test_it_counts_the_clients_that_are_ahead(clock):
    busy = Busy()
    with as_client("me"):
        assert busy.worker.ahead == 1  # the one that runs
        for client in ("one", "one", "two"):
            busy.submit(client, client)
        busy.submit("three", "three", priority="background")
        assert busy.worker.ahead == 3
        busy.finished()
        assert busy.worker.ahead == 0


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_errors_reach_the_caller(compute, error):
    def fails():
        raise error

    with pytest.raises(error):
        compute.run(fails)


def test_a_call_within_a_call_does_not_wait_for_itself(compute):
    assert compute.run(compute.run, lambda a, b: a - b, 5, b=3) == 2


def test_all_priors_of_all_pages_compute_in_one_thread():
    from demo import Engines

    first, second = (
        Engines(device="cpu").get(name).call(threading.current_thread) for name in ("celeba64", "celeba128")
    )
    assert first is second is not threading.current_thread()


@pytest.mark.parametrize("priority", ["background", "idle"])
def test_no_other_job_comes_between_the_jobs_of_a_request(monkeypatch, priority):
    """A request is one small job after another. After photographs were dropped, ten idle ones came between them."""
    monkeypatch.setattr(worker_module, "_QUIET", [threading.TIMEOUT_MAX] * 3)
    worker, done = Worker(), []
    worker.run(done.append, "first")
    later = worker.submit(done.append, "later", priority=priority)
    for name in ("second", "third"):
        worker.run(done.append, name)
    monkeypatch.setattr(worker_module, "_QUIET", [0] * 3)
    worker.run(done.append, "last")
    later.result()
    assert done == ["first", "second", "third", "last", "later"]


@pytest.mark.parametrize("priority", ["background", "idle"])
def test_what_nobody_waits_for_waits_for_what_other_workers_do(priority):
    """Sets of the row are read, and previews made, while no photograph is: both took several times as long."""
    busy, worker, cancel = Busy(), Worker(), threading.Event()
    given_up, later = (worker.submit(lambda: None, priority=priority, cancel=one) for one in (cancel, None))
    worker.run(lambda: None)
    assert not later.done()
    cancel.set()
    with pytest.raises(Cancelled):
        given_up.result(TIMEOUT)
    assert not later.done()
    busy.finished()
    later.result()
