"""The checkerboard penalty: what latents of small norm decode to is kept, and freed of checkerboard artifacts.

Posterior means, blends and cool samples are such latents. Maximum likelihood never looks there, and a multi-scale Glow
draws a pattern of two pixels' period over whatever it shows. A penalty on the pattern alone makes such latents grey and
flat, since nothing else holds them; hence the distance to pictures that the flow had before, without their pattern.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..flows.base import Shape
from ..flows.wavelet import TrainableFlow, haar_merge, haar_split, unrolled

_WARMEST = 0.8
_LEVELS = 2
_FOURTH_DIFFERENCE = torch.tensor([1.0, -4.0, 6.0, -4.0, 1.0]) / 16
_WINDOW = 9


def without_checkerboard(x: Tensor, scales: int = 1) -> Tensor:
    """Images without the patterns of two pixels' period that keep their phase over a neighbourhood: (n, C, S, S).

    A pattern's local amplitude is what is left of its fourth difference, demodulated, in a mean over windows of nine
    pixels, taken twice: hair and edges change their phase within it and stay. With `scales` 2 the same is done to the
    2×2 means, for patterns of four pixels, and so on.
    """
    if scales > 1:
        low, detail = haar_split(x)
        x = haar_merge(without_checkerboard(low, scales - 1), detail)
    n, channels, side, _ = x.shape
    found = torch.zeros_like(x)
    flat = x.reshape(n * channels, 1, side, side)
    taps, place = _FOURTH_DIFFERENCE.to(x), torch.arange(side).to(x)
    for down, across in ((False, True), (True, False), (True, True)):
        # 1 and -1, alternating down, across, or both as a checkerboard does.
        pattern, sharp = 1 - 2 * ((down * place[:, None] + across * place) % 2), flat
        # Mirrored about the outermost pixel, an alternating pattern goes on.
        if across:
            sharp = F.conv2d(F.pad(sharp, (2, 2, 0, 0), mode="reflect"), taps.view(1, 1, 1, 5))
        if down:
            sharp = F.conv2d(F.pad(sharp, (0, 0, 2, 2), mode="reflect"), taps.view(1, 1, 5, 1))
        amplitude = sharp * pattern
        for _ in range(2):
            near = F.pad(amplitude, (_WINDOW // 2,) * 4, mode="reflect" if side > _WINDOW else "replicate")
            amplitude = F.avg_pool2d(near, _WINDOW, 1)
        found += (amplitude * pattern).reshape(x.shape)
    return x - found


def low_norm_latents(shapes: Sequence[Shape], step: int, *, size: int, seed: int) -> Tensor:
    """The latents of one step, (size, D): they follow from the seed and the step alone.

    The first is the origin. Of the others every second has one temperature, uniform in [0, 0.8], and every second a
    temperature for each level, uniform in [0, 1], as latents of evidence and posteriors have.
    """
    random = np.random.default_rng((seed, step, 2))
    lengths = [math.prod(shape) for shape in shapes]
    z = random.standard_normal((size, sum(lengths)), np.float32)
    each = random.random((size, len(lengths)), np.float32)
    each[0::2] = _WARMEST * each[0::2, :1]
    each[0] = 0
    return torch.from_numpy(z * np.repeat(each, lengths, axis=1))


def checkerboard_penalty(flow: TrainableFlow, before: TrainableFlow, z: Tensor) -> Tensor:
    """Mean squared distance of what `flow` decodes latents (n, D) to, from what `before` did, less its artifacts.

    Of a Glow these are patterns of two and of four pixels; of each level that it was grown by, twice as large ones too.
    """
    with torch.no_grad():
        wanted = without_checkerboard(before.inverse(z)[0], _LEVELS + len(unrolled(before)) - 1)
    return (flow.inverse(z)[0] - wanted).square().mean()


def penalised_parameters(flow: TrainableFlow) -> Iterator[nn.Parameter]:
    """What the penalty may change: the nets of the details' flows, and of a Glow's two finest levels.

    What is decoded depends too sharply on the linear maps between them: with those, or the coarser levels, the penalty
    grows from the first step on at any learning rate that moves it.
    """
    *wavelets, glow = unrolled(flow)
    for module in [*(one.details for one in wavelets), *glow.levels[:_LEVELS]]:
        for name, parameter in module.named_parameters():
            if not {"actnorm", "conv1x1"} & set(name.split(".")):
                yield parameter
