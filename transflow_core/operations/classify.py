"""Classify: which class images are of, from a few examples of each, or that they are of none."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..evidence import Evidence
from ..fewshot import FewShotClassifier, jitter
from ..reading import Reader
from ..recipes import Classify
from .result import Result
from .source import Call, facts_of

__all__ = ["classify"]


def classify(engine: Reader, recipe: Classify, call: Call) -> Result:
    """The probabilities of each image's classes, and how unlike all of them it is."""
    examples = call.inputs["examples"]
    if isinstance(examples, FewShotClassifier):
        classifier, shown = examples, {}
    else:
        shown = {name: _class(engine, recipe, call, name, value) for name, value in examples.items()}
        classifier = FewShotClassifier(engine.prior, recipe.lam_ratio, likelihood=recipe.covariance)
        latents = {name: _latents(engine, evidence, recipe.copies, call) for name, evidence in shown.items()}
        engine.call(classifier.fit_latents, latents, cancel=call.cancel)
    found = call.images(engine, recipe, "images", some=False)
    answers = iter(engine.call(classifier.judge, found.z, cancel=call.cancel) if found.used else ())
    results, lines = [], []
    for image in found:
        result: dict[str, Any] = {"name": image.name, "problem": image.problem}
        if image.used:
            answer = next(answers)
            result |= {"best": answer.best, "probabilities": dict(answer.probabilities)}
            result |= {"novelty": answer.novelty, "none_of_these": answer.none}
            sure = "" if answer.none else f" ({answer.probabilities[answer.best]:.0%})"
            lines.append(f"{image.name}: {answer.word}{sure}, novelty {answer.novelty:.2f}")
        else:
            lines.append(f"{image.name}: {image.summary}")
        results.append(result)
    facts = facts_of(engine, recipe) | {
        "classes": dict(zip(classifier.classes, classifier.counts, strict=True)),
        "threshold": classifier.threshold,
        "held_out_accuracy": classifier.held_out_accuracy,
        "examples": {name: evidence.to_dicts() for name, evidence in shown.items()},
        "images": results,
    }
    return Result(recipe, facts, saved=classifier, lines=tuple(lines))


def _class(engine: Reader, recipe: Classify, call: Call, name: str, value: Any) -> Evidence:
    evidence = call.read(engine, recipe, value)
    if not evidence.used:
        raise ValueError(f"class {name!r}: {evidence.why_unusable()}")
    return evidence


def _latents(engine: Reader, evidence: Evidence, copies: int, call: Call) -> Tensor:
    """(m, D); with distorted copies of each example (m, 1 + copies, D)."""
    if not copies:
        return evidence.z
    frames = [image.face.image for image in evidence.used if image.face]
    variants = [variant for group in jitter(frames, copies) for variant in group]
    found = engine.encode(variants, progress=call.progress, cancel=call.cancel)
    return torch.stack([latent.z for latent in found]).reshape(len(frames), 1 + copies, -1)
