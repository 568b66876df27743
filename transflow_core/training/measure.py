"""What is measured on a prior that is trained, and what is drawn and written for others to compare with."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ..images import contact_sheet, to_pil
from ..images.output import save_png
from ..posterior import standard_normal
from ..priors.prior import Prior
from ..priors.typicality import Typicality
from .data import batch
from .density import bits_per_level
from .plan import trainable

TEMPERATURE = 0.7
"""Of the samples on sheets."""

_PERCENT = (0, 0.1, 1, 5, 25, 50, 75, 95, 99, 99.9, 100)
_BATCH = 32
_CONFORMANCE_PIXELS = 2**15  # of a size's images: the data stay small beside the weights


def measure_typicality(prior: Prior, images: NDArray[np.uint8]) -> Typicality:
    """Quantiles over held-out images, (n, S, S, C) with n at least 2, encoded as evidence is: without noise.

    An image that overflows is left out. Raises ValueError if fewer than two remain.
    """
    rows = []
    for start in range(0, len(images), _BATCH):
        encoded = prior.encode_and_score(np.array(images[start : start + _BATCH]), _BATCH)
        scores = torch.stack([encoded.log_prior, encoded.log_prob], 1)
        rows.append(torch.cat([scores, prior.level_rms(encoded.z.cpu().double())], 1))  # Apple's GPUs have no float64
    values = torch.cat(rows).numpy()
    values = values[np.isfinite(values).all(1)]
    if len(values) < 2:
        raise ValueError("typicality needs at least two held-out images that the flow can hold")
    log_prior, log_prob, *levels = (tuple(row) for row in np.percentile(values, _PERCENT, axis=0).T.tolist())
    return Typicality(len(values), tuple(map(float, _PERCENT)), log_prior, log_prob, tuple(levels))


def reduced(images: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Means of square blocks of pixels, rounded once: (n, S, S, C) -> (n, side, side, C)."""
    factor = images.shape[1] // side
    return np.stack([np.asarray(Image.fromarray(image).reduce(factor)) for image in images])


def bits_of_levels(prior: Prior, images: NDArray[np.uint8]) -> list[dict[str, Any]]:
    """`bits_per_level` of all of some images, (n, S, S, C), with noise of the prior's own bits."""
    size = min(_BATCH, len(images))
    how = {"size": size, "seed": 0, "mirror": False}
    batches = (batch(images, prior.pixels, step, **how) for step in range(-(-len(images) // size)))
    flow, nats = trainable(prior), prior.pixels.nats_per_dim
    rows = zip(*(bits_per_level(flow, x.to(prior.device), nats) for x in batches), strict=True)
    return [{**level[0], "bits": float(np.mean([one["bits"] for one in level]))} for level in rows]


def write_conformance(prior: Prior, folder: Path) -> None:
    """Write inputs and results of a prior, so that another implementation, or a later one, can be held to them.

    Each size that it holds has a file: the largest `conformance.npz`, others such as `conformance_64.npz`. `images`
    (uint8 NHWC, sampled: nobody's face) with `z`, `log_prior`, `log_prob`; `sample_z`, and `sample` in [0, 1].
    """
    for side in prior.sizes:
        name = "conformance.npz" if side == prior.image_size else f"conformance_{side}.npz"
        n = min(4, max(1, _CONFORMANCE_PIXELS // side**2))
        _write_conformance(prior.at(side), folder / name, n)


def _write_conformance(prior: Prior, path: Path, n: int) -> None:
    shown = prior.decode(TEMPERATURE * standard_normal(n, prior.dim, seed=0))
    images = (shown * 256).floor().clamp(max=255).byte().permute(0, 2, 3, 1).cpu().numpy()
    sample_z = TEMPERATURE * standard_normal(n, prior.dim, seed=1)
    arrays = vars(prior.encode_and_score(images)) | {"sample_z": sample_z, "sample": prior.decode(sample_z)}
    del arrays["ranges"]
    stored: dict[str, Any] = {name: x.cpu().numpy() for name, x in arrays.items()}
    np.savez_compressed(path, images=images, **stored)


def sheet(prior: Prior, path: Path, n: int = 16) -> None:
    """Samples of the prior at a fixed seed, so that sheets of one run show the same latents."""
    x = prior.decode(TEMPERATURE * standard_normal(n, prior.dim, seed=0))
    path.parent.mkdir(parents=True, exist_ok=True)
    how = {"prior": prior.name, "temperature": f"{TEMPERATURE:g}", "seed": "0"}
    save_png(contact_sheet(to_pil(x)), path, metadata=how)
