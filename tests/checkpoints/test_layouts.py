"""Each layout becomes the native Glow with the same latents, densities and images."""

import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from transflow_core.checkpoints import CheckpointError, convert, memory
from transflow_core.checkpoints.native import load_native, save_native
from transflow_core.flows.fused import GuardedFlow
from transflow_core.flows.glow import Glow, GlowConfig, LevelConfig
from transflow_core.priors.catalogue import load_prior
from transflow_core.priors.prior import standard_log_prob

from ..helpers import SHARED
from .projects import CHAIYUJIN, GLOWIP, NAMES, ROSINALITY, Y0AST, project

CENTRED = lambda u: (u + 0.5) / 256 - 0.5  # noqa: E731
PIXELS = {"chaiyujin": lambda u: u / 255}
"""What a project's own preprocessing makes of a byte, with its noise at its mean."""


@pytest.mark.parametrize("name", NAMES)
def test_a_file_becomes_the_native_glow_with_the_projects_own_numbers(name, tmp_path):
    made = project(name)
    path = made.save(tmp_path)
    checkpoint = convert(path, options=made.options)
    assert checkpoint.metadata["format"] == made.format
    assert [list(shape) for shape in checkpoint.flow.latent_shapes] == made.latent_shapes
    for flow in (checkpoint.flow, GuardedFlow(checkpoint.flow)):
        with torch.inference_mode():
            z, log_det = flow.forward(made.x)
            back, inverse = flow.inverse(z)
        torch.testing.assert_close(z, made.z, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(log_det.double(), made.log_det, atol=1e-3, rtol=1e-6)
        expected = standard_log_prob(made.z) + made.log_det
        torch.testing.assert_close(standard_log_prob(z) + log_det, expected, atol=1e-3, rtol=1e-6)
        torch.testing.assert_close(back, made.x, atol=1e-4, rtol=0)
        torch.testing.assert_close(inverse, -log_det, atol=1e-3, rtol=1e-6)

    # As a prior: bytes become the x that the other project was trained on, and come back.
    prior = load_prior(path, device="cpu", **made.options)
    assert (prior.image_size, prior.channels, prior.pixels.bits) == (made.size, made.channels, made.bits)
    u = torch.arange(256, dtype=torch.uint8)
    x = prior.pixels.to_flow(prior.pixels.from_bytes(u))
    torch.testing.assert_close(x, PIXELS.get(name.split()[0], CENTRED)(u.float()), atol=1e-6, rtol=0)
    assert (prior.pixels.from_flow(x) * 256).floor().clamp(0, 255).to(torch.uint8).equal(u)
    u = np.random.default_rng(0).integers(0, 256, (2, made.size, made.size, made.channels), dtype=np.uint8)
    z = prior.encode(u)
    assert z.equal(prior.encode(u))  # no dequantisation noise
    torch.testing.assert_close(prior.decode(z), prior.to_unit(u), atol=1e-3, rtol=0)
    assert torch.isfinite(prior.bits_per_dim(u)).all()

    # Saved natively, it needs no reader again.
    save_native(checkpoint, tmp_path / "native.safetensors")
    again = load_native(tmp_path / "native.safetensors")
    assert (again.fingerprint, again.pixels) == (checkpoint.fingerprint, checkpoint.pixels)
    assert again.metadata["converted_from"].startswith(made.format)
    torch.testing.assert_close(again.flow.state_dict(), checkpoint.flow.state_dict(), atol=0, rtol=0)
    with pytest.raises(CheckpointError, match="native file needs no settings"):
        convert(tmp_path / "native.safetensors", options={"bits": 5})


def test_gaussian_dequantisation_has_the_other_projects_mean_and_spread(tmp_path):
    pixels = convert(project(CHAIYUJIN).save(tmp_path)).pixels
    u = torch.full((200_000,), 100, dtype=torch.uint8)
    noise = torch.rand(len(u), generator=torch.Generator().manual_seed(0))
    x = pixels.dequantise(pixels.from_bytes(u), noise)
    assert abs(float(x.mean()) - 100 / 255) < 3e-5
    assert abs(float(x.std()) * 256 - 1) < 0.01
    assert torch.isfinite(pixels.dequantise(pixels.from_bytes(u[:2]), torch.tensor([0.0, 1.0]))).all()


@pytest.mark.parametrize("how", ["safetensors", "the older layout of torch"])
def test_the_same_tensors_in_another_container(how, tmp_path):
    """The published checkpoints of 2018 and 2019 were not zip archives yet."""
    made = project(Y0AST)
    if how == "safetensors":
        save_file(made.state, tmp_path / "other.safetensors")
    else:
        made.save(tmp_path, _use_new_zipfile_serialization=False)
    other = convert(next(tmp_path.iterdir())).flow.state_dict()
    torch.testing.assert_close(convert(made.save(tmp_path)).flow.state_dict(), other, atol=0, rtol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"image_size .*; bits "),
        ({"image_size": 16, "bits": 5, "colour": 1}, "no setting 'colour'"),
        ({"image_size": 16, "bits": 9}, "bits"),
        ({"image_size": "big", "bits": 5}, "image_size"),
        ({"image_size": 18, "bits": 5}, "do not fit"),
        ({"image_size": 4096, "bits": 5}, "image_size.* 1024"),
    ],
)
def test_what_no_tensor_tells_is_asked_for_all_at_once(options, message, tmp_path):
    with pytest.raises(CheckpointError, match=message):
        convert(project(ROSINALITY).save(tmp_path), options=options)


def test_a_class_conditional_flow_asks_for_its_class(tmp_path):
    path = project("chaiyujin with classes").save(tmp_path)
    for options in ({}, {"label": 4}):
        with pytest.raises(CheckpointError, match=r"label.* 0 to 3"):
            convert(path, options=options)
    one, other = (convert(path, options={"label": label}).flow.top.mean for label in (0, 1))
    assert not one.equal(other)


def test_options_win_over_a_file_beside_the_weights(tmp_path):
    path = project(GLOWIP).save(tmp_path)
    assert convert(path).pixels.bits == 5
    assert convert(path, options={"bits": 3}).pixels.bits == 3


SPOILT = {
    "a tensor is missing": (ROSINALITY, lambda s: s.pop("blocks.1.flows.0.coupling.net.2.bias"), "2.bias is missing"),
    "a tensor too many": (ROSINALITY, lambda s: s.update({"blocks.0.flows.0.gate.weight": torch.zeros(3)}), "gate"),
    "another shape": (Y0AST, lambda s: s.update({"flow.layers.1.block.0.actnorm.bias": torch.zeros(12)}), "expected"),
    "a hole in the row": (Y0AST, lambda s: [s.pop(k) for k in [*s] if k.startswith("flow.layers.7.")], "in turn"),
    "not finite": (GLOWIP, lambda s: s["glow_modules.1.actnorm.b"].fill_(math.inf), "finite"),
    "singular": (GLOWIP, lambda s: s["glow_modules.1.invconv.W"].zero_(), "singular"),
    "a scale of zero": (ROSINALITY, lambda s: s["blocks.0.flows.0.actnorm.scale"].zero_(), "zero"),
    "never trained": (ROSINALITY, lambda s: s["blocks.0.flows.1.actnorm.initialized"].zero_(), "never initialised"),
    "no permutation": (ROSINALITY, lambda s: s["blocks.0.flows.0.invconv.w_p"].fill_(0.1), "permutation"),
    "mixed couplings": (
        CHAIYUJIN,
        lambda s: s.update({"flow.layers.5.f.4.weight": torch.zeros(12, 3, 3, 3)}),
        "all additive",
    ),
    "no rotation": (CHAIYUJIN, lambda s: [s.pop(k) for k in [*s] if ".invconv." in k], "shuffles or reverses"),
    "overflow": (CHAIYUJIN, lambda s: s["flow.layers.1.f.0.actnorm.logs"].fill_(200.0), "overflows"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_what_cannot_be_read_exactly_is_refused_with_the_reason(case, tmp_path):
    name, spoil, message = SPOILT[case]
    made = project(name)
    spoil(made.state)
    with pytest.raises(CheckpointError, match=message):
        convert(made.save(tmp_path), options=made.options)


def test_a_prior_that_needs_a_larger_machine_says_so_first(tmp_path, monkeypatch):
    with torch.device("meta"):
        small = Glow(GlowConfig(64, (LevelConfig(2, 64),) * 3))
        large = Glow(GlowConfig(256, (LevelConfig(32, 512),) * 6, edge=True))
    assert 0.05e9 < memory.estimate_memory(small) < 0.2e9 < 0.9e9 < memory.estimate_memory(large) < 3e9
    assert memory.available_memory() is None or memory.available_memory() > 0
    path = project(CHAIYUJIN).save(tmp_path)
    monkeypatch.setattr(memory, "available_memory", lambda: None)  # a system that does not tell
    convert(path)
    monkeypatch.setattr(memory, "available_memory", lambda: 10_000_000)
    with pytest.raises(CheckpointError, match=r"GiB of memory.*larger machine"):
        convert(path)


FIXTURES = SHARED / "fixtures"
CASES = {
    "rosinality/model_010001.pt": {"image_size": 32, "bits": 5},
    "chaiyujin/save_5k0.pkg": {},
    "y0ast/glow_model_250.pth": {},
    "y0ast/glow_checkpoint_1.pt": {},
    "glowip/glowmodel.pt": {},
    "openai/variables.npz": {},
}


@pytest.mark.skipif(not FIXTURES.is_dir(), reason="the shared folder is not beside this checkout")
@pytest.mark.parametrize("file", CASES)
def test_the_latents_of_the_projects_own_code_are_ours(file):
    """Their densities are in the data of `projects`."""
    path = FIXTURES / file
    project = path.parent.name
    flow = convert(path, options=CASES[file]).flow
    with np.load(path.parent / "io.npz") as arrays:
        io = dict(arrays)

    def images(name):
        x = torch.from_numpy(np.ascontiguousarray(io[name]))
        return x.permute(0, 3, 1, 2) if project == "openai" else x

    x = images("z_in" if project == "openai" else "x_in")
    prefix = "eps_" if "eps_0" in io else "z_"
    names = sorted(name for name in io if name.startswith(prefix) and name != "z_in")
    expected = torch.cat([images(name).flatten(1) for name in names], 1)
    with torch.inference_mode():
        z = flow(x)[0]
        back = flow.inverse(z)[0]
    torch.testing.assert_close(z, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(back, x, atol=1e-4, rtol=0)
