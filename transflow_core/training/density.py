"""What is trained: the log density of images, as a module whose forward a process group can share."""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor, nn

from ..flows import CouplingNet, DetailFlow, Glow, GrownGlow, haar_split
from ..pixels import PixelConvention

__all__ = ["BitsPerDim", "bfloat16_is_faster"]


class BitsPerDim(nn.Module):
    """Images x, (n, C, S, S), as training sees them -> bits per dimension of each, (n,).

    Of a Glow: `-(log p(x) - D log 2**bits) / (D log 2)`. Of a grown flow only the details' part, given the means, over
    the details' dimensions: the base is trained already, and its part is constant.
    """

    def __init__(self, flow: Glow | GrownGlow, pixels: PixelConvention) -> None:
        super().__init__()
        self.grown = isinstance(flow, GrownGlow)
        # Only what is trained belongs to the module, or its copies would carry the base along.
        self.flow: Glow | DetailFlow = flow.details if self.grown else flow
        self.nats = pixels.nats_per_dim

    def forward(self, x: Tensor) -> Tensor:
        if self.grown:
            means, details = haar_split(x)
            eps, log_det = self.flow(details, means)
            eps = eps.flatten(1)
        else:
            eps, log_det = self.flow(x)
        log_prob = log_det - 0.5 * (eps.square().sum(1) + eps.shape[1] * math.log(2 * math.pi))
        return (self.nats - log_prob / eps.shape[1]) / math.log(2)

    def initialise(self, x: Tensor) -> None:
        """Actnorms from one batch."""
        if self.grown:
            means, details = haar_split(x)
            self.flow.initialise(details, means)
        else:
            self.flow.initialise(x)


def bfloat16_is_faster(device: torch.device, repeats: int = 5) -> bool:
    """Time a coupling net both ways, forward and back, here: a processor may take bfloat16 and be slow at it.

    Takes about a quarter of a second.
    """
    net = CouplingNet(24, 48, 192, (16, 16)).to(device)
    net.channels_last()
    a = torch.zeros(32, 24, 16, 16, device=device)

    def seconds(dtype: torch.dtype | None) -> float:
        net.compute_dtype = dtype
        times = []
        for _ in range(repeats + 1):
            start = time.perf_counter()
            net(a).float().sum().backward()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times.append(time.perf_counter() - start)
        return min(times[1:])

    return seconds(torch.bfloat16) < seconds(None)
