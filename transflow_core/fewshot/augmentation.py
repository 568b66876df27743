"""Small shifts and rotations of evidence: what an image may do without becoming another class."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from ..faces.models import opencv


def jitter(
    images: Sequence[Image.Image],
    copies: int,
    *,
    seed: int = 0,
    shift: float = 0.08,
    degrees: float = 20.0,
    scale: float = 0.15,
    shear: float = 0.25,
) -> list[list[Image.Image]]:
    """Each image and `copies` distorted copies of it: a list of 1 + `copies` images for each, the image itself first.

    A copy is turned, enlarged, sheared and shifted by independent uniform amounts; borders are replicated. Image i has
    the same copies in any list of the same seed, and its first copies are the same for any number of them. The default
    distortion is that of Table 1, where it was chosen on digits that were not tested.

    Args:
        images: RGB or grey.
        shift: largest shift in x and in y, as a fraction of the side (2.2 pixels of MNIST's 28).
        degrees: largest turn either way.
        scale: largest relative change of size.
        shear: largest horizontal shear, as a slope.
    """
    cv2, sets = opencv(), []
    how = {"flags": cv2.INTER_CUBIC, "borderMode": cv2.BORDER_REPLICATE}
    for index, image in enumerate(images):
        rng = np.random.default_rng((seed, index))
        matrices = [_affine(rng, image.size, shift, degrees, scale, shear) for _ in range(copies)]
        warped = (cv2.warpAffine(np.asarray(image), matrix, image.size, **how) for matrix in matrices)
        sets.append([image, *map(Image.fromarray, warped)])
    return sets


def _affine(
    rng: np.random.Generator, size: tuple[int, int], shift: float, degrees: float, scale: float, shear: float
) -> np.ndarray:
    """(2, 3): what stands at a pixel p comes to stand at the matrix times (p, 1)."""
    angle = np.deg2rad(rng.uniform(-degrees, degrees))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = (1 + rng.uniform(-scale, scale)) * turn @ np.array([[1, rng.uniform(-shear, shear)], [0, 1]])
    sides = np.array(size, float)
    centre = (sides - 1) / 2
    return np.column_stack([linear, centre + rng.uniform(-shift, shift, 2) * sides - linear @ centre])
