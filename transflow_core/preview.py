"""Decoding for the eye, while a slider moves: less exact and faster."""

import functools
from dataclasses import replace

import torch
from torch import Tensor

from .flows import TrainableFlow
from .posterior import standard_normal
from .prior import Prior

__all__ = ["Preview"]

# One byte is what rounding takes anyway; nobody sees two in a picture that stands there for a moment.
_LARGEST_ERROR = 2 / 255


class Preview:
    """What a prior shows while a slider moves.

    On a processor, a wavelet flow gives the 2×2 means of its images (`WaveletGlow.low_pass`), and the nets inside the
    couplings compute in bfloat16 where the processor has matrix tiles for it (AMX; 1.8 times as fast, by
    `python -m transflow_core bench`) and no pixel of a sample changes by more than 2/255, which is found out at the
    first preview. On a GPU the image is whole, and the nets compute in float16 under the same condition.

    Evidence never comes this way: an inverse rebuilds what the nets read only to float32 rounding, of which bfloat16
    makes an error of 1e-2.

    Args:
        prior: the prior; it may be moved to another device afterwards.

    Example:
        >>> from transflow_core import load_prior
        >>> prior = load_prior("celeba128", device="cpu")
        >>> Preview(prior).decode(torch.zeros(1, prior.dim))[0].shape
        torch.Size([1, 3, 64, 64])
    """

    def __init__(self, prior: Prior) -> None:
        self._prior = prior

    def decode(self, z: Tensor, batch_size: int = 32, ranges: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As `Prior.guarded_decode`: (n, D) -> (n, C, S, S), or (n, C, S/2, S/2), in [0, 1] on the prior's device, and
        by how much each would have left the ranges."""
        return self.fast.guarded_decode(z, batch_size, self._prior.device.type == "cpu", ranges)

    @functools.cached_property
    def fast(self) -> Prior:
        """The prior that decodes: one with nets of half the precision, or the very same."""
        prior = self._prior
        on_gpu = prior.device.type == "cuda"
        if not isinstance(prior.flow, TrainableFlow) or not (on_gpu or has_tiles()):
            return prior
        fast = replace(prior, nets=torch.float16 if on_gpu else torch.bfloat16)
        z = standard_normal(2, prior.dim)
        error = (fast.decode(z, coarse=True) - prior.decode(z, coarse=True)).abs().max()
        return fast if error <= _LARGEST_ERROR else prior


def has_tiles() -> bool:
    """Whether this processor multiplies matrices of bfloat16 in tiles (AMX). A torch that cannot tell says no."""
    return getattr(torch.cpu, "get_capabilities", dict)().get("amx_bf16", False)
