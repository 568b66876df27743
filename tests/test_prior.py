"""The priors that ship, against numbers that were computed before, and what a prior accepts and refuses."""

import io
import re
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from transflow_core.priors.catalogue import load_prior, shipped_files, shipped_priors
from transflow_core.priors.prior import pick_device

from .helpers import read_conformance

pytestmark = pytest.mark.filterwarnings("error")


@pytest.mark.parametrize(("there", "expected"), [({"cuda", "mps"}, "cuda"), ({"mps"}, "mps"), (set(), "cpu")])
def test_auto_is_the_best_device_that_is_there(monkeypatch, there, expected):
    for name in ("cuda", "mps"):
        monkeypatch.setattr(getattr(torch, name), "is_available", lambda name=name: name in there)
    assert pick_device().type == expected


def relative(found, expected):
    return np.abs(np.asarray(found) / expected - 1).max()


@pytest.fixture(scope="module", params=shipped_priors())
def shipped(request):
    """Each prior that ships, on the CPU."""
    return load_prior(request.param, device="cpu")


def conforms(prior, expected):
    encoded = prior.encode_and_score(expected["images"])
    assert np.abs(encoded.z.numpy() - expected["z"]).max() < 2e-3
    assert relative(encoded.log_prior, expected["log_prior"]) < 1e-3
    assert relative(encoded.log_prob, expected["log_prob"]) < 1e-3
    x = prior.decode(torch.from_numpy(expected["sample_z"]))
    assert np.abs(x.numpy() - expected["sample"]).max() < 1e-3


def test_latents_densities_and_samples_match_the_conformance_data(shipped):
    conforms(shipped, read_conformance(shipped.name))
    assert (shipped_files()[shipped.name][0] / "SHA256SUMS").is_file()


@pytest.mark.parametrize("colour", ["noise", 0, 255, (0, 255, 30)], ids=str)
def test_bytes_come_back_from_unnatural_images_too(shipped, colour):
    images = np.random.default_rng(0).integers(0, 256, (1, shipped.image_size, shipped.image_size, 3), dtype=np.uint8)
    if colour != "noise":
        images[:] = colour
    z = shipped.encode(images)
    assert z.isfinite().all()
    back = shipped.decode(z)
    assert ((back * 256).floor().clamp(max=255).byte().permute(0, 2, 3, 1).numpy() == images).all()


def test_held_out_faces_come_back_and_have_the_bits_per_dimension_of_the_model_card(shipped, shared):
    card = (shipped_files()[shipped.name][0] / "MODEL_CARD.md").read_text(encoding="utf-8")
    own = card.partition(f"\n## {shipped.name}: ")[2] or card  # of a file of several sizes, the size's own section
    said = float(re.search(r"\*\*Held out\*\*: ([\d.]+) bits", own)[1])
    file, side = ("celeba256.zip", 256) if shipped.image_size > 64 else ("celeba.zip", 128)
    with zipfile.ZipFile(shared / "data" / file) as faces:
        names = sorted(name for name in faces.namelist() if name.startswith(f"val{side}/") and not name.endswith("/"))
        images = [Image.open(io.BytesIO(faces.read(name))).convert("RGB") for name in names[::24]]
    v = shipped.to_unit([image.reduce(image.width // shipped.image_size) for image in images])
    assert len(v) > 8 and (shipped.decode(shipped.encode(v)) - v).abs().max() < 1e-3
    bits = shipped.bits_per_dim(v)
    # The card's number is of all held-out faces, this one of a part of them.
    assert float(bits.mean()) == pytest.approx(said, abs=4 * float(bits.std()) / len(bits) ** 0.5)


def test_the_kinds_of_image_agree(celeba64, conformance):
    pixels = conformance["images"][:2]
    z = celeba64.encode(pixels)
    assert celeba64.encode([Image.fromarray(i) for i in pixels]).equal(z)
    assert celeba64.encode(list(pixels)).equal(z)
    v = ((pixels.transpose(0, 3, 1, 2).astype(np.float32)) + 0.5) / 256
    assert celeba64.encode(v).equal(z)
    assert celeba64.encode(torch.from_numpy(v)).equal(z)
    grey = Image.fromarray(pixels[0]).convert("L")
    assert celeba64.encode([grey]).equal(celeba64.encode([grey.convert("RGB")]))


@pytest.mark.parametrize("name", ["encode", "log_prob", "bits_per_dim"])
def test_no_images_give_no_rows(tiny_prior, name):
    assert len(getattr(tiny_prior, name)([])) == 0
    assert tiny_prior.decode(torch.zeros(0, tiny_prior.dim)).shape == (0, 3, 16, 16)


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (np.zeros((1, 8, 8, 3), np.uint8), ValueError, "align"),
        (np.zeros((16, 16, 3), np.uint8), ValueError, "align"),
        (np.full((1, 3, 16, 16), 2.0), ValueError, r"\[0, 1\]"),
        (np.full((1, 3, 16, 16), np.nan), ValueError, "finite"),
        (np.zeros((1, 3, 16, 16), np.int64), TypeError, "uint8"),
        ([np.zeros((16, 16, 3), np.uint8), np.zeros((8, 8, 3), np.uint8)], ValueError, "differ"),
    ],
)
def test_other_images_are_refused_with_what_to_do(tiny_prior, images, error, message):
    with pytest.raises(error, match=message):
        tiny_prior.encode(images)


def test_latents_of_another_width_are_refused(tiny_prior):
    with pytest.raises(ValueError, match=r"\(n, 768\)"):
        tiny_prior.decode(torch.zeros(1, 10))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees_with_the_cpu(celeba64, conformance):
    gpu = load_prior("celeba64", device="cuda")
    z = gpu.encode(conformance["images"]).cpu()
    torch.testing.assert_close(z, celeba64.encode(conformance["images"]), atol=2e-3, rtol=0)


def test_typicality_tells_faces_from_noise(celeba64, conformance):
    def verdicts(images):
        encoded = celeba64.encode_and_score(images)
        rms = celeba64.level_rms(encoded.z).tolist()
        return [celeba64.typicality.judge(*one) for one in zip(encoded.log_prior.tolist(), rms, strict=True)]

    assert {(one.word, one.way) for one in verdicts(conformance["images"])} == {("typical", "")}
    noise = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    blank = np.full((1, 64, 64, 3), 128, np.uint8)
    (busy,), (smooth,) = verdicts(noise), verdicts(blank)
    assert (busy.word, busy.way, busy.percentile) == ("far outside", "too busy", 0)
    assert (smooth.word, smooth.way, smooth.percentile) == ("far outside", "too smooth", 100)
    nothing = celeba64.typicality.judge(float("nan"), [float("nan")] * 5)
    assert nothing.word == "far outside" and nothing.excess == float("inf")
    assert {one.excess for one in verdicts(conformance["images"])} == {1.0} and min(busy.excess, smooth.excess) > 1.5
