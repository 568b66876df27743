"""What ours is held against in few-shot classification, with every choice made on the evidence alone.

Neighbours, an RBF-SVM and a logistic regression (scikit-learn's), in whatever space the rows are: pixels or latents,
with distorted copies of the evidence or without. Copies of one piece are held out together, and only pieces themselves
are scored. Where nothing can be held out (one piece a class), the middle of each grid is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC
from torch import Tensor

from transflow_core.fewshot import FewShotClassifier
from transflow_core.fewshot.calibration import class_likelihood, temperature

__all__ = ["BASELINES", "Evidence", "judged", "ours"]

_FOLDS = 3
_NEIGHBOURS = (1, 3, 5, 7)
# γ in units of 1 / median squared distance between pieces; near 2 is scikit-learn's "scale".
_WIDTHS, _COSTS, _STOCK = (0.5, 1.0, 2.0, 4.0, 8.0), (1.0, 10.0), 4
_PENALTIES = (1.0, 10.0, 100.0)  # C of logistic regression on rows of mean square norm 1

Groups = Mapping[str, Tensor]
Scorer = Callable[[Tensor, NDArray[np.int64]], NDArray[np.float64]]


@dataclass(frozen=True)
class Evidence:
    """The evidence in one space, as rows.

    Attributes:
        x: (n, d) float32, each piece followed by its copies.
        labels: (n,) index of each row's class.
        first: (n,) bool, whether a row is the piece itself.
        fold: (n,) when a row is held out; -1 for the only piece of a class, never.
    """

    x: Tensor
    labels: NDArray[np.int64]
    first: NDArray[np.bool_]
    fold: NDArray[np.int64]
    _far: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def own(self) -> Tensor:
        """(n, n) squared distances between the rows."""
        return _distances(self.x, self.x)

    def far(self, query: Tensor) -> Tensor:
        """(q, n) squared distances of queries to the rows, which several rules ask for."""
        if id(query) not in self._far:
            self._far[id(query)] = query, _distances(query, self.x)  # the query is kept, so that its id stays its own
        return self._far[id(query)][1]

    @classmethod
    def of(cls, groups: Groups) -> Evidence:
        """From class name to (m, d), or (m, v, d) with v variants of each piece, the piece itself first."""
        cubes = [z.unsqueeze(1) if z.ndim == 2 else z for z in groups.values()]
        labels = np.repeat(np.arange(len(cubes)), [z.shape[0] * z.shape[1] for z in cubes])
        places = [np.divmod(np.arange(z.shape[0] * z.shape[1]), z.shape[1]) for z in cubes]
        fold = [
            piece % min(_FOLDS, len(z)) if len(z) > 1 else piece - 1
            for (piece, _), z in zip(places, cubes, strict=True)
        ]
        first = np.concatenate([copy == 0 for _, copy in places])
        return cls(torch.cat([z.flatten(0, 1) for z in cubes]).float(), labels, first, np.concatenate(fold))


def judged(scores: Tensor, labels: NDArray[np.int64]) -> dict[str, float]:
    """Accuracy and expected calibration error in %, and negative log-likelihood in nats, of (n, C) log probabilities.

    The calibration error is the mean of |stated - right| over ten bins of stated probability, weighted by their sizes.
    """
    log_p = torch.log_softmax(scores.double(), 1).numpy()
    right, stated = log_p.argmax(1) == labels, np.exp(log_p.max(1))
    bins = np.minimum((10 * stated).astype(int), 9)
    error = sum(abs(float((stated - right)[bins == b].sum())) for b in range(10)) / len(labels)
    return {
        "accuracy": 100 * float(right.mean()),
        "nll": float(-log_p[np.arange(len(labels)), labels].mean()),
        "ece": 100 * error,
        "stated": 100 * float(stated.mean()),
    }


def ours(classifier: FewShotClassifier, groups: Groups, query: Tensor) -> Tensor:
    """Log probabilities of a fitted rule of ours, (n, C)."""
    return classifier.fit_latents(groups).predict_proba_latents(query).log()


def neighbours(evidence: Evidence, query: Tensor, counts: Sequence[int] = _NEIGHBOURS) -> Tensor:
    """k-NN by votes; of a tie, the class of the nearest. k is chosen by held-out pieces."""
    own, far = evidence.own, evidence.far(query)
    classes = 1 + evidence.labels.max()

    def votes(distances: Tensor, kept: NDArray, k: int) -> NDArray[np.float64]:
        near = evidence.labels[kept][distances[:, kept].topk(k, largest=False).indices.numpy()]
        counted = (near[:, :, None] == np.arange(classes)).sum(1).astype(float)
        counted[np.arange(len(near)), near[:, 0]] += 0.5
        return counted

    possible = [k for k in counts if k <= evidence.first.sum() // classes] or [1]
    return _best(evidence, own, far, [lambda rows, kept, k=k: votes(rows, kept, k) for k in possible], 0)


def nearest_mean(evidence: Evidence, query: Tensor) -> Tensor:
    """The nearest class mean."""

    def scores(rows: Tensor, kept: NDArray) -> NDArray[np.float64]:
        labels = torch.from_numpy(evidence.labels[kept])
        means = torch.stack([evidence.x[kept][labels == index].mean(0) for index in range(1 + evidence.labels.max())])
        return -_distances(rows, means).double().numpy()

    return _best(evidence, evidence.x, query, [scores], 0)


def svm(evidence: Evidence, query: Tensor) -> Tensor:
    """An RBF-SVM, one class against another; C and γ by held-out pieces."""
    own, far = evidence.own, evidence.far(query)
    pieces = own[evidence.first][:, evidence.first]
    scale = float(pieces[pieces > 0].median())

    def scores(rows: Tensor, kept: NDArray, width: float, cost: float) -> NDArray[np.float64]:
        kernel, test = (torch.exp(-width / scale * d[:, kept]).numpy() for d in (own[kept], rows))
        return _per_class(SVC(C=cost, kernel="precomputed").fit(kernel, evidence.labels[kept]).decision_function(test))

    return _best(evidence, own, far, [partial(scores, width=w, cost=c) for w in _WIDTHS for c in _COSTS], _STOCK)


def logistic(evidence: Evidence, query: Tensor) -> Tensor:
    """Logistic regression with an L2 penalty, which is chosen by held-out pieces."""
    # Centred, of norm about 1, and turned into as many coordinates as there are rows: the same machine, sooner.
    mean = evidence.x.mean(0)
    own, far = evidence.x - mean, query - mean
    if len(own) < own.shape[1]:
        basis = torch.linalg.qr(own.T).Q
        own, far = own @ basis, far @ basis
    scale = own.square().sum(1).mean().sqrt()

    def scores(rows: Tensor, kept: NDArray, penalty: float) -> NDArray[np.float64]:
        machine = LogisticRegression(C=penalty, max_iter=200, tol=1e-3).fit(own[kept] / scale, evidence.labels[kept])
        return _per_class(machine.decision_function(rows / scale))

    return _best(evidence, own, far, [partial(scores, penalty=penalty) for penalty in _PENALTIES], 1)


#: Every baseline by its name.
BASELINES: dict[str, Callable[[Evidence, Tensor], Tensor]] = {
    "1-NN": partial(neighbours, counts=(1,)),
    "k-NN": neighbours,
    "nearest mean": nearest_mean,
    "logistic regression": logistic,
    "RBF-SVM": svm,
}


def _best(evidence: Evidence, own: Tensor, far: Tensor, candidates: Sequence[Scorer], stock: int) -> Tensor:
    """Log probabilities, (n, C), of the candidate that is right most often of held-out pieces, then likeliest.

    Args:
        evidence: rows.
        own, far: what a candidate takes of the evidence and of queries, a row each.
        candidates: from rows and the indices of the evidence that is kept to scores.
        stock: the candidate where nothing can be held out.
    """
    everything, pieces = np.arange(len(evidence.labels)), np.flatnonzero(evidence.first)
    held_out = pieces[evidence.fold[pieces] >= 0]
    chosen, known = candidates[stock], held_out
    found: list[tuple[float, float, int, NDArray]] = []
    for index, candidate in enumerate(candidates if len(held_out) else ()):
        scores = np.zeros((len(evidence.labels), 1 + evidence.labels.max()))
        for fold in np.unique(evidence.fold[held_out]):
            rows = held_out[evidence.fold[held_out] == fold]
            scores[rows] = candidate(own[rows], np.flatnonzero(evidence.fold != fold))
        right = float((scores[held_out].argmax(1) == evidence.labels[held_out]).mean())
        likely = class_likelihood(_scaled(scores[held_out]), torch.from_numpy(evidence.labels[held_out]))
        found.append((right, likely, -index, scores[held_out]))
    if found:
        _, _, index, scores = max(found, key=lambda one: one[:3])
        chosen = candidates[-index]
    else:
        known = pieces
        scores = chosen(own[pieces], everything)
    labels = torch.from_numpy(evidence.labels[known])
    t = temperature(_scaled(scores), labels, torch.full((len(labels),), bool(found)))
    return torch.log_softmax(_scaled(chosen(far, everything), scores) / t, 1)


def _scaled(scores: NDArray[np.float64], reference: NDArray[np.float64] | None = None) -> Tensor:
    """Scores of any unit as large as `temperature` takes them: 1,000 standard deviations of the reference's."""
    reference = scores if reference is None else reference
    return torch.from_numpy(scores) * (1000 / max(float(reference.std()), 1e-12))


def _per_class(decision: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([-decision, decision], 1) if decision.ndim == 1 else decision


def _distances(a: Tensor, b: Tensor) -> Tensor:
    return (a.square().sum(1, keepdim=True) - 2 * a @ b.T + b.square().sum(1)).clamp_min(0)
