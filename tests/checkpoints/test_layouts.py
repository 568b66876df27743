"""Each layout becomes the native Glow with the same latents, densities and images."""

import math

import numpy as np
import pytest
import torch

from transflow_core.checkpoints import CheckpointError, convert, load_native, recognise, save_native
from transflow_core.flows import fuse
from transflow_core.prior import load_prior

from .writers import VARIANTS, Chaiyujin, GlowIP, Normflows, OpenAI, Rosinality, Y0ast, gaussian


def images(project, n=3):
    """Smooth random x in the middle of the range."""
    generator = torch.Generator().manual_seed(3)
    x = torch.rand(n, project.channels, project.size, project.size, generator=generator)
    return 0.8 * (x - 0.5)


@pytest.fixture(params=VARIANTS, ids=lambda name: name.replace(" ", "-").replace(",", ""))
def variant(request, tmp_path):
    project = VARIANTS[request.param]()
    return project, project.save(tmp_path)


@pytest.mark.parametrize("form", [lambda flow: flow, fuse], ids=["training", "inference"])
def test_latents_density_and_reconstruction_are_those_of_the_project(variant, form):
    project, path = variant
    checkpoint = convert(path, options=project.options)
    x = images(project)
    latents, log_det = project.encode(x)
    with torch.inference_mode():
        flow = form(checkpoint.flow)
        z, ours = flow.forward(x)
        back, inverse = flow.inverse(z)
    expected = torch.cat([latent.flatten(1) for latent in latents], 1)
    assert checkpoint.flow.latent_shapes == tuple(tuple(latent.shape[1:]) for latent in latents)
    torch.testing.assert_close(z.double(), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ours.double(), log_det, atol=1e-3, rtol=1e-6)
    torch.testing.assert_close(
        gaussian([z.double()]) + ours.double(), gaussian(latents) + log_det, atol=1e-3, rtol=1e-6
    )
    torch.testing.assert_close(back, x, atol=1e-4, rtol=0)
    torch.testing.assert_close(inverse, -ours, atol=1e-3, rtol=1e-6)


def test_a_converted_prior_is_saved_natively_and_needs_no_reader_again(variant, tmp_path):
    project, path = variant
    checkpoint = convert(path, options=project.options)
    save_native(checkpoint, tmp_path / "native.safetensors")
    again = load_native(tmp_path / "native.safetensors")
    assert recognise(tmp_path / "native.safetensors").format == "native"
    assert (again.fingerprint, again.pixels) == (checkpoint.fingerprint, checkpoint.pixels)
    assert again.flow.config == checkpoint.flow.config
    assert again.metadata["converted_from"].startswith(project.format)
    x = images(project)
    with torch.inference_mode():
        for one, other in zip(again.flow(x), checkpoint.flow(x), strict=True):
            assert one.equal(other)


def test_the_format_is_recognised_from_the_file(variant):
    project, path = variant
    found = recognise(path)
    assert found.format == project.format
    assert project.options.keys() <= found.settings.keys()


def test_load_prior_takes_the_file_and_its_settings(variant):
    project, path = variant
    prior = load_prior(path, device="cpu", **project.options)
    assert (prior.image_size, prior.channels, prior.pixels.bits) == (project.size, project.channels, project.bits)
    u = np.random.default_rng(0).integers(0, 256, (2, project.size, project.size, project.channels), dtype=np.uint8)
    z = prior.encode(u)
    assert z.equal(prior.encode(u))  # no dequantisation noise
    torch.testing.assert_close(prior.decode(z), prior.to_unit(u), atol=1e-3, rtol=0)
    assert torch.isfinite(prior.bits_per_dim(u)).all()


# What each project's own preprocessing makes of a byte, with its noise at its mean.
PIXELS = {
    "rosinality": (Rosinality, lambda u: (u + 0.5) / 256 - 0.5),
    "chaiyujin": (Chaiyujin, lambda u: u / 255),
    "y0ast": (Y0ast, lambda u: (u + 0.5) / 256 - 0.5),
    "glowip": (GlowIP, lambda u: (u + 0.5) / 256 - 0.5),
    "normflows": (Normflows, lambda u: (u + 0.5) / 256),
    "openai": (OpenAI, lambda u: (u + 0.5) / 256 - 0.5),
}


@pytest.mark.parametrize("name", PIXELS)
def test_bytes_become_the_x_that_the_other_project_was_trained_on(name, tmp_path):
    kind, expected = PIXELS[name]
    project = kind()
    pixels = convert(project.save(tmp_path), options=project.options).pixels
    u = torch.arange(256, dtype=torch.uint8)
    x = pixels.to_flow(pixels.from_bytes(u))
    torch.testing.assert_close(x, expected(u.float()), atol=1e-6, rtol=0)
    assert (pixels.from_flow(x) * 256).floor().clamp(0, 255).to(torch.uint8).equal(u)


def test_gaussian_dequantisation_has_the_other_projects_mean_and_spread(tmp_path):
    project = Chaiyujin()
    pixels = convert(project.save(tmp_path), options=project.options).pixels
    u = torch.full((200_000,), 100, dtype=torch.uint8)
    noise = torch.rand(len(u), generator=torch.Generator().manual_seed(0))
    x = pixels.dequantise(pixels.from_bytes(u), noise)
    assert abs(float(x.mean()) - 100 / 255) < 3e-5
    assert abs(float(x.std()) * 256 - 1) < 0.01
    assert torch.isfinite(pixels.dequantise(pixels.from_bytes(u[:2]), torch.tensor([0.0, 1.0]))).all()


def test_what_no_tensor_tells_is_asked_for_all_at_once(tmp_path):
    path = Rosinality().save(tmp_path)
    with pytest.raises(CheckpointError, match=r"image_size .*; bits "):
        convert(path)
    with pytest.raises(CheckpointError, match="no setting 'colour'"):
        convert(path, options={"image_size": 16, "bits": 5, "colour": 1})
    with pytest.raises(CheckpointError, match="bits"):
        convert(path, options={"image_size": 16, "bits": 9})
    with pytest.raises(CheckpointError, match="image_size"):
        convert(path, options={"image_size": "big", "bits": 5})
    with pytest.raises(CheckpointError, match="does not allow"):
        convert(path, options={"image_size": 18, "bits": 5})


def test_a_class_conditional_flow_asks_for_its_class(tmp_path):
    path = Chaiyujin(extra={"classes": 4}).save(tmp_path)
    with pytest.raises(CheckpointError, match="label"):
        convert(path)
    with pytest.raises(CheckpointError, match="label must be 0 to 3"):
        convert(path, options={"label": 4})
    one, other = (convert(path, options={"label": label}).flow.top.mean for label in (0, 1))
    assert not one.equal(other)


def test_options_win_over_a_file_beside_the_weights(tmp_path):
    project = GlowIP(steps=(2, 1))
    path = project.save(tmp_path)
    assert convert(path).pixels.bits == 5
    assert convert(path, options={"bits": 3}).pixels.bits == 3
    (tmp_path / "configs.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"configs\.json"):
        convert(path)


def test_a_yaml_configuration_above_the_training_checkpoints_is_read(tmp_path):
    """tristan-deep/glow-celeba keeps config.yaml there."""
    folder = tmp_path / "training_checkpoints"
    folder.mkdir()
    path = GlowIP(steps=(2, 1)).save(folder)
    (folder / "configs.json").unlink()
    (tmp_path / "config.yaml").write_text(
        "K: 2\nimage_size: 16\nimage_shape:\n- 16\n- 16\n- 3\nlast_zeros: true\nn_bits_x: 5\n"
    )
    checkpoint = convert(path)
    assert (checkpoint.flow.config.image_size, checkpoint.pixels.bits) == (16, 5)
    assert checkpoint.flow.config.levels[-1].coupling.plus == 1.0


def test_a_model_that_was_never_trained_is_refused(tmp_path):
    for project, name in ((Rosinality(), "actnorm.initialized"), (Normflows(), "data_dep_init_done")):
        key = next(k for k in project.state if k.endswith(name))
        project.state[key] = torch.zeros_like(project.state[key])
        with pytest.raises(CheckpointError, match="never initialised"):
            convert(project.save(tmp_path), options=project.options)


SPOILT = {
    "a tensor is missing": (
        Rosinality,
        lambda s: s.pop("blocks.1.flows.0.coupling.net.2.bias"),
        "net.2.bias is missing",
    ),
    "a tensor too many": (Rosinality, lambda s: s.update({"blocks.0.flows.0.gate.weight": torch.zeros(3)}), "gate"),
    "another shape": (
        Y0ast,
        lambda s: s.update({"flow.layers.1.block.0.actnorm.bias": torch.zeros(1, 12)}),
        "expected",
    ),
    "a hole in the row": (Y0ast, lambda s: [s.pop(k) for k in [*s] if k.startswith("flow.layers.2.")], "in turn"),
    "not finite": (GlowIP, lambda s: s["glow_modules.1.actnorm.b"].fill_(math.inf), "finite"),
    "singular": (GlowIP, lambda s: s["glow_modules.1.invconv.W"].zero_(), "singular"),
    "a scale of zero": (Rosinality, lambda s: s["blocks.0.flows.0.actnorm.scale"].zero_(), "zero"),
    "no permutation": (Normflows, lambda s: s["flows.0.0.flows.1.P"].fill_(0.1), "permutation"),
    "mixed couplings": (
        Chaiyujin,
        lambda s: s.update({"flow.layers.5.f.4.weight": torch.zeros(12, 6, 3, 3)}),
        "all additive",
    ),
    "no rotation": (
        Chaiyujin,
        lambda s: [s.pop(k) for k in [*s] if ".invconv." in k],
        "shuffles or reverses",
    ),
    "overflow": (Chaiyujin, lambda s: s["flow.layers.1.f.0.actnorm.logs"].fill_(200.0), "overflows"),
    "bases that differ by pixel": (
        lambda: Normflows(extra={"base": "diagonal"}),
        lambda s: s["q0.1.loc"][..., 0].add_(1),
        "pixel to pixel",
    ),
}


@pytest.mark.parametrize("case", SPOILT)
def test_what_cannot_be_read_exactly_is_refused_with_the_reason(case, tmp_path):
    kind, spoil, message = SPOILT[case]
    project = kind()
    spoil(project.state)
    with pytest.raises(CheckpointError, match=message):
        convert(project.save(tmp_path), options=project.options)


def test_another_projects_tensors_in_a_safetensors_file_are_recognised_too(tmp_path):
    from safetensors.torch import save_file

    project = Y0ast()
    save_file({k: v.contiguous().clone() for k, v in project.state.items()}, tmp_path / "model.safetensors")
    assert recognise(tmp_path / "model.safetensors").format == project.format
    x = images(project)
    expected = project.encode(x)[0]
    with torch.inference_mode():
        z, _ = convert(tmp_path / "model.safetensors").flow(x)
    torch.testing.assert_close(z.double(), torch.cat([e.flatten(1) for e in expected], 1), atol=1e-4, rtol=1e-4)


def test_the_older_layout_of_torch_is_read(tmp_path):
    """The published checkpoints of 2018 and 2019 were not zip archives yet."""
    project = Chaiyujin()
    torch.save(project.wrapped(project.state), tmp_path / "old.pkg", _use_new_zipfile_serialization=False)
    new = convert(project.save(tmp_path))
    assert new.flow.state_dict().keys() == (old := convert(tmp_path / "old.pkg")).flow.state_dict().keys()
    assert all(a.equal(b) for a, b in zip(new.flow.state_dict().values(), old.flow.state_dict().values(), strict=True))


def test_a_native_file_takes_no_settings(tmp_path):
    save_native(convert(Chaiyujin().save(tmp_path)), tmp_path / "native.safetensors")
    with pytest.raises(CheckpointError, match="native"):
        convert(tmp_path / "native.safetensors", options={"bits": 5})


def test_a_prior_that_needs_a_larger_machine_says_so_first(tmp_path, monkeypatch):
    from transflow_core.checkpoints import memory

    monkeypatch.setattr(memory, "available_memory", lambda: 10_000_000)
    with pytest.raises(CheckpointError, match=r"GiB of memory.*larger machine"):
        convert(Chaiyujin().save(tmp_path))
    monkeypatch.setattr(memory, "available_memory", lambda: None)  # a system that does not tell
    convert(Chaiyujin().save(tmp_path))


def test_the_estimate_of_memory_grows_with_the_flow():
    from transflow_core.checkpoints import available_memory, estimate_memory
    from transflow_core.flows import Glow, GlowConfig, LevelConfig

    with torch.device("meta"):
        small = Glow(GlowConfig(64, (LevelConfig(2, 64),) * 3))
        large = Glow(GlowConfig(256, (LevelConfig(32, 512),) * 6, edge=True))
    assert 0.05e9 < estimate_memory(small) < 0.2e9 < 0.9e9 < estimate_memory(large) < 3e9
    assert available_memory() is None or available_memory() > 0
