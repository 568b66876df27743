"""Evidence and what the engine makes of it: what happens to each file, the caches, progress and Stop."""

import io
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from transflow_core import pictures
from transflow_core.engine import Cancelled, Engine
from transflow_core.evidence import Evidence, EvidenceImage, Latent
from transflow_core.faces import align
from transflow_core.images import ImageError, reading, to_pil
from transflow_core.pictures import Picture
from transflow_core.posterior import Gaussian
from transflow_core.typicality import Typicality

from .helpers import by_posterior, make_tiny_prior


@pytest.fixture
def engine(tiny_prior):
    return Engine(tiny_prior, batch_size=3)


@pytest.fixture(scope="module")
def shipped(celeba64):
    return Engine(celeba64)


def read(engine, sources, **how):
    return engine.intake(sources, **how).evidence


def squares(n, size=16, seed=0):
    rng = np.random.default_rng(seed)
    return [Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8)) for _ in range(n)]


def png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path):
    """Ten files, two of them broken."""
    for index, image in enumerate(squares(8)):
        image.save(tmp_path / f"{index}.png")
    (tmp_path / "8.png").write_bytes(b"no picture")
    (tmp_path / "9.png").write_bytes(png(squares(1)[0])[:60])
    return tmp_path


def test_broken_files_are_named_and_the_others_go_on(engine, folder):
    evidence = read(engine, sorted(folder.iterdir()))
    assert len(evidence) == 10 and len(evidence.used) == 8
    for broken in evidence[8:]:
        assert broken.problem and broken.summary.startswith("skipped: ") and broken.latent is None
    assert [image.name for image in evidence] == [f"{i}.png" for i in range(10)]
    assert evidence.z.shape == (8, engine.prior.dim)
    assert evidence.condition(lam_ratio=0.5).m == 8


def test_a_missing_file_is_a_problem_and_no_crash(engine, tmp_path):
    evidence = read(engine, [tmp_path / "nowhere.png", tmp_path])
    assert [image.used for image in evidence] == [False, False]
    with pytest.raises(ValueError, match=r"nowhere\.png"):
        evidence.condition(lam_ratio=0.5)


def test_no_evidence_says_so(engine):
    with pytest.raises(ValueError, match="no images"):
        read(engine, []).condition(lam_ratio=0.5)
    one = read(engine, squares(1))
    with pytest.raises(ValueError, match="weight 0"):
        one.replace(0, weight=0.0).condition(lam_ratio=0.5)


@pytest.mark.parametrize("kind", ["path", "bytes", "file", "pil"])
def test_every_kind_of_source_gives_the_same_latent(engine, tmp_path, kind):
    image = squares(1)[0]
    (tmp_path / "a.png").write_bytes(png(image))
    source = {
        "path": tmp_path / "a.png",
        "bytes": png(image),
        "file": io.BytesIO(png(image)),
        "pil": image,
    }[kind]
    latent = read(engine, [source])[0].latent
    torch.testing.assert_close(latent.z, engine.prior.encode([image])[0], atol=1e-5, rtol=1e-5)


def count_inversions(engine, monkeypatch):
    calls = []
    encode = engine.prior.encode_and_score
    monkeypatch.setattr(engine.prior, "encode_and_score", lambda x, *a: calls.append(len(x)) or encode(x, *a))
    return calls


def test_moving_lambda_and_dropping_a_file_again_never_invert_again(engine, folder, monkeypatch):
    calls = count_inversions(engine, monkeypatch)
    evidence = read(engine, sorted(folder.iterdir()))
    assert sum(calls) == 8 and max(calls) <= 3  # in batches
    for ratio in (0.1, 1.0):
        evidence.condition(lam_ratio=ratio)
    again = read(engine, sorted(folder.iterdir(), reverse=True))
    assert sum(calls) == 8
    assert again.z.flip(0).equal(evidence.z)


def test_the_same_picture_twice_is_inverted_once_and_counts_twice(engine, monkeypatch):
    calls = count_inversions(engine, monkeypatch)
    evidence = read(engine, squares(1) * 2)
    assert sum(calls) == 1 and evidence.condition(lam_ratio=1.0).m == 2


def test_the_cache_forgets_the_oldest(tiny_prior, monkeypatch):
    engine = Engine(tiny_prior, cached=2)
    calls = count_inversions(engine, monkeypatch)
    first, *others = squares(3)
    read(engine, [first])
    read(engine, others)
    read(engine, [first])
    assert sum(calls) == 4


def test_a_renamed_file_keeps_its_own_name(engine, tmp_path):
    data = png(squares(1)[0])
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(data)
    names = [image.name for image in read(engine, [tmp_path / "a.png", tmp_path / "b.png", tmp_path / "a.png"])]
    assert names == ["a.png", "b.png", "a.png"]


def test_weights_count_as_copies(engine):
    a, b = squares(2)
    weighted = read(engine, [a, b]).replace(0, weight=3.0).condition(lam=1.0)
    copied = read(engine, [a, a, a, b]).condition(lam=1.0)
    torch.testing.assert_close(weighted.mean, copied.mean, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(weighted.variance, copied.variance)


def test_progress_is_told_and_stop_stops(engine, folder):
    told, stop = [], threading.Event()
    read(engine, sorted(folder.iterdir()), progress=lambda *args: told.append(args))
    assert {what for _, _, what in told} == {"reading the images"}
    assert told[0][:2] == (0, 10) and told[-1][:2] == (10, 10)
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)

    def stop_after_the_first(done, total, what):
        told.append((done, total, what))
        if done:
            stop.set()

    told.clear()
    with pytest.raises(Cancelled):
        read(engine, squares(8, seed=5), progress=stop_after_the_first, cancel=stop)
    assert [done for done, _, _ in told] == [0, 1]


def test_decoding_stops_too(engine):
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        engine.decode(torch.zeros(4, engine.prior.dim), cancel=stop)


def test_an_image_that_the_flow_cannot_hold_is_left_out_with_the_reason(shipped):
    """A one-pixel checkerboard overflows in the shipped flow: such a latent would spoil every sample."""
    checkerboard = np.zeros((64, 64, 3), np.uint8)
    checkerboard[::2, ::2] = checkerboard[1::2, 1::2] = 255
    face = to_pil(shipped.prior.decode(torch.zeros(1, shipped.prior.dim)))[0]
    evidence = read(shipped, [Image.fromarray(checkerboard), face])
    assert not evidence[0].used and "cannot be inverted" in evidence[0].summary
    assert evidence[1].used and evidence.condition(lam_ratio=0.5).m == 1


def test_noise_is_told_apart_and_may_stay(shipped):
    noise = squares(1, size=64)[0]
    image = read(shipped, [noise])[0]
    assert image.verdict.word == "far outside" and "far too busy" in image.summary
    assert image.used and image.latent.error < 1e-3
    assert image.to_dict()["typicality"] == "far outside"


def test_faces_of_a_group_are_chosen_by_hand(shipped, conformance):
    """Two faces in one picture: the largest is taken; all, another, or the whole picture can be."""
    canvas = Image.new("RGB", (640, 320), (96, 128, 96))
    large, small = (Image.fromarray(pixels) for pixels in conformance["images"][:2])
    canvas.paste(large.resize((256, 256), Image.Resampling.LANCZOS), (20, 40))
    canvas.paste(small.resize((192, 192), Image.Resampling.LANCZOS), (400, 60))
    evidence = read(shipped, [canvas])
    picture = evidence[0].picture
    assert len(picture.faces) == 2 and len(read(shipped, [canvas], faces="all")) == 2
    second, whole = (shipped.choose(evidence[0], face) for face in (picture.faces[1], picture.whole))
    assert second.face.index == 1 and "whole" in whole.summary
    assert not torch.equal(second.latent.z, evidence[0].latent.z)
    assert evidence.put(0, second).z.equal(second.latent.z[None])


def test_samples_share_their_noise_at_every_lambda(engine):
    evidence = read(engine, squares(3))
    x = engine.sweep(evidence.condition(lam_ratio=1.0), map(by_posterior, (0.3, 0.5)), 2, seed=4)
    assert x.shape == (2, 2, 3, 16, 16)
    torch.testing.assert_close(x[1], engine.sample(evidence.condition(lam_ratio=0.5), 2, seed=4), atol=1e-4, rtol=0)
    assert not x[0].equal(x[1])


@pytest.mark.parametrize("method", ["linear", "wasserstein"])
def test_an_interpolation_starts_and_ends_at_its_posteriors(engine, method):
    a, b = (read(engine, squares(2, seed=s)).condition(lam_ratio=0.5) for s in (1, 2))
    x = engine.interpolate(a, b, 3, 2, method=method, seed=9)
    assert x.shape == (3, 2, 3, 16, 16)
    torch.testing.assert_close(x[0], engine.sample(a, 2, seed=9), atol=1e-4, rtol=0)
    torch.testing.assert_close(x[2], engine.sample(b, 2, seed=9), atol=1e-4, rtol=0)
    with pytest.raises(ValueError, match="2 steps"):
        engine.interpolate(a, b, 1, 2)


def test_another_prior_has_another_cache_entry(monkeypatch):
    image = squares(1)
    first, second = (Engine(make_tiny_prior(seed)) for seed in (0, 1))
    assert not torch.equal(read(first, image).z, read(second, image).z)


def test_a_prior_without_statistics_gives_no_verdict_but_checks_the_round_trip(engine):
    image = read(engine, squares(1))[0]
    assert engine.prior.typicality is None and image.verdict is None
    assert image.latent.error is not None and image.used


def test_a_verdict_is_made_where_there_are_statistics():
    prior = make_tiny_prior()
    prior.typicality = Typicality(2, (0.0, 100.0), (-2.0, -1.0), (-2.0, -1.0), ((0.0, 0.01),) * 2)
    assert read(Engine(prior), squares(1))[0].verdict.word == "far outside"


def judged(*sizes, weights=None, robust=None):
    """Pieces whose two levels have these root mean squares; from 0.5 to 2 was measured."""
    typicality = Typicality(2, (0.0, 100.0), (-2.0, -1.0), (-2.0, -1.0), ((0.5, 2.0),) * 2)
    whole = align(Image.new("RGB", (4, 4)), size=4, whole="always")[0]
    pieces = []
    for index, size in enumerate(sizes):
        latent = Latent(size * torch.ones(2), 0.0, 0.0, (size, 1.0))
        piece = EvidenceImage.judged(Picture(f"{index}.png", (whole,), whole), whole, latent, typicality)
        pieces.append(replace(piece, weight=(weights or {}).get(index, 1.0), robust=index != robust))
    return Evidence(tuple(pieces))


def test_a_piece_far_outside_counts_as_if_its_noise_were_as_much_larger():
    evidence = judged(1.0, 1.5, 2.9, 6.0, 0.5 / 3)
    # The line is at half as much again as what was measured: 3, and a third.
    assert evidence.counts == pytest.approx((1, 1, 1, (3 / 6) ** 4, (1.5 / 3) ** 4))
    assert [one["counts"] for one in evidence.to_dicts()] == list(evidence.counts)
    assert evidence.weights.tolist() == pytest.approx(evidence.counts)
    posterior = evidence.condition(lam_ratio=1.0)
    assert posterior.m == pytest.approx(sum(evidence.counts))
    # However far out, it adds no more than a piece at the line does, neither to the mean nor to the variance.
    for size in (3.1, 30.0, 900.0):
        far = judged(1.0, 1.0, 1.0, size)
        assert far.counts[3] * size <= 3.0 and far.counts[3] * size**2 <= 9.0
    assert judged(1.0, 1.0, float("nan")).counts[2] == 0 == judged(1.0, 1.0, 0.0).counts[2]


def test_what_is_taken_as_it_is_and_what_most_are_counts_in_full():
    assert judged(1.0, 1.0, 6.0, robust=2).counts == (1, 1, 1)
    assert judged(1.0, 6.0).counts == (1, 1), "half of them: what was meant, and no outlier"
    assert judged(1.0, 1.0, 6.0, 6.0, weights={1: 0.0}).counts == (1, 0, 1, 1)
    assert judged(1.0, 1.0, 1.0, 6.0, weights={3: 8.0}).counts == pytest.approx((1, 1, 1, 0.5))
    assert Evidence().counts == ()


def test_the_engine_passes_on_whether_evidence_is_taken_robustly(engine):
    engine.prior.typicality = Typicality(2, (0.0, 100.0), (-2.0, -1.0), (-2.0, -1.0), ((0.9, 1.1),) * 2)
    two = squares(2)
    assert [image.robust for image in read(engine, two)] == [True, True]
    assert [image.robust for image in read(engine, two, robust=False)] == [False, False]
    mixed = read(engine, two, robust=[False, True])
    assert [image.robust for image in mixed] == [False, True]
    assert not engine.choose(mixed[0], mixed[0].picture.whole).robust


def test_the_prior_itself_can_be_sampled(engine):
    x = engine.sample(Gaussian.standard(engine.prior.dim), 5, temperature=0.0)
    assert x.shape == (5, 3, 16, 16) and x.isfinite().all()
    # One latent, one image: but for the last bit, since torch sums in another order where a core has more images.
    torch.testing.assert_close(x, x[:1].expand_as(x), atol=1e-6, rtol=0)


def test_an_empty_evidence_is_a_sequence():
    assert len(Evidence()) == 0 and list(Evidence()) == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_gives_the_same_samples():
    cpu, gpu = Engine(make_tiny_prior()), Engine(make_tiny_prior())
    gpu.prior.to("cuda")
    x, y = (e.sample(read(e, squares(2)).condition(lam_ratio=0.5), 2) for e in (cpu, gpu))
    torch.testing.assert_close(x, y, atol=1e-3, rtol=0)


@pytest.mark.parametrize("kind", ["path", "file"])
def test_a_source_that_is_larger_than_any_picture_is_not_read_to_its_end(tmp_path, monkeypatch, kind):

    for module in (pictures, reading):
        monkeypatch.setattr(module, "MAX_BYTES", 1000)
    path = tmp_path / "large.png"
    path.write_bytes(bytes(5000))
    with path.open("rb") as file, pytest.raises(ImageError, match="larger than"):
        pictures.content_of(path if kind == "path" else file)
    with path.open("rb") as file:
        with pytest.raises(ImageError):
            pictures.content_of(file)
        assert file.tell() <= 1001 or kind == "path"
