"""A wavelet flow: what its base sees, how its density is composed, and what is computed in bfloat16."""

import math

import torch
import torch.nn.functional as F

from transflow_core.flows import DetailConfig, GlowConfig, LevelConfig, WaveletConfig, compute_nets_in, haar_split
from transflow_core.priors.prior import standard_log_prob

from .test_fused import built

BASE = GlowConfig(image_size=8, levels=(LevelConfig(2, 8), LevelConfig(2, 8)), position=True)
FLOW = built(WaveletConfig(BASE, DetailConfig(3, 8, 4)), 0.03)
X = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(5)) - 0.5


@torch.no_grad()
def test_the_base_models_the_low_pass_and_its_latents_come_last():
    z, low = FLOW(X)[0], F.avg_pool2d(X, 2)
    torch.testing.assert_close(haar_split(X)[0], low)
    torch.testing.assert_close(z[:, 9 * 64 :], FLOW.base(low)[0], atol=1e-5, rtol=1e-4)
    # Other details: the picture changes, its low-pass does not.
    other = torch.cat([torch.randn(2, 9 * 64, generator=torch.Generator().manual_seed(1)), z[:, 9 * 64 :]], 1)
    changed = FLOW.inverse(other)[0]
    assert (changed - X).abs().max() > 0.1
    for same in (FLOW.low_pass(z), FLOW.low_pass(other), F.avg_pool2d(changed, 2)):
        torch.testing.assert_close(same, low, atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_density_is_the_low_pass_times_the_details_given_the_low_pass():
    (z, log_det), (low, details) = FLOW(X), haar_split(X)
    z_low, log_det_low = FLOW.base(low)
    eps, log_det_details = FLOW.details(details, low)
    parts = standard_log_prob(z_low) + log_det_low + standard_log_prob(eps.flatten(1)) + log_det_details
    torch.testing.assert_close(standard_log_prob(z) + log_det, parts - 3 * 64 * math.log(2), atol=1e-3, rtol=1e-6)
    assert not torch.allclose(eps, FLOW.details(details, low.flip(0))[0], atol=1e-3)


@torch.no_grad()
def test_nets_in_bfloat16_stay_near_and_leave_the_flow_in_float32():
    flow = built(FLOW.config, 0.03)
    exact = flow(X)[0]
    compute_nets_in(flow, torch.bfloat16)
    rough = flow(X)[0]
    assert rough.dtype == torch.float32 and not rough.equal(exact)
    torch.testing.assert_close(rough, exact, atol=0.05, rtol=0.05)
