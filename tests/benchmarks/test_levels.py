"""Measures of a prior's levels: patterns of a known size are told, and a way that does not lead back is."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.levels import far_pictures, grain, grid, reconstruction_error, whitening
from transflow_core.flows.pixels import PixelConvention
from transflow_core.priors.prior import Prior

SIDE = 16


class Scaled:
    """z = scale · x: whitened by the scale alone, and with a wrong way back when `broken`."""

    image_size, channels, latent_shapes = SIDE, 3, ((3, SIDE, SIDE),)

    def __init__(self, scale, broken):
        self.scale, self.broken, self.config = scale, broken, self

    def forward(self, x):
        return self.scale * x.flatten(1), torch.full((len(x),), x[0].numel() * math.log(self.scale))

    def inverse(self, z):
        return z.reshape(-1, 3, SIDE, SIDE) / self.scale + self.broken, torch.zeros(len(z))

    def parameters(self):
        return iter([torch.zeros(1)])

    __call__ = forward


def prior(scale=1.0, broken=0.0):
    return Prior(Scaled(scale, broken), PixelConvention(bits=5), "scaled", "0")


def test_grain_is_told_from_detail():
    x = torch.full((2, 3, 64, 64), 0.5)
    x += 0.002 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    x[..., :32] += 0.05 * torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(1))
    flat, sharp = grain(x)
    assert flat == pytest.approx(0.002 * 255, rel=0.2) and sharp == pytest.approx(0.05 * 255, rel=0.2)


@pytest.mark.parametrize("period", [2, 4, 8])
def test_a_grid_is_measured_at_its_own_period(period):
    stripes = 0.5 + 0.01 * (torch.arange(32) // (period // 2) % 2 * 2 - 1)
    picture = stripes.expand(2, 3, 32, 32)
    # One of the three directions has details of 2 · 0.01.
    assert grid(picture, period) == pytest.approx(255 * 0.02 / math.sqrt(3), rel=1e-4)
    for other in {2, 4, 8} - {period}:
        assert grid(picture, other) < 1e-3


def test_shading_is_hardly_a_grid_and_noise_averages_out():
    ramp = torch.linspace(0, 1, 64).expand(1, 3, 64, 64)
    assert 1 < grid(ramp) < 3
    noise = 0.02 * torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert grid(noise) < 0.5


@pytest.mark.parametrize(("scale", "expected", "how"), [(32, 1, {}), (16, 0.5, {"batch_size": 3})])
def test_whitening_is_the_scale_of_dequantised_images(scale, expected, how):
    images = np.full((8, SIDE, SIDE, 3), 128, np.uint8)  # the bin [0, 1/32) of x: rms 1 / (32 √3)
    (rms,) = whitening(prior(scale * math.sqrt(3)), images, **how).values()
    assert rms == pytest.approx(expected, abs=0.02)


def test_an_error_there_and_back_is_told_and_a_loss_is_infinite(tmp_path):
    Image.new("RGB", (40, 30), (10, 200, 30)).save(tmp_path / "picture.png")
    found = dict(far_pictures(SIDE, [tmp_path]))
    assert set(found) == {"noise", "grey noise", "one colour", "checks and stripes", tmp_path.name}
    for images in found.values():
        assert images.dtype == np.uint8 and images.shape[1:] == (SIDE, SIDE, 3)
        assert (reconstruction_error(prior(), images) < 0.01).all()
    assert found[tmp_path.name][0, 0, 0].tolist() == [10, 200, 30]
    grey = found["grey noise"]
    assert reconstruction_error(prior(broken=0.01), grey).max() == pytest.approx(2.55, abs=0.1)
    assert np.isinf(reconstruction_error(prior(broken=math.nan), grey)).all()
