"""What log densities of held-out evidence say: how sure to be of a class, and when to say none of them."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_TEMPERATURES = torch.logspace(0, 5, 301, dtype=torch.float64)
# Where no example can be held out, a query that is itself an example gets this probability.
_SURE = 0.9
# How far a missing sample is put from the one that there is, in standard deviations; and how wide "neither" is.
_SIGMAS, _BROAD = 2.0, 6.0
_LEAST_SPREAD = 0.1


def temperature(scores: Tensor, own: Tensor, held_out: Tensor) -> float:
    """T ≥ 1 such that softmax(log density / T) is as sure of a class as it is right.

    Log densities of 12,288 dimensions differ by hundreds of nats, so at T = 1 every probability would be 0 or 1. T
    makes the classes of the held-out examples likeliest. As in Platt's scaling the target of the own class is
    (n + 1) / (n + 2), and the others share the rest: ten right answers do not make T certain.

    Without held-out examples (one a class), the examples get their own class with a probability of 0.9 on average.

    Args:
        scores: (n, C) log densities in nats; rows of held-out examples without their own part in the evidence.
        own: (n,) index of each example's class.
        held_out: (n,) bool.
    """
    n_classes = scores.shape[1]
    if n_classes == 1:
        return 1.0
    rows, classes = (scores[held_out], own[held_out]) if held_out.any() else (scores, own)
    log_p, right = _tempered(rows, classes)
    if not held_out.any():
        surest = right.exp().mean(1) <= _SURE
        return float(_TEMPERATURES[surest.nonzero()[0, 0]] if surest.any() else _TEMPERATURES[-1])
    doubt = 1 / (len(rows) + 2)
    others = (log_p.sum(-1) - right) / (n_classes - 1)
    objective = ((1 - doubt) * right + doubt * others).mean(1)
    return float(_TEMPERATURES[objective.argmax()])


def class_likelihood(scores: Tensor, own: Tensor) -> float:
    """Mean log probability of the own class, in nats, at the best temperature: see there."""
    return float(_tempered(scores, own)[1].mean(1).max())


def _tempered(scores: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """Log probabilities at each temperature: of all classes (T, n, C), and of the own one (T, n)."""
    log_p = torch.log_softmax(scores / _TEMPERATURES.reshape(-1, 1, 1), dim=-1)
    return log_p, log_p.gather(-1, own.reshape(1, -1, 1).expand(len(log_p), -1, -1)).squeeze(-1)


@dataclass(frozen=True)
class NoveltyScale:
    """From how well the classes explain an image to the probability that it belongs to none of them.

    The signs: how large the latent is (log mean square), and how much more likely it is, in nats, under the average
    class than under the prior, and under the best class than under the average one (of fewer than three classes, under
    the best than under the prior). Two samples set the scale: examples held out of their class (known), and examples
    whose whole class was left out (novel). Both are taken as Gaussians of one covariance; a third, six times as wide,
    stands for images that are like neither. Bayes' rule with equal weights gives P(not known). An image that is
    explained better than known images counts as one of them.

    Attributes:
        known, novel: (k,) float64, means of the signs; k = 2 or 3. They coincide where nothing could be measured.
        covariance: (k, k) float64.
        threshold: the novelty that one in twenty known images exceeded, at least 0.5; raised where few were measured,
            to 0.95 where none was.
    """

    known: Tensor
    novel: Tensor
    covariance: Tensor
    threshold: float

    @classmethod
    def fit(cls, known: Tensor, novel: Tensor) -> "NoveltyScale":
        """From the signs of both samples, (n, k) each.

        One example a class has no known sample, one class no novel one: its mean is put two standard deviations from
        the other's. A single image has no scale: nothing is then said to be of no class.
        """
        present = [sample for sample in (known, novel) if len(sample)]
        freedom = sum(len(sample) - 1 for sample in present)
        if freedom < 1:
            centre = present[0].mean(0) if present else known.new_zeros(known.shape[1])
            return cls(centre, centre, 1e12 * torch.eye(known.shape[1], dtype=torch.float64), 0.95)
        spread = torch.cat([sample - sample.mean(0) for sample in present])
        covariance = spread.T @ spread / freedom
        covariance = (covariance + covariance.T) / 2
        # Few samples say little of correlations.
        trust = freedom / (freedom + 2)
        covariance = trust * covariance + (1 - trust) * covariance.diagonal().diag()
        # Sizes that happen to agree must not make every other size strange: they are told to 10 %.
        covariance = covariance + _LEAST_SPREAD**2 * torch.eye(len(covariance), dtype=torch.float64)
        # A missing sample is as large as the one that there is, and explained better or worse.
        step = _SIGMAS * covariance.diagonal().sqrt() * (torch.arange(len(covariance)) > 0)
        centre = known.mean(0) if len(known) else novel.mean(0) + step
        away = novel.mean(0) if len(novel) else centre - step
        scale = cls(centre, away, covariance, 0.5)
        usual = float(scale.novelty(known).quantile(0.95)) if len(known) else 0.5
        room = (1 - max(0.5, usual)) * len(known) / (len(known) + 10)
        return cls(centre, away, covariance, 1 - max(0.05, room))

    def novelty(self, signs: Tensor) -> Tensor:
        """(n, k) signs -> (n,): 0 (one of the classes) to 1 (none of them)."""
        signs = torch.cat([signs[:, :1], signs[:, 1:].minimum(self.known[1:])], 1)
        odds = [self._log_density(signs, self.novel, 1.0), self._log_density(signs, self.known, _BROAD)]
        known = self._log_density(signs, self.known, 1.0)
        return torch.sigmoid(torch.logsumexp(torch.stack(odds), 0) - known)

    def _log_density(self, signs: Tensor, mean: Tensor, width: float) -> Tensor:
        x = (signs - mean) / width
        return -0.5 * (x @ torch.linalg.inv(self.covariance) * x).sum(1) - len(mean) * math.log(width)


def signs(size: Tensor, classes: Tensor, prior: Tensor, own: Tensor | None = None) -> Tensor:
    """What `NoveltyScale` judges: (n, 3), or (n, 2) of fewer than three classes.

    Args:
        size: (n,) mean square of each latent.
        classes: (n, C) log densities under each class, in nats.
        prior: (n,) log densities under the prior's predictive.
        own: (n,) the class of each row to leave out, or None.
    """
    few = classes.shape[1] < 3
    if own is not None:
        rest = torch.ones_like(classes, dtype=torch.bool).scatter(1, own.unsqueeze(1), False)
        classes = classes[rest].reshape(len(classes), -1)
    best, average = classes.max(1).values, classes.mean(1)
    explained = [best - prior] if few else [average - prior, best - average]
    return torch.stack([size.clamp_min(1e-12).log(), *explained], 1)
