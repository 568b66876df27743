"""Every private name of Gradio that the page uses or replaces. No other file of the page touches one.

Any version of Gradio may change these names. `check` looks for each when the page starts, and reports each change in
one sentence. Where a missing name would make the server unsafe, the page does not start.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import inspect
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from pkgutil import resolve_name
from types import SimpleNamespace
from typing import Any

from starlette.exceptions import HTTPException
from starlette.routing import Match


@contextlib.contextmanager
def _no_stubs() -> Iterator[None]:
    """Within, `import gradio` makes no stub file (.pyi) for each of its components, which took 1.2 of its 2.9 seconds.

    It makes none for a class in no file.
    """
    plain = inspect.getfile

    def getfile(what: Any) -> str:
        if isinstance(what, type) and what.__module__.startswith("gradio."):
            raise OSError
        return plain(what)

    inspect.getfile = getfile
    try:
        yield
    finally:
        inspect.getfile = plain


with _no_stubs():
    import gradio as gr
    import gradio.blocks
    import gradio.exceptions
    import gradio.networking
    import gradio.processing_utils
    import gradio.routes
    import gradio.state_holder
    import gradio.utils

_log = logging.getLogger(__name__)
_REFUSED = "error: {} Install a version that requirements.txt names."
_PATIENCE = 120  # seconds that a tool waits for each answer of this server
_UNREAD, _UNHEARD = 200, 60  # messages of a session, once nobody has read one for so many seconds
_MCP, _QUEUE = "gradio.mcp.GradioMCPServer", "gradio.queueing.Queue"
UNSAFE = {
    "gradio.processing_utils.async_ssrf_protected_get": "it may fetch any address that a client names",
    f"{_MCP}.simplify_filedata_schema": "it may fetch any address that an agent names",
    "gradio.processing_utils._check_allowed": "it may read a file of another visitor",
    "gradio.routes.secure_url_stream_response": "it may fetch any address that a client names",
    "gradio.routes.file_fetch": "it may send a file of another visitor",
    "gradio.Image.preprocess": "it opens pictures of a camera where no limit holds",
}
USES = UNSAFE | {
    f"{_MCP}._get_or_create_client": "the first calls of agents time out",
    "gradio.mcp.Client": "calls of agents time out on a busy server",
    f"{_MCP}._execute_tool_without_progress": "forty calls of agents block the server",
    f"{_MCP}.get_base64_data": "an agent's pictures block the server",
    f"{_MCP}.create_mcp_server": "agents get no instructions",
    f"{_MCP}.postprocess_output_data": "agents cannot read results as JSON",
    "gradio.context.LocalContext.event_id": "a call goes on when its client disconnects",
    "gradio.Blocks.queue._queue": "callers of the API can close pages that are open",
    f"{_QUEUE}.pending_messages_per_session": "callers of the API can close pages that are open",
    f"{_QUEUE}.pending_event_ids_session": "the server never forgets a session's events",
    "gradio.state_holder.SessionState": "each call of the API blocks the server, and each action takes memory",
    "gradio.Blocks.default_config": "each call of the API blocks the server for a moment",
    "gradio.EventData._data": "a click on a picture or a set does nothing",
    "gradio.blocks.Block._id": "an answer on its way may undo what the user moves",
    "gradio.utils.is_static_file": "a refusal of a file shows an error of Python",
    "gradio.utils.diff": "a browser on a slow line may show a wrong answer",
    "gradio.networking.url_ok": "the page may not start on a busy machine",
}
"""What is lost without each name, as the end of a sentence. Without an unsafe one the page does not start."""

ROUTES = (
    *(f"POST /gradio_api/{end}" for end in ("upload", "queue/join", "call/sample")),
    *(f"GET /gradio_api/{end}" for end in ("queue/data", "call/sample/an-event", "file=https://example.org")),
    "GET /gradio_api/proxy=https://example.org",
)
"""Requests that `middleware` and `uploads` know by their addresses."""


def file_of(camera: gr.Image) -> None:
    """Let this component pass the path of its picture on. Gradio would open the file in this process."""
    camera.preprocess = lambda payload: payload and payload.path  # type: ignore[method-assign]


def data_of(event: gr.EventData) -> dict[str, Any]:
    """What the browser sent with an event; nothing where that is no dictionary."""
    data = getattr(event, "_data", None)
    return data if isinstance(data, dict) else {}


def triggered(number: str, components: Iterable[Any]) -> Any:
    """Which of these components has this number in the page, if any."""
    return next((one for one in components if str(getattr(one, "_id", None)) == number), None)


def check() -> None:
    """Warn of each name that is gone. Raises SystemExit where one of them matters for security."""
    gone = {name: f"Gradio {gr.__version__} has no {name} any more, so {USES[name]}." for name in USES if _gone(name)}
    if unsafe := [gone[name] for name in UNSAFE if name in gone]:
        raise SystemExit(_REFUSED.format(" ".join(unsafe)))
    for sentence in gone.values():
        _log.warning("%s", sentence)


def _gone(name: str) -> bool:
    """Whether its owner, a module or a class, has no such name, and makes none in `__init__`; or a function, none."""
    owner, _, attribute = name.rpartition(".")
    try:
        found = resolve_name(owner)
    except (ImportError, AttributeError):
        return True
    maker = getattr(found.__init__ if isinstance(found, type) else found, "__code__", None)
    return not hasattr(found, attribute) and attribute not in getattr(maker, "co_names", ())


@functools.cache
def install() -> None:
    """`check`, then replace the functions that do not suit a server. Done once in a process."""
    check()
    for module, name, ours in (
        (gradio.processing_utils, "async_ssrf_protected_get", lambda _: _fetch_nothing),
        # Gradio waits for its own page for three seconds, too short on a busy machine.
        (gradio.networking, "url_ok", lambda plain: lambda url: any(plain(url) for _ in range(20))),
        (gradio.processing_utils, "_check_allowed", _refusing_in_words),
        (gradio.routes, "file_fetch", _only_uploads),
        (gradio.routes, "secure_url_stream_response", lambda _: _stream_nothing),
        # The page has none, and Gradio fails on some paths where it looks for one.
        (gradio.utils, "is_static_file", lambda _: lambda _: False),
        (gradio.utils, "diff", lambda _: _whole),
        (gradio.state_holder, "SessionState", _light),
    ):
        if hasattr(module, name):  # else `check` has reported it
            setattr(module, name, ours(getattr(module, name)))


def check_routes(app: Any) -> None:
    """Raise SystemExit where the middleware would not know the address of an upload or a call."""
    for route in ROUTES:
        method, path = route.split()
        request = {"type": "http", "method": method, "path": path, "root_path": "", "headers": []}
        if not any(one.matches(request)[0] is Match.FULL for one in app.routes):
            found = f"Gradio {gr.__version__} does not answer {route} any more. Its new address is unprotected."
            raise SystemExit(_REFUSED.format(found))


async def _fetch_nothing(url: str) -> Any:
    """Gradio would fetch a file from its address, whatever its size."""
    raise gr.Error("This server fetches no files from addresses. Upload the file.", print_exception=False)


async def _stream_nothing(*_: Any) -> Any:
    """Gradio would pass a file of any size on."""
    raise HTTPException(403, "This server fetches no files of other servers.")


def is_upload(path: Any) -> bool:
    """Whether a path lies in Gradio's folder of uploads and results as it is written.

    No link is followed. One in /proc leads to each file that this process has open, and does not say whose it is.
    """
    return Path(gradio.utils.get_upload_folder()) in Path(os.path.abspath(path)).parents


def _refusing_in_words(plain: Callable) -> Callable:
    """Gradio's own refusal of a file that was not uploaded names the folder that the server runs in, and it follows a
    link into the folder of uploads."""

    def check_allowed(path: Any, uploaded: bool) -> None:
        try:
            allowed = not uploaded or is_upload(path)
            plain(path, uploaded)
        except (gradio.exceptions.InvalidPathError, OSError, ValueError):
            allowed = False
        if not allowed:
            raise gr.Error("Only uploaded files are read. Upload the file.", print_exception=False)

    return check_allowed


def _only_uploads(plain: Callable) -> Callable:
    """Gradio sends files at two addresses, and follows links."""

    def file_fetch(path: Any, *how: Any, **named: Any) -> Any:
        if not is_upload(path):
            raise HTTPException(403, "Only uploads and results are sent.")
        return plain(path, *how, **named)

    return file_fetch


def _whole(before: Any, after: Any) -> list[list[Any]]:
    """What Gradio sends when one answer follows another: all of the new answer, or nothing where it is the same.

    Its own differences change the earlier value in place. A value that came in the same frame would be lost.
    """
    return [] if before == after else [["replace", [], after]]


def _light(plain: Any) -> Any:
    """Gradio's state of a session, without a description of every component of the page, which its deep links need.

    The page has none. For each call of the API, a session of its own, that took half a megabyte and 35 ms.

    An update makes a new component in the place of an input. Gradio's has a number of its own, by which it is kept once
    more when it is read next: a session grew with each action, by 0.1 MB in the Studio.
    """

    class Light(plain):
        def __init__(self, blocks: Any) -> None:
            super().__init__(SimpleNamespace(default_config=blocks.default_config, blocks={}))

        def __setitem__(self, key: int, value: Any) -> None:
            if isinstance(value, gradio.blocks.Block):
                value._id = key
            super().__setitem__(key, value)

    return Light


def keep_pages(demo: gr.Blocks) -> None:
    """Call this after `demo.queue`. Then API calls close no open page.

    Gradio keeps messages for 2,000 sessions. Each call is one: ten a second would close pages after three minutes. Nor
    does a session keep all messages that nobody reads: each may have a hundred thumbnails. A slow reader misses none,
    since a message may say no more than that nothing changed.
    """
    queue: Any = getattr(demo, "_queue", None)
    if not hasattr(queue, "pending_messages_per_session") or not hasattr(queue, "pending_event_ids_session"):
        return  # `check` has reported it
    plain, events = queue.pending_messages_per_session, queue.pending_event_ids_session

    class Unread(asyncio.Queue):
        def __init__(self) -> None:
            super().__init__()
            self.taken = time.monotonic()

        async def get(self) -> Any:
            self.taken = time.monotonic()
            return await super().get()

    class Messages(type(plain)):
        def __setitem__(self, session: str, _: Any) -> None:
            super().__setitem__(session, Unread())

        def __getitem__(self, session: str) -> Any:
            self.move_to_end(session)  # the least recently used one goes first
            messages = super().__getitem__(session)
            while messages.qsize() >= _UNREAD and time.monotonic() - messages.taken > _UNHEARD:
                messages.get_nowait()
            return messages

        def popitem(self, last: bool = True) -> Any:
            session, messages = super().popitem(last)
            events.pop(session, None)  # else kept for ever
            return session, messages

    queue.pending_messages_per_session = Messages(plain.max_size)


def current_event() -> str | None:
    """Gradio's name of the event that this thread answers."""
    event = getattr(resolve_name("gradio.context.LocalContext"), "event_id", None)
    return event and event.get(None)


@functools.cache
def serve_tools(schema: Callable[[Any], Any], parts: Callable[[Any], Sequence[Any]], instructions: str) -> None:
    """Have launches serve tools of agents, with this schema of a tool's arguments, and these parts of an output.

    Each tool is marked as one that changes nothing, and gives the same for the same arguments.
    """
    module: Any = resolve_name("gradio.mcp")

    one_at_a_time = threading.Lock()
    # It asks this server, which may let a request wait for ten seconds; httpx waits for five.
    module.Client = functools.partial(module.Client, httpx_kwargs={"timeout": _PATIENCE})

    class Tools(module.GradioMCPServer):
        def _get_or_create_client(self) -> Any:
            with one_at_a_time:  # else each of the first calls makes one, by requests for which no thread is left
                return super()._get_or_create_client()

        # Gradio 6.31 looks for the files of a list in the wrong place, and would fetch them from any address.
        def simplify_filedata_schema(self, full: dict[str, Any]) -> tuple[dict[str, Any], list[list[str | int]]]:
            return schema(super().simplify_filedata_schema(full)[0]), []

        def create_mcp_server(self) -> Any:
            checked: Any = self.Server

            class Unchecked(checked):
                def call_tool(self, **_: Any) -> Any:  # else a wrong argument, such as a whole picture, comes back
                    return super().call_tool(validate_input=False)

            self.Server = Unchecked
            types, server = self.types, super().create_mcp_server()
            server.instructions, plain = instructions, server.request_handlers[types.ListToolsRequest]

            async def marked(request: Any) -> Any:
                found = await plain(request)
                for tool in found.root.tools:
                    tool.annotations = types.ToolAnnotations(
                        readOnlyHint=True, destructiveHint=False, idempotentHint=True, openWorldHint=False
                    )
                return found

            server.request_handlers[types.ListToolsRequest] = marked
            return server

        async def _execute_tool_without_progress(self, job: Any) -> list[Any]:
            return [await asyncio.wrap_future(job.future)]  # Gradio's holds one of 40 threads, which all requests share

        def get_base64_data(self, image: Any, format: str) -> str:
            # The file as it is. Gradio would encode it anew, and meanwhile answer nobody.
            return base64.b64encode(Path(image.filename).read_bytes()).decode()

        def postprocess_output_data(self, data: Any, root_url: str) -> list[Any]:
            outputs = data[0] if len(data) == 1 and isinstance(data[0], list | tuple) else data
            return super().postprocess_output_data([part for output in outputs for part in parts(output)], root_url)

    module.GradioMCPServer = Tools  # launch takes the class of this name
