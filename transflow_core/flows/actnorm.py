"""Activation normalisation: one learned shift and scale a channel."""

import torch
from torch import Tensor, nn

__all__ = ["ActNorm"]


class ActNorm(nn.Module):
    """Per-channel affine map, `y = (x + bias) * exp(log_scale)`.

    The log-determinant is `H * W * sum(log_scale)`. Reference: Glow (Kingma and Dhariwal, 2018), section 3.1.

    Initialisation from data is an explicit call, not a flag that the first batch flips: the state is in the two
    parameters alone, so a saved and reloaded layer can never initialise itself again.

    Example:
        >>> import torch
        >>> layer = ActNorm(3)
        >>> x = 5 + 2 * torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(0))
        >>> layer.initialise(x)
        >>> y, log_det = layer(x)
        >>> bool(y.mean().abs() < 1e-5), log_det.shape
        (True, torch.Size([8]))
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self.log_scale = nn.Parameter(torch.zeros(channels))

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Set the parameters so that this batch, (n, C, H, W), leaves with mean 0 and variance 1 in each channel."""
        mean = x.mean((0, 2, 3))
        std = x.std((0, 2, 3), correction=0)
        self.bias.copy_(-mean)
        self.log_scale.copy_(-torch.log(std + 1e-6))  # a constant channel stays finite

    def _log_det(self, x: Tensor) -> Tensor:
        return (self.log_scale.sum() * (x.shape[2] * x.shape[3])).expand(x.shape[0])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(n, C, H, W) -> (y, log_det)."""
        return (x + self.bias[:, None, None]) * self.log_scale.exp()[:, None, None], self._log_det(x)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """(n, C, H, W) -> (x, log_det)."""
        return y * (-self.log_scale).exp()[:, None, None] - self.bias[:, None, None], -self._log_det(y)
