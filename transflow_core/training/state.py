"""The state of a training run: what a checkpoint holds, written so that a crash at any moment leaves a whole one."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .recipe import Train, TrainingError

STATE = "training.pt"
_FORMAT = "transflow-training 3"


@dataclass
class Counters:
    """Where a run stands.

    All randomness of a step (which images, mirrored or not, what noise) follows from the seed and the step's number,
    so that the number is the whole random state, and any number of processes draw the same.

    Attributes:
        step: steps taken, skipped ones included.
        images: images seen.
        seconds: of the run so far, over all its sittings.
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


def write_state(
    path: Path,
    flow: nn.Module,
    averaged: nn.Module,
    adam: torch.optim.Adam,
    counters: Counters,
    settings: Train,
    run: dict[str, Any],
) -> None:
    """Write a checkpoint beside `path` and move it there: whoever reads sees the old one or the new one, whole.

    Args:
        flow, averaged: what is trained, and its running mean.
        settings: what a run goes on with where nothing else is asked for.
        run: what must be equal for a run to go on.
    """
    facts = {"format": _FORMAT, "counters": asdict(counters), "settings": settings.model_dump(exclude={"resume"})}
    states = {"flow": flow.state_dict(), "averaged": averaged.state_dict(), "adam": adam.state_dict()}
    written = path.with_suffix(".writing")
    with written.open("wb") as file:
        torch.save(facts | states | {"run": run}, file)
        file.flush()
        os.fsync(file.fileno())
    written.replace(path)


def resumed_settings(folder: Path) -> dict[str, Any]:
    """The settings of the run in a folder. Raises TrainingError if there is none."""
    if not (folder / STATE).is_file():
        raise TrainingError(f"{folder} has no run to go on with")
    return _read(folder / STATE)["settings"]


def read_state(
    path: Path, flow: nn.Module, averaged: nn.Module, adam: torch.optim.Adam, run: dict[str, Any]
) -> Counters:
    """Put a checkpoint's tensors where they were, bit for bit, and tell where the run stands.

    Raises TrainingError if the file is damaged, or is of another run.
    """
    state = _read(path)
    for key, now in run.items():
        if state["run"][key] != now:
            raise TrainingError(f"{path}: it goes on only as it began ({key}: {state['run'][key]!r}, now {now!r})")
    flow.load_state_dict(state["flow"])
    averaged.load_state_dict(state["averaged"])
    adam.load_state_dict(state["adam"])
    return Counters(**state["counters"])


def _read(path: Path) -> dict[str, Any]:
    """The checkpoint; whatever is wrong with it is a TrainingError."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # an unpickler has many ways to fail
        raise TrainingError(f"{path}: not a readable checkpoint of a training run ({error})") from error
    if not isinstance(state, dict) or state.get("format") != _FORMAT:
        raise TrainingError(f"{path}: no training run of this version, which alone could go on with it")
    return state
