"""A batch in parts, one on each core; a device with little memory, or lost: no GPU is needed."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from transflow_core.runtime import devices
from transflow_core.runtime.devices import DeviceError, on_cores
from transflow_core.runtime.worker import Cancelled, ComputeWorker
from transflow_core.training.measure import measure_typicality

from ..helpers import TIMEOUT, apart, make_own_prior, make_tiny_prior


def with_threads(count, function):
    """What a thread that has so many of torch's is given."""

    def call():
        before = torch.get_num_threads()
        try:
            torch.set_num_threads(count)
            return function()
        finally:
            torch.set_num_threads(before)

    return apart(call)


def seen(rows):
    """Of one part: its rows, torch's threads, whether gradients are off, and by whom it is computed."""
    return rows.flatten().tolist(), torch.get_num_threads(), torch.is_inference_mode_enabled(), threading.get_ident()


@pytest.mark.parametrize(
    ("threads", "rows", "busy", "sizes"),
    [(3, 7, False, [3, 2, 2]), (1, 7, True, [7]), (3, 2, False, [2]), (3, 2, True, [1, 1])],
)
def test_a_batch_has_a_part_for_each_thread_where_that_helps(threads, rows, busy, sizes, monkeypatch):
    """Few images are computed torch's way where the machine does nothing else, and else by one core an image."""
    monkeypatch.setattr(devices, "others_run", lambda _: busy)
    batch = torch.arange(float(rows)).reshape(rows, 1)
    me, parts = with_threads(threads, lambda: (threading.get_ident(), on_cores(seen, batch)))
    assert [len(found) for found, *_ in parts] == sizes
    assert [row for found, *_ in parts for row in found] == list(range(rows))
    together = len(sizes) == 1
    for _, cores, inference, who in parts:
        assert inference and cores == (threads if together else 1) and (who == me) == together


def test_the_parts_are_computed_at_the_same_time_and_an_error_of_one_is_the_batchs():
    both = threading.Barrier(2)

    def meet(rows):
        both.wait(TIMEOUT)
        if rows.max() > 1:
            raise ValueError("the second")
        return True

    assert with_threads(2, lambda: on_cores(meet, torch.zeros(2, 1))) == [True, True]
    with pytest.raises(ValueError, match="the second"):
        with_threads(2, lambda: on_cores(meet, torch.tensor([[1.0], [2.0]])))


def test_a_batch_is_cancelled_as_the_process_ends(monkeypatch):
    pool = ThreadPoolExecutor(2)
    pool.shutdown()
    monkeypatch.setattr(devices, "_pool", lambda count: pool)
    with pytest.raises(Cancelled):
        with_threads(2, lambda: on_cores(seen, torch.zeros(2, 1)))


def test_threads_of_others_keep_their_number_and_a_compute_thread_has_its_own_ready():
    def numbers():
        on_cores(seen, torch.zeros(8, 1))
        return torch.get_num_threads(), apart(torch.get_num_threads)

    def of_a_worker():
        torch.set_num_threads(5)
        compute = ComputeWorker()
        parts = compute.run(on_cores, seen, torch.zeros(5, 1))
        each = compute.run(torch.get_num_threads), torch.get_num_threads(), apart(torch.get_num_threads)
        return [threads for _, threads, *_ in parts], each

    assert with_threads(4, numbers) == (4, 4)
    assert apart(of_a_worker) == ([1] * 5, (5, 1, 1)), "all cores are the worker's, and its first batch changes nothing"


def test_a_prior_gives_the_same_on_any_number_of_cores(celeba64):
    prior = celeba64
    z = 0.7 * torch.randn(3, prior.dim, generator=torch.Generator().manual_seed(0))
    (x, back), (x2, back2) = (
        with_threads(count, lambda: (x := prior.decode(z), prior.encode_and_score(x))) for count in (1, 2)
    )
    torch.testing.assert_close(x2, x, atol=1e-5, rtol=0)
    torch.testing.assert_close(back2.z, back.z, atol=1e-3, rtol=0)
    torch.testing.assert_close(back2.log_prob, back.log_prob, atol=0.1, rtol=1e-5)
    bits, bits2 = (with_threads(count, lambda: prior.bits_per_dim(x)) for count in (1, 2))
    torch.testing.assert_close(bits2, bits, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("fault", "fits", "error", "match", "sizes"),
    [
        (RuntimeError("CUDA error: unspecified launch failure"), 0, DeviceError, "stopped answering", [3]),
        (RuntimeError("The size of tensor a must match"), 0, RuntimeError, "size of tensor a", [3]),
        (RuntimeError("MPS backend out of memory (MPS allocated: 5.02 GB)"), 1, None, "", [3, 1, 2, 1, 1]),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), 1, None, "", [3, 1, 2, 1, 1]),
        (RuntimeError("can't allocate memory"), 0, DeviceError, "not enough free memory for a single image", [3, 1]),
    ],
)
def test_too_little_memory_alone_halves_a_priors_batch_and_nothing_is_lost(fault, fits, error, match, sizes):
    prior, tried = make_own_prior(), []
    decode, z = prior.flow.inverse, torch.randn(3, prior.dim, generator=torch.Generator().manual_seed(0))

    def fails(z):
        tried.append(len(z))
        if len(z) > fits:
            raise fault
        return decode(z)

    expected, prior.flow.inverse = prior.decode(z), fails
    with pytest.raises(error, match=match) if error else nullcontext():
        assert prior.decode(z).equal(expected)
    assert tried == sizes


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


def test_densities_and_typicality_are_summed_up_where_there_is_float64(monkeypatch):
    prior, brought = make_tiny_prior(), torch.Tensor.cpu
    prior.flow.to("meta")

    def back(tensor):
        if not tensor.is_meta:
            return brought(tensor)
        square = tensor.ndim == 2 and tensor.shape[0] == tensor.shape[1]  # some are inverted
        return torch.eye(len(tensor), dtype=tensor.dtype) if square else torch.zeros(tensor.shape, dtype=tensor.dtype)

    monkeypatch.setattr(torch.Tensor, "cpu", back)
    shape = (3, prior.channels, prior.image_size, prior.image_size)
    with Apple():
        with pytest.raises(TypeError, match="MPS"):
            torch.zeros(1, device="meta").double()
        images = torch.rand(shape)
        assert prior.log_prob(images).dtype == prior.bits_per_dim(images).dtype == torch.float64
        assert prior.device.type == "meta" and prior.decode(torch.zeros(2, prior.dim)).is_meta
        assert measure_typicality(prior, np.zeros((3, *shape[2:], shape[1]), np.uint8))
