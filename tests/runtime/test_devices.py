"""A device with little memory, and one that is lost, played by a flow that fails: no GPU is needed."""

import ast
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from transflow_core.runtime.devices import DeviceError, in_halves
from transflow_core.training.measure import measure_typicality

from ..helpers import ROOT, make_tiny_prior


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


_SHORT_OF_MEMORY = """
import resource, torch
from transflow_core.runtime.devices import DeviceError, in_halves

row, batches = 2**25, []  # 128 MiB of float32

def takes(rows):
    batches.append(len(rows))
    return torch.ones(len(rows), row).sum().item()

in_halves(takes, torch.zeros(1, 1))
held = int(next(line for line in open("/proc/self/status") if line.startswith("VmData")).split()[1]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (held + 3 * 4 * row, resource.RLIM_INFINITY))
print(in_halves(takes, torch.zeros(9, 1)), batches)
resource.setrlimit(resource.RLIMIT_DATA, (held + row, resource.RLIM_INFINITY))
try:
    in_halves(takes, torch.zeros(2, 1))
except DeviceError as error:
    print(error)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a limit of memory that Linux keeps")
def test_a_system_that_gives_no_more_memory_has_smaller_batches_and_then_words():
    """A real limit, and torch's real allocator."""
    done = subprocess.run([sys.executable, "-c", _SHORT_OF_MEMORY], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    halves, words = done.stdout.splitlines()
    sums, batches = ast.literal_eval(halves.replace("] [", "], ["))
    assert sum(sums) == 9 * 2**25 and batches[:3] == [1, 9, 4] and len(sums) > 3
    assert words.startswith("this machine has not enough free memory for a single image")


def test_any_other_error_is_its_own():
    def wrong(rows):
        raise RuntimeError("The size of tensor a must match")

    with pytest.raises(RuntimeError, match="size of tensor a"):
        in_halves(wrong, torch.zeros(4))


_ASKS = {getattr(torch.ops.aten, name).default for name in ("_local_scalar_dense", "item", "is_nonzero")}


class Apple(TorchDispatchMode):
    """A device without float64, as Apple's GPUs are: torch's "meta", whose tensors have no numbers, so that they come
    back as zeros, or as the identity."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function in _ASKS and args[0].is_meta:
            return True  # all that the flow asks is whether pixels are in their range
        result = function(*args, **(kwargs or {}))
        for tensor in tree_flatten(result)[0]:
            if isinstance(tensor, torch.Tensor) and tensor.is_meta and tensor.dtype == torch.float64:
                raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support it")
        return result


@pytest.fixture
def on_apple(monkeypatch):
    """The tiny prior there."""
    prior, brought = make_tiny_prior(), torch.Tensor.cpu
    prior.flow.to("meta")

    def back(tensor):
        if not tensor.is_meta:
            return brought(tensor)
        square = tensor.ndim == 2 and tensor.shape[0] == tensor.shape[1]  # some are inverted
        return torch.eye(len(tensor), dtype=tensor.dtype) if square else torch.zeros(tensor.shape, dtype=tensor.dtype)

    monkeypatch.setattr(torch.Tensor, "cpu", back)
    with Apple():
        yield prior


def test_densities_are_summed_up_where_there_is_float64(on_apple):
    assert on_apple.device.type == "meta"
    with pytest.raises(TypeError, match="MPS"):
        torch.zeros(1, device="meta").double()
    images = torch.rand(3, on_apple.channels, on_apple.image_size, on_apple.image_size)
    assert on_apple.log_prob(images).dtype == on_apple.bits_per_dim(images).dtype == torch.float64
    assert on_apple.decode(torch.zeros(2, on_apple.dim)).is_meta


def test_typicality_is_measured_without_float64_on_the_device(on_apple):
    held_out = np.zeros((3, on_apple.image_size, on_apple.image_size, on_apple.channels), np.uint8)
    assert measure_typicality(on_apple, held_out)


def test_apples_own_words_for_too_little_memory_halve_the_batch_as_well():
    def small(rows):
        if len(rows) > 1:
            raise RuntimeError("MPS backend out of memory (MPS allocated: 5.02 GB, max allowed: 5.4 GB)")
        return len(rows)

    assert in_halves(small, torch.zeros(3)) == [1, 1, 1]
