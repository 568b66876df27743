"""A learned linear map of the channels that cannot become ill-conditioned: a rotation of scaled channels."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .coupling import bounded

__all__ = ["ScaledRotation"]


class ScaledRotation(nn.Module):
    """`y = Q diag(s) x` at every pixel: `Q = (I + S)⁻¹ (I - S)` with `S = A - Aᵀ`, `log s = cap * tanh(scale / cap)`.

    What an actnorm and a 1×1 convolution do together, without the shift: a linear map, and so an odd one. Q is the
    Cayley transform of a skew matrix, a rotation, whose inverse is its transpose; the condition number is at most
    `exp(2 * cap)` whatever is learned. The log-determinant is `H * W * sum(log s)`.

    Example:
        >>> import torch
        >>> layer = ScaledRotation(4, generator=torch.Generator().manual_seed(0))
        >>> x = torch.ones(1, 4, 2, 2)
        >>> y, log_det = layer(x)
        >>> torch.allclose(layer.inverse(y)[0], x, atol=1e-6), float(log_det)
        (True, 0.0)
    """

    def __init__(self, channels: int, cap: float = 1.0, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.cap = cap
        self.skew = nn.Parameter(torch.empty(channels, channels))
        self.scale = nn.Parameter(torch.zeros(channels))
        if not self.skew.is_meta:  # far from the identity, so that couplings meet other halves from the start
            nn.init.normal_(self.skew, std=channels**-0.5, generator=generator)

    def _rotation_and_log_scale(self) -> tuple[Tensor, Tensor]:
        skew, one = self.skew - self.skew.T, torch.eye(len(self.skew), device=self.skew.device)
        return torch.linalg.solve(one + skew, one - skew), bounded(self.scale, self.cap)

    def weight(self) -> Tensor:
        """Q diag(s), (C, C), differentiable."""
        rotation, log_scale = self._rotation_and_log_scale()
        return rotation * log_scale.exp()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(n, C, H, W) -> (y, log_det)."""
        log_det = bounded(self.scale, self.cap).sum() * (x.shape[2] * x.shape[3])
        return F.conv2d(x, self.weight()[:, :, None, None]), log_det.expand(len(x))

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """(n, C, H, W) -> (x, log_det)."""
        rotation, log_scale = self._rotation_and_log_scale()
        x = F.conv2d(y, (rotation * (-log_scale).exp()).T[:, :, None, None])
        return x, -(log_scale.sum() * (y.shape[2] * y.shape[3])).expand(len(y))
