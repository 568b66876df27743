"""What no tensor says (image size, bits …): settings, given by the caller or by a file beside the weights."""

import json
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from .tensors import CheckpointError, guarded

# Files that other projects write beside their weights. They are read as data, never run.
_SIDE_FILES = ("configs.json", "hparams.json", "names.json", "config.yaml")
P = TypeVar("P", bound=PurePath)

LARGEST_SIDE_FILE = 1 << 16  # bytes; a parser takes a hundred times as much memory
_DEEPEST = 32  # lists and mappings within one another


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


def side_files(path: P) -> list[P]:
    """Where side files may lie, the nearest first: in the folder, and above one called training_checkpoints."""
    folders = [path.parent, path.parent.parent] if path.parent.name == "training_checkpoints" else [path.parent]
    return [folder / name for folder in folders for name in _SIDE_FILES]


def side_values(path: Path) -> dict[str, Any]:
    """Every plain value that the side files of a checkpoint give, by its key; the nearest file wins.

    Raises CheckpointError for a file that is too large or cannot be parsed, since a wrong guess would be worse.
    """
    values: dict[str, Any] = {}
    for file in side_files(path):
        if not file.is_file():
            continue
        with guarded(file, "side file"):
            if file.stat().st_size > LARGEST_SIDE_FILE:
                raise CheckpointError(f"{file.name}: larger than {LARGEST_SIDE_FILE >> 10} KiB, too large for settings")
            text = file.read_text(encoding="utf-8")
            document = _yaml(text, file.name) if file.suffix == ".yaml" else json.loads(text)
        values = _leaves(document, depth=3) | values
    return values


def _yaml(text: str, where: str) -> Any:
    import yaml  # huggingface_hub brings it

    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):  # one at a time: nothing is built yet
        if isinstance(event, yaml.AliasEvent):  # a few of them unfold without end
            raise CheckpointError(f"{where}: it has an alias (*{event.anchor}). Write its value in full")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:  # the parser's time goes with the square of its depth
            raise CheckpointError(f"{where}: it is nested more than {_DEEPEST} deep")
    return yaml.safe_load(text)


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
