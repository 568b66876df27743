"""What no tensor says (image size, bits …): settings, given by the caller or by a file beside the weights."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from .tensors import CheckpointError, guarded

__all__ = ["BITS", "IMAGE_SIZE", "LABEL", "LARGEST_SIDE_FILE", "Setting", "pick_label", "resolve", "side_files"]

# Files that other projects write beside their weights. They are read as data, never run.
_SIDE_FILES = ("configs.json", "hparams.json", "names.json", "config.yaml")
P = TypeVar("P", bound=PurePath)

LARGEST_SIDE_FILE = 1 << 16  # bytes; a parser takes a hundred times as much memory


@dataclass(frozen=True)
class Setting:
    """A value that a layout cannot read from its tensors.

    Args:
        name: the keyword by which it is given.
        meaning: one line for people.
        kind: `int`, `bool`, `float` or `str`.
        keys: the names under which a side file gives it.
        default: what the project's code always uses; `...` makes the setting required.
        choices: the allowed values, or None for any.
    """

    name: str
    meaning: str
    kind: type
    keys: tuple[str, ...] = ()
    default: Any = ...
    choices: tuple[Any, ...] | None = None

    def check(self, value: Any) -> Any:
        """The value in its kind. CheckpointError if it is of another, or none of the choices."""
        try:
            value = TypeAdapter(self.kind).validate_python(value)
            fits = not self.choices or value in self.choices
        except ValidationError:
            fits = False
        if not fits:
            wanted = f"one of {self.choices}" if self.choices else f"of kind {self.kind.__name__}"
            raise CheckpointError(f"{self.name} ({self.meaning}) must be {wanted}, not {value!r}")
        return value


IMAGE_SIZE = Setting("image_size", "side of the square training images, in pixels", int, ("image_size", "size"))
BITS = Setting("bits", "bits a colour of the training images", int, ("n_bits_x", "n_bits"), choices=tuple(range(1, 9)))
LABEL = Setting("label", "the class, for a class-conditional flow", int, default=None)


def pick_label(label: int | None, classes: int, where: str) -> int:
    """The class to use: the given one, or the only one. CheckpointError if it is required or out of range."""
    if label is None and classes != 1:
        raise CheckpointError(f"{where}: this flow draws one class at a time. Please give label, 0 to {classes - 1}")
    if not 0 <= (label or 0) < classes:
        raise CheckpointError(f"{where}: label must be 0 to {classes - 1}, not {label}")
    return label or 0


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

    for event in yaml.parse(text, yaml.SafeLoader):  # one at a time: nothing is built yet
        if isinstance(event, yaml.AliasEvent):  # a few of them unfold without end
            raise CheckpointError(f"{where}: it has an alias (*{event.anchor}). Write its value in full")
    return yaml.safe_load(text)


def _leaves(document: Any, depth: int) -> dict[str, Any]:
    """The plain values of a document, the outermost of a name."""
    if not isinstance(document, dict) or not depth:
        return {}
    found: dict[str, Any] = {}
    for value in reversed(document.values()):
        found |= _leaves(value, depth - 1)
    return found | {str(k): v for k, v in document.items() if isinstance(v, int | float | str | bool)}


def resolve(settings: tuple[Setting, ...], options: Mapping[str, Any], path: Path, where: str) -> dict[str, Any]:
    """Every setting's value: from the options, else from a side file, else its default.

    Raises CheckpointError that names all that is missing at once, or an option that is no setting.
    """
    if unknown := sorted(options.keys() - {setting.name for setting in settings}):
        listed = ", ".join(sorted(setting.name for setting in settings)) or "none"
        raise CheckpointError(f"{where}: this format has no setting {unknown[0]!r}. It has: {listed}")
    beside, values, missing = side_values(path), {}, []
    for setting in settings:
        given = [options.get(setting.name), *(beside.get(key) for key in setting.keys)]
        found = next((value for value in given if value is not None), None)
        if found is None and setting.default is ...:
            missing.append(f"{setting.name} ({setting.meaning})")
        values[setting.name] = setting.default if found is None else setting.check(found)
    if missing:
        raise CheckpointError(f"{where}: the file does not say everything. Please give: {'; '.join(missing)}")
    return values
