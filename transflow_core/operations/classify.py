"""Classify: which class images are of, from a few examples of each, or that they are of none."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from zlib import crc32

import torch
from PIL import Image
from torch import Tensor

from ..evidence import Evidence, EvidenceImage
from ..fewshot import Answer, FewShotClassifier, jitter
from ..fewshot.features import hog
from ..recipes import FEATURES, Classify, Features
from .call import Call, Result


def classify(call: Call[Classify]) -> Result:
    """The probabilities of each image's classes, and how unlike all of them it is."""
    recipe, examples = call.recipe, call.inputs["examples"]
    if isinstance(examples, FewShotClassifier):
        classifier, shown, tried = examples, {}, {examples.features: examples.held_out_accuracy}
        learned = {name: examples.metadata[name] for name in _FRAMES if name in examples.metadata}
        recipe = recipe.replace(**learned | recipe.changed())  # images are aligned as its examples were
        call = replace(call, recipe=recipe)
    elif not isinstance(examples, Mapping):
        raise ValueError("examples: give a dict, the images of each class by its name; or a FewShotClassifier.")
    else:
        shown = {name: call.read(value) for name, value in examples.items()}
        for name, evidence in shown.items():
            if not evidence.used:
                raise ValueError(f"class {name!r}: {evidence.why_unusable()}")
        _no_image_twice(shown)
        kinds: list[Features] = list(FEATURES) if recipe.features == "auto" else [recipe.features]
        fitted = [_fitted(call, kind, shown) for kind in kinds]
        # Where nothing can be held out, it is the first.
        classifier = max(fitted, key=lambda one: (one.held_out_accuracy or 0, one.held_out_likelihood or 0))
        tried = {one.features: one.held_out_accuracy for one in fitted}
    found = call.images("images", some=False)
    answers = iter(call.run(classifier.judge, _vectors(call, classifier.features, found)) if found.used else ())
    each = [(image, next(answers) if image.used else None) for image in found]
    facts = {
        "classes": dict(zip(classifier.classes, classifier.counts, strict=True)),
        "features": classifier.features,
        "held_out_by_features": tried,
        "threshold": classifier.threshold,
        "held_out_accuracy": classifier.held_out_accuracy,
        "examples": {name: [image.to_dict() for image in evidence] for name, evidence in shown.items()},
        "images": [{"name": image.name, "problem": image.problem} | _facts(answer) for image, answer in each],
    }
    lines = (_compared(classifier, tried), *(_line(image, answer) for image, answer in each))
    return Result(recipe, facts, saved=classifier, lines=lines)


_FRAMES = "align", "faces", "landmarks"
"""How images are aligned. A saved classifier says it of its examples."""


def _no_image_twice(classes: Mapping[str, Evidence]) -> None:
    """Refuse an image that two classes share: held out of one, it stays in the other, and no answer would be sure."""
    found: dict[bytes, str] = {}
    for name, evidence in classes.items():
        for image in evidence.used:
            if image.shown and (other := found.setdefault(image.shown.tobytes(), name)) != name:
                raise ValueError(f"{image.name} is in two classes, {other} and {name}. Leave it out of one.")


def _compared(classifier: FewShotClassifier, tried: Mapping[Features, float | None]) -> str:
    """What was compared, and how many held-out examples each kind recognises."""
    shares = [f"{100 * share:.0f} % by {FEATURES[kind]}" for kind, share in tried.items() if share is not None]
    several = len(classifier.classes) > 1  # else there is nothing to take them for
    held_out = f"; held-out examples recognised: {', '.join(shares)}" if shares and several else ""
    return f"compared: {FEATURES[classifier.features]}{held_out}"


def _facts(answer: Answer | None) -> dict:
    if answer is None:
        return {}
    facts = {"best": answer.best, "probabilities": dict(answer.probabilities)}
    return facts | {"novelty": answer.novelty, "none_of_these": answer.none}


def _line(image: EvidenceImage, answer: Answer | None) -> str:
    if answer is None:
        return f"{image.name}: {image.summary}"
    sure = "" if answer.none else f" ({100 * answer.probabilities[answer.best]:.0f} %)"
    return f"{image.name}: {answer.word}{sure}, novelty {answer.novelty:.2f}"


def _fitted(call: Call[Classify], features: Features, shown: Mapping[str, Evidence]) -> FewShotClassifier:
    recipe = call.recipe
    classifier = FewShotClassifier(call.engine.prior, recipe.lam_ratio, likelihood=recipe.covariance, features=features)
    vectors = {name: _vectors(call, features, evidence, recipe.copies) for name, evidence in shown.items()}
    return call.run(classifier.fit_latents, vectors)


def _vectors(call: Call[Classify], features: Features, evidence: Evidence, copies: int = 0) -> Tensor:
    """(m, D); with distorted copies of each example (m, 1 + copies, D).

    Levels that small pictures lack are soft in all classes alike; a draw of the prior there would differ within one.
    """
    if features == "latents" and not copies:
        return evidence.encoded
    frames = variants([evidence], copies)
    if features == "hog":
        found = hog(call.engine.prior.to_unit(frames))
    else:
        found = torch.stack([latent.z for latent in call.engine.encode(frames, **call.how)])
    return found.reshape(-1, 1 + copies, found.shape[1]) if copies else found


def variants(classes: Iterable[Evidence], copies: int) -> list[Image.Image]:
    """Each example in use of some classes, and its distorted copies. They depend on the example alone, so that caches
    of latents know them again."""
    frames = [image.shown for evidence in classes for image in evidence.used if image.shown]
    return [one for frame in frames for one in jitter([frame], copies, seed=crc32(frame.tobytes()))[0]]
