"""Every private name of Gradio that the page uses or replaces. No other file of the page touches one.

Any version of Gradio may change these names. `check` looks for each when the page starts, and reports each change in
one sentence. Where a missing name would make the server unsafe, the page does not start.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from pkgutil import resolve_name
from types import SimpleNamespace
from typing import Any, NamedTuple

import gradio as gr
import httpx
from starlette.routing import Match

__all__ = [
    "ROUTES",
    "USES",
    "LinkedBlocks",
    "Use",
    "check",
    "check_routes",
    "current_call",
    "data_of",
    "install",
    "keep_pages",
    "serve_tools",
    "upload_folder",
]

_log = logging.getLogger(__name__)


class Use(NamedTuple):
    """A name of Gradio's, and what happens without it.

    Attributes:
        owner: a module or a class, which has the name itself or makes it in `__init__`; or a function that makes it.
        loss: what the page loses, as the end of a sentence.
        security: whether the page must not start without it.
    """

    owner: str
    name: str
    loss: str
    security: bool = False

    def there(self) -> bool:
        """Whether the installed Gradio has it."""
        try:
            owner = resolve_name(self.owner)
        except (ImportError, AttributeError):
            return False
        maker = owner.__init__ if isinstance(owner, type) else owner
        return hasattr(owner, self.name) or self.name in getattr(getattr(maker, "__code__", None), "co_names", ())

    def sentence(self) -> str:
        """The change of an upgrade."""
        return f"Gradio {gr.__version__} has no {self.owner}.{self.name} any more, so {self.loss}."


_MCP = "gradio.mcp.GradioMCPServer"
USES = (
    Use("gradio.utils", "get_upload_folder", "the server does not know which files are uploads", True),
    Use("gradio.processing_utils", "async_ssrf_protected_get", "it may fetch any address that a client names", True),
    Use("gradio.context.LocalContext", "request", "the server does not know who calls the API", True),
    Use("gradio.Request", "request", "a caller's address is not known, and a caller has no limits", True),
    Use(_MCP, "simplify_filedata_schema", "it may fetch any address that an agent names", True),
    Use(_MCP, "_prepare_tool_call_args", "an agent can pretend to be another caller", True),
    Use(_MCP, "mcp_server", "the server does not know where an agent's call comes from", True),
    Use(_MCP, "postprocess_output_data", "agents cannot read results as JSON"),
    Use("gradio.context.LocalContext", "event_id", "a call goes on when its client disconnects"),
    Use("gradio.EventData", "_data", "clicks on samples and on the evidence do nothing"),
    Use("gradio.Blocks", "get_config_file", "links to the page show no picture"),
    Use("gradio.Blocks.queue", "_queue", "callers of the API can close pages that are open"),
    Use("gradio.queueing.Queue", "pending_messages_per_session", "callers of the API can close pages that are open"),
    Use("gradio.queueing.Queue", "pending_event_ids_session", "the server never forgets a session's events"),
    Use("gradio.queueing.Queue", "send_message", "a visitor who leaves causes an error in the log"),
    Use("gradio.queueing.Event", "alive", "the requests of a visitor who left go on"),
    Use("gradio.queueing.Event", "session_hash", "a visitor who leaves causes an error in the log"),
    Use("gradio.queueing.Queue", "ANAYLTICS_CACHE_FREQUENCY", "all visitors wait for statistics after each event"),
    Use("gradio.state_holder", "SessionState", "each call of the API blocks the server for a moment"),
    Use("gradio.Blocks", "default_config", "each call of the API blocks the server for a moment"),
    Use("gradio.utils", "diff", "a browser on a slow line may show a wrong answer"),
    Use("gradio.networking", "url_ok", "the page may not start on a busy machine"),
)  # fmt: skip
"""Every name, and whether the page starts without it."""

ROUTES = (
    ("POST", "upload"),
    ("POST", "queue/join"),
    ("GET", "queue/data"),
    ("POST", "call/sample"),
    ("GET", "call/sample/an-event"),
    ("GET", "file=https://example.org"),
    ("GET", "proxy=https://example.org"),
)
"""Requests that `middleware` knows by their addresses under /gradio_api."""


def check() -> None:
    """Warn of each name that is gone. Raises SystemExit where one of them matters for security."""
    _refuse(use.sentence() for use in USES if use.security and not use.there())
    for use in USES:
        if not use.there():
            _log.warning("%s", use.sentence())


@functools.cache
def install() -> None:
    """`check`, then replace the functions that do not suit a server. Done once in a process."""
    check()
    for owner, name, ours in (
        ("gradio.processing_utils", "async_ssrf_protected_get", lambda _: _fetch_nothing),
        ("gradio.networking", "url_ok", lambda _: _answers),
        ("gradio.utils", "diff", lambda _: _whole),
        ("gradio.state_holder", "SessionState", _light),
    ):
        with contextlib.suppress(ImportError, AttributeError):  # `check` has reported it
            module = resolve_name(owner)
            setattr(module, name, ours(getattr(module, name)))


def check_routes(app: Any) -> None:
    """Raise SystemExit where the middleware would not know the address of an upload or a call."""

    def known(method: str, end: str) -> bool:
        request = {"type": "http", "method": method, "path": f"/gradio_api/{end}", "root_path": "", "headers": []}
        return any(route.matches(request)[0] is Match.FULL for route in app.routes)

    _refuse(
        f"Gradio {gr.__version__} does not answer {method} /gradio_api/{end} any more. Its new address is unprotected."
        for method, end in ROUTES
        if not known(method, end)
    )


def _refuse(sentences: Iterable[str]) -> None:
    if message := " ".join(sentences):
        raise SystemExit(f"error: {message} Install a version that requirements.txt names.")


async def _fetch_nothing(url: str) -> Any:
    """Gradio would fetch a file from its address, whatever its size."""
    raise gr.Error("This server fetches no files from addresses. Upload the file.", print_exception=False)


def _answers(url: str) -> bool:
    """Whether a page can be reached within a minute. Gradio waits for three seconds, too short on a busy machine."""
    try:
        status = httpx.head(url, timeout=60, verify=False).status_code
    except httpx.HTTPError:
        return False
    return status < 400 or status == 401  # it may ask for a password


def _whole(before: Any, after: Any) -> list[list[Any]]:
    """What Gradio sends when one answer follows another: all of the new answer, or nothing where it is the same.

    With Gradio's own differences, its script changes the earlier value in place. Values that came in the same frame,
    and were not shown yet, would be lost.
    """
    return [] if before == after else [["replace", [], after]]


def _light(base: Any) -> type:
    """Gradio's state of a session, without a description of every component of the page.

    Only its deep links need the description, and the page has none. It took half a megabyte for each call of the API,
    which is a session of its own, and 35 ms in which the server answers nobody.
    """

    class SessionState(base):
        def __init__(self, blocks: Any) -> None:
            super().__init__(SimpleNamespace(default_config=blocks.default_config, blocks={}))

    return SessionState


class _Messages(OrderedDict[str, Any]):
    """The messages for each session. The least recently used session goes first.

    In Gradio, the oldest session goes first, and each call of the API is a session. Ten calls a second would close
    every page that was opened more than three minutes ago, with all that it waits for.
    """

    def __init__(self, events: dict[str, set[str]], max_size: int = 2000) -> None:
        super().__init__()
        self._events, self.max_size = events, max_size

    def __getitem__(self, session: str) -> Any:
        self.move_to_end(session)
        return super().__getitem__(session)

    def __setitem__(self, session: str, messages: Any) -> None:
        if session not in self and len(self) >= self.max_size:
            self._events.pop(self.popitem(last=False)[0], None)  # else kept for ever
        super().__setitem__(session, messages)
        self.move_to_end(session)


def keep_pages(demo: gr.Blocks) -> None:
    """Call this after `demo.queue`. Then API calls close no open page, the requests of a visitor who leaves end without
    an error, and nobody waits for statistics."""
    queue: Any = getattr(demo, "_queue", None)
    if not hasattr(queue, "pending_event_ids_session") or not hasattr(queue, "send_message"):
        return  # `check` has reported it
    send, queue.pending_messages_per_session = queue.send_message, _Messages(queue.pending_event_ids_session)

    def send_message(event: Any, message: Any) -> None:
        if event.session_hash in queue.pending_messages_per_session:
            send(event, message)
        else:
            event.alive = False  # the visitor left between two steps of the event

    queue.send_message = send_message
    # After so many events Gradio sums up all events so far, with pandas, for a dashboard that the page does not have.
    queue.ANAYLTICS_CACHE_FREQUENCY = 10**9


class LinkedBlocks(gr.Blocks):
    """Blocks with the picture and the text that links to them show. Gradio has these for `gr.Interface` alone."""

    def link(self) -> dict[str, str]:
        """`thumbnail`, the address of a picture, and `simple_description`."""
        return {}

    def get_config_file(self) -> Any:
        return super().get_config_file() | self.link()


def upload_folder() -> str:
    """Where Gradio puts uploads, and finds the files that it serves."""
    return resolve_name("gradio.utils").get_upload_folder()


def current_call() -> tuple[dict[str, Any], str | None, str | None]:
    """Of the call that this thread answers: its ASGI scope, its session, and its event."""
    context = resolve_name("gradio.context.LocalContext")
    request, event = context.request.get(None), getattr(context, "event_id", None)
    scope = getattr(getattr(request, "request", None), "scope", {})
    return scope, getattr(request, "session_hash", None), event and event.get(None)


def data_of(event: gr.EventData) -> dict[str, Any]:
    """All data of an event of the browser."""
    data = vars(event).get("_data")
    return data if isinstance(data, dict) else {}


@functools.cache
def serve_tools(schema: Callable[[Any], Any], parts: Callable[[Any], Sequence[Any]], caller: Callable) -> None:
    """Have launches serve tools for agents with these functions.

    Args:
        schema: from Gradio's schema of a tool's arguments to that for agents.
        parts: from one output to the parts that an agent reads.
        caller: from an ASGI scope to the caller's address.
    """
    module: Any = resolve_name("gradio.mcp")

    class Tools(module.GradioMCPServer):
        # Gradio 6.31 looks for the files of a list in the wrong place, and would fetch them from any address.
        def simplify_filedata_schema(self, full: dict[str, Any]) -> tuple[dict[str, Any], list[list[str | int]]]:
            return schema(super().simplify_filedata_schema(full)[0]), []

        # Gradio calls its own endpoint with the agent's headers, which may pretend any address.
        def _prepare_tool_call_args(self, name: str, arguments: dict[str, Any]) -> Any:
            endpoint, values, headers, block = super()._prepare_tool_call_args(name, arguments)
            request = self.mcp_server.request_context.request
            if request is not None:
                headers["x-forwarded-for"] = caller(request.scope)
            return endpoint, values, headers, block

        def postprocess_output_data(self, data: Any, root_url: str) -> list[Any]:
            outputs = data[0] if len(data) == 1 and isinstance(data[0], list | tuple) else data
            return super().postprocess_output_data([part for output in outputs for part in parts(output)], root_url)

    module.GradioMCPServer = Tools  # launch takes the class of this name
