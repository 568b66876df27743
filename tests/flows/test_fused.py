"""The fused flow: the numbers of the flow that is trained; and decoding with a guard, exact for what is known."""

import json
from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from transflow_core.flows import fused
from transflow_core.flows.base import Guard
from transflow_core.flows.fused import GuardedFlow
from transflow_core.flows.glow import GlowConfig, LevelConfig
from transflow_core.flows.wavelet import DetailConfig, ScaleConfig, WaveletConfig, read_config, unrolled, write_config
from transflow_core.posterior import Posterior

from ..helpers import EXAMPLES, by_local
from .test_layers import COUPLINGS, built

couplings = st.sampled_from(list(COUPLINGS.values()))
levels = st.builds(LevelConfig, st.integers(1, 2), st.sampled_from([4, 6]), st.none() | couplings)
options = {name: st.booleans() for name in ("position", "edge", "split_prior")}
glows = st.builds(
    GlowConfig, st.just(8), st.tuples(levels, levels), st.sampled_from([1, 3]), coupling=couplings, **options
)
details = st.sampled_from([DetailConfig(2, 6, 4), DetailConfig(1, 6, 4, 2.0, 3.0, 5, (ScaleConfig(1, 6),) * 2)])
once = st.builds(WaveletConfig, glows, details)
wavelets = st.one_of(once, st.builds(WaveletConfig, once, details))
flows = st.one_of(glows, wavelets)
caches = st.sampled_from([1, 2**10, 2**30])  # 1: one image at a time
some = settings(max_examples=20)


@contextmanager
def cached(size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused, "_CACHE", size)
        yield patch


def known(config, n):
    """A flow, the same fused, n images, and their latents."""
    flow = built(config)
    x = torch.rand(n, config.channels, config.image_size, config.image_size, generator=torch.Generator().manual_seed(n))
    with torch.inference_mode():
        return flow, GuardedFlow(flow), x - 0.5, flow(x - 0.5)[0]


def far(z, norm=1e3):
    """Latents of this norm, which no image led to."""
    noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(1))
    return norm * noise / noise.norm(dim=1, keepdim=True)


def union(ranges):
    return torch.stack([ranges[:, 0].amin(0), ranges[:, 1].amax(0)]).expand_as(ranges)


def left(ranges, bounds, slack=0.0):
    """Of each row, whether something is outside."""
    return ((ranges[:, 0] < bounds[:, 0] - slack) | (ranges[:, 1] > bounds[:, 1] + slack)).any(1)


@given(flows)
def test_a_configuration_comes_back_from_json(config):
    written = json.dumps(write_config(config))
    assert read_config(json.loads(written)) == config and "null" not in written


@given(flows, st.integers(1, 5), caches)
@settings(max_examples=40)
@torch.inference_mode()
def test_it_is_the_same_map_with_the_same_log_det(config, n, cache):
    flow, form, x, z = known(config, n)
    given_x, given_z = x.clone(), z.clone()
    with cached(cache):
        for found, expected, argument in ((form.forward, flow, x), (form.inverse, flow.inverse, z)):
            for one, other in zip(found(argument), expected(argument), strict=True):
                torch.testing.assert_close(one, other, atol=2e-4, rtol=1e-4)
        assert form.halvings == len(unrolled(config)) - 1
        for times in range(form.halvings + 1):
            means = F.avg_pool2d(flow.inverse(z)[0], 2**times)
            torch.testing.assert_close(form.low_pass(z, times), means, atol=2e-4, rtol=1e-4)
    assert x.equal(given_x) and z.equal(given_z)  # nobody's tensor is written over


@some
@given(flows, st.integers(1, 5), caches)
@torch.inference_mode()
def test_what_is_noted_decodes_within_its_own_ranges_to_the_bit(config, n, cache):
    _, form, x, z = known(config, n)
    with cached(cache):
        images, given_z = form.inverse(z)[0], z.clone()
        noted, ranges = form.decode_and_see(z)
        assert noted.equal(images) and ranges.shape == (n, 2, form.guarded) and (ranges[:, 0] <= ranges[:, 1]).all()
        for bounds in (ranges, union(ranges)):
            given_bounds = bounds.clone()
            guarded, excess = form.decode(z, bounds)
            assert guarded.equal(images) and not excess.any()
            assert z.equal(given_z) and bounds.equal(given_bounds)
        # Encoding notes the same but for rounding.
        encoded, log_det, forth = form.noted_forward(x)
        assert encoded.equal((plain := form.forward(x))[0]) and log_det.equal(plain[1])
        torch.testing.assert_close(form.decode_and_see(encoded)[1], forth, atol=1e-3, rtol=1e-3)


@some
@given(flows, st.integers(1, 3), caches)
@torch.inference_mode()
def test_nothing_leaves_the_ranges_where_it_would_without_them(config, n, cache):
    _, form, _, z = known(config, n)
    bounds = union(form.decode_and_see(z)[1])
    passed = []

    class Watched(Guard):
        def check(self, x):
            bounds = self.ranges
            super().check(x)
            if bounds is not None:
                low, high = bounds[:, :, -x.shape[1] :].unbind(1)
                passed.append((x.amin((2, 3)) >= low).all() and (x.amax((2, 3)) <= high).all())

    with cached(cache) as patch:
        patch.setattr(fused, "Guard", Watched)
        images, excess = form.decode(far(z), bounds)
    assert passed and all(passed) and (excess > 1).all()
    assert left(form.decode_and_see(far(z))[1], bounds).all()
    # What comes out has passed the last of them, and one step's net and linear map: not further for a latent farther.
    further, more = form.decode(far(z, 1e6), bounds)
    assert (more > excess).all() and images.isfinite().all() and further.isfinite().all()
    if not hasattr(form, "low_pass"):  # details of a wavelet flow have their own place in the latent
        assert images.abs().amax() < 1e3 and further.abs().amax() < 1e3


@some
@given(flows, st.integers(2, 5), caches)
@torch.inference_mode()
def test_each_image_of_a_batch_has_its_own_ranges(config, n, cache):
    _, form, _, z = known(config, n)
    ranges = form.decode_and_see(z)[1]
    z = z.roll(1, 0)  # each within another one's ranges
    alone = [form.decode(z[i : i + 1], ranges[i : i + 1]) for i in range(n)]
    with cached(cache):
        images, excess = form.decode(z, ranges)
    torch.testing.assert_close(images, torch.cat([one for one, _ in alone]), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(excess, torch.cat([one for _, one in alone]), atol=1e-3, rtol=1e-3)
    assert (excess > 0).all() and not images.allclose(form.inverse(z)[0], atol=1e-4)


@some
@given(wavelets, st.integers(1, 3), st.sampled_from([0.0, 1.0, 30.0]))
@torch.inference_mode()
def test_coarse_images_are_the_means_of_whole_ones_within_the_same_ranges(config, n, off):
    _, form, _, z = known(config, n)
    ranges = form.decode_and_see(z)[1]
    z = z + off * far(z, 1.0)
    whole, excess = form.decode(z, ranges)
    for times in range(1, form.halvings + 1):
        coarse, of_coarse = form.decode(z, ranges, times)
        torch.testing.assert_close(coarse, F.avg_pool2d(whole, 2**times), atol=1e-3, rtol=1e-3)
        assert (of_coarse <= excess).all()  # the details may leave besides
        # From these on, only the details are computed: all of the finer sides come out as they would at once.
        for finer in range(times):
            refined, of_details = form.decode(z, ranges, finer, coarse)
            at_once, of_all = form.decode(z, ranges, finer)
            torch.testing.assert_close(refined, at_once)
            assert of_details.maximum(of_coarse).equal(of_all)
            if not off:  # without ranges, what no image led to may overflow
                known_means = form.low_pass(z, times)
                torch.testing.assert_close(form.low_pass(z, finer, None, known_means), form.low_pass(z, finer))


def test_a_set_that_ships_decodes_as_without_a_guard_and_its_draws_stay_whole(default_prior):
    paths = sorted((EXAMPLES / "cartoon").glob("*.png"))[::2]
    prior = default_prior.at(128)  # the size of these pictures
    aligned = prior.to_unit([Image.open(path).convert("RGB") for path in paths])
    cartoon = Posterior.condition(prior.encode(aligned), lam_ratio=0.01)
    looks = prior.looks(cartoon.latents)
    images, excess = prior.guarded_decode(cartoon.latents, ranges=looks.guard.ranges)
    assert images.equal(prior.decode(cartoon.latents)) and not excess.any()
    assert not looks.guard.noisy(images).any()
    mirrored = prior.guarded_decode(looks.mirrored, ranges=looks.guard.ranges)[0]
    torch.testing.assert_close(mirrored, images.flip(-1).clamp(0, 1), atol=1e-3, rtol=0)
    sampler = cartoon.draw(by_local(0.0, 0.01), prior.levels, looks)  # where images are far from one another
    z = sampler.sample(16, seed=1)
    form, ranges = prior._form, sampler.guard.ranges.expand(8, -1, -1)

    def stays(decode):
        with torch.inference_mode():
            return torch.cat([decode(part).abs().amax((1, 2, 3)) for part in z.split(8)]) < 10 * 0.5  # pixels: ±½

    assert stays(lambda z: form.decode(z, ranges)[0]).all()
    assert not stays(lambda z: form.inverse(z)[0]).all()
