"""The cleanup: files of visitors, in a folder of this process alone, deleted by age and size; and free memory.

Gradio forgets most of the files that it writes (its `delete_cache` knows the results, and not their copies), and files
of a killed process stay for ever. So all files lie in one folder, and the cleanup deletes whatever is not in use.
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

from ..gradio_compat import upload_folder

__all__ = ["Cleanup", "in_use", "own_folder", "sweep"]

_log = logging.getLogger(__name__)
_PREFIX = "transflow-studio-"
# Seconds. A file is read within an hour of being made, or a session uses it; the host may set less. A folder that no
# process touched for ten sweeps belongs to a process that has ended.
AGE, EVERY, DEAD = float(os.environ.get("TRANSFLOW_KEEP", 3600)), 60.0, 600.0
TOTAL = 4 * 2**30
"""Bytes that all files together may have: what Spaces and small hosts have to spare."""


_made: set[Path] = set()


def own_folder() -> Path:
    """A new folder, that only this user may read, for Gradio's uploads and results; made once in a process.

    It lies in the system's folder for temporary files, or in GRADIO_TEMP_DIR, which is set to it then. All programs
    with Gradio share Gradio's own folder, so the cleanup must not delete there. Where GRADIO_TEMP_DIR is a folder of
    this process already, it stays: a second page of this process must not move the uploads of the first.
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
    used: Collection[Path] = (),
    age: float = AGE,
    total: int = TOTAL,
    now: float | None = None,
) -> int:
    """Delete the files under a folder that are older than `age` seconds, and the oldest while there are more than
    `total` bytes; then the empty folders. Returns the bytes that remain.

    Args:
        used: files, and folders, in use. They stay however old they are, and go last where there are too many bytes:
            the program has read these pictures already.
        now: seconds since the epoch.
    """
    now = time.time() if now is None else now
    kept = {os.path.realpath(path) for path in used}
    files, size = [], 0
    for parent, folders, names in os.walk(folder):
        real = os.path.realpath(parent)
        if real in kept:
            kept |= {os.path.join(real, name) for name in folders}
        for name in names:
            path = os.path.join(parent, name)
            try:
                status = os.lstat(path)
            except OSError:
                continue  # another process deleted it
            size += status.st_size
            # Gradio moves and links files: the time when a file came here counts.
            made = max(status.st_mtime, status.st_ctime)
            files.append((real in kept or os.path.realpath(path) in kept, made, status.st_size, path))
    for is_used, made, bytes_, path in sorted(files):
        if size > total or (now - made > age and not is_used):
            try:
                os.unlink(path)
            except OSError as error:
                _log.warning("a file could not be removed: %s", error.strerror)
                continue
            size -= bytes_
    for parent, _, _ in os.walk(folder, topdown=False):
        # A folder that was made a moment ago is about to be written to.
        if parent != str(folder) and now - _changed(parent) > EVERY and os.path.realpath(parent) not in kept:
            try:
                os.rmdir(parent)
            except OSError:
                continue  # not empty
    return size


def _changed(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return time.time()


_used: Counter[Path] = Counter()
_lock = threading.Lock()


@contextmanager
def in_use(files: Collection[Path]) -> Iterator[None]:
    """Within, these files are in use: an API call that waits in a queue finds its files, however long it waits."""
    with _lock:
        _used.update(files)
    try:
        yield
    finally:
        with _lock:
            _used.subtract(files)
            for file in [file for file in files if not _used[file]]:
                del _used[file]


class Cleanup:
    """Sweeps a folder every minute in a thread of its own, from now on; and folders of processes that have ended. It
    also returns free memory to the system.

    Args:
        used: returns the files and folders that visitors still use.
        folder, age, total: see `sweep`.

    Attributes:
        size: bytes in the folder after the last sweep.
    """

    def __init__(self, used: Callable[[], Iterable[Path]], folder: Path, age: float = AGE, total: int = TOTAL) -> None:
        self._used, self._folder, self._age, self.total, self.size = used, folder, age, total, 0
        self._over = threading.Event()
        self.sweep()
        threading.Thread(target=self._run, name="cleanup", daemon=True).start()

    def sweep(self) -> None:
        """Once, now."""
        if self._folder.name.startswith(_PREFIX):
            if self._folder.is_dir():
                os.utime(self._folder)  # this process lives
            for other in self._folder.parent.glob(f"{_PREFIX}*"):
                if other != self._folder and time.time() - _changed(str(other)) > DEAD:
                    shutil.rmtree(other, ignore_errors=True)
        with _lock:
            used = list(_used)
        self.size = sweep(self._folder, [*used, *self._used()], self._age, self.total)

    def close(self) -> None:
        """Sweep no more."""
        self._over.set()

    def _run(self) -> None:
        while not self._over.wait(EVERY):
            try:
                self.sweep()
            except Exception:
                _log.exception("the sweep of old files failed")
            give_back()  # memory that many visitors took at a time, and that is free now
