"""The Bayesian part: Gaussians over the latent, conditioning them on evidence, drawing, and moving between them."""

from .algebra import MIXES, Mix, Mixture, combined, mixed
from .bootstrap import Blend, Smoothed
from .bounds import Bounded, TypicalSet
from .choice import Choice, choose_manner
from .composition import Composed, compose
from .conditioning import MOST_KEPT, Posterior
from .covariance import Covariance
from .gaussian import Gaussian
from .interpolation import INTERPOLATIONS, interpolate
from .levels import per_level
from .manner import DEFAULT_MANNER, KINDS, Manner
from .noise import standard_normal
from .restyling import LIKENESS_TO_EVIDENCE, Restyling
from .sampler import Sampler
from .spread import Spread
from .statistics import Statistics
from .transport import transport

__all__ = [
    "DEFAULT_MANNER",
    "INTERPOLATIONS",
    "KINDS",
    "LIKENESS_TO_EVIDENCE",
    "MIXES",
    "MOST_KEPT",
    "Blend",
    "Bounded",
    "Choice",
    "Composed",
    "Covariance",
    "Gaussian",
    "Manner",
    "Mix",
    "Mixture",
    "Posterior",
    "Restyling",
    "Sampler",
    "Smoothed",
    "Spread",
    "Statistics",
    "TypicalSet",
    "choose_manner",
    "combined",
    "compose",
    "interpolate",
    "mixed",
    "per_level",
    "standard_normal",
    "transport",
]
