"""Every private name of Gradio that the page uses or replaces. No other file of the page touches one.

Any version of Gradio may change these names. `check` looks for each when the page starts, and says in one sentence what
an upgrade changed. Where a missing name would make the server unsafe, the page does not start.
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
    "call_under_way",
    "check",
    "check_routes",
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
        """What an upgrade changed."""
        return f"Gradio {gr.__version__} has no {self.owner}.{self.name} any more, so {self.loss}."


_MCP = "gradio.mcp.GradioMCPServer"
USES = (
    Use("gradio.utils", "get_upload_folder", "nobody knows which files are uploads", True),
    Use("gradio.processing_utils", "async_ssrf_protected_get", "it may fetch any address that a client names", True),
    Use("gradio.context.LocalContext", "request", "nobody knows who calls the API", True),
    Use("gradio.Request", "request", "a caller's address is not known, and a caller has no limits", True),
    Use(_MCP, "simplify_filedata_schema", "it may fetch any address that an agent names", True),
    Use(_MCP, "_prepare_tool_call_args", "an agent can say that its calls come from somebody else", True),
    Use(_MCP, "mcp_server", "nobody knows where an agent's call comes from", True),
    Use(_MCP, "postprocess_output_data", "agents cannot read results as JSON"),
    Use("gradio.context.LocalContext", "event_id", "a call goes on when its client hangs up"),
    Use("gradio.EventData", "_data", "clicks on samples and on the evidence do nothing"),
    Use("gradio.Blocks", "get_config_file", "links to the page show no picture"),
    Use("gradio.Blocks.queue", "_queue", "callers of the API can close pages that are open"),
    Use("gradio.queueing.Queue", "pending_messages_per_session", "callers of the API can close pages that are open"),
    Use("gradio.queueing.Queue", "pending_event_ids_session", "the server never forgets a session's events"),
    Use("gradio.queueing.Queue", "send_message", "a visitor who leaves causes an error in the log"),
    Use("gradio.queueing.Event", "alive", "the work of a visitor who left goes on"),
    Use("gradio.queueing.Event", "session_hash", "a visitor who leaves causes an error in the log"),
    Use("gradio.queueing.Queue", "ANAYLTICS_CACHE_FREQUENCY", "everybody waits for statistics after each event"),
    Use("gradio.state_holder", "SessionState", "each call of the API stops the server for a moment"),
    Use("gradio.Blocks", "default_config", "each call of the API stops the server for a moment"),
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
"""Requests that `guard` knows by their addresses under /gradio_api."""


def check() -> None:
    """Warn of each name that is gone. Raises SystemExit where one of them matters for security."""
    _refuse(use.sentence() for use in USES if use.security and not use.there())
    for use in USES:
        if not use.there():
            _log.warning("%s", use.sentence())


@functools.cache
def install() -> None:
    """`check`, then put our own in the place of what does not suit a server. Done once in a process."""
    check()
    for owner, name, ours in (
        ("gradio.processing_utils", "async_ssrf_protected_get", lambda _: _fetch_nothing),
        ("gradio.networking", "url_ok", lambda _: _answers),
        ("gradio.utils", "diff", lambda _: _whole),
        ("gradio.state_holder", "SessionState", _light),
    ):
        with contextlib.suppress(ImportError, AttributeError):  # `check` has said so
            module = resolve_name(owner)
            setattr(module, name, ours(getattr(module, name)))


def check_routes(app: Any) -> None:
    """Raise SystemExit where the guard would not know an upload or a call by its address any more."""

    def known(method: str, end: str) -> bool:
        request = {"type": "http", "method": method, "path": f"/gradio_api/{end}", "root_path": "", "headers": []}
        return any(route.matches(request)[0] is Match.FULL for route in app.routes)

    _refuse(
        f"Gradio {gr.__version__} does not answer {method} /gradio_api/{end} any more, so its new address is unguarded."
        for method, end in ROUTES
        if not known(method, end)
    )


def _refuse(sentences: Iterable[str]) -> None:
    if told := " ".join(sentences):
        raise SystemExit(f"error: {told} Install another version: requirements.txt says which.")


async def _fetch_nothing(url: str) -> Any:
    """Gradio fetches a file that is given by its address, whatever its size."""
    raise gr.Error("Files are not fetched from an address: upload them.", print_exception=False)


def _answers(url: str) -> bool:
    """Whether a page can be reached within a minute. Gradio waits for three seconds, too short on a busy machine."""
    try:
        status = httpx.head(url, timeout=60, verify=False).status_code
    except httpx.HTTPError:
        return False
    return status < 400 or status == 401  # it may ask for a password


def _whole(before: Any, after: Any) -> list[list[Any]]:
    """What Gradio sends of an answer that follows another: all of it, or nothing where it is the same.

    Its own differences have its script change the value before in place: whatever came in the same frame, and was not
    shown yet, would be lost.
    """
    return [] if before == after else [["replace", [], after]]


def _light(base: Any) -> type:
    """What Gradio keeps of a session, without a description of every component of the page.

    Only its deep links need that, which are not used here. It took half a megabyte for each call of the API, which is a
    session of its own, and 35 ms in which the server answers nobody.
    """

    class SessionState(base):
        def __init__(self, blocks: Any) -> None:
            super().__init__(SimpleNamespace(default_config=blocks.default_config, blocks={}))

    return SessionState


class _Messages(OrderedDict[str, Any]):
    """What is to be sent to each session; of the sessions the last ones that something was sent to.

    Gradio keeps the last ones that came. Each call of the API is one: ten calls a second would close every page that
    was opened more than three minutes ago, with all that it waits for.
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
    """To be called once `demo.queue` was: callers of the API do not close pages that are open, whoever leaves ends what
    they asked for without an error, and nobody waits for statistics."""
    queue: Any = getattr(demo, "_queue", None)
    if not hasattr(queue, "pending_event_ids_session") or not hasattr(queue, "send_message"):
        return  # `check` has said so
    send, queue.pending_messages_per_session = queue.send_message, _Messages(queue.pending_event_ids_session)

    def send_message(event: Any, message: Any) -> None:
        if event.session_hash in queue.pending_messages_per_session:
            send(event, message)
        else:
            event.alive = False  # who asked left between two steps of the event

    queue.send_message = send_message
    # After so many events Gradio sums up all events so far, with pandas, for a dashboard that nobody sees.
    queue.ANAYLTICS_CACHE_FREQUENCY = 10**9


class LinkedBlocks(gr.Blocks):
    """Blocks that say what links to them show. Gradio has places for it, and fills them for `gr.Interface` alone."""

    def link(self) -> dict[str, str]:
        """`thumbnail`, the address of a picture, and `simple_description`."""
        return {}

    def get_config_file(self) -> Any:
        return super().get_config_file() | self.link()


def upload_folder() -> str:
    """Where Gradio puts uploads, and finds the files that it serves."""
    return resolve_name("gradio.utils").get_upload_folder()


def call_under_way() -> tuple[dict[str, Any], str | None, str | None]:
    """Of the call that this thread answers: what ASGI says of it, its session, and its event."""
    context = resolve_name("gradio.context.LocalContext")
    request, event = context.request.get(None), getattr(context, "event_id", None)
    scope = getattr(getattr(request, "request", None), "scope", {})
    return scope, getattr(request, "session_hash", None), event and event.get(None)


def data_of(event: gr.EventData) -> dict[str, Any]:
    """All that a browser told of an event."""
    data = vars(event).get("_data")
    return data if isinstance(data, dict) else {}


@functools.cache
def serve_tools(schema: Callable[[Any], Any], parts: Callable[[Any], Sequence[Any]], caller: Callable) -> None:
    """Have launches serve tools of agents in our way.

    Args:
        schema: of a tool's arguments, as agents are to read it.
        parts: what an agent reads of one output.
        caller: the address that a request comes from, by what ASGI says of it.
    """
    module: Any = resolve_name("gradio.mcp")

    class Tools(module.GradioMCPServer):
        # Gradio 6.31 looks for the files of a list in the wrong place, and would fetch them from any address.
        def simplify_filedata_schema(self, given: dict[str, Any]) -> tuple[dict[str, Any], list[list[str | int]]]:
            return schema(super().simplify_filedata_schema(given)[0]), []

        # Gradio calls its own endpoint with the agent's headers, which may say anything of where it calls from.
        def _prepare_tool_call_args(self, name: str, arguments: dict[str, Any]) -> Any:
            endpoint, given, headers, block = super()._prepare_tool_call_args(name, arguments)
            request = self.mcp_server.request_context.request
            if request is not None:
                headers["x-forwarded-for"] = caller(request.scope)
            return endpoint, given, headers, block

        def postprocess_output_data(self, data: Any, root_url: str) -> list[Any]:
            outputs = data[0] if len(data) == 1 and isinstance(data[0], list | tuple) else data
            return super().postprocess_output_data([part for output in outputs for part in parts(output)], root_url)

    module.GradioMCPServer = Tools  # launch takes whatever has this name
