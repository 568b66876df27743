"""What belongs to one visitor: a Stop, and a folder for the files to take away."""

import shutil
import tempfile
import threading
from pathlib import Path

__all__ = ["Stop", "Workspace"]


class Stop:
    """A session's own Stop: set by the button, looked at between images. Each session gets its own by being copied."""

    def __init__(self) -> None:
        self.event = threading.Event()

    def __deepcopy__(self, memo: dict) -> "Stop":
        return Stop()


class Workspace:
    """A session's own folder. Its files have fixed names and are written over, so that it cannot grow.

    Attributes:
        shown: what the whole images on the screen were made from; None while previews stand there.
        rebuilt: evidence, and how the page shows it decoded again: λ plays no part in it.
    """

    def __init__(self) -> None:
        self._folder: Path | None = None
        self.shown: tuple | None = None
        self.rebuilt: tuple[object, str] = (None, "")

    def __deepcopy__(self, memo: dict) -> "Workspace":
        return Workspace()

    def file(self, name: str) -> Path:
        """Where to write a file of this name."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="transflow-"))
        return self._folder / name

    def close(self) -> None:
        """Remove the folder, when the session is over."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
