"""The endpoints as tools of agents, called by an MCP client over HTTP."""

import asyncio
import base64
import contextlib
import io
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image

from demo.server import admission, middleware
from demo.server.api import SERVED, serve_tools

from ...helpers import TIMEOUT, apart
from ..conftest import waited

mcp = pytest.importorskip("mcp", reason="tools for agents are optional and need the package mcp")


@pytest.fixture(scope="module")
def tools_of(served):
    """`tools_of()` lists the tools, `tools_of("initialize")` says what they are for.

    `tools_of(name, **arguments)` calls one, with the tiny model.
    """
    from mcp.client.session import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async def ask(name, arguments):
        async with (
            streamable_http_client(f"{served}/gradio_api/mcp/") as (reading, writing, _),
            ClientSession(reading, writing) as session,
        ):
            opened = await session.initialize()
            if name == "initialize":
                return opened
            return await (session.call_tool(name, arguments) if name else session.list_tools())

    small = {"prior": "tiny.safetensors", "align": "never"}
    # Playwright has a loop in this thread.
    return lambda name=None, **arguments: apart(asyncio.run, ask(name, small | arguments))


def picture(colour):
    """A file as an agent gives it."""
    Image.new("RGB", (16, 16), colour).save(buffer := io.BytesIO(), "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def words(answer):
    return " ".join(content.text for content in answer.content if content.type == "text")


def told(answer):
    """The facts, which come last."""
    assert not answer.isError, words(answer)
    return json.loads(answer.content[-1].text)


def test_every_endpoint_is_a_tool_and_nothing_else_is(tools_of):
    tools = {tool.name: tool for tool in tools_of().tools}
    assert sorted(tools) == sorted(["info", *SERVED])
    assert tools["sample"].inputSchema["required"] == ["evidence"]
    assert "resemble the evidence" in tools["sample"].description
    assert "base64" in tools["sample"].inputSchema["properties"]["evidence"]["items"]["format"]
    assert all(tool.annotations.readOnlyHint and tool.annotations.idempotentHint for tool in tools.values())
    assert all(f"`{name}`" in tools_of("initialize").instructions for name in ("info", "sample", "condition"))


def test_another_version_of_mcp_is_refused_in_words(monkeypatch, caplog):
    monkeypatch.setattr("demo.server.api.version", lambda _: "2.0.1")
    assert not serve_tools() and "mcp 2.0.1 is installed. Tools for agents need mcp 1" in caplog.text


@pytest.mark.parametrize(("how", "pictures"), [({}, 1), ({"format": "images"}, 4)])
def test_samples_of_pictures_are_shown_one_by_one_with_their_facts(tools_of, how, pictures):
    answer = tools_of("sample", evidence=[picture("orange"), picture("navy")], n=4, seed=3, **how)
    facts = told(answer)
    shown = [content for content in answer.content if content.type == "image"]
    assert len(shown) == pictures
    with Image.open(io.BytesIO(base64.b64decode(shown[0].data))) as image:
        assert image.width >= 16 and len(image.convert("RGB").getcolors(1 << 20)) > 8
    assert facts["m"] == 2 and facts["recipe"]["seed"] == 3
    assert [image["used"] for image in facts["evidence"]] == [True, True]


def test_a_posterior_of_one_tool_is_evidence_of_another(tools_of):
    """By the address that the first tool gave, though it is of a machine that no server would be sent to."""
    posterior = tools_of("condition", evidence=[picture("orange")], lam_ratio=0.25)
    address = next(one.text for one in posterior.content if one.type == "text" and one.text.startswith("http"))
    assert told(tools_of("sample", evidence=[address], n=1))["recipe"]["lam_ratio"] == 0.25


def test_classes_of_pictures(tools_of):
    examples = {"warm": [picture("red"), picture("orange")], "cold": [picture("blue"), picture("navy")]}
    assert told(tools_of("classify", examples=examples, images=[picture("red")]))["classes"] == {"warm": 2, "cold": 2}


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("data:image/png;base64,!!!!", "not base64"),
        ("/etc/passwd", "only uploaded files are read"),
        ("http://127.0.0.1:1/a.png", "only uploaded files are read"),
        ("http://127.0.0.1/gradio_api/file=/etc/passwd", "only uploaded files are read"),
    ],
)
def test_what_is_no_picture_is_refused_in_words(tools_of, given, why):
    answer = tools_of("align", images=[given])
    assert answer.isError and why in words(answer), words(answer)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [({"evidence": picture("red")}, "at least one file"), ({"n": 1000}, "n is 1000; the most is 128.")],
)
def test_a_wrong_argument_is_refused_in_a_sentence_that_repeats_no_picture(tools_of, wrong, why):
    """The schema's own refusal would."""
    answer = tools_of("sample", **{"evidence": [picture("red")]} | wrong)
    assert answer.isError and why in words(answer) and "base64" not in words(answer), words(answer)


def test_an_infinite_number_is_taken(tools_of):
    drawn = tools_of("sample", evidence=[picture("red")], n=1, method="posterior", lam_ratio="inf")
    assert told(drawn)["recipe"]["lam_ratio"] == "inf"


def asked(number, name="align", **given):
    """A call of an agent, as it is sent."""
    align = {"align": "never"} if name == "align" else {}
    params = {"name": name, "arguments": {"prior": "tiny.safetensors", **align, **given}}
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}


@pytest.fixture
def agent(served):
    """`agent(number)` is the client of an agent; each has an address of its own."""
    accept = {"accept": "application/json, text/event-stream"}
    with contextlib.ExitStack() as stack:
        yield lambda number: stack.enter_context(
            httpx.Client(base_url=served, timeout=TIMEOUT, headers=accept | {"x-forwarded-for": f"192.0.2.{number}"})
        )


def test_an_agent_that_hangs_up_while_it_works_or_waits_or_at_once_is_forgotten(agent, hold, served, monkeypatch):
    monkeypatch.setattr(admission.AGENTS, "each", 1)
    held, request = hold("faces"), json.dumps(asked(1, images=[picture("red")])).encode()
    address = urlsplit(served)

    def send():
        line = socket.create_connection((address.hostname, address.port))
        head = f"POST /gradio_api/mcp/ HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: {len(request)}\r\n"
        head += "Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\n\r\n"
        line.sendall(head.encode() + request)
        return line

    with contextlib.closing(send()):
        assert held.begun.wait(TIMEOUT)
        waiting = [send() for _ in range(8)]
        waited(lambda: len(admission.AGENTS._requests) == 9)
        for line in waiting:
            line.close()
        waited(lambda: len(admission.AGENTS._requests) == 1)
    assert held.cancelled.wait(TIMEOUT)
    waited(lambda: not admission.AGENTS._requests and not admission.API._requests)
    monkeypatch.setattr(admission.AGENTS, "each", 4)
    for seconds in (0, 0.005, 0.01, 0.02, 0.04):  # before its call has begun, and after
        line = send()
        time.sleep(seconds)
        line.close()
        waited(lambda: not admission.AGENTS._requests and not admission.API._requests)
    assert '"isError":false' in agent(1).post("/gradio_api/mcp/", json=asked(1, "info")).text
    assert not admission.API._requests, "no call runs for nobody"


def test_agents_that_wait_delay_nobody_else(agent, hold, served, monkeypatch):
    """Gradio's own way holds one of the 40 threads that all requests share."""
    monkeypatch.setattr(admission.AGENTS, "total", 48)
    held, request = hold("faces"), asked(1, images=[picture("red")])
    with ThreadPoolExecutor(48) as threads:
        clients = [agent(number) for number in range(12)]
        calls = [threads.submit(clients[n % 12].post, "/gradio_api/mcp/", json=request) for n in range(48)]
        try:
            waited(lambda: len(admission.AGENTS._requests) > 40)
            other = httpx.post(f"{served}/gradio_api/call/info", json={"data": ["tiny.safetensors"]}, timeout=TIMEOUT)
            assert other.status_code == 200 and httpx.get(served, timeout=TIMEOUT).status_code == 200
            assert len(admission.AGENTS._requests) > 40, "they wait all the while"
        finally:
            held.go_on.set()
        answers = [call.result().text for call in calls]
        assert not [answer for answer in answers if '"isError":false' not in answer]


def test_an_agent_waits_until_it_is_within_its_rate(agent, monkeypatch):
    """Longer than the five seconds after which httpx gives up."""
    monkeypatch.setattr(middleware, "RATE", admission.RateLimit(rate=1 / 6, burst=1, timeout=10))
    answer = agent(1).post("/gradio_api/mcp/", json=asked(1, images=[picture("red")])).text
    assert '"isError":false' in answer, answer


def test_an_agent_that_asks_for_too_much_is_refused(agent, hold, monkeypatch):
    monkeypatch.setattr(admission.AGENTS, "each", 1)
    monkeypatch.setattr(admission.AGENTS, "waiting", 0)
    held, client, request = hold("faces"), agent(1), asked(1, images=[picture("red")])
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(client.post, "/gradio_api/mcp/", json=request)
        assert held.begun.wait(TIMEOUT)
        second = agent(1).post("/gradio_api/mcp/", json=request)
        assert second.status_code == 429 and "Too many requests" in second.json()["detail"]
        held.go_on.set()
        assert first.result().status_code == 200
    for way in ("sse", "http", "messages/x", "http/"):
        assert client.post(f"/gradio_api/mcp/{way}", json=request).status_code == 404
    assert client.get("/gradio_api/mcp/schema").status_code == 200  # which the Hub reads
