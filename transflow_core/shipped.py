"""The priors that ship in `assets/models`, by name; nothing is read or imported to tell them."""

from pathlib import Path

__all__ = ["CLASSIFYING_PRIOR", "DEFAULT_PRIOR", "MODELS", "shipped_priors"]

MODELS = Path(__file__).resolve().parent.parent / "assets" / "models"

DEFAULT_PRIOR = "celeba128"
"""What the page, the command line and `load_prior` take when nobody says which."""

CLASSIFYING_PRIOR = "celeba64"
"""The same for classifying: the fine details of a larger prior drown what tells classes apart."""


def shipped_priors() -> list[str]:
    """Names of the priors that ship, the default one first.

    Example:
        >>> shipped_priors()
        ['celeba128', 'celeba64']
    """
    names = sorted(folder.name for folder in MODELS.iterdir() if (folder / "model.safetensors").is_file())
    return sorted(names, key=lambda name: name != DEFAULT_PRIOR)
