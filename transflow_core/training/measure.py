"""Bits per dimension, which training lowers; what is measured on a prior, drawn, and written for others to compare."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from ..checkpoints.typicality import Typicality
from ..flows import PixelConvention
from ..flows.wavelet import DetailFlow, TrainableFlow, encode_levels, haar_split
from ..images import contact_sheet, to_pil
from ..images.output import save_png
from ..posterior import standard_normal
from ..priors.prior import Prior
from .data import batch
from .plan import trainable

TEMPERATURE = 0.7
"""Of the samples on sheets."""

_PERCENT = (0, 0.1, 1, 5, 25, 50, 75, 95, 99, 99.9, 100)
_BATCH = 32
_CONFORMANCE_PIXELS = 2**15  # of a size's images: the data stay small beside the weights


class BitsPerDim(nn.Module):
    """Images x, (n, C, S, S), as training sees them -> bits per dimension of each, (n,).

    `-(log p(x) - D log(2**bits / scale)) / (D log 2)`. Of the details of a grown flow alone, it is the same given the
    means of 2×2 pixels: the whole's bits are the mean of its levels', weighted by their dimensions (see
    `bits_per_level`).
    """

    def __init__(self, flow: nn.Module, pixels: PixelConvention) -> None:
        super().__init__()
        self.flow = flow
        self.nats = pixels.nats_per_dim

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """With `noise`, which is added to what a level is given, (n, C, S/2, S/2)."""
        if isinstance(self.flow, DetailFlow):
            low, detail = haar_split(x)
            z, log_det = self.flow(detail, low if noise is None else low + noise)
        else:
            z, log_det = self.flow(x)
        return _bits(z, log_det, self.nats)


def _bits(eps: Tensor, log_det: Tensor, nats: float) -> Tensor:
    eps = eps.flatten(1)
    log_prob = log_det - 0.5 * (eps.square().sum(1) + eps.shape[1] * math.log(2 * math.pi))
    return (nats - log_prob / eps.shape[1]) / math.log(2)


@torch.no_grad()
def bits_per_level(flow: TrainableFlow, x: Tensor, nats: float) -> list[dict[str, float | str]]:
    """Where a flow's bits are: of its details, level by level, and of the Glow at the bottom, of images x as trained.

    "bits" are a dimension of the level's own: their mean, weighted by "dim", is the whole's bits per dimension. Coarser
    levels see the images' means. `nats`: `nats_per_dim` of the finest level's pixels.
    """
    found = []
    for depth, (eps, log_det) in enumerate(encode_levels(flow, x)):
        # A mean is half of what an orthonormal transform would give, and its density twice that one's.
        bits = _bits(eps, log_det, nats + depth * math.log(2))
        name = f"{eps.shape[2]}×{eps.shape[3]}" if eps.ndim == 4 else "rest"
        found.append({"level": name, "dim": eps[0].numel(), "bits": float(bits[bits.isfinite()].mean())})
    return found


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
    counts = [min(size, len(images) - start) for start in range(0, len(images), size)]
    # The last batch begins anew to be full: what it shows again is left out.
    batches = (batch(images, prior.pixels, step, **how)[:count] for step, count in enumerate(counts))
    flow, nats = trainable(prior), prior.pixels.nats_per_dim
    rows = zip(*(bits_per_level(flow, x.to(prior.device), nats) for x in batches), strict=True)
    return [{**level[0], "bits": float(np.average([one["bits"] for one in level], weights=counts))} for level in rows]


def write_conformance(prior: Prior, folder: Path) -> None:
    """Write inputs and results of a prior, so that another implementation, or a later one, can be held to them.

    Each size that it holds has a file: the largest `conformance.npz`, others such as `conformance_64.npz`. `images`
    (uint8 NHWC, sampled: nobody's face) with `z`, `log_prior`, `log_prob`; `sample_z`, and `sample` in [0, 1].
    """
    for side in prior.sizes:
        one, n = prior.at(side), min(4, max(1, _CONFORMANCE_PIXELS // side**2))
        shown = one.decode(TEMPERATURE * standard_normal(n, one.dim, seed=0))
        images = (shown * 256).floor().clamp(max=255).byte().permute(0, 2, 3, 1).cpu().numpy()
        sample_z = TEMPERATURE * standard_normal(n, one.dim, seed=1)
        arrays = vars(one.encode_and_score(images)) | {"sample_z": sample_z, "sample": one.decode(sample_z)}
        del arrays["ranges"]
        stored: dict[str, Any] = {name: x.cpu().numpy() for name, x in arrays.items()}
        name = "conformance.npz" if one is prior else f"conformance_{side}.npz"
        np.savez_compressed(folder / name, images=images, **stored)


def sheet(prior: Prior, path: Path, n: int = 16) -> None:
    """Samples of the prior at a fixed seed, so that sheets of one run show the same latents."""
    x = prior.decode(TEMPERATURE * standard_normal(n, prior.dim, seed=0))
    path.parent.mkdir(parents=True, exist_ok=True)
    how = {"prior": prior.name, "temperature": f"{TEMPERATURE:g}", "seed": "0"}
    save_png(contact_sheet(to_pil(x)), path, metadata=how)
