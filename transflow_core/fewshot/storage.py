"""A few-shot classifier as a safetensors file. The file is not trusted: everything is checked before it is used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, Field, ValidationError, field_validator
from safetensors.torch import save_file
from torch import Tensor

from ..limits import CLASSES_OF_FILE
from ..recipes import Share, sentence
from ..untrusted import MAX_HEADER, open_safetensors

__all__ = ["Header", "read_classifier", "write_classifier"]

_MAX_DIM, _MAX_COLUMNS, _MAX_PARTS = 2**22, 4096, 32
Part = tuple[Annotated[int, Field(ge=1, le=_MAX_DIM)], Annotated[float, Field(ge=1e-9, le=1)]]


class Header(BaseModel, frozen=True, strict=True):
    """All of a classifier but its tensors; `parts` has the end and the weight of each."""

    format: Literal["transflow-classifier"] = "transflow-classifier"
    version: Literal[2] = 2
    classes: tuple[str, ...] = Field(min_length=int(CLASSES_OF_FILE.low), max_length=int(CLASSES_OF_FILE.high))
    parts: tuple[Part, ...] = Field(min_length=1, max_length=_MAX_PARTS)
    likelihood: Literal["low-rank", "levels", "diagonal", "isotropic"]
    centred: bool
    fingerprint: str
    temperature: float = Field(ge=1e-3, le=1e9)
    threshold: Share
    accuracy: Share | None = None

    @field_validator("classes")
    @classmethod
    def _different(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) != len(names) or not all(name.isprintable() for name in names):
            raise ValueError("its classes must be different printable names")
        return names

    def slices(self) -> list[slice]:
        """The part of the latent that each part is. Raises ValueError unless they follow each other."""
        stops = [stop for stop, _ in self.parts]
        slices = [slice(start, stop) for start, stop in zip([0, *stops[:-1]], stops, strict=True)]
        if any(part.start >= part.stop for part in slices):
            raise ValueError("its parts do not divide its latents")
        return slices


def write_classifier(path: str | Path, tensors: Mapping[str, Tensor], header: Header) -> None:
    """Write the named tensors and the header to one file. Raises ValueError if the class names are too long for it."""
    document = header.model_dump_json()
    if len(document) > MAX_HEADER // 4:
        raise ValueError("the names of the classes are too long to be saved")
    stored = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    save_file(stored, path, {"classifier": document})


def read_classifier(path: str | Path) -> tuple[dict[str, Tensor], Header]:
    """Read what `write_classifier` wrote. Raises ValueError with what is wrong, FileNotFoundError if there is none."""
    path = Path(path)
    with open_safetensors(path, "classifier") as handle:
        try:
            header = Header.model_validate_json((handle.metadata() or {}).get("classifier", "{}"))
            found = {name: handle.get_slice(name) for name in handle.keys()}  # noqa: SIM118
            _check_shapes(found, header)
            tensors = {name: handle.get_tensor(name).clone() for name in found}
            _check_numbers(tensors)
        except ValidationError as error:
            raise ValueError(f"{path}: this is no classifier of this program: {sentence(error).lstrip()}") from error
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    return tensors, header


def _check_shapes(found: Mapping[str, Any], header: Header) -> None:
    classes, dim, signs = len(header.classes), header.parts[-1][0], 2 if len(header.classes) < 3 else 3
    fitting: dict[str, tuple[str, list[tuple[int, ...]]]] = {
        "counts": ("F64", [(classes,)]),
        "means": ("F32", [(classes, dim)]),
        "centre": ("F32", [(dim,)]),
        "novelty.known": ("F64", [(signs,)]),
        "novelty.novel": ("F64", [(signs,)]),
        "novelty.covariance": ("F64", [(signs, signs)]),
    }
    for index, part in enumerate(header.slices()):
        rest, basis, along = (f"sigma.{index}.{name}" for name in ("rest", "basis", "along"))
        width = part.stop - part.start
        fitting[rest] = "F64", [()] if along in found else [(), (width,)]
        if along in found:
            columns = next(iter(found[along].get_shape()), 0)
            if columns > min(width, _MAX_COLUMNS):
                raise ValueError(f"part {index} has more directions than it may have")
            fitting |= {basis: ("F32", [(width, columns)]), along: ("F64", [(columns,)])}
    if found.keys() != fitting.keys():
        raise ValueError(f"a classifier of these parts has the tensors {', '.join(sorted(fitting))}")
    for name, (dtype, shapes) in fitting.items():
        kind, shape = found[name].get_dtype(), tuple(found[name].get_shape())
        if kind != dtype or shape not in shapes:
            raise ValueError(f"{name} is {kind} of shape {shape}; expected {dtype} of shape {shapes[-1]}")


def _check_numbers(tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{name} holds numbers that are not finite")
        if name.startswith("sigma.") and not name.endswith(".basis") and (tensor <= 0).any():
            raise ValueError("its variances must be above 0")
    if (tensors["counts"] < 1).any():
        raise ValueError("its counts must be at least 1")
    covariance = tensors["novelty.covariance"]
    if not covariance.equal(covariance.T) or (torch.linalg.eigvalsh(covariance) <= 0).any():
        raise ValueError("novelty.covariance is not a covariance")
