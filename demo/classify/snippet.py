"""Python for the classification of the page."""

from __future__ import annotations

from collections.abc import Mapping

from transflow_core.evidence import Evidence

from ..snippet import file_names
from .result import DISTORTION, Rule

__all__ = ["CLASSIFIER_FILE", "python_code"]

CLASSIFIER_FILE = "classifier.safetensors"


def python_code(prior: str, classes: Mapping[str, Evidence], queries: Evidence, rule: Rule, *, whole: bool) -> str:
    """From the files; from the saved classifier where examples have no files, such as random digits."""
    aligned = ', align="never"' if whole else ""
    lines = [
        "import transflow_core as tfc",
        "from transflow_core.fewshot import FewShotClassifier",
        "",
        f"engine = tfc.Engine(tfc.load_prior({prior!r}))",
    ]
    files = {name: file_names(evidence.used) for name, evidence in classes.items()}
    if all(files.values()):
        if rule.copies:
            lines = [
                *_COPIED.format(copies=rule.copies, distortion=DISTORTION, aligned=aligned).splitlines(),
                *lines[2:],
            ]
            latents = "latents(files)"
        else:
            latents = f"engine.read(files{aligned}).z"
        arguments = "".join(f", {name}={value!r}" for name, value in rule.arguments.items())
        lines += ["examples = {", *(f"    {name!r}: {found!r}," for name, found in files.items()), "}"]
        lines += [
            f"z = {{name: {latents} for name, files in examples.items()}}",
            f"classifier = FewShotClassifier(engine.prior{arguments}).fit_latents(z)",
        ]
    else:
        lines.append(f"classifier = FewShotClassifier.load({CLASSIFIER_FILE!r}, engine.prior)")
    lines += [
        f"queries = engine.read({file_names(queries.used) or ['query.png']!r}{aligned})",
        "for image, answer in zip(queries.used, classifier.judge(queries.z)):",
        "    p = answer.probabilities[answer.best]",
        '    print(f"{image.name}: {answer.word} ({p:.2f}, novelty {answer.novelty:.2f})")',
    ]
    return "\n".join(lines)


# Latents of each example and of its distorted copies.
_COPIED = """from zlib import crc32

import torch

import transflow_core as tfc
from transflow_core.fewshot import FewShotClassifier, jitter


def latents(files):
    frames = [image.face.image for image in engine.read(files{aligned}).used]
    distortion = {distortion}
    groups = [jitter([frame], {copies}, seed=crc32(frame.tobytes()), **distortion)[0] for frame in frames]
    return torch.stack([torch.stack([latent.z for latent in engine.encode(group)]) for group in groups])

"""
