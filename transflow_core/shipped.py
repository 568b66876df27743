"""What ships beside the code, by name; nothing is read or imported to tell it."""

import json
from pathlib import Path

__all__ = [
    "ASSETS",
    "CLASSIFYING_PRIOR",
    "DEFAULT_PRIOR",
    "MODELS",
    "example_files",
    "shipped_image_size",
    "shipped_priors",
]

_PACKAGE = Path(__file__).resolve().parent
# Installed, the assets lie inside the package; in a checkout and on a Space beside it.
ASSETS = next((found for found in (_PACKAGE / "assets", _PACKAGE.parent / "assets") if found.is_dir()), _PACKAGE)
"""Priors that ship and example evidence."""

MODELS = ASSETS / "models"

DEFAULT_PRIOR = "celeba128"
"""What the page, the command line and `load_prior` take when nobody says which."""

CLASSIFYING_PRIOR = "celeba64"
"""The same for classifying: the fine details of a larger prior drown what tells classes apart."""


def shipped_priors() -> list[str]:
    """Names of the priors that ship, the default one first; none where the models are missing.

    Example:
        >>> shipped_priors()
        ['celeba128', 'celeba64']
    """
    folders = MODELS.iterdir() if MODELS.is_dir() else ()
    names = sorted(folder.name for folder in folders if (folder / "model.safetensors").is_file())
    return sorted(names, key=lambda name: name != DEFAULT_PRIOR)


def shipped_image_size(name: str) -> int | None:
    """Side of a shipped prior's images, in pixels, from its description alone; None of another prior.

    Example:
        >>> shipped_image_size("celeba128"), shipped_image_size("mine")
        (128, None)
    """
    if name not in shipped_priors():
        return None
    config, factor = json.loads((MODELS / name / "config.json").read_text(encoding="utf-8")), 1
    while "base" in config:  # grown
        config, factor = config["base"], 2 * factor
    return factor * config["image_size"]


def example_files(name: str) -> list[Path]:
    """The images of an example set that ships, in their order. Raises ValueError, with those that there are."""
    folders = sorted(path.name for path in (ASSETS / "examples").iterdir() if path.is_dir())
    if name not in folders:
        raise ValueError(f"There is no example set {name!r}; there are {', '.join(folders)}.")
    return sorted((ASSETS / "examples" / name).glob("*.png"))
