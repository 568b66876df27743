"""The state of a training run: what a checkpoint holds, written so that a crash at any moment leaves a whole one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
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
_FORMAT, _EARLIER_FORMAT = "transflow-training 2", "transflow-training 1"
_MOMENTS = ("exp_avg", "exp_avg_sq")
_BUDGET = ("steps", "minutes")


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
    """

    step: int = 0
    images: int = 0
    seconds: float = 0.0
    skipped: int = 0
    measured: list[dict[str, float]] = field(default_factory=list)


def write_state(
    path: Path, flow: nn.Module, averaged: nn.Module, adam: torch.optim.Adam, counters: Counters, run: dict[str, Any]
) -> None:
    """Write a checkpoint beside `path` and move it there: whoever reads sees the old one or the new one, whole.

    Args:
        flow, averaged: what is trained, and its running mean.
        run: what must be equal for a run to continue: settings, architecture, data.
    """
    tensors = {f"flow.{name}": tensor for name, tensor in flow.state_dict().items()}
    tensors |= {f"averaged.{name}": tensor for name, tensor in averaged.state_dict().items()}
    for index, parameter in enumerate(adam.param_groups[0]["params"]):
        for moment in _MOMENTS:
            tensors[f"adam.{index}.{moment}"] = adam.state[parameter][moment]
        tensors[f"adam.{index}.step"] = adam.state[parameter]["step"]
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    written = path.with_suffix(".writing")
    header = {"format": _FORMAT, "counters": json.dumps(asdict(counters)), "run": json.dumps(run)}
    save_file(tensors, written, header)
    with written.open("rb") as file:
        os.fsync(file.fileno())
    written.replace(path)


def start_adam(adam: torch.optim.Adam) -> None:
    """Give every parameter the moments of step 0, laid out as the parameter is, as Adam's kernel needs them."""
    for parameter in adam.param_groups[0]["params"]:
        moments = {moment: torch.zeros_like(parameter, memory_format=torch.preserve_format) for moment in _MOMENTS}
        adam.state[parameter] = {"step": torch.zeros((), dtype=torch.float32, device=parameter.device), **moments}


def resumed_settings(folder: Path) -> Train:
    """The settings of the run in a folder. Raises TrainingError if there is none."""
    path = folder / STATE
    if not path.is_file():
        raise TrainingError(f"{folder} has no run to go on with")
    with _opened(path) as file:
        return Train(**_run(file, path)["settings"])


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The checkpoint, to be read; whatever is wrong with it is a TrainingError."""
    try:
        with safe_open(path, "pt") as file:
            yield file
    except TrainingError:
        raise
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise TrainingError(f"{path}: not a readable checkpoint of a training run ({error})") from error


def _run(file: Any, path: Path) -> dict[str, Any]:
    """What was written as `run`."""
    header = file.metadata() or {}
    if header.get("format") == _EARLIER_FORMAT:
        raise TrainingError(
            f"{path}: version 0.2.0 or an earlier one wrote this run, and only that version can go on with it. "
            "Its prior can be used, and trained further in another folder, with --from"
        )
    if header.get("format") != _FORMAT:
        raise TrainingError(f"{path} is not the checkpoint of a training run")
    return json.loads(header["run"])


def read_state(
    path: Path, flow: nn.Module, averaged: nn.Module, adam: torch.optim.Adam, run: dict[str, Any]
) -> Counters:
    """Put a checkpoint's tensors where they were, bit for bit, and tell where the run stands.

    Raises TrainingError if the file is damaged, or is of another run. The budget alone may be another one.
    """
    with _opened(path) as file:
        earlier = _run(file, path)
        for key, value in json.loads(json.dumps(run)).items():
            difference = _difference(earlier.get(key), value, _BUDGET if key == "settings" else ())
            if difference:
                raise TrainingError(f"{path}: the run has another {key}; it goes on only as it began ({difference})")
        with torch.no_grad():
            for prefix, module in (("flow", flow), ("averaged", averaged)):
                for name, tensor in module.state_dict().items():
                    tensor.copy_(_tensor(file, f"{prefix}.{name}", tensor))
            for index, parameter in enumerate(adam.param_groups[0]["params"]):
                for key, tensor in adam.state[parameter].items():
                    tensor.copy_(_tensor(file, f"adam.{index}.{key}", tensor))
        return Counters(**json.loads(file.metadata()["counters"]))


def _tensor(file: Any, name: str, like: Tensor) -> Tensor:
    tensor = file.get_tensor(name)
    if tensor.shape != like.shape:
        raise TrainingError(f"{name} has shape {tuple(tensor.shape)}, this run's is {tuple(like.shape)}")
    return tensor


def _difference(earlier: Any, now: Any, free: Sequence[str]) -> str:
    """In words, or "" if there is none but of what is free to change."""
    if isinstance(earlier, dict) and isinstance(now, dict):
        keys = [key for key in {**earlier, **now} if key not in free and earlier.get(key) != now.get(key)]
        return ", ".join(f"{key}: {earlier.get(key)!r}, now {now.get(key)!r}" for key in keys)
    return "" if earlier == now else f"{earlier!r}, now {now!r}"
