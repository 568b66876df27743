"""Python that reproduces a classification."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from transflow_core.evidence import Evidence

from ..examples import EXAMPLES
from .result import DISTORTION, Rule

__all__ = ["CLASSIFIER_FILE", "python_code"]

CLASSIFIER_FILE = "classifier.safetensors"


def python_code(prior: str, classes: Mapping[str, Evidence], queries: Evidence, rule: Rule, *, whole: bool) -> str:
    """From the files; from the saved classifier where examples have none of their own, as drawn digits."""
    placed = ', whole="always"' if whole else ""
    lines = [
        "import transflow_core as tfc",
        "from transflow_core.fewshot import FewShotClassifier",
        "",
        f"engine = tfc.Engine(tfc.load_prior({prior!r}))",
    ]
    files = {name: _files(evidence) for name, evidence in classes.items()}
    if all(found is not None for found in files.values()):
        if rule.copies:
            lines = [*_COPIED.format(copies=rule.copies, distortion=DISTORTION, placed=placed).splitlines(), *lines[2:]]
            latents = "latents(files)"
        else:
            latents = f"engine.intake(files{placed}).evidence.z"
        arguments = "".join(f", {name}={value!r}" for name, value in rule.arguments.items())
        lines += ["examples = {", *(f"    {name!r}: {found!r}," for name, found in files.items()), "}"]
        lines += [
            f"z = {{name: {latents} for name, files in examples.items()}}",
            f"classifier = FewShotClassifier(engine.prior{arguments}).fit_latents(z)",
        ]
    else:
        lines.append(f"classifier = FewShotClassifier.load({CLASSIFIER_FILE!r}, engine.prior)")
    lines += [
        f"queries = engine.intake({_files(queries) or ['query.png']!r}{placed}).evidence",
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
    frames = [image.face.image for image in engine.intake(files{placed}).used]
    distortion = {distortion}
    groups = [jitter([frame], {copies}, seed=crc32(frame.tobytes()), **distortion)[0] for frame in frames]
    return torch.stack([torch.stack([latent.z for latent in engine.encode(group)]) for group in groups])

"""


def _files(evidence: Evidence) -> list[str] | None:
    """Files as a person has them: examples by their place in the checkout, uploads by name; None when one has none."""
    paths = [Path(image.source) for image in evidence.used if isinstance(image.source, str | Path)]
    if not paths or len(paths) < len(evidence.used):
        return None
    root = EXAMPLES.parent.parent
    return [path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name for path in paths]
