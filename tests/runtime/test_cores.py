"""A batch in parts, one on each core."""

import threading

import pytest
import torch

from transflow_core.priors.catalogue import load_prior
from transflow_core.priors.prior import Prior
from transflow_core.runtime import devices
from transflow_core.runtime.devices import on_cores, others_run
from transflow_core.runtime.worker import ComputeWorker

from ..helpers import apart, make_tiny_prior


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


def test_a_batch_has_a_part_for_each_thread_in_order_computed_by_one_of_torchs():
    parts = with_threads(3, lambda: on_cores(seen, torch.arange(7.0).reshape(7, 1)))
    assert [rows for rows, *_ in parts] == [[0, 1, 2], [3, 4], [5, 6]]
    assert all(threads == 1 and inference for _, threads, inference, _ in parts)


@pytest.mark.parametrize(("threads", "rows"), [(1, 7), (3, 2)])
def test_what_cannot_be_shared_is_computed_where_it_is(threads, rows, monkeypatch):
    monkeypatch.setattr(devices, "others_run", lambda _: False)

    def here():
        return threading.get_ident(), on_cores(seen, torch.zeros(rows, 1))

    me, parts = with_threads(threads, here)
    assert parts == [([0.0] * rows, threads, True, me)]


def test_few_images_are_computed_by_a_core_each_where_others_run(monkeypatch):
    monkeypatch.setattr(devices, "others_run", lambda _: True)
    parts = with_threads(3, lambda: on_cores(seen, torch.zeros(2, 1)))
    assert [(rows, threads, inference) for rows, threads, inference, _ in parts] == [([0.0], 1, True)] * 2


@pytest.mark.parametrize(
    ("told", "spinning", "busy"),
    [
        ("0.5 0.4 0.3 1/79 4711", 0, False),
        ("0.5 0.4 0.3 3/79 4711", 0, False),
        ("0.5 0.4 0.3 4/79 4711", 0, True),
        ("0.5 0.4 0.3 4/79 4711", 1, False),
        ("0.5 0.4 0.3 6/79 4711", 2, True),
        ("", 0, False),
        ("0.5 0.4", 0, False),
        (None, 0, False),
    ],
)
def test_others_run_where_more_threads_would_run_than_there_are_cores(told, spinning, busy, tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "_LOADAVG", tmp_path / "loadavg")
    monkeypatch.setattr(devices, "_TASKS", tmp_path / "task")
    monkeypatch.setattr(devices.os, "cpu_count", lambda: 4)
    if told is not None:
        (tmp_path / "loadavg").write_text(told)
    # Numbers that no thread has: torch's, of which some run and one sleeps; and this thread, which is Python's.
    states = {threading.get_native_id(): "R", 5_000_000: "S"} | {6_000_000 + index: "R" for index in range(spinning)}
    for number, state in states.items():
        (tmp_path / "task" / str(number)).mkdir(parents=True)
        (tmp_path / "task" / str(number) / "stat").write_text(f"{number} (a) b) {state} 1 2 3")
    assert others_run(2) is busy


def test_the_parts_are_computed_at_the_same_time():
    both = threading.Barrier(2)
    assert with_threads(2, lambda: on_cores(lambda rows: both.wait(60) is not None, torch.zeros(2, 1))) == [True, True]


def test_threads_of_others_keep_their_number():
    def numbers():
        on_cores(seen, torch.zeros(8, 1))
        return torch.get_num_threads(), apart(torch.get_num_threads)

    assert with_threads(4, numbers) == (4, 4)


def test_a_compute_thread_has_them_ready_so_that_its_first_batch_gives_nobody_else_more():
    def numbers():
        torch.set_num_threads(5)
        compute = ComputeWorker()
        parts = compute.run(on_cores, seen, torch.zeros(5, 1))
        return [threads for _, threads, *_ in parts], apart(torch.get_num_threads)

    assert apart(numbers) == ([1] * 5, 1)


def test_an_error_of_one_part_is_the_batchs():
    def fails(rows):
        if rows.max() > 1:
            raise ValueError("the second")

    with pytest.raises(ValueError, match="the second"):
        with_threads(2, lambda: on_cores(fails, torch.tensor([[1.0], [2.0]])))


@pytest.mark.parametrize("name", ["celeba64", "celeba128"])
def test_a_prior_gives_the_same_on_any_number_of_cores(name):
    prior = load_prior(name, device="cpu")
    z = 0.7 * torch.randn(3, prior.dim, generator=torch.Generator().manual_seed(0))
    (x, back), (x2, back2) = (
        with_threads(count, lambda: (x := prior.decode(z), prior.encode_and_score(x))) for count in (1, 2)
    )
    torch.testing.assert_close(x2, x, atol=1e-5, rtol=0)
    torch.testing.assert_close(back2.z, back.z, atol=1e-3, rtol=0)
    torch.testing.assert_close(back2.log_prob, back.log_prob, atol=0.1, rtol=1e-5)
    bits, bits2 = (with_threads(count, lambda: prior.bits_per_dim(x)) for count in (1, 2))
    torch.testing.assert_close(bits2, bits, atol=1e-4, rtol=0)


def test_a_part_for_which_memory_is_short_is_halved():
    prior, sizes = make_tiny_prior(), []
    inverse = prior._form.inverse

    def short(z):
        sizes.append(len(z))
        if len(z) > 1:
            raise MemoryError
        return inverse(z)

    z = torch.zeros(4, prior.dim)
    whole = prior.decode(z)
    prior._form.inverse = short
    assert torch.allclose(with_threads(2, lambda: prior.decode(z)), whole, atol=1e-5)
    assert sorted(sizes) == [1, 1, 1, 1, 2, 2]


def test_a_flow_of_a_stranger_has_the_batch_as_it_is():
    class Strange:
        image_size, channels, latent_shapes = 2, 3, [(3, 2, 2)]

        def forward(self, x):
            sizes.append(len(x))
            return x.flatten(1), torch.zeros(len(x))

        def inverse(self, z):
            sizes.append(len(z))
            return z.reshape(-1, 3, 2, 2), torch.zeros(len(z))

    sizes = []
    tiny = make_tiny_prior()
    prior = Prior(Strange(), tiny.pixels, "strange", "0" * 64)
    with_threads(2, lambda: prior.encode(prior.decode(torch.zeros(4, 12)).clamp(0, 1)))
    assert sizes == [4, 4]
