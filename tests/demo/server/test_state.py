"""A visitor's session: found again, kept by use, and over at some time."""

import shutil
from collections import deque
from types import SimpleNamespace

import pytest

from demo.server import state as sessions
from demo.server.state import Session
from transflow_core.evidence import Evidence


def request(name):
    return SimpleNamespace(session_hash=name)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Seconds that pass when a test says so, and no sessions of other tests."""
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(sessions, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    monkeypatch.setattr(Session, "_all", {})
    monkeypatch.setattr(Session, "_over", deque())
    monkeypatch.setattr(Session, "_swept", 0.0)
    return now


class Results(list):
    pass


def test_each_visitor_has_a_session_and_finds_it_again():
    one, two = Session.of(request("one")), Session.of(request("two"))
    assert Session.of(request("one")) is one is not two
    one.evidence["evidence"] = Evidence(prior="tiny")
    one.state(Results).append(1)
    assert two.evidence == {} and two.state(Results) == [] and one.state(Results) == [1]


def test_a_session_is_kept_as_long_as_it_is_used(clock):
    used, left_alone = Session.of(request("used")), Session.of(request("left alone"))
    left_alone.evidence["evidence"] = Evidence(prior="tiny")
    folder = left_alone.file("a.png").parent
    for _ in range(10):
        clock.seconds += 3600
        assert Session.of(request("used")) is used
    assert left_alone.evidence == {} and not folder.exists()
    back = Session.of(request("left alone"))
    assert back is not left_alone and back.expired and not Session.of(request("used")).expired


def test_a_page_that_is_closed_ends_its_work_and_may_come_back_for_a_while(clock):
    session = Session.of(request("phone"))
    with session.queued("evidence") as cancel:
        Session.disconnected(request("phone"))
        assert cancel.is_set() and not cancel.by_user
    clock.seconds += 60
    assert Session.of(request("phone")) is session
    Session.disconnected(request("phone"))
    clock.seconds += 3600
    Session.of(request("somebody else"))
    assert Session.of(request("phone")) is not session


def test_only_so_many_sessions_are_kept(clock, monkeypatch):
    monkeypatch.setattr(sessions, "_MOST", 3)
    first, second = Session.of(request("0")), Session.of(request("1"))
    Session.of(request("2"))
    assert Session.of(request("0")) is first  # used again: the second is now the oldest
    Session.of(request("3"))
    assert Session.of(request("0")) is first and Session.of(request("1")) is not second


def test_a_folder_that_a_cleaner_took_is_made_anew():
    session = Session.of(request("one"))
    path = session.file("a.txt")
    path.write_text("1")
    assert session.file("a.txt") == path
    shutil.rmtree(path.parent)
    session.file("a.txt").write_text("2")
    folder = session.file("a.txt").parent
    assert list(folder.iterdir()) == [folder / "a.txt"]
    session.close()
    assert not folder.exists()
