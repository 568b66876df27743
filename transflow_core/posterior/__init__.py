"""The Bayesian part: Gaussians over the latent, conditioning them on evidence, drawing, and moving between them."""

from .algebra import MIXES, Mix, mixed
from .bootstrap import Blend
from .closest import Closest, closest
from .composition import Composed, compose
from .conditioning import MOST_KEPT, Posterior
from .covariance import Covariance
from .gaussian import Gaussian
from .guard import Guard, Looks
from .interpolation import INTERPOLATIONS, interpolate
from .levels import per_level
from .local import PRIOR_TEMPERATURE, Local, LocalNumbers
from .methods import Recommendation, recommend, resolve
from .noise import standard_normal
from .restyling import LIKENESS_TO_EVIDENCE, Restyling
from .sampler import Sampler
from .spread import Spread
from .statistics import Statistics
from .transport import transport

__all__ = [
    "INTERPOLATIONS",
    "LIKENESS_TO_EVIDENCE",
    "MIXES",
    "MOST_KEPT",
    "PRIOR_TEMPERATURE",
    "Blend",
    "Closest",
    "Composed",
    "Covariance",
    "Gaussian",
    "Guard",
    "Local",
    "LocalNumbers",
    "Looks",
    "Mix",
    "Posterior",
    "Recommendation",
    "Restyling",
    "Sampler",
    "Spread",
    "Statistics",
    "closest",
    "compose",
    "interpolate",
    "mixed",
    "per_level",
    "recommend",
    "resolve",
    "standard_normal",
    "transport",
]
