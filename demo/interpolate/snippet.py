"""The code of an interpolation: a step for each path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transflow_core.evidence import Evidence
from transflow_core.recipes import Condition, Method

from ..snippet import Step, evidence_files, file_of
from .paths import LatentPath, PathSettings, first_image

__all__ = ["POSTERIOR_FILES", "STRIP_FILE", "steps_of"]

STRIP_FILE = "interpolation.png"
POSTERIOR_FILES = {"a": "posterior_a.safetensors", "b": "posterior_b.safetensors"}
"""The ends as files to download, for evidence that files alone do not describe: weights, chosen faces."""
_POINT: Any = {"method": "posterior", "lam_ratio": 0.0, "likeness": None, "images_per_sample": None}


def steps_of(
    paths: Sequence[LatentPath], a: Evidence, b: Evidence, settings: PathSettings
) -> tuple[list[Step], list[str]]:
    """The steps, and the files that the user must download for them.

    First a posterior of each end, where an end is more than one file or folder. Then the strip of each path; of one
    path alone, its animation as well.
    """
    recipe = settings.recipe.replace(prior=a.prior or b.prior)
    steps: list[Step] = []
    downloads: list[str] = []
    ends = {key: _end_files(evidence, key) for key, evidence in (("a", a), ("b", b))}
    plain = all(len(files) == 1 and files != [POSTERIOR_FILES[key]] for key, files in ends.items())
    if [path.key for path in paths] != ["direct"] and not plain:
        # Each end keeps its own method in its file.
        for key, lam in (("a", settings.lam_a), ("b", settings.lam_b)):
            method = settings.method.replace(lam_ratio=lam)
            condition = Condition.checked(dict(method) | {"prior": recipe.prior})
            if ends[key][0].endswith(".safetensors"):
                downloads.append(POSTERIOR_FILES[key])
            else:
                steps.append(Step(condition, {"evidence": ends[key]}, POSTERIOR_FILES[key]))
        ends = {key: [file] for key, file in POSTERIOR_FILES.items()}
        recipe = recipe.replace(**dict(Method()), lam_ratio_a=None, lam_ratio_b=None)
    for path in paths:
        output = STRIP_FILE if len(paths) == 1 else f"interpolation_{path.key}.png"
        inputs, one = ends, recipe.replace(interpolation=path.interpolation, n=path.n)
        if path.key == "direct":
            inputs = {key: _image_file(evidence, key) for key, evidence in (("a", a), ("b", b))}
            one = one.replace(**_POINT, lam_ratio_a=None, lam_ratio_b=None)
            downloads += [file for key, file in POSTERIOR_FILES.items() if inputs[key] == [file]]
        steps.append(Step(one, inputs, output))
    if len(paths) == 1:
        steps.append(Step(steps[-1].recipe.replace(steps=settings.frames), steps[-1].inputs, "interpolation.webp"))
    return steps, list(dict.fromkeys(downloads))


def _end_files(evidence: Evidence, key: str) -> list[str]:
    """The files of an end; the model itself is a posterior to download."""
    return evidence_files(evidence, POSTERIOR_FILES[key]) if evidence.ready else [POSTERIOR_FILES[key]]


def _image_file(evidence: Evidence, key: str) -> list[str]:
    """The file of the first image; with another face than the largest, the posterior of this image alone."""
    image = first_image(evidence, key.upper())
    if image.face is not image.picture.faces[0]:
        return [POSTERIOR_FILES[key]]
    return [file_of(image.source.file, image.name)]
