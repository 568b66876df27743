"""Attribute directions in latent space: Glow's manipulation vectors (`z_manipulate.npy`), usable on any latent."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .base import CheckpointError, guarded
from .containers import read_npy_header

__all__ = ["CELEBA_ATTRIBUTES", "Directions", "load_directions"]

CELEBA_ATTRIBUTES: tuple[str, ...] = (
    "5_o_Clock_Shadow",
    "Arched_Eyebrows",
    "Attractive",
    "Bags_Under_Eyes",
    "Bald",
    "Bangs",
    "Big_Lips",
    "Big_Nose",
    "Black_Hair",
    "Blond_Hair",
    "Blurry",
    "Brown_Hair",
    "Bushy_Eyebrows",
    "Chubby",
    "Double_Chin",
    "Eyeglasses",
    "Goatee",
    "Gray_Hair",
    "Heavy_Makeup",
    "High_Cheekbones",
    "Male",
    "Mouth_Slightly_Open",
    "Mustache",
    "Narrow_Eyes",
    "No_Beard",
    "Oval_Face",
    "Pale_Skin",
    "Pointy_Nose",
    "Receding_Hairline",
    "Rosy_Cheeks",
    "Sideburns",
    "Smiling",
    "Straight_Hair",
    "Wavy_Hair",
    "Wearing_Earrings",
    "Wearing_Hat",
    "Wearing_Lipstick",
    "Wearing_Necklace",
    "Wearing_Necktie",
    "Young",
)
"""CelebA's forty attributes in its own order, which is the order of the rows of `z_manipulate.npy`."""


@dataclass(frozen=True)
class Directions:
    """Named directions in whitened latent space.

    Attributes:
        names: k names.
        vectors: (k, D) float32, in the order of our flat latents.

    Example:
        >>> directions = Directions(("Smiling", "Young"), torch.eye(2))
        >>> directions.apply(torch.zeros(1, 2), {"Smiling": 0.5, "Young": -1.0}).tolist()
        [[0.5, -1.0]]
    """

    names: tuple[str, ...]
    vectors: Tensor

    def __getitem__(self, name: str) -> Tensor:
        """One direction, (D,). Raises KeyError that lists the names."""
        if name not in self.names:
            raise KeyError(f"no direction {name!r}; there are: {', '.join(self.names)}")
        return self.vectors[self.names.index(name)]

    def apply(self, z: Tensor, amounts: Mapping[str, float]) -> Tensor:
        """Latents moved along directions, (n, D): `z + sum(amount * direction)`. Glow's demo uses amounts of ±1.

        Raises KeyError for an unknown name, ValueError for latents of another width.
        """
        if z.shape[-1] != self.vectors.shape[1]:
            raise ValueError(f"these directions are for latents of {self.vectors.shape[1]} numbers, not {z.shape[-1]}")
        for name, amount in amounts.items():
            z = z + amount * self[name].to(z)
        return z


def load_directions(
    path: str | Path,
    latent_shapes: Sequence[tuple[int, int, int]],
    names: Sequence[str] = CELEBA_ATTRIBUTES,
) -> Directions:
    """Read directions as OpenAI stores them: (k, D) numbers, levels fine to coarse, each (H, W, C) in C-order.

    Args:
        path: a `.npy` file.
        latent_shapes: the (C, H, W) of the levels of the prior that they are for, fine to coarse
            (`prior.flow.latent_shapes`).
        names: one for each row.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is no such array, or does not fit the latents or the names.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path.name}: no such file")
    with guarded(path, "NumPy array"):
        with path.open("rb") as file:
            shape, fortran, dtype = read_npy_header(file, path.stat().st_size, path.name)
            offset = file.tell()
        dim = sum(map(math.prod, latent_shapes))
        if shape != (len(names), dim) or dtype.kind != "f":
            raise CheckpointError(
                f"{path.name}: an array of {shape} {dtype}; expected {len(names)} directions of {dim} numbers for this "
                "prior"
            )
        rows = np.memmap(path, dtype, "r", offset, shape, "F" if fortran else "C")
        vectors, start = np.empty(shape, np.float32), 0
        for c, h, w in latent_shapes:
            stop = start + c * h * w
            level = rows[:, start:stop].reshape(len(rows), h, w, c)
            vectors[:, start:stop] = level.transpose(0, 3, 1, 2).reshape(len(rows), -1)
            start = stop
    if not np.isfinite(vectors).all():
        raise CheckpointError(f"{path.name}: it holds numbers that are not finite")
    return Directions(tuple(names), torch.from_numpy(vectors))
