"""A verb under way: what it says, its progress, its result for `--json`, and how it ends when something is wrong."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn

from ..shipped import shipped_image_size

if TYPE_CHECKING:
    from ..engine import Engine
    from ..worker import PictureLane

__all__ = ["Work", "working"]

# Starting a process takes as long as reading a few pictures; and pictures that are read wait in memory.
_WORTH_A_PROCESS, _BEGUN = 8, 64


class Work:
    """One verb under way.

    Attributes:
        result: what `--json` prints when it is done.
        live: whether a bar is shown, so that progress need not be said as well.
        speaks: False where another process of the same run tells.
    """

    def __init__(self, as_json: bool, bar: Progress) -> None:
        self.as_json, self._bar = as_json, bar
        self.live, self.speaks = not bar.disable, True
        self.result: dict[str, Any] = {}
        self._task = bar.add_task("loading", total=None)

    def say(self, words: str) -> None:
        """Words for a person: on standard output, or on standard error when that is taken by JSON."""
        if self.speaks:
            print(words, file=sys.stderr if self.as_json else sys.stdout)

    def wrote(self, path: Path) -> None:
        """Note a file that was written."""
        self.result.setdefault("files", []).append(str(path))
        self.say(f"wrote {path}")

    def progress(self, done: int, total: int, what: str) -> None:
        """An engine's progress, as a bar on standard error."""
        self._bar.update(self._task, completed=done, total=total, description=what)

    def engine(self, prior: str, device: str, reads: list[Path] | None = None, **how: Any) -> Engine:
        """The prior at work, noted in the result; keywords as for `Engine`.

        Pictures that it `reads`, by these keywords (see `read_picture`), are begun while torch is loaded.
        """
        if reads is not None:
            how = {"pictures": _lane(prior, reads, **how)}
        from ..engine import Engine
        from ..prior import load_prior

        engine = Engine(load_prior(prior, device=device), **how)
        self.result |= {"prior": engine.prior.name, "device": str(engine.prior.device)}
        return engine


def _lane(prior: str, paths: list[Path], **how: Any) -> PictureLane | None:
    """Processes that read pictures, which have begun if the prior's size is known; for a few it is not worth it."""
    from ..images import ImageError, find_images
    from ..worker import PictureLane

    try:
        files = find_images(paths)
    except ImageError:
        return None  # it is said when they are asked for
    if len(files) < _WORTH_A_PROCESS:
        return None
    lane, size = PictureLane(), shipped_image_size(prior)
    if size is not None:
        lane.begin(files[:_BEGUN], size=size, **how)
    return lane


@contextmanager
def working(as_json: bool, counted: bool = True) -> Iterator[Work]:
    """Run one verb: progress while it works, its JSON when it is done, and errors as one plain sentence."""
    start = time.perf_counter()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn() if counted else TaskProgressColumn())
    console = Console(stderr=True)
    try:
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
            work = Work(as_json, bar)
            yield work
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from error
    if as_json and work.speaks:
        print(json.dumps(work.result | {"seconds": round(time.perf_counter() - start, 3)}))
