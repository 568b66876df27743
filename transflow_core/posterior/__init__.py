"""The Bayesian part: Gaussians over the latent, conditioning them on evidence, drawing, and moving between them."""

from .conditioning import Posterior as Posterior
from .covariance import Covariance as Covariance
from .gaussian import Gaussian as Gaussian
from .gaussian import standard_normal as standard_normal
from .guard import Guard as Guard
from .levels import compose as compose
from .levels import per_level as per_level
from .local import Local as Local
from .methods import recommend as recommend
from .methods import resolve as resolve
from .mixing import mixed as mixed
from .restyling import Restyling as Restyling
from .transport import interpolate as interpolate
