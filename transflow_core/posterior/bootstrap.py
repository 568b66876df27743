"""The Bayesian bootstrap: one vector of Dirichlet weights over the evidence for each draw."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from .covariance import Covariance
from .gaussian import Gaussian, standard_normal
from .guard import Guard

MOST_KEPT = 128
"""Images that a posterior keeps: draws need no more, and a file of 128×128 stays under 26 MB. So many columns has the
noise. Image i has the same noise however many there are."""
# Keeps the weights' noise apart from the latents' under one seed: any odd constant of 64 bits does.
_STREAM = 0x5851F42D4C957F2D


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageSampler:
    """Draws that are put together of images: a mean (D,), the deviations of images from it, and noise.

    The covariance is the noise's. The guard is what pictures of draws stay within; None for nothing.
    """

    mean: Tensor
    covariance: Covariance
    guard: Guard | None = None

    @property
    def dim(self) -> int:
        """D."""
        return len(self.mean)

    def deviations(self, n: int, seed: int = 0, start: int = 0, fold: int = 0) -> Tensor:
        """By how much the images of each draw differ from the mean, (n, D), with noise of their own for each `fold`."""
        raise NotImplementedError

    @cached_property
    def last_deviations(self) -> Callable[..., Tensor]:
        """`deviations`, which remembers the last ones: each step of a path needs those of both ends."""
        return lru_cache(maxsize=1)(self.deviations)

    def sample(self, n: int, seed: int = 0, temperature: float = 1.0, start: int = 0, fold: int = 0) -> Tensor:
        """(n, D), as `Gaussian.sample`, whose noise it has, and the deviations of each draw's images."""
        return self.noise(n, seed, temperature, start) + temperature * self.deviations(n, seed, start, fold)

    def noise(self, n: int, seed: int = 0, temperature: float = 1.0, start: int = 0) -> Tensor:
        """(n, D), the mean and the noise of each draw: the same in every fold."""
        return Gaussian(self.mean, self.covariance).sample(n, seed, temperature, start)


@dataclass(frozen=True, eq=False, kw_only=True)
class BayesianBootstrap(ImageSampler):
    """The Bayesian bootstrap (Rubin 1981): z = mean + Σᵢ (wᵢ - sharesᵢ) directionᵢ + noise, with Dirichlet weights w.

    Each draw has its own weighted mean of the evidence. Averages lie nearer to the middle: their covariance is
    1 / (αm + 1) of the evidence's.

    Attributes:
        directions: (p, D), latents less their weighted mean, mapped as the posterior maps its mean.
        shares: (p,) float64 on the CPU, positive, of sum 1.
        count: m, as how many images they count.
        images_per_sample: k ≥ 1, see `dirichlet_weights`.
    """

    directions: Tensor
    shares: Tensor
    count: float
    images_per_sample: float

    def weights(self, n: int, seed: int = 0, start: int = 0) -> Tensor:
        """w of each draw, (n, p) float64 on the CPU: how much of which image is in it."""
        noise = image_noise(n, len(self.shares), seed, start)
        return dirichlet_weights(self.shares, self.count, self.images_per_sample, noise)

    def deviations(self, n: int, seed: int = 0, start: int = 0, fold: int = 0) -> Tensor:
        """Σᵢ (wᵢ - sharesᵢ) directionᵢ of each draw, (n, D); it is the same in every fold."""
        return (self.weights(n, seed, start) - self.shares).to(self.mean) @ self.directions


def image_noise(n: int, p: int, seed: int, start: int, stream: int = 0) -> Tensor:
    """(n, p) float64 standard normal, one number an image, independent of the latents' noise and of other streams'."""
    own = (seed ^ (_STREAM + 2 * stream)) & (2**63 - 1)
    return standard_normal(n, MOST_KEPT, own, start)[:, :p].double()


def dirichlet_weights(shares: Tensor, count: float, images_per_sample: float, noise: Tensor) -> Tensor:
    """Weights w ~ Dirichlet(α m · shares), with α so that effectively k of m images make up a draw.

    For equal shares E Σ wᵢ² = (α + 1) / (mα + 1) = 1 / k. At k = m all weights are the shares. At k = 1 one image has
    all weight, image i with the probability of its share.

    Args:
        shares: (p,) float64, positive, of sum 1.
        count: m, as how many images they count.
        images_per_sample: k ≥ 1; more than m is m.
        noise: (n, p) standard normal. The gamma quantile function makes it weights that are continuous in k.
    """
    left = 1 - images_per_sample / count
    if left < 1e-6:  # all images, to less than anyone could see
        return shares.expand_as(noise)
    total = (images_per_sample - 1) / left  # αm
    if total == 0:
        return torch.nn.functional.one_hot(one_image(shares, noise), len(shares)).to(shares)
    log_u = torch.special.log_ndtr(noise)
    return _log_gamma_quantile(log_u, (total * shares).expand_as(log_u)).softmax(1)


def one_image(shares: Tensor, noise: Tensor) -> Tensor:
    """The image that has all weight at k = 1, (n,): image i with the probability of its share.

    It is the limit of gamma variates of vanishing shape, where α log x → log u: the largest takes all.
    """
    return (torch.special.log_ndtr(noise) / shares).argmax(1)


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
