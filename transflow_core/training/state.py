"""The state of a training run: what a checkpoint holds, written so that a crash at any moment leaves a whole one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from .recipe import Train, TrainingError

STATE = "training.safetensors"
_FORMAT = "transflow-training 3"
_MOMENTS = ("exp_avg", "exp_avg_sq")


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


def _tensors(flow: nn.Module, averaged: nn.Module, adam: torch.optim.Adam) -> dict[str, Tensor]:
    """All tensors of a run, by their names in the file."""
    tensors = {f"flow.{name}": tensor for name, tensor in flow.state_dict().items()}
    tensors |= {f"averaged.{name}": tensor for name, tensor in averaged.state_dict().items()}
    for index, parameter in enumerate(adam.param_groups[0]["params"]):
        tensors |= {f"adam.{index}.{key}": tensor for key, tensor in adam.state[parameter].items()}
    return tensors


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
    tensors = _tensors(flow, averaged, adam).items()
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors}
    written = path.with_suffix(".writing")
    header = {"format": _FORMAT, "counters": json.dumps(asdict(counters)), "run": json.dumps(run)}
    header["settings"] = settings.model_dump_json(exclude={"resume"})
    save_file(tensors, written, header)
    with written.open("rb") as file:
        os.fsync(file.fileno())
    written.replace(path)


def start_adam(adam: torch.optim.Adam) -> None:
    """Give every parameter the moments of step 0, laid out as the parameter is, as Adam's kernel needs them."""
    for parameter in adam.param_groups[0]["params"]:
        moments = {moment: torch.zeros_like(parameter, memory_format=torch.preserve_format) for moment in _MOMENTS}
        adam.state[parameter] = {"step": torch.zeros((), dtype=torch.float32, device=parameter.device), **moments}


def resumed_settings(folder: Path) -> dict[str, Any]:
    """The settings of the run in a folder. Raises TrainingError if there is none."""
    path = folder / STATE
    if not path.is_file():
        raise TrainingError(f"{folder} has no run to go on with")
    with _opened(path) as (_, header):
        return json.loads(header["settings"])


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, dict[str, str]]]:
    """The checkpoint and its header, to be read; whatever is wrong with it is a TrainingError."""
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            if header.get("format") != _FORMAT:
                raise TrainingError(
                    f"{path}: {header.get('format', 'no training run')!r}, not {_FORMAT!r}. A run goes on with the "
                    "version that began it; its prior can be trained further in another folder, with --start"
                )
            yield file, header
    except TrainingError:
        raise
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise TrainingError(f"{path}: not a readable checkpoint of a training run ({error})") from error


def read_state(
    path: Path, flow: nn.Module, averaged: nn.Module, adam: torch.optim.Adam, run: dict[str, Any]
) -> Counters:
    """Put a checkpoint's tensors where they were, bit for bit, and tell where the run stands.

    Raises TrainingError if the file is damaged, or is of another run.
    """
    with _opened(path) as (file, header), torch.no_grad():
        earlier = json.loads(header["run"])
        for key, now in json.loads(json.dumps(run)).items():
            if earlier[key] != now:
                raise TrainingError(f"{path}: it goes on only as it began ({key}: {earlier[key]!r}, now {now!r})")
        for name, tensor in _tensors(flow, averaged, adam).items():
            found = file.get_tensor(name)
            if found.shape != tensor.shape:
                raise TrainingError(f"{name} has shape {tuple(found.shape)}, this run's is {tuple(tensor.shape)}")
            tensor.copy_(found)
        return Counters(**json.loads(header["counters"]))
