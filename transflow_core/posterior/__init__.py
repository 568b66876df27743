"""The Bayesian part: Gaussians over the latent, conditioning them on evidence, and moving between them."""

from .conditioning import Posterior, per_level
from .covariance import Covariance
from .gaussian import Gaussian
from .interpolation import INTERPOLATIONS, interpolate
from .noise import standard_normal
from .transport import transport

__all__ = [
    "INTERPOLATIONS",
    "Covariance",
    "Gaussian",
    "Posterior",
    "interpolate",
    "per_level",
    "standard_normal",
    "transport",
]
