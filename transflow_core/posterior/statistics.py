"""What a posterior needs of a set of any size: sums, which many machines can take and one can add up."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..untrusted import open_safetensors
from .conditioning import MOST_KEPT, Posterior
from .covariance import Covariance

__all__ = ["Statistics"]

_RANK = 32


@dataclass(frozen=True, eq=False)
class Statistics:
    """Sums over m latents. With `+` they are a commutative monoid: any order and any grouping give the same.

    Beside the sums it keeps a sample of the latents, since manners of drawing lean on single pieces: those whose keys
    have the smallest digests, `MOST_KEPT` at most. Which they are depends on the set alone.

    Attributes:
        m: how many latents.
        total: Σ ζ, (D,) float64.
        squares: of each level the sum of its latents' squares, (L,) float64.
        sketch: Σ ω ζᵀ, (k, D) float64, with ω the signs, (k,), that a latent's key draws: (1/k) sketchᵀ sketch has the
            expectation Σ ζ ζᵀ (Johnson and Lindenstrauss), and unlike other sketches it is a sum.
        signs: Σ ω, (k,) float64, which centres it.
        keys: the digests of what is kept, ascending.
        latents: (p, D) float32, in their order.
        sizes: (L,) numbers of each level.

    Example:
        >>> z = torch.tensor([[1.0, 2.0], [3.0, 2.0]])
        >>> one, other = (Statistics.of(row[None], [name]) for row, name in zip(z, "ab"))
        >>> (one + other).posterior(lam_ratio=1.0).mean
        tensor([1., 1.])
    """

    m: int
    total: Tensor
    squares: Tensor
    sketch: Tensor
    signs: Tensor
    keys: tuple[str, ...]
    latents: Tensor
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, z: Tensor, keys: Sequence[str], sizes: Sequence[int] | None = None) -> "Statistics":
        """Of (m, D) latents, m ≥ 0, each with a key of its own, such as a digest of the image.

        Args:
            sizes: numbers of each latent level; default, one level.

        Raises ValueError if a latent is not finite, or sizes or keys do not fit.
        """
        sizes = (z.shape[1],) if sizes is None else tuple(sizes)
        if sum(sizes) != z.shape[1] or len(keys) != len(z):
            raise ValueError(f"{len(keys)} keys and levels of {sizes} do not fit latents {tuple(z.shape)}")
        if not torch.isfinite(z).all():
            raise ValueError("the evidence is not finite")
        digests = [hashlib.sha256(key.encode()).digest() for key in keys]
        # A bit a row of the sketch; the digest's first half, by which a latent is kept or not, draws no sign.
        bits = [int.from_bytes(digest[16:], "big") for digest in digests]
        omega = torch.tensor([[1.0 - 2 * (b >> i & 1) for i in range(_RANK)] for b in bits], dtype=torch.float64)
        omega = omega.reshape(len(z), _RANK)
        wide = z.cpu().double()
        squares = torch.stack([part.square().sum() for part in wide.split(sizes, 1)])
        names = [digest[:16].hex() for digest in digests]
        kept = sorted(range(len(z)), key=names.__getitem__)[:MOST_KEPT]
        return cls(
            len(z),
            wide.sum(0),
            squares,
            omega.T @ wide,
            omega.sum(0),
            tuple(names[i] for i in kept),
            z.cpu().float()[kept],
            sizes,
        )

    def __add__(self, other: "Statistics") -> "Statistics":
        """Of both sets together. Raises ValueError if their levels differ."""
        if self.sizes != other.sizes:
            raise ValueError(f"levels of {self.sizes} and {other.sizes} numbers have no common sum")
        keys = self.keys + other.keys
        kept = sorted(range(len(keys)), key=keys.__getitem__)[:MOST_KEPT]
        return Statistics(
            self.m + other.m,
            self.total + other.total,
            self.squares + other.squares,
            self.sketch + other.sketch,
            self.signs + other.signs,
            tuple(keys[i] for i in kept),
            torch.cat([self.latents, other.latents])[kept],
            self.sizes,
        )

    @cached_property
    def mean(self) -> Tensor:
        """ζ̄, (D,) float64. Raises ValueError where there is nothing."""
        if not self.m:
            raise ValueError("there is nothing to condition on")
        return self.total / self.m

    @property
    def variance(self) -> Tensor:
        """The mean variance of each level's numbers about ζ̄, (L,) float64; 0 of a single latent."""
        means = torch.stack([part.square().sum() for part in self.mean.split(self.sizes)])
        squares = (self.squares - self.m * means).clamp_min(0)
        return squares / (max(1, self.m - 1) * torch.tensor(self.sizes, dtype=torch.float64))

    def covariance(self, share: float = 0.5) -> Covariance:
        """`share` of the set's covariance, in a sketch of rank k, and the rest one variance a level: see `Spread`.

        For `Posterior.condition(…, likelihood=…)`.
        """
        factor = (self.sketch - self.signs[:, None] * self.mean) * (share / (_RANK * max(1, self.m - 1))) ** 0.5
        each = torch.tensor(self.sizes)
        return Covariance(
            (self.variance.clamp_min(1e-12) * (1 - share)).repeat_interleave(each).float(), factor.T.float()
        )

    def posterior(self, lam_ratio: float | Tensor, metadata: dict[str, str] | None = None) -> Posterior:
        """As `Posterior.condition` of all m latents, but that of more than `MOST_KEPT` it keeps the sample."""
        self.mean  # noqa: B018 - raises where there is nothing
        weights = None if self.m == len(self.keys) else [self.m / len(self.keys)] * len(self.keys)
        kept = Posterior.condition(self.latents, lam_ratio, weights=weights, metadata=metadata)
        return replace(kept, evidence_mean=self.mean.to(kept.mean)).with_lam(lam_ratio)

    def save(self, path: Path, words: dict[str, str]) -> None:
        """Write it with free words; a file that was there is replaced as a whole."""
        tensors = {
            name: getattr(self, name).contiguous() for name in ("total", "squares", "sketch", "signs", "latents")
        }
        document = {"m": self.m, "keys": self.keys, "sizes": self.sizes, "words": words}
        beside = path.with_name(f"{path.name}.new")
        save_file(tensors, beside, {"statistics": json.dumps(document)})
        beside.replace(path)

    @classmethod
    def load(cls, path: Path) -> tuple["Statistics", dict[str, str]]:
        """What `save` wrote. The file is not trusted: raises ValueError for anything else in it."""
        with open_safetensors(path, "set's statistics") as handle:
            try:
                document = json.loads((handle.metadata() or {})["statistics"])
                tensors = {name: handle.get_tensor(name).clone() for name in handle.keys()}  # noqa: SIM118
                found = cls(
                    m=int(document["m"]),
                    keys=tuple(map(str, document["keys"])),
                    sizes=tuple(map(int, document["sizes"])),
                    **tensors,
                )
                words = {str(key): str(value) for key, value in document["words"].items()}
            except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
                raise ValueError(f"{path}: no statistics of a set ({error})") from error
        dim, p = sum(found.sizes), len(found.keys)
        shapes = {"total": (dim,), "squares": (len(found.sizes),), "sketch": (_RANK, dim), "signs": (_RANK,)}
        shapes["latents"] = (p, dim)
        for name, shape in shapes.items():
            tensor = getattr(found, name)
            dtype = torch.float32 if name == "latents" else torch.float64
            if tensor.shape != shape or tensor.dtype != dtype or not torch.isfinite(tensor).all():
                raise ValueError(f"{path}: no statistics of a set ({name})")
        if p != min(found.m, MOST_KEPT) or list(found.keys) != sorted(found.keys):
            raise ValueError(f"{path}: no statistics of a set (keys)")
        return found, words
