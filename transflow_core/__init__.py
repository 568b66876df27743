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

from importlib import import_module
from typing import Any

# What is public, and the module that it lives in: imported when first used, so that `import transflow_core.images` or
# `--help` need not wait for torch and dlib. `__init__.pyi` tells type checkers the same.
_PUBLIC = {
    "AlignedFace": "faces",
    "CheckpointError": "checkpoints",
    "Engine": "engine",
    "Evidence": "evidence",
    "FewShotClassifier": "fewshot",
    "Flow": "flows",
    "Gaussian": "posterior",
    "ImageError": "images",
    "Posterior": "posterior",
    "Sample": "recipes",
    "Sweep": "recipes",
    "Interpolate": "recipes",
    "Restyle": "recipes",
    "Mix": "recipes",
    "Condition": "recipes",
    "Classify": "recipes",
    "Align": "recipes",
    "Encode": "recipes",
    "Method": "recipes",
    "Prior": "priors.prior",
    "adapt_encoder": "priors.adapters",
    "adapt_flow": "priors.adapters",
    "adapt_transform": "priors.adapters",
    "align": "faces",
    "recommend": "posterior",
    "compose": "posterior",
    "contact_sheet": "images",
    "fetch": "hub",
    "find_images": "images",
    "interpolate": "posterior",
    "load_image": "images",
    "load_prior": "priors.catalogue",
    "mixed": "posterior",
    "per_level": "posterior",
    "push_to_hub": "hub",
    "shipped_priors": "priors.catalogue",
    "standard_normal": "posterior",
    "to_pil": "images",
}

__version__ = "0.3.0"
__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(f".{_PUBLIC[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
