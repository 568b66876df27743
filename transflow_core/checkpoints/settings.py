"""What no tensor says (image size, bits …): settings, given by the caller or by a file beside the weights."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from .tensors import CheckpointError, guarded

SIDE_FILES = ("configs.json", "hparams.json", "names.json")
"""Files that other projects write beside their weights. They are read as data, never run."""

LARGEST_SIDE_FILE = 1 << 16  # bytes; a parser takes a hundred times as much memory

# The names under which side files give a setting.
_KEYS = {
    "image_size": ("image_size", "size"),
    "bits": ("n_bits_x", "n_bits"),
    **{name: (name,) for name in ("last_zeros", "coupling_bias", "squeeze_contig")},
}


class Settings(BaseModel):
    """Values that a layout cannot read from its tensors: a field each, its description for people."""


class Labelled(Settings):
    """Of a flow that may be class-conditional."""

    label: int | None = Field(None, description="the class, for a class-conditional flow")


class Sized(Settings):
    """Of a flow whose file does not tell its images."""

    image_size: int = Field(description="side of the square training images, in pixels")
    bits: int = Field(ge=1, le=8, description="bits a colour of the training images")


def side_values(path: Path) -> dict[str, Any]:
    """Every plain value that the side files of a checkpoint give, by its key; the first file wins.

    Raises CheckpointError for a file that is too large or cannot be parsed, since a wrong guess would be worse.
    """
    values: dict[str, Any] = {}
    for file in map(path.with_name, SIDE_FILES):
        if not file.is_file():
            continue
        with guarded(file, "side file"):
            if file.stat().st_size > LARGEST_SIDE_FILE:
                raise CheckpointError(f"{file.name}: larger than {LARGEST_SIDE_FILE >> 10} KiB, too large for settings")
            document = json.loads(file.read_text(encoding="utf-8"))
        values = _leaves(document, depth=3) | values
    return values


def _leaves(document: Any, depth: int) -> dict[str, Any]:
    """The plain values of a document, the outermost of a name."""
    if not isinstance(document, dict) or not depth:
        return {}
    found: dict[str, Any] = {}
    for value in reversed(document.values()):
        found |= _leaves(value, depth - 1)
    return found | {str(k): v for k, v in document.items() if isinstance(v, int | float | str | bool)}


def resolve(settings: type[Settings], options: Mapping[str, Any], path: Path, where: str) -> dict[str, Any]:
    """Every setting's value: from the options, else from a side file, else its default.

    Raises CheckpointError that names all that is missing or wrong at once, or an option that is no setting.
    """
    fields = settings.model_fields
    if unknown := sorted(options.keys() - fields.keys()):
        raise CheckpointError(
            f"{where}: this format has no setting {unknown[0]!r}. It has: {', '.join(sorted(fields)) or 'none'}"
        )
    beside = side_values(path)
    found = {name: beside[key] for name, keys in _KEYS.items() for key in reversed(keys) if key in beside}
    found |= {name: value for name, value in options.items() if value is not None}
    try:
        return settings.model_validate(found).model_dump()
    except ValidationError as error:
        wrong = {str(one["loc"][0]): one["msg"] for one in error.errors()}
        missing = "; ".join(f"{name} ({fields[name].description}): {words}" for name, words in wrong.items())
        raise CheckpointError(f"{where}: the file does not say everything. Please give {missing}") from error
