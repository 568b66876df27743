"""Transflow Learning: condition a trained flow on a handful of images, in closed form and with no training.

Reference: Gambardella, Baydin, Torr, "Transflow Learning: Repurposing Flow Models Without Retraining".

Example:
    >>> import transflow_core as tfc
    >>> prior = tfc.load_prior("celeba64", device="cpu")
    >>> faces = prior.decode(0.7 * tfc.standard_normal(4, prior.dim, seed=1))
    >>> posterior = tfc.Posterior.condition(prior.encode(faces), lam_ratio=0.5)
    >>> prior.decode(posterior.sample(2, seed=0)).shape
    torch.Size([2, 3, 64, 64])
"""

import re
from importlib import import_module
from pathlib import Path
from typing import Any

# What is public, and the module that it lives in, as `__init__.pyi` tells type checkers too: imported when first used,
# so that `import transflow_core.images` or `--help` need not wait for torch and dlib.
_STUB = Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8")
_PUBLIC = {name: module for module, name in re.findall(r"^from \.(\S+) import (\w+)", _STUB, re.MULTILINE)}

__version__ = "0.3.0"
__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(f".{_PUBLIC[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
