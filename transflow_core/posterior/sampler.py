"""What can be sampled."""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from .guard import Guard

__all__ = ["Sampler"]


@runtime_checkable
class Sampler(Protocol):
    """A distribution over the latent, with common random numbers.

    For one seed, sample i uses the same noise in every sampler of the same dimension, at every temperature, however the
    samples are cut into batches, and on every device: a change of any number morphs the images and reshuffles none.
    """

    @property
    def dim(self) -> int:
        """D."""
        ...

    @property
    def mean(self) -> Tensor:
        """(D,), where temperature 0 leads."""
        ...

    @property
    def guard(self) -> Guard | None:
        """What pictures of draws stay within; None for nothing."""
        ...

    def sample(self, n: int, seed: int = 0, temperature: float = 1.0, start: int = 0) -> Tensor:
        """(n, D) latents in the mean's precision: samples `start` to `start + n`; `temperature` scales deviations."""
        ...

    def to(self, device: str | torch.device) -> "Sampler":
        """The same on another device."""
        ...
