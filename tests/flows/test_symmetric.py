"""Details symmetric about a centre: what holds for any weights, which is the reason for them."""

import pytest
import torch

from transflow_core.flows import (
    CouplingConfig,
    GlowConfig,
    GrownConfig,
    GrownGlow,
    LevelConfig,
    ScaledRotation,
    SymmetricConfig,
    SymmetricFlow,
    compute_nets_in,
    haar_split,
)

CONFIG = SymmetricConfig(steps=3, width=16, context=8)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def symmetric(side: int = 16, scale: float = 0.1, seed: int = 0) -> SymmetricFlow:
    """With weights that nothing has trained."""
    flow = SymmetricFlow(3, side, CONFIG, generator(seed))
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator(seed + 1)))
    return flow.eval()


def pictures(n: int = 2, side: int = 16) -> torch.Tensor:
    return torch.rand(n, 3, side, side, generator=generator(5)) - 0.5


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_opposite_latents_give_details_on_opposite_sides_of_the_centre(dtype):
    flow, means = symmetric(), pictures()
    compute_nets_in(flow, dtype)
    eps = torch.randn(2, 9, 16, 16, generator=generator(1))
    with torch.no_grad():
        centre = flow.inverse(torch.zeros_like(eps), means)[0]
        up, down = flow.inverse(eps, means)[0] - centre, flow.inverse(-eps, means)[0] - centre
    assert up.abs().max() > 0.1 and centre.abs().max() > 0.1
    torch.testing.assert_close(up, -down, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("temperature", [0.0, 0.3, 0.7])
def test_no_pattern_of_two_pixels_arises_on_a_flat_ground(temperature):
    """The mean detail over a flat picture is zero but for the noise of the mean, which weights cannot change."""
    flow, flat = symmetric(), torch.full((1, 3, 16, 16), 0.2).expand(32, -1, -1, -1)
    eps = temperature * torch.randn(16, 9, 16, 16, generator=generator(2))
    with torch.no_grad():
        details, _ = flow.inverse(torch.cat([eps, -eps]), flat)
    assert details.mean((0, 2, 3)).abs().max() < 1e-5
    assert (details.abs().max() > 0.1) == (temperature > 0)


def test_the_centre_follows_differences_of_the_means_not_their_level():
    flow = symmetric()
    means = torch.zeros(1, 3, 16, 16)
    means[..., 8:] = 0.5
    with torch.no_grad():
        centre = flow.inverse(torch.zeros(1, 9, 16, 16), means)[0]
    assert centre[..., 6:10].abs().max() > 0.05 and centre[..., :4].abs().max() < 1e-6


def test_linear_layers_stay_well_conditioned_whatever_is_learned():
    layer = ScaledRotation(9, cap=1.0, generator=generator())
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(100).add_(100 * torch.randn(parameter.shape, generator=generator(1)))
        matrix = layer(torch.eye(9)[:, :, None, None])[0][..., 0, 0]
    singular = torch.linalg.svdvals(matrix)
    assert singular.max() / singular.min() < 1.01 * torch.tensor(2.0).exp()


@pytest.mark.parametrize("kind", ["noise", "bars", "black", "white", "checks"])
def test_pictures_unlike_any_come_back(kind):
    """Large weights that started from quiet pictures, and evidence like none of them: what is bounded keeps the way."""
    levels = (LevelConfig(2, 8), LevelConfig(2, 8))
    base = GlowConfig(image_size=8, levels=levels, position=True, bounded=True, coupling=CouplingConfig(cap=1.0))
    flow = GrownGlow(GrownConfig(GrownConfig(base, CONFIG), CONFIG), generator())
    flow.initialise(0.1 * pictures(16, 32))
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator(3)))
    x = pictures(2, 32)
    if kind == "bars":
        x = torch.where(torch.arange(32) % 16 < 8, x, 0.1)
    elif kind == "checks":
        x = ((torch.arange(32) + torch.arange(32)[:, None]) % 2 - 0.5).expand(2, 3, -1, -1).clone()
    elif kind != "noise":
        x = torch.full_like(x, -0.498 if kind == "black" else 0.498)
    with torch.no_grad():
        z, _ = flow(x)
        back, _ = flow.inverse(z)
    assert z.isfinite().all()
    assert (back - x).abs().max() < 1 / 255


def test_initialisation_gives_each_detail_its_own_scale():
    flow = SymmetricFlow(3, 16, CONFIG, generator())
    means, details = haar_split(pictures(32, 32) * torch.tensor([0.1, 0.5, 1.0])[:, None, None])
    flow.initialise(details, means)
    with torch.no_grad():
        eps, _ = flow(details, means)
    torch.testing.assert_close(eps.square().mean((2, 3)).sum(1).mean(), torch.tensor(9.0), atol=0.1, rtol=0)


@pytest.mark.parametrize(
    "values",
    [
        {"steps": 0},
        {"lopsided": 1},
        {"width": True},
        {"reach": -1},
        {"cap": float("inf")},
        {"context": 10**9},
        {"unknown": 1},
    ],
)
def test_other_configurations_are_refused(values):
    base = GlowConfig(image_size=8, levels=(LevelConfig(1, 8),)).to_dict()
    with pytest.raises(ValueError):
        GrownConfig.from_dict({"details": {"kind": "symmetric", **values}, "base": base})
    with pytest.raises(ValueError):
        GrownConfig.from_dict({"details": {"kind": "other"}, "base": base})
