"""Classes fitted to their examples, the answer for each query, and the table of answers."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from threading import Event
from zlib import crc32

import torch
from PIL import Image
from torch import Tensor

from transflow_core.engine import Engine
from transflow_core.evidence import Evidence
from transflow_core.fewshot import NONE, Answer, FewShotClassifier, jitter
from transflow_core.limits import LAM_RATIO_SLIDER, Range, choice
from transflow_core.recipes import SHAPES

__all__ = ["COPIES", "DISTORTION", "Fit", "Result", "Rule", "fitted", "judged", "medoid", "table"]

COPIES = Range(0, 20)
"""Distorted copies of each example: with ten classes of five, 20 of each are a thousand inversions."""
DISTORTION = {"degrees": 20.0, "shift": 0.08, "scale": 0.15, "shear": 0.25}
"""The distortion of copies: as in Table 1, where it was chosen on digits that were not tested."""


@dataclass(frozen=True)
class Rule:
    """The settings of a classifier.

    Attributes:
        likelihood: a key of `recipes.SHAPES`.
        lam_ratio: λ/m, or None to choose it from the examples.
        copies: distorted copies of each example, from which the classifier learns which directions do not matter.
    """

    likelihood: str = "low-rank"
    lam_ratio: float | None = None
    copies: int = 0

    @classmethod
    def checked(cls, likelihood: object, lam_ratio: object, copies: object = 0) -> Rule:
        """From untrusted values. Raises ValueError for an unknown likelihood, and for what is no number."""
        return cls(
            choice(likelihood, "the likelihood", SHAPES),
            None if lam_ratio is None else LAM_RATIO_SLIDER.clip(lam_ratio, "λ/m"),
            int(COPIES.clip(copies, "the number of copies")),
        )

    @property
    def arguments(self) -> dict:
        """Keywords for `FewShotClassifier`, without its defaults."""
        keywords = {} if self.lam_ratio is None else {"lam_ratio": self.lam_ratio}
        return keywords if self.likelihood == "low-rank" else keywords | {"likelihood": self.likelihood}


@dataclass(frozen=True)
class Fit:
    """A fitted classifier.

    Attributes:
        classifier: the classifier.
        rule: its settings.
        seconds: how long fitting took.
        key: what it was fitted to, so that it is not fitted again for another query.
    """

    classifier: FewShotClassifier
    rule: Rule
    seconds: float
    key: tuple


def fitted(
    engine: Engine, classes: Mapping[str, Evidence], rule: Rule, known: Fit | None = None, cancel: Event | None = None
) -> Generator[tuple[int, int], None, Fit]:
    """Fit the classes, or return `known` if it was fitted to the same. Yields how many of how many copies are inverted.

    Raises ValueError as the classifier does, Cancelled if `cancel` is set.
    """
    # Latents are compared by identity, and stay alive with the key.
    latents = [(name, [image.latent for image in evidence.used if image.latent]) for name, evidence in classes.items()]
    key = (engine.prior.fingerprint, rule, latents)
    if known is not None and known.key == key:
        return known
    variants = [variant for evidence in classes.values() for variant in _variants(evidence, rule.copies)]
    found: list[Tensor] = []
    for start in range(0, len(variants), engine.batch_size) if rule.copies else ():
        yield start, len(variants)
        batch = variants[start : start + engine.batch_size]
        found += [latent.z for latent in engine.encode(batch, cancel=cancel)]
    evidence = {name: torch.stack([latent.z for latent in some]) for name, some in latents}
    if rule.copies:
        groups = torch.stack(found).reshape(-1, 1 + rule.copies, engine.prior.dim)
        evidence = dict(zip(evidence, groups.split([len(some) for some in evidence.values()]), strict=True))
    started = time.perf_counter()
    classifier = FewShotClassifier(engine.prior, **rule.arguments)
    engine.call(classifier.fit_latents, evidence, cancel=cancel)
    return Fit(classifier, rule, time.perf_counter() - started, key)


def _variants(evidence: Evidence, copies: int) -> list[Image.Image]:
    """Each example and its copies. They depend on the example alone, so the engine's cache may have them."""
    frames = [image.face.image for image in evidence.used if image.face]
    return [one for frame in frames for one in jitter([frame], copies, seed=crc32(frame.tobytes()), **DISTORTION)[0]]


@dataclass(frozen=True)
class Result:
    """All answers.

    Attributes:
        fit: the fitted classifier.
        answers: by the index of each query that could be inverted.
        queries: all queries.
    """

    fit: Fit
    answers: Mapping[int, Answer]
    queries: Evidence

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.fit.classifier.classes

    def right(self, index: int) -> bool | None:
        """Whether an answer is right; None where the truth is unknown, or not the name of a class."""
        truth = self.queries[index].label
        return self.answers[index].word == truth if truth in (*self.classes, NONE) else None


def judged(engine: Engine, fit: Fit, queries: Evidence, cancel: Event | None = None) -> Result:
    """Judge every query that could be inverted. Raises Cancelled if `cancel` is set."""
    used = [index for index, image in enumerate(queries) if image.used]
    answers = engine.call(fit.classifier.judge, queries.z, cancel=cancel) if used else ()
    return Result(fit, dict(zip(used, answers, strict=True)), queries)


def medoid(evidence: Evidence) -> Image.Image:
    """The example that is nearest to the mean of all."""
    frames = [image.face.image for image in evidence.used if image.face]
    return frames[int((evidence.z - evidence.z.mean(0)).square().sum(1).argmin())]


def table(result: Result) -> str:
    """Every answer as CSV: the file, the answer, how novel it is, and the probability of each class."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["file", "answer", "truth", "novelty", "threshold", *(_cell(f"p({name})") for name in result.classes)]
    )
    threshold = f"{result.fit.classifier.threshold:.6f}"
    for index, answer in result.answers.items():
        image = result.queries[index]
        texts = [_cell(text) for text in (image.name, answer.word, image.label)]
        probabilities = (f"{p:.8f}" for p in answer.probabilities.values())
        writer.writerow([*texts, f"{answer.novelty:.6f}", threshold, *probabilities])
    return text.getvalue()


def _cell(text: str) -> str:
    # A spreadsheet runs a cell that begins like a formula, and users name the files.
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
