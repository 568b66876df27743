"""A few-shot classifier as a safetensors file. What is read is untrusted: everything is checked before it is used."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..limits import CLASSES_OF_FILE, Range, count, number
from ..untrusted import MAX_HEADER, open_safetensors

__all__ = ["read_classifier", "write_classifier"]

FORMAT, VERSION = "transflow-classifier", 2
_MAX_DIM, _MAX_COLUMNS, _MAX_PARTS = 2**22, 4096, 32
_TYPES = {
    "counts": "F64",
    "means": "F32",
    "centre": "F32",
    "novelty.known": "F64",
    "novelty.novel": "F64",
    "novelty.covariance": "F64",
}
_SIGMA = {"rest": "F64", "basis": "F32", "along": "F64"}


def write_classifier(path: str | Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write the named tensors and facts to one file. Raises ValueError if the class names are too long for it."""
    document = json.dumps({"format": FORMAT, "version": VERSION, **facts})
    if len(document) > MAX_HEADER // 4:
        raise ValueError("the names of the classes are too long to be saved")
    stored = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    save_file(stored, path, {"classifier": document})


def read_classifier(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_classifier` wrote. Raises ValueError with what is wrong, FileNotFoundError if there is none."""
    path = Path(path)
    with open_safetensors(path, "classifier") as handle:
        try:
            facts = _facts((handle.metadata() or {}).get("classifier"))
            names = list(handle.keys())
            _check_shapes(
                {name: tuple(handle.get_slice(name).get_shape()) for name in names},
                {name: handle.get_slice(name).get_dtype() for name in names},
                len(facts["classes"]),
                [stop for stop, _ in facts["parts"]],
            )
            tensors = {name: handle.get_tensor(name).clone() for name in names}
            _check_numbers(tensors)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    return tensors, facts


def _facts(text: str | None) -> dict[str, Any]:
    if text is None:
        raise ValueError("there is no classifier in this file; was it saved by this program?")
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its description is not JSON ({error})") from error
    if not isinstance(facts, dict) or (facts.get("format"), facts.get("version")) != (FORMAT, VERSION):
        raise ValueError(f"its description is not of format {FORMAT!r}, version {VERSION}")
    classes = facts.get("classes")
    if (
        not isinstance(classes, list)
        or len(classes) not in CLASSES_OF_FILE
        or not all(isinstance(name, str) and name.isprintable() for name in classes)
        or len(set(classes)) != len(classes)
    ):
        raise ValueError("its classes must be a list of different printable names")
    parts = facts.get("parts")
    if not isinstance(parts, list) or not 1 <= len(parts) <= _MAX_PARTS:
        raise ValueError(f"its parts must be a list of at most {_MAX_PARTS}")
    for part in parts:
        if not isinstance(part, list) or len(part) != 2:
            raise ValueError("each of its parts must be its end and its weight")
        part[:] = count(part[0], "the end of a part", Range(1, _MAX_DIM)), number(part[1], "a weight", Range(1e-9, 1))
    if not isinstance(facts.get("likelihood"), str) or not isinstance(facts.get("fingerprint"), str):
        raise ValueError("its likelihood and fingerprint must be text")
    if not isinstance(facts.get("centred"), bool):
        raise ValueError("whether it is centred must be true or false")
    number(facts.get("temperature"), "its temperature", Range(1e-3, 1e9))
    number(facts.get("threshold"), "its threshold", Range(0, 1))
    if facts.setdefault("accuracy", None) is not None:
        number(facts["accuracy"], "its accuracy", Range(0, 1))
    return facts


def _check_shapes(
    shapes: Mapping[str, tuple[int, ...]], dtypes: Mapping[str, str], classes: int, stops: Sequence[int]
) -> None:
    dim = next(iter(shapes.get("centre", ())), 0)
    starts = [0, *stops[:-1]]
    if not 0 < dim <= _MAX_DIM or stops[-1] != dim or any(a >= b for a, b in zip(starts, stops, strict=True)):
        raise ValueError("its parts do not divide its latents")
    signs = 2 if classes < 3 else 3
    types, fitting = (
        dict(_TYPES),
        {
            "counts": [(classes,)],
            "means": [(classes, dim)],
            "centre": [(dim,)],
            "novelty.known": [(signs,)],
            "novelty.novel": [(signs,)],
            "novelty.covariance": [(signs, signs)],
        },
    )
    for index, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        rest, basis, along = (f"sigma.{index}.{name}" for name in _SIGMA)
        types |= dict(zip((rest, basis, along), _SIGMA.values(), strict=True))
        columns = next(iter(shapes.get(along, ())), 0)
        if columns > min(stop - start, _MAX_COLUMNS):
            raise ValueError(f"part {index} has more directions than it may have")
        fitting |= {rest: [()] if basis in shapes else [(), (stop - start,)]}
        if basis in shapes or along in shapes:
            fitting |= {basis: [(stop - start, columns)], along: [(columns,)]}
    if shapes.keys() != fitting.keys():
        raise ValueError(f"a classifier of these parts has the tensors {', '.join(sorted(fitting))}")
    for name, dtype in dtypes.items():
        if dtype != types[name]:
            raise ValueError(f"{name} is stored as {dtype}; expected {types[name]}")
    wrong = [name for name, shape in shapes.items() if shape not in fitting[name]]
    if wrong:
        raise ValueError(f"the shapes of its tensors do not fit each other: {dict(shapes)}")


def _check_numbers(tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{name} holds numbers that are not finite")
    if (tensors["counts"] < 1).any():
        raise ValueError("its counts must be at least 1")
    for name, tensor in tensors.items():
        if name.startswith("sigma.") and not name.endswith(".basis") and (tensor <= 0).any():
            raise ValueError("its variances must be above 0")
    covariance = tensors["novelty.covariance"]
    if not covariance.equal(covariance.T) or (torch.linalg.eigvalsh(covariance) <= 0).any():
        raise ValueError("novelty.covariance is not a covariance")
