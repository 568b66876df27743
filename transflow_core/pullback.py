"""Decoding that never fails: a latent whose picture is broken is moved towards a better one until it is not."""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["broken", "decode_in_range"]

_STEPS = 5
# Of a picture that is black, white or a pure colour in most places, nothing can be seen: a flow that overflows, but not
# to infinity, gives such. Sketches on white paper are mostly white, but not in colour, and not black besides.
_MOST_SATURATED = 0.6


def broken(images: Tensor) -> Tensor:
    """(n, C, S, S) -> (n,) bool: not finite somewhere, or at both ends of the range in most places."""
    flat = images.reshape(len(images), -1)
    finite = torch.isfinite(flat).all(1)
    clear = flat.nan_to_num(0.0)
    black, white = (clear <= 0).float().mean(1), (clear >= 1).float().mean(1)
    return ~finite | ((black + white > _MOST_SATURATED) & (torch.minimum(black, white) > 0.1))


def decode_in_range(
    decode: Callable[[Tensor], Tensor],
    z: Tensor,
    centre: Tensor,
    wrong: Callable[[Tensor], Tensor] = broken,
) -> tuple[Tensor, Tensor, Tensor]:
    """Decode latents, moving those whose image is wrong along the ray to `centre` until it is not.

    The share of the way that can be kept is found by bisection, to 1/32, all wrong rows at once. A row that is wrong
    even next to the centre becomes the centre; if that is wrong as well, there is nothing better to show.

    Args:
        decode: (k, D) -> (k, C, S, S), in batches as it likes.
        z: (n, D).
        centre: (D,), or (n, D), one for each row.
        wrong: (k, C, S, S) -> (k,) bool.

    Returns:
        The images, (n, C, S, S), finite; the latents that they show, (n, D); and which were moved, (n,) bool.
    """
    images = decode(z)
    bad = wrong(images)
    if not bad.any():
        return images, z, bad
    rows = bad.nonzero().flatten()
    z, images = z.clone(), images.clone()
    middle = centre.to(z).expand_as(z)[rows]
    start = z[rows]
    low, high = torch.zeros(len(rows), 1).to(z), torch.ones(len(rows), 1).to(z)
    z[rows], images[rows] = middle, torch.nan_to_num(decode(middle), 0.0, 1.0, 0.0).clamp(0, 1)
    for _ in range(_STEPS):
        share = (low + high) / 2
        tried = middle + share * (start - middle)
        shown = decode(tried)
        good = ~wrong(shown)
        z[rows[good]], images[rows[good]] = tried[good], shown[good]
        good = good.to(share.device).unsqueeze(1)
        low, high = torch.where(good, share, low), torch.where(good, high, share)
    return images, z, bad
