"""The 3×3 convolution that the nets inside the flow share. It is not invertible and need not be."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Conv3x3"]


class Conv3x3(nn.Module):
    """3×3 convolution, zero-padded, that can be given sight of the border. Starts at zero.

    With `edge`, one more input channel is appended that is 1 on the padded rim and 0 inside, and `weight` is
    (out, in + 1, 3, 3). OpenAI's Glow pads this way; padding every channel with the constant 1 (rosinality's
    ZeroConv2d) is the same thing with the channels' weights summed into that one.

    Example:
        >>> import torch
        >>> conv = Conv3x3(2, 4, edge=True)
        >>> conv(torch.zeros(1, 2, 8, 8)).shape, conv.weight.shape
        (torch.Size([1, 4, 8, 8]), torch.Size([4, 3, 3, 3]))
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
