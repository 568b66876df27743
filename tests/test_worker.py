"""Where a server computes and reads pictures: in turn, and in threads of their own."""

import contextvars
import itertools
import os
import subprocess
import sys
import threading
import time
from types import SimpleNamespace
from unittest.mock import patch

import pytest
import torch
from PIL import Image

from transflow_core import worker as worker_module
from transflow_core.adapters import adapt_encoder
from transflow_core.engine import Engine
from transflow_core.images import ImageError, load_image, to_pil
from transflow_core.pictures import is_quick, read_picture
from transflow_core.posterior import Gaussian
from transflow_core.prior import Prior
from transflow_core.worker import Cancelled, ComputeThread, FairThread, PictureLane, owned_by, owned_steps

from .helpers import ROOT, apart


@pytest.fixture(scope="module")
def compute():
    return ComputeThread()


def test_it_has_all_cores_and_everybody_else_has_one():
    def threads_of_each():
        torch.set_num_threads(3)
        compute = ComputeThread()
        return compute.run(torch.get_num_threads), torch.get_num_threads(), apart(torch.get_num_threads)

    assert apart(threads_of_each) == (3, 1, 1)


@pytest.fixture
def equal_jobs(monkeypatch):
    """Each job takes as long as the next."""
    seconds = itertools.count()
    monkeypatch.setattr(worker_module, "time", SimpleNamespace(perf_counter=lambda: next(seconds)))


class Held:
    """A fair thread that is busy until it is let go: what is asked meanwhile waits, and is noted when it is done."""

    def __init__(self):
        self.thread, self.done, self._go_on = FairThread(), [], threading.Event()
        busy = threading.Event()
        self.thread.submit(lambda: busy.set() or self._go_on.wait())
        busy.wait()

    def ask(self, owner, name, **how):
        with owned_by(owner):
            return self.thread.submit(self.done.append, name, **how)

    def finished(self):
        """What was done, in order."""
        self._go_on.set()
        with owned_by("the test"):
            while any(some._waiting for some in self.thread._turns):
                self.thread.run(lambda: None)
            self.thread.run(lambda: None)  # the last one was begun before this
        return self.done


def test_owners_take_turns_and_each_keeps_its_own_order(equal_jobs):
    held = Held()
    for index in range(4):
        held.ask("many", f"m{index}")
    for owner in ("few", "one"):
        held.ask(owner, f"{owner} 0")
    held.ask("few", "few 1")
    assert held.finished() == ["m0", "few 0", "one 0", "m1", "few 1", "m2", "m3"]


def test_who_comes_late_waits_for_the_job_that_runs_alone(equal_jobs):
    """A hundred batches of one visitor delay another by one: the first of these asks for the light one's work."""
    held = Held()
    with owned_by("heavy"):
        held.thread.submit(lambda: held.done.append("h0") or held.ask("light", "l"))
    for index in range(1, 100):
        held.ask("heavy", f"h{index}")
    assert held.finished()[:4] == ["h0", "l", "h1", "h2"]


def test_long_jobs_do_not_outweigh_short_ones(monkeypatch):
    """Photographs take seconds, and small pictures a tenth: who has these is served as long, not as often."""
    held, clock = Held(), [0.0]
    monkeypatch.setattr(worker_module, "time", SimpleNamespace(perf_counter=lambda: clock[0]))

    def work(name, seconds):
        held.done.append(name)
        clock[0] += seconds

    for owner, seconds in (("long", 4.0), ("short", 1.0)):
        with owned_by(owner):
            for _ in range(8):
                held.thread.submit(work, owner, seconds)
    done = held.finished()
    assert done[:11] == ["long", *["short"] * 4, "long", *["short"] * 4, "long"] and len(done) == 16


def test_what_is_aside_makes_way_for_all_others_whoever_asks(equal_jobs):
    held = Held()
    for index in range(3):
        held.ask("one", f"priority {index}", priority=1)
    held.ask("two", "priority of two", priority=1)
    held.ask("three", "perhaps for nobody", priority=2)
    with owned_by("one"):
        held.thread.submit(lambda: held.done.append("first") or held.ask("three", "late"))
    held.ask("two", "second")
    assert held.finished() == [
        *("first", "second", "late", "priority 0", "priority of two", "priority 1", "priority 2"),
        "perhaps for nobody",
    ]


def test_what_is_aside_and_stopped_does_not_wait_for_a_turn(equal_jobs):
    """Each slider that was let go leaves one, with a thread of the server that waits for it."""
    held, stop, seen = Held(), threading.Event(), []
    asides = [held.ask("one", f"priority {index}", priority=1, cancel=stop) for index in range(3)]
    kept = held.ask("one", "kept", priority=1)
    stop.set()
    held.ask("two", "first")
    with owned_by("two"):
        held.thread.submit(lambda: seen.extend(future.done() for future in (*asides, kept)))
    assert held.finished() == ["first", "kept"] and seen == [True, True, True, False]
    for future in asides:
        with pytest.raises(Cancelled):
            future.result()


def test_what_was_done_aside_is_not_held_against_who_asked(equal_jobs):
    held = Held()
    for index in range(5):
        held.ask("one", f"priority {index}", priority=1)
    with owned_by("three"):
        held.thread.submit(
            lambda: [held.ask(owner, f"{owner} {index}") for index in range(3) for owner in ("two", "one")],
            priority=1,
        )
    turns = ["two 0", "one 0", "two 1", "one 1", "two 2", "one 2"]
    assert [name for name in held.finished() if "priority" not in name] == turns


def test_who_was_away_is_owed_nothing(equal_jobs):
    """Else a page that was quiet for an hour would have the thread for as long."""
    held = Held()
    held.ask("quiet", "q0")
    for index in range(20):
        held.ask("busy", f"b{index}")
    with owned_by("busy"):
        held.thread.submit(lambda: [held.ask("quiet", f"q{index}") for index in (1, 2, 3)])
    for index in range(20, 23):
        held.ask("busy", f"b{index}")
    assert held.finished()[21:] == ["q1", "b20", "q2", "b21", "q3", "b22"]
    assert len(held.thread._turns[0].served) <= 3


def test_what_nobody_waits_for_any_more_is_dropped_and_takes_no_turn(equal_jobs):
    held, stop, kept = Held(), threading.Event(), threading.Event()
    stopped = [held.ask("a", f"stopped {index}", cancel=stop) for index in range(3)]
    wanted, given_up = held.ask("a", "wanted", cancel=kept), held.ask("a", "given up")
    other = held.ask("b", "other")
    assert given_up.cancel()
    stop.set()
    assert held.finished() == ["wanted", "other"]
    for future in stopped:
        with pytest.raises(Cancelled):
            future.result()
    assert wanted.done() and other.done()


def test_without_an_owner_work_belongs_to_the_thread_that_asks(equal_jobs):
    held = Held()
    for name in ("a", "b"):
        apart(lambda name=name: [held.thread.submit(held.done.append, f"{name}{index}") for index in range(2)])
    done = held.finished()
    assert sorted(done) == ["a0", "a1", "b0", "b1"]
    # Threads that are over give their number to the next one: then both were one owner.
    assert done in (["a0", "b0", "a1", "b1"], ["a0", "a1", "b0", "b1"])


def test_each_step_of_a_generator_is_owned_though_it_runs_in_a_context_of_its_own(equal_jobs):
    """So does Gradio run the steps of a handler."""
    held, closed = Held(), []

    def steps():
        try:
            for index in range(3):
                held.thread.submit(held.done.append, f"mine {index}")
                yield index
        finally:
            closed.append(True)

    owned = owned_steps("me", steps())
    held.ask("other", "theirs 0")
    for index in range(2):
        assert contextvars.Context().run(next, owned) == index
    held.ask("me", "mine too")
    held.ask("other", "theirs 1")
    owned.close()
    assert closed and held.finished() == ["theirs 0", "mine 0", "theirs 1", "mine 1", "mine too"]


def _interrupted():
    raise KeyboardInterrupt


def test_errors_reach_who_asked_and_a_call_within_a_call_does_not_wait_for_itself(compute):
    with pytest.raises(ZeroDivisionError):
        compute.run(lambda: 1 / 0)
    with pytest.raises(KeyboardInterrupt):
        compute.run(_interrupted)
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
    from demo import Engines

    pages = Engines(device="cpu"), Engines(device="cpu")
    first, second = (
        engines.get(name).call(threading.current_thread)
        for engines, name in zip(pages, ("celeba64", "celeba128"), strict=True)
    )
    assert first is second is not threading.current_thread()


@pytest.fixture(scope="module")
def lane():
    return PictureLane()


@pytest.mark.parametrize("content", ["photograph", "digit", b"no picture"])
def test_the_lane_reads_what_this_process_would(lane, celeba64, content, tmp_path):
    if content == "photograph":
        content = tmp_path / "a.png"
        face = to_pil(celeba64.decode(torch.zeros(1, celeba64.dim)))[0]
        canvas = Image.new("RGB", (200, 160), "grey")
        canvas.paste(face.resize((128, 128)), (40, 20))
        canvas.save(content)
    elif content == "digit":
        content = Image.new("L", (28, 28))
    found = lane.submit(content, name="a", size=64).result()
    expected = read_picture(content, name="a", size=64)
    assert (found.name, found.problem) == (expected.name, expected.problem)
    for ours, theirs in zip([*found.faces, found.whole], [*expected.faces, expected.whole], strict=True):
        assert (ours and ours.to_dict()) == (theirs and theirs.to_dict())
        assert (ours and ours.image.tobytes()) == (theirs and theirs.image.tobytes())


def test_a_mask_or_photograph_is_decoded_there_too(lane, tiny_prior, tmp_path):
    Image.new("RGB", (900, 400), "red").save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    engine = Engine(tiny_prior, pictures=lane)
    with patch("transflow_core.compute.load_image", side_effect=AssertionError):
        assert engine.picture(tmp_path / "a.png").tobytes() == load_image(tmp_path / "a.png").tobytes()
        with pytest.raises(ImageError, match=r"^b\.png: this is not an image"):
            engine.picture(tmp_path / "b.png")


def test_a_decoder_that_dies_takes_one_picture_along(lane, tmp_path):
    class Deadly:
        """Unpickled there, as a crafted file would be decoded."""

        def __reduce__(self):
            return os._exit, (1,)

    found = lane.submit(Deadly(), name="evil.heic", size=64).result()
    assert found.name == "evil.heic" and "decoder" in found.problem and not found.faces
    assert lane.submit(Image.new("RGB", (8, 8)), name="b", size=64).result().faces


def test_a_picture_that_takes_too_long_is_given_up(monkeypatch):
    class Endless:
        def __reduce__(self):
            return time.sleep, (1e6,)

    monkeypatch.setattr(worker_module, "_SECONDS", 0.01)
    assert "decoder" in PictureLane().submit(Endless(), name="a", size=64).result().problem


def test_what_was_begun_is_given_to_who_asks_for_the_same(lane, tmp_path):
    file = tmp_path / "a.png"
    Image.new("RGB", (64, 64), "grey").save(file)
    lane.begin([file], size=64, whole="always")
    (begun,) = lane._begun.values()
    begun.result()
    file.unlink()
    assert lane.submit(file, name="a.png", size=32, whole="always").result().problem  # other words: it is read now
    assert lane.submit(file, name="a.png", size=64, whole="always") is begun and begun.result().faces
    assert lane.submit(file, name="a.png", size=64, whole="always").result().problem


def test_a_small_picture_does_not_wait_for_a_large_one_nor_for_its_owners_own(lane):
    """The first is looked at and goes to the slow reader, where it stays for as long as it takes."""
    held = threading.Event()
    lane._slow.submit(held.wait)
    try:
        with owned_by("heavy"):
            large = [lane.submit(Image.new("RGB", (900, 400)), name="large", size=64) for _ in range(3)]
        for owner, how in (("light", {}), ("light", {"whole": "always"}), ("heavy", {})):
            with owned_by(owner):
                assert lane.submit(Image.new("RGB", (64, 64)), name="small", size=64, **how).result().faces
        assert not any(picture.done() for picture in large)
        assert large[2].cancel()
    finally:
        held.set()
    assert [picture.result().name for picture in large[:2]] == ["large"] * 2


@pytest.mark.parametrize(
    ("size", "whole", "quick"),
    [
        ((128, 128), "auto", True),  # may be in the frame already: one look
        ((300, 300), "auto", False),  # is searched from all sides
        ((100, 60), "auto", False),
        ((64, 64), "never", False),
        ((500, 400), "always", True),
        ((5000, 4000), "always", False),
    ],
)
def test_what_is_quick_is_known_by_the_header(size, whole, quick, tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", size).save(path)
    for content in (path, path.read_bytes(), Image.new("RGB", size)):
        assert is_quick(content, size=64, whole=whole) == quick


def test_a_large_file_is_not_even_opened_to_see_whether_it_is_quick(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(bytes(2**20 + 1))
    assert not is_quick(path, size=64) and is_quick(b"no picture", size=64)


def test_the_lanes_process_ends_with_this_one():
    code = "from transflow_core.worker import PictureLane; PictureLane(); print('over')"
    # The lane's process has this one's stderr: it is read to its end when both are over.
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout == "over\n" and not ended.stderr
