"""The verb `classify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..limits import LIKELIHOODS, choice
from ..shipped import CLASSIFYING_PRIOR
from . import options
from .work import Work, working

if TYPE_CHECKING:
    from ..engine import Engine
    from ..fewshot import FewShotClassifier

__all__ = ["classify"]


def classify(
    pictures: options.Pictures,
    classes: Annotated[
        list[Path],
        typer.Option(
            "--class", help="A folder of examples, named as the class; once for each. Or one saved classifier."
        ),
    ],
    augment: Annotated[int, typer.Option(min=0, max=100, help="Distorted copies of each example.")] = 0,
    likelihood: Annotated[str, typer.Option(help=f"The shape of Σ: {', '.join(LIKELIHOODS)}.")] = "low-rank",
    lam_ratio: Annotated[float | None, typer.Option("--lam-ratio", help="λ/m; by default from the examples.")] = None,
    classifier_file: Annotated[
        Path | None, typer.Option("--save-classifier", help="Also save the classifier (.safetensors).")
    ] = None,
    prior: options.Prior = CLASSIFYING_PRIOR,
    device: options.Device = "auto",
    whole: options.Whole = "auto",
    faces: options.Faces = "largest",
    landmarks: options.Landmarks = "5",
    as_json: options.AsJson = False,
) -> None:
    """Tell which class images are of, from a few examples each; or that they are of none."""
    from ..fewshot import FewShotClassifier

    reading = {"whole": whole, "faces": faces, "landmarks": landmarks}
    with working(as_json) as work:
        engine = work.engine(prior, device)
        if len(classes) == 1 and classes[0].suffix.lower() == ".safetensors":
            classifier = FewShotClassifier.load(classes[0], engine.prior)
        else:
            classifier = FewShotClassifier(
                engine.prior, lam_ratio, likelihood=choice(likelihood, "--likelihood", LIKELIHOODS)
            )
            _fit(classifier, work, engine, classes, augment, reading)
        evidence = work.evidence(engine, pictures, **reading)
        results: list[dict[str, Any]] = []
        for image, answer in zip(evidence.used, classifier.judge(evidence.z), strict=True):
            results.append(
                {
                    "name": image.name,
                    "class": None if answer.none else answer.best,
                    "probabilities": dict(answer.probabilities),
                    "novelty": answer.novelty,
                }
            )
            sure = "" if answer.none else f" ({answer.probabilities[answer.best]:.0%})"
            work.say(f"{image.name}: {answer.word}{sure}, novelty {answer.novelty:.2f}")
        work.result |= {
            "classes": dict(zip(classifier.classes, classifier.counts, strict=True)),
            "held_out_accuracy": classifier.held_out_accuracy,
            "threshold": classifier.threshold,
            "results": results,
        }
        if classifier_file is not None:
            classifier.save(classifier_file)
            work.wrote(classifier_file)


def _fit(
    classifier: FewShotClassifier,
    work: Work,
    engine: Engine,
    folders: list[Path],
    augment: int,
    reading: dict[str, str],
) -> None:
    """Learn a class of each folder, called as the folder is."""
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        raise ValueError(f"two classes have one name: {', '.join(names)}")
    shown = {name: work.evidence(engine, [folder], **reading) for name, folder in zip(names, folders, strict=True)}
    if augment:
        frames = {name: [image.face.image for image in evidence.used if image.face] for name, evidence in shown.items()}
        classifier.fit(frames, augment=augment)
    else:
        classifier.fit_latents({name: evidence.z for name, evidence in shown.items()})
