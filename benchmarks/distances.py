"""How far apart two sets of feature vectors are, how much of each the other covers, and how varied and new one is.

All but `interval` take rows of features, (n, d). `standardised` puts features of different units on one scale first;
its statistics come from one reference set, so that all that is compared with that set is measured by one rule. Of two
sets that are compared, the reference is both: on one of them alone, halves of one set would be apart.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["diversity", "energy_distance", "interval", "kid", "nearest", "novelty", "precision_recall", "standardised"]

Rows = NDArray[np.float64]


def standardised(reference: Rows) -> Callable[[Rows], Rows]:
    """The map that gives the reference's features mean 0 and standard deviation 1, to be used on any rows.

    A feature that hardly varies in the reference (a grey picture's colours) is divided by a quarter of the deviations'
    root mean square instead: it may tell much, but not everything.
    """
    mean, std = reference.mean(0), reference.std(0, ddof=1)
    std = np.maximum(std, 0.25 * np.sqrt(np.square(std).mean()))
    return lambda rows: (rows - mean) / std


def energy_distance(a: Rows, b: Rows) -> float:
    """2 E|x - y| - E|x - x'| - E|y - y'| (Székely, Rizzo 2013), without bias: two samples of one distribution give 0 on
    the mean, so that it can be slightly negative. At least two rows each.

    Example:
        >>> energy_distance(np.array([[0.0], [1.0]]), np.array([[10.0], [11.0]]))
        18.0
    """
    return float(2 * _distances(a, b).mean() - _among(a) - _among(b))


def kid(a: Rows, b: Rows) -> float:
    """Squared maximum mean discrepancy under the kernel (x·y/d + 1)³, without bias: the "kernel inception distance" of
    Bińkowski et al. 2018, in whatever space the features are."""

    def kernel(x: Rows, y: Rows) -> Rows:
        return (x @ y.T / x.shape[1] + 1) ** 3

    def within(x: Rows) -> float:
        k = kernel(x, x)
        return (k.sum() - np.trace(k)) / (len(x) * (len(x) - 1))

    return float(within(a) + within(b) - 2 * kernel(a, b).mean())


def precision_recall(samples: Rows, real: Rows, k: int = 3) -> tuple[float, float]:
    """Share of samples inside the real set's support, and of real ones inside the samples' (Kynkäänniemi et al. 2019).

    A set's support is the union of balls around its rows that reach to their k-th neighbour (or the farthest, when the
    set is smaller).
    """

    def inside(points: Rows, support: Rows) -> float:
        reach = np.sort(_distances(support, support), axis=1)[:, min(k, len(support) - 1)]
        return float((_distances(points, support) <= reach).any(1).mean())

    return inside(samples, real), inside(real, samples)


def diversity(samples: Rows, real: Rows) -> float:
    """Mean distance between two samples, in units of that between two real ones: 1 is as varied."""
    return float(_among(samples) / _among(real))


def nearest(rows: Rows, given: Rows) -> Rows:
    """Distance of each row to the nearest given one, (n,)."""
    return _distances(rows, given).min(1)


def novelty(samples: Rows, given: Rows, held_out: Rows) -> Rows:
    """Distance of each sample to the nearest given row, in units of the mean of a held-out row's, (n,).

    0 is a copy; a mean of 1 is as new as real images.
    """
    return nearest(samples, given) / nearest(held_out, given).mean()


def interval(groups: Sequence[Sequence[float]], resamples: int = 2000, seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval (Efron 1979, percentiles) of the mean over groups of each group's mean.

    Each resample draws groups with replacement, then values of each with replacement. Of one group, only values.

    Example:
        >>> interval([[1.0, 1.0], [3.0, 3.0]])
        (1.0, 3.0)
    """
    rng = np.random.default_rng(seed)
    sizes = np.array([len(group) for group in groups])
    values = np.zeros((len(groups), sizes.max()))
    for row, group in zip(values, groups, strict=True):
        row[: len(group)] = group
    chosen = rng.integers(len(groups), size=(resamples, len(groups)))
    count = sizes[chosen][..., None]
    which = (rng.random((*chosen.shape, sizes.max())) * count).astype(int)
    kept = np.arange(sizes.max()) < count
    means = (values[chosen[..., None], which] * kept).sum(2) / sizes[chosen]
    low, high = np.percentile(means.mean(1), (2.5, 97.5))
    return float(low), float(high)


def _distances(a: Rows, b: Rows) -> Rows:
    square = np.square(a).sum(1)[:, None] + np.square(b).sum(1) - 2 * a @ b.T
    return np.sqrt(np.maximum(square, 0))


def _among(rows: Rows) -> float:
    """Mean distance between two different rows."""
    n = len(rows)
    if n < 2:
        raise ValueError("distances within a set need at least two rows")
    distances = _distances(rows, rows)
    np.fill_diagonal(distances, 0)
    return float(distances.sum() / (n * (n - 1)))
