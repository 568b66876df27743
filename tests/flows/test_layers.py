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
    build_flow,
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


class Seen(nn.Module):
    """A layer of another signature seen as one map of (n, C, H, W), so that the laws below hold for it too."""

    def __init__(self, layer, forward, inverse):
        super().__init__()
        self.layer, self._forward, self._inverse = layer, forward, inverse

    def forward(self, x):
        return self._forward(self.layer, x)

    def inverse(self, y):
        return self._inverse(self.layer, y)


def whole_split(split):
    def forward(split, x):
        first, eps, log_det = split(x)
        return torch.cat([first, eps], 1), log_det

    return Seen(split, forward, lambda split, y: split.inverse(*y.chunk(2, 1)))


def haar():
    """Low-pass and details side by side, with the log-determinant that `haar_split` states."""

    def log_det(x):
        return x.new_full((len(x),), -x[0].numel() / 4 * math.log(2))

    def inverse(_, y):
        return haar_merge(*y.split([y.shape[1] // 4, 3 * y.shape[1] // 4], 1)), -log_det(y)

    return Seen(nn.Identity(), lambda _, x: (torch.cat(haar_split(x), 1), log_det(x)), inverse)


def details(flow):
    def low(x):
        return torch.linspace(-0.5, 0.5, x[0, 0].numel()).reshape(1, 1, *x.shape[2:]).expand(len(x), -1, -1, -1)

    return Whole(flow, lambda flow, x: flow(x, low(x)), lambda flow, y: flow.inverse(y, low(y)))


def with_context(coupling):
    ones = torch.ones_like
    return Seen(coupling, lambda c, x: c(x, ones(x[:, :1])), lambda c, y: c.inverse(y, ones(y[:, :1])))


class Whole(Seen):
    """A whole flow multiplies its layers' scales: large random ones would overflow float32 and say nothing."""


def images(flow):
    """A flow between images and latents in the images' shape."""

    def forward(flow, x):
        z, log_det = flow(x)
        return z.reshape(x.shape), log_det

    return Whole(flow, forward, lambda flow, z: flow.inverse(z.flatten(1)))


def small_glow(squeeze="blocks", **options):
    levels = (LevelConfig(2, 8, squeeze=squeeze), LevelConfig(1, 8))
    config = GlowConfig(image_size=4, levels=levels, channels=2, **options)
    return images(Glow(config, generator()))


def small_wavelet(times=1):
    config = GlowConfig(image_size=4 >> times, levels=(LevelConfig(1, 8),), channels=2)
    for _ in range(times):
        config = WaveletConfig(config, DetailConfig(2, 8, 4))
    return images(WaveletGlow(config, generator()))


def step(coupling=CouplingConfig(), **options):  # noqa: B008
    return Step((4, 4, 4), 8, coupling, generator=generator(), **options)


LAYERS = {
    "actnorm": lambda: ActNorm(4),
    "conv1x1": lambda: InvertibleConv1x1(4, generator()),
    "conv1x1 from a matrix": lambda: InvertibleConv1x1.from_matrix(torch.randn(4, 4, generator=generator(3))),
    "additive coupling": lambda: Coupling(CouplingNet(2, 2, 8), None),
    "tanh coupling": lambda: Coupling(CouplingNet(2, 4, 8, size=(4, 4)), tanh_log_scale),
    "sigmoid coupling, edge": lambda: Coupling(CouplingNet(2, 4, 8, edge=True), sigmoid_log_scale),
    "split": lambda: whole_split(GaussianSplit(Conv3x3(2, 4))),
    "split, edge": lambda: whole_split(GaussianSplit(Conv3x3(2, 4, edge=True))),
    "split without a prior": lambda: whole_split(GaussianSplit(None)),
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
    "haar": haar,
    "coupling with a context": lambda: with_context(Coupling(CouplingNet(3, 4, 8), tanh_log_scale)),
    "details": lambda: details(DetailFlow(1, 4, DetailConfig(2, 8, 4), generator())),
    "wavelet glow": small_wavelet,
}


@pytest.fixture(params=LAYERS, ids=lambda name: name.replace(" ", "-"))
def layer(request):
    module = LAYERS[request.param]()
    return randomise(module, 0.05 if isinstance(module, Whole) else 0.3).eval()


def inputs(layer, n=3):
    flow = layer.layer if isinstance(layer, Whole) else None
    shape = (4 if flow is None else getattr(flow, "channels", 3), 4, 4)
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


@pytest.mark.parametrize(
    "config",
    [
        *(GlowConfig(8, (LevelConfig(2, 8, squeeze=one), LevelConfig(2, 8))) for one in ("blocks", "quarters")),
        GlowConfig(8, (LevelConfig(2, 8), LevelConfig(2, 8)), coupling=CouplingConfig(kind="additive")),
        WaveletConfig(GlowConfig(4, (LevelConfig(2, 8),)), DetailConfig(2, 8, 4)),
    ],
)
def test_initialisation_standardises_each_step(config):
    flow, outputs = build_flow(config, generator()), []
    x = 3 + 2 * torch.randn(64, 3, 8, 8, generator=generator())
    flow.initialise(x)
    for module in flow.modules():
        if isinstance(module, ActNorm):
            module.register_forward_hook(lambda _, __, out: outputs.append(out[0]))
    with torch.no_grad():
        flow(x)
    assert len(outputs) == 4
    for y in outputs:
        torch.testing.assert_close(y.mean((0, 2, 3)), torch.zeros(y.shape[1]), atol=1e-4, rtol=0)
        torch.testing.assert_close(y.std((0, 2, 3), correction=0), torch.ones(y.shape[1]), atol=1e-3, rtol=0)


def test_the_layout_for_speed_changes_no_number():
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
