"""A posterior as a safetensors file. What is read is untrusted: everything is checked before it is used."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, Field, ValidationError
from safetensors.torch import save_file
from torch import Tensor

from ..recipes import sentence
from ..untrusted import MAX_HEADER, open_safetensors
from .bootstrap import MOST_PIECES

__all__ = ["read_posterior", "write_posterior"]

# Far above what a posterior needs, far below what hurts: a 1024 × 1024 colour image has 3.1 million latents.
_MAX_DIM, _MAX_COLUMNS, _MAX_SIDE = 2**22, 4096, 256
# Beyond these, sums of squares overflow or cancel: far outside of what evidence gives, whose latents are near ±7.
_MOST_MEAN, _MOST_FACTOR, _LEAST_VARIANCE, _MOST_VARIANCE, _MOST_RATIO = 1e9, 1e6, 1e-30, 1e12, 1e12
_DTYPES = {"F32": torch.float32, "F64": torch.float64}
# The shapes that each tensor may have: () a number, D the latent, p the evidence that is kept, k a factor's columns.
_SHAPES = {
    "mean": ("D",),
    "covariance.diagonal": ("", "D"),
    "covariance.factor": ("Dk",),
    "evidence_mean": ("D",),
    "lam_ratio": ("", "D"),
    "likelihood.diagonal": ("", "D"),
    "likelihood.factor": ("Dk",),
    "prior.mean": ("D",),
    "prior.diagonal": ("", "D"),
    "prior.factor": ("Dk",),
    "weights": ("p",),
    "latents": ("pD",),
    "visible": ("pVV",),
}
_REQUIRED = ("mean", "covariance.diagonal", "evidence_mean", "latents", "lam_ratio", "likelihood.diagonal")


class _Header(BaseModel, frozen=True, strict=True):
    """All of a posterior but its tensors."""

    format: Literal["transflow-posterior"]
    version: Literal[2]
    m: float = Field(gt=1e-12, lt=1e12)
    metadata: dict[str, str]


def write_posterior(path: str | Path, tensors: Mapping[str, Tensor], m: float, metadata: Mapping[str, str]) -> None:
    """Write the named tensors, m and free text to one file. Raises ValueError if that is not text, or too long."""
    document = _Header(format="transflow-posterior", version=2, m=m, metadata=dict(metadata)).model_dump_json()
    if len(document) > MAX_HEADER // 4:
        raise ValueError(f"the metadata of a posterior is at most {MAX_HEADER // 4} characters, not {len(document)}")
    # safetensors refuses tensors that share memory, as the prior's and the posterior's may.
    stored = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    # One entry alone, since safetensors writes several in a random order: equal posteriors are equal files.
    save_file(stored, path, {"posterior": document})


def read_posterior(path: str | Path) -> tuple[dict[str, Tensor], float, dict[str, str]]:
    """Read what `write_posterior` wrote: tensors, m, text.

    The file's size, and all names, shapes and types in its header, are checked before a number is read. Raises
    ValueError with what is wrong, FileNotFoundError if there is no file.
    """
    path = Path(path)
    with open_safetensors(path, "posterior") as handle:
        try:
            header = _Header.model_validate_json((handle.metadata() or {}).get("posterior", "{}"))
        except ValidationError as error:
            raise ValueError(f"{path}: this is no posterior of this program: {sentence(error).lstrip()}") from error
        _check_tensors({name: handle.get_slice(name) for name in handle.keys()}, path)  # noqa: SIM118
        tensors = {name: handle.get_tensor(name).clone() for name in handle.keys()}  # noqa: SIM118
    for name, tensor in tensors.items():
        # λ may be infinite: that is the prior.
        if tensor.isnan().any() or (name != "lam_ratio" and tensor.isinf().any()):
            raise ValueError(f"{path}: {name} holds numbers that are not finite")
        _check_size(name, tensor, path)
    if "visible" in tensors and len(tensors["visible"]) != len(tensors["latents"]):
        raise ValueError(f"{path}: its masks are not as many as its pieces of evidence")
    return tensors, header.m, header.metadata


def _check_size(name: str, tensor: Tensor, path: Path) -> None:
    size = tensor.abs()
    if name.endswith("diagonal"):
        fits = (size == 0) | ((size >= _LEAST_VARIANCE) & (size <= _MOST_VARIANCE))
    elif name == "lam_ratio":
        fits = (size <= _MOST_RATIO) | size.isinf()
    else:
        fits = size <= (_MOST_FACTOR if name.endswith("factor") else _MOST_MEAN)
    if not fits.all():
        raise ValueError(f"{path}: {name} holds numbers that are too large, or too small, to compute with")


def _check_tensors(found: Mapping[str, Any], path: Path) -> None:
    unknown, missing = found.keys() - _SHAPES.keys(), [name for name in _REQUIRED if name not in found]
    if unknown or missing:
        raise ValueError(f"{path}: it lacks {missing}, and has {len(unknown)} tensor(s) that no posterior has")
    prior = {name for name in found if name.startswith("prior.")}
    if prior and not prior >= {"prior.mean", "prior.diagonal"}:
        raise ValueError(f"{path}: its prior is incomplete")
    shapes = {name: tuple(entry.get_shape()) for name, entry in found.items()}
    dim = shapes["mean"][0] if shapes["mean"] else 0
    for name, shape in shapes.items():
        if not any(_fits(shape, wanted, dim) for wanted in _SHAPES[name]):
            raise ValueError(f"{path}: {name} has shape {shape}, which does not fit a latent of {dim} numbers")
        if found[name].get_dtype() not in _DTYPES:
            raise ValueError(f"{path}: {name} is stored as {found[name].get_dtype()}; expected F32 or F64")


def _fits(shape: tuple[int, ...], wanted: str, dim: int) -> bool:
    most = {"D": min(dim, _MAX_DIM), "k": _MAX_COLUMNS, "p": MOST_PIECES, "V": _MAX_SIDE}
    least = {"D": max(dim, 1)}
    return len(shape) == len(wanted) and all(
        least.get(axis, 1) <= size <= most[axis] for size, axis in zip(shape, wanted, strict=True)
    )
