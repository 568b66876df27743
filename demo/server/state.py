"""What belongs to one visitor: evidence, results, files, requests, and an end."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import gradio as gr

from transflow_core.evidence import Evidence

from .admission import PAGE
from .files import AGE, new_folder

T = TypeVar("T")
# Seconds. An open page keeps its images for a working day; a closed one, as long as a phone may take to reconnect.
_IDLE, _DISCONNECTED = 8 * 3600, 600
# So many sessions are kept, and so many of one address. Where there are more, whoever has most loses one that was
# closed, or else the one unused for longest. Ten photos with their posterior are 17 MB under celeba256; example sets
# are shared.
_MOST, _EACH = 300, 60

_ON_ITS_WAY = 1  # seconds at most that an event waits for those before it, one of which may be lost


class Session:
    """One visitor's page, from its opening to its end. Each handler of `events.on` gets the session of its visitor.

    It is no gr.State: each API call is a session of Gradio's too, so a few hundred calls would evict those of visitors,
    and Gradio calls no `delete_callback` then; and `time_to_live` counts from the last write, not from the last use.

    Attributes:
        id: client of the visitor's requests.
        address: where it was opened.
        client: whose turn its work takes.
        heard: whether its page has listened to an answer.
        turn: of the event that begins: until it waits in a queue, or is over, no later one does.
        call: the number of that event, see `in_order`.
        evidence: the images of each panel of the page.
        tab: the tab that is open.
        query: of the page's address, when it was opened. A browser may still send the value before it.
    """

    _all: ClassVar[dict[str, Session]] = {}
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, id: str, address: str = "") -> None:
        self.id, self.address, self.client, self.heard = id, address, (address, id), False
        self.turn, self._begins, self._begun = asyncio.Lock(), asyncio.Condition(), 0
        self.call = 0
        self.evidence: dict[str, Evidence] = {}
        self.tab, self.query = "studio", ""
        self._states: dict[type, object] = {}
        self._folder: Path | None = None
        self._expires = 0.0

    @classmethod
    def of(cls, request: gr.Request | None) -> Session:
        """The session that a request comes from. This use keeps it for longer."""
        key = (request and request.session_hash) or ""
        with cls._lock:
            address = request.client.host if request and request.client else ""
            known = cls._all.pop(key, None)
            session = known or cls(key or secrets.token_hex(8), address)
            session._expires = time.monotonic() + _IDLE
            cls._all[session.id] = session  # the last one, since it is used
        if known is None:
            cls.sweep()
        return session

    @classmethod
    def sweep(cls) -> None:
        """Close the expired sessions; where there are too many, whoever has most loses the first that would expire."""
        with cls._lock:
            now = time.monotonic()
            over = [one for one in cls._all.values() if one._expires < now]
            for session in over:
                del cls._all[session.id]
            each = Counter(one.address for one in cls._all.values())
            while len(cls._all) > _MOST or (each and max(each.values()) > _EACH):
                most = max(each, key=each.__getitem__)
                each[most] -= 1
                first = min((one for one in cls._all.values() if one.address == most), key=lambda one: one._expires)
                over.append(cls._all.pop(first.id))
        for session in over:
            session.close()

    @classmethod
    def disconnected(cls, request: gr.Request) -> None:
        """The page was closed, or its connection is lost: its requests are cancelled; its images stay for a while."""
        with cls._lock:
            session = cls._all.get(request.session_hash or "")
        if session is not None:
            PAGE.cancel(session.id, by_user=False)
            session._expires = time.monotonic() + min(_DISCONNECTED, AGE)
            for evidence in tuple(session.evidence.values()):
                if not evidence.example:  # these are shared
                    evidence.forget()

    @classmethod
    def in_use(cls) -> list[Path]:
        """Files that sessions may read again, such as for another model, and the folders of their results.

        The cleanup calls this every minute. It closes the expired sessions.
        """
        cls.sweep()
        with cls._lock:
            sessions = list(cls._all.values())
        used = [session._folder for session in sessions if session._folder is not None]
        for session in sessions:
            for evidence in tuple(session.evidence.values()):
                used += [Path(one.file) for one in evidence.sources if isinstance(one.file, str | Path)]
        return used

    def state(self, kind: type[T]) -> T:
        """The state of a part of the page for this visitor: the one object of this class, made at its first use."""
        return self._states.setdefault(kind, kind())  # type: ignore[return-value]

    def queued(self, part: str, *, newest: bool = False) -> Any:
        """A request for a part of the page, such as a panel, after this visitor's earlier ones; see `Queue.request`."""
        return PAGE.request((self.id, part), self.id, newest=newest)

    async def in_order(self, number: int) -> None:
        """Wait until the page's earlier events have begun: on its way, one may overtake another.

        Args:
            number: that the page (`static/stream.js`) gave this event; 0 where it gave none.
        """
        async with self._begins:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_ON_ITS_WAY):
                    await self._begins.wait_for(lambda: number <= self._begun + 1 or not self._begun)
            self._begun = max(self._begun, number)
            self._begins.notify_all()

    def cancel(self, part: str) -> None:
        """The user pressed Stop: cancel what runs and waits in a part of the page."""
        PAGE.cancel((self.id, part))

    def busy(self, part: str) -> bool:
        """Whether something runs or waits in a part of the page."""
        return PAGE.busy((self.id, part))

    def file(self, name: str) -> Path:
        """Where to write a file of this name. It replaces the one before, so that a visitor's folder cannot grow."""
        self._folder = self._folder or new_folder()
        return self._folder / name

    def close(self) -> None:
        """Cancel its requests, and forget its images and results."""
        PAGE.cancel(self.id, by_user=False)
        self.evidence.clear()
        self._states.clear()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
