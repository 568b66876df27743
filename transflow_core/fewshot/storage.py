"""A few-shot classifier as a safetensors file. The file is not trusted: everything is checked before it is used."""

from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, Field, field_validator
from torch import Tensor

from ..limits import CLASSES_OF_FILE
from ..posterior.storage import LATENT, RANK, Shapes, read_tensors
from ..recipes import Features, Share

Part = tuple[Annotated[int, Field(ge=1, lt=LATENT.stop)], Annotated[float, Field(ge=1e-9, le=1)]]


class Header(BaseModel, frozen=True, strict=True):
    """All of a classifier but its tensors; `parts` has the end and the weight of each."""

    format: Literal["transflow-classifier"] = "transflow-classifier"
    version: Literal[2] = 2
    classes: tuple[str, ...] = Field(min_length=int(CLASSES_OF_FILE.low), max_length=int(CLASSES_OF_FILE.high))
    parts: tuple[Part, ...] = Field(min_length=1, max_length=32)
    likelihood: Literal["low-rank", "isotropic"]
    centred: bool
    features: Features = "latents"
    fingerprint: str
    temperature: float = Field(ge=1e-3, le=1e9)
    threshold: Share
    accuracy: Share | None = None
    metadata: dict[str, str] = {}

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


def read_classifier(path: Path) -> tuple[dict[str, Tensor], Header]:
    """Read the tensors and the header of a classifier; raises as `read_tensors`."""
    return read_tensors(path, "classifier", Header, _expected, _check_numbers)


def _expected(header: Header, names: set[str]) -> tuple[Shapes, dict[str, range]]:
    """C is the classes, D the latent, s the signs of novelty, d the numbers of a part and k its directions."""
    sizes = {"C": len(header.classes), "D": header.parts[-1][0], "s": 2 if len(header.classes) < 3 else 3}
    shapes = {"counts": ("F64", "C"), "means": ("F32", "C D"), "centre": ("F32", "D")}
    shapes |= {"novelty.known": ("F64", "s"), "novelty.novel": ("F64", "s"), "novelty.covariance": ("F64", "s s")}
    axes = {axis: range(size, size + 1) for axis, size in sizes.items()}
    for index, part in enumerate(header.slices()):
        sigma, d, k = f"sigma.{index}", f"d{index}", f"k{index}"
        width = part.stop - part.start
        axes |= {d: range(width, width + 1), k: range(1, min(width + 1, RANK.stop))}
        if f"{sigma}.along" in names:
            shapes |= {f"{sigma}.along": ("F64", k), f"{sigma}.basis": ("F32", f"{d} {k}")}
        shapes[f"{sigma}.rest"] = ("F64", "")
    return shapes, axes


def _check_numbers(tensors: dict[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if name.startswith("sigma.") and not name.endswith(".basis") and (tensor <= 0).any():
            raise ValueError("its variances must be above 0")
    if (tensors["counts"] < 1).any():
        raise ValueError("its counts must be at least 1")
    covariance = tensors["novelty.covariance"]
    least, *_, most = torch.linalg.eigvalsh(covariance)  # `NoveltyScale` adds 0.01
    if not covariance.equal(covariance.T) or least < 1e-3 or most > 1e14 * least:
        raise ValueError("novelty.covariance is not a covariance that can be inverted")
