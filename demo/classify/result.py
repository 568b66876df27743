"""What the classifier says of each query, and the table of it."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Mapping
from dataclasses import dataclass

from transflow_core.engine import Engine
from transflow_core.fewshot import FewShotClassifier

from .pile import NONE, Item, Pile

__all__ = ["LIKELIHOODS", "Answer", "Fit", "Result", "Rule", "fitted", "judged", "table"]

#: Choices of Σ: key, and what a person reads.
LIKELIHOODS = {
    "low-rank": "directions learned from the examples",
    "levels": "one variance for each latent level",
    "isotropic": "λI around the examples' mean",
    "paper": "λI around 0, as in the paper",
}


@dataclass(frozen=True)
class Rule:
    """How classes are made from examples.

    Attributes:
        likelihood: a key of `LIKELIHOODS`.
        lam_ratio: λ/m, or None to choose it from the examples.
    """

    likelihood: str = "low-rank"
    lam_ratio: float | None = None

    @classmethod
    def checked(cls, likelihood: object, lam_ratio: object) -> Rule:
        """From untrusted values. Raises ValueError for an unknown likelihood, or a λ/m that is no number."""
        if likelihood not in LIKELIHOODS:
            raise ValueError(f"the likelihood is one of {', '.join(LIKELIHOODS)}")
        if lam_ratio is None:
            return cls(likelihood)
        if isinstance(lam_ratio, bool) or not isinstance(lam_ratio, int | float) or lam_ratio != lam_ratio:
            raise ValueError("λ/m must be a number from 0.01 to 10")
        return cls(likelihood, min(max(float(lam_ratio), 0.01), 10.0))

    @property
    def arguments(self) -> dict:
        """Keywords for `FewShotClassifier`; its defaults are left out."""
        how = {} if self.lam_ratio is None else {"lam_ratio": self.lam_ratio}
        if self.likelihood == "paper":
            return how | {"likelihood": "isotropic", "centre": False}
        return how if self.likelihood == "low-rank" else how | {"likelihood": self.likelihood}


@dataclass(frozen=True)
class Fit:
    """A fitted classifier.

    Attributes:
        classifier: it.
        lam_ratio: λ/m that it uses, given or chosen.
        seconds: how long fitting took.
        key: what it was fitted to, so that it need not be fitted again for another query.
    """

    classifier: FewShotClassifier
    lam_ratio: float
    seconds: float
    key: tuple


def fitted(engine: Engine, classes: Mapping[str, Pile], rule: Rule, known: Fit | None = None) -> Fit:
    """Fit the classes, or give `known` back if it was fitted to the same. Raises ValueError as the classifier does."""
    used = {name: pile.used for name, pile in classes.items()}
    # The latents themselves are part of the key: they stay alive with it, so that an id is not used twice.
    latents = tuple((name, tuple(item.image.latent for item in items)) for name, items in used.items())
    key = (engine.prior.fingerprint, rule)
    if known is not None and known.key[0] == key and _same(known.key[1], latents):
        return known
    started = time.perf_counter()
    classifier = FewShotClassifier(engine.prior, **rule.arguments)
    classifier.fit_latents({name: pile.evidence.z for name, pile in classes.items()})
    seconds = time.perf_counter() - started
    # λ is the mean variance of Σ; m is the mean number of examples.
    lam = float(classifier.sigma.covariance().variance.mean())
    return Fit(classifier, lam * len(used) / sum(classifier.counts), seconds, (key, latents))


def _same(a: tuple, b: tuple) -> bool:
    return [name for name, _ in a] == [name for name, _ in b] and all(
        len(x) == len(y) and all(p is q for p, q in zip(x, y, strict=True)) for (_, x), (_, y) in zip(a, b, strict=True)
    )


@dataclass(frozen=True)
class Answer:
    """What one query is.

    Attributes:
        index: its place among the queries.
        item: the query.
        probabilities: one for each class, summing to 1: of each class, if it is one of them.
        novelty: 0 to 1, how likely it is none of them.
        best: the likeliest class.
        none: whether the novelty is above the threshold.
    """

    index: int
    item: Item
    probabilities: tuple[float, ...]
    novelty: float
    best: str
    none: bool

    @property
    def word(self) -> str:
        """The answer: a class's name, or `NONE`."""
        return NONE if self.none else self.best


@dataclass(frozen=True)
class Result:
    """All answers.

    Attributes:
        fit: what they were judged by.
        answers: one for each query that could be inverted.
    """

    fit: Fit
    answers: tuple[Answer, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.fit.classifier.classes

    def right(self, answer: Answer) -> bool | None:
        """Whether an answer is right; None where the truth is not known, or no longer among the classes' names."""
        truth = answer.item.given.truth
        return answer.word == truth if truth in (*self.classes, NONE) else None


def judged(fit: Fit, queries: Pile) -> Result:
    """Judge every query that could be inverted."""
    used = [(index, item) for index, item in enumerate(queries.items) if item.image.used]
    if not used:
        return Result(fit, ())
    z = queries.evidence.z
    classifier = fit.classifier
    probabilities, novelty = classifier.predict_proba_latents(z), classifier.novelty(z)
    best = probabilities.argmax(1).tolist()
    answers = zip(used, probabilities.tolist(), novelty.tolist(), best, strict=True)
    return Result(
        fit,
        tuple(
            Answer(index, item, tuple(p), novel, classifier.classes[winner], novel > classifier.threshold)
            for (index, item), p, novel, winner in answers
        ),
    )


def table(result: Result) -> str:
    """Every answer as CSV: the file, the answer, how novel it is, and the probability of each class."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["file", "answer", "truth", "novelty", "threshold", *(_cell(f"p({name})") for name in result.classes)]
    )
    threshold = f"{result.fit.classifier.threshold:.6f}"
    for answer in result.answers:
        words = [_cell(word) for word in (answer.item.image.name, answer.word, answer.item.given.truth)]
        writer.writerow([*words, f"{answer.novelty:.6f}", threshold, *(f"{p:.8f}" for p in answer.probabilities)])
    return text.getvalue()


def _cell(word: str) -> str:
    # A spreadsheet runs a cell that begins like a formula, and file names come from anywhere.
    return f"'{word}" if word.startswith(("=", "+", "-", "@", "\t", "\r")) else word
