"""Laws of every layer and flow: round trip, log-determinant of the Jacobian, gradients; and what each one states."""

import math

import pytest
import torch
from torch import nn

from transflow_core.flows.glow import GaussianSplit, GaussianTop, GlowConfig, LevelConfig, Step
from transflow_core.flows.layers import (
    ActNorm,
    Conv3x3,
    Coupling,
    CouplingConfig,
    CouplingNet,
    InvertibleConv1x1,
    factors_of,
)
from transflow_core.flows.wavelet import (
    DetailConfig,
    DetailFlow,
    ScaleConfig,
    UNet,
    WaveletConfig,
    build_flow,
    haar_merge,
    haar_split,
)

from ..helpers import rng

COUPLINGS = {
    "tanh": CouplingConfig(),
    "additive": CouplingConfig(kind="additive", transforms="first"),
    "OpenAI": CouplingConfig(scale="sigmoid", order="scale-first", transforms="first"),
    "plus": CouplingConfig(scale="sigmoid", plus=1.0, order="scale-first"),
}


def randomise(module, scale):
    """Move every parameter away from its (often zero) start, so that a wrong formula shows."""
    generator = rng(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return module.eval()


def built(config, scale=0.1):
    """A flow with weights that nothing has trained."""
    return randomise(build_flow(config, rng()), scale)


# Each case is a module, and its two directions as maps of (n, C, H, W).


def plain(layer):
    return layer, layer, layer.inverse


def mixing(matrix):
    layer = InvertibleConv1x1(len(matrix))
    layer.load_state_dict(factors_of(matrix))
    return layer


def split(prior):
    layer = GaussianSplit(prior)

    def forward(x):
        first, eps, log_det = layer(x)
        return torch.cat([first, eps], 1), log_det

    return layer, forward, lambda y: layer.inverse(*y.chunk(2, 1))


def given(layer):
    """A layer with a condition."""

    def low(x):
        return torch.linspace(-0.5, 0.5, x[0, 0].numel()).reshape(1, 1, *x.shape[2:]).expand(len(x), -1, -1, -1)

    return layer, lambda x: layer(x, low(x)), lambda y: layer.inverse(y, low(y))


def haar():
    """Low-pass and details side by side, with the log-determinant that `haar_split` states."""

    def log_det(x):
        return x.new_full((len(x),), -x[0].numel() / 4 * math.log(2))

    def inverse(y):
        return haar_merge(*y.split([y.shape[1] // 4, 3 * y.shape[1] // 4], 1)), -log_det(y)

    return nn.Identity(), lambda x: (torch.cat(haar_split(x), 1), log_det(x)), inverse


def whole(config):
    flow = build_flow(config, rng())

    def forward(x):
        z, log_det = flow(x)
        return z.reshape(x.shape), log_det

    return flow, forward, lambda y: flow.inverse(y.flatten(1))


def glow(side=4, **options):
    return GlowConfig(side, (LevelConfig(2, 8), *[LevelConfig(1, 8)] * (side > 2)), 1, **options)


SCALES = ScaleConfig(1, 6), ScaleConfig(2, 8)
DETAILS = DetailConfig(2, 8, 4)
SEEING_FAR = DetailConfig(2, 8, 4, prior_cap=3.0, position_side=3, scales=SCALES)
LAYERS = {
    "actnorm": (4, lambda: plain(ActNorm(4))),
    "conv1x1": (4, lambda: plain(mixing(torch.randn(4, 4, generator=rng(3)).double()))),
    **{f"coupling {n}": (4, lambda how=how: plain(Step(4, 8, how, (4, 4)).coupling)) for n, how in COUPLINGS.items()},
    "coupling with a context": (4, lambda: given(Coupling(CouplingNet(3, 4, 8, edge=True), CouplingConfig()))),
    "split": (4, lambda: split(Conv3x3(2, 4))),
    "split without a prior": (4, lambda: split(None)),
    "top": (4, lambda: plain(GaussianTop(4, 4, 4))),
    "haar": (4, haar),
    "step": (4, lambda: plain(Step(4, 8, CouplingConfig(), (4, 4)))),
    "details": (3, lambda: given(DetailFlow(1, 4, DETAILS))),
    "details, U-Net": (3, lambda: given(DetailFlow(1, 4, SEEING_FAR))),
    "glow": (1, lambda: whole(glow(position=True))),
    "glow, edge": (1, lambda: whole(glow(edge=True, coupling=COUPLINGS["OpenAI"]))),
    "glow, no split prior": (1, lambda: whole(glow(split_prior=False))),
    "wavelet glow": (1, lambda: whole(WaveletConfig(glow(2), DETAILS))),
    "wavelet glow, U-Net": (1, lambda: whole(WaveletConfig(glow(2), SEEING_FAR))),
}


@pytest.fixture(params=LAYERS)
def layer(request):
    """Its module, both directions, and three inputs."""
    channels, make = LAYERS[request.param]
    module, forward, inverse = make()
    randomise(module, 0.05 if channels != 4 else 0.3)  # whole flows multiply their layers' scales
    return module, forward, inverse, torch.randn(3, channels, 4, 4, generator=rng(7))


def test_both_directions_undo_each_other_with_the_log_determinant_of_the_jacobian(layer):
    _, forward, inverse, x = layer
    with torch.no_grad():
        y, log_det = forward(x)
        back, back_log_det = inverse(y)
        again, _ = forward(inverse(x)[0])
    torch.testing.assert_close(back, x, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(again, x, atol=2e-5, rtol=1e-4)
    assert log_det.shape == (3,)
    torch.testing.assert_close(log_det, -back_log_det, atol=1e-4, rtol=1e-4)
    jacobian = torch.autograd.functional.jacobian(lambda v: forward(v[None])[0][0].flatten(), x[0])
    expected = torch.linalg.slogdet(jacobian.flatten(1).double()).logabsdet.float()
    torch.testing.assert_close(log_det[0], expected, atol=2e-3, rtol=1e-3)


def test_gradients_reach_every_parameter(layer):
    module, forward, _, x = layer
    y, log_det = forward(x.requires_grad_())
    (y.square().sum() + log_det.sum()).backward()
    for name, parameter in [("x", x), *module.named_parameters()]:
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("size", [(8, 8), (1, 1), (5, 7)])
def test_a_unet_takes_any_size_and_sees_all_of_it(size):
    net = randomise(UNet(2, 3, 6, [*SCALES, ScaleConfig(1, 8)]), 0.1)
    x = torch.randn(2, 2, *size, generator=rng()).requires_grad_()
    y = net(x)
    assert y.shape == (2, 3, *size)
    y[0, :, 0, 0].sum().backward()
    assert x.grad[0, :, -1, -1].all() and not x.grad[1].any()


@pytest.mark.parametrize(("number", "words"), [(0.0, "singular"), (torch.nan, "not finite"), (torch.inf, "not finite")])
def test_a_matrix_that_has_no_inverse_is_refused(number, words):
    with pytest.raises(ValueError, match=words):
        factors_of(torch.full((3, 3), number, dtype=torch.float64))
