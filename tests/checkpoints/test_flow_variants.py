"""The couplings, squeezes and pixels that only projects use: invertible, with their Jacobian, strictly configured."""

import pytest
import torch

from transflow_core.flows import CouplingConfig, Glow, GlowConfig, LevelConfig
from transflow_core.flows.glow import quarter, unquarter
from transflow_core.flows.pixels import PixelConvention

COUPLINGS = {
    "GlowIP": CouplingConfig(scale="sigmoid", order="scale-first", transforms="first"),
    "GlowIP's last": CouplingConfig(scale="sigmoid", plus=1.0, order="scale-first", transforms="first"),
    "first half, additive": CouplingConfig(kind="additive", transforms="first"),
    "inverse sigmoid": CouplingConfig(scale="inverse-sigmoid"),
    "exponential": CouplingConfig(scale="exponential"),
}


def glow(coupling, **options):
    levels = (LevelConfig(2, 6, squeeze="quarters"), LevelConfig(1, 6, coupling=coupling))
    generator = torch.Generator().manual_seed(0)
    flow = Glow(GlowConfig(4, levels, channels=1, coupling=coupling, **options), generator)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return flow.eval()


@pytest.mark.parametrize("name", COUPLINGS)
def test_round_trip_and_jacobian(name):
    flow = glow(COUPLINGS[name])
    x = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(1)) - 0.5
    with torch.no_grad():
        z, log_det = flow(x)
        back, inverse = flow.inverse(z)
    torch.testing.assert_close(back, x, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(inverse, -log_det, atol=1e-4, rtol=1e-4)
    jacobian = torch.autograd.functional.jacobian(lambda v: flow(v.reshape(1, 1, 4, 4))[0][0], x[0].flatten())
    assert log_det[0].item() == pytest.approx(torch.linalg.slogdet(jacobian.double()).logabsdet.item(), abs=1e-3)


def test_a_level_may_have_a_coupling_of_its_own():
    one, other = CouplingConfig(scale="sigmoid"), CouplingConfig(scale="sigmoid", plus=1.0)
    config = GlowConfig(4, (LevelConfig(1, 4), LevelConfig(1, 4, coupling=other)), channels=1, coupling=one)
    flow = Glow(config)
    r = torch.zeros(1)
    for level, plus in ((0, 0.0), (1, 1.0)):
        log_s = flow.levels[level].steps[0].coupling.log_scale(r)
        assert log_s.exp().item() == pytest.approx(torch.sigmoid(torch.tensor(2.0)).item() + plus)
    assert GlowConfig.from_dict(config.to_dict()) == config


def test_quarters_relabel_memory_and_nothing_else():
    x = torch.randn(2, 3, 4, 8, generator=torch.Generator().manual_seed(0))
    y = quarter(x)
    assert y.shape == (2, 12, 2, 4) and y.flatten().equal(x.flatten()) and unquarter(y).equal(x)


def test_initialisation_from_data_follows_a_levels_own_squeeze():
    flow = glow(COUPLINGS["GlowIP"])
    x = 3 + torch.randn(64, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    flow.initialise(x)
    with torch.no_grad():
        y, _ = flow.levels[0].steps[0].actnorm(quarter(x))
    torch.testing.assert_close(y.mean((0, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "change",
    [
        {"coupling": {"order": "both"}},
        {"coupling": {"transforms": "all"}},
        {"coupling": {"plus": -1.0}},
        {"coupling": {"plus": True}},
        {"coupling": {"scale": ["tanh"]}},
        {"levels": [{"steps": 1, "width": 4, "squeeze": "halves"}]},
        {"levels": [{"steps": 1, "width": 4, "squeeze": {}}]},
        {"levels": [{"steps": 1, "width": 4, "coupling": {"kind": "spline"}}]},
        {"levels": [{"steps": 1, "width": 4, "coupling": 3}]},
        {"levels": ["level"]},
        {"levels": [{"steps": 1, "width": 4, "bogus": 1}]},
    ],
    ids=str,
)
def test_a_wrong_configuration_is_refused(change):
    good = GlowConfig(4, (LevelConfig(1, 4),), channels=1).to_dict()
    assert GlowConfig.from_dict(good).to_dict() == good
    with pytest.raises(ValueError):
        GlowConfig.from_dict(good | change)


@pytest.mark.parametrize(
    "change", [{"scale": 0}, {"scale": "1"}, {"scale": float("nan")}, {"noise": "none"}, {"noise": []}]
)
def test_a_wrong_pixel_convention_is_refused(change):
    with pytest.raises(ValueError):
        PixelConvention(**change)
