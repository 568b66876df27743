"""What stands before Gradio: headers, sizes and owners of uploads, callers who left.

An ASGI middleware: it sees each request before Gradio does, and each answer after.
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

from .errors import words_of
from .queues import CALLS

__all__ = ["Guard", "Pace", "Quota", "Uploads", "caller_of"]

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
    b"referrer-policy": b"no-referrer",  # a shared link tells what somebody looks at
    b"permissions-policy": b"camera=(self), microphone=(), geolocation=()",
}
_log = logging.getLogger(__name__)
_MOST_CALLERS = 10_000
_MOST_UPLOADS = 200_000
_DIGEST, _COOKIE = re.compile(r"[0-9a-f]{64}"), "transflow_visitor"
_CALL = "/gradio_api/call/"
_BODY = 2**23
"""Bytes that a request without files may have: no argument of any event comes near."""


class Quota:
    """Bytes that a caller may upload within an hour, and all together may have lying here.

    Args:
        each: bytes of one caller within `seconds`: a hundred large photographs, twice.
        total: bytes on the disk, as `used` tells them.
        used: what lies there now.
    """

    def __init__(
        self, each: int = 2 * 2**30, total: int = 8 * 2**30, seconds: float = 3600, used: Callable[[], int] = lambda: 0
    ) -> None:
        self.each, self.total, self._seconds, self._used = each, total, seconds, used
        self._given: OrderedDict[str, deque[tuple[float, int]]] = OrderedDict()

    def room(self, caller: str, size: int, now: float | None = None) -> str | None:
        """Count an upload; or why it is refused, in words."""
        now = time.monotonic() if now is None else now
        given = self._given.setdefault(caller, deque())
        self._given.move_to_end(caller)
        if len(self._given) > _MOST_CALLERS:
            self._given.popitem(last=False)
        while given and now - given[0][0] > self._seconds:
            given.popleft()
        if sum(bytes_ for _, bytes_ in given) + size > self.each:
            return f"You uploaded {self.each / 2**30:.1f} GB within an hour: that is all that one visitor may."
        lately = sum(bytes_ for some in self._given.values() for at, bytes_ in some if now - at < 60)
        if self._used() + lately + size > self.total:
            return "There is no room for more uploads just now. Try again in a while."
        given.append((now, size))
        return None


class Pace:
    """How fast one caller's calls of the API are let in: the first few at once, then so many a second.

    A call costs the server's one interpreter some ten milliseconds before and after anything is computed, which no
    queue behind it can share out: 64 small calls at a time would have all others wait for that. So they wait before it,
    where waiting costs nothing (the generic cell rate algorithm of ATM, ITU-T I.371).

    Args:
        rate: calls a second.
        burst: how many may come at once after a silence.
        patience: seconds; whoever would wait longer is refused.
    """

    def __init__(self, rate: float = 10, burst: int = 20, patience: float = 60) -> None:
        self._each, self._burst, self._patience = 1 / rate, burst, patience
        self._due: OrderedDict[str, float] = OrderedDict()  # when each caller would have paid for all calls so far

    def wait(self, caller: str, now: float | None = None) -> float | None:
        """Count a call; seconds that it waits, or None where that is too long and it is not let in."""
        now = time.monotonic() if now is None else now
        due = max(self._due.get(caller, now), now) + self._each
        wait = max(0.0, due - now - self._burst * self._each)
        if wait > self._patience:
            return None
        self._due[caller] = due
        self._due.move_to_end(caller)
        if len(self._due) > _MOST_CALLERS:
            self._due.popitem(last=False)
        return wait


class Uploads:
    """Who uploaded what: nobody else may see it, or have it read for them.

    A visitor is told apart by a cookie of random bits that the page gives, which lasts as long as the browser is open;
    without one, as from a program, by the address. Gradio puts an upload into a folder whose name is a digest, wherever
    a path to it comes from.
    """

    def __init__(self) -> None:
        self._owners: OrderedDict[str, set[str]] = OrderedDict()

    def came(self, told: str, visitor: str) -> None:
        """These words of Gradio's answer name the uploads of a visitor. Who gives the same bytes has the file, too."""
        for digest in _DIGEST.findall(told):
            self._owners.setdefault(digest, set()).add(visitor)
        while len(self._owners) > _MOST_UPLOADS:
            self._owners.popitem(last=False)

    def foreign(self, asked: str, visitors: Collection[str]) -> bool:
        """Whether a request names an upload that none of these gave."""
        text = unquote(unquote(asked)).lower()
        return any(self._owners.get(digest, set(visitors)).isdisjoint(visitors) for digest in _DIGEST.findall(text))


class Guard:
    """Gradio's app with all of this before it.

    Args:
        app: the ASGI app behind it.
        quota: of uploads.
        calls: the pace of the API's calls.
        events: that of the page's events, some ten for each click; a class behind one address has it together.
    """

    def __init__(
        self, app: Callable, quota: Quota | None = None, calls: Pace | None = None, events: Pace | None = None
    ) -> None:
        self._app, self._quota, self._uploads = app, quota or Quota(), Uploads()
        self._calls, self._events = calls or Pace(), events or Pace(rate=40, burst=200)

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
                self._uploads.came(message.get("body", b"").decode("latin-1"), cookie or caller)
            await send(message)

        try:
            refused = self._refused(scope)
            receive = _watched(scope, receive)
            if refused is None and (pace := self._pace_of(scope)) is not None:
                wait = pace.wait(caller)
                if wait is None:
                    refused = 429, "Too many calls at once. Wait for some of them, then go on."
                else:
                    await asyncio.sleep(wait)
            asked = scope["path"]
            if refused is None and scope["method"] == "POST" and not uploads:
                body, receive = await _read(receive)
                asked += body
            if refused is None and self._uploads.foreign(asked, {cookie, caller} - {""}):
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
            await _answer(sending, 507, words_of(error))
        except (KeyError, TypeError, ValueError, RecursionError):
            # What Gradio does not expect of a request: an endpoint that there is not, data that is no list.
            if begun or scope["method"] != "POST":
                raise
            _log.info("a request that Gradio does not take", exc_info=True)
            await _answer(sending, 400, "This request is not as the API takes it: see /gradio_api/info.")

    def _pace_of(self, scope: Message) -> Pace | None:
        path = scope["path"].rstrip("/")
        if scope["method"] != "POST":
            return None
        return self._calls if _CALL in path else self._events if path.endswith("/queue/join") else None

    def _refused(self, scope: Message) -> tuple[int, str] | None:
        path, method, size = unquote(scope["path"]), scope["method"], _length(scope)
        if "/file=http:" in path or "/file=https:" in path or "/proxy=" in path:
            return 403, "Files of other servers are not fetched here."  # Gradio would stream them, as an open proxy
        if method != "POST":
            return None
        if path.rstrip("/").endswith("/upload"):
            if size is None:
                return 411, "An upload must tell its size."
            words = self._quota.room(caller_of(scope), size)
            return None if words is None else (413, words)
        if size is not None and size > _BODY:
            return 413, "This request is too large."
        return None


class _TooLarge(Exception):
    """More came than was told, or than a request may have."""


def _watched(scope: Message, receive: Receive) -> Receive:
    """What is received, counted; and who hangs up while an answer is waited for ends the calls that it would tell."""
    told = _length(scope)
    most = told if told is not None else _BODY
    waits_for = _waits_for(scope) if scope["method"] == "GET" else None
    come = 0

    async def receiving() -> Message:
        nonlocal come
        message = await receive()
        if message["type"] == "http.disconnect" and waits_for is not None:
            CALLS.left(*waits_for)
        come += len(message.get("body", b""))
        if come > most:
            raise _TooLarge("This request is too large.")
        return message

    return receiving


async def _read(receive: Receive) -> tuple[str, Receive]:
    """What a request holds, with every escape of JSON undone; and the same to be received once more."""
    messages = [await receive()]
    while messages[-1].get("more_body"):
        messages.append(await receive())
    body = b"".join(message.get("body", b"") for message in messages)
    try:
        text = json.dumps(json.loads(body))
    except (ValueError, RecursionError):
        text = body.decode("latin-1")
    coming = iter(messages)

    async def again() -> Message:
        return next(coming, None) or await receive()

    return text, again


def _waits_for(scope: Message) -> tuple[str, str] | None:
    """The event, or the session, whose answer a request waits for."""
    path = scope["path"].rstrip("/")
    if path.endswith("/queue/data"):
        asked = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        return "session", asked.get("session_hash", [""])[0]
    if _CALL in path:
        return "event", path.rpartition("/")[2]
    return None


def _length(scope: Message) -> int | None:
    for key, value in scope.get("headers", ()):
        if key == b"content-length":
            return int(value) if value.isdigit() else None
    return None


def caller_of(scope: Message) -> str:
    """The address that a request comes from; what a proxy of the host's own network tells, where it comes from one.

    From anywhere else, the header could say anything: whoever writes a new address into each call would have no bounds.
    """
    host = (scope.get("client") or ("",))[0]
    try:
        trusted = ipaddress.ip_address(host).is_private
    except ValueError:
        trusted = False
    for key, value in scope.get("headers", ()) if trusted else ():
        if key == b"x-forwarded-for" and (told := value.decode("latin-1").rpartition(",")[-1].strip()):
            return told
    return host


def _cookie(scope: Message) -> str:
    """What the page gave to this visitor; empty for anything else."""
    told = [value.decode("latin-1") for key, value in scope.get("headers", ()) if key == b"cookie"]
    found = re.search(rf"(?:^|;\s*){_COOKIE}=([0-9a-f]{{32}})(?:;|$)", "; ".join(told))
    return found[1] if found else ""


def _new_cookie(scope: Message) -> tuple[bytes, bytes]:
    """A Space's page lies in a frame of another site, where a browser keeps a cookie only if it is told all of this."""
    told = dict(scope.get("headers", ())).get(b"x-forwarded-proto", scope.get("scheme", "").encode())
    where = "SameSite=None; Secure; Partitioned" if told == b"https" else "SameSite=Lax"
    return b"set-cookie", f"{_COOKIE}={secrets.token_hex(16)}; Path=/; HttpOnly; {where}".encode()


async def _answer(send: Send, status: int, words: str) -> None:
    # As Gradio words what it refuses: its script and its client show `detail`.
    body = json.dumps({"detail": words, "error": words}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
