"""The multi-scale parts: trading space for channels, and taking latents out under a Gaussian prior."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .convolution import Conv3x3

__all__ = [
    "SQUEEZES",
    "GaussianSplit",
    "GaussianTop",
    "haar_merge",
    "haar_split",
    "quarter",
    "squeeze",
    "unquarter",
    "unsqueeze",
    "whiten_split",
]


_OFF = 0.05


def squeeze(x: Tensor) -> Tensor:
    """(n, C, H, W) -> (n, 4C, H/2, W/2); pixel (dy, dx) of a 2×2 block goes to channel `c*4 + 2*dy + dx`.

    Example:
        >>> import torch
        >>> squeeze(torch.arange(4.0).reshape(1, 1, 2, 2)).flatten().tolist()
        [0.0, 1.0, 2.0, 3.0]
    """
    return F.pixel_unshuffle(x, 2)


def unsqueeze(x: Tensor) -> Tensor:
    """The inverse of `squeeze`: (n, 4C, H, W) -> (n, C, 2H, 2W)."""
    return F.pixel_shuffle(x, 2)


def quarter(x: Tensor) -> Tensor:
    """(n, C, H, W) -> (n, 4C, H/2, W/2) by relabelling memory: channel `c*4 + q` is the q-th quarter of c's raster.

    GlowIP's `squeeze_contig`. A pixel's new neighbours are not its old ones, which is why nobody else does it.

    Example:
        >>> import torch
        >>> quarter(torch.arange(16.0).reshape(1, 1, 4, 4))[0, 1].tolist()
        [[4.0, 5.0], [6.0, 7.0]]
    """
    n, c, h, w = x.shape
    return x.reshape(n, 4 * c, h // 2, w // 2)


def unquarter(x: Tensor) -> Tensor:
    """The inverse of `quarter`: (n, 4C, H, W) -> (n, C, 2H, 2W)."""
    n, c, h, w = x.shape
    return x.reshape(n, c // 4, 2 * h, 2 * w)


SQUEEZES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "blocks": (squeeze, unsqueeze),
    "quarters": (quarter, unquarter),
}


def haar_split(x: Tensor) -> tuple[Tensor, Tensor]:
    """(n, C, H, W) -> (means (n, C, H/2, W/2), details (n, 3C, H/2, W/2)): one level of the 2-D Haar transform.

    Of a block [[p, q], [r, s]] the mean is (p + q + r + s) / 4, and the details are (p - q + r - s) / 2,
    (p + q - r - s) / 2 and (p - q - r + s) / 2: horizontal, vertical, diagonal, each of all channels. With twice the
    mean it would be orthonormal, so the log-determinant is -log 2 for each mean. Reference: Wavelet Flow (2020).

    Example:
        >>> import torch
        >>> means, details = haar_split(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]]))
        >>> means.flatten().tolist(), details.flatten().tolist()
        ([3.0], [-2.0, -3.0, 1.0])
    """
    p, q, r, s = F.pixel_unshuffle(x, 2).unflatten(1, (-1, 4)).unbind(2)
    top, bottom, left, right = p + q, r + s, p - q, r - s
    return (top + bottom) / 4, torch.cat([left + right, top - bottom, left - right], 1) / 2


def haar_merge(means: Tensor, details: Tensor) -> Tensor:
    """The inverse of `haar_split`: (n, C, H, W) and (n, 3C, H, W) -> (n, C, 2H, 2W)."""
    horizontal, vertical, diagonal = (details / 2).chunk(3, 1)
    top, bottom = means + vertical, means - vertical
    left, right = horizontal + diagonal, horizontal - diagonal
    blocks = torch.stack([top + left, top - left, bottom + right, bottom - right], 2)
    return F.pixel_shuffle(blocks.flatten(1, 2), 2)


class GaussianSplit(nn.Module):
    """Half of the channels leave as whitened latents, under a Gaussian that the other half predicts.

    `first, second = halves(x)`; `mean, log_std = halves(prior(first))`, prior a 3×3 convolution; `eps =
    (second - mean) * exp(-log_std)`, so that eps is N(0, I) under the model; `first` goes on. The log-determinant is
    `-sum(log_std)`. Reference: Glow (2018), figure 2b.

    Args:
        prior: maps (n, C/2, H, W) to (n, C, H, W); None takes eps = second: its prior is N(0, I) already.
    """

    def __init__(self, prior: Conv3x3 | None) -> None:
        super().__init__()
        self.prior = prior

    def mean_and_log_std(self, first: Tensor) -> tuple[Tensor, Tensor]:
        """What the first half predicts of the second: two (n, C/2, H, W)."""
        if self.prior is None:
            zeros = torch.zeros_like(first)
            return zeros, zeros
        mean, log_std = self.prior(first).float().chunk(2, 1)
        return mean, log_std

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(n, C, H, W) -> (first, eps, log_det), the first two (n, C/2, H, W)."""
        first, second = x.chunk(2, 1)
        mean, log_std = self.mean_and_log_std(first)
        return first, (second - mean) * (-log_std).exp(), -log_std.sum((1, 2, 3))

    def inverse(self, first: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """Two (n, C/2, H, W) -> (x, log_det)."""
        mean, log_std = self.mean_and_log_std(first)
        return torch.cat([first, eps * log_std.exp() + mean], 1), log_std.sum((1, 2, 3))

    @torch.no_grad()
    def whiten(self, eps: Tensor) -> None:
        """Give eps, (n, C/2, H, W) of images that are typical, a root mean square of 1 in each channel from now on."""
        if self.prior is not None:
            whiten_split(self.prior, eps)


class GaussianTop(nn.Module):
    """The last latents, whitened under a learned Gaussian: `eps = (x - mean) * exp(-log_std)`, both maps (C, H, W)."""

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(channels, height, width))
        self.log_std = nn.Parameter(torch.zeros(channels, height, width))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(n, C, H, W) -> (eps, log_det)."""
        return (x - self.mean) * (-self.log_std).exp(), -self.log_std.sum().expand(len(x))

    def inverse(self, eps: Tensor) -> tuple[Tensor, Tensor]:
        """(n, C, H, W) -> (x, log_det)."""
        return eps * self.log_std.exp() + self.mean, self.log_std.sum().expand(len(eps))

    @torch.no_grad()
    def whiten(self, eps: Tensor) -> None:
        """As `GaussianSplit.whiten`."""
        if _is_off(eps):
            self.log_std += _log_rms(eps)[:, None, None]


@torch.no_grad()
def whiten_split(prior: Conv3x3, eps: Tensor) -> None:
    """Change the log-scales that a convolution predicts beside means, so that eps, (n, C, H, W), is whitened."""
    if _is_off(eps):
        prior.bias[-eps.shape[1] :] += _log_rms(eps)


def _log_rms(eps: Tensor) -> Tensor:
    return 0.5 * torch.log(eps.square().mean((0, 2, 3)) + 1e-6)


def _is_off(eps: Tensor) -> bool:
    """By more than the chance of which images were looked at."""
    return abs(0.5 * math.log(float(eps.square().mean()) + 1e-6)) > _OFF
