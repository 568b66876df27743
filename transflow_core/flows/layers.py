"""The layers of a step of Glow: actnorm, invertible 1×1 convolution, coupling, and the net inside a coupling.

Every layer has `forward` (image side to latent side) and `inverse`, both returning `(output, log_det)` with `log_det`
of shape (n,) in nats: the logarithm of |det| of the Jacobian of the direction that was called.
"""

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from .base import KNOWN_ALONE, MixedPrecision, exporting, number


class ActNorm(nn.Module):
    """Per-channel affine map, `y = (x + bias) * exp(log_scale)`; its log-determinant is `H * W * sum(log_scale)`.

    References:
        | Glow: Generative Flow with Invertible 1×1 Convolutions (Kingma and Dhariwal, 2018), section 3.1
        | https://arxiv.org/abs/1807.03039
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self.log_scale = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(n, C, H, W) -> (y, log_det)."""
        return (x + self.bias[:, None, None]) * self.log_scale.exp()[:, None, None], _at_pixels(self.log_scale, x)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """(n, C, H, W) -> (x, log_det)."""
        return y * (-self.log_scale).exp()[:, None, None] - self.bias[:, None, None], -_at_pixels(self.log_scale, y)


@torch.no_grad()
def initialise(flow: nn.Module, *batch: Tensor) -> None:
    """Set every actnorm from one batch of images, (n, C, S, S): what leaves it has mean 0 and variance 1 a channel."""

    def standardise(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        (x,) = inputs
        layer.get_parameter("bias").copy_(-x.mean((0, 2, 3)))
        std = x.std((0, 2, 3), correction=0) + 1e-6  # a constant channel stays finite
        layer.get_parameter("log_scale").copy_(-std.log())

    hooks = [layer.register_forward_pre_hook(standardise) for layer in flow.modules() if isinstance(layer, ActNorm)]
    flow(*batch)
    for hook in hooks:
        hook.remove()


def _at_pixels(log_diag: Tensor, x: Tensor) -> Tensor:
    """The log-determinant of one linear map at every pixel of x: (C,) -> (n,)."""
    return (log_diag.sum() * (x.shape[2] * x.shape[3])).expand(x.shape[0])


class InvertibleConv1x1(nn.Module):
    """Channel mixing `y = W x` with `W = P L (U + diag(sign * exp(log_diag)))`: a learned permutation of channels.

    `P` is a fixed permutation, `L` unit lower triangular, `U` strictly upper triangular (entries outside the
    triangles are stored but never read), so the log-determinant is `H * W * sum(log_diag)`.

    It starts as the identity. The inverse is taken in float64: sixteen float32 inverses of 192 channels in a row lose
    the image.

    References:
        | Glow: Generative Flow with Invertible 1×1 Convolutions (Kingma and Dhariwal, 2018), eq. 10-11
        | https://arxiv.org/abs/1807.03039
    """

    P: Tensor
    sign: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        # Not `torch.eye`: of a flow of shapes alone, on the meta device, it would import torch's compiler, 2 s.
        self.register_buffer("P", torch.zeros(channels, channels).fill_diagonal_(1))
        self.register_buffer("sign", torch.ones(channels))
        self.L = nn.Parameter(torch.zeros(channels, channels))
        self.U = nn.Parameter(torch.zeros(channels, channels))
        self.log_diag = nn.Parameter(torch.zeros(channels))

    def weight(self) -> Tensor:
        """W, (C, C), differentiable."""
        lower = self.L.tril(-1) + torch.eye(len(self.L), device=self.L.device)
        upper = self.U.triu(1) + torch.diag(self.sign * self.log_diag.exp())
        return self.P @ lower @ upper

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(n, C, H, W) -> (y, log_det)."""
        return F.conv2d(x, self.weight()[:, :, None, None]), _at_pixels(self.log_diag, x)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """(n, C, H, W) -> (x, log_det)."""
        weight = self.weight()
        inverse = torch.linalg.inv(weight.cpu().double()).to(weight)  # on the CPU: Apple's GPUs have no float64
        return F.conv2d(y, inverse[:, :, None, None]), -_at_pixels(self.log_diag, y)


def factors_of(weight: Tensor) -> dict[str, Tensor]:
    """The state of the `InvertibleConv1x1` that has a float64 matrix, (C, C), in float32.

    Raises ValueError if the matrix is singular or not finite.
    """
    if not weight.isfinite().all():
        raise ValueError("this 1×1 convolution holds numbers that are not finite")
    permutation, lower, upper = torch.linalg.lu(weight)
    diag = upper.diagonal()
    factors = {"P": permutation, "sign": diag.sign(), "L": lower.tril(-1), "U": upper.triu(1)}
    found = {name: factor.float() for name, factor in (factors | {"log_diag": diag.abs().log()}).items()}
    if found["log_diag"].isinf().any():
        raise ValueError("this 1×1 convolution is singular: it cannot be inverted")
    return found


class Conv3x3(nn.Module):
    """3×3 convolution, zero-padded, that can be given sight of the border. It starts at zero, and is not invertible.

    With `edge`, one more input channel is 1 on the padded rim and 0 inside, and `weight` is (out, in + 1, 3, 3), as in
    OpenAI's Glow.
    """

    def __init__(self, in_channels: int, out_channels: int, edge: bool = False) -> None:
        super().__init__()
        self.edge = edge
        self.weight = nn.Parameter(torch.zeros(out_channels, in_channels + edge, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """(n, in, H, W) -> (n, out, H, W)."""
        if not self.edge:
            return F.conv2d(x, self.weight, self.bias, padding=1)
        rim = F.pad(x.new_zeros(1, 1, *x.shape[2:]), (1, 1, 1, 1), value=1.0)
        # What the rim adds is the same for every image: one small convolution, not a channel in each.
        return F.conv2d(x, self.weight[:, :-1], self.bias, padding=1) + F.conv2d(rim, self.weight[:, -1:])


class CouplingNet(MixedPrecision):
    """The function that a coupling reads its shift and scale from.

    `net(a) = conv_out(relu(conv_mid(relu(conv_in(a) + position)))) * exp(3 * log_gain)`, with 3×3, 1×1 and 3×3
    convolutions of `width` hidden channels. `position` is a learned (width, *size) map, spread over larger pictures, or
    absent: aligned faces have their eyes at the same pixel in every image, which a convolution cannot know. As its last
    convolution starts at zero, a coupling starts as the identity.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int,
        size: tuple[int, int] | None = None,
        edge: bool = False,
    ) -> None:
        super().__init__()
        self.conv_in = Conv3x3(in_channels, width, edge)
        self.conv_mid = nn.Conv2d(width, width, 1)
        self.conv_out = Conv3x3(width, out_channels, edge)
        self.log_gain = nn.Parameter(torch.zeros(out_channels))
        self.position = nn.Parameter(torch.zeros(width, *size)) if size else None

    @torch.no_grad()
    def channels_last(self) -> None:
        """Lay the tensors out with the channels innermost: this takes half the time on a CPU."""
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # torch's stub lacks it
        if self.position is not None:
            self.position.data = innermost_channels(self.position.data)

    def position_over(self, size: tuple[int, int]) -> Tensor | None:
        """The position map, (width, H, W), spread over a picture of this size."""
        return None if self.position is None else spread(self.position, size)

    def forward(self, a: Tensor, context: Tensor | None = None) -> Tensor:
        """(n, in_channels, H, W), some of them the context's if there is one -> (n, out_channels, H, W)."""
        if context is not None:
            a = torch.cat([a, context], 1)
        with self.autocast(a):
            h = self.conv_in(a.to(self.compute_dtype or a.dtype, memory_format=torch.channels_last))
            position = self.position_over((h.shape[2], h.shape[3]))
            if position is not None:
                h += position.to(h.dtype)  # a sum of two types would convert the larger one
            h = self.conv_mid(h.relu_()).relu_()  # in place: the net's own intermediates, which no gradient needs
            return self.conv_out(h) * (3 * self.log_gain).exp()[:, None, None]


def spread(position: Tensor, size: tuple[int, int]) -> Tensor:
    """A learned map, (C, h, w), as it is or spread over a picture of another size: (C, *size)."""
    if position.shape[1:] == size:
        return position
    return innermost_channels(F.interpolate(position[None].float(), size=size, mode="bilinear")[0])


def innermost_channels(x: Tensor) -> Tensor:
    """The same (C, H, W), laid out as a channels-last batch is, for sums with one."""
    return x.permute(1, 2, 0).contiguous().permute(2, 0, 1)


def tanh_log_scale(r: Tensor, cap: float) -> Tensor:
    """`log s = cap * tanh(r / cap)`, about r where r is small: neither direction can overflow."""
    return cap * torch.tanh(r / cap)


@dataclass(frozen=True, config=KNOWN_ALONE)
class CouplingConfig:
    """What a coupling does with its net.

    `scale` is how the net's r becomes log s, see `log_scale`. The order "shift-first" is `(b + t) * s`, and
    "scale-first", OpenAI's, `b * s + t`. `transforms` is the half that changes; the net reads the other.
    """

    kind: Literal["affine", "additive"] = "affine"
    scale: Literal["tanh", "sigmoid"] = "tanh"
    cap: Annotated[float, number(1e-3, 1e3)] = 2.0
    offset: Annotated[float, number(1e-3, 1e3)] = 2.0
    plus: Annotated[float, number(0, 1e3)] = 0.0
    order: Literal["shift-first", "scale-first"] = "shift-first"
    transforms: Literal["second", "first"] = "second"

    def log_scale(self, r: Tensor) -> Tensor:
        """`tanh_log_scale(r, cap)`; or log s of `s = sigmoid(r + offset) + plus`: with `plus` 0 that is OpenAI's."""
        if self.scale == "tanh":
            return tanh_log_scale(r, self.cap)
        if self.plus == 0:
            # Stays finite where the sigmoid itself underflows; `F.logsigmoid` would copy r into another layout.
            return -F.softplus(-(r + self.offset))
        return torch.log(torch.sigmoid(r + self.offset) + self.plus)


class Coupling(nn.Module):
    """Affine or additive coupling.

    Affine: `a, b = halves(x)`; `t, r = halves(net(a))`; `log s = how.log_scale(r)`; `y = [a, (b + t) * s]`.
    Additive coupling has no r: `y = [a, b + net(a)]`. The log-determinant is `sum(log s)`. With a context, the net
    reads it beside a; it is the condition of the density, and nothing flows back to it. What is `in_place` writes over
    its input.

    References:
        | Density estimation using Real NVP (Dinh et al., 2017)
        | https://arxiv.org/abs/1605.08803
    """

    def __init__(self, net: nn.Module, how: CouplingConfig) -> None:
        super().__init__()
        self.net, self.how, self.in_place = net, how, False

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(n, C, H, W) -> (y, log_det)."""
        a, b, t, log_s = self._read(x, context)
        y = b * log_s.exp() + t if self.how.order == "scale-first" else (b + t) * log_s.exp()
        return self._joined(x, a, b, y), log_s.sum((1, 2, 3))

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(n, C, H, W) -> (x, log_det)."""
        a, b, t, log_s = self._read(y, context)
        x = (b - t) * (-log_s).exp() if self.how.order == "scale-first" else b * (-log_s).exp() - t
        return self._joined(y, a, b, x), -log_s.sum((1, 2, 3))

    def _read(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What the net reads, what changes, t and log s; log s of an additive coupling is 0, (n, 1, 1, 1)."""
        first, second = x.chunk(2, 1)
        a, b = (second, first) if self.how.transforms == "first" else (first, second)
        h = self.net(a, context).float()
        if self.how.kind == "additive":
            return a, b, h, h.new_zeros(h.shape[0], 1, 1, 1)
        t, r = h.chunk(2, 1)
        return a, b, t, self.how.log_scale(r)

    def _joined(self, x: Tensor, a: Tensor, b: Tensor, changed: Tensor) -> Tensor:
        """x with its half b changed; the inverse of halves."""
        if self.in_place and not exporting():  # a graph has no such thing
            b.copy_(changed)
            return x
        return torch.cat([changed, a] if self.how.transforms == "first" else [a, changed], 1)
