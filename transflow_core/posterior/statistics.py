"""What a posterior needs of a set of any size: sums, which many machines can take and one can add."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from pydantic import BaseModel, Field
from torch import Tensor

from .bootstrap import MOST_KEPT
from .conditioning import Posterior
from .storage import LATENT, Shapes, read_tensors, write_tensors

__all__ = ["Statistics"]


class _Header(BaseModel, frozen=True, strict=True):
    """All of a file but its tensors."""

    m: int = Field(ge=0)
    keys: tuple[str, ...]
    words: dict[str, str]


@dataclass(frozen=True, eq=False)
class Statistics:
    """Sums over m latents. They add up with `+`, in any order and any grouping.

    Sampling methods need single images, so a sample of the latents is kept too: those whose keys have the smallest
    digests, `MOST_KEPT` at most. It depends on the set alone.

    Attributes:
        m: how many latents.
        total: Σ ζ, (D,) float64.
        keys: the digests of what is kept, ascending.
        latents: (p, D) float32, in their order.
    """

    m: int
    total: Tensor
    keys: tuple[str, ...]
    latents: Tensor

    @classmethod
    def of(cls, z: Tensor, keys: Sequence[str]) -> "Statistics":
        """Of (m, D) latents, m ≥ 0, each with a key of its own, such as a digest of the image.

        Raises ValueError if a latent is not finite, or there is not one key for each.
        """
        if len(keys) != len(z):
            raise ValueError(f"{len(keys)} keys do not fit latents {tuple(z.shape)}")
        if not torch.isfinite(z).all():
            raise ValueError("the evidence is not finite")
        names = tuple(hashlib.sha256(key.encode()).hexdigest()[:32] for key in keys)
        return cls._sampled(len(z), z.cpu().double().sum(0), names, z.cpu().float())

    @classmethod
    def _sampled(cls, m: int, total: Tensor, keys: tuple[str, ...], latents: Tensor) -> "Statistics":
        kept = sorted(range(len(keys)), key=keys.__getitem__)[:MOST_KEPT]
        return cls(m, total, tuple(keys[i] for i in kept), latents[kept])

    def __add__(self, other: "Statistics") -> "Statistics":
        """Of both sets together. Raises ValueError if their latents are of different lengths."""
        if self.total.shape != other.total.shape:
            raise ValueError(f"latents of {len(self.total)} and {len(other.total)} numbers have no common sum")
        latents = torch.cat([self.latents, other.latents])
        return self._sampled(self.m + other.m, self.total + other.total, self.keys + other.keys, latents)

    def posterior(self, lam_ratio: float | Tensor, metadata: dict[str, str] | None = None) -> Posterior:
        """`Posterior.condition` of all m latents; of more than `MOST_KEPT` it keeps the sample.

        Raises ValueError where there is nothing.
        """
        if not self.m:
            raise ValueError("there is nothing to condition on")
        weights = None if self.m == len(self.keys) else [self.m / len(self.keys)] * len(self.keys)
        kept = Posterior.condition(self.latents, lam_ratio, weights=weights, metadata=metadata)
        return replace(kept, evidence_mean=(self.total / self.m).to(kept.mean)).with_lam(lam_ratio)

    def save(self, path: Path, words: dict[str, str]) -> None:
        """Write it with free words; a file that was there is replaced as a whole."""
        beside = path.with_name(f"{path.name}.new")
        header = _Header(m=self.m, keys=self.keys, words=words)
        write_tensors(beside, "statistics", {"total": self.total, "latents": self.latents}, header)
        beside.replace(path)

    @classmethod
    def load(cls, path: Path) -> tuple["Statistics", dict[str, str]]:
        """What `save` wrote. The file is not trusted: raises ValueError for anything else in it."""
        tensors, header = read_tensors(path, "statistics", _Header, _expected)
        return cls(m=header.m, keys=header.keys, **tensors), header.words


def _expected(header: _Header, _: set[str]) -> tuple[Shapes, dict[str, range]]:
    kept = min(header.m, MOST_KEPT)
    if len(header.keys) != kept or list(header.keys) != sorted(header.keys):
        raise ValueError("its keys do not fit the statistics")
    shapes = {"total": ("F64", "D"), "latents": ("F32", "p D")}
    return shapes, {"D": LATENT, "p": range(kept, kept + 1)}
