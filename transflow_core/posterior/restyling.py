"""The map that restyles a photograph: transport from its own statistics to those of the evidence."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .conditioning import Posterior
from .covariance import Covariance
from .levels import HasSlice, level_shapes, level_slices
from .shrinkage import ShrinkageCovariance

_MOST_LIKENESS = 0.999  # at 1 the evidence's covariance would be singular
_FACE = 4  # levels of at most this side have the shape of a face: of these, differences between places stay
_ALIKE = 8  # places beside one another, which count as one
_SAME = 1e-2  # images that differ by less than this share of their variance are one
_LOUDEST = 1.3  # a photograph's grain, enlarged by more than this, is noise


@dataclass(frozen=True, eq=False)
class _Level:
    """T at one level: see `Restyling`.

    Attributes:
        shape: (C, H, W).
        mean: μ.
        root: K^½, (C, C), or a number.
        likeness: ℓ² S + (1 - ℓ²) I.
        typical: σ₀, the median root mean square of photographs.
    """

    shape: tuple[int, int, int]
    mean: Tensor
    root: Tensor
    likeness: Covariance
    typical: float

    @classmethod
    def of(
        cls, posterior: Posterior, part: slice, shape: tuple[int, int, int], typical: float, likeness: float
    ) -> "_Level | None":
        """Measured on the images of the evidence that have pixels for it; None where none has."""
        one, z, weights = posterior.evidence_mean[part][None], posterior.single[:, part], posterior.weights
        if posterior.since is not None:
            has = posterior.since <= part.start
            z, weights = z[has.to(z.device)], weights[has.to(weights.device)]
        if not len(z):
            return None
        shrinkage = ShrinkageCovariance.of(z, weights)
        if shrinkage.variance[0] < _SAME * z.square().mean():  # one image, several times
            shrinkage = ShrinkageCovariance.of(one)
        several = len(shrinkage.weights) > 1
        count = shrinkage.count if several else 1.0  # one image is one, whatever its weight
        places = one.double().reshape(shape[0], -1)
        channels = places.mean(1, keepdim=True)
        mean = (channels + (1 - 1 / max(count, 1.0)) * (places - channels)).flatten()
        scale = (shrinkage.weights / max(1 - 1 / shrinkage.count, 1e-9)).sqrt().to(shrinkage.deviations)
        rows = shrinkage.deviations * scale[:, None]
        if not several:  # how its own places differ
            rows = (one.reshape(shape[0], -1) - channels).reshape(1, -1)
        by_channel, (variance,) = rows.double().unflatten(1, (shape[0], -1)), shrinkage.variance
        root = _root(by_channel, variance, typical, max(shape[1:]) <= _FACE)
        units = _times(torch.linalg.inv(root) if root.ndim else 1 / root, rows.double(), shape[0])
        likened = Covariance(1 - likeness**2, likeness * units.T if several else None)
        return cls(shape, mean, root, likened, typical)

    def __call__(self, x: Tensor) -> Tensor:
        channels, h, w = self.shape
        centred = x.reshape(len(x), channels, h * w)
        if h * w > 1:  # of one place alone the mean is the value itself, and would leave nothing of it
            centred = centred - centred.mean(2, keepdim=True)
        centred = centred.reshape(len(x), -1)
        own = centred.square().mean(1, keepdim=True).sqrt().clamp_min(self.typical)
        return (self.mean + _times(self.root, self.likeness.root(centred / own), channels)).to(x.dtype)


@dataclass(frozen=True, eq=False)
class Restyling:
    """T, level by level the map from one photograph's Gaussian to the evidence's, and the way towards it.

    The photograph's Gaussian is measured on itself: N(c, σ² I) at each level. c is the mean of each channel over the
    level's places, and σ the root mean square about c, at least σ₀, what is typical of photographs. The evidence's is
    N(μ, K^½ (ℓ² S + (1 - ℓ²) I) K^½), so T(z) = μ + K^½ (ℓ² S + (1 - ℓ²) I)^½ (z - c) / σ, of which at ℓ = 0, the
    default, K^½ is left: the Monge map.

    What moves is what the evidence has in common, and no more:

    - K is the covariance of the channels, over all places: it has the colours and strokes of a style, and no face.
      At the levels that have the face's shape it is σ₀² I, and no standard deviation of it is above 1.3 σ₀.
    - μ is the evidence's mean. Of m images, 1 - 1/m of the differences between its places count: of few images they
      are these images' faces, and of one alone nothing but colours and strokes is taken.
    - S, of low rank, is the covariance of whole images, in units of K: ℓ near 1 takes most from the evidence.

    Attributes:
        slices: of the levels.
        levels: the map of each; None where no image of the evidence has pixels for it: there the photograph stays.
    """

    slices: tuple[slice, ...]
    levels: tuple[_Level | None, ...]

    @classmethod
    def of(
        cls, posterior: Posterior, levels: Sequence[HasSlice], typical: Sequence[float] = (), likeness: float = 0.0
    ) -> "Restyling":
        """Towards the evidence of a posterior; its λ takes no part.

        Args:
            posterior: of the evidence.
            levels: `prior.levels`.
            typical: the median root mean square of photographs at each level; without it it is 1.
            likeness: ℓ in [0, 1]. More of it takes the person, and comes no nearer to the style
                (docs/results/restyle.md).

        Raises ValueError if the levels do not fit, or ℓ is out of its range.
        """
        if not 0 <= likeness <= 1:
            raise ValueError(f"likeness is a number from 0 to 1, not {likeness!r}")
        slices, shapes = level_slices(levels, posterior.dim), level_shapes(levels, posterior.dim)
        each = zip(slices, shapes, tuple(typical) or (1.0,) * len(slices), strict=True)
        return cls(slices, tuple(_Level.of(posterior, *one, min(likeness, _MOST_LIKENESS)) for one in each))

    def __call__(self, z: Tensor, strength: float | Sequence[float] = 1.0) -> Tensor:
        """z + s (T(z) - z): (n, D) -> (n, D). At s = 0 it is z to the bit, at s = 1 T(z).

        Args:
            z: latents of photographs.
            strength: s in [0, 1], one number or one a level, fine to coarse. Small at the coarse levels, it keeps the
                photograph's structure.

        Raises ValueError if it is out of its range, or another number of levels.
        """
        count = len(self.levels)
        s = [strength] * count if isinstance(strength, int | float) else list(strength)
        if len(s) != count or not all(0 <= share <= 1 for share in s):
            raise ValueError(f"strength is one number from 0 to 1, or one for each of {count} levels, not {strength!r}")
        parts = [z[:, part] for part in self.slices]
        for i, (level, share) in enumerate(zip(self.levels, s, strict=True)):
            if share and level is not None:
                parts[i] = parts[i] + share * (level(parts[i]) - parts[i])
        return torch.cat(parts, 1)


def _root(rows: Tensor, variance: float, typical: float, face: bool) -> Tensor:
    """K^½ of a level, (C, C), from deviations (p, C, H·W) whose squares add up to it; a number where it is σ₀² I."""
    if face:
        return torch.tensor(typical, dtype=torch.float64)
    _, channels, places = rows.shape
    # An inverse Wishart prior: as if as many places as channels had been seen, all channels alike in them.
    seen = len(rows) * places / _ALIKE
    covariance = torch.einsum("ncp,ndp->cd", rows, rows) / places
    share = seen / (seen + channels)
    squares, vectors = torch.linalg.eigh(
        share * covariance + (1 - share) * variance * torch.eye(channels).to(covariance)
    )
    return (vectors * squares.clamp_min(1e-9).sqrt().clamp_max(_LOUDEST * typical)) @ vectors.T


def _times(root: Tensor, x: Tensor, channels: int) -> Tensor:
    """The root applied to every place of (n, C·H·W)."""
    return (root @ x.unflatten(1, (channels, -1))).flatten(1) if root.ndim else root * x
