"""From float images, as the prior decodes them, to bytes and PIL images."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

__all__ = ["to_pil", "to_uint8"]


def to_uint8(x: ArrayLike) -> NDArray[np.uint8]:
    """Round float images to bytes.

    Values are clipped to [0, 1] and rounded to the nearest byte. Non-finite values become mid-grey (128), a colour that
    neither black nor white pictures hide, so that a sheet with a broken sample can still be looked at.

    Args:
        x: floats in [0, 1], (n, 3, H, W) or (3, H, W); anything that `numpy.asarray` takes, and torch tensors on any
            device, of any float type, with or without gradient.

    Returns:
        (n, H, W, 3) bytes; n = 1 for a single image.

    Raises:
        ValueError: the shape is another, or the values are not floats.

    Example:
        >>> to_uint8(np.full((3, 1, 1), 0.5))
        array([[[[128, 128, 128]]]], dtype=uint8)
    """
    tensor: Any = x
    if hasattr(x, "detach"):  # a torch tensor, told by its methods: importing torch would take seconds
        tensor = tensor.detach()
        tensor = (tensor.float() if tensor.is_floating_point() else tensor).cpu().numpy()
    values = np.asarray(tensor)
    if not np.issubdtype(values.dtype, np.floating):
        raise ValueError(f"images are floats in [0, 1], not {values.dtype}")
    if values.ndim == 3:
        values = values[None]
    if values.ndim != 4 or values.shape[1] != 3:
        raise ValueError(f"images are (n, 3, H, W) or (3, H, W), not {np.shape(tensor)}")
    values = np.where(np.isfinite(values), values, 128 / 255)
    return np.rint(values.clip(0, 1) * 255).astype(np.uint8).transpose(0, 2, 3, 1).copy()


def to_pil(x: ArrayLike) -> list[Image.Image]:
    """Float images in [0, 1], (n, 3, H, W) or (3, H, W), as a list of n RGB images; see `to_uint8`.

    Example:
        >>> [image.size for image in to_pil(np.zeros((2, 3, 4, 5)))]
        [(5, 4), (5, 4)]
    """
    return [Image.fromarray(image) for image in to_uint8(x)]
