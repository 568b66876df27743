"""What a prior's levels do near the origin and far from the data: patterns, whitening, and what cannot be inverted."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from transflow_core.flows.wavelet import haar_split
from transflow_core.images import find_images, load_image
from transflow_core.priors.prior import Prior

__all__ = ["far_pictures", "grain", "grid", "reconstruction_error", "whitening"]

Pixels = NDArray[np.uint8]


def grid(x: Tensor, period: int = 2) -> float:
    """A pattern of `period` (2, 4, 8 …) pixels that is everywhere: (n, C, S, S) in [0, 1] -> in units of 1/255.

    The root mean square, over colours and directions, of the mean of the Haar details of that size over the whole
    image; of images the mean. Of photographs it is their shading from side to side, a little under 1.

    Example:
        >>> checks = torch.tensor([[0.0, 0.1], [0.1, 0.0]]).repeat(1, 1, 8, 8)
        >>> round(grid(checks), 2), grid(checks, 4) < 1e-4
        (14.72, True)
    """
    while period > 2:
        x, period = haar_split(x)[0], period // 2
    return 255 * float(haar_split(x)[1].mean((2, 3)).square().mean(1).sqrt().mean())


def grain(x: Tensor, at: tuple[float, ...] = (0.05, 0.9)) -> list[float]:
    """Detail in patches of 8×8 pixels, (n, C, S, S) in [0, 1] -> quantiles over all patches, in units of 1/255.

    A patch's detail is the root mean square of its finest Haar details. The flattest patches show grain: what is drawn
    where a photograph is smooth. Those of much detail show sharpness.

    Example:
        >>> x = torch.zeros(1, 3, 16, 16)
        >>> x[..., 8:, :] += 0.04 * torch.randn(3, 8, 16, generator=torch.Generator().manual_seed(0))
        >>> [round(value) for value in grain(x)]
        [0, 10]
    """
    patches = torch.nn.functional.avg_pool2d(haar_split(255 * x)[1].square().mean(1, keepdim=True), 4).sqrt()
    return torch.quantile(patches.flatten(), torch.tensor(at)).tolist()


@torch.inference_mode()
def whitening(prior: Prior, images: Pixels, seed: int = 0, batch_size: int = 32) -> dict[str, float]:
    """Each level's root mean square over images, (n, S, S, C), with the noise that training adds: 1 is whitened."""
    generator = torch.Generator().manual_seed(seed)
    squares = torch.zeros(len(prior.levels), dtype=torch.float64)
    for start in range(0, len(images), batch_size):
        v = prior.to_unit(np.array(images[start : start + batch_size]))
        z, _ = prior.flow.forward(prior.pixels.dequantise(v, torch.rand(v.shape, generator=generator).to(v)))
        squares += torch.stack([z[:, level.slice].double().square().mean(1).sum().cpu() for level in prior.levels])
    rms = (squares / len(images)).sqrt().tolist()
    return {level.name: value for level, value in zip(prior.levels, rms, strict=True)}


def far_pictures(side: int, folders: list[Path]) -> Iterator[tuple[str, Pixels]]:
    """Evidence unlike the data, by kind: noise, one colour, checks and stripes, and the pictures of each folder.

    Pixels are (n, side, side, 3); a folder's pictures are their centre squares.
    """
    rng = np.random.default_rng(0)
    yield "noise", rng.integers(0, 256, (16, side, side, 3), dtype=np.uint8)
    yield "grey noise", np.repeat(rng.integers(0, 256, (8, side, side, 1), dtype=np.uint8), 3, 3)
    colours = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    yield "one colour", np.broadcast_to(colours[:, None, None], (5, side, side, 3)).copy()
    y, x = np.mgrid[:side, :side]
    patterns = [(x + y) % 2, x % 2, y % 2, (x // 2 + y // 2) % 2, x // 8 % 2]
    yield "checks and stripes", np.repeat(np.stack(patterns)[..., None].astype(np.uint8) * 255, 3, 3)
    for folder in folders:
        pictures = [load_image(file) for file in find_images(folder)]
        yield folder.name, np.stack([np.asarray(_square(picture, side)) for picture in pictures])


def _square(picture: Image.Image, side: int) -> Image.Image:
    least = min(picture.size)
    left, top = (picture.width - least) // 2, (picture.height - least) // 2
    box = (left, top, left + least, top + least)
    return picture.convert("RGB").resize((side, side), Image.Resampling.LANCZOS, box=box)


def reconstruction_error(prior: Prior, images: Pixels) -> NDArray[np.float64]:
    """Largest error of a pixel of each image, there and back: (n,) in units of 1/255, infinite where it is lost."""
    v = prior.to_unit(images)
    error = (prior.decode(prior.encode(images)) - v).abs().amax((1, 2, 3)).nan_to_num(nan=torch.inf)
    return 255 * error.double().cpu().numpy()
