"""Evidence algebra: more of both, less like these, towards these; products and quotients of posteriors; mixtures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from .conditioning import MOST_KEPT, Posterior
from .covariance import Covariance
from .gaussian import Gaussian
from .guard import Guard, shrunk
from .noise import standard_normal
from .sampler import Sampler

__all__ = ["MIXES", "Mix", "Mixture", "combined", "mixed"]

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


def combined(prior: Gaussian, terms: Sequence[tuple[Gaussian, float]]) -> Gaussian:
    """The Gaussian p ∝ p0 Π (p_i / p0)^w_i: posteriors of one prior multiplied (w > 0) and divided out (w < 0).

    In natural parameters: Λ = Λ0 + Σ w_i (Λ_i - Λ0), Λμ = Λ0 μ0 + Σ w_i (Λ_i μ_i - Λ0 μ0). With one posterior
    of precision 1 + 1/r divided out of the prior N(0, I), it is a Gaussian as long as w < r.

    Args:
        prior: p0.
        terms: each p_i, with its w_i.

    Raises ValueError where a covariance is singular or not diagonal, or the result is no Gaussian: it says the largest
    share of the exponents under 0 that leaves one.

    Example:
        >>> prior, likes = Gaussian.standard(1), Gaussian(torch.ones(1), 0.5)
        >>> both = combined(prior, [(likes, 1.0), (likes, 1.0)])
        >>> both.mean, round(both.variance.item(), 4)
        (tensor([1.3333]), 0.3333)
    """
    precision, shift = _natural(prior)
    more, less = torch.zeros_like(precision), torch.zeros_like(precision)
    moved = torch.zeros_like(shift)
    for term, exponent in terms:
        if term.dim != prior.dim:
            raise ValueError(f"dimensions differ: {prior.dim} and {term.dim}")
        theirs, of_theirs = _natural(term)
        change = exponent * (theirs - precision)
        more, less = more + change.clamp_min(0), less - change.clamp_max(0)
        moved = moved + exponent * (of_theirs - shift)
    total = precision + more - less
    if not (total > 0).all():
        limit = ((precision + more) / less)[less > 0].min().item()
        raise ValueError(f"no Gaussian is left: so much can be divided out at {limit:.3g} of these exponents at most")
    return Gaussian(((shift + moved) / total).to(prior.mean), Covariance((1 / total).to(prior.mean)))


def _natural(gaussian: Gaussian) -> tuple[Tensor, Tensor]:
    """Λ and Λμ of a diagonal Gaussian, (D,) float64."""
    covariance = gaussian.covariance
    if covariance.factor is not None:
        raise ValueError("only Gaussians with a diagonal covariance are multiplied")
    precision = covariance.inverse_diagonal().double().expand(gaussian.dim)
    return precision, precision * gaussian.mean.double()


@dataclass(frozen=True, eq=False)
class Mixture:
    """Draws of one sampler or the other: each sample is of the second with probability `share`.

    Which it is of comes from the seed alone, so that samples turn from the first to the second one by one as the share
    grows, and none changes otherwise.
    """

    a: Sampler
    b: Sampler
    share: float

    def __post_init__(self) -> None:
        if self.a.dim != self.b.dim:
            raise ValueError(f"dimensions differ: {self.a.dim} and {self.b.dim}")
        if not 0 <= self.share <= 1:
            raise ValueError(f"the share of a mixture is a number from 0 to 1, not {self.share!r}")

    @property
    def dim(self) -> int:
        """D."""
        return self.a.dim

    @property
    def mean(self) -> Tensor:
        """(D,)."""
        return (1 - self.share) * self.a.mean + self.share * self.b.mean

    @property
    def guard(self) -> Guard | None:
        """What either lets through; None where one of them has no bounds."""
        return Guard.joined([self.a.guard, self.b.guard])

    def sample(self, n: int, seed: int = 0, temperature: float = 1.0, start: int = 0) -> Tensor:
        """(n, D)."""
        # One more number of a noise of its own; the normal distribution function makes it uniform.
        uniform = torch.special.ndtr(standard_normal(n, 1, seed ^ _OTHER, start)[:, 0].double())
        first, second = (one.sample(n, seed, temperature, start) for one in (self.a, self.b))
        return torch.where((uniform < self.share).unsqueeze(1).to(first.device), second, first)

    def to(self, device: str | torch.device) -> Mixture:
        """The same on another device."""
        return replace(self, a=self.a.to(device), b=self.b.to(device))


_OTHER = 0x6D69_7874
