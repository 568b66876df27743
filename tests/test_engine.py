"""The engine's intake: files come in, and what there is of them is seen as it grows."""

import itertools
import threading
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from transflow_core.engine import Cancelled, Engine
from transflow_core.intake import Intake
from transflow_core.pictures import read_picture
from transflow_core.posterior import per_level
from transflow_core.worker import ComputeThread, FairThread, PictureLane

from .helpers import METHODS, by_posterior, make_tiny_prior
from .test_evidence import count_inversions, squares


@pytest.fixture
def engine(tiny_prior):
    return Engine(tiny_prior)


@pytest.fixture(scope="module")
def lanes():
    return {"compute": ComputeThread(), "pictures": PictureLane()}


@pytest.fixture
def files(tmp_path):
    """Twenty pictures on disk."""
    paths = [tmp_path / f"{index:02d}.png" for index in range(20)]
    for path, image in zip(paths, squares(20), strict=True):
        image.save(path)
    return paths


@pytest.fixture
def saved(engine, tmp_path):
    path = tmp_path / "mine.safetensors"
    facts = {"prior": engine.prior.name, "fingerprint": engine.prior.fingerprint}
    engine.intake(squares(3)).posterior(0.7).save(path, metadata=facts)
    return path


def test_it_grows_from_nothing_by_one_two_four_and_then_by_eight_until_nothing_is_left(engine, files, monkeypatch):
    calls = count_inversions(engine, monkeypatch)
    seen = list(engine.stream(files))
    assert [len(intake.evidence) for intake in seen] == [0, 1, 3, 7, 15, 20]
    assert [intake.left for intake in seen] == [20, 19, 17, 13, 5, 0]
    assert calls == [1, 2, 4, 8, 5]
    for before, after in itertools.pairwise(seen):
        assert after.evidence[: len(before.evidence)] == before.evidence.images
    assert list(seen[-1].sources) == files


def test_batches_and_lanes_give_the_latents_of_one_by_one(tiny_prior, files, lanes):
    alone = torch.stack([Engine(tiny_prior).intake([file]).evidence.z[0] for file in files])
    plain, served = (Engine(tiny_prior, **how).intake(files).evidence.z for how in ({}, lanes))
    torch.testing.assert_close(plain, alone, atol=1e-5, rtol=1e-5)
    assert served.equal(plain)  # to the bit: batches do not depend on the clock


def test_it_adds_to_what_was_there_before(engine, files):
    first = engine.intake(files[:3], onto=Intake("the page's name"))
    both = engine.intake(files[3:5], onto=first)
    assert both.evidence[:3] == first.evidence.images and len(both.evidence) == 5
    assert both.prior == "the page's name" and Engine(engine.prior).intake([]).prior == engine.prior.name


def test_labels_and_weights_stay_with_their_images(engine, files):
    labels, weights = ["cat", "dog", ""], [1.0, 2.0, 0.5]
    given = [files[0], b"no picture", files[1]]
    intake = engine.intake(given, labels=labels, weights=weights)
    assert [image.label for image in intake.evidence] == labels
    assert [image.weight for image in intake.evidence] == weights and list(intake.sources) == given
    again = Engine(make_tiny_prior(1)).intake(intake.sources, weights=weights, labels=labels)
    assert again.posterior().m == intake.posterior().m == 1.5


def test_another_face_keeps_source_label_and_weight(engine, files):
    image = engine.intake(files[:1], labels=["cat"], weights=[3.0]).evidence[0]
    chosen = engine.choose(image, image.picture.whole)
    assert (chosen.source, chosen.label, chosen.weight) == (files[0], "cat", 3.0)
    assert chosen.latent is image.latent  # the same frame is not inverted again


@pytest.mark.parametrize("kept", [0, 1, 7])
def test_a_stop_ends_it_after_the_batch_that_is_under_way(engine, files, kept):
    stop = threading.Event()
    for intake in engine.stream(files, cancel=stop):
        if len(intake.evidence) == kept:
            stop.set()
    assert len(intake.evidence) == kept and intake.left == len(files) - kept
    with pytest.raises(Cancelled):
        engine.intake(files, cancel=stop)


class Gated(FairThread):
    """A lane that reads a picture when it is let."""

    def __init__(self):
        super().__init__("gated")
        self.gate, self.started, self.asked = threading.Semaphore(0), [], 0

    def submit(self, content, *, cancel=None, **how):
        self.asked += 1
        return super().submit(self.read, content, cancel=cancel, **how)

    def read(self, content, **how):
        self.started.append(content)
        self.gate.acquire()
        return read_picture(content, **how)


@pytest.mark.parametrize("why", ["closed", "stopped"])
def test_pictures_that_wait_are_few_and_dropped_when_nobody_wants_them(tiny_prior, files, why):
    """A visitor closes the page, or presses Stop: only the picture that is under way is read to its end."""
    lane, stop = Gated(), threading.Event()
    steps = Engine(tiny_prior, pictures=lane).stream(files, cancel=stop)
    next(steps)
    assert lane.asked == 0
    lane.gate.release()
    assert len(next(steps).evidence) == 1
    assert 8 <= lane.asked <= 16  # enough for a batch, while memory does not grow with the set
    while len(lane.started) < 2:  # the next one is under way
        time.sleep(0.001)
    if why == "closed":
        steps.close()
    else:
        stop.set()
    lane.gate.release(20)
    assert list(steps) == []
    FairThread.submit(lane, lambda: None).result()  # whatever was to come, came
    assert lane.started == files[:2]


def test_a_saved_posterior_alone_takes_the_evidences_place(engine, files, saved):
    intake = engine.intake([saved], onto=engine.intake(files[:2]))
    assert intake.saved is not None and len(intake.evidence) == 0 and intake.title == "mine.safetensors"
    assert intake.posterior().m == 3 and intake.checked() is intake


def test_a_saved_posterior_among_images_is_refused_and_the_images_go_in(engine, files, saved):
    intake = engine.intake([files[0], saved, files[1]], weights=[2.0, 1.0, 3.0])
    assert list(intake.sources) == files[:2] and [image.weight for image in intake.evidence] == [2.0, 3.0]
    assert intake.saved is None and "mine.safetensors" in intake.notes[0] and "by itself" in intake.notes[0]
    with pytest.raises(ValueError, match="by itself"):
        intake.checked()
    two = engine.intake([saved, saved])
    assert not two.ready and two.notes and two.left == 0


@pytest.mark.parametrize("what", ["damaged", "foreign", "missing"])
def test_a_posterior_that_cannot_be_used_leaves_everything_as_it_was(engine, files, saved, what):
    before = engine.intake(files[:2])
    reader = Engine(make_tiny_prior(1, "other")) if what == "foreign" else engine
    if what == "damaged":
        saved.write_bytes(b"not a posterior")
    elif what == "missing":
        saved.unlink()
    after = reader.intake([saved], onto=before)
    assert after.evidence is before.evidence and after.saved is None
    assert "mine.safetensors" in after.notes[0] and str(saved.parent) not in after.notes[0]
    later = reader.intake(files[2:3], onto=after)
    assert len(later.evidence) == 3 and later.notes == ()


def test_a_set_has_only_so_many_images(engine, files):
    full = engine.intake(files[:5], most=4)
    assert len(full.evidence) == 4 and full.notes == ("Only 4 images fit: the last 1 are left out.",) and full.left == 0
    assert len(engine.intake(files[:2], onto=full, most=3).evidence) == 4
    assert engine.intake(files[:4], most=4).notes == ()


def test_a_posterior_of_files_is_that_of_their_evidence(engine, files, saved):
    levels = [0.2, 0.6]
    for asked, expected in (
        ({}, {"lam_ratio": 0.5}),
        ({"lam_ratio": 0.3}, {"lam_ratio": 0.3}),
        ({"lam": 2.0}, {"lam": 2.0}),
        ({"lam_ratio": levels}, {"lam_ratio": per_level(levels, engine.prior.levels)}),
    ):
        found = engine.posterior(files[:3], **asked, whole="always", weights=[1.0, 2.0, 1.0])
        evidence = engine.intake(files[:3], whole="always", weights=[1.0, 2.0, 1.0]).evidence
        assert found.mean.equal(evidence.condition(**expected).mean)
    assert engine.posterior([saved]).lam_ratio == pytest.approx(0.7)
    assert engine.posterior([saved], 0.1).lam_ratio == pytest.approx(0.1)
    with pytest.raises(ValueError, match="2 levels"):
        engine.posterior(files[:1], [0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="no images"):
        engine.posterior([])
    with pytest.raises(ValueError, match="by itself"):
        engine.posterior([saved, files[0]])


def test_a_sweep_moves_a_saved_posterior_too(engine, saved):
    posterior = engine.posterior([saved])
    x = engine.sweep(posterior, [by_posterior(0.2), by_posterior(0.7)], 2, seed=3)
    torch.testing.assert_close(x[1], engine.sample(posterior, 2, seed=3), atol=1e-4, rtol=0)


def test_a_source_without_a_name_has_one(engine):
    image = Image.new("RGB", (16, 16))
    assert engine.read(image).name == "image"
    image.filename = str(Path("folder") / "picture 1.png")
    assert engine.read(image).name == "picture 1.png"


@pytest.mark.parametrize("kind", METHODS)
def test_a_manner_changes_what_is_drawn_and_shares_its_noise_with_previews_and_sweeps(engine, kind):
    posterior = engine.intake(squares(4)).posterior()
    sampler = engine.draw(posterior, METHODS[kind])
    x = engine.sample(sampler, 3, seed=5)
    others = [engine.sample(engine.draw(posterior, other), 3, seed=5) for key, other in METHODS.items() if key != kind]
    assert all((x - other).abs().mean() > 1e-3 for other in others)
    torch.testing.assert_close(engine.sweep(posterior, [METHODS[kind]], 3, seed=5)[0], x, atol=1e-4, rtol=0)
    torch.testing.assert_close(engine.preview(sampler, 3, seed=5), x, atol=2 / 255, rtol=0)
    path = engine.interpolate(sampler, engine.draw(posterior, by_posterior(1.0)), 2, 3, seed=5)
    torch.testing.assert_close(path[0], x, atol=1e-4, rtol=0)
