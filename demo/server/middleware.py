"""The middleware before Gradio: headers, sizes and owners of uploads, rates, callers who disconnect.

It sees each request before Gradio does (ASGI), and each answer after.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import secrets
import shutil
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from functools import partial
from ipaddress import IPv6Address, ip_address
from typing import Any
from urllib.parse import unquote

from PIL import UnidentifiedImageError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from .admission import AGENT, AGENTS, API, EVENTS, PAGE, PAGES, RATE, UPLOADS, Queue
from .errors import message_of
from .files import FILE, Cleanup, upload_folder
from .html import with_ours

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

HEADERS = {
    "x-content-type-options": "nosniff",
    # Gradio writes scripts and styles into the page, and makes functions of the `js=` of events: so "unsafe". Nothing
    # comes from elsewhere, and nothing is sent elsewhere. A Space is shown in a frame of the Hub.
    "content-security-policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'self' https://huggingface.co https://*.hf.space",
    "referrer-policy": "no-referrer",  # a link holds the settings of its user
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
}
_log = logging.getLogger(__name__)
_MOST_UPLOADS = 200_000
# As a folder in a path. It begins with a letter that Python's search skips to: a body may be long.
_DIGEST, _COOKIE, _COOKIES = re.compile(r"/([0-9a-f]{64})"), "transflow_visitor", 4096
_VISITOR = re.compile(rf"(?:^|;)\s*{_COOKIE}=([0-9a-f]{{32}})(?:;|$)")
_CALL, _SESSION, _MOST_JOINED = "/gradio_api/call/", re.compile(rb'"session_hash":\s*"(\w{1,40})"'), 2000
_NAMED = re.compile(r'"(?:session_hash|event_id)": "[^"]{100}')
_DESCRIPTIONS = ("/config", "/gradio_api/info", "/gradio_api/openapi.json")
_REFUSED = (
    # Gradio would, as an open proxy. `gradio_compat` refuses the addresses of files.
    ("/proxy=", 403, "This server fetches no files of other servers."),
    # Gradio would keep the film for good, and give it to a decoder that no limit holds.
    ("/process_recording$", 403, "This server records nothing."),
    # Other ways for agents, whose calls nobody counts or ends.
    ("^[^=]*/gradio_api/mcp/(?!schema$)", 404, "Agents use /gradio_api/mcp/, by streamable HTTP."),
    # Gradio would keep each name for good, or print it.
    ("^[^=]*/gradio_api/(upload_progress|custom_component)", 404, "This server has no such page."),
)
"""Addresses that are refused: a regular expression of the path, a status and the reason."""
_BODY, _VALUES = 2**23, 10_000
"""Bytes that a request without files may have, such as a few pictures of an agent in base64; and how many values and
escapes, each of which takes time wherever Gradio reads it. A call with two hundred images has two thousand."""
_DISK = 8 * 2**30
"""Bytes that all uploads and results may have, also between two sweeps."""


class Uploads:
    """Who uploaded which file: nobody else may see it, or use it in a request.

    A visitor is known by a cookie of random bits that the page sets, which lasts as long as the browser is open; a
    program has no cookie, and is known by its address. Gradio puts an upload into a folder whose name is a digest, and
    every path to the file has this name.
    """

    def __init__(self) -> None:
        self._visitors: OrderedDict[str, set[str]] = OrderedDict()

    def add(self, answer: str, visitor: str) -> int:
        """Count the uploads of a visitor that this answer of Gradio's names. Two visitors may upload the same bytes."""
        digests = _DIGEST.findall(answer)
        for digest in digests:
            self._visitors.setdefault(digest, set()).add(visitor)
        while len(self._visitors) > _MOST_UPLOADS:
            self._visitors.popitem(last=False)
        return len(digests)

    def of_others(self, request: str, visitors: Collection[str]) -> bool:
        """Whether a request names an upload of somebody who is not among these."""
        text = unquote(unquote(request)).lower().replace("\\", "/")
        return any(self._visitors.get(digest, set(visitors)).isdisjoint(visitors) for digest in _DIGEST.findall(text))


class ServerMiddleware:
    """Gradio's app with all of this before it.

    Args:
        app: the ASGI app behind it.
        files: counts what lies in the folder of uploads.
    """

    def __init__(self, app: Callable, files: Cleanup) -> None:
        self._app, self._files, self._uploads = app, files, Uploads()
        self._joined: OrderedDict[tuple[bytes, str], asyncio.Future[bytes | None]] = OrderedDict()
        self._page = with_ours(app)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        caller = caller_of(scope)
        scope["client"] = caller, 0
        # Gradio hands an agent's headers on to its own endpoint.
        MutableHeaders(scope=scope)["x-forwarded-for"] = caller
        request, begun, over = Request(scope, receive), False, asyncio.Event()
        cookies = "; ".join(request.headers.getlist("cookie"))
        visitor = found[1] if (found := _VISITOR.search(cookies)) else ""
        if len(cookies) > _COOKIES or "\\" in cookies:  # Python takes seconds to read some, and none of them is ours
            del MutableHeaders(scope=scope)["cookie"]
        path = unquote(scope["path"]).rstrip("/")
        uploads, is_page = request.method == "POST" and path.endswith("/upload"), path in ("", scope.get("root_path"))

        async def sending(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message.setdefault("headers", [])
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                if is_page or "/file" in path:  # for this visitor alone
                    headers["cache-control"] = "private, no-cache"
                if not visitor and is_page:
                    headers.append("set-cookie", _new_cookie(request))
            elif uploads:
                count = self._uploads.add(message.get("body", b"").decode("latin-1"), visitor or caller)
                self._files.size += count * FILE
                UPLOADS.wait(caller, count * FILE, done=True)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                over.set()
            await send(message)

        try:
            for address, status, why in _REFUSED:
                if re.search(address, path):
                    raise HTTPException(status, why)
            if path.endswith("/gradio_api/info"):  # of a named page, for which Gradio keeps nobody's address
                scope["query_string"] = b"page=&" + scope["query_string"]
            agent = secrets.token_hex(16) if request.method == "POST" and path.endswith("/mcp") else ""
            if agent:
                MutableHeaders(scope=scope)[AGENT] = agent  # Gradio hands it on as well
            waits_for = ("agent", agent) if agent else _waits_for(path, request)
            app = self._page if request.method == "GET" and is_page else self._app
            receive, visitors = request.receive, {visitor, caller} - {""}
            of_others = self._uploads.of_others(scope["path"], visitors)
            if request.method == "POST":
                await _in_time(path, caller)
                if uploads:
                    self._count(request, caller)
                else:
                    body, receive = await _read(request, caller)
                    number = request.headers.get("x-call", "") if path.endswith("/queue/join") else ""
                    if re.fullmatch("[0-9]{1,9}", number) and (session := _SESSION.search(body)):
                        app = partial(self._once, (session[1], number))
                    # A long body takes too long for the thread that answers everybody.
                    of_others |= await run_in_threadpool(lambda: self._uploads.of_others(_checked(body), visitors))
            if of_others:
                raise HTTPException(403, "This file is another visitor's: upload your own.")
            queue = AGENTS if agent else PAGES if is_page or path.endswith(_DESCRIPTIONS) else None
            place = await _place(queue, caller, request) if queue else contextlib.nullcontext()
            try:
                with place, API.awaited(waits_for), EVENTS.awaited(waits_for):
                    await app(scope, _cancelling(uploads, receive, waits_for, over), sending)
            finally:
                if agent:  # `api` begins none that comes later
                    API.cancel(waits_for, by_user=False)
        except ClientDisconnect:
            return  # nobody waits for an answer
        except Exception as error:
            refused = None if begun else _refusal(error, request)
            if refused is None:
                raise
            status, message = refused
            # As Gradio refuses: its script and its client show `detail`.
            await JSONResponse({"detail": message, "error": message}, status)(scope, receive, sending)

    async def _once(self, event: tuple[bytes, str], scope: Message, receive: Receive, send: Send) -> None:
        """Gradio's answer to an event of a page, by its session and number. A browser, or `static/stream.js`, makes a
        request again whose answer does not come: that one gets the first one's."""
        while (known := self._joined.get(event)) is not None:
            if (body := await asyncio.shield(known)) is not None:
                await Response(body, media_type="application/json")(scope, receive, send)
                return
        answer = self._joined[event] = asyncio.get_running_loop().create_future()
        if len(self._joined) > _MOST_JOINED:
            self._joined.popitem(last=False)
        status = 0

        async def keeping(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            if status == 200 and message.get("body") and not message.get("more_body") and not answer.done():
                answer.set_result(message["body"])
            await send(message)

        try:
            await self._app(scope, receive, keeping)
        finally:
            if not answer.done():  # it was refused
                self._joined.pop(event, None)
                answer.set_result(None)

    def _count(self, request: Request, caller: str) -> None:
        """Count an upload, or refuse it."""
        length = request.headers.get("content-length", "")
        if not length.isdigit():
            raise HTTPException(411, "An upload must have a content-length.")
        if self._files.size + int(length) > _DISK or int(length) > shutil.disk_usage(upload_folder()).free:
            raise HTTPException(413, "The server's disk is full of uploads. Try again in a few minutes.")
        _spend(caller, int(length))
        self._files.size += int(length)


async def _in_time(path: str, caller: str) -> None:
    """Wait until this request is within its caller's rate."""
    wait = RATE.wait(caller, 5 if _CALL in path else 1)  # a call is a session of its own for Gradio
    full = any(path.endswith(end) and queue.full(caller) for end, queue in (("/queue/join", EVENTS), ("/mcp", AGENTS)))
    if wait is None or full:
        raise HTTPException(429, "Too many requests. Wait until some have finished.")
    await asyncio.sleep(wait)


async def _place(queue: Queue, caller: str, request: Request) -> contextlib.AbstractContextManager:
    """A place in a queue, once one is free. Raises ClientDisconnect where the client hangs up before."""
    place = queue.request(caller)
    turn, gone = map(asyncio.ensure_future, (place.admitted(), _gone(request)))
    try:
        await asyncio.wait((turn, gone), return_when=asyncio.FIRST_COMPLETED)
        if gone.done():
            raise ClientDisconnect
        if error := place.come.result():
            raise HTTPException(503, str(error))
        return place
    except BaseException:
        queue.remove(place)
        raise
    finally:
        turn.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    """Return once the client has hung up. Its body has come, if it has one."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _spend(caller: str, size: int) -> None:
    """Count bytes that a caller sends, or refuse them."""
    if UPLOADS.wait(caller, size) is None:
        raise HTTPException(413, "Upload limit reached: 2 GB an hour.")


async def _read(request: Request, caller: str) -> tuple[bytes, Receive]:
    """The body of a request, and a `receive` that returns it again."""
    body, values = bytearray(), 0
    async for chunk in request.stream():  # what is refused is read no further
        body += chunk
        values += sum(map(chunk.count, b",[{%\\"))
        if len(body) > _BODY:
            raise HTTPException(413, "This request is too large.")
        if values > _VALUES:
            raise HTTPException(413, "This request has too many values.")
    _spend(caller, len(body))
    remaining = iter([{"type": "http.request", "body": bytes(body)}])

    async def again() -> Message:
        return next(remaining, None) or await request.receive()

    return bytes(body), again


def _checked(body: bytes) -> str:
    """A body with every escape of JSON undone, where it is JSON. Raises HTTPException for a long name of a session,
    which Gradio would keep."""
    try:
        plain = json.dumps(json.loads(body))
    except ValueError:
        plain = body.decode("latin-1")
    if _NAMED.search(plain):
        raise HTTPException(400, "The name of a session is too long.")
    return plain


def _waits_for(path: str, request: Request) -> tuple[str, str] | None:
    """The name in `API` and `EVENTS` of what a request waits for the answers of."""
    if request.method == "GET" and path.endswith("/queue/data"):
        return "session", request.query_params.get("session_hash", "")
    return ("event", path.rpartition("/")[2]) if request.method == "GET" and _CALL in path else None


def _cancelling(uploads: bool, receive: Receive, waits_for: tuple[str, str] | None, over: asyncio.Event) -> Receive:
    """`receive` that cancels what a client began who disconnects: all whose answers it waits for, or an upload.

    A server says "disconnect" after an answer that is `over` as well; by then the page may have asked for more.
    """

    async def receiving() -> Message:
        message = await receive()
        if message["type"] == "http.disconnect" and waits_for is not None and not over.is_set():
            API.cancel(waits_for, by_user=False)
            PAGE.cancel(waits_for[1], by_user=False)  # Gradio drops its answers, and lets the step at work end
        if message["type"] == "http.disconnect" and uploads:
            raise MultiPartException("The upload was cut off.")  # then Gradio deletes the parts that came
        return message

    return receiving


def _refusal(error: Exception, request: Request) -> tuple[int, str] | None:
    """The status and the message for an error that came before any answer; None for a fault of the program."""
    if isinstance(error, HTTPException):
        return error.status_code, error.detail
    if isinstance(error, OSError) and error.errno:  # a full or a read-only disk under an upload
        return 507, message_of(error)
    # Gradio fails on such a request: several ranges of a file, an unknown endpoint, data that is no list.
    if isinstance(error, ValueError) and "range" in request.headers:
        return 416, "Only one range of bytes is sent at a time."
    if isinstance(error, UnidentifiedImageError):  # Gradio's icons in other sizes: ours has all
        return 404, "This server has no such picture."
    if isinstance(error, KeyError | TypeError | ValueError | RecursionError) and request.method == "POST":
        _log.info("a request that Gradio does not accept", exc_info=True)
        return 400, "This is not a request of the API: see /gradio_api/info."
    return None


def caller_of(scope: Message) -> str:
    """Whose request it is, for every limit: an address, and of IPv6 its network of 64 bits, which one client has whole.

    Each proxy adds to a header whom it saw. TRANSFLOW_PROXIES says how many there are; else there may be one, on a
    private network. No more is believed: a client with a new address in each call would have no limits.
    """
    host = (scope.get("client") or ("",))[0]
    with contextlib.suppress(ValueError):  # it is no address
        peer = ip_address(host)
        proxies = max(peer.is_loopback, int(os.environ.get("TRANSFLOW_PROXIES") or peer.is_private))
        forwarded = ",".join(Headers(scope=scope).getlist("x-forwarded-for")).split(",")
        seen = [*filter(None, map(str.strip, forwarded)), host]
        host = seen[max(0, len(seen) - 1 - proxies)]
        if isinstance(address := ip_address(host), IPv6Address):
            host = str(address.ipv4_mapped or IPv6Address(int(address) >> 64 << 64))
    return host


def _new_cookie(request: Request) -> str:
    """A Space's page lies in a frame of another site, where a browser needs all of these to keep a cookie."""
    https = request.headers.get("x-forwarded-proto", request.url.scheme) == "https"
    where = "SameSite=None; Secure; Partitioned" if https else "SameSite=Lax"
    return f"{_COOKIE}={secrets.token_hex(16)}; Path=/; HttpOnly; {where}"
