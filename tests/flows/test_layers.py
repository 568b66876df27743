"""Every layer of the flow: round trip, log-determinant against autograd's Jacobian, save and load."""

import math

import pytest
import torch
from torch import nn

from transflow_core.flows import (
    ActNorm,
    Conv3x3,
    Coupling,
    CouplingConfig,
    CouplingNet,
    DetailConfig,
    DetailFlow,
    GaussianSplit,
    GaussianTop,
    Glow,
    GlowConfig,
    InvertibleConv1x1,
    LevelConfig,
    Step,
    WaveletConfig,
    WaveletGlow,
    channels_last,
    haar_merge,
    haar_split,
)
from transflow_core.flows.glow import quarter, squeeze, unquarter, unsqueeze
from transflow_core.flows.layers import sigmoid_log_scale, tanh_log_scale


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def randomise(module: nn.Module, scale: float = 0.3, seed: int = 1) -> nn.Module:
    """Move every parameter away from its (often zero) start, so that a wrong formula shows."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator(seed)))
            seed += 1
    return module


class WholeSplit(nn.Module):
    """A split seen as one map of C channels to C channels, so that the two-line tests below hold for it too."""

    def __init__(self, split):
        super().__init__()
        self.split = split

    def forward(self, x):
        first, eps, log_det = self.split(x)
        return torch.cat([first, eps], 1), log_det

    def inverse(self, y):
        return self.split.inverse(*y.chunk(2, 1))


class Haar(nn.Module):
    """One level of the wavelet transform, means and details side by side, with the log-determinant that it states."""

    def forward(self, x):
        means, details = haar_split(x)
        return torch.cat([means, details], 1), x.new_full((len(x),), -means[0].numel() * math.log(2))

    def inverse(self, y):
        means, details = y.split([y.shape[1] // 4, 3 * y.shape[1] // 4], 1)
        return haar_merge(means, details), y.new_full((len(y),), means[0].numel() * math.log(2))


class Details(nn.Module):
    """The flow of the details, given means that stay the same."""

    def __init__(self, flow):
        super().__init__()
        self.flow = flow

    def forward(self, x):
        return self.flow(x, self.means(x))

    def inverse(self, y):
        return self.flow.inverse(y, self.means(y))

    def means(self, x):
        return torch.linspace(-0.5, 0.5, x[0, 0].numel()).reshape(1, 1, *x.shape[2:]).expand(len(x), -1, -1, -1)


class Given(nn.Module):
    """A coupling whose net reads a context that stays the same."""

    def __init__(self, net):
        super().__init__()
        self.coupling = Coupling(net, tanh_log_scale)

    def forward(self, x):
        return self.coupling(x, torch.ones_like(x[:, :1]))

    def inverse(self, y):
        return self.coupling.inverse(y, torch.ones_like(y[:, :1]))


class Images(nn.Module):
    """A whole Glow between images and latents in the images' shape."""

    def __init__(self, glow):
        super().__init__()
        self.glow = glow

    def forward(self, x):
        z, log_det = self.glow(x)
        return z.reshape(x.shape), log_det

    def inverse(self, z):
        return self.glow.inverse(z.flatten(1))


def small_glow(squeeze="blocks", **options):
    levels = (LevelConfig(2, 8, squeeze=squeeze), LevelConfig(1, 8))
    config = GlowConfig(image_size=4, levels=levels, channels=2, **options)
    return Images(Glow(config, generator()))


def small_wavelet():
    base = GlowConfig(image_size=2, levels=(LevelConfig(1, 8),), channels=2)
    return Images(WaveletGlow(WaveletConfig(base, DetailConfig(2, 8, 4)), generator()))


def step(coupling=CouplingConfig(), **options):  # noqa: B008
    return Step((4, 4, 4), 8, coupling, generator=generator(), **options)


LAYERS = {
    "actnorm": lambda: ActNorm(4),
    "conv1x1": lambda: InvertibleConv1x1(4, generator()),
    "conv1x1 from a matrix": lambda: InvertibleConv1x1.from_matrix(torch.randn(4, 4, generator=generator(3))),
    "additive coupling": lambda: Coupling(CouplingNet(2, 2, 8), None),
    "tanh coupling": lambda: Coupling(CouplingNet(2, 4, 8, size=(4, 4)), tanh_log_scale),
    "sigmoid coupling, edge": lambda: Coupling(CouplingNet(2, 4, 8, edge=True), sigmoid_log_scale),
    "split": lambda: WholeSplit(GaussianSplit(Conv3x3(2, 4))),
    "split, edge": lambda: WholeSplit(GaussianSplit(Conv3x3(2, 4, edge=True))),
    "split without a prior": lambda: WholeSplit(GaussianSplit(None)),
    "top": lambda: GaussianTop(4, 4, 4),
    "step": lambda: step(position=True),
    "additive step": lambda: step(coupling=CouplingConfig(kind="additive")),
    "glow": lambda: small_glow(position=True),
    "glow of GlowIP": lambda: small_glow(
        coupling=CouplingConfig(scale="sigmoid", order="scale-first"), squeeze="quarters"
    ),
    "glow of normflows": lambda: small_glow(coupling=CouplingConfig(scale="inverse-sigmoid", transforms="first")),
    "exponential glow": lambda: small_glow(coupling=CouplingConfig(scale="exponential")),
    "sigmoid glow, plus": lambda: small_glow(coupling=CouplingConfig(scale="sigmoid", plus=1.0, transforms="first")),
    "additive glow, first half": lambda: small_glow(coupling=CouplingConfig(kind="additive", transforms="first")),
    "sigmoid glow, edge": lambda: small_glow(edge=True, coupling=CouplingConfig(scale="sigmoid")),
    "glow without split priors": lambda: small_glow(split_prior=False),
    "haar": Haar,
    "coupling with a context": lambda: Given(CouplingNet(3, 4, 8)),
    "details": lambda: Details(DetailFlow(1, 4, DetailConfig(2, 8, 4), generator())),
    "grown glow": lambda: small_wavelet(),
}


@pytest.fixture(params=LAYERS, ids=lambda name: name.replace(" ", "-"))
def layer(request):
    module = LAYERS[request.param]()
    # A whole flow multiplies its layers' scales: large random ones would overflow float32 and say nothing.
    return randomise(module, 0.05 if isinstance(module, Images | Details) else 0.3).eval()


def inputs(layer, n=3):
    shape = (2, 4, 4) if isinstance(layer, Images) else (3, 4, 4) if isinstance(layer, Details) else (4, 4, 4)
    return torch.randn(n, *shape, generator=generator(7))


def test_round_trip_both_ways_with_opposite_log_determinants(layer):
    x = inputs(layer)
    with torch.no_grad():
        y, log_det = layer(x)
        back, inverse_log_det = layer.inverse(y)
        again, _ = layer(layer.inverse(x)[0])
    torch.testing.assert_close(back, x, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(again, x, atol=2e-5, rtol=1e-4)
    assert log_det.shape == inverse_log_det.shape == (3,)
    torch.testing.assert_close(log_det, -inverse_log_det, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_log_determinant_is_that_of_autograds_jacobian(layer, direction):
    x = inputs(layer, n=1)

    def flat(v):
        return getattr(layer, direction)(v.reshape(x.shape))[0].flatten()

    jacobian = torch.autograd.functional.jacobian(flat, x.flatten())
    expected = torch.linalg.slogdet(jacobian.double()).logabsdet.float()
    torch.testing.assert_close(getattr(layer, direction)(x)[1][0], expected, atol=2e-3, rtol=1e-3)


def test_gradients_reach_every_parameter(layer):
    x = inputs(layer).requires_grad_()
    y, log_det = layer(x)
    (y.square().sum() + log_det.sum()).backward()
    for name, parameter in [("x", x), *layer.named_parameters()]:
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_state_survives_save_and_load(layer, request, tmp_path):
    torch.save(layer.state_dict(), tmp_path / "state.pt")
    fresh = LAYERS[request.node.callspec.params["layer"]]()
    fresh.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    x = inputs(layer)
    with torch.no_grad():
        torch.testing.assert_close(fresh(x)[0], layer(x)[0], atol=0, rtol=0)
        torch.testing.assert_close(fresh.inverse(x)[0], layer.inverse(x)[0], atol=0, rtol=0)


def test_evaluation_follows_a_change_of_the_parameters():
    """The matrices that a 1×1 convolution keeps must not outlive the parameters that they were computed from."""
    conv, x = InvertibleConv1x1(4, generator()), torch.randn(1, 4, 2, 2, generator=generator())
    with torch.no_grad():
        before = conv(x)[0]
        conv.log_diag.add_(0.5)
        after = conv(x)[0]
        assert not torch.allclose(before, after)
        torch.testing.assert_close(conv.inverse(after)[0], x, atol=1e-5, rtol=1e-4)
        conv.load_state_dict(InvertibleConv1x1(4, generator(9)).state_dict())
        torch.testing.assert_close(conv.inverse(conv(x)[0])[0], x, atol=1e-5, rtol=1e-4)


def test_from_matrix_is_that_matrix_and_refuses_a_singular_one():
    weight = torch.randn(6, 6, generator=generator())
    torch.testing.assert_close(InvertibleConv1x1.from_matrix(weight).weight(), weight, atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="singular"):
        InvertibleConv1x1.from_matrix(torch.zeros(3, 3))
    with pytest.raises(ValueError, match="square"):
        InvertibleConv1x1.from_matrix(torch.full((3, 3), torch.nan))


def test_squeeze_orders_channels_as_the_format_says():
    x = torch.randn(2, 3, 4, 6, generator=generator())
    y = squeeze(x)
    for c, dy, dx in [(0, 0, 1), (1, 1, 0), (2, 1, 1)]:
        assert y[:, c * 4 + 2 * dy + dx].equal(x[:, c, dy::2, dx::2])
    assert unsqueeze(y).equal(x)


def test_quarters_relabel_memory_and_nothing_else():
    x = torch.randn(2, 3, 4, 8, generator=generator())
    y = quarter(x)
    assert y.shape == (2, 12, 2, 4) and y.flatten().equal(x.flatten()) and unquarter(y).equal(x)


def test_the_edge_channel_is_padding_with_ones():
    """`Conv3x3` states that padding with 1 is the same as the channels' weights summed into the edge channel."""
    conv = randomise(Conv3x3(2, 3, edge=True))
    x = torch.randn(2, 2, 5, 5, generator=generator())
    with torch.no_grad():
        conv.weight[:, 2] = conv.weight[:, :2].sum(1)
    expected = nn.functional.conv2d(nn.functional.pad(x, (1, 1, 1, 1), value=1.0), conv.weight[:, :2], conv.bias)
    torch.testing.assert_close(conv(x), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("squeeze", ["blocks", "quarters"])
@pytest.mark.parametrize("options", [{}, {"position": True}, {"coupling": CouplingConfig(kind="additive")}])
def test_initialisation_standardises_each_step_and_survives_saving(options, squeeze, tmp_path):
    config = GlowConfig(image_size=8, levels=(LevelConfig(2, 8, squeeze=squeeze), LevelConfig(2, 8)), **options)
    glow = Glow(config, generator())
    x = 3 + 2 * torch.randn(16, 3, 8, 8, generator=generator())
    glow.initialise(x)
    outputs = []
    hooks = [
        s.actnorm.register_forward_hook(lambda _, __, out: outputs.append(out[0])) for v in glow.levels for s in v.steps
    ]
    with torch.no_grad():
        z, log_det = glow(x)
    for hook in hooks:
        hook.remove()
    assert len(outputs) == 4
    for y in outputs:
        torch.testing.assert_close(y.mean((0, 2, 3)), torch.zeros(y.shape[1]), atol=1e-4, rtol=0)
        torch.testing.assert_close(y.std((0, 2, 3), correction=0), torch.ones(y.shape[1]), atol=1e-3, rtol=0)
    torch.save(glow.state_dict(), tmp_path / "glow.pt")
    reloaded = Glow(config, generator(5)).train()
    reloaded.load_state_dict(torch.load(tmp_path / "glow.pt", weights_only=True))
    other = torch.randn(4, 3, 8, 8, generator=generator(2))
    with torch.no_grad():
        reloaded(other)  # a batch in training mode must not initialise it again
        again, again_log_det = reloaded(x)
    assert again.equal(z) and again_log_det.equal(log_det)


def test_the_layout_for_speed_changes_no_number(tmp_path):
    config = GlowConfig(image_size=8, levels=(LevelConfig(2, 8), LevelConfig(2, 8)), position=True)
    glow = randomise(Glow(config, generator()), 0.03)
    x = torch.randn(2, 3, 8, 8, generator=generator())
    with torch.no_grad():
        before = glow(x)[0]
        state = {name: tensor.clone() for name, tensor in glow.state_dict().items()}
        channels_last(glow)
        after = glow(x)[0]
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-5)
    assert all(tensor.equal(state[name]) for name, tensor in glow.state_dict().items())


def test_latents_are_flat_from_fine_to_coarse():
    config = GlowConfig(image_size=8, levels=(LevelConfig(1, 8), LevelConfig(1, 8), LevelConfig(1, 8)))
    assert config.latent_shapes == ((6, 4, 4), (12, 2, 2), (48, 1, 1))
    glow = randomise(Glow(config, generator()), 0.03)
    z = torch.randn(1, 192, generator=generator())
    with torch.no_grad():
        x = squeeze(glow.inverse(z)[0])
        for s in glow.levels[0].steps:
            x, _ = s(x)
        _, eps, _ = glow.levels[0].split(x)
    torch.testing.assert_close(eps.flatten(1), z[:, :96], atol=1e-4, rtol=1e-4)
