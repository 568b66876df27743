"""From float images to bytes and PIL images."""

import numpy as np
import pytest
import torch
from PIL import Image

from transflow_core.images import to_pil, to_uint8


def test_every_byte_survives_the_round_trip():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 7, 3), dtype=np.uint8)
    floats = pixels.transpose(0, 3, 1, 2).astype(np.float32) / 255
    assert (to_uint8(floats) == pixels).all()
    assert all((np.asarray(image) == pixel).all() for image, pixel in zip(to_pil(floats), pixels, strict=True))


def test_rounding_clipping_and_what_is_not_finite():
    values = [-1.0, 0.0, 0.49 / 255, 0.51 / 255, 1.0, 2.0, np.nan, np.inf, -np.inf]
    x = np.broadcast_to(np.array(values), (3, 1, len(values)))
    assert to_uint8(x)[0, 0, :, 1].tolist() == [0, 0, 0, 1, 255, 255, 128, 128, 128]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_torch_tensors(dtype):
    x = torch.linspace(0, 1, 48).reshape(3, 4, 4).to(dtype).requires_grad_()
    assert to_uint8(x).shape == (1, 4, 4, 3)
    assert (to_uint8(x) == to_uint8(x.detach().double().numpy())).all()
    (image,) = to_pil(x)
    assert isinstance(image, Image.Image)
    assert (image.mode, image.size) == ("RGB", (4, 4))


def test_no_images_are_no_images():
    assert to_pil(np.zeros((0, 3, 4, 4))) == []


@pytest.mark.parametrize(
    "x",
    [
        np.zeros((4, 4, 3)),
        np.zeros((4, 4)),
        np.zeros((2, 1, 4, 4)),
        np.zeros((3, 4, 4), np.uint8),
        torch.zeros(3, 4, 4).int(),
    ],
)
def test_other_arrays_are_refused(x):
    with pytest.raises(ValueError, match="images are"):
        to_uint8(x)
