"""Previews: what a slider shows while it moves, and that evidence knows nothing of it."""

import threading
from types import SimpleNamespace

import pytest

from transflow_core import preview
from transflow_core.adapters import adapt_encoder
from transflow_core.engine import Engine
from transflow_core.flows import CouplingNet
from transflow_core.posterior import Gaussian, standard_normal
from transflow_core.preview import Preview
from transflow_core.prior import Prior


def timed(prior, seconds):
    """Whatever this processor is good at: `seconds` for float32, and 1 for bfloat16."""
    return lambda asked, z: (asked.decode(z, coarse=True), seconds if asked is prior else 1.0)


@pytest.fixture
def in_bfloat16(default_prior, monkeypatch):
    """A processor that is twice as fast in bfloat16."""
    monkeypatch.setattr(preview, "_timed", timed(default_prior, 2.0))


def whole(prior, z):
    return prior.decode(z, coarse=True)


def test_nets_in_bfloat16_change_nothing_that_is_seen(default_prior, in_bfloat16):
    found = Preview(default_prior)
    z = standard_normal(4, default_prior.dim, seed=5)
    shown = found.decode(z)
    measured = found.measured()
    assert measured.bfloat16 and measured.speed_up == 2 and 0 < measured.error <= 2 / 255
    error = (shown - whole(default_prior, z)).abs().max()
    assert 0 < error <= 2 / 255


def test_what_is_too_far_off_stays_in_float32(default_prior, in_bfloat16, monkeypatch):
    monkeypatch.setattr(preview, "_LARGEST_ERROR", 1e-6)
    z = standard_normal(2, default_prior.dim)
    found = Preview(default_prior)
    assert found.decode(z).equal(whole(default_prior, z)) and not found.measured().bfloat16


def test_a_slower_bfloat16_is_not_used(default_prior, monkeypatch):
    monkeypatch.setattr(preview, "_timed", timed(default_prior, 0.5))
    found = Preview(default_prior)
    z = standard_normal(2, default_prior.dim)
    assert found.decode(z).equal(whole(default_prior, z)) and found.measured().speed_up == 0.5


def test_a_browser_that_draws_while_float32_is_timed_does_not_make_bfloat16_faster(default_prior, monkeypatch):
    """It must win every turn: here bfloat16 is slower, and most of float32's turns are disturbed."""
    seconds = iter([9.0, 9.0, 9.0, 1.0, 9.0] * 2)

    def disturbed(asked, z):
        return asked.decode(z, coarse=True), next(seconds) if asked is default_prior else 2.0

    monkeypatch.setattr(preview, "_timed", disturbed)
    found = Preview(default_prior).measured()
    assert not found.bfloat16 and found.speed_up == 0.5


def test_evidence_is_inverted_in_float32_while_a_preview_is_made(default_prior, in_bfloat16):
    """The two run in different threads of the page, on the same weights."""
    engine = Engine(default_prior)
    z = standard_normal(2, default_prior.dim)
    x = default_prior.decode(z)
    before = default_prior.encode(x)
    normal, stop = Gaussian.standard(default_prior.dim), threading.Event()
    engine.preview(normal, 1)

    def drag():
        while not stop.is_set():
            engine.preview(normal, 2)

    thread = threading.Thread(target=drag)
    thread.start()
    try:
        for _ in range(3):
            assert (default_prior.encode(x) - before).abs().max() < 1e-4
    finally:
        stop.set()
        thread.join()
    nets = [net for net in default_prior.flow.modules() if isinstance(net, CouplingNet)]
    assert nets and all(net.compute_dtype is None for net in nets)
    ours = {id(p) for p in default_prior.flow.parameters()}
    assert {id(p) for p in engine._preview.measured().prior.flow.parameters()} == ours  # no second copy in memory


def test_a_researchers_own_model_is_shown_as_it_is():
    halves = SimpleNamespace(encode=lambda x: 4 * x.flatten(1) - 2, decode=lambda z: (z.reshape(-1, 3, 8, 8) + 2) / 4)
    prior = Prior.from_checkpoint(adapt_encoder(halves, (3, 8, 8)), device="cpu")
    found = Preview(prior)
    z = standard_normal(2, prior.dim)
    assert found.decode(z).equal(prior.decode(z)) and found.measured().error is None
