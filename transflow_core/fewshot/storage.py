"""A few-shot classifier as a safetensors file. What is read is untrusted: everything is checked before it is used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..untrusted import MAX_HEADER, open_safetensors

__all__ = ["read_classifier", "write_classifier"]

FORMAT, VERSION = "transflow-classifier", 1
_MAX_DIM, _MAX_CLASSES, _MAX_COLUMNS = 2**22, 1000, 4096
_TYPES = {
    "counts": "F64",
    "means": "F32",
    "centre": "F32",
    "sigma.rest": "F64",
    "sigma.basis": "F32",
    "sigma.along": "F64",
    "novelty.known": "F64",
    "novelty.novel": "F64",
    "novelty.covariance": "F64",
}
_REQUIRED = _TYPES.keys() - {"sigma.basis", "sigma.along"}


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
        or not 0 < len(classes) <= _MAX_CLASSES
        or not all(isinstance(name, str) and name.isprintable() for name in classes)
        or len(set(classes)) != len(classes)
    ):
        raise ValueError("its classes must be a list of different printable names")
    if not isinstance(facts.get("likelihood"), str) or not isinstance(facts.get("fingerprint"), str):
        raise ValueError("its likelihood and fingerprint must be text")
    if not isinstance(facts.get("centred"), bool):
        raise ValueError("whether it is centred must be true or false")
    if not _number(facts.get("temperature"), 1e-3, 1e9):
        raise ValueError("its temperature must be a positive number")
    if not _number(facts.get("threshold"), 0, 1):
        raise ValueError("its threshold must lie between 0 and 1")
    if facts.get("accuracy") is not None and not _number(facts["accuracy"], 0, 1):
        raise ValueError("its accuracy must be a share")
    return {"accuracy": None, **facts}


def _number(value: Any, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _check_shapes(shapes: Mapping[str, tuple[int, ...]], dtypes: Mapping[str, str], classes: int) -> None:
    if not shapes.keys() >= _REQUIRED or shapes.keys() - _TYPES.keys():
        raise ValueError(f"a classifier has the tensors {', '.join(sorted(_REQUIRED))}, and perhaps a basis")
    if ("sigma.basis" in shapes) != ("sigma.along" in shapes):
        raise ValueError("its basis is incomplete")
    for name, dtype in dtypes.items():
        if dtype != _TYPES[name]:
            raise ValueError(f"{name} is stored as {dtype}; expected {_TYPES[name]}")
    dim, columns = (next(iter(shapes.get(name, ())), 0) for name in ("centre", "sigma.along"))
    signs = 2 if classes < 3 else 3
    fitting = {
        "counts": [(classes,)],
        "means": [(classes, dim)],
        "centre": [(dim,)],
        "sigma.rest": [()] if "sigma.basis" in shapes else [(), (dim,)],
        "sigma.basis": [(dim, columns)],
        "sigma.along": [(columns,)],
        "novelty.known": [(signs,)],
        "novelty.novel": [(signs,)],
        "novelty.covariance": [(signs, signs)],
    }
    wrong = [name for name, shape in shapes.items() if shape not in fitting[name]]
    if wrong or not 0 < dim <= _MAX_DIM or columns > min(dim, _MAX_COLUMNS):
        raise ValueError(f"the shapes of its tensors do not fit each other: {dict(shapes)}")


def _check_numbers(tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{name} holds numbers that are not finite")
    if (tensors["counts"] < 1).any():
        raise ValueError("its counts must be at least 1")
    for name in ("sigma.rest", "sigma.along"):
        if name in tensors and (tensors[name] <= 0).any():
            raise ValueError("its variances must be above 0")
    covariance = tensors["novelty.covariance"]
    if not covariance.equal(covariance.T) or (torch.linalg.eigvalsh(covariance) <= 0).any():
        raise ValueError("novelty.covariance is not a covariance")
