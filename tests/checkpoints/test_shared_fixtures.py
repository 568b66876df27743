"""The projects' own numbers, where the shared folder is beside this checkout: computed by their code, not by ours."""

import math

import numpy as np
import pytest
import torch

from transflow_core.checkpoints import convert
from transflow_core.priors.prior import standard_log_prob

from ..helpers import SHARED

FIXTURES = SHARED / "fixtures"
pytestmark = pytest.mark.skipif(not FIXTURES.is_dir(), reason="the shared folder is not beside this checkout")

CASES = {
    "rosinality/model_010001.pt": {"image_size": 32, "bits": 5},
    "chaiyujin/save_5k0.pkg": {},
    "y0ast/glow_model_250.pth": {},
    "y0ast/glow_checkpoint_1.pt": {},
    "glowip/glowmodel.pt": {},
    "openai/variables.npz": {},
}
LOG_PROB = {
    "rosinality": lambda io, z: io["log_p"] + io["logdet"],
    "chaiyujin": lambda io, z: io["logp_nats_without_quant_term"],
    "y0ast": lambda io, z: io["logp_nats_without_quant_term"],
    "glowip": lambda io, z: io["logdet"] + standard_log_prob(z).numpy(),
    "openai": lambda io, z: io["objective_nats"] + 3072 * math.log(32),  # its objective counts quantised images
}
"""log p(x) in nats, from whichever of its numbers the project gave."""


@pytest.mark.parametrize("file", CASES)
def test_eps_log_likelihood_and_reconstruction(file):
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
        z, log_det = flow(x)
        back = flow.inverse(z)[0]
    torch.testing.assert_close(z, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(back, x, atol=1e-4, rtol=0)
    # The projects sum in float32, where the numbers that they add up have steps of 1e-3.
    found = (standard_log_prob(z) + log_det.double()).numpy()
    np.testing.assert_allclose(found, LOG_PROB[project](io, expected), atol=1e-3, rtol=1e-6)
