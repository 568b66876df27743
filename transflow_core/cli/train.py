"""`train`: a recipe whose run has a folder, a progress of its own, and an end that can be put off."""

from __future__ import annotations

import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..recipes import Recipe
from ..training import Train
from .output import Work, working

if TYPE_CHECKING:
    from ..training.state import Counters

__all__ = ["run_training"]


def run_training(
    model: type[Recipe],
    values: Mapping[str, Any],
    inputs: Mapping[str, Any],
    output: Path,
    device: str,
    as_json: bool,
) -> None:
    """Run the command of `Train`, from its options to the folder of the run."""
    with working(as_json, counted=False) as work:
        asked = Train.checked(values)
        from ..training.data import prepare
        from ..training.plan import plan
        from ..training.processes import Processes
        from ..training.trainer import train

        with _stopped_by_signals() as stop, Processes.joined(device) as group:
            work.speaks = group.first  # of several processes, one prints
            made = plan(asked, output, group)
            how = {"align_faces": made.settings.align, "held_out": made.settings.held_out, "progress": work.progress}
            images = group.first_then_all(lambda: prepare(inputs["data"], made.image_size, output / "images", **how))
            for why, count in images.left_out.items():
                work.say(f"left out {count} files: {why}")

            def show(done: int, total: int, words: str) -> None:
                work.progress(done, total, words)
                if words.startswith("measuring") and not work.live:
                    work.say(words)

            found = train(
                images,
                output,
                made,
                command=shlex.join(["python", "-m", "transflow_core", *sys.argv[1:]]),
                group=group,
                progress=show,
                cancel=stop,
            )
            if group.first:
                _report(work, found, output)


def _report(work: Work, found: Counters, folder: Path) -> None:
    last = found.measured[-1]
    work.result |= {name: getattr(found, name) for name in ("finished", "step", "images", "skipped", "measured")}
    work.result["minutes"] = found.seconds / 60
    work.say(
        f"{found.step:,} steps, {found.images:,} images: "
        f"{last['held_out_bits']:.4f} bits per dimension on {last['held_out_images']} held-out images"
    )
    if found.skipped:
        work.say(f"{found.skipped} steps were skipped: their gradient was not finite")
    work.wrote(folder)
    if not found.finished:
        work.say("stopped and saved; the same command with --resume continues")


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C or a scheduler's SIGTERM sets: work ends where it can be saved. A second Ctrl-C kills."""
    stop = threading.Event()
    earlier: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, _: Any) -> None:
        stop.set()
        signal.signal(number, earlier[number])
        print("stopping after this step; saving …", file=sys.stderr)

    try:
        for number in earlier:
            signal.signal(number, handle)
        yield stop
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
