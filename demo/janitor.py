"""What visitors leave behind: files, in a folder of this process alone, swept by age and size, and memory.

Gradio forgets most of the files that it writes (its `delete_cache` knows what it handed over itself, and not what it
copied), and what a killed process left stays for ever. So all lies in one folder, and whatever is not in use goes.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from transflow_core.runtime import give_back

from .gradio_compat import upload_folder

__all__ = ["Janitor", "held", "own_folder", "sweep"]

_log = logging.getLogger(__name__)
_PREFIX = "transflow-studio-"
# Seconds. A file is looked at within an hour of being made, or a session holds it (`in_use`); the host may say less. A
# folder that no process has touched for ten sweeps is of one that is over.
AGE, EVERY, DEAD = float(os.environ.get("TRANSFLOW_KEEP", 3600)), 60.0, 600.0
TOTAL = 4 * 2**30
"""Bytes that all files together may have: what Spaces and small hosts have to spare."""


_made: set[Path] = set()


def own_folder() -> Path:
    """A new folder, that only this user may read, for Gradio's uploads and results; made once in a process.

    It lies in the system's folder for such, or in GRADIO_TEMP_DIR, which names it from then on. Neither is ours to
    sweep: Gradio's own is shared by all its programs on a machine. Where GRADIO_TEMP_DIR names one that was made here,
    that one it is: a second page of this process must not move the first one's uploads.
    """
    own = Path(upload_folder())
    if own not in _made or not own.is_dir():
        within = os.environ.get("GRADIO_TEMP_DIR")
        if within is not None:
            Path(within).mkdir(parents=True, exist_ok=True)
        own = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=within)).resolve()
        os.environ["GRADIO_TEMP_DIR"] = str(own)
        _made.add(own)
        atexit.register(shutil.rmtree, own, ignore_errors=True)
    return own


def sweep(
    folder: Path,
    in_use: Collection[Path] = (),
    age: float = AGE,
    total: int = TOTAL,
    now: float | None = None,
) -> int:
    """Delete the files under a folder that are older than `age` seconds, and the oldest while there are more than
    `total` bytes; then folders that are empty. Returns the bytes that are left.

    Args:
        in_use: files, and folders, that stay however old they are, and go last of all where there are too many bytes:
            what was read from a picture is kept elsewhere.
        now: seconds since the epoch.
    """
    now = time.time() if now is None else now
    used = {os.path.realpath(path) for path in in_use}
    files, left = [], 0
    for place, folders, names in os.walk(folder):
        real = os.path.realpath(place)
        if real in used:
            used |= {os.path.join(real, name) for name in folders}
        for name in names:
            path = os.path.join(place, name)
            try:
                status = os.lstat(path)
            except OSError:
                continue  # somebody else was quicker
            left += status.st_size
            # Gradio moves and links files: what counts is when it came here.
            made = max(status.st_mtime, status.st_ctime)
            files.append((real in used or os.path.realpath(path) in used, made, status.st_size, path))
    for is_used, made, size, path in sorted(files):
        if left > total or (now - made > age and not is_used):
            try:
                os.unlink(path)
            except OSError as error:
                _log.warning("a file could not be removed: %s", error.strerror)
                continue
            left -= size
    for place, _, _ in os.walk(folder, topdown=False):
        # A folder that was made a moment ago is about to be written to.
        if place != str(folder) and now - _changed(place) > EVERY and os.path.realpath(place) not in used:
            try:
                os.rmdir(place)
            except OSError:
                continue  # not empty
    return left


def _changed(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return time.time()


_held: Counter[Path] = Counter()
_holding = threading.Lock()


@contextmanager
def held(files: Collection[Path]) -> Iterator[None]:
    """Within, these files are in use: a call that waits for its turn finds what it was given, however long it takes."""
    with _holding:
        _held.update(files)
    try:
        yield
    finally:
        with _holding:
            _held.subtract(files)
            for file in [file for file in files if not _held[file]]:
                del _held[file]


class Janitor:
    """Sweeps a folder every minute in a thread of its own, from now on; and folders that dead processes left. Memory
    that was taken and is free goes back to the system then.

    Args:
        in_use: gives the files and folders that visitors still use.
        folder, age, total: see `sweep`.

    Attributes:
        left: bytes in the folder after the last sweep.
    """

    def __init__(
        self, in_use: Callable[[], Iterable[Path]], folder: Path, age: float = AGE, total: int = TOTAL
    ) -> None:
        self._in_use, self._folder, self._age, self.total, self.left = in_use, folder, age, total, 0
        self._over = threading.Event()
        self.sweep()
        threading.Thread(target=self._run, name="janitor", daemon=True).start()

    def sweep(self) -> None:
        """Once, now."""
        if self._folder.name.startswith(_PREFIX):
            if self._folder.is_dir():
                os.utime(self._folder)  # this process lives
            for other in self._folder.parent.glob(f"{_PREFIX}*"):
                if other != self._folder and time.time() - _changed(str(other)) > DEAD:
                    shutil.rmtree(other, ignore_errors=True)
        with _holding:
            in_use = list(_held)
        self.left = sweep(self._folder, [*in_use, *self._in_use()], self._age, self.total)

    def close(self) -> None:
        """Sweep no more."""
        self._over.set()

    def _run(self) -> None:
        while not self._over.wait(EVERY):
            try:
                self.sweep()
            except Exception:
                _log.exception("the sweep of old files failed")
            give_back()  # of what many visitors took at a time, and nobody needs now
