"""A researcher's own model as a prior: shapes, whitening, densities, and what is refused."""

import pytest
import torch
from torch import nn
from torch.distributions.transforms import AffineTransform, ComposeTransform, SigmoidTransform

from transflow_core.adapters import adapt_encoder, adapt_transform
from transflow_core.flows.pixels import PixelConvention
from transflow_core.prior import Prior

IMAGE = (3, 4, 4)
IMAGES = torch.rand(5, *IMAGE, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1


class Whitener(nn.Module):
    """Not a flow by name: two methods and a weight."""

    def __init__(self, scale=3.0):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))

    def encode(self, x):
        return (x - 0.5) * self.scale

    def decode(self, z):
        return z / self.scale + 0.5


class Coupling(nn.Module):
    """nflows' manner: forward and inverse both give (output, log_abs_det)."""

    def __init__(self):
        super().__init__()
        self.log_scale = nn.Parameter(torch.linspace(-0.5, 0.5, 48))

    def forward(self, x, context=None):
        return (x - 0.5) * self.log_scale.exp(), self.log_scale.sum().expand(len(x))

    def inverse(self, z, context=None):
        return z * (-self.log_scale).exp() + 0.5, -self.log_scale.sum().expand(len(z))


def logit():
    """zuko's manner, elementwise: its log-determinant comes as one number a dimension."""
    return ComposeTransform([SigmoidTransform().inv, AffineTransform(0.0, 0.5)])


MODELS = {
    "encode and decode": lambda: adapt_encoder(Whitener(), IMAGE),
    "transform": lambda: adapt_transform(logit(), IMAGE),
    "transform of images": lambda: adapt_transform(logit(), IMAGE, flatten=False),
    "nflows": lambda: adapt_transform(Coupling(), IMAGE),
}


@pytest.fixture(params=MODELS)
def prior(request):
    return Prior.from_checkpoint(MODELS[request.param](), device="cpu")


def test_it_is_a_prior_like_any_other(prior):
    assert (prior.image_size, prior.channels, prior.dim) == (4, 3, 48)
    z = prior.encode(IMAGES)
    assert z.shape == (5, 48) and z.dtype == torch.float32
    torch.testing.assert_close(prior.decode(z), IMAGES, atol=1e-5, rtol=1e-5)
    assert prior.info()["dim"] == 48


def test_the_density_is_that_of_autograds_jacobian():
    for name in ("transform", "transform of images", "nflows"):
        checkpoint = MODELS[name]()
        x = IMAGES[:1]
        jacobian = torch.autograd.functional.jacobian(
            lambda v, f=checkpoint.flow: f(v.reshape(1, *IMAGE))[0][0], x.flatten()
        )
        expected = torch.linalg.slogdet(jacobian.double()).logabsdet
        z, log_det = checkpoint.flow(x)
        assert log_det[0].item() == pytest.approx(expected.item(), abs=1e-3)
        assert checkpoint.flow.inverse(z)[1][0].item() == pytest.approx(-expected.item(), abs=1e-3)


def test_what_has_no_density_says_nan_and_still_has_a_prior():
    scored = Prior.from_checkpoint(MODELS["encode and decode"](), device="cpu").encode_and_score(IMAGES)
    assert scored.log_prob.isnan().all() and scored.log_prior.isfinite().all()


def test_levels_and_pixels_are_given_where_a_model_has_them():
    shapes = [(6, 2, 2), (24, 1, 1)]
    pixels = PixelConvention(bits=5, offset=0.5)

    class Centred(Whitener):
        def encode(self, x):
            assert x.min() >= -0.5 and x.max() <= 0.5
            return x.flatten(1)

        def decode(self, z):
            return z.reshape(-1, *IMAGE)

    prior = Prior.from_checkpoint(adapt_encoder(Centred(), IMAGE, shapes, pixels), device="cpu")
    assert [level.shape for level in prior.levels] == shapes
    torch.testing.assert_close(prior.decode(prior.encode(IMAGES)), IMAGES)


def test_equal_weights_have_equal_fingerprints():
    def fingerprint(scale):
        return adapt_encoder(Whitener(scale), IMAGE).fingerprint

    assert fingerprint(3.0) == fingerprint(3.0) != fingerprint(2.0)
    # Without weights, what it does to an image tells models apart.
    one, same, other = (
        adapt_transform(ComposeTransform([AffineTransform(0.0, s)]), IMAGE).fingerprint for s in (2.0, 2.0, 3.0)
    )
    assert one == same != other
    assert adapt_encoder(Whitener(), IMAGE, fingerprint="mine").fingerprint == "mine"


def test_a_module_moves_with_the_prior_and_keeps_its_gradients_away():
    prior = Prior.from_checkpoint(adapt_encoder(Whitener(), IMAGE), device="cpu")
    assert [p.numel() for p in prior.flow.parameters()] == [0, 1]
    assert prior.to("meta").device.type == "meta"


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="square"):
        adapt_encoder(Whitener(), (3, 4, 8))
    with pytest.raises(TypeError, match="no transform"):
        adapt_transform(object(), IMAGE)
    with pytest.raises((ValueError, RuntimeError)):
        adapt_encoder(Whitener(), IMAGE, [(1, 1, 1)])
