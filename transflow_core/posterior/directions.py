"""The directions in which the images of a set differ most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .guard import Looks
from .levels import HasSlice, level_shapes, level_slices
from .local import COARSE, GRID

if TYPE_CHECKING:
    from .conditioning import Posterior


def directions(posterior: Posterior, levels: Sequence[HasSlice | slice], looks: Looks) -> Tensor:
    """(2p, D) eigenvectors of the set's covariance, each as long as one standard deviation, the largest first.

    The set is the p images and their mirror images, of weights w. Their latents are nearly at right angles, so that all
    directions of latents are about as large; seen as small pictures, a few make up most of what differs. So with the
    eigenvectors u of √w (x - x̄) (x - x̄)ᵀ √w, of pictures x, direction k is Σ u_ki √w_i (ζ_i - ζ̄), at the coarse levels:
    fine ones would add noise. Its sign makes the image that has most of it a positive one.
    """
    z = torch.cat([posterior.latents, looks.mirrored.to(posterior.latents)])
    weights = posterior.weights.repeat(2) / (2 * posterior.weights.sum())
    seen = looks.small(GRID).flatten(1).double().cpu()
    seen = weights.sqrt()[:, None] * (seen - weights @ seen)
    u = torch.linalg.eigh(seen @ seen.T).eigenvectors.T.flip(0)
    most = u[:, : len(posterior.latents)].abs().argmax(1, keepdim=True)
    u = (u * u.gather(1, most).sign() * weights.sqrt()).to(z)
    found = u @ (z - weights.to(z) @ z)
    slices, shapes = level_slices(levels, posterior.dim), level_shapes(levels, posterior.dim)
    for part, (_, height, _) in zip(slices, shapes, strict=True):
        if height > COARSE:
            found[:, part] = 0
    return found
