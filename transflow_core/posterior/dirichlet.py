"""Dirichlet weights with common random numbers: continuous in the concentration, the noise the same at each."""

import torch
from torch import Tensor

from .noise import standard_normal

__all__ = ["MOST_PIECES", "dirichlet_weights", "one_piece", "piece_noise", "total_concentration"]

# The noise of piece i is the same however many pieces there are, so that one more piece does not reshuffle all draws.
MOST_PIECES = 128
# Keeps the weights' noise apart from the latents' under one seed: any odd constant of 64 bits does.
_STREAM = 0x5851F42D4C957F2D


def piece_noise(n: int, p: int, seed: int, start: int, stream: int = 0) -> Tensor:
    """(n, p) float64 standard normal, one number a piece, independent of the latents' noise and of other streams'."""
    own = (seed ^ (_STREAM + 2 * stream)) & (2**63 - 1)
    return standard_normal(n, MOST_PIECES, own, start)[:, :p].double()


def dirichlet_weights(shares: Tensor, count: float, pieces: float, noise: Tensor) -> Tensor:
    """Weights w ~ Dirichlet(α m · shares), with α so that effectively `pieces` of m pieces make up a draw.

    For equal shares it is Dirichlet(α, …, α) with E Σ wᵢ² = (α + 1) / (mα + 1) = 1 / k. At k = m all weights are the
    shares, at k = 1 one piece has all weight, piece i with the probability of its share.

    Args:
        shares: (p,) float64, positive, of sum 1.
        count: m, as how many pieces they count.
        pieces: k ≥ 1; more than m is m.
        noise: (n, p) standard normal, which is turned into gamma variates by their quantile function: the weights
            are continuous in k.

    Returns:
        (n, p) float64, rows of sum 1.
    """
    total = total_concentration(count, pieces)
    if total is None:
        return shares.expand_as(noise)
    if total == 0:
        return torch.nn.functional.one_hot(one_piece(shares, noise), len(shares)).to(shares)
    log_u = torch.special.log_ndtr(noise)
    return _log_gamma_quantile(log_u, (total * shares).expand_as(log_u)).softmax(1)


def one_piece(shares: Tensor, noise: Tensor) -> Tensor:
    """The piece that has all weight at k = 1, (n,): piece i with the probability of its share.

    It is the limit of gamma variates of vanishing shape, where α log x → log u: the largest takes all.
    """
    return (torch.special.log_ndtr(noise) / shares).argmax(1)


def total_concentration(count: float, pieces: float) -> float | None:
    """A = αm, 0 at k = 1; None stands for infinity, where k is all pieces."""
    left = 1 - pieces / count
    # Nearer than this to all pieces, weights differ from the shares by less than anyone could see.
    return None if left < 1e-6 else (pieces - 1) / left


def _log_gamma_quantile(log_u: Tensor, alpha: Tensor) -> Tensor:
    """log x with P(α, x) = u, the quantile of the gamma distribution: by bisection of log x, to 1e-12."""
    # For small x, P(α, x) = x^α / Γ(α + 1), to a relative error of x. It is below the root for any x, too.
    small = (log_u + torch.lgamma(alpha + 1)) / alpha
    low = small.clamp_min(-30.0)
    high = (alpha + 45 * alpha.sqrt() + 60).log().expand_as(low)
    u = log_u.exp()
    for _ in range(60):
        middle = (low + high) / 2
        above = torch.special.gammainc(alpha, middle.exp()) > u
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return torch.where(small < -30, small, (low + high) / 2)
