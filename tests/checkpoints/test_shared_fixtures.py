"""The projects' own numbers, where the shared folder is beside this checkout: computed by their code, not by ours."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from transflow_core.checkpoints import convert, load_native, save_native

FIXTURES = Path(__file__).resolve().parents[3] / "shared" / "fixtures"
pytestmark = pytest.mark.skipif(not FIXTURES.is_dir(), reason="the shared folder is not beside this checkout")

CASES = {
    "rosinality": ("model_010001.pt", {"image_size": 32, "bits": 5}),
    "chaiyujin": ("save_5k0.pkg", {}),
    "y0ast": ("glow_model_250.pth", {}),
    "y0ast ignite": ("glow_checkpoint_1.pt", {}),
    "glowip": ("glowmodel.pt", {}),
    "openai": ("variables.npz", {}),
}


def tensor(array):
    return torch.from_numpy(np.ascontiguousarray(array))


def latents(folder, io, prefix):
    """Whitened latents, flat and fine to coarse, as the project gave them."""
    names = sorted(name for name in io if name.startswith(prefix))
    parts = [tensor(io[name]) for name in names]
    if folder.name == "openai":
        parts = [part.permute(0, 3, 1, 2) for part in parts]
    return torch.cat([part.flatten(1) for part in parts], 1)


def log_prob(folder, io, z):
    """log p(x) in nats, from whichever of its numbers the project gave."""
    if folder.name == "rosinality":
        return io["log_p"] + io["logdet"]
    if folder.name == "glowip":
        return io["logdet"] + standard(z)
    if folder.name == "openai":  # its objective counts quantised images
        return io["objective_nats"] + 3072 * math.log(32)
    return io["logp_nats_without_quant_term"]


def standard(z):
    return (-0.5 * (z.double().square().sum(1) + z.shape[1] * math.log(2 * math.pi))).numpy()


@pytest.fixture(params=CASES)
def case(request):
    folder = FIXTURES / request.param.split()[0]
    file, options = CASES[request.param]
    with np.load(folder / "io.npz") as io:
        return folder, dict(io), convert(folder / file, options=options)


def test_eps_log_likelihood_and_reconstruction(case, tmp_path):
    folder, io, checkpoint = case
    x = tensor(io["z_in"]).permute(0, 3, 1, 2) if folder.name == "openai" else tensor(io["x_in"])
    expected = latents(folder, io, "eps_" if "eps_0" in io else "z_")
    with torch.inference_mode():
        z, log_det = checkpoint.flow(x)
        back = checkpoint.flow.inverse(z)[0]
    torch.testing.assert_close(z, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(back, x, atol=1e-4, rtol=0)
    # The projects sum in float32, where the numbers that they add up have steps of 1e-3.
    np.testing.assert_allclose(
        standard(z) + log_det.double().numpy(), log_prob(folder, io, expected), atol=1e-3, rtol=1e-6
    )
    save_native(checkpoint, tmp_path / "native.safetensors")
    with torch.inference_mode():
        assert load_native(tmp_path / "native.safetensors").flow(x)[0].equal(z)
