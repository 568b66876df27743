"""The checkerboard penalty: patterns go from what latents of small norm decode to, all else stays, runs go on."""

import copy

import numpy as np
import pytest
import torch

from benchmarks.levels import grid
from transflow_core.checkpoints import Checkpoint
from transflow_core.flows import (
    Glow,
    GlowConfig,
    LevelConfig,
    PixelConvention,
    WaveletConfig,
    build_flow,
    initialise,
    whiten,
)
from transflow_core.priors.catalogue import load_prior
from transflow_core.priors.prior import Prior
from transflow_core.training.checkerboard import low_norm_latents, penalised_parameters, without_checkerboard
from transflow_core.training.data import first_images

from .conftest import log, run_in_parts, same_bits, tiny, train

LEVELS = (LevelConfig(2, 16), LevelConfig(2, 16), LevelConfig(2, 16))
PIXELS = PixelConvention(bits=5)


def chessboard(side, period=2):
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    half = period // 2
    return 1.0 - 2.0 * ((y // half + x // half) % 2)


def smooth(seed, side=64):
    """Soft shapes, as a face's light is."""
    small = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(small, side, mode="bicubic", align_corners=True)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("scales, period", [(1, 2), (2, 2), (2, 4)])
def test_a_grid_goes_and_the_picture_stays(seed, scales, period):
    x = smooth(seed)
    spoilt = x + 0.02 * torch.linspace(0.5, 1, 64) * chessboard(64, period)
    cleaned = without_checkerboard(spoilt, scales)
    assert (cleaned - x).square().mean() < 0.02 * (spoilt - x).square().mean()
    assert (without_checkerboard(x, scales) - x).square().mean() < 0.02 * (spoilt - x).square().mean()


def test_a_pattern_that_changes_its_phase_is_hair_and_stays():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(4, 3, 64, 64, generator=generator)
    # Noise has a ninth of a window's pixels' share in each pattern.
    assert (without_checkerboard(x) - x).square().mean() < 0.05 * x.var()


def test_latents_follow_from_seed_and_step_and_parts_are_parts_of_the_whole():
    shapes = ((6, 4, 4), (24, 2, 2))
    whole = low_norm_latents(shapes, 3, size=8, seed=1)
    assert whole.shape == (8, 192) and whole[0].eq(0).all()
    parts = [low_norm_latents(shapes, 3, size=8, seed=1, part=(index, 2)) for index in range(2)]
    assert torch.cat(parts).equal(whole)
    assert not low_norm_latents(shapes, 4, size=8, seed=1).equal(whole)
    rms = torch.stack(
        [z.square().mean(1).sqrt() for z in low_norm_latents(shapes, 0, size=400, seed=0).split([96, 96], 1)]
    )
    assert rms[:, 2::2].max() < 1.1 and (rms[0, 2::2] - rms[1, 2::2]).abs().max() < 0.3  # one temperature
    assert (rms[0, 1::2] - rms[1, 1::2]).abs().max() > 0.5  # one a level


def test_linear_maps_and_coarse_levels_are_left_alone():
    flow = Glow(GlowConfig(32, LEVELS, position=True), torch.Generator().manual_seed(0))
    chosen = {id(parameter) for parameter in penalised_parameters(flow)}
    names = [name for name, parameter in flow.named_parameters() if id(parameter) in chosen]
    assert names and not [name for name in names if "actnorm" in name or "conv1x1" in name or "levels.2" in name]
    assert {name.split(".")[1] for name in names} == {"0", "1"}
    grown = build_flow(WaveletConfig(flow.config), torch.Generator().manual_seed(0))
    names = {
        name
        for name, parameter in grown.named_parameters()
        if any(parameter is one for one in penalised_parameters(grown))
    }
    assert any(name.startswith("details.steps") for name in names) and any("base.levels.1" in name for name in names)


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


def decoded_grid(prior):
    return grid(prior.decode(torch.zeros(1, prior.dim)))


def test_training_takes_the_grid_and_keeps_the_rest(disc_set, gridded, tmp_path):
    how = tiny(steps=60, checkerboard=300.0)
    train(disc_set, tmp_path, how, gridded.flow.config, start=gridded)
    after = load_prior(tmp_path, device="cpu")
    assert decoded_grid(gridded) > 4 and decoded_grid(after) < 0.5 * decoded_grid(gridded)
    z = 0.5 * torch.randn(8, gridded.dim, generator=torch.Generator().manual_seed(0))
    wanted = without_checkerboard(gridded.decode(z), 2)
    assert (after.decode(z) - wanted).square().mean() < 0.8 * (gridded.decode(z) - wanted).square().mean()
    begun = copy.deepcopy(gridded.flow)
    whiten(begun, first_images(disc_set.train, PIXELS, how.seed))
    trained = {id(parameter) for parameter in penalised_parameters(begun)}
    for (name, before), now in zip(begun.named_parameters(), after.flow.parameters(), strict=True):
        assert id(before) in trained or before.equal(now), name
    penalties = [line["checkerboard"] for line in log(tmp_path) if line["event"] == "step"]
    assert len(penalties) == 3 and penalties[-1] < penalties[0]
    card = (tmp_path / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "- **Checkerboard penalty**: the nets of the finest levels" in card


def test_such_a_run_too_ends_in_the_same_bits_when_it_was_stopped(disc_set, gridded, tmp_path):
    run_in_parts(disc_set, tmp_path, tiny(steps=12, checkerboard=300.0), gridded.flow.config, start=gridded)
    same_bits(tmp_path)


def test_levels_that_other_noise_was_learned_with_are_whitened(gridded):
    x = PIXELS.dequantise(torch.rand(64, 3, 64, 64), torch.rand(64, 3, 64, 64))
    flow = build_flow(WaveletConfig(gridded.flow.config), torch.Generator().manual_seed(0))
    initialise(flow, x)
    before = copy.deepcopy(flow)
    whiten(flow, 0.3 * x)
    z, log_det = flow(0.3 * x)
    parts = z.split([int(np.prod(shape)) for shape in flow.latent_shapes], 1)
    assert [float(part.square().mean().sqrt()) for part in parts] == pytest.approx([1] * len(parts), abs=0.06)
    torch.testing.assert_close(flow.inverse(z)[0], 0.3 * x, atol=1e-4, rtol=0)
    # The density is still that of a flow: what the latents gain in length, the log-determinant gains.
    was, _ = before(0.3 * x)
    gained = (z / was).abs().log().sum(1)
    torch.testing.assert_close(log_det - before(0.3 * x)[1], gained, atol=0.5, rtol=1e-3)
    again = copy.deepcopy(flow)
    whiten(again, 0.3 * x)
    assert all(one.equal(other) for one, other in zip(again.parameters(), flow.parameters(), strict=True))
