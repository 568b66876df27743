"""What is trained: the log density of images, as a module whose forward a process group can share."""

import math

import torch
from torch import Tensor, nn

from ..flows import PixelConvention
from ..flows.wavelet import DetailFlow, TrainableFlow, encode_levels, haar_split


class BitsPerDim(nn.Module):
    """Images x, (n, C, S, S), as training sees them -> bits per dimension of each, (n,).

    `-(log p(x) - D log 2**bits) / (D log 2)`. Of the details of a grown flow alone, it is the same given the means of
    2×2 pixels: the whole's bits are the mean of its levels', weighted by their dimensions (see `bits_per_level`).
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
    levels see the images' means. `nats`: log 2**bits, of the finest level's bits.
    """
    found = []
    for depth, (eps, log_det) in enumerate(encode_levels(flow, x)):
        # A mean is half of what an orthonormal transform would give, and its density twice that one's.
        bits = _bits(eps, log_det, nats + depth * math.log(2))
        name = f"{eps.shape[2]}×{eps.shape[3]}" if eps.ndim == 4 else "rest"
        found.append({"level": name, "dim": eps[0].numel(), "bits": float(bits[bits.isfinite()].mean())})
    return found
