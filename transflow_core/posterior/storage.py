"""Tensors and a header as a safetensors file. What is read is untrusted: everything is checked before it is used."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError
from torch import Tensor

from ..recipes import sentence
from ..untrusted import open_safetensors, save_safetensors
from .bootstrap import MOST_KEPT

H = TypeVar("H", bound=BaseModel)
Shapes = Mapping[str, tuple[str, str]]
"""What a file's tensors are, by name: their types, and their axes. "|" stands between two choices of axes."""
# Far above what a posterior needs, far below what hurts: a 1024 × 1024 colour image has 3.1 million latents.
LATENT, RANK = range(1, 2**22 + 1), range(1, 4097)
"""The sizes that a latent may have, and the number of directions of a covariance."""


def write_tensors(path: Path, kind: str, tensors: Mapping[str, Tensor], header: BaseModel) -> None:
    """Write named tensors and a header to one file."""
    # safetensors refuses tensors that share memory, as the prior's and the posterior's may.
    stored = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    # One entry alone, since safetensors writes several in a random order: equal posteriors are equal files.
    save_safetensors(stored, path, {kind: header.model_dump_json()})


def read_tensors(
    path: Path,
    kind: str,
    model: type[H],
    expected: Callable[[H, set[str]], tuple[Shapes, Mapping[str, range]]],
    check: Callable[[dict[str, Tensor]], None] = lambda _: None,
) -> tuple[dict[str, Tensor], H]:
    """Read what `write_tensors` wrote.

    The file's size, and all names, shapes and types in its header, are checked before a number is read. All numbers are
    finite, and of a size that can be computed with; only "lam_ratio" may be infinite.

    Args:
        kind: "posterior", "classifier" …
        model: of the header.
        expected: from the header and the names of the tensors to the shapes that these must have, and the sizes of
            their axes. An axis has one size in all of a file.
        check: raises ValueError for numbers that cannot be computed with.

    Raises ValueError with what is wrong, FileNotFoundError if there is no file.
    """
    with open_safetensors(path, kind) as handle:
        try:
            head = handle.metadata() or {}
            if kind not in head:
                known = {"posterior": "a posterior", "classifier": "a classifier", "recipe": "latents"}
                other = next((f", but {words}" for one, words in known.items() if one in head), "")
                raise ValueError(f"this is no {kind} of this program{other}")
            header = model.model_validate_json(head[kind])
            found = {name: handle.get_slice(name) for name in handle.keys()}  # noqa: SIM118
            _check_shapes(found, *expected(header, set(found)), kind)
            tensors = {name: handle.get_tensor(name).clone() for name in found}
            for name, tensor in tensors.items():
                _check_sizes(name, tensor)
            check(tensors)
        except ValidationError as error:
            raise ValueError(f"{path}: this is no {kind} of this program: {sentence(error).lstrip()}") from error
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    return tensors, header


def _check_shapes(found: Mapping[str, Any], shapes: Shapes, axes: Mapping[str, range], kind: str) -> None:
    missing, unknown = sorted(shapes.keys() - found.keys()), found.keys() - shapes.keys()
    if unknown or missing:
        raise ValueError(f"it lacks {missing}, and has {len(unknown)} tensor(s) that no {kind} has")
    sizes: dict[str, int] = {}
    for name, (types, choices) in shapes.items():
        shape = tuple(found[name].get_shape())
        names = next((axes for axes in map(str.split, choices.split("|")) if len(axes) == len(shape)), None)
        if names is None or not all(
            size in axes[axis] and sizes.setdefault(axis, size) == size for axis, size in zip(names, shape, strict=True)
        ):
            raise ValueError(f"{name} has shape {shape}, which does not fit a {kind} with {sizes}")
        if found[name].get_dtype() not in types.split():
            raise ValueError(f"{name} is stored as {found[name].get_dtype()}; expected {types}")


def _check_sizes(name: str, tensor: Tensor) -> None:
    # Beyond these, sums of squares overflow or cancel: far outside of what evidence gives, whose latents are near ±7.
    size, least = tensor.abs(), 1e-30 if name.split(".")[-1] in ("diagonal", "along", "rest") else 0
    if tensor.isnan().any() or (name != "lam_ratio" and size.isinf().any()):
        raise ValueError(f"{name} holds numbers that are not finite")
    if not ((size == 0) | ((size >= least) & (size <= 1e12)) | size.isinf()).all():
        raise ValueError(f"{name} holds numbers that are too large, or too small, to compute with")


class PosteriorHeader(BaseModel, frozen=True, strict=True):
    """All of a posterior but its tensors: m, and free text."""

    format: Literal["transflow-posterior"] = "transflow-posterior"
    version: Literal[2] = 2
    m: float = Field(gt=1e-12, lt=1e12)
    metadata: dict[str, str]


# D is the latent, p the images that are kept, k, l and n the columns of factors, V and W the sides of a mask.
_AXES = {"D": LATENT, "p": range(1, MOST_KEPT + 1), **dict.fromkeys("kln", RANK)}
_AXES |= dict.fromkeys("VW", range(1, 257))
_ALWAYS = {"mean": "D", "covariance.diagonal": "|D", "evidence_mean": "D"}
_ALWAYS |= {"lam_ratio": "|D", "likelihood.diagonal": "|D"}
_PRIOR = {"prior.mean": "D", "prior.diagonal": "|D"}
_OPTIONAL = {"covariance.factor": "D k", "likelihood.factor": "D l", "prior.factor": "D n"}
_OPTIONAL |= {"latents": "p D", "weights": "p", "visible": "p V W", "since": "p"}


def read_posterior(path: Path) -> tuple[dict[str, Tensor], PosteriorHeader]:
    """Read the tensors and the header of a posterior; raises as `read_tensors`."""
    return read_tensors(path, "posterior", PosteriorHeader, _expected, _check_numbers)


def _expected(_: PosteriorHeader, names: set[str]) -> tuple[Shapes, Mapping[str, range]]:
    some = {name: axes for name, axes in _OPTIONAL.items() if name in names}
    if any(name.startswith("prior.") for name in names):  # a prior is given as a whole, or not at all
        some |= _PRIOR
    return {name: ("F32 F64", axes) for name, axes in (_ALWAYS | some).items()}, _AXES


def _check_numbers(tensors: dict[str, Tensor]) -> None:
    # A factor may be large beside its diagonal, but not so large that I + Vᵀ V has no Cholesky factor (see `_update`).
    for name in ("covariance", "likelihood", "prior"):
        factor, diagonal = tensors.get(f"{name}.factor"), tensors.get(f"{name}.diagonal")
        if factor is not None and diagonal is not None:
            share = factor.double().square().sum(1) / diagonal.double()
            if share[diagonal.expand(len(share)) > 0].sum() > 1e12:
                raise ValueError(f"{name}.factor holds numbers that are too large beside {name}.diagonal")
