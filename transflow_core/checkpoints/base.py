"""What every reader returns, and the error that every reader raises."""

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from ..pixels import PixelConvention

__all__ = ["Checkpoint", "CheckpointError"]


class CheckpointError(ValueError):
    """A file that is not a checkpoint we can read. The message says what was found and what was expected."""


@dataclass(frozen=True)
class Checkpoint:
    """A flow read from a file, with everything that makes it a prior.

    Attributes:
        flow: `forward`: x (n, C, S, S) -> (z (n, D), log_det (n,)); `inverse` back; `latent_shapes` from fine to
            coarse.
        pixels: how 8-bit pixels become the flow's x.
        name: a short word for people.
        fingerprint: hexadecimal digest of the weights; equal fingerprints mean equal latents.
        typicality: the parsed `typicality.json`, or None when the file carries none.
        metadata: free words: format, licence, where it came from.
    """

    flow: nn.Module
    pixels: PixelConvention
    name: str
    fingerprint: str
    typicality: dict[str, Any] | None = None
    metadata: dict[str, str] = field(default_factory=dict)
