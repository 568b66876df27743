"""What the rest of the program asks of a flow, whoever wrote it. Nothing outside flows/ and checkpoints/ asks more."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

__all__ = ["CoarseFlow", "Flow", "Shape"]

Shape = tuple[int, int, int]
"""(C, H, W)."""


class Flow(Protocol):
    """A bijection between square images x and flat latents z whose prior is N(0, I).

    Any object with these five words can be conditioned on evidence; it need be no torch module. A module is moved
    between devices, frozen and counted; whatever else it is stays on the CPU, or on the `device` that it names itself.

    Example:
        >>> import math
        >>> import torch
        >>> class Doubled:
        ...     image_size, channels, latent_shapes = 4, 1, ((1, 4, 4),)
        ...     def forward(self, x):
        ...         return 2 * x.flatten(1), torch.full((len(x),), 16 * math.log(2))
        ...     def inverse(self, z):
        ...         return z.reshape(-1, 1, 4, 4) / 2, torch.full((len(z),), -16 * math.log(2))
        >>> flow: Flow = Doubled()
    """

    @property
    def image_size(self) -> int:
        """S, the side of the images in pixels."""
        ...

    @property
    def channels(self) -> int:
        """C, the colour channels of the images."""
        ...

    @property
    def latent_shapes(self) -> Sequence[Shape]:
        """(C, H, W) of each level's latent, fine to coarse, in the order in which z holds them, each in C-order."""
        ...

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images (n, C, S, S) -> (z (n, D), log_det (n,)), D the numbers of all levels; nan where no density is known.

        `log p(x) = log N(z; 0, I) + log_det`, in nats.
        """
        ...

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (n, D) -> (images (n, C, S, S), log_det (n,)), of the inverse direction."""
        ...


@runtime_checkable
class CoarseFlow(Flow, Protocol):
    """A flow that gives coarser images in less time, as a grown one does: for previews."""

    def means(self, z: Tensor) -> Tensor:
        """The 2×2 means of `inverse(z)[0]`: (n, D) -> (n, C, S/2, S/2)."""
        ...
