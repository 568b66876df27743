"""The native format: round trips, and files that are damaged, wrong or hostile."""

import json
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from transflow_core.checkpoints import CheckpointError
from transflow_core.checkpoints.native import load_native
from transflow_core.priors.catalogue import load_prior
from transflow_core.priors.typicality import Typicality

from ..helpers import make_tiny_prior
from .memory import refused

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)


@pytest.mark.parametrize("where", ["prior.safetensors", "folder"])
def test_a_saved_prior_is_the_same_prior(tmp_path, where):
    prior = make_tiny_prior()
    row = (1.0, 2.0)
    prior.typicality = Typicality(2, (0.0, 100.0), row, row, (row, row))
    prior.metadata["licence"] = "none"
    prior.save(tmp_path / where)
    again = load_prior(tmp_path / where, device="cpu")
    assert again.encode(IMAGES).equal(prior.encode(IMAGES))
    assert (again.name, again.pixels, again.typicality) == (prior.name, prior.pixels, prior.typicality)
    assert again.metadata["licence"] == "none"
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
    "bounded layers of a base": (
        lambda t, h: h.update(config=retired(h["config"], details={}, base={"base": {"bounded": True}})),
        "symmetric details",
    ),
    "bits": (lambda t, h: h.update(config=h["config"].replace('"bits": 5', '"bits": 0')), "bits"),
    "a tensor is missing": (lambda t, h: t.pop("top.mean"), "top.mean"),
    "a tensor too many": (lambda t, h: t.update(extra=torch.zeros(1)), "extra"),
    "another shape": (lambda t, h: t.update({"top.mean": torch.zeros(3)}), "top.mean"),
    "whole numbers": (lambda t, h: t.update({"top.mean": torch.zeros_like(t["top.mean"], dtype=torch.int64)}), "int64"),
    "not finite": (lambda t, h: t["top.mean"].fill_(torch.nan), "finite"),
    "typicality of nonsense": (lambda t, h: h.update(typicality='{"n": "many"}'), "typicality"),
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


POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 47331428\n"
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


@pytest.mark.parametrize("name", ["model.pt", "graph.pb"])
def test_a_pointer_of_another_name_is_called_one(name, tmp_path):
    (tmp_path / name).write_text(POINTER)
    refused(tmp_path / name, "git lfs pull")


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
