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


class Html:
    """The page as `ours` makes it, and compressed.

    Args:
        app: what answers with Gradio's page, as one part.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._compressed = GZipMiddleware(self._changed, compresslevel=4)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        await self._compressed(scope, receive, send)

    async def _changed(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun: list[Message] = []

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                begun.append(message)
                return
            if begun:
                if message.get("body"):
                    message["body"] = ours(message["body"])
                    MutableHeaders(scope=begun[0])["content-length"] = str(len(message["body"]))
                await send(begun.pop())
            await send(message)

        await self._app(scope, receive, sending)
