"""A visitor's session: found again, kept by use, and over at some time."""

import asyncio
from types import SimpleNamespace

import pytest

from demo.server import state as sessions
from demo.server.state import Session
from transflow_core.evidence import Evidence

pytestmark = pytest.mark.usefixtures("clock")  # no sessions of other tests


def request(name, address="8.8.8.8"):
    return SimpleNamespace(session_hash=name, client=SimpleNamespace(host=address))


def session(*name):
    return Session.of(request(*name))


class Results(list):
    pass


def test_each_visitor_has_a_session_and_finds_it_again():
    one, two = session("one"), session("two")
    assert session("one") is one is not two
    one.evidence["evidence"] = Evidence(prior="tiny")
    one.state(Results).append(1)
    assert two.evidence == {} and two.state(Results) == [] and one.state(Results) == [1]


def test_a_session_is_kept_as_long_as_it_is_used(clock):
    used, left_alone = session("used"), session("left alone")
    left_alone.evidence["evidence"] = Evidence(prior="tiny")
    folder = left_alone.file("a.png").parent
    for _ in range(10):
        clock.seconds += 3600
        assert session("used") is used
        Session.sweep()
    assert left_alone.evidence == {} and not folder.exists()
    back = session("left alone")
    assert back is not left_alone and session("used") is used


def test_a_page_that_is_closed_ends_its_work_and_may_come_back_for_a_while(clock):
    phone = session("phone")
    with asyncio.run(phone.queued("evidence").admitted()) as cancel:
        Session.disconnected(request("phone"))
        assert cancel.is_set() and not cancel.by_user
    for seconds, same in ((60, True), (3600, False)):
        Session.disconnected(request("phone"))
        clock.seconds += seconds
        Session.sweep()
        assert (session("phone") is phone) == same


@pytest.mark.parametrize(
    ("come", "begun", "seconds"),
    [
        ([1, 3, 2, 5, 4], [1, 2, 3, 4, 5], None),  # however long it takes
        ([57, 58], [57, 58], None),  # the server has forgotten the visitor, or was started again
        ([5, 0, 5, 3], [5, 0, 5, 3], None),  # of no number, or one that was waited for long enough
        ([1, 3], [1, 3], 0),  # one is lost
    ],
)
def test_events_of_a_page_begin_by_their_numbers(come, begun, seconds, monkeypatch):
    monkeypatch.setattr(sessions, "_ON_ITS_WAY", seconds)
    one, order = session("one"), []

    async def begin(number):
        await one.in_order(number)
        order.append(number)

    async def main():
        await asyncio.gather(*map(begin, come))

    asyncio.run(main())
    assert order == begun


def test_new_sessions_of_one_address_close_no_others(monkeypatch):
    monkeypatch.setattr(sessions, "_MOST", 5)
    others = [session(str(index), f"9.9.9.{index}") for index in range(3)]
    flood = [session(f"new {index}") for index in range(20)]
    assert [session(one.id) is one for one in others] == [True] * 3
    assert [one.id in Session._all for one in flood] == [False] * 18 + [True] * 2


def test_an_address_keeps_so_many_sessions_and_loses_those_that_were_closed_first(monkeypatch):
    monkeypatch.setattr(sessions, "_EACH", 3)
    other = session("other", "9.9.9.9")
    ours = [session(name) for name in "abc"]
    Session.disconnected(request("c"))
    for name in "de":
        session(name)
    assert [one.id in Session._all for one in (*ours, other)] == [False, True, False, True]


def test_a_file_replaces_that_of_its_name_until_the_session_ends():
    one = session("one")
    for text in "12":
        (path := one.file("a.txt")).write_text(text)
    assert list(path.parent.iterdir()) == [path]
    one.close()
    assert not path.parent.exists()
