"""The code of a result on the page, in Python and as commands: recipes on the files of the user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transflow_core.evidence import Evidence, EvidenceImage
from transflow_core.recipes import Reading
from transflow_core.views import to_python, to_shell

from .examples import EXAMPLES, example_sets

POSTERIOR_FILE, MASK_FILE = "posterior.safetensors", "mask.png"
"""A posterior and a mask as files to download, for evidence that files alone do not describe."""
POSTERIOR_FILES = {"a": "posterior_a.safetensors", "b": "posterior_b.safetensors"}
"""The same of two ends."""
_ROOT = EXAMPLES.parent.parent


@dataclass(frozen=True)
class Step:
    """A recipe on files.

    Attributes:
        recipe: with its prior.
        inputs: paths of each input of the recipe, by its name; of each class, where they are examples of classes.
        output: the file of the result.
    """

    recipe: Reading
    inputs: Mapping[str, Any]
    output: str


def python_code(steps: Sequence[Step]) -> str:
    """The steps in Python."""
    prior = steps[0].recipe.prior
    lines = ["import transflow_core as tfc", "", f"engine = tfc.Engine(tfc.load_prior({prior!r}))", *_notes(steps)]
    for step in steps:
        inputs = "".join(f", {name}={_code(paths)}" for name, paths in step.inputs.items())
        lines.append(f"result = engine.run(tfc.{to_python(step.recipe)}{inputs})")
        lines.append(f"result.save({step.output!r})")
    return "\n".join(lines)


def command_line(steps: Sequence[Step]) -> str:
    """The steps as commands, a line each."""
    lines = _notes(steps)
    for step in steps:
        flags = {name: [one.flag] if one.flag else [] for name, one in step.recipe.inputs.items()}
        parts = [part for name, paths in step.inputs.items() for path in paths for part in (*flags[name], path)]
        lines.append(to_shell(step.recipe, parts, step.output))
    return "\n".join(lines)


def evidence_files(evidence: Evidence, posterior: str) -> list[str]:
    """The files of the evidence; `posterior`, its saved posterior, where the files alone are not all of it.

    So it is with weights, chosen faces, ignored parts, outliers at their full weight, two files of one name, and the
    webcam.
    """
    if evidence.saved is not None:
        return [evidence.saved_name]
    plain = all(
        (image.weight == 1 and image.source.robust and image.mask is None)
        and (image.face is None or image.face is image.picture.faces[0])
        for image in evidence
    )
    if not plain:
        return [posterior]
    if evidence.example:
        return [evidence.example]
    names = file_names(tuple(evidence))
    return names if names and len(set(names)) == len(names) else [posterior]


def file_names(images: Sequence[EvidenceImage]) -> list[str]:
    """The files of images as the user has them; none where an image has no file."""
    files = [Path(file) for file in (image.source.file for image in images) if isinstance(file, str | Path)]
    # A picture of the camera has a name without a suffix, and is no file of the user's.
    return [file_of(file) for file in files] if sum(bool(file.suffix) for file in files) == len(images) else []


def file_of(source: Any) -> str:
    """A file as the user has it: an example by its path, in the checkout where this is one; an upload by its name; a
    picture as PNG."""
    path = Path(source)
    if path.is_relative_to(_ROOT):
        return path.relative_to(_ROOT).as_posix() if (_ROOT / "app.py").is_file() else path.as_posix()
    return path.name if path.suffix else f"{path.name}.png"


def _notes(steps: Sequence[Step]) -> list[str]:
    """What the steps need of the page's buttons, a comment each."""
    files = {POSTERIOR_FILE, MASK_FILE, *POSTERIOR_FILES.values()} - {step.output for step in steps}
    needed = dict.fromkeys(path for step in steps for paths in step.inputs.values() for path in paths if path in files)
    return [f"# download {file} from this page" for file in needed]


def _code(paths: Any) -> str:
    if isinstance(paths, dict):
        return "{\n" + "".join(f"    {name!r}: {some!r},\n" for name, some in paths.items()) + "}"
    ships = isinstance(paths, list) and paths[0] in example_sets()
    return f"tfc.example({paths[0]!r})" if ships else repr(paths)
