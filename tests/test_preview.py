"""Previews: what a slider shows while it moves, and that evidence knows nothing of it."""

import threading
from types import SimpleNamespace

import pytest

from transflow_core import preview
from transflow_core.adapters import adapt_encoder
from transflow_core.engine import Engine
from transflow_core.posterior import Gaussian, standard_normal
from transflow_core.preview import Preview
from transflow_core.prior import Prior


@pytest.fixture
def in_bfloat16(monkeypatch):
    """A processor with tiles of bfloat16."""
    monkeypatch.setattr(preview, "has_tiles", lambda: True)


def whole(prior, z):
    return prior.decode(z, coarse=True)


def test_nets_in_bfloat16_change_nothing_that_is_seen(default_prior, in_bfloat16):
    found = Preview(default_prior)
    z = standard_normal(4, default_prior.dim, seed=5)
    error = (found.decode(z)[0] - whole(default_prior, z)).abs().max()
    assert found.fast is not default_prior and 0 < error <= 2 / 255


def test_what_is_too_far_off_stays_in_float32(default_prior, in_bfloat16, monkeypatch):
    monkeypatch.setattr(preview, "_LARGEST_ERROR", 1e-6)
    z = standard_normal(2, default_prior.dim)
    found = Preview(default_prior)
    assert found.decode(z)[0].equal(whole(default_prior, z)) and found.fast is default_prior


def test_a_processor_without_tiles_stays_in_float32(default_prior, monkeypatch):
    monkeypatch.setattr(preview, "has_tiles", lambda: False)
    z = standard_normal(2, default_prior.dim)
    found = Preview(default_prior)
    assert found.decode(z)[0].equal(whole(default_prior, z)) and found.fast is default_prior


def test_it_is_found_out_once(default_prior, monkeypatch):
    asked = []
    monkeypatch.setattr(preview, "has_tiles", lambda: asked.append(True) or False)
    found = Preview(default_prior)
    for _ in range(2):
        found.decode(standard_normal(1, default_prior.dim))
    assert asked == [True]


def test_a_torch_that_cannot_tell_has_no_tiles(monkeypatch):
    assert isinstance(preview.has_tiles(), bool)
    monkeypatch.delattr("torch.cpu.get_capabilities", raising=False)
    assert preview.has_tiles() is False


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
    assert engine._preview.fast.flow is default_prior.flow  # no second copy in memory


def test_a_researchers_own_model_is_shown_as_it_is(in_bfloat16):
    halves = SimpleNamespace(encode=lambda x: 4 * x.flatten(1) - 2, decode=lambda z: (z.reshape(-1, 3, 8, 8) + 2) / 4)
    prior = Prior.from_checkpoint(adapt_encoder(halves, (3, 8, 8)), device="cpu")
    found = Preview(prior)
    z = standard_normal(2, prior.dim)
    assert found.decode(z)[0].equal(prior.decode(z)) and found.fast is prior
