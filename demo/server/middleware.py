"""The middleware before Gradio: headers, sizes and owners of uploads, rate limits, callers who disconnect.

It sees each request before Gradio does (ASGI), and each answer after.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import re
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any
from urllib.parse import parse_qs, unquote

from .admission import CALLS
from .errors import message_of

__all__ = ["Quota", "RateLimit", "ServerMiddleware", "Uploads", "caller_of"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# Gradio writes scripts and styles into the page, and makes functions of the `js=` of events: so "unsafe". No font, no
# script and no picture comes from elsewhere, and nothing is sent elsewhere. A Space is shown in a frame of the Hub.
_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'self' https://huggingface.co https://*.hf.space",
    )
)
HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"content-security-policy": _POLICY.encode(),
    b"referrer-policy": b"no-referrer",  # a link holds the settings of its user
    b"permissions-policy": b"camera=(self), microphone=(), geolocation=()",
}
_log = logging.getLogger(__name__)
_MOST_CALLERS = 10_000
_MOST_UPLOADS = 200_000
_DIGEST, _COOKIE = re.compile(r"[0-9a-f]{64}"), "transflow_visitor"
_CALL = "/gradio_api/call/"
_BODY = 2**23
"""Bytes that a request without files may have: the arguments of an event have far fewer."""


class Quota:
    """Bytes that a caller may upload within an hour, and that all uploads may have on the disk.

    Args:
        each: bytes of one caller within `seconds`: a hundred large photographs, twice.
        total: bytes on the disk.
        used: returns how many of them are used now.
    """

    def __init__(
        self, each: int = 2 * 2**30, total: int = 8 * 2**30, seconds: float = 3600, used: Callable[[], int] = lambda: 0
    ) -> None:
        self.each, self.total, self._seconds, self._used = each, total, seconds, used
        self._uploaded: OrderedDict[str, deque[tuple[float, int]]] = OrderedDict()

    def refusal(self, caller: str, size: int, now: float | None = None) -> str | None:
        """Count an upload, and return None; or return the message that refuses it."""
        now = time.monotonic() if now is None else now
        uploaded = self._uploaded.setdefault(caller, deque())
        self._uploaded.move_to_end(caller)
        if len(self._uploaded) > _MOST_CALLERS:
            self._uploaded.popitem(last=False)
        while uploaded and now - uploaded[0][0] > self._seconds:
            uploaded.popleft()
        if sum(bytes_ for _, bytes_ in uploaded) + size > self.each:
            return f"Upload limit reached: {self.each / 2**30:g} GB an hour."
        lately = sum(bytes_ for some in self._uploaded.values() for at, bytes_ in some if now - at < 60)
        if self._used() + lately + size > self.total:
            return "The server's disk is full of uploads. Try again in a few minutes."
        uploaded.append((now, size))
        return None


class RateLimit:
    """How fast the API accepts one caller's calls: the first few at once, then so many a second.

    A call costs the server's one interpreter some ten milliseconds before and after anything is computed, and no queue
    behind it can share these out: all others would wait for 64 small calls at a time. So the calls wait before it,
    where waiting costs nothing (the generic cell rate algorithm of ATM, ITU-T I.371).

    Args:
        rate: calls a second.
        burst: how many may come at once after a silence.
        timeout: seconds; a call that would wait longer is refused.
    """

    def __init__(self, rate: float = 10, burst: int = 20, timeout: float = 60) -> None:
        self._each, self._burst, self._timeout = 1 / rate, burst, timeout
        self._due: OrderedDict[str, float] = OrderedDict()  # when each caller would have paid for all calls so far

    def wait(self, caller: str, now: float | None = None) -> float | None:
        """Count a call. Returns the seconds that it must wait, or None if it would exceed the timeout."""
        now = time.monotonic() if now is None else now
        due = max(self._due.get(caller, now), now) + self._each
        wait = max(0.0, due - now - self._burst * self._each)
        if wait > self._timeout:
            return None
        self._due[caller] = due
        self._due.move_to_end(caller)
        if len(self._due) > _MOST_CALLERS:
            self._due.popitem(last=False)
        return wait


class Uploads:
    """Who uploaded which file: nobody else may see it, or use it in a request.

    A visitor is known by a cookie of random bits that the page sets, which lasts as long as the browser is open; a
    program has no cookie, and is known by its address. Gradio puts an upload into a folder whose name is a digest, and
    every path to the file has this name.
    """

    def __init__(self) -> None:
        self._visitors: OrderedDict[str, set[str]] = OrderedDict()

    def add(self, answer: str, visitor: str) -> None:
        """This answer of Gradio's names the uploads of a visitor. Two visitors may upload the same bytes."""
        for digest in _DIGEST.findall(answer):
            self._visitors.setdefault(digest, set()).add(visitor)
        while len(self._visitors) > _MOST_UPLOADS:
            self._visitors.popitem(last=False)

    def of_others(self, request: str, visitors: Collection[str]) -> bool:
        """Whether a request names an upload of somebody who is not among these."""
        text = unquote(unquote(request)).lower()
        return any(self._visitors.get(digest, set(visitors)).isdisjoint(visitors) for digest in _DIGEST.findall(text))


class ServerMiddleware:
    """Gradio's app with all of this before it.

    Args:
        app: the ASGI app behind it.
        quota: of uploads.
        calls: the rate limit of API calls.
        events: the rate limit of the page's events, ten for each click; a class behind one address shares it.
    """

    def __init__(
        self,
        app: Callable,
        quota: Quota | None = None,
        calls: RateLimit | None = None,
        events: RateLimit | None = None,
    ) -> None:
        self._app, self._quota, self._uploads = app, quota or Quota(), Uploads()
        self._calls, self._events = calls or RateLimit(), events or RateLimit(rate=40, burst=200)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, cookie, caller = False, _cookie(scope), caller_of(scope)
        uploads = scope["method"] == "POST" and scope["path"].rstrip("/").endswith("/upload")

        async def sending(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                own = [(key, value) for key, value in message.get("headers", ()) if key.lower() not in HEADERS]
                if not cookie and scope["path"].rstrip("/") in ("", scope.get("root_path")):
                    own.append(_new_cookie(scope))
                message = {**message, "headers": own + list(HEADERS.items())}
            elif uploads:
                self._uploads.add(message.get("body", b"").decode("latin-1"), cookie or caller)
            await send(message)

        try:
            refused = self._refused(scope)
            receive = _watched(scope, receive)
            if refused is None and (limit := self._limit_of(scope)) is not None:
                wait = limit.wait(caller)
                if wait is None:
                    refused = 429, "Too many requests. Wait until some have finished."
                else:
                    await asyncio.sleep(wait)
            request = scope["path"]
            if refused is None and scope["method"] == "POST" and not uploads:
                body, receive = await _read(receive)
                request += body
            if refused is None and self._uploads.of_others(request, {cookie, caller} - {""}):
                refused = 403, "This file is another visitor's: upload your own."
            if refused is not None:
                await _answer(sending, *refused)
            else:
                await self._app(scope, receive, sending)
        except _TooLarge as error:
            if begun:
                raise
            await _answer(sending, 413, str(error))
        except OSError as error:  # a full or a read-only disk under an upload
            if begun:
                raise
            await _answer(sending, 507, message_of(error))
        except (KeyError, TypeError, ValueError, RecursionError):
            # Gradio fails on such a request: an unknown endpoint, data that is no list.
            if begun or scope["method"] != "POST":
                raise
            _log.info("a request that Gradio does not accept", exc_info=True)
            await _answer(sending, 400, "This is not a request of the API: see /gradio_api/info.")

    def _limit_of(self, scope: Message) -> RateLimit | None:
        path = scope["path"].rstrip("/")
        if scope["method"] != "POST":
            return None
        return self._calls if _CALL in path else self._events if path.endswith("/queue/join") else None

    def _refused(self, scope: Message) -> tuple[int, str] | None:
        path, method, size = unquote(scope["path"]), scope["method"], _length(scope)
        if "/file=http:" in path or "/file=https:" in path or "/proxy=" in path:
            return 403, "This server fetches no files of other servers."  # Gradio would stream them, as an open proxy
        if method != "POST":
            return None
        if path.rstrip("/").endswith("/upload"):
            if size is None:
                return 411, "An upload must have a content-length."
            message = self._quota.refusal(caller_of(scope), size)
            return None if message is None else (413, message)
        if size is not None and size > _BODY:
            return 413, "This request is too large."
        return None


class _TooLarge(Exception):
    """A body is larger than its content-length, or than a request may be."""


def _watched(scope: Message, receive: Receive) -> Receive:
    """`receive` that counts bytes. When a client disconnects while it waits for an answer, its calls are cancelled."""
    length = _length(scope)
    most = length if length is not None else _BODY
    waits_for = _waits_for(scope) if scope["method"] == "GET" else None
    received = 0

    async def receiving() -> Message:
        nonlocal received
        message = await receive()
        if message["type"] == "http.disconnect" and waits_for is not None:
            CALLS.disconnected(*waits_for)
        received += len(message.get("body", b""))
        if received > most:
            raise _TooLarge("This request is too large.")
        return message

    return receiving


async def _read(receive: Receive) -> tuple[str, Receive]:
    """The body of a request, with every escape of JSON undone; and a `receive` that returns the same body again."""
    messages = [await receive()]
    while messages[-1].get("more_body"):
        messages.append(await receive())
    body = b"".join(message.get("body", b"") for message in messages)
    try:
        text = json.dumps(json.loads(body))
    except (ValueError, RecursionError):
        text = body.decode("latin-1")
    remaining = iter(messages)

    async def again() -> Message:
        return next(remaining, None) or await receive()

    return text, again


def _waits_for(scope: Message) -> tuple[str, str] | None:
    """The event, or the session, whose answer a request waits for."""
    path = scope["path"].rstrip("/")
    if path.endswith("/queue/data"):
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        return "session", query.get("session_hash", [""])[0]
    if _CALL in path:
        return "event", path.rpartition("/")[2]
    return None


def _length(scope: Message) -> int | None:
    for key, value in scope.get("headers", ()):
        if key == b"content-length":
            return int(value) if value.isdigit() else None
    return None


def caller_of(scope: Message) -> str:
    """The address that a request comes from; behind a proxy of the host's own network, the address in its header.

    Any other client could write anything into the header: with a new address in each call, it would have no limits.
    """
    host = (scope.get("client") or ("",))[0]
    try:
        trusted = ipaddress.ip_address(host).is_private
    except ValueError:
        trusted = False
    for key, value in scope.get("headers", ()) if trusted else ():
        if key == b"x-forwarded-for" and (address := value.decode("latin-1").rpartition(",")[-1].strip()):
            return address
    return host


def _cookie(scope: Message) -> str:
    """The cookie that the page set for this visitor; empty for anything else."""
    cookies = [value.decode("latin-1") for key, value in scope.get("headers", ()) if key == b"cookie"]
    found = re.search(rf"(?:^|;\s*){_COOKIE}=([0-9a-f]{{32}})(?:;|$)", "; ".join(cookies))
    return found[1] if found else ""


def _new_cookie(scope: Message) -> tuple[bytes, bytes]:
    """A Space's page lies in a frame of another site, where a browser needs all of these to keep a cookie."""
    scheme = dict(scope.get("headers", ())).get(b"x-forwarded-proto", scope.get("scheme", "").encode())
    where = "SameSite=None; Secure; Partitioned" if scheme == b"https" else "SameSite=Lax"
    return b"set-cookie", f"{_COOKIE}={secrets.token_hex(16)}; Path=/; HttpOnly; {where}".encode()


async def _answer(send: Send, status: int, message: str) -> None:
    # As Gradio refuses: its script and its client show `detail`.
    body = json.dumps({"detail": message, "error": message}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
