"""Histograms of oriented gradients: what the classifier may compare in the place of latents."""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, unfold

_SIDE, _CELL, _STEP, _BINS = 64, 16, 8, 9


def hog(images: Tensor) -> Tensor:
    """Where each image has edges, and which way they run (Dalal, Triggs 2005): (n, C, S, S) in [0, 1] -> (n, 1296).

    Cells of 16 × 16 pixels of 64 × 64 overlap by half, and each has nine directions. Blocks of 2 × 2 cells have norm 1,
    so that the mean square is about 1. Colours do not count. The sizes were chosen on digits that Table 1 never tests.
    """
    grey = 255 * images.detach().cpu().mean(1, keepdim=True)
    if grey.shape[-1] != _SIDE:
        grey = interpolate(grey, (_SIDE, _SIDE), mode="bilinear", antialias=True)
    dy, dx = torch.gradient(grey, dim=(2, 3))
    size, turn = torch.hypot(dx, dy), torch.atan2(dy, dx) / (2 * torch.pi) * _BINS
    low = turn.floor()
    maps = torch.zeros(len(grey), _BINS, _SIDE, _SIDE)
    for direction, weight in ((low, 1 - turn + low), (low + 1, turn - low)):
        maps.scatter_add_(1, direction.long() % _BINS, weight * size)
    blocks = unfold(avg_pool2d(maps, _CELL, _STEP), 2)
    # Below a contrast of one grey level an edge is noise.
    return (blocks / (blocks.norm(dim=1, keepdim=True) + 1) * blocks.shape[1] ** 0.5).flatten(1)
