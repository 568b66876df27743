"""The checkerboard penalty: patterns go from what latents of small norm decode to, all else stays, runs go on."""

import copy
import math

import pytest
import torch

from benchmarks.levels import grid
from transflow_core.checkpoints.native import Checkpoint
from transflow_core.flows import PixelConvention
from transflow_core.flows.glow import Glow, GlowConfig, LevelConfig
from transflow_core.flows.layers import initialise
from transflow_core.flows.wavelet import WaveletConfig, build_flow, whiten
from transflow_core.priors.catalogue import load_prior
from transflow_core.priors.prior import Prior
from transflow_core.training.checkerboard import penalised_parameters, without_checkerboard

from .conftest import card, log, same, tiny, train

LEVELS = (LevelConfig(2, 16), LevelConfig(2, 16), LevelConfig(2, 16))
PIXELS = PixelConvention(bits=5)


@pytest.mark.parametrize(("seed", "scales", "period"), [(0, 1, 2), (1, 2, 2), (2, 2, 4)])
def test_a_grid_goes_and_the_picture_stays(seed, scales, period):
    """Soft shapes, as a face's light is, under a grid."""
    small = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    x = torch.nn.functional.interpolate(small, 64, mode="bicubic", align_corners=True)
    signs = torch.arange(64) // (period // 2) % 2 * 2 - 1.0
    spoilt = x + 0.02 * torch.linspace(0.5, 1, 64) * torch.outer(signs, signs)
    for picture in (spoilt, x):
        assert (without_checkerboard(picture, scales) - x).square().mean() < 0.02 * (spoilt - x).square().mean()


def penalised(flow):
    chosen = set(map(id, penalised_parameters(flow)))
    return {name for name, parameter in flow.named_parameters() if id(parameter) in chosen}


@pytest.fixture(scope="module")
def gridded(disc_set, tmp_path_factory):
    """A prior of discs with a grid over whatever it decodes: one shift for each place of a 2×2 block."""
    folder = tmp_path_factory.mktemp("start")
    train(disc_set, folder, tiny(steps=60), GlowConfig(32, LEVELS))
    prior = load_prior(folder, device="cpu")
    assert isinstance(prior.flow, Glow)
    with torch.no_grad():
        prior.flow.levels[0].steps[0].coupling.net.conv_out.bias[:6] += torch.tensor([0.5, -0.5] * 3)
    return Prior.from_checkpoint(Checkpoint(prior.flow, prior.pixels, "gridded", "gridded"), device="cpu")


def test_training_takes_the_grid_and_keeps_the_rest(disc_set, gridded, tmp_path):
    how = tiny(steps=60, checkerboard=300.0)
    train(disc_set, tmp_path, how, gridded.flow.config, start=gridded)
    after = load_prior(tmp_path, device="cpu")
    grids = [grid(prior.decode(torch.zeros(1, prior.dim))) for prior in (gridded, after)]
    assert grids[0] > 4 and grids[1] < 0.5 * grids[0]
    z = 0.5 * torch.randn(8, gridded.dim, generator=torch.Generator().manual_seed(0))
    wanted = without_checkerboard(gridded.decode(z), 2)
    assert (after.decode(z) - wanted).square().mean() < 0.8 * (gridded.decode(z) - wanted).square().mean()
    for (name, before), now in zip(gridded.flow.named_parameters(), after.flow.parameters(), strict=True):
        assert name in penalised(gridded.flow) or before.equal(now), name
    penalties = [line["checkerboard"] for line in log(tmp_path, "step")]
    assert len(penalties) == 3 and penalties[-1] < penalties[0]
    assert "- **Checkerboard penalty**: the nets of the finest levels" in card(tmp_path)


def test_levels_that_other_noise_was_learned_with_are_whitened(gridded):
    x = PIXELS.dequantise(torch.rand(64, 3, 64, 64), torch.rand(64, 3, 64, 64))
    flow = build_flow(WaveletConfig(gridded.flow.config), torch.Generator().manual_seed(0)).requires_grad_(False)
    initialise(flow, x)
    was, log_det_was = flow(0.3 * x)
    whiten(flow, 0.3 * x)
    z, log_det = flow(0.3 * x)
    parts = z.split([math.prod(shape) for shape in flow.latent_shapes], 1)
    assert [float(part.square().mean().sqrt()) for part in parts] == pytest.approx([1] * len(parts), abs=0.06)
    same(flow.inverse(z)[0], 0.3 * x, atol=1e-4)
    # The density is still that of a flow: what the latents gain in length, the log-determinant gains.
    torch.testing.assert_close(log_det - log_det_was, (z / was).abs().log().sum(1), atol=0.5, rtol=1e-3)
    again = copy.deepcopy(flow)
    whiten(again, 0.3 * x)
    same(again.state_dict(), flow.state_dict())
