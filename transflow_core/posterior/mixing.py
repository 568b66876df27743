"""Two sets of evidence: add, subtract or move one by the other."""

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from ..limits import choice
from .conditioning import Posterior, kept
from .covariance import Covariance
from .guard import shrunk

# The largest share of each. With 0.9 subtracted, the mean is ten times as far from the second set's, beyond all that a
# flow shows.
_MOST = {"add": 1.0, "subtract": 0.9, "move": 1.0}


def mixed(a: Posterior, b: Posterior, how: Literal["add", "subtract", "move"], share: float = 0.5) -> Posterior:
    """Two posteriors of one prior, mixed with a share t in [0, 1]; at 0 it is the first. λ is the first's, by value.

    - "add": more of both. Bayes' rule with both sets at once, p(z) p(A | z) p(B | z)^w. The second set has the share t
      of all evidence at w = t / (1 - t) · m_a / m_b: m = m_a / (1 - t) grows with t. At t = 1 it is B alone.
    - "subtract": less like the second set, whose likelihood is divided out: p(z) p(A | z) / p(B | z)^w with
      w = t m_a / m_b. The evidence's mean becomes (ζ̄_a - t ζ̄_b) / (1 - t), of m = (1 - t) m_a images; t is at most 0.9.
    - "move": the first set's images, moved by t of ζ̄_b - ζ̄_a, the difference of the means: Glow's attribute direction.

    In the latter two the images keep their deviations from the mean. Where images lack levels, "subtract" is an
    approximation: m counts each image at every level, and where no image of B has one, the mean stays.

    Raises ValueError for another way or share, and where prior or likelihood differ.
    """
    if not 0 <= share <= _MOST[choice(how, "how", _MOST)]:
        raise ValueError(f"the share of {how!r} is a number from 0 to {_MOST[how]:g}, not {share!r}")
    made_with = {one.metadata["fingerprint"] for one in (a, b) if one.metadata.get("fingerprint")}
    if (
        len(made_with) > 1
        or a.dim != b.dim
        or not (_alike(a.prior.covariance, b.prior.covariance) and a.prior.mean.equal(b.prior.mean))
    ):
        raise ValueError("the two posteriors are of different priors")
    if not _alike(a.likelihood, b.likelihood):
        raise ValueError("the two posteriors have likelihoods of different shapes")
    if share == 0:
        return a
    if share == 1 and how == "add":
        return b.with_lam(lam=a.lam)
    if how == "add":
        return _united(a, b, share)
    rest = 1 - share if how == "subtract" else 1.0
    shift = share / rest * (a.evidence_mean - b.evidence_mean) * (1 if how == "subtract" else -1)
    shift = shift * (b.seen > 0).to(shift)  # of a level that no image of b has, b says nothing
    moved = {"evidence_mean": a.evidence_mean + shift, "latents": a.single + shift}
    return replace(a, m=rest * a.m, weights=rest * a.weights, **moved).with_lam(lam=a.lam)


def _united(a: Posterior, b: Posterior, share: float) -> Posterior:
    """All evidence of the first, and so much of the second that it has this share."""
    more = share / (1 - share) * a.m
    m = a.m + more
    of_a, of_b = a.m * a.seen, more * b.seen.to(a.mean.device)
    mean = (of_a * a.evidence_mean.double() + of_b * b.evidence_mean.double()) / (of_a + of_b)
    mean = torch.where(of_a + of_b > 0, mean, a.evidence_mean.double())
    since = None if a.since is b.since is None else torch.cat([_since(a), _since(b)])
    visible = None if a.visible is b.visible is None else torch.cat([_visible(a), _visible(b)])
    weights = torch.cat([a.weights, more / b.m * b.weights])
    latents = torch.cat([a.single, b.single.to(a.latents)])
    latents, weights, visible, since = kept(latents, weights, visible, since, m)
    evidence = {"latents": latents, "weights": weights, "visible": visible, "since": since}
    return replace(a, m=m, evidence_mean=mean.to(a.mean), **evidence).with_lam(lam=a.lam)


def _since(posterior: Posterior) -> Tensor:
    """(p,), zeros where all images have all numbers."""
    return torch.zeros(len(posterior.latents), dtype=torch.int64) if posterior.since is None else posterior.since


def _visible(posterior: Posterior, side: int = 32) -> Tensor:
    """(p, side, side), ones where nothing is masked."""
    if posterior.visible is None:
        return torch.ones(len(posterior.latents), side, side)
    return shrunk(posterior.visible[None].float(), side)[0]


def _alike(a: Covariance, b: Covariance) -> bool:
    same = a.factor is b.factor or (a.factor is not None and b.factor is not None and a.factor.equal(b.factor))
    return same and a.diagonal.equal(b.diagonal)
