"""A grown flow: what its base sees, how its density is composed, and which configurations are none."""

import math

import torch

from transflow_core.checkpoints.memory import estimate_memory
from transflow_core.flows import (
    CouplingNet,
    DetailConfig,
    GlowConfig,
    LevelConfig,
    WaveletConfig,
    WaveletGlow,
    haar_split,
    read_config,
)
from transflow_core.prior import standard_log_prob

BASE = GlowConfig(image_size=8, levels=(LevelConfig(2, 8), LevelConfig(2, 8)), position=True)


CONFIG = WaveletConfig(BASE, DetailConfig(3, 8, 4))


def grown(config: WaveletConfig = CONFIG, seed: int = 0) -> WaveletGlow:
    generator = torch.Generator().manual_seed(seed)
    flow = WaveletGlow(config, generator)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.03 * torch.randn(parameter.shape, generator=generator))
    return flow.eval()


def images(n: int = 2, side: int = 16) -> torch.Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(5)) - 0.5


def test_the_base_models_the_means_and_its_latents_come_last():
    flow, x = grown(), images()
    with torch.no_grad():
        z, _ = flow(x)
        means = torch.nn.functional.avg_pool2d(x, 2)
        torch.testing.assert_close(haar_split(x)[0], means)
        torch.testing.assert_close(z[:, 9 * 64 :], flow.base(means)[0], atol=1e-5, rtol=1e-4)
        back, _ = flow.inverse(z)
        # Other details: the picture changes, its means do not.
        other = torch.cat([torch.randn(2, 9 * 64, generator=torch.Generator().manual_seed(1)), z[:, 9 * 64 :]], 1)
        changed, _ = flow.inverse(other)
    torch.testing.assert_close(back, x, atol=1e-5, rtol=0)
    assert (changed - x).abs().max() > 0.1
    torch.testing.assert_close(flow.low_pass(z), means, atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.nn.functional.avg_pool2d(changed, 2), means, atol=1e-5, rtol=0)


def test_the_density_is_the_means_times_the_details_given_the_means():
    flow, x = grown(), images()
    with torch.no_grad():
        z, log_det = flow(x)
        means, details = haar_split(x)
        z_means, log_det_means = flow.base(means)
        eps, log_det_details = flow.details(details, means)
    whole = standard_log_prob(z) + log_det
    parts = standard_log_prob(z_means) + log_det_means + standard_log_prob(eps.flatten(1)) + log_det_details
    torch.testing.assert_close(whole, parts - 3 * 64 * math.log(2), atol=1e-3, rtol=1e-6)


def test_the_means_condition_the_details():
    flow, x = grown(), images()
    means, details = haar_split(x)
    with torch.no_grad():
        assert not torch.allclose(flow.details(details, means)[0], flow.details(details, means.flip(0))[0], atol=1e-3)


def test_it_grows_again():
    config = WaveletConfig(WaveletConfig(BASE, DetailConfig(1, 4, 4)), DetailConfig(2, 4, 4))
    flow, x = grown(config), images(side=32)
    assert read_config(config.to_dict()) == config
    assert [shape[1] for shape in flow.latent_shapes] == [16, 8, 4, 2] and flow.config.image_size == 32
    with torch.no_grad():
        z, log_det = flow(x)
        back, inverse_log_det = flow.inverse(z)
    torch.testing.assert_close(back, x, atol=1e-5, rtol=0)
    torch.testing.assert_close(log_det, -inverse_log_det, atol=1e-2, rtol=1e-5)
    assert estimate_memory(flow) > estimate_memory(flow.base) > estimate_memory(flow.base.base)


def test_actnorms_start_from_data():
    flow = WaveletGlow(WaveletConfig(BASE, DetailConfig(2, 8, 4)), torch.Generator().manual_seed(0))
    x = 0.1 * images(64)
    flow.initialise(x)
    _, details = haar_split(x)
    y, _ = flow.details.steps[0].actnorm(details)
    torch.testing.assert_close(y.mean((0, 2, 3)), torch.zeros(9), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.std((0, 2, 3), correction=0), torch.ones(9), atol=1e-3, rtol=0)


def test_nets_in_bfloat16_stay_near_and_leave_the_flow_in_float32():
    flow, x = grown(), images()
    with torch.no_grad():
        exact, _ = flow(x)
        for module in flow.modules():
            if isinstance(module, CouplingNet):
                module.compute_dtype = torch.bfloat16
        rough, _ = flow(x)
    assert rough.dtype == torch.float32 and not rough.equal(exact)
    torch.testing.assert_close(rough, exact, atol=0.05, rtol=0.05)
