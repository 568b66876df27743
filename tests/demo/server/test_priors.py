"""The priors of a page: loaded once, beside one another, and not for ever."""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import pytest

import demo.server.priors
from demo.examples import example_sets
from demo.server.files import AGE
from demo.server.priors import Engines
from transflow_core.engine import Cancelled, Engine

from ...helpers import TIMEOUT, make_tiny_prior


class Loader:
    """`load_prior` as a test wants it: counted, and held up where a test says so."""

    def __init__(self):
        self.loaded, self.accesses, self.gates, self.reached = [], [], {}, {}

    def __call__(self, source, device="auto", access=None):
        self.accesses.append(access)
        name = getattr(source, "name", source)
        if name in self.gates:
            self.reached[name].set()
            assert self.gates[name].wait(TIMEOUT)
        self.loaded.append(name)
        return make_tiny_prior()

    @contextlib.contextmanager
    def held(self, engines, *names):
        """Within, these priors are being loaded: the futures of their engines."""
        for name in names:
            self.gates[name], self.reached[name] = threading.Event(), threading.Event()
        with ThreadPoolExecutor(len(names)) as pool:
            try:
                loading = [pool.submit(engines.get, name) for name in names]
                assert all(self.reached[name].wait(TIMEOUT) for name in names)
                yield loading
            finally:
                for name in names:
                    self.gates[name].set()
            assert all(one.result(TIMEOUT) for one in loading)


@pytest.fixture
def loader(monkeypatch):
    loader = Loader()
    monkeypatch.setattr(demo.server.priors, "load_prior", loader)
    return loader


A, B, C, D = (f"{name}.safetensors" for name in "abcd")


@pytest.fixture
def folder(tmp_path):
    for name in (A, B, C, D):
        (tmp_path / name).touch()
    return tmp_path


def test_a_prior_that_is_being_loaded_blocks_only_who_asks_for_it(folder, loader):
    engines = Engines(folder, device="cpu")
    ready = engines.get(A)
    with ThreadPoolExecutor(1) as pool, loader.held(engines, B) as (slow,):
        again = pool.submit(engines.get, B)
        assert engines.get(A) is ready and engines.get(C) is not ready
        assert not slow.done() and not again.done()
        loader.gates[B].set()
        assert slow.result(TIMEOUT) is again.result(TIMEOUT)
    assert loader.loaded.count(B) == 1


def test_the_least_recently_used_goes_first(folder, loader, monkeypatch):
    engines = Engines(folder, device="cpu")
    monkeypatch.setitem(demo.server.priors._MOST, False, 2)
    a = engines.get(A)
    engines.get(B)
    assert engines.get(A) is a
    engines.get(C)
    assert engines.get(A) is a
    engines.get(B)
    assert loader.loaded == [A, B, C, B]


def test_a_prior_that_is_being_loaded_is_not_put_out(folder, loader, monkeypatch):
    engines = Engines(folder, device="cpu")
    monkeypatch.setitem(demo.server.priors._MOST, False, 1)
    with loader.held(engines, A) as (slow,):
        for name in (B, C, D):
            engines.get(name)
    # The thread that loaded it is done with everything now: also when others were loaded meanwhile, it stays.
    assert engines.get(A) is slow.result(TIMEOUT) and loader.loaded.count(A) == 1


def test_what_cannot_be_loaded_is_told_to_each_who_asks_and_tried_again(folder, loader, monkeypatch):
    engines = Engines(folder, device="cpu")

    def fails(source, **_):
        raise ValueError("it is no prior")

    with monkeypatch.context() as broken:
        broken.setattr(demo.server.priors, "load_prior", fails)
        for _ in range(2):
            with pytest.raises(ValueError, match="no prior"):
                engines.get(A)
    assert engines.get(A).prior.dim == make_tiny_prior().dim


@pytest.mark.parametrize("name", ["/etc/passwd", "../a.safetensors", "e.safetensors", "", "c" * 5000])
def test_only_what_is_offered_is_loaded(folder, loader, name):
    with pytest.raises(ValueError, match="not a model of this server"):
        Engines(folder, device="cpu").get(name)
    assert loader.loaded == []


HUB = "hf://owner/faces/prior.safetensors"


def test_addresses_are_off_unless_the_host_says_otherwise(loader, monkeypatch):
    monkeypatch.delenv("TRANSFLOW_HUB", raising=False)
    for hub in (None, "off", "me/*, a/faces"):
        with pytest.raises(ValueError, match="not a model of this server"):
            Engines(device="cpu", hub=hub).get(HUB)
    assert loader.loaded == [] and "hf://" not in Engines(device="cpu").about
    for hub in ("on", "owner/*", "a/b, owner/faces"):
        Engines(device="cpu", hub=hub).get(HUB)
    monkeypatch.setenv("TRANSFLOW_HUB", "owner/faces")
    Engines(device="cpu").get(HUB)
    assert loader.loaded == [HUB] * 4
    with pytest.raises(ValueError, match=r"hf://owner/repo/file of owner/faces\.$"):
        Engines(device="cpu").get("hf://owner/faces2/prior.safetensors")


def test_a_pattern_that_no_address_has_is_refused(monkeypatch):
    monkeypatch.setenv("TRANSFLOW_HUB", "me/*, yes")
    with pytest.raises(SystemExit, match=r"TRANSFLOW_HUB has 'yes'\. Give off, on, or patterns such as me/\*\."):
        Engines(device="cpu")


def test_addresses_get_nothing_of_the_owners_and_put_out_nothing_that_is_offered(folder, loader):
    engines = Engines(folder, device="cpu", hub="on")
    mine = [engines.get(name) for name in (A, B)]
    for index in (0, 1, 2, 2):
        engines.get(f"hf://owner/faces/{index}.safetensors")
    assert [engines.get(name) for name in (A, B)] == mine
    assert [access.token for access in loader.accesses] == [None, None, False, False, False]


def test_few_addresses_are_fetched_at_once(loader, monkeypatch):
    engines = Engines(device="cpu", hub="on")
    monkeypatch.setitem(demo.server.priors._MOST, True, 9)
    with (
        loader.held(engines, *(f"hf://slow/hub/{index}.safetensors" for index in range(2))),
        pytest.raises(ValueError, match="Try again in a few minutes"),
    ):
        engines.get(HUB)
    engines.get(HUB)


def test_the_sets_of_the_row_are_read_again_before_they_are_forgotten(folder, loader, monkeypatch):
    waited = mock.Mock(side_effect=[None, Cancelled])
    monkeypatch.setattr(demo.server.priors.time, "sleep", waited)
    with mock.patch.object(Engine, "read") as read, mock.patch.object(Engine, "looks") as looks:
        Engines(folder).keep_examples(A)
    looks.return_value.own.assert_called()
    assert waited.call_args.args[0] < AGE and read.call_count == 2 * sum(one.shown for one in example_sets().values())
