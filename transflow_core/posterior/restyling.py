"""The map that restyles a photograph: transport from its own statistics to those of the evidence."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .conditioning import Posterior
from .levels import HasSlice, level_shapes, level_slices
from .shrinkage import ShrinkageCovariance

LIKENESS_TO_EVIDENCE = 0.0
"""ℓ by default: more of it takes the person, and comes no nearer to the style (docs/results/restyle.md)."""
_MOST_LIKENESS = 0.999  # at 1 the evidence's covariance would be singular
_FACE = 4  # levels of at most this side have the shape of a face: of these, differences between places stay
_ALIKE = 8  # places beside one another, which count as one
_SAME = 1e-2  # images that differ by less than this share of their variance are one
_LOUDEST = 1.3  # a photograph's grain, enlarged by more than this, is noise


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
        means: μ of each level.
        roots: K^½ of each, (C, C).
        units: of each, (p, D), whose squares add up to S.
        likeness: ℓ of each.
        typical: σ₀, the median root mean square of photographs at each level.
        shapes: (C, H, W) of each.
        lacks: which levels no image of the evidence has pixels for: there the photograph stays as it is.
    """

    slices: tuple[slice, ...]
    means: tuple[Tensor, ...]
    roots: tuple[Tensor, ...]
    units: tuple[Tensor, ...]
    likeness: tuple[float, ...]
    typical: tuple[float, ...]
    shapes: tuple[tuple[int, int, int], ...]
    lacks: tuple[bool, ...]

    @classmethod
    def of(
        cls,
        posterior: Posterior,
        levels: Sequence[HasSlice] = (),
        typical: Sequence[float] = (),
        likeness: float | Sequence[float] = LIKENESS_TO_EVIDENCE,
    ) -> "Restyling":
        """Towards the evidence of a posterior; its λ takes no part.

        Args:
            posterior: of the evidence.
            levels: `prior.levels`; without them the whole latent is one level of one channel.
            typical: the median root mean square of photographs at each level; without it it is 1.
            likeness: ℓ in [0, 1], one number or one a level, fine to coarse.

        Raises ValueError if the levels do not fit, or ℓ is out of its range.
        """
        slices = level_slices(levels, posterior.dim)
        shapes = level_shapes(levels, posterior.dim) if levels else ((1, 1, posterior.dim),)
        usual = tuple(typical) or (1.0,) * len(slices)
        ell = [min(value, _MOST_LIKENESS) for value in _each(likeness, len(slices), "likeness")]
        means, roots, units, lacks = [], [], [], []
        for part, shape, ordinary in zip(slices, shapes, usual, strict=True):
            z, weights = posterior.single[:, part], posterior.weights
            if posterior.since is not None:
                has = posterior.since <= part.start
                z, weights = z[has.to(z.device)], weights[has.to(weights.device)]
            lacks.append(not len(z))
            if lacks[-1]:
                z, weights = posterior.evidence_mean[part][None], None
            shrinkage = ShrinkageCovariance.of(z, weights)
            if shrinkage.variance[0] < _SAME * z.square().mean():  # one image, several times
                shrinkage = ShrinkageCovariance.of(posterior.evidence_mean[part][None])
            scale = (shrinkage.weights / max(1 - 1 / shrinkage.count, 1e-9)).sqrt().to(shrinkage.deviations)
            rows, several = shrinkage.deviations * scale[:, None], len(shrinkage.weights) > 1
            # One image is one, whatever its weight.
            channels, mean = _common(posterior.evidence_mean[part], shape, shrinkage.count if several else 1.0)
            if not several:  # one image: how its own places differ
                rows = (posterior.evidence_mean[part].reshape(channels.shape[0], -1) - channels).reshape(1, -1)
            by_channel, (variance,) = rows.double().unflatten(1, (shape[0], -1)), shrinkage.variance
            root = _root(by_channel, variance, ordinary, max(shape[1:]) <= _FACE)
            inverse = torch.linalg.inv(root) if root.ndim else 1 / root
            means.append(mean)
            roots.append(root)
            units.append(_times(inverse, rows.double(), shape[0])[: len(rows) if several else 0])
        found = tuple(means), tuple(roots), tuple(units)
        return cls(slices, *found, tuple(ell), usual, tuple(shapes), tuple(lacks))

    def __call__(self, z: Tensor, strength: float | Sequence[float] = 1.0) -> Tensor:
        """z + s (T(z) - z): (n, D) -> (n, D). At s = 0 it is z to the bit, at s = 1 T(z).

        Args:
            z: latents of photographs.
            strength: s in [0, 1], one number or one a level, fine to coarse. Small at the coarse levels, it keeps the
                photograph's structure.

        Raises ValueError if it is out of its range, or another number of levels.
        """
        s = _each(strength, len(self.slices), "strength")
        parts = [z[:, part] for part in self.slices]
        for i, (x, share) in enumerate(zip(parts, s, strict=True)):
            if share and not self.lacks[i]:
                parts[i] = x + share * (self._moved(x, i) - x)
        return torch.cat(parts, 1)

    def _moved(self, x: Tensor, level: int) -> Tensor:
        channels, h, w = self.shapes[level]
        centred = x.reshape(len(x), channels, h * w)
        if h * w > 1:  # of one place alone the mean is the value itself, and would leave nothing of it
            centred = centred - centred.mean(2, keepdim=True)
        centred = centred.reshape(len(x), -1)
        own = centred.square().mean(1, keepdim=True).sqrt().clamp_min(self.typical[level])
        drawn = _times(self.roots[level], _likened(centred / own, self.units[level], self.likeness[level]), channels)
        return (self.means[level] + drawn).to(x.dtype)


def _common(mean: Tensor, shape: tuple[int, int, int], count: float) -> tuple[Tensor, Tensor]:
    """The mean of each channel, (C, 1), and that of a level, with the differences of its places as they count."""
    places = mean.double().reshape(shape[0], -1)
    channels = places.mean(1, keepdim=True)
    return channels, (channels + (1 - 1 / max(count, 1.0)) * (places - channels)).flatten()


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


def _likened(x: Tensor, units: Tensor, likeness: float) -> Tensor:
    """(ℓ² S + (1 - ℓ²) I)^½ x of each row of (n, D), float64.

    With S = Uᵀ U, W = ℓ / √(1 - ℓ²) Uᵀ and the eigenvalues s and eigenvectors V of Wᵀ W, the root is
    √(1 - ℓ²) (I + W V diag(1 / (1 + √(1 + s))) Vᵀ Wᵀ): D × D is never needed.
    """
    x, rest = x.double(), 1 - likeness**2
    if not likeness:
        return x
    w = likeness / rest**0.5 * units.T
    s, vectors = torch.linalg.eigh(w.T @ w)
    basis = w @ vectors
    return rest**0.5 * (x + x @ basis / (1 + (1 + s.clamp_min(0)).sqrt()) @ basis.T)


def _times(root: Tensor, x: Tensor, channels: int) -> Tensor:
    """The root applied to every place of (n, C·H·W)."""
    return (root @ x.unflatten(1, (channels, -1))).flatten(1) if root.ndim else root * x


def _each(values: float | Sequence[float], count: int, name: str) -> list[float]:
    each = [float(values)] * count if isinstance(values, int | float) else list(values)
    if len(each) != count or not all(0 <= value <= 1 for value in each):
        raise ValueError(f"{name} is one number from 0 to 1, or one for each of {count} levels, not {values!r}")
    return each
