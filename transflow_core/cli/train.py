"""The verb `train`."""

from __future__ import annotations

import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options
from .work import Work, working

if TYPE_CHECKING:
    from ..training import Progress, Trained

__all__ = ["train"]


def train(
    data: Annotated[Path, typer.Argument(help="A folder or a zip of images.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", help="The run's folder; the prior will lie there.")],
    preset: Annotated[
        str | None,
        typer.Option(help="celeba64, celeba128 (grows a 64×64 prior), or tiny32 (seconds). [default: celeba64]"),
    ] = None,
    grow: Annotated[
        str | None, typer.Option(help="A prior to grow by one level: its images become twice as large.")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="Begin with the weights of this prior; with --grow, of its details.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Budget on the clock; the schedule follows it.")] = None,
    steps: Annotated[int | None, typer.Option(help="Budget in steps: such a run repeats to the bit.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images a step, over all processes.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Adam's, after warm-up.")] = None,
    nets: Annotated[
        str, typer.Option(help="Coupling nets in float32, bfloat16, or auto: whichever is faster.")
    ] = "auto",
    align_faces: Annotated[
        str, typer.Option("--align", help="never: images are in the frame; auto: align faces; always: only faces.")
    ] = "never",
    held_out: Annotated[
        str, typer.Option(help="Kept from training: a share of the files, or a pattern of names: 'val*/*'.")
    ] = "0.02",
    bits: Annotated[int | None, typer.Option(min=1, max=8, help="Bits a channel that training sees.")] = None,
    seed: options.Seed = 0,
    every_minutes: Annotated[float | None, typer.Option(help="Between measurements, sheets and checkpoints.")] = None,
    name: Annotated[str | None, typer.Option(help="What the prior is called. [default: the folder's name]")] = None,
    data_words: Annotated[str, typer.Option("--data-words", help="For the card: what the images are.")] = "",
    licence: Annotated[str, typer.Option(help="For the card: on what terms they may be used.")] = "",
    blend: Annotated[
        float,
        typer.Option(
            help="With --from: the share of the trained weights in what is kept; the rest are those it began with, "
            "which keeps the flow steadier on images unlike its data."
        ),
    ] = 1.0,
    checkerboard: Annotated[
        float | None, typer.Option(help="With --from: weight of the checkerboard penalty. 300 works. [default: 0]")
    ] = None,
    interior: Annotated[float | None, typer.Option(hidden=True, help="The same: its name before 0.3.")] = None,
    half: Annotated[bool, typer.Option(help="Store the nets' weights in float16: half the size.")] = False,
    resume: Annotated[
        bool, typer.Option(help="Go on with the run in the folder; give the same options, but any budget.")
    ] = False,
    device: options.Device = "auto",
    as_json: options.AsJson = False,
) -> None:
    """Train a prior of your own images. Ctrl-C saves; --resume goes on. Under torchrun, processes share each batch."""
    from .. import training

    with (
        working(as_json, counted=False) as work,
        _stopped_by_signals() as stop,
        training.Processes.joined(device) as group,
    ):
        work.speaks = group.first  # of several processes, one tells
        plan = training.plan(
            output,
            preset=preset,
            grow=grow,
            start=start,
            nets=nets,
            bits=bits,
            blend=blend,
            half=half,
            resume=resume,
            group=group,
            minutes=minutes,
            steps=steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            every_minutes=every_minutes,
            checkerboard=interior if checkerboard is None else checkerboard,
            seed=seed,
        )
        reading = {"align_faces": align_faces, "held_out": held_out, "progress": work.progress}
        images = group.first_then_all(lambda: training.prepare(data, plan.image_size, output / "images", **reading))
        for why, count in images.left_out.items():
            work.say(f"left out {count} files: {why}")
        trained = training.train(
            images,
            output,
            plan,
            name=name or output.resolve().name,
            words={"data": data_words, "licence": licence, "command": _command()},
            group=group,
            progress=lambda now: _show(work, now),
            cancel=stop,
        )
        if group.first:
            _tell(work, trained)


def _show(work: Work, now: Progress) -> None:
    left = "" if now.seconds_left is None else f", {_time(now.seconds_left)} left"
    known = "" if now.held_out_bits is None else f" (held out {now.held_out_bits:.4f})"
    bits = "" if now.bits is None else f", {now.bits:.4f} bits{known}, {now.images_per_s:.0f} images/s"
    words = f"{now.doing}: step {now.step:,}{bits}{left}"
    work.progress(round(1000 * now.fraction), 1000, words)
    if now.doing != "training" and not work.live:
        work.say(words)


def _tell(work: Work, trained: Trained) -> None:
    last = trained.measured[-1]
    work.result |= {
        "finished": trained.finished,
        "step": trained.step,
        "images": trained.images,
        "minutes": trained.seconds / 60,
        "skipped": trained.skipped,
        "measured": trained.measured,
    }
    work.say(
        f"{trained.step:,} steps, {trained.images:,} images: "
        f"{last['held_out_bits']:.4f} bits per dimension on {last['held_out_images']} held-out images"
    )
    if trained.skipped:
        work.say(f"{trained.skipped} steps were skipped: their gradient was not finite")
    work.wrote(trained.folder)
    if not trained.finished:
        work.say("stopped and saved; the same command with --resume goes on")


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


def _command() -> str:
    """The command as it was given, for the model card."""
    return shlex.join(["python", "-m", "transflow_core", *sys.argv[1:]])


def _time(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
