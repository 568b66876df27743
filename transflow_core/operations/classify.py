"""Classify: which class images are of, from a few examples of each, or that they are of none."""

from __future__ import annotations

from collections.abc import Iterable
from zlib import crc32

import torch
from PIL import Image
from torch import Tensor

from ..evidence import Evidence, EvidenceImage
from ..fewshot import Answer, FewShotClassifier, jitter
from ..recipes import Classify
from .call import Call
from .result import Result


def classify(call: Call[Classify]) -> Result:
    """The probabilities of each image's classes, and how unlike all of them it is."""
    recipe, examples = call.recipe, call.inputs["examples"]
    if isinstance(examples, FewShotClassifier):
        classifier, shown = examples, {}
    else:
        shown = {name: call.read(value) for name, value in examples.items()}
        for name, evidence in shown.items():
            if not evidence.used:
                raise ValueError(f"class {name!r}: {evidence.why_unusable()}")
        classifier = FewShotClassifier(call.engine.prior, recipe.lam_ratio, likelihood=recipe.covariance)
        call.run(classifier.fit_latents, {name: _latents(call, evidence) for name, evidence in shown.items()})
    found = call.images("images", some=False)
    answers = iter(call.run(classifier.judge, found.z) if found.used else ())
    each = [(image, next(answers) if image.used else None) for image in found]
    facts = {
        "classes": dict(zip(classifier.classes, classifier.counts, strict=True)),
        "threshold": classifier.threshold,
        "held_out_accuracy": classifier.held_out_accuracy,
        "examples": {name: evidence.to_dicts() for name, evidence in shown.items()},
        "images": [{"name": image.name, "problem": image.problem} | _facts(answer) for image, answer in each],
    }
    return Result(recipe, facts, saved=classifier, lines=tuple(_line(image, answer) for image, answer in each))


def _facts(answer: Answer | None) -> dict:
    if answer is None:
        return {}
    facts = {"best": answer.best, "probabilities": dict(answer.probabilities)}
    return facts | {"novelty": answer.novelty, "none_of_these": answer.none}


def _line(image: EvidenceImage, answer: Answer | None) -> str:
    if answer is None:
        return f"{image.name}: {image.summary}"
    sure = "" if answer.none else f" ({answer.probabilities[answer.best]:.0%})"
    return f"{image.name}: {answer.word}{sure}, novelty {answer.novelty:.2f}"


def _latents(call: Call[Classify], evidence: Evidence) -> Tensor:
    """(m, D); with distorted copies of each example (m, 1 + copies, D)."""
    copies = call.recipe.copies
    if not copies:
        return evidence.z
    found = call.engine.encode(variants([evidence], copies), **call.how)
    return torch.stack([latent.z for latent in found]).reshape(-1, 1 + copies, call.engine.prior.dim)


def variants(classes: Iterable[Evidence], copies: int) -> list[Image.Image]:
    """Each example in use of some classes, and its distorted copies. They depend on the example alone, so that caches
    of latents know them again."""
    frames = [image.face.image for evidence in classes for image in evidence.used if image.face]
    return [one for frame in frames for one in jitter([frame], copies, seed=crc32(frame.tobytes()))[0]]
