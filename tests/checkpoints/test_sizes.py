"""One file, several priors: a flow that was grown, and its coarser sizes."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from transflow_core.checkpoints import CheckpointError
from transflow_core.checkpoints.native import load_native
from transflow_core.flows.wavelet import haar_split
from transflow_core.posterior import standard_normal
from transflow_core.priors import catalogue
from transflow_core.priors.catalogue import load_prior, shipped_image_size, shipped_priors

from ..helpers import make_sized_prior, make_tiny_prior


def images(side, n=3):
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=["prior.safetensors", "folder"])
def saved(tmp_path, request):
    prior = make_sized_prior()
    prior.save(tmp_path / request.param)
    return prior, tmp_path / request.param


def about(prior):
    """All that a prior is, but its weights."""
    words = {key: value for key, value in prior.metadata.items() if key != "format"}
    return prior.name, prior.pixels, prior.typicality, words, prior.fingerprint, prior.sizes


@pytest.mark.parametrize("side", [32, 16, 8])
def test_each_size_is_what_a_file_of_its_own_would_be(saved, side, tmp_path):
    prior, file = saved
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


def test_the_whole_is_the_prior_that_it_was_without_sizes(saved):
    prior, file = saved
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


WRONG = {
    "a size that the flow lacks": ({"64": {"name": "a", "pixels": {}}}, "64 pixels"),
    "no object": ([], "dict"),
    "no number": ({"many": {"name": "a", "pixels": {}}}, "integer"),
    "no name": ({"16": {"pixels": {}}}, "name"),
    "absurd bits": ({"16": {"name": "a", "pixels": {"bits": 99}}}, "bits"),
    "words that are none": ({"16": {"name": "a", "pixels": {}, "metadata": {"a": []}}}, "metadata"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_sizes_are_refused_with_the_reason(tmp_path, case):
    make_sized_prior().save(tmp_path / "prior")
    sizes, message = WRONG[case]
    config = json.loads((tmp_path / "prior" / "config.json").read_text())
    (tmp_path / "prior" / "config.json").write_text(json.dumps(config | {"sizes": sizes}))
    with pytest.raises(CheckpointError, match=message):
        load_native(tmp_path / "prior")


def test_priors_that_ship_are_found_by_the_names_of_their_sizes(tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "MODELS", tmp_path)
    make_sized_prior().save(tmp_path / "all")
    make_tiny_prior(side=64, name="tiny64").save(tmp_path / "another")
    assert shipped_priors() == ["tiny64", "tiny32", "tiny16", "tiny8"]
    for side in (8, 16, 32, 64):
        assert shipped_image_size(f"tiny{side}") == side
        assert load_prior(f"tiny{side}", device="cpu").image_size == side
    assert load_prior("tiny16", device="cpu").sizes == (16, 8)
    assert shipped_image_size("all") is None
