"""What belongs to one visitor: evidence, results, files, turns, and an end."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections import deque
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar, TypeVar

import gradio as gr

from transflow_core.intake import Intake

from .gradio_compat import upload_folder
from .janitor import AGE
from .queues import VISITORS, Stop

__all__ = ["Session", "new_folder"]

T = TypeVar("T")
# Seconds. An open page keeps what it was given for a working day; one that was closed, as long as a reconnecting phone
# may take.
_IDLE, _LEFT, _EVERY = 8 * 3600, 600, 60
# So many sessions are kept; the one that was used longest ago goes first. 18 images of evidence are 4 to 10 MB.
_MOST = 300


class Session:
    """One visitor's page, from its opening to its end. Each handler of `events.on` is given its own.

    It is found by Gradio's session hash and not kept in a gr.State: a handler that waits for its turn must see what the
    one before it left, and Gradio reads a State before it calls; nor would a State tell when it is over.

    Attributes:
        id: owner of the visitor's work.
        intakes: what each place of the page was given.
        tab: the tab that is looked at.
        lost: whether there was one before it, which is over, so that what the page shows is forgotten.
    """

    _all: ClassVar[dict[str, Session]] = {}
    _over: ClassVar[deque[str]] = deque(maxlen=2000)  # ids of sessions that are over
    _lock: ClassVar[threading.Lock] = threading.Lock()
    _swept: ClassVar[float] = 0.0

    def __init__(self, id: str) -> None:
        self.id = id
        self.intakes: dict[str, Intake] = {}
        self.tab = "studio"
        self.lost = id in Session._over
        self._kept: dict[type, object] = {}
        self._places: set[str] = set()
        self._folder: Path | None = None
        self._over_at = 0.0
        self.touch()

    @classmethod
    def of(cls, request: gr.Request | None) -> Session:
        """The session of who asks, kept for longer by being asked for. Sessions that are over are closed on the way."""
        key = (request and request.session_hash) or ""
        with cls._lock:
            session = cls._all.pop(key, None) or cls(key or secrets.token_hex(8))
            session.touch()
            cls._all[session.id] = session  # the last one, since it is used
            due = time.monotonic() - cls._swept > _EVERY or len(cls._all) > _MOST
        if due:
            cls.sweep()
        return session

    @classmethod
    def sweep(cls) -> None:
        """Close the sessions that are over, and where there are too many those that were used longest ago."""
        with cls._lock:
            cls._swept = now = time.monotonic()
            over = [session for session in cls._all.values() if session._over_at < now]
            over += list(cls._all.values())[: max(0, len(cls._all) - len(over) - _MOST)]
            for session in over:
                cls._all.pop(session.id, None)
                cls._over.append(session.id)
        for session in over:
            session.close()

    @classmethod
    def left(cls, request: gr.Request) -> None:
        """The page was closed, or its connection is lost: what it asked for ends; what it was given stays a while."""
        with cls._lock:
            session = cls._all.get(request.session_hash or "")
        if session is not None:
            session._end_work()
            session._over_at = time.monotonic() + min(_LEFT, AGE)

    @classmethod
    def in_use(cls) -> list[Path]:
        """Files that sessions may read again, under another prior say, and the folders of their results.

        The janitor asks every minute. Sessions that are over are closed on the way, so that they end on a page that
        nobody visits any more as well.
        """
        cls.sweep()
        with cls._lock:
            sessions = list(cls._all.values())
        held = [session._folder for session in sessions if session._folder is not None]
        for session in sessions:
            for intake in tuple(session.intakes.values()):
                held += [Path(source) for source in intake.sources if isinstance(source, str | Path)]
        return held

    def touch(self) -> None:
        """Keep it for longer."""
        self._over_at = time.monotonic() + _IDLE

    def of_kind(self, kind: type[T]) -> T:
        """What a part of the page keeps for this visitor: the one object of this class, made at its first use."""
        return self._kept.setdefault(kind, kind())  # type: ignore[return-value]

    def turn(self, place: str, *, newest: bool = False) -> AbstractContextManager[Stop]:
        """This visitor's turn in a place of the page; see `Lane.turn`."""
        self._places.add(place)
        return VISITORS.turn((self.id, place), newest=newest)

    def stop(self, place: str) -> None:
        """The person pressed Stop: end what runs and waits in a place."""
        VISITORS.stop((self.id, place))

    def busy(self, place: str) -> bool:
        """Whether something runs or waits in a place."""
        return VISITORS.busy((self.id, place))

    def file(self, name: str) -> Path:
        """Where to write a file of this name, over the one before it, so that a visitor's folder cannot grow.

        The folder is made when it is first needed, and anew when a cleaner took it.
        """
        if self._folder is None or not self._folder.is_dir():
            self._folder = new_folder()
        return self._folder / name

    def close(self) -> None:
        """End its work, and forget what it was given and made."""
        self._end_work()
        self.intakes.clear()
        self._kept.clear()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _end_work(self) -> None:
        for place in tuple(self._places):
            VISITORS.stop((self.id, place), by_hand=False)


def new_folder() -> Path:
    """In Gradio's own cache, from which it serves files and removes old ones, under a name nobody can guess."""
    folder = Path(upload_folder()).resolve() / secrets.token_hex(20)
    folder.mkdir(parents=True)
    return folder
