"""Priors by name: those that ship, files, the Hub, and known public ones (`known.json`). Only loading needs torch."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..recipes import DEFAULT_PRIOR

if TYPE_CHECKING:
    import torch

    from ..hub import HubAccess
    from .prior import Prior


_PACKAGE = Path(__file__).resolve().parent.parent
# Installed, the assets lie inside the package; in a checkout and on a Space beside it.
ASSETS = next((found for found in (_PACKAGE / "assets", _PACKAGE.parent / "assets") if found.is_dir()), _PACKAGE)
"""Priors that ship and example evidence."""

MODELS = ASSETS / "models"


def shipped_priors() -> list[str]:
    """Names of the priors that ship, the default one first, the others from large to small; none without the models.

    Example:
        >>> shipped_priors()
        ['celeba256', 'celeba128', 'celeba64']
    """
    files = shipped_files()
    return sorted(files, key=lambda name: (name != DEFAULT_PRIOR, -files[name][1], name))


def shipped_image_size(name: str) -> int | None:
    """Side of a shipped prior's images, in pixels, from its description alone; None of another prior.

    Example:
        >>> shipped_image_size("celeba128"), shipped_image_size("mine")
        (128, None)
    """
    return shipped_files().get(name, (None, None))[1]


def shipped_files() -> dict[str, tuple[Path, int]]:
    """The folder that holds each prior that ships, and the side of its images. One folder may hold several."""
    found = {}
    for weights in sorted(MODELS.glob("*/model.safetensors")):
        whole = json.loads((weights.parent / "config.json").read_text(encoding="utf-8"))
        part, factor = whole, 1
        while "base" in part:  # grown
            part, factor = part["base"], 2 * factor
        names = {side: about["name"] for side, about in whole.get("sizes", {}).items()}
        for side, name in {factor * part["image_size"]: whole["name"], **names}.items():
            found[name] = (weights.parent, int(side))
    return found


def shipped_examples() -> list[str]:
    """Names of the example sets that ship."""
    return sorted(path.name for path in (ASSETS / "examples").iterdir() if path.is_dir())


def example(name: str) -> list[Path]:
    """The images of an example set that ships, in their order. Raises ValueError, with those that there are.

    Example:
        >>> len(example("paintings"))
        21
    """
    if name not in shipped_examples():
        raise ValueError(f"There is no example set {name!r}; there are {', '.join(shipped_examples())}.")
    return sorted((ASSETS / "examples" / name).rglob("*.png"))


def known_priors() -> list[dict[str, Any]]:
    """Public priors that do not ship: name, title, address, format, licence, hardware, settings and note of each.

    `load_prior` takes the names of those whose address begins with `hf://`; others are downloaded by hand.
    """
    return json.loads(Path(__file__).with_name("known.json").read_text(encoding="utf-8"))


def load_prior(
    name: str | Path = DEFAULT_PRIOR,
    device: "str | torch.device" = "auto",
    *,
    access: "HubAccess | None" = None,
    **options: Any,
) -> "Prior":
    """Load a prior by a shipped name, from a file or folder, from the Hub, or by the name of a known public one.

    Of a file that holds several sizes it is the largest (see `Prior.at`), or the one that `image_size` or a shipped
    name says; then no more is read.

    Args:
        name: a shipped name; a native file or folder; a file of another project (see `checkpoints.LAYOUTS`), which
            is converted; `"hf://owner/repo/file"`, with `@revision` to pin it; or a name of `known_priors()`.
        device: where the flow goes.
        access: whose token the Hub sees, and what is fetched from it; by default yours. `hub.VISITOR` is for an address
            that a stranger gave: what turns out to be no prior does not stay in the cache.
        options: settings that a file of another project lacks, such as `image_size=64, bits=5`.

    Raises:
        FileNotFoundError: there is nothing of that name; the message says what there is.
        CheckpointError: the file is damaged, of no known format, lacks a setting, or needs a larger machine; or the Hub
            cannot be reached.
    """
    from ..checkpoints import convert
    from ..hub import OWNER, fetch, forget, is_hub_address
    from .prior import Prior

    access = access or OWNER
    from_hub = is_hub_address(name)
    path = Path(name)
    if (shipped := shipped_files().get(str(name))) is not None:
        path, side = shipped
        options.setdefault("image_size", side)
    elif from_hub:
        path = fetch(str(name), access)
    elif not path.exists():
        known = _known(str(name))
        path, options = fetch(known["address"], replace(access, any_format=True)), known.get("settings", {}) | options
    try:
        checkpoint = convert(path, options=options, any_format=access.any_format or not from_hub)
        return Prior.from_checkpoint(checkpoint, device)
    except ValueError:
        if from_hub and not access.any_format:
            forget(path)
        raise


def _known(name: str) -> dict[str, Any]:
    public = {prior["name"]: prior for prior in known_priors()}
    if name not in public:
        names = ", ".join(known for known, prior in public.items() if prior["address"].startswith("hf:"))
        raise FileNotFoundError(
            f"no prior called {name!r}: neither a file nor one that ships ({', '.join(shipped_priors())}) "
            f"nor a known public one ({names})"
        )
    if not public[name]["address"].startswith("hf:"):
        raise FileNotFoundError(f"{name} cannot be fetched by name: {public[name]['address']}. {public[name]['note']}")
    return public[name]
