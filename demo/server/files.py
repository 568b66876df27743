"""The folder of uploads and results: of this process alone, deleted by age and size.

Gradio's `delete_cache` deletes by age alone, also what is in use; it knows no bound of all files together, and no files
of a killed process. So all files lie in one folder, and the cleanup deletes whatever is not in use.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from transflow_core.runtime import give_back

_log = logging.getLogger(__name__)
_PREFIX = "transflow-studio-"
# Seconds. A file is read within an hour of being made, or a session uses it; the host may set less.
AGE, EVERY = float(os.environ.get("TRANSFLOW_KEEP", 3600)), 60.0
FILE = 2 * 4096
"""Bytes that a file takes on disk beside its content: up to a block, and its folder."""
TOTAL = 4 * 2**30
"""Bytes that all files together may have: what Spaces and small hosts have to spare."""
_made: set[str] = set()


def own_folder() -> Path:
    """A new folder, that only this user may read, for Gradio's uploads and results; made once in a process.

    It lies in the system's folder for temporary files, or in GRADIO_TEMP_DIR, which is set to it then. All programs
    with Gradio share Gradio's own folder, so the cleanup must not delete there. Where GRADIO_TEMP_DIR is a folder of
    this process already, it stays: a second page of this process must not move the uploads of the first.
    """
    within = os.environ.get("GRADIO_TEMP_DIR")
    if within not in _made or not os.path.isdir(within):
        if within is not None:
            Path(within).mkdir(parents=True, exist_ok=True)
        own = os.path.realpath(tempfile.mkdtemp(prefix=_PREFIX, dir=within))
        _lock(own)
        os.environ["GRADIO_TEMP_DIR"] = own
        _made.add(own)
        atexit.register(shutil.rmtree, own, ignore_errors=True)
    return upload_folder()


def _lock(folder: str | Path) -> int | None:
    """Lock a folder until this process ends. None where a process has it, or the system locks no folders."""
    with contextlib.suppress(OSError, ImportError):
        import fcntl  # not on Windows

        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
        except OSError:
            os.close(handle)
    return None


def upload_folder() -> Path:
    """Where Gradio puts uploads, and finds the files that it serves."""
    return Path(os.environ.get("GRADIO_TEMP_DIR") or own_folder()).resolve()


def new_folder() -> Path:
    """A new folder there for results, under a name nobody can guess."""
    folder = upload_folder() / secrets.token_hex(20)
    folder.mkdir(parents=True)
    return folder


def _age(path: Path) -> float:
    """Seconds since it was changed; none where another process deleted it."""
    with contextlib.suppress(OSError):
        return time.time() - path.lstat().st_mtime
    return 0.0


class Cleanup:
    """Deletes old files of a folder, now and every minute (`run`), and folders of processes that have ended.

    Args:
        used: returns the files and folders in use. They stay however old they are, and go last where there are too many
            bytes: the program has read these pictures already.

    Attributes:
        size: bytes in the folder after the last sweep, and of uploads that came since.
    """

    def __init__(self, used: Callable[[], Iterable[Path]], folder: Path) -> None:
        self._used, self._folder, self.size = used, folder, 0
        self.sweep()

    def sweep(self) -> None:
        """Once, now. Empty folders go, too."""
        if self._folder.name.startswith(_PREFIX):
            for other in self._folder.parent.glob(f"{_PREFIX}*"):
                # A new one is about to be locked.
                if _age(other) > EVERY and (lock := _lock(other)) is not None:
                    shutil.rmtree(other, ignore_errors=True)
                    os.close(lock)
        now, kept = time.time(), {path.resolve() for path in self._used()}

        def stays(path: Path) -> bool:
            real = path.resolve()
            return not kept.isdisjoint((real, *real.parents))

        files = []
        for parent, _, names in os.walk(self._folder):
            for path in (Path(parent, name) for name in names):
                with contextlib.suppress(OSError):  # another process deleted it
                    status = path.lstat()
                    # Gradio moves and links files: the time when a file came here counts.
                    files.append((stays(path), max(status.st_mtime, status.st_ctime), status.st_size + FILE, path))
        size = sum(bytes_ for _, _, bytes_, _ in files)
        for is_used, made, bytes_, path in sorted(files):
            if size > TOTAL or (now - made > AGE and not is_used):
                try:
                    path.unlink()
                    size -= bytes_
                except OSError as error:
                    _log.warning("a file could not be removed: %s", error.strerror)
        self.size = size
        for parent, _, _ in os.walk(self._folder, topdown=False):
            path = Path(parent)
            # A folder that was made a moment ago is about to be written to.
            if path != self._folder and _age(path) > EVERY and not stays(path):
                with contextlib.suppress(OSError):  # it is not empty
                    path.rmdir()

    def run(self) -> None:
        """Sweep every minute, for ever. It also returns free memory to the system."""
        while True:
            time.sleep(EVERY)
            try:
                self.sweep()
            except Exception:
                _log.exception("the sweep of old files failed")
            give_back()  # memory that many visitors took at a time, and that is free now
