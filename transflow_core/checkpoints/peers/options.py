"""What no tensor tells (image size, bits …): asked for by name, given by the caller or by a file beside the weights."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..base import CheckpointError, guarded

__all__ = [
    "BITS",
    "IMAGE_SIZE",
    "LABEL",
    "LARGEST_SIDE_FILE",
    "SIDE_FILES",
    "Setting",
    "pick_label",
    "resolve",
    "side_files",
    "side_values",
]

SIDE_FILES = ("configs.json", "hparams.json", "names.json", "config.yaml")
"""Files that peers write beside their weights. They are read as data, never run."""

LARGEST_SIDE_FILE = 1 << 16  # a parser takes a hundred times as much


@dataclass(frozen=True)
class Setting:
    """A value that a format cannot tell from its tensors.

    Args:
        name: the keyword by which it is given.
        meaning: one line for people.
        kind: `int`, `bool`, `float` or `str`.
        keys: the names under which a side file gives it.
        default: what the peer's code has fixed; `...` asks for it.
        choices: the allowed values, or None for any.
    """

    name: str
    meaning: str
    kind: type
    keys: tuple[str, ...] = ()
    default: Any = ...
    choices: tuple[Any, ...] | None = None

    def check(self, value: Any) -> Any:
        """The value in its kind. CheckpointError if it is not of it."""
        if self.kind is bool and value in (0, 1):
            value = bool(value)
        elif self.kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        elif self.kind is int and isinstance(value, float) and value.is_integer():
            value = int(value)
        fits = isinstance(value, self.kind) and (self.kind is bool or not isinstance(value, bool))
        if not fits or (self.choices and value not in self.choices):
            wanted = f"one of {self.choices}" if self.choices else f"of kind {self.kind.__name__}"
            raise CheckpointError(f"{self.name} ({self.meaning}) must be {wanted}, not {value!r}")
        return value


IMAGE_SIZE = Setting("image_size", "side of the square training images, in pixels", int, ("image_size", "size"))
BITS = Setting("bits", "bits a colour of the training images", int, ("n_bits_x", "n_bits"), choices=tuple(range(1, 9)))
LABEL = Setting("label", "the class, for a class-conditional flow", int, default=None)


def pick_label(label: int | None, classes: int, where: str) -> int:
    """The class to use: the only one, or the one that was given. CheckpointError if it is needed or out of range."""
    if label is None and classes != 1:
        raise CheckpointError(f"{where}: this flow is class-conditional, so please give: label (0 to {classes - 1})")
    if not 0 <= (label or 0) < classes:
        raise CheckpointError(f"{where}: label must be 0 to {classes - 1}, not {label}")
    return label or 0


def side_files(path: Path) -> list[Path]:
    """The side files of a checkpoint: in its folder, and above it where the folder is called training_checkpoints."""
    folders = [path.parent] + ([path.parent.parent] if path.parent.name == "training_checkpoints" else [])
    return [folder / name for folder in folders for name in SIDE_FILES if (folder / name).is_file()]


def side_values(path: Path) -> dict[str, Any]:
    """Every plain value that the side files give, by its key wherever it stands in the file.

    The nearest folder wins. Raises CheckpointError for a file that cannot be parsed (a wrong guess would be worse), is
    too large, or is YAML with aliases, which unfold without end.
    """
    values: dict[str, Any] = {}
    for file in side_files(path):
        with guarded(file, "side file"):
            if file.stat().st_size > LARGEST_SIDE_FILE:
                raise CheckpointError(f"{file.name}: too large for a configuration")
            text = file.read_text(encoding="utf-8")
            document = _yaml(text, file.name) if file.suffix == ".yaml" else json.loads(text)
        for key, value in _leaves(document, depth=3):
            values.setdefault(key, value)
    return values


def _yaml(text: str, where: str) -> Any:
    import yaml  # huggingface_hub brings it

    for event in yaml.parse(text, yaml.SafeLoader):  # one at a time: nothing is built yet
        if isinstance(event, yaml.AliasEvent):
            raise CheckpointError(f"{where}: a configuration with aliases (*{event.anchor}), which are not read")
    return yaml.safe_load(text)


def _leaves(document: Any, depth: int) -> list[tuple[str, Any]]:
    if not isinstance(document, dict) or not depth:
        return []
    found = [(str(k), v) for k, v in document.items() if isinstance(v, int | float | str | bool)]
    for value in document.values():
        found += _leaves(value, depth - 1)
    return found


def resolve(settings: tuple[Setting, ...], options: Mapping[str, Any], path: Path, where: str) -> dict[str, Any]:
    """Every setting's value: from the options, else from a side file, else its default.

    Raises CheckpointError that names all that is missing at once, or an option that this format does not have.
    """
    known = {setting.name for setting in settings}
    for name in options:
        if name not in known:
            listed = ", ".join(sorted(known)) or "none"
            raise CheckpointError(f"{where}: this format has no setting {name!r} (it has: {listed})")
    beside = side_values(path)
    values, missing = {}, []
    for setting in settings:
        given = [options[setting.name]] if options.get(setting.name) is not None else []
        given += [beside[key] for key in setting.keys if key in beside]
        if given:
            values[setting.name] = setting.check(given[0])
        elif setting.default is ...:
            missing.append(setting)
        else:
            values[setting.name] = setting.default
    if missing:
        asked = "; ".join(f"{s.name} ({s.meaning})" for s in missing)
        raise CheckpointError(f"{where}: the file does not tell, so please give: {asked}")
    return values
