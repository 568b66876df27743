"""Evidence algebra: more of both, less like these, towards these."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import torch
from torch import Tensor

from .conditioning import MOST_KEPT, Posterior
from .covariance import Covariance
from .guard import shrunk

__all__ = ["MIXES", "Mix", "mixed"]

Mix = Literal["add", "subtract", "move"]
"""What a second set does to a first: see `mixed`."""
MIXES: tuple[Mix, ...] = get_args(Mix)
# Of the first set's evidence so much may be divided out: the mean then lies ten times as far from the second set's as
# it did, beyond all that a flow shows.
_MOST_LESS = 0.9


def mixed(a: Posterior, b: Posterior, how: Mix, share: float = 0.5) -> Posterior:
    """Of two posteriors of one prior, the posterior that a person means by a word; λ is the first's, by value.

    - "add": more of both. Bayes' rule with both sets at once, p(z) p(A | z) p(B | z)^w; with the exponent
      w = t / (1 - t) · m_a / m_b the second set has the share t of all evidence. It is the product of both posteriors,
      divided by their prior once; its predictive is a mixture, since each draw leans on a piece of either set.
    - "subtract": like the first, and less like the second, whose likelihood is divided out: p(z) p(A | z) / p(B | z)^w
      with w = t m_a / m_b. The mean of the evidence becomes (ζ̄_a - t ζ̄_b) / (1 - t), of m = (1 - t) m_a pieces. It is a
      Gaussian for every w with 1 + (m_a - w m_b) / λ > 0, and a posterior that has a λ/m for t < 1; t is 0.9 at most.
    - "move": the first set's pieces, moved by t of the difference of the means, ζ̄_b - ζ̄_a: Glow's attribute
      direction.

    In the latter two the pieces keep their deviations from the mean, and so does what is drawn in every manner.

    Args:
        share: t in [0, 1]; at 0 it is the first posterior itself.

    Raises ValueError for another word or share, and where prior or likelihood differ.

    Example:
        >>> a, b = (Posterior.condition(torch.full((2, 1), x), lam=1.0) for x in (1.0, 3.0))
        >>> [mixed(a, b, how, 0.5).evidence_mean.item() for how in MIXES]
        [2.0, -1.0, 2.0]
    """
    if how not in MIXES:
        raise ValueError(f"a mix is one of {', '.join(MIXES)}, not {how!r}")
    most = {"add": 1.0, "subtract": _MOST_LESS, "move": 1.0}[how]
    if not 0 <= share <= most:
        raise ValueError(f"the share of {how!r} is a number from 0 to {most:g}, not {share!r}")
    if a.dim != b.dim or not (_alike(a.prior.covariance, b.prior.covariance) and a.prior.mean.equal(b.prior.mean)):
        raise ValueError("the two posteriors are of different priors")
    if not _alike(a.likelihood, b.likelihood):
        raise ValueError("the two posteriors have likelihoods of different shapes")
    if share == 0:
        return a
    if share == 1 and how == "add":
        return b.with_lam(lam=a.lam)
    if how == "add":
        return _united(a, b, share)
    kept = 1 - share if how == "subtract" else 1.0
    shift = share / kept * (a.evidence_mean - b.evidence_mean) * (1 if how == "subtract" else -1)
    weights = a.weights if kept == 1 else kept * _weights(a)
    lam = a.lam
    return replace(
        a,
        m=kept * a.m,
        evidence_mean=a.evidence_mean + shift,
        latents=a.latents + shift,
        weights=weights,
    ).with_lam(lam=lam)


def _united(a: Posterior, b: Posterior, share: float) -> Posterior:
    """All evidence of the first, and so much of the second that it has this share."""
    more = share / (1 - share) * a.m
    mean = (a.m * a.evidence_mean.double() + more * b.evidence_mean.double()) / (a.m + more)
    weights = torch.cat([_weights(a), more / b.m * _weights(b)])
    latents = torch.cat([a.latents, b.latents.to(a.latents)])
    chosen = torch.linspace(0, len(latents) - 1, min(MOST_KEPT, len(latents))).round().long()
    if len(latents) > MOST_KEPT:  # evenly spaced ones, as of one set
        latents, weights = latents[chosen], weights[chosen]
        weights = weights * ((a.m + more) / weights.sum())
    visible = None
    if a.visible is not None or b.visible is not None:
        visible = torch.cat([_visible(a), _visible(b)])
        visible = visible if len(visible) == len(latents) else visible[chosen]
    both = replace(a, m=a.m + more, evidence_mean=mean.to(a.mean), latents=latents, weights=weights, visible=visible)
    return both.with_lam(lam=a.lam)


def _visible(posterior: Posterior, side: int = 32) -> Tensor:
    """(p, side, side), whether or not anything is covered."""
    if posterior.visible is None:
        return torch.ones(len(posterior.latents), side, side)
    return shrunk(posterior.visible[None].float(), side)[0]


def _weights(posterior: Posterior) -> Tensor:
    """(p,) float64 of sum m, whether or not there were any."""
    if posterior.weights is not None:
        return posterior.weights.double()
    pieces = len(posterior.latents)
    return torch.full((pieces,), posterior.m / pieces, dtype=torch.float64)


def _alike(a: Covariance, b: Covariance) -> bool:
    factors = (a.factor is None) == (b.factor is None) and (a.factor is None or a.factor.equal(b.factor))  # type: ignore[arg-type]
    return factors and a.diagonal.shape == b.diagonal.shape and a.diagonal.equal(b.diagonal)
