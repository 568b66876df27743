"""The checkpoint of a training run, written so that a crash at any moment leaves a whole one."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from .recipe import TrainingError

STATE = "training.pt"
_FORMAT = "transflow-training 3"


@dataclass
class Counters:
    """Where a run stands. The randomness of a step follows from the seed and the step's number alone.

    Attributes:
        step: steps taken, skipped ones included.
        images: images seen.
        seconds: of the run so far, without the time between a stop and a resume.
        skipped: steps whose gradient was not finite.
        measured: a dict for each measurement on held-out images.
        levels: where the bits were at the last one (see `bits_per_level`).
        finished: whether the budget is used.
    """

    step: int = 0
    images: int = 0
    seconds: float = 0.0
    skipped: int = 0
    measured: list[dict[str, float]] = field(default_factory=list)
    levels: list[dict[str, Any]] = field(default_factory=list)
    finished: bool = False


def write_state(folder: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint beside the one of the folder and move it there: a reader sees either of them whole."""
    written = folder / "training.writing"
    with written.open("wb") as file:
        torch.save({"format": _FORMAT, **state}, file)
        file.flush()
        os.fsync(file.fileno())
    written.replace(folder / STATE)


def read_state(folder: Path) -> dict[str, Any]:
    """The checkpoint in a folder. Raises TrainingError if there is none, or whatever is wrong with it."""
    path = folder / STATE
    if not path.is_file():
        raise TrainingError(f"{folder} has no run to go on with")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # an unpickler has many ways to fail
        raise TrainingError(f"{path}: not a readable checkpoint of a training run ({error})") from error
    if not isinstance(state, dict) or state.get("format") != _FORMAT:
        raise TrainingError(f"{path}: no training run of this version, which alone could go on with it")
    return state
