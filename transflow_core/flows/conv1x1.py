"""Invertible 1×1 convolution: a learned, generalised permutation of the channels."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["InvertibleConv1x1"]


class InvertibleConv1x1(nn.Module):
    """Channel mixing `y = W x` with `W = P L (U + diag(sign * exp(log_diag)))`.

    `P` is a fixed permutation, `L` unit lower triangular, `U` strictly upper triangular (entries outside the
    triangles are stored but never read), so the log-determinant is `H * W * sum(log_diag)`. Reference: Glow (2018),
    section 3.2, eq. 10-11.

    The inverse is taken in float64: with 192 channels a float32 inverse loses two digits, and sixteen of them in a
    row lose the image. `inference_form` keeps it.

    Example:
        >>> import torch
        >>> layer = InvertibleConv1x1(4, generator=torch.Generator().manual_seed(0))
        >>> x = torch.ones(1, 4, 2, 2)
        >>> y, log_det = layer(x)
        >>> torch.allclose(layer.inverse(y)[0], x, atol=1e-6)
        True
    """

    P: Tensor
    sign: Tensor

    def __init__(self, channels: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        if torch.get_default_device().type == "meta":
            # Shapes only: a checkpoint's tensors take their place. Arithmetic on meta tensors would import torch's
            # compiler, two seconds that every start of the program would pay.
            square, row = torch.empty(channels, channels), torch.empty(channels)
            factors = {"P": square, "sign": row, "L": square, "U": square, "log_diag": row}
        else:
            rotation = torch.linalg.qr(torch.randn(channels, channels, generator=generator, dtype=torch.float64))[0]
            factors = _factors(rotation)
        self.register_buffer("P", factors["P"])
        self.register_buffer("sign", factors["sign"])
        self.L = nn.Parameter(factors["L"])
        self.U = nn.Parameter(factors["U"])
        self.log_diag = nn.Parameter(factors["log_diag"])

    @classmethod
    def from_matrix(cls, weight: Tensor) -> "InvertibleConv1x1":
        """The layer with `W = weight`, (C, C). Raises ValueError if the matrix is singular or not finite."""
        if weight.ndim != 2 or weight.shape[0] != weight.shape[1] or not torch.isfinite(weight).all():
            raise ValueError("an invertible 1×1 convolution needs a square matrix of finite numbers")
        factors = _factors(weight.double())
        if factors["log_diag"].isinf().any():
            raise ValueError("this 1×1 convolution is singular: it cannot be inverted")
        with torch.device("meta"):  # no random rotation only to throw it away
            layer = cls(weight.shape[0])
        layer.load_state_dict(factors, assign=True)
        return layer

    def weight(self) -> Tensor:
        """W, (C, C), differentiable."""
        lower = self.L.tril(-1) + torch.eye(len(self.L), device=self.L.device)
        upper = self.U.triu(1) + torch.diag(self.sign * self.log_diag.exp())
        return self.P @ lower @ upper

    def _log_det(self, x: Tensor) -> Tensor:
        return (self.log_diag.sum() * (x.shape[2] * x.shape[3])).expand(x.shape[0])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(n, C, H, W) -> (y, log_det)."""
        return F.conv2d(x, self.weight()[:, :, None, None]), self._log_det(x)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """(n, C, H, W) -> (x, log_det)."""
        weight = self.weight()
        inverse = torch.linalg.inv(weight.cpu().double()).to(weight)  # on the CPU: Apple's GPUs have no float64
        return F.conv2d(y, inverse[:, :, None, None]), -self._log_det(y)


def _factors(weight: Tensor) -> dict[str, Tensor]:
    """P, L, U, sign and log_diag of a float64 matrix, in float32."""
    permutation, lower, upper = torch.linalg.lu(weight)
    diag = upper.diagonal()
    factors = {
        "P": permutation,
        "sign": diag.sign(),
        "L": lower.tril(-1),
        "U": upper.triu(1),
        "log_diag": diag.abs().log(),
    }
    return {name: factor.float() for name, factor in factors.items()}
