"""A flow of a researcher's own is a prior like any other, torch module or not."""

import math

import pytest
import torch
from PIL import Image
from torch import nn

from transflow_core.adapters import adapt_flow
from transflow_core.engine import Engine
from transflow_core.fewshot import FewShotClassifier
from transflow_core.flows import CoarseFlow, Flow, InvertibleConv1x1, count_parameters
from transflow_core.flows.pixels import PixelConvention
from transflow_core.posterior import Posterior, interpolate
from transflow_core.prior import Prior

SIZE = 16


class Own:
    """Fine level: the left half, coarse level: the right half; twice as large."""

    image_size, channels = SIZE, 3
    latent_shapes = ((3, SIZE, SIZE // 2), (3, SIZE // 2, SIZE))

    def forward(self, x):
        z = torch.cat([half.flatten(1) for half in x.chunk(2, 3)], 1)
        return 4 * z, torch.full((len(x),), z.shape[1] * math.log(4))

    def inverse(self, z):
        halves = [half.reshape(-1, 3, SIZE, SIZE // 2) for half in (z / 4).chunk(2, 1)]
        return torch.cat(halves, 3), torch.full((len(z),), -z.shape[1] * math.log(4))


class OwnModule(Own, nn.Module):
    """The same as a torch module without a weight."""


class OwnCoarse(Own):
    """It can also give the means."""

    def low_pass(self, z):
        return nn.functional.avg_pool2d(self.inverse(z)[0], 2)


@pytest.fixture(params=[Own, OwnModule])
def flow(request) -> Flow:
    return request.param()


@pytest.fixture
def prior(flow) -> Prior:
    return Prior(flow, PixelConvention(bits=8), "own", "fingerprint")


def images(n=4):
    return torch.rand(n, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def test_it_encodes_decodes_scores_and_tells_its_levels(prior):
    x = images()
    z = prior.encode(x)
    assert (prior.image_size, prior.channels, prior.dim, prior.device.type) == (SIZE, 3, 768, "cpu")
    assert [(level.name, level.shape, level.dim) for level in prior.levels] == [
        ("16×8", (3, 16, 8), 384),
        ("8×16", (3, 8, 16), 384),
    ]
    torch.testing.assert_close(prior.decode(z), x)
    expected = -0.5 * (z.double().square().sum(1) + 768 * math.log(2 * math.pi)) + 768 * math.log(4)
    torch.testing.assert_close(prior.log_prob(x), expected, rtol=1e-6, atol=0)
    # Per quantised image; the noise, of one bin, hardly moves z².
    bits = 8 - expected / (768 * math.log(2))
    torch.testing.assert_close(prior.bits_per_dim(x), bits, rtol=1e-2, atol=0)
    assert prior.info()["parameters"] == 0


def test_engine_evidence_posterior_samples_and_classes(prior):
    pictures = [Image.fromarray((v.permute(1, 2, 0) * 255).byte().numpy()) for v in images()]
    engine = Engine(prior)
    evidence = engine.intake(pictures, whole="always").evidence
    assert [image.problem for image in evidence] == [None] * 4
    posterior = evidence.condition(lam_ratio=0.5)
    torch.testing.assert_close(posterior.mean, evidence.z.mean(0) / 1.5)
    assert engine.sample(posterior, 3).shape == (3, 3, SIZE, SIZE)
    assert engine.preview(posterior, 2).shape == (2, 3, SIZE, SIZE)
    assert interpolate(posterior, Posterior.condition(evidence.z[:1], lam_ratio=1.0), 0.5).mean.shape == (768,)
    dark, light = (0.2 * images(), 0.2 * images() + 0.8)
    classifier = FewShotClassifier(prior).fit({"dark": dark, "light": light})
    assert classifier.predict(dark) == ["dark"] * 4


class WithoutFloat64(torch.Tensor):
    """A tensor as on Apple's GPUs: it can be moved to the CPU, and has no float64."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func is torch.Tensor.cpu:
            return args[0].as_subclass(torch.Tensor)
        result = super().__torch_function__(func, types, args, kwargs or {})
        if isinstance(result, cls) and result.dtype == torch.float64:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
        return result


def test_densities_need_no_float64_where_the_flow_computes():
    class Elsewhere(Own):
        def forward(self, x):
            return tuple(tensor.as_subclass(WithoutFloat64) for tensor in super().forward(x))

    with pytest.raises(TypeError, match="MPS"):
        torch.zeros(1).as_subclass(WithoutFloat64).double()
    here, there = (Prior(flow, PixelConvention(), "own", "x") for flow in (Own(), Elsewhere()))
    assert isinstance(there.encode(images()), WithoutFloat64)
    assert there.log_prob(images()).equal(here.log_prob(images()))
    assert there.bits_per_dim(images()).equal(here.bits_per_dim(images()))


def test_the_inverse_of_a_1x1_convolution_needs_none_either():
    layer = InvertibleConv1x1(4, torch.Generator().manual_seed(0))
    y = torch.ones(1, 4, 2, 2)
    expected = layer.inverse(y)[0].detach()
    layer.L = nn.Parameter(layer.L.detach().clone().as_subclass(WithoutFloat64))
    assert layer.inverse(y)[0].equal(expected)
    with torch.no_grad():
        assert layer.inverse(y)[0].equal(expected)


def test_it_stays_where_it_is_when_it_is_no_module():
    prior = Prior.from_checkpoint(adapt_flow(Own()), device="meta")
    assert prior.device.type == "cpu" and prior.to("meta").device.type == "cpu"
    assert count_parameters(nn.Linear(2, 3)) == 9 and count_parameters(prior.flow) == 0


def test_only_a_flow_that_has_means_is_coarse():
    z = torch.randn(2, 768, generator=torch.Generator().manual_seed(0))
    for flow, side in ((Own(), SIZE), (OwnCoarse(), SIZE // 2)):
        assert isinstance(flow, CoarseFlow) == (side < SIZE)
        assert Prior(flow, PixelConvention(), "own", "x").decode(z, coarse=True).shape == (2, 3, side, side)


def test_a_flow_whose_shapes_are_not_what_it_says_is_refused():
    class Wrong(Own):
        latent_shapes = ((3, 4, 4),)

    with pytest.raises(ValueError, match=r"latents \(1, 768\)"):
        adapt_flow(Wrong())


def test_the_fingerprint_is_of_the_weights_and_else_of_what_the_flow_does():
    class Tripled(Own):
        def forward(self, x):
            z, log_det = super().forward(x)
            return 3 * z, log_det + 768 * math.log(3)

        def inverse(self, z):
            return super().inverse(z / 3)

    assert adapt_flow(Own()).fingerprint == adapt_flow(Own()).fingerprint != adapt_flow(Tripled()).fingerprint


def test_a_flow_of_ones_own_is_not_saved_as_a_glow(prior, tmp_path):
    with pytest.raises(TypeError, match="only a Glow"):
        prior.save(tmp_path / "own.safetensors")
