"""Gradio's page on its way to a browser: compressed, with what is seen before its scripts run, and with our card alone.

Gradio compresses its scripts, but not the page, which has 1.5 MB.
"""

import re

from starlette.datastructures import MutableHeaders
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..static import static

# Of the card that a link to the page becomes, a reader takes the first title, and goes to the address that is named.
_GRADIOS = re.compile(rb"<meta [^>]*(?:gradio|\{url\}|Click to try)[^>]*>", re.IGNORECASE)
_SCRIPT, _APP = b"<script", b"<gradio-app"
_COVERED = static("cover.html").encode() + _APP


def ours(page: bytes) -> bytes:
    """The page without Gradio's own card, and with `static/cover.html` before the element that its scripts fill.

    Example:
        >>> ours(b'<meta property="og:title" content="Gradio" /><script></script>')
        b'<script></script>'
    """
    head, script, rest = page.partition(_SCRIPT)
    return _GRADIOS.sub(b"", head) + script + rest.replace(_APP, _COVERED, 1)


def with_ours(app: ASGIApp) -> ASGIApp:
    """An app that answers with the page as `ours` makes it, compressed. `app` answers with Gradio's, as one part."""

    async def changed(scope: Scope, receive: Receive, send: Send) -> None:
        start: Message = {}

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
                return
            message["body"] = ours(message.get("body", b""))
            MutableHeaders(scope=start)["content-length"] = str(len(message["body"]))
            await send(start)
            await send(message)

        await app(scope, receive, sending)

    return GZipMiddleware(changed, compresslevel=4)
