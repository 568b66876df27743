"""Which image of the evidence a picture is closest to, and how close: to find copies."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .guard import Looks, shrunk

__all__ = ["Closest", "closest"]

_SIDE = 32  # pixels at which images are compared
_SAME = 1e-3  # images that differ by less are one image, twice


@dataclass(frozen=True)
class Closest:
    """The image of the evidence that a picture is closest to.

    Attributes:
        index: its row among the posterior's latents.
        distance: root mean square difference at 32×32 pixels, in units of its median between two images of the
            evidence: 0 is a copy. Of a single image the unit is its difference to its mean colour.
        mirrored: whether its mirror image is the closest.
        name: its file, or "image 3".
    """

    index: int
    distance: float
    mirrored: bool
    name: str

    def to_dict(self) -> dict[str, str | float | bool]:
        """Name, distance and whether it is mirrored, as JSON takes them."""
        return {"name": self.name, "distance": round(self.distance, 4), "mirrored": self.mirrored}


def closest(images: Tensor, looks: Looks) -> list[Closest]:
    """Of each of (n, C, S, S) in [0, 1] the closest image of the evidence, or mirror image of one.

    Example:
        >>> dark, light = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> looks = Looks(torch.stack([dark, light]), torch.zeros(2, 192), None)
        >>> [(one.name, one.mirrored, one.distance) for one in closest(light.flip(-1)[None], looks)]
        [('image 2', True, 0.0)]
    """
    p, known = len(looks.images), looks.small(_SIDE)
    apart, rows = _apart(shrunk(images, _SIDE), known).min(1)
    between = _apart(known[:p], known)
    pairs = between[:, :p].minimum(between[:, p:])[tuple(torch.triu_indices(p, p, 1))]
    pairs = pairs[pairs > _SAME]
    plain = known[:p] - known[:p].mean((-1, -2), keepdim=True)
    unit = pairs.median() if len(pairs) else plain.square().mean().sqrt().clamp_min(_SAME)
    return [
        Closest(row % p, distance, row >= p, f"image {row % p + 1}")
        for row, distance in zip(rows.tolist(), (apart / unit).tolist(), strict=True)
    ]


def _apart(a: Tensor, b: Tensor) -> Tensor:
    """(n, q) root mean square differences; exactly 0 between what is equal."""
    a, b = a.flatten(1), b.flatten(1)
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist") / a.shape[1] ** 0.5
