"""How handlers are called, and how errors are shown."""

import asyncio
import contextlib
import logging
import time
from types import SimpleNamespace

import gradio as gr
import httpx
import pytest
from anyio import CapacityLimiter
from gradio_client import Client
from gradio_client.exceptions import AppError

from demo.server import admission
from demo.server.admission import EVENTS, PAGE
from demo.server.errors import message_of
from demo.server.events import _call, _Sent, on
from demo.server.state import Session
from transflow_core.runtime.worker import Cancelled, _current_client

from ...helpers import TIMEOUT
from ..conftest import waited

NOTHING = {"__type__": "update"}
SEEN = 0  # the browser has set no answer yet
ERRORS = {
    "refuses": ValueError("<img src=x onerror=alert(1)> in /root/secret/place/file.txt"),
    "breaks": RuntimeError("/root/secret of the program"),
    "too large": MemoryError("Unable to allocate 9 GiB for an array"),
    "given up": Cancelled(),
}


def spoken(client, words, name):
    """What a handler said in steps, but for that which changes nothing."""
    job = client.submit(words, SEEN, api_name=name)
    job.result()
    return [one for one, _ in job.outputs() if one != NOTHING]


@pytest.fixture(scope="module")
def client():
    """A page of a few handlers, each an endpoint by its name."""
    with gr.Blocks() as page:
        given, told = gr.Textbox(), gr.Textbox("as it was")

        def public(handler, outputs=told, name="", **how):
            name = name or handler.__name__
            on(given.submit, handler, given, outputs, api_visibility="public", api_name=name, **how)
            return handler

        @public
        def fails(session, words):
            raise ERRORS[words]

        @public
        def given_up_midway(session, words):
            yield {told: words}
            raise Cancelled

        @public
        def who(session, words):
            return {told: f"{session.id} {words}"}

        @public
        def whose(session, words):
            return {told: " ".join(_current_client())}

        @public
        def whose_step(session, words):
            yield {told: " ".join(_current_client())}

        @public
        def steps(session, words):
            for word in words.split():
                yield {told: word}

        @public
        def reads(session, words):
            return {told: words}

        @public
        def waits(session, words):
            with (yield session.queued("part")):
                yield {told: words}

        public(lambda *given: waits(*given), name="waits_whole")

        def sets(session, words):
            return {given: words}

        public(sets, given)
        on(given.input, reads, given, told, api_visibility="public", api_name="hears")
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, show_error=True)
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.closing(page),
        contextlib.closing(Client(url, verbose=False)) as client,
    ):
        patch.setattr(EVENTS, "timeout", None)  # nothing here says who listens
        yield client


def test_a_handler_has_its_visitors_session_in_front(client):
    session, words = client.predict("hello", SEEN, api_name="/who")[0].split()
    assert words == "hello" and session == client.session_hash
    assert client.predict("again", SEEN, api_name="/who")[0] == f"{session} again"


@pytest.mark.parametrize("name", ["/whose", "/whose_step"])
def test_the_address_has_its_turn_before_its_session(client, name):
    job = client.submit("x", SEEN, api_name=name)
    job.result()
    assert job.outputs()[0][0] == f"127.0.0.1 {client.session_hash}"


def test_a_value_that_the_browser_has_not_set_yet_is_the_servers(client):
    """Gradio's script may call a handler while it still sets the answer to another one."""
    first = client.predict("before", api_name="/reads")
    assert first[0] == "before"
    assert client.predict("of a link", api_name="/sets")[0] == "of a link"
    late, number = client.predict("before", first[1], api_name="/reads")
    assert late == "of a link"
    assert client.predict("by the user", number, api_name="/reads")[0] == "by the user"


def test_what_the_user_moves_is_later_than_an_answer_that_is_on_its_way(client):
    """It is set again, since that answer will replace it in the page; but not over what the user moved since."""
    seen = client.predict("before", api_name="/reads")[1]
    after = client.predict("of a link", api_name="/sets")[1]
    (event,) = (one for one in client.config["dependencies"] if one["api_name"] == "hears")
    ((given, _),), asked = event["targets"], {"data": ["by the user", seen], "session_hash": client.session_hash}
    moves = Session._all[client.session_hash].state(_Sent).moves
    for trigger, later, shown in (
        ("", 0, ["of a link", None]),
        (f"{given}", 0, ["by the user", "by the user"]),
        (f"{given}", 9, ["by the user", None]),
    ):
        client.predict("of a link", api_name="/sets")
        moves.update(dict.fromkeys(moves, later))
        answer = httpx.post(f"{client.src}gradio_api/run/hears", json=asked, headers={"x-trigger": trigger}).json()
        *values, number = answer["data"]
        assert [one if isinstance(one, str) else None for one in values] == shown and number > after


def test_the_page_of_whoever_comes_back_too_late_opens_anew(client):
    """And whatever it asks for first does nothing: it is about what only the page still has."""
    number = client.predict("x", SEEN, api_name="/who")[1]
    Session._all.pop(client.session_hash).close()
    for _ in range(2):
        assert client.predict("x", number, api_name="/who")[1] == "forgotten"


def test_events_of_one_address_leave_threads_to_others(client):
    """However many sessions they name: each may hold a thread while it runs."""
    with contextlib.ExitStack() as stack:
        for _ in range(EVENTS.each):
            stack.enter_context(asyncio.run(EVENTS.request("127.0.0.1").admitted()))
        for name in ("/who", "/steps"):
            with pytest.raises(AppError, match="Too many requests are waiting"):
                client.predict("x", SEEN, api_name=name)
        with asyncio.run(EVENTS.request("9.9.9.9").admitted()):
            pass
    assert client.predict("x", SEEN, api_name="/who")


@pytest.mark.parametrize("name", ["/waits", "/waits_whole"])
def test_a_handler_that_waits_for_its_visitors_earlier_request_holds_no_thread(client, name, monkeypatch):
    """Where one thread is all that there are, another handler runs meanwhile."""
    monkeypatch.setattr(admission, "_THREADS", CapacityLimiter(1))
    with asyncio.run(PAGE.request((client.session_hash, "part")).admitted()):
        waiting = client.submit("by and by", SEEN, api_name=name)
        waited(lambda: len(PAGE._requests) == 2)
        assert client.predict("x", SEEN, api_name="/who")
        assert not waiting.done()
    waiting.result(TIMEOUT)
    assert waiting.outputs()[0][0] == "by and by"
    assert not PAGE.busy((client.session_hash, "part"))


def test_events_of_a_visitor_begin_in_the_order_in_which_they_came(client):
    """By the numbers of the page. Each goes on at once until it waits in a queue, however busy the threads are."""
    begun = []

    def steps(session, number):
        yield {}
        time.sleep(0.002 * (number % 3))  # a busy thread
        begun.append(number)
        with (yield session.queued("part")):
            yield {}

    call = _call(steps, False, None, (), None)

    async def all_of(number):
        of = {"session_hash": "ordered", "client": SimpleNamespace(host="8.8.8.8"), "headers": {"x-call": str(number)}}
        return [one async for one in call(SimpleNamespace(**of), number)]

    async def main():
        await asyncio.gather(*map(all_of, (1, 2, 4, 3, 7, 6, 5, 8, 9, 10, 12, 11)))

    asyncio.run(main())
    assert begun == list(range(1, 13))


@pytest.mark.parametrize("number", ["9" * 5000, "-1", "1.5", "x", "9" * 9])
def test_a_number_that_no_page_gives_holds_up_nothing(number):
    shown = gr.HTML()
    call = _call(lambda session: {shown: "said"}, False, None, (), shown)
    of = {"session_hash": "numbers", "client": SimpleNamespace(host="8.8.8.8"), "headers": {"x-call": number}}
    assert asyncio.run(call(SimpleNamespace(**of)))


@pytest.mark.parametrize("end", [None, *ERRORS.values()], ids=["ends", *ERRORS])
@pytest.mark.parametrize("in_steps", [True, False])
def test_a_signal_changes_once_a_handler_is_over_however_it_ends(in_steps, end):
    shown, number, over = gr.HTML(), gr.HTML(), gr.HTML()

    def steps(session):
        yield {shown: "begun"}
        if end:
            raise end

    def whole(session):
        if end:
            raise end
        return {shown: "begun"}

    call = _call(steps if in_steps else whole, False, None, (), number, over)
    request = SimpleNamespace(session_hash="one", client=SimpleNamespace(host="8.8.8.8"), headers={})

    async def main():
        said = []
        with contextlib.suppress(gr.Error):
            async for one in call(request):
                said.append([*one])
        return said

    once = [[shown, number]] if in_steps or not end else []
    assert asyncio.run(main()) == [*once, [over, number]]


def test_a_handler_may_go_in_steps(client):
    assert spoken(client, "one two three", "/steps") == ["one", "two", "three"]
    # Whoever says nothing changes nothing: an empty value would be one.
    assert spoken(client, "", "/steps") == []


def test_the_page_copies_no_output_for_each_step(client):
    """Gradio's script would: of ten classes of digits, two thirds of the page's work."""
    outputs = {one for event in client.config["dependencies"] for one in event["outputs"][:-1]}
    assert outputs
    for event in client.config["dependencies"]:
        assert event["show_progress_on"] and not outputs.intersection(event["show_progress_on"])


def test_work_that_was_given_up_changes_nothing(client):
    assert client.predict("given up", SEEN, api_name="/fails")[0] == NOTHING
    assert spoken(client, "kept", "/given_up_midway") == ["kept"]


@pytest.mark.parametrize("name", ["/steps", "/given_up_midway"])
def test_the_end_of_a_handler_does_not_say_again_what_it_said(client, name):
    """It comes when its turn is over: what the page shows by then may be another's."""
    assert client.submit("word", SEEN, api_name=name).result()[0] == NOTHING


@pytest.mark.parametrize(
    ("words", "message", "logged"),
    [
        ("refuses", "&lt;img src=x onerror=alert(1)&gt; in file.txt", ""),
        ("too large", "not enough free memory", ""),
        ("breaks", "try again", "secret of the program"),
    ],
)
def test_errors_are_told_without_markup_and_places_and_faults_are_written_down(client, caplog, words, message, logged):
    with caplog.at_level(logging.ERROR), pytest.raises(AppError) as refused:
        client.predict(words, SEEN, api_name="/fails")
    assert message in str(refused.value) and "secret" not in str(refused.value)
    assert logged in caplog.text and bool(logged) == bool(caplog.records)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("give more"), "give more"),
        (ValueError("/root/my models/x.pt: damaged"), "x.pt: damaged"),
        (ValueError("'/srv/models/x.pt' is damaged"), "'x.pt' is damaged"),
        (ValueError("hf://owner/repo/file and/or 3/4 or 3 / 4"), "hf://owner/repo/file and/or 3/4 or 3 / 4"),
        (
            FileNotFoundError(2, "No such file", "/root/x"),
            "This file has expired: files are kept for 60 minutes. Add it again.",
        ),
        (OSError(28, "No space left", "/root/x"), "The disk of this server is full. Try again in a few minutes."),
        (OSError(30, "Read-only", "/root/x"), "This server cannot write to its disk, so it cannot make the file."),
        (OSError(111, "Connection refused", "/root/x"), "Connection refused"),
        (OSError("no route to the Hub"), "no route to the Hub"),
        (ValueError(), "ValueError"),
    ],
)
def test_the_message_of_an_error(error, message):
    assert message_of(error) == message
