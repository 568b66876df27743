"""A device with little memory, and one that is lost, played by a flow that fails: no GPU is needed."""

import pytest
import torch

from transflow_core.devices import DeviceError, in_halves

from .helpers import make_tiny_prior


class Small:
    """A flow on a device that has room for so many images at once."""

    def __init__(self, flow, room):
        self._flow, self._room, self.batches = flow, room, []

    def __getattr__(self, name):
        return getattr(self._flow, name)

    def _checked(self, rows):
        self.batches.append(len(rows))
        if len(rows) > self._room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    def forward(self, x):
        self._checked(x)
        return self._flow.forward(x)

    def inverse(self, z):
        self._checked(z)
        return self._flow.inverse(z)


def on_a_device_with(prior, room):
    prior.flow = Small(prior.flow, room)
    return prior


@pytest.mark.parametrize("room", [1, 2, 3, 7])
def test_a_batch_that_does_not_fit_is_halved_and_nothing_is_lost(room):
    z = torch.randn(9, make_tiny_prior().dim, generator=torch.Generator().manual_seed(0))
    small, large = on_a_device_with(make_tiny_prior(), room), make_tiny_prior()
    x = small.decode(z)
    assert torch.allclose(x, large.decode(z), atol=1e-5)
    found, expected = small.encode_and_score(x), large.encode_and_score(x)
    assert torch.allclose(found.z, expected.z, atol=1e-3)
    assert torch.allclose(found.log_prob, expected.log_prob, rtol=1e-4)
    assert max(small.flow.batches) == 9  # the whole is tried first


def test_where_not_one_image_fits_it_is_said():
    prior = on_a_device_with(make_tiny_prior(), 0)
    with pytest.raises(DeviceError, match="not enough free memory for a single image"):
        prior.decode(torch.zeros(4, prior.dim))
    assert prior.flow.batches == [4, 2, 1]


def test_a_device_that_is_lost_is_said_and_not_asked_again():
    asked = []

    def lost(rows):
        asked.append(len(rows))
        raise RuntimeError("CUDA error: unspecified launch failure")

    with pytest.raises(DeviceError, match="stopped answering"):
        in_halves(lost, torch.zeros(4))
    assert asked == [4]


def test_any_other_error_is_its_own():
    def wrong(rows):
        raise RuntimeError("The size of tensor a must match")

    with pytest.raises(RuntimeError, match="size of tensor a"):
        in_halves(wrong, torch.zeros(4))
