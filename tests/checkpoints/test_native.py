"""The native format: round trips, several sizes in one file, and files that are damaged, wrong or hostile."""

import json
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from transflow_core.checkpoints import CheckpointError
from transflow_core.checkpoints.native import load_native
from transflow_core.checkpoints.typicality import Typicality
from transflow_core.flows.wavelet import haar_split
from transflow_core.posterior import standard_normal
from transflow_core.priors import catalogue
from transflow_core.priors.catalogue import load_prior, shipped_image_size, shipped_priors

from ..helpers import make_sized_prior, make_tiny_prior
from .memory import POINTER, refused

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("where", "read"),
    [("prior.safetensors", "prior.safetensors"), ("folder", "folder"), ("folder", "folder/model.safetensors")],
)
def test_a_saved_prior_is_the_same_prior(tmp_path, where, read):
    prior = make_tiny_prior()
    row = (1.0, 2.0)
    prior.typicality = Typicality(2, (0.0, 100.0), row, row, (row, row))
    prior.metadata["licence"] = "none"
    prior.save(tmp_path / where)
    again = load_prior(tmp_path / read, device="cpu")
    assert again.encode(IMAGES).equal(prior.encode(IMAGES))
    assert (again.name, again.pixels, again.typicality) == (prior.name, prior.pixels, prior.typicality)
    assert again.metadata["licence"] == "none"
    prior.typicality = None
    prior.save(tmp_path / where)
    assert load_prior(tmp_path / read, device="cpu").typicality is None  # nothing of what was there before
    make_tiny_prior(1).save(tmp_path / "other.safetensors")
    assert load_prior(tmp_path / "other.safetensors", device="cpu").fingerprint != again.fingerprint
    again.save(tmp_path / "second.safetensors")
    (tmp_path / "plain").touch()  # other users of the machine may read a prior as they may read any other file
    assert (tmp_path / "second.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert load_prior(tmp_path / "second.safetensors", device="cpu").fingerprint == again.fingerprint


def test_half_precision_halves_the_nets_and_hardly_moves_the_latents(tmp_path):
    prior = make_tiny_prior()
    prior.save(tmp_path / "half.safetensors", half=True)
    stored = load_file(tmp_path / "half.safetensors")
    assert stored["levels.0.steps.0.coupling.net.conv_in.weight"].dtype == torch.float16
    assert stored["levels.0.steps.0.coupling.net.position"].dtype == torch.float16
    assert stored["levels.0.split.weight"].dtype == torch.float16
    assert stored["levels.0.steps.0.conv1x1.L"].dtype == torch.float32
    again = load_prior(tmp_path / "half.safetensors", device="cpu")
    torch.testing.assert_close(again.encode(IMAGES), prior.encode(IMAGES), atol=5e-3, rtol=5e-3)


@pytest.fixture
def saved(tmp_path):
    """A good file, its tensors and its header's documents, to be spoilt."""
    file = tmp_path / "prior.safetensors"
    prior = make_tiny_prior()
    prior.save(file)
    tensors = load_file(file)
    size = struct.unpack("<Q", file.read_bytes()[:8])[0]
    header = json.loads(file.read_bytes()[8 : 8 + size])["__metadata__"]
    return file, tensors, header


def retired(config, **changes):
    """A configuration as an earlier version wrote it."""
    return json.dumps(json.loads(config) | changes)


SPOILT = {
    "no configuration": (lambda t, h: h.pop("config"), "configuration"),
    "configuration is no JSON": (lambda t, h: h.update(config="{"), "JSON"),
    "configuration is a list": (lambda t, h: h.update(config="[]"), "object"),
    "configuration is nested without end": (lambda t, h: h.update(config="[" * 100_000), "not"),
    "another format": (lambda t, h: h.update(config='{"format": "gan"}'), "gan"),
    "another version": (lambda t, h: h.update(config=h["config"].replace('"version": 1', '"version": 99')), "99"),
    "absurd width": (lambda t, h: h.update(config=h["config"].replace('"width": 8', '"width": 99999999')), "width"),
    "bounded layers": (lambda t, h: h.update(config=retired(h["config"], bounded=True)), "Version 0.2.0 is the last"),
    "symmetric details": (
        lambda t, h: h.update(config=retired(h["config"], base={}, details={"kind": "symmetric"})),
        "Version 0.2.0 is the last",
    ),
    "bits": (lambda t, h: h.update(config=h["config"].replace('"bits": 5', '"bits": 0')), "bits"),
    "a tensor is missing": (lambda t, h: t.pop("top.mean"), "top.mean"),
    "a tensor too many": (lambda t, h: t.update(extra=torch.zeros(1)), "extra"),
    "another shape": (lambda t, h: t.update({"top.mean": torch.zeros(3)}), "top.mean"),
    "whole numbers": (lambda t, h: t.update({"top.mean": torch.zeros_like(t["top.mean"], dtype=torch.int64)}), "int64"),
    "not finite": (lambda t, h: t["top.mean"].fill_(torch.nan), "finite"),
    "typicality of nonsense": (lambda t, h: h.update(typicality='{"n": "many"}'), "typicality"),
    **{
        f"sizes with {what}": (lambda t, h, sizes=sizes: h.update(config=retired(h["config"], sizes=sizes)), message)
        for what, sizes, message in (
            ("one that the flow lacks", {"64": {"name": "a", "pixels": {}}}, "64 pixels"),
            ("no object", [], "dict"),
            ("no number", {"many": {"name": "a", "pixels": {}}}, "integer"),
            ("no name", {"16": {"pixels": {}}}, "name"),
            ("absurd bits", {"16": {"name": "a", "pixels": {"bits": 99}}}, "bits"),
            ("words that are none", {"16": {"name": "a", "pixels": {}, "metadata": {"a": []}}}, "metadata"),
        )
    },
}


@pytest.mark.parametrize("case", SPOILT)
def test_a_wrong_file_is_refused_with_the_reason(saved, case):
    file, tensors, header = saved
    spoil, message = SPOILT[case]
    spoil(tensors, header)
    save_file(tensors, file, header)
    with pytest.raises(CheckpointError, match=message):
        load_prior(file, device="cpu")


@pytest.fixture
def folder(tmp_path):
    make_tiny_prior().save(tmp_path / "small")
    return tmp_path / "small"


def flip_a_bit(weights):
    content = bytearray(weights.read_bytes())
    content[-1000] ^= 1
    weights.write_bytes(content)


DAMAGED = {
    "one bit": ("model.safetensors", flip_a_bit, r"^small/model\.safetensors: the file is damaged: its sha256"),
    "short": ("model.safetensors", lambda f: f.write_bytes(f.read_bytes()[:-4]), r"^small/model\.safetensors: "),
    "a pointer": ("model.safetensors", lambda f: f.write_text(POINTER), "git lfs pull"),
    "no sums": ("SHA256SUMS", lambda f: f.write_text("x"), "^small/SHA256SUMS"),
    "other sums": ("SHA256SUMS", lambda f: f.write_text("0" * 64 + "  other.safetensors"), "^small/SHA256SUMS"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_folder_is_refused_and_the_file_named(folder, case):
    file, spoil, message = DAMAGED[case]
    assert load_native(folder).name == "tiny"
    spoil(folder / file)
    refused(folder, message)


def test_without_sums_nothing_is_compared_and_without_weights_nothing_read(folder):
    flip_a_bit(folder / "model.safetensors")
    (folder / "SHA256SUMS").unlink()
    load_prior(folder, device="cpu")
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"small: no model\.safetensors"):
        load_prior(folder)


@pytest.mark.parametrize("what", ["P", "L", "U", "log_diag"])
def test_a_1x1_convolution_that_cannot_be_inverted_is_refused_when_it_is_read(saved, what):
    file, tensors, header = saved
    name = f"levels.1.steps.0.conv1x1.{what}"
    tensors[name].zero_() if what == "P" else tensors[name].fill_(1e30 if what != "log_diag" else -200)
    save_file(tensors, file, header)
    with pytest.raises(CheckpointError, match=r"levels\.1\.steps\.0\.conv1x1"):
        load_prior(file)


def test_a_file_that_is_overwritten_does_not_change_a_flow_in_use(tmp_path):
    """As `cp` does. Weights that stayed mapped changed, and ended the process with SIGBUS where the new file is
    shorter."""
    path = tmp_path / "prior.safetensors"
    make_tiny_prior().save(path)
    flow = load_native(path).flow
    before = {name: tensor.clone() for name, tensor in flow.state_dict().items()}
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
    assert all(tensor.equal(before[name]) for name, tensor in flow.state_dict().items())


# One file, several priors: a flow that was grown, and its coarser sizes.


def images(side, n=3):
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=["prior.safetensors", "folder"])
def sized(tmp_path, request):
    prior = make_sized_prior()
    prior.save(tmp_path / request.param)
    return prior, tmp_path / request.param


def about(prior):
    """All that a prior is, but its weights."""
    words = {key: value for key, value in prior.metadata.items() if key != "format"}
    return prior.name, prior.pixels, prior.typicality, words, prior.fingerprint, prior.sizes


@pytest.mark.parametrize("side", [32, 16, 8])
def test_each_size_is_what_a_file_of_its_own_would_be(sized, side, tmp_path):
    prior, file = sized
    alone, within = load_prior(file, device="cpu", image_size=side), load_prior(file, device="cpu").at(side)
    prior.at(side).save(tmp_path / "own")
    own = load_prior(tmp_path / "own", device="cpu")
    z = 0.7 * standard_normal(2, own.dim)
    for found in (alone, within, prior.at(side)):
        assert about(found) == about(own) and found.image_size == side
        torch.testing.assert_close(found.flow.state_dict(), own.flow.state_dict(), atol=0, rtol=0)
        torch.testing.assert_close(found.encode(images(side)), own.encode(images(side)), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found.decode(z), own.decode(z), atol=1e-5, rtol=1e-5)
    assert (own.name, own.pixels.bits) == (f"tiny{side}", {32: 8, 16: 7, 8: 5}[side])


def test_the_whole_is_the_prior_that_it_was_without_sizes(sized):
    prior, file = sized
    whole = load_prior(file, device="cpu")
    assert whole.fingerprint == prior.fingerprint and whole.sizes == (32, 16, 8)
    prior.coarser = {}
    prior.save(file)
    assert load_prior(file, device="cpu").fingerprint == prior.fingerprint
    assert load_native(file).coarser == {}


def test_sizes_share_weights_in_memory_and_the_means_latents():
    prior = make_sized_prior()
    small = prior.at(8)
    assert prior.at(8) is small and prior.at(32) is prior and small.at(8) is small
    weights = {one.data_ptr() for one in prior.flow.parameters()}
    assert {one.data_ptr() for one in small.flow.parameters()} < weights
    x = images(32)
    low = haar_split(haar_split(x)[0])[0]
    torch.testing.assert_close(prior.encode(x)[:, -small.dim :], small.encode(low), atol=1e-5, rtol=1e-5)
    assert small.decode(small.encode(low)).shape == low.shape
    with pytest.raises(ValueError, match=r"no prior of 64 pixels.*32, 16, 8"):
        prior.at(64)


def test_a_coarser_size_reads_none_of_the_finer_weights(tmp_path):
    """So it costs no memory for them: what is damaged there does not matter."""
    make_sized_prior().save(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["details.prior.bias"].fill_(torch.nan)
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "SHA256SUMS").unlink()
    assert load_native(tmp_path, 16).flow.image_size == 16
    with pytest.raises(CheckpointError, match="finite"):
        load_native(tmp_path)


def test_priors_that_ship_are_found_by_the_names_of_their_sizes(tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "MODELS", tmp_path)
    make_sized_prior().save(tmp_path / "all")
    make_tiny_prior(side=64, name="tiny64").save(tmp_path / "another")
    assert shipped_priors() == ["tiny64", "tiny32", "tiny16", "tiny8"]
    for side in (8, 16, 32, 64):
        assert shipped_image_size(f"tiny{side}") == side
        assert load_prior(f"tiny{side}", device="cpu").image_size == side
    assert load_prior("tiny16", device="cpu").sizes == (16, 8)
    assert load_prior("tiny32", device="cpu", image_size=8).name == "tiny8"
    assert shipped_image_size("all") is None
