"""The Bayesian part: Gaussians over the latent, conditioning them on evidence, drawing, and moving between them."""

from .bootstrap import MOST_KEPT, BayesianBootstrap
from .conditioning import Posterior
from .covariance import Covariance
from .gaussian import Gaussian, Sampler, standard_normal
from .guard import Closest, Guard, Looks, closest
from .levels import Composed, compose, per_level
from .local import PRIOR_TEMPERATURE, Local, LocalNumbers
from .methods import Recommendation, recommend, resolve
from .mixing import MIXES, Mix, mixed
from .restyling import LIKENESS_TO_EVIDENCE, Restyling
from .shrinkage import ShrinkageCovariance
from .statistics import Statistics
from .transport import interpolate, transport

__all__ = [
    "LIKENESS_TO_EVIDENCE",
    "MIXES",
    "MOST_KEPT",
    "PRIOR_TEMPERATURE",
    "BayesianBootstrap",
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
    "ShrinkageCovariance",
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
