"""A flow of a researcher's own, or a model that is none, is a prior like any other, torch module or not."""

import math

import pytest
import torch
from PIL import Image
from torch import nn

from transflow_core import Engine, FewShotClassifier, Posterior, Prior, adapt_flow, interpolate
from transflow_core.flows import PixelConvention
from transflow_core.flows.base import count_parameters

SIZE = 4
IMAGE = (3, SIZE, SIZE)
DIM = math.prod(IMAGE)
IMAGES = torch.rand(5, *IMAGE, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1


class Own:
    """Fine level: the left half, coarse level: the right half; four times as large."""

    image_size, channels = SIZE, 3
    latent_shapes = ((3, SIZE, SIZE // 2), (3, SIZE // 2, SIZE))

    def forward(self, x):
        z = torch.cat([half.flatten(1) for half in x.chunk(2, 3)], 1)
        return 4 * z, torch.full((len(x),), DIM * math.log(4))

    def inverse(self, z):
        halves = [half.reshape(-1, 3, SIZE, SIZE // 2) for half in (z / 4).chunk(2, 1)]
        return torch.cat(halves, 3), torch.full((len(z),), -DIM * math.log(4))


class Scaled(Own, nn.Module):
    """With a weight, and without a density."""

    def __init__(self, scale=3.0):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, x):
        return super().forward(x)[0] * self.scale, x.new_full((len(x),), torch.nan)

    def inverse(self, z):
        return super().inverse(z / self.scale)[0], z.new_full((len(z),), torch.nan)


class Mixed(Own, nn.Module):
    """In float64, with a weight in bfloat16, and with means that move in training."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3).double()
        self.weight = nn.Parameter(torch.ones(1, dtype=torch.bfloat16))

    def forward(self, x):
        self.norm(x.double())
        return super().forward(x.double())

    def inverse(self, z):
        return super().inverse(z.double())


class Wide(Own):
    """For x in [-1, 1]."""

    def forward(self, x):
        z, log_det = super().forward((x + 1) / 2)
        return z, log_det - DIM * math.log(2)

    def inverse(self, z):
        x, log_det = super().inverse(z)
        return 2 * x - 1, log_det + DIM * math.log(2)


MODELS = {"flow": Own, "no density": Scaled, "float64": Mixed}


@pytest.fixture(params=MODELS)
def prior(request):
    return Prior.from_checkpoint(adapt_flow(MODELS[request.param]()), device="cpu")


def test_it_encodes_decodes_and_has_the_density_of_autograds_jacobian(prior, request):
    assert (prior.image_size, prior.channels, prior.dim, prior.device.type) == (SIZE, 3, DIM, "cpu")
    z = prior.encode(IMAGES)
    assert z.shape == (5, DIM) and z.dtype == torch.float32
    torch.testing.assert_close(prior.decode(z), IMAGES, atol=1e-5, rtol=1e-5)
    scored = prior.encode_and_score(IMAGES)
    expected = -0.5 * (z.double().square().sum(1) + DIM * math.log(2 * math.pi))
    torch.testing.assert_close(scored.log_prior, expected)
    if request.node.callspec.params["prior"] == "no density":
        assert scored.log_prob.isnan().all()
        return
    x = IMAGES[:1]
    jacobian = torch.autograd.functional.jacobian(lambda v: prior.flow.forward(v.reshape(1, *IMAGE))[0][0], x.flatten())
    log_det = torch.linalg.slogdet(jacobian.double()).logabsdet.item()
    assert scored.log_prob[0].item() == pytest.approx(expected[0].item() + log_det, abs=1e-3)
    assert prior.flow.inverse(z[:1])[1].item() == pytest.approx(-log_det, abs=1e-3)
    assert torch.isfinite(prior.bits_per_dim(IMAGES)).all()


def test_engine_evidence_posterior_samples_and_classes(prior):
    pictures = [Image.fromarray((v.permute(1, 2, 0) * 255).byte().numpy()) for v in IMAGES]
    engine = Engine(prior)
    evidence = engine.read(pictures, align="never")
    assert [image.problem for image in evidence] == [None] * 5
    posterior = evidence.posterior(lam_ratio=0.5)
    torch.testing.assert_close(posterior.mean, evidence.z.mean(0) / 1.5)
    assert engine.sample(posterior, 3).images.shape == (3, *IMAGE)
    assert engine.sample(posterior, 2, preview=True).images.shape == (2, *IMAGE)
    assert interpolate(posterior, Posterior.condition(evidence.z[:1], lam_ratio=1.0), 0.5).mean.shape == (DIM,)
    dark, light = (0.2 * IMAGES + 0.1, 0.2 * IMAGES + 0.7)
    classifier = FewShotClassifier(prior).fit({"dark": dark, "light": light})
    assert (classifier.predict_proba(dark).argmax(1) == classifier.classes.index("dark")).all()


def test_a_module_goes_to_the_device_and_another_object_stays_where_it_is():
    module = Prior.from_checkpoint(adapt_flow(Scaled()), device="cpu")
    assert not any(parameter.requires_grad for parameter in module.flow.parameters())
    assert Prior.from_checkpoint(adapt_flow(Scaled()), device="meta").device.type == "meta"
    prior = Prior.from_checkpoint(adapt_flow(Own()), device="meta")
    assert prior.device.type == "cpu"
    assert count_parameters(nn.Linear(2, 3)) == 9 and prior.info()["parameters"] == 0


def test_equal_models_have_equal_fingerprints():
    class Moved(Own):
        def forward(self, x):
            z, log_det = super().forward(x)
            return z + 1, log_det

        def inverse(self, z):
            return super().inverse(z - 1)

    class Otherwise(Scaled):
        """Other mathematics with the same weights."""

    assert adapt_flow(Otherwise()).fingerprint != adapt_flow(Scaled()).fingerprint

    class Turned(Scaled):
        def __init__(self, shift):
            super().__init__()
            self.shift = shift

        def forward(self, x):
            return super().forward(x.roll(self.shift, 3))

        def inverse(self, z):
            x, log_det = super().inverse(z)
            return x.roll(-self.shift, 3), log_det

    # What it does to an image tells models apart that have no weights, or the same.
    for one, other in ((Scaled(2.0), Scaled(3.0)), (Own(), Moved()), (Mixed(), Own()), (Turned(1), Turned(2))):
        assert adapt_flow(one).fingerprint == adapt_flow(one).fingerprint != adapt_flow(other).fingerprint
    assert adapt_flow(Scaled()).fingerprint != adapt_flow(Scaled(), PixelConvention(offset=1.0, scale=2.0)).fingerprint
    assert adapt_flow(Own(), fingerprint="mine").fingerprint == "mine"


def test_the_scale_of_x_changes_no_bits():
    wide = adapt_flow(Wide(), PixelConvention(offset=1.0, scale=2.0))
    bits = (Prior.from_checkpoint(one, device="cpu").bits_per_dim(IMAGES) for one in (adapt_flow(Own()), wide))
    torch.testing.assert_close(*bits)


def test_what_does_not_fit_is_refused(tmp_path):
    class Wrong(Own):
        latent_shapes = ((3, 2, 2),)

    with pytest.raises(ValueError, match=r"latents \(1, 48\)"):
        adapt_flow(Wrong())

    class Forgetful(Own):
        def inverse(self, z):
            x, log_det = super().inverse(z)
            return x / 2, log_det

    with pytest.warns(UserWarning, match="inverse does not undo forward: one image came back off by 0"):
        adapt_flow(Forgetful())
    with pytest.raises(TypeError, match="only a Glow"):
        Prior.from_checkpoint(adapt_flow(Own())).save(tmp_path / "own.safetensors")


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"forward": lambda _, x: 4 * x.flatten(1)}, "forward must return latents and log_det"),
        ({"inverse": lambda _, z: z.reshape(-1, *IMAGE) / 4}, "inverse must return images and log_det"),
        ({"latent_shapes": (DIM,)}, "latent_shapes must be"),
        ({"latent_shapes": ((DIM,),)}, "latent_shapes must be"),
    ],
)
def test_what_a_flow_lacks_is_said(broken, message):
    with pytest.raises(ValueError, match=message):
        adapt_flow(type("Broken", (Own,), broken)())
