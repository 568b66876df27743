"""The thread in which a server computes."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from demo import Engines
from transflow_core.adapters import adapt_encoder
from transflow_core.compute import ComputeThread
from transflow_core.engine import Engine
from transflow_core.posterior import Gaussian
from transflow_core.prior import Prior


def apart(function, *args):
    """Called in a new thread."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(function, *args).result()


@pytest.fixture(scope="module")
def compute():
    return ComputeThread()


def test_it_has_all_cores_and_everybody_else_has_one():
    def threads_of_each():
        torch.set_num_threads(3)
        compute = ComputeThread()
        return compute.run(torch.get_num_threads), torch.get_num_threads(), apart(torch.get_num_threads)

    assert apart(threads_of_each) == (3, 1, 1)


def test_errors_reach_who_asked_and_a_call_within_a_call_does_not_wait_for_itself(compute):
    with pytest.raises(ZeroDivisionError):
        compute.run(lambda: 1 / 0)
    assert compute.run(compute.run, lambda a, b: a - b, 5, b=3) == 2


def test_an_engine_runs_its_flow_there_batch_by_batch(compute):
    ran, here = [], threading.current_thread()

    def noted(function):
        def wrapped(x):
            ran.append((len(x), threading.current_thread()))
            return function(x)

        return wrapped

    halves = SimpleNamespace(
        encode=noted(lambda x: 4 * x.flatten(1) - 2), decode=noted(lambda z: (z.reshape(-1, 3, 8, 8) + 2) / 4)
    )
    prior = Prior.from_checkpoint(adapt_encoder(halves, (3, 8, 8)), device="cpu")
    ran.clear()  # adapting tries the model
    engine, plain = (Engine(prior, batch_size=2, compute=thread) for thread in (compute, None))
    frames = [Image.new("RGB", (8, 8), (shade, 90, 30)) for shade in (10, 120, 250)]
    normal = Gaussian.standard(prior.dim)
    results = []
    for asked, thread in ((engine, compute.run(threading.current_thread)), (plain, here)):
        latents = torch.stack([latent.z for latent in asked.encode(frames)])
        results.append((latents, asked.sample(normal, 5), asked.preview(normal, 2)))
        assert {found for _, found in ran} == {thread} and max(size for size, _ in ran) == 2
        ran.clear()
    assert all(a.equal(b) for a, b in zip(*results, strict=True))


def test_all_priors_of_all_pages_compute_in_one_thread():
    pages = Engines(device="cpu"), Engines(device="cpu")
    first, second = (
        engines.get(name).run(threading.current_thread)
        for engines, name in zip(pages, ("celeba64", "celeba128"), strict=True)
    )
    assert first is second is not threading.current_thread()
