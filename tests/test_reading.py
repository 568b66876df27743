"""Files to evidence: what happens to each, what there is while it grows, the caches, progress, and a way to cancel."""

import itertools
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from transflow_core import Align, Classify, Encode, Interpolate, Restyle, Sample, per_level, to_pil
from transflow_core.checkpoints.typicality import Typicality
from transflow_core.engine import Cancelled, Engine
from transflow_core.evidence import Evidence, Source
from transflow_core.pictures import PictureReader
from transflow_core.runtime import devices
from transflow_core.runtime.worker import ComputeWorker

from .helpers import make_own_prior, make_tiny_prior, squares


@pytest.fixture(scope="module")
def shipped(celeba64):
    return Engine(celeba64)


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
    engine.read(squares(3)).posterior(0.7).save(path, metadata=facts)
    return path


def count_inversions(engine, monkeypatch):
    calls = []
    encode = engine.prior.encode_and_score
    monkeypatch.setattr(engine.prior, "encode_and_score", lambda x, *a: calls.append(len(x)) or encode(x, *a))
    return calls


def test_it_grows_from_nothing_by_one_two_four_and_then_by_eight_until_nothing_remains(engine, files, monkeypatch):
    calls = count_inversions(engine, monkeypatch)
    seen = list(engine.read_steps(files))
    assert [len(evidence) for evidence in seen] == [0, 1, 3, 7, 15, 20]
    assert [evidence.remaining for evidence in seen] == [20, 19, 17, 13, 5, 0]
    assert calls == [1, 2, 4, 8, 5]
    for before, after in itertools.pairwise(seen):
        assert after.images[: len(before)] == before.images
    assert [source.file for source in seen[-1].sources] == files


def test_batches_and_workers_give_the_latents_of_one_by_one(tiny_prior, files, monkeypatch):
    monkeypatch.setattr(devices, "others_run", lambda _: False)  # a single image has other last bits on a busy machine
    alone, compute = torch.stack([Engine(tiny_prior).read([file]).z[0] for file in files]), ComputeWorker()
    here, ahead = (Engine(tiny_prior, compute=compute, pictures=one).read(files).z for one in (None, PictureReader()))
    torch.testing.assert_close(here, alone, atol=1e-5, rtol=1e-5)
    assert ahead.equal(here)  # to the bit: batches do not depend on the clock


def test_files_that_cannot_be_used_are_named_and_the_others_go_on(engine, files, tmp_path):
    files[8].write_bytes(b"no picture")
    files[9].write_bytes(files[9].read_bytes()[:60])
    evidence = engine.read([*files[:10], tmp_path / "nowhere.png", tmp_path])
    assert [image.name for image in evidence.images][:11] == [f"{i:02d}.png" for i in range(10)] + ["nowhere.png"]
    assert len(evidence.used) == 8 and evidence.z.shape == (8, engine.prior.dim) and evidence.posterior().m == 8
    for image in evidence.images[8:]:
        assert image.problem and image.summary.startswith("skipped: ") and image.latent is None
    with pytest.raises(ValueError, match=r"nowhere\.png"):
        engine.posterior([tmp_path / "nowhere.png"])


def test_sources_say_how_each_image_counts_and_read_the_same_again(engine, files):
    sources = [Source(files[0], "cat", 1.0), Source(b"no picture", "dog", 2.0), Source(files[1], "", 0.5, robust=False)]
    onto = engine.read(files[2:4], onto=Evidence(prior="the page's name"))
    evidence = engine.read(sources, onto=onto)
    assert evidence.images[:2] == onto.images and list(evidence.sources[2:]) == sources
    assert evidence.prior == "the page's name" and engine.read([]).prior == engine.prior.name
    assert [image.source.robust for image in engine.read(files[:2], robust=False)] == [False, False]
    again = Engine(make_tiny_prior(1)).read(evidence.sources)
    assert again.sources == evidence.sources and again.posterior().m == evidence.posterior().m == 3.5


def test_the_same_picture_is_read_and_inverted_once(engine, files, monkeypatch, tmp_path):
    calls = count_inversions(engine, monkeypatch)
    evidence = engine.read(files[:8])
    renamed = tmp_path / "renamed.png"
    renamed.write_bytes(files[0].read_bytes())
    again = engine.read([*reversed(files[:8]), renamed, renamed])
    assert sum(calls) == 8 and again.z[:8].flip(0).equal(evidence.z)
    assert again[9].name == "renamed.png" and again.posterior().m == 10
    small = Engine(engine.prior, cached=2)
    for some in (files[:1], files[1:3], files[:1]):
        small.read(some)
    assert sum(calls) == 8 + 4  # the oldest was forgotten
    assert not Engine(make_tiny_prior(1)).read(files[:1]).z.equal(evidence.z[:1])


def test_progress_is_reported_and_cancel_ends_it(engine, files):
    reports, cancel = [], threading.Event()

    def noted(*report):
        reports.append(report)
        if report[1] == 8 and report[0]:
            cancel.set()

    engine.read(files[:10], progress=noted)
    assert reports == [(done, 10, "reading the images") for done in (0, 1, 3, 7, 10)]
    reports.clear()
    with pytest.raises(Cancelled):
        engine.read(squares(8, seed=5), progress=noted, cancel=cancel)
    assert [done for done, *_ in reports] == [0, 1]
    with pytest.raises(Cancelled):
        engine.decode(torch.zeros(4, engine.prior.dim), cancel=cancel)


@pytest.mark.parametrize("kept", [0, 1, 7])
def test_a_cancel_keeps_the_batches_that_were_read(engine, files, kept):
    cancel = threading.Event()
    for evidence in engine.read_steps(files, cancel=cancel):
        if len(evidence) == kept:
            cancel.set()
    assert len(evidence) == kept and evidence.remaining == len(files) - kept


def test_a_saved_posterior_takes_the_place_of_images_where_it_comes_alone(engine, files, saved):
    evidence = engine.read([saved], onto=engine.read(files[:2]))
    assert evidence.saved is not None and len(evidence) == 0 and evidence.title == "mine.safetensors"
    assert evidence.posterior().m == 3 and evidence.checked() is evidence
    among = engine.read([Source(files[0], weight=2.0), saved, Source(files[1], weight=3.0)])
    assert [image.weight for image in among] == [2.0, 3.0] and among.saved is None
    assert "mine.safetensors" in among.notes[0] and "by itself" in among.notes[0]
    two = engine.read([saved, saved])
    assert not two.ready and two.notes and two.remaining == 0


@pytest.mark.parametrize("what", ["damaged", "another prior", "missing"])
def test_a_posterior_that_cannot_be_used_leaves_everything_as_it_was(engine, files, saved, what):
    before = engine.read(files[:2])
    reader = Engine(make_tiny_prior(1, "other")) if what == "another prior" else engine
    if what == "damaged":
        saved.write_bytes(b"not a posterior")
    elif what == "missing":
        saved.unlink()
    after = reader.read([saved], onto=before)
    assert after.images is before.images and after.saved is None
    assert "mine.safetensors" in after.notes[0] and str(saved.parent) not in after.notes[0]
    later = reader.read(files[2:3], onto=after)
    assert len(later) == 3 and later.notes == ()


def test_a_set_has_only_so_many_images(engine, files):
    full = engine.read(files[:5], most=4)
    assert len(full) == 4 and full.notes == ("Only 4 images fit: the last 1 are left out.",) and full.remaining == 0
    assert len(engine.read(files[:2], onto=full, most=3)) == 4
    assert engine.read(files[:4], most=4).notes == ()


def test_a_posterior_of_files_is_that_of_their_evidence(engine, files, saved):
    levels = [0.2, 0.6]
    for given, expected in ((None, 0.5), (2.0, 2.0), (levels, per_level(levels, engine.prior.levels))):
        found = engine.posterior(files[:3], given, align="never")
        assert found.mean.equal(engine.read(files[:3], align="never").posterior(expected).mean)
        assert found.metadata == engine.prior.provenance  # where it is saved, no other model opens it
    for given, expected in ((None, 0.7), (0.1, 0.1)):
        assert engine.posterior([saved], given).lam_ratio == pytest.approx(expected)
    for wrong, ratio, problem in (
        (files[:1], [0.1, 0.2, 0.3], "2 levels"),
        ([], None, "no images"),
        ([saved, files[0]], None, "by itself"),
    ):
        with pytest.raises(ValueError, match=problem):
            engine.posterior(wrong, ratio)


def test_what_cannot_be_encoded_is_left_out_and_noise_is_an_outlier(shipped):
    """A one-pixel checkerboard overflows in the shipped flow: such a latent would spoil every sample."""
    checkerboard = np.zeros((64, 64, 3), np.uint8)
    checkerboard[::2, ::2] = checkerboard[1::2, 1::2] = 255
    face = to_pil(shipped.prior.decode(torch.zeros(1, shipped.prior.dim)))[0]
    evidence = shipped.read([Image.fromarray(checkerboard), face, squares(1, size=64)[0]])
    assert not evidence[0].used and "cannot encode it" in evidence[0].summary
    assert evidence[1].used and evidence.posterior().m == 2
    noise = evidence[2]
    assert noise.is_outlier and noise.used and "far too busy" in noise.summary and noise.latent.error < 1e-3


def test_a_prior_without_statistics_gives_no_verdict_but_checks_the_round_trip(engine):
    image = engine.read(squares(1))[0]
    assert engine.prior.typicality is None and image.verdict is None
    assert image.latent.error is not None and image.used
    engine.prior.typicality = Typicality(2, (0.0, 100.0), (-2.0, -1.0), (-2.0, -1.0), ((0.0, 0.01),) * 2)
    assert engine.read(squares(1))[0].is_outlier


def test_one_file_needs_no_list_and_the_result_says_which_prior_it_was(engine, files):
    with open(files[0], "rb") as stream, Image.open(files[0]) as image:
        for one in (files[0], str(files[0]), stream, image, Source(files[0])):
            assert engine.read(one).encoded.equal(engine.read([files[0]]).encoded)
    assert engine.run(Sample(n=1), evidence=files[0]).recipe.prior == engine.prior.name
    assert engine.run(Sample(n=1, prior="mine"), evidence=files[0]).recipe.prior == "mine"
    assert len(engine.run(Align(align="never"), images=str(files[0])).pictures) == 1
    mask = Image.new("L", (16, 16))
    for one in (mask, _saved(mask, files[0].parent / "mask.png")):
        assert len(engine.run(Sample(n=1), evidence=files[:2], masks=one).pictures) == 1


def _saved(image, path):
    image.save(path)
    return str(path)


def test_what_cannot_be_aligned_says_why_and_without_a_reader_it_can_be_cancelled(engine, files, tmp_path):
    (bad := tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="this is not an image"):
        engine.run(Align(align="never"), images=[bad])
    (cancel := threading.Event()).set()
    with pytest.raises(Cancelled):
        engine.run(Align(align="never"), images=files[:2], cancel=cancel)


def test_a_grey_model_restyles_and_an_own_one_lacks_no_levels(files):
    grey = Engine(make_tiny_prior(channels=1))
    found = grey.run(Restyle(align="never"), photographs=files[0], evidence=files[1:4])
    assert found.pictures["00"][0].size == (16, 16)
    halved = make_own_prior(8)
    halved.flow.halvings, halved.flow.low_pass = 1, lambda z, times: halved.flow.inverse(z)[0]
    assert halved.lacking(2) == 0


def test_what_is_not_weighed_has_no_weight_and_ends_alike_have_one_method(engine, files):
    facts = engine.run(Classify(), images=files[:1], examples={"a": files[1:4], "b": files[4:7]}).facts
    encoded = engine.run(Encode(), images=files[:1]).facts["images"]
    assert not any("effective_weight" in one for one in [*facts["examples"]["a"], *encoded])
    how = {"n": 1, "steps": 2, "lam_ratio_a": 0.3}
    path = engine.run(Interpolate(**how), a=files[:3], b=files[:3])
    assert path.recipe.method == "local" and path.recipe.lam_ratio == path.facts["b"]["lam_ratio"] != 0.3
    both = engine.run(Interpolate(**how, lam_ratio_b=0.1), a=files[:3], b=files[:3])
    assert both.recipe.method == "local" and both.recipe.lam_ratio is None
