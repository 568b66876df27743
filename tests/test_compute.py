"""A prior at work: no sample is noisy, what is counted and kept of the evidence, previews, and the closest image."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageChops

from transflow_core import Condition, Engine, Evidence, Restyle, Sample, Sweep, compute, to_pil
from transflow_core.compute import project, unusable
from transflow_core.flows.fused import GuardedFlow
from transflow_core.operations.call import Call
from transflow_core.operations.inpaint import ignore
from transflow_core.posterior import Gaussian, Guard, Posterior, compose, interpolate, standard_normal
from transflow_core.posterior.guard import Looks, chessboard, closest, judged, shrunk
from transflow_core.posterior.local import PRIOR_TEMPERATURE

from .helpers import METHODS, by_local, make_own_prior, make_sized_prior, make_tiny_prior
from .test_guard import pictures


def adapted(side=16):
    """A researcher's own model, whose pictures are broken far out."""

    def decode(z):
        x = (z.reshape(-1, 3, side, side) + 2) / 4
        return torch.where((z.abs() > 40).any(1)[:, None, None, None], math.nan, x)

    return make_own_prior(side, decode)


PRIORS = {
    "glow": make_tiny_prior,
    "grown": lambda: make_sized_prior().at(16),
    "grown twice": make_sized_prior,
    "one channel": lambda: make_tiny_prior(channels=1),
    "adapted": adapted,
    "adapted, small": lambda: adapted(4),
}


@pytest.fixture(params=PRIORS)
def any_prior(request):
    return PRIORS[request.param]()


def posterior_of(prior, n=4):
    return Posterior.condition(prior.encode(pictures(n, side=prior.image_size, channels=prior.channels)), lam_ratio=0.1)


def sampler_of(engine, n=4, how=METHODS["local"]):
    return engine.draw(posterior_of(engine.prior, n), how)


@pytest.mark.parametrize("kind", METHODS)
def test_every_prior_draws_by_every_method(any_prior, kind):
    engine = Engine(any_prior, batch_size=4)
    sampler = sampler_of(engine, how=METHODS[kind])
    drawn = engine.sample(sampler, 5, seed=2)
    side, channels = any_prior.image_size, any_prior.channels
    assert drawn.images.shape == (5, channels, side, side) and drawn.images.isfinite().all()
    assert drawn.images.min() >= 0 and drawn.images.max() <= 1
    assert drawn.z.shape == (5, any_prior.dim)
    assert drawn.counts.keys() == {"redrawn", "projected", "guarded"}
    again = engine.sample(sampler, 5, seed=2).images  # one image may be computed by another number of threads
    torch.testing.assert_close(again, drawn.images, atol=1e-4, rtol=0)
    guard = sampler.guard
    shown = any_prior.guarded_decode(drawn.z, ranges=guard and guard.ranges)[0]
    torch.testing.assert_close(drawn.images, guard.coloured(shown) if guard else shown, atol=1e-4, rtol=0)
    if kind == "local":
        assert (guard.ranges is None) == (not hasattr(any_prior._form, "guarded"))
        assert engine.sample(sampler, 0).images.shape[0] == 0
    wild = engine.sample(sampler, 6, temperature=60.0)  # of a model that breaks there, nothing broken is shown
    assert wild.images.isfinite().all() and wild.images.equal(wild.images.clamp(0, 1))
    if any_prior.name == "adapted" and kind != "posterior":
        assert wild.projected.any()


@pytest.mark.parametrize("kind", METHODS)
def test_a_preview_is_the_means_of_the_whole_images(kind):
    engine = Engine(PRIORS["grown"]())
    sampler = sampler_of(engine, how=METHODS[kind])
    if sampler.guard is not None:  # clipped colours of means are not the means of clipped colours
        sampler = replace(sampler, guard=sampler.guard.uncoloured())
    for temperature in (0.1, 1.0):
        whole = engine.sample(sampler, 6, seed=3, temperature=temperature).images
        preview = engine.sample(sampler, 6, seed=3, temperature=temperature, preview=True).images
        assert preview.shape[-1] == 8
        # Where it is black or white, the two may differ within a block.
        inside = (F.max_pool2d(whole, 2) < 1) & (-F.max_pool2d(-whole, 2) > 0)
        if sampler.guard is not None:  # the guard sets what is beyond white and black of all channels at once
            inside = inside.all(1, keepdim=True).expand_as(preview)
        error = (preview - F.avg_pool2d(whole, 2)).abs()[inside]
        assert inside.any() and error.median() < 1e-3 and error.mean() < 2 / 255


def forced(monkeypatch, noisy):
    """Guards that find noisy or torn what `noisy` says of a batch of images."""
    monkeypatch.setattr(Guard, "noisy_or_torn", lambda self, images: noisy(images))


@pytest.mark.parametrize("folds", [0, 1, 2, 4])
def test_a_noisy_draw_is_drawn_again_with_another_fold_and_the_others_stay(engine, monkeypatch, folds):
    sampler = sampler_of(engine)
    shown = [engine.decode(sampler.sample(4, seed=1, fold=f), guards=[sampler.guard]) for f in range(5)]
    known = judged(torch.cat(shown), engine.prior.image_size)

    def noisy(images):
        which = (images[:, None] - known[None]).square().mean((2, 3, 4)).argmin(1)
        return (which % 4 == 2) & (which // 4 < folds)

    forced(monkeypatch, noisy)
    drawn = engine.sample(sampler, 4, seed=1)
    assert drawn.redrawn.tolist() == [0, 0, folds, 0] and not drawn.projected.any()
    again = sampler.sample(4, seed=1, fold=folds)[2]  # fewer draws at once are rounded differently
    torch.testing.assert_close(drawn.z[2], again, atol=1e-6, rtol=0)
    assert drawn.z[[0, 1, 3]].equal(sampler.sample(4, seed=1)[[0, 1, 3]])
    torch.testing.assert_close(drawn.images[2], shown[folds][2], atol=1e-5, rtol=0)
    assert drawn.counts["redrawn"] == bool(folds) and drawn.counts["projected"] == 0


def test_a_draw_that_stays_noisy_is_moved_to_its_first_donor(engine, monkeypatch):
    sampler = sampler_of(engine)
    first, last = sampler.first(3, seed=1, fold=4), sampler.sample(3, seed=1, fold=4)
    side = engine.prior.image_size
    good, bad = (judged(engine.decode(z, guards=[sampler.guard]), side) for z in (first, last))

    def away(images):
        return (judged(images, side)[:, None] - good[None]).abs().mean((2, 3, 4)).amin(1)

    def noisy(images):
        return away(images) > 0.6 * away(bad).min()

    forced(monkeypatch, noisy)
    drawn = engine.sample(sampler, 3, seed=1)
    assert drawn.redrawn.tolist() == [4] * 3 and drawn.projected.all() and not noisy(drawn.images).any()
    step, whole = drawn.z - first, last - first
    assert (step.norm(dim=1) > 0).any() and (step.norm(dim=1) < whole.norm(dim=1)).all()
    torch.testing.assert_close(step, (step.norm(dim=1) / whole.norm(dim=1))[:, None] * whole)
    # Where nothing is whole, its first donor is what there is.
    forced(monkeypatch, lambda images: torch.ones(len(images), dtype=torch.bool))
    assert engine.sample(sampler, 3, seed=1).z.equal(first)


@pytest.mark.parametrize("kind", METHODS)
def test_the_samples_are_the_same_at_every_side(kind, monkeypatch):
    """Also those that are drawn again, or moved: they are judged by the same means."""
    # Of this seed, no picture on the way of a draw that is moved is so near to `most` that last bits would decide.
    engine = Engine(PRIORS["grown twice"]())
    engine.fast = engine.prior  # in bfloat16 a sample at the limit may be moved by one step more
    sampler = sampler_of(engine, how=METHODS[kind])
    means = judged(engine.decode(sampler.sample(16, seed=4), guards=[sampler.guard]), 32)
    noise = chessboard(means).sort().values
    most = float(noise[8:10].mean())
    monkeypatch.setattr("transflow_core.posterior.guard._NOISE", (0.0, most))
    monkeypatch.setattr("transflow_core.compute.unusable", lambda images: chessboard(images) > most)
    whole = engine.sample(sampler, 16, seed=4)
    assert whole.projected.any() and whole.images.shape[-1] == 32
    assert whole.redrawn.any() == (kind == "local")
    times, decode = [], GuardedFlow.low_pass

    def counted(flow, z, halvings, *args, **how):
        times.append((halvings, len(z)))
        return decode(flow, z, halvings, *args, **how)

    monkeypatch.setattr(GuardedFlow, "low_pass", counted)
    for side, shown, preview in ((1, 16, False), (16, 16, False), (17, 32, False), (500, 32, False), (32, 16, True)):
        small = engine.sample(sampler, 16, seed=4, side=side, preview=preview)
        assert small.images.shape[-1] == shown
        # What is drawn again is judged at the least side, and details come once.
        finest = sum(rows for halvings, rows in times if halvings < 1)
        assert finest == (16 if shown == 32 else 0) < sum(rows for _, rows in times), times
        times.clear()
        assert small.redrawn.equal(whole.redrawn) and small.projected.equal(whole.projected)
        torch.testing.assert_close(small.z, whole.z, atol=1e-5, rtol=0)
    alone = engine.sample(sampler, 1, seed=4, start=5)
    torch.testing.assert_close(alone.images[0], whole.images[5], atol=1e-4, rtol=0)


def test_what_leaves_the_ranges_is_counted(engine):
    assert not engine.sample(sampler_of(engine, how=by_local(1.0, 0.0)), 6).guarded.any()
    wild = engine.sample(sampler_of(engine), 6, temperature=40.0)
    assert wild.counts["guarded"] == 6 and wild.images.isfinite().all()
    # The paper's draws are shown as they are.
    assert not engine.sample(sampler_of(engine, how=METHODS["posterior"]), 6, temperature=40.0).guarded.any()


def test_a_latent_whose_image_is_broken_keeps_its_own_guard(engine):
    """Some of the draws are moved: each is still coloured, and bounded, by the guard of its place."""
    local, far = sampler_of(engine), Gaussian(torch.zeros(engine.prior.dim), 1e12)
    z = torch.cat([local.sample(2), far.sample(2)])
    centre = torch.cat([local.mean.expand(2, -1), far.mean.expand(2, -1)])
    images = engine.decode(z, centre=centre, guards=[local.guard] * 2 + [None] * 2)
    assert images.isfinite().all()
    torch.testing.assert_close(images[:2], engine.decode(z[:2], guards=[local.guard]), atol=1e-5, rtol=0)
    alone = engine.decode(z[2:], centre=centre[2:])
    torch.testing.assert_close(images[2:], alone, atol=1e-4, rtol=0)
    drawn = engine.sample(far, 4)
    assert drawn.projected.all() and drawn.images.isfinite().all() and not drawn.redrawn.any()
    assert engine.sample(far, 4, preview=True).images.isfinite().all()
    assert engine.sample(interpolate(local, far, 0.5), 2).images.isfinite().all()


def test_compositions_and_paths_are_drawn_within_the_union_of_guards(engine):
    a, b = sampler_of(engine), sampler_of(engine, 3, METHODS["bootstrap"])
    both = a.guard.union(b.guard)
    for sampler in (compose([a, b], engine.prior.levels), interpolate(a, b, 0.5)):
        assert sampler.guard.ranges.equal(both.ranges) and sampler.guard.chroma.equal(both.chroma)
        assert engine.sample(sampler, 3).images.isfinite().all()
    assert compose([a, Gaussian.standard(engine.prior.dim)], engine.prior.levels).guard is None


def test_an_evidence_image_is_drawn_as_it_is(any_prior):
    """At likeness 1 and λ = 0, but for what deviations are drawn in by; and so is its mirror image."""
    engine = Engine(any_prior)
    known = pictures(4, side=any_prior.image_size, channels=any_prior.channels)
    looks = any_prior.looks(any_prior.encode(known))
    torch.testing.assert_close(looks.images, known, atol=1e-4, rtol=0)
    torch.testing.assert_close(any_prior.decode(looks.mirrored), known.flip(-1), atol=1e-3, rtol=0)
    latents, small = looks.own()
    expected = shrunk(any_prior.decode(latents).clamp(0, 1), small.shape[-1])
    torch.testing.assert_close(small, expected, atol=1e-4, rtol=0)
    assert abs(latents.square().mean().sqrt() - PRIOR_TEMPERATURE) < 0.02
    sampler = sampler_of(engine, how=by_local(1.0, 0.0))
    images = engine.decode(sampler.first(4, seed=2), guards=[sampler.guard])
    away = (images[:, None] - torch.cat([known, known.flip(-1)])[None]).abs().amax((2, 3, 4)).amin(1)
    assert away.max() < 2e-3


@pytest.mark.parametrize("recipe", [Condition(align="never"), Restyle(align="never")])
def test_masks_are_counted_before_one_is_decoded_and_one_file_is_decoded_once(engine, recipe, tmp_path, monkeypatch):
    opened, plain = [], Engine.picture
    for name, side in (("face", 16), ("mask", 2500)):
        (image := Image.new("L", (side, side))).paste(255, (0, 0, side, side // 2))
        image.save(tmp_path / f"{name}.png")
        (tmp_path / f"{name} 2.png").write_bytes((tmp_path / f"{name}.png").read_bytes())
    faces, mask = [tmp_path / "face.png", tmp_path / "face 2.png"], tmp_path / "mask.png"
    inputs = {name: faces for name in recipe.inputs if name != "masks"}
    monkeypatch.setattr(
        Engine, "picture", lambda self, file, **how: opened.append(Path(file).stem) or plain(self, file, **how)
    )
    with pytest.raises(ValueError, match=r"2 .* take one mask, or one for each, not 60"):
        engine.run(recipe, masks=[mask] * 60, **inputs)
    assert "mask" not in opened
    engine.run(recipe, masks=[mask] * 2, **inputs)
    assert opened.count("mask") == 1
    call = Call(engine, recipe, inputs | {"masks": [mask, tmp_path / "mask 2.png"]})
    assert all(max(one.size) < 2500 for one in call.masks(2, "images"))


def test_masks_reach_the_sampler(engine):
    mask, expected = Image.new("L", (16, 16)), torch.ones(4, 32, 32)
    evidence = engine.read(to_pil(pictures(4, side=16)), align="never")
    assert engine.draw(evidence.posterior(), METHODS["local"]).visible is None
    mask.paste(255, (0, 8, 16, 16))
    expected[1, 16:] = 0
    found = engine.draw(ignore(engine, evidence, {1: mask}).posterior(), METHODS["local"])
    torch.testing.assert_close(found.visible, expected)


def test_many_samples_are_drawn_a_few_at_a_time(engine, monkeypatch):
    seen = []
    evidence = Evidence(prior=engine.prior.name, saved=posterior_of(engine.prior))
    recipe, swept = Sample(method="local", likeness=0.5, n=8), Sweep(method="local", values=(0.5, 1.0), n=8)
    whole, whole_sweep = (engine.run(one, evidence=evidence) for one in (recipe, swept))
    monkeypatch.setattr("transflow_core.operations.sampling._AT_ONCE", 3)
    drawn = engine.run(recipe, evidence=evidence, progress=lambda *now: seen.append(now))
    assert drawn.facts["redrawn"] == whole.facts["redrawn"] > 0
    assert [one["name"] for one in drawn.facts["closest"]] == [one["name"] for one in whole.facts["closest"]]
    pairs = (whole, drawn), (whole_sweep, engine.run(swept, evidence=evidence))
    for before, after in pairs:
        assert before.pictures.keys() == after.pictures.keys()
        for name, (picture,) in before.pictures.items():
            difference = ImageChops.difference(picture, after.pictures[name][0])
            assert max(high for _, high in difference.getextrema()) <= 1
    seen = [(done, total) for done, total, what in seen if what == "sampling"]
    assert seen[0] == (0, 8) and max(seen) == (8, 8) and {total for _, total in seen} == {8}


# Latents that show nothing, and previews.


def by_length(z, rows):
    """A flow that overflows where a latent is longer than 2, and is grey elsewhere, by the latent's length."""
    length = z.norm(dim=1)
    images = (0.2 + length / 10)[:, None, None, None].expand(-1, 3, 4, 4).clone()
    images[length > 2, :, 0, 0] = math.nan
    return images


def test_a_row_keeps_the_most_of_its_way_that_decodes():
    centre, z, rows = torch.tensor([0.5, 0.0]), torch.tensor([[2.4, 0.0], [0.0, -3.0], [9.0, 0.0]]), torch.arange(3)
    found, images = project(by_length, z, rows, centre)
    assert images.equal(by_length(found, rows))
    torch.testing.assert_close(found, centre + torch.tensor([[0.75], [0.5], [0.0]]) * (z - centre))
    for kept, row in zip((0.75, 0.5), range(2), strict=True):  # a quarter more does not decode
        assert not by_length((centre + (kept + 0.25) * (z - centre))[row : row + 1], rows).isfinite().all()
    nothing, _ = project(lambda z, rows: math.nan * by_length(z, rows), z, rows, centre)
    assert nothing.equal(centre.expand(3, 2)), "nothing decodes"


def test_not_finite_or_saturated():
    images = torch.rand(5, 3, 8, 8) * 0.8 + 0.1
    images[1, 0, 0, 0] = math.inf
    images[2] = (images[2] > 0.5).float()  # only ends of the range
    images[3] = 1.0  # white paper
    images[4, :, :3] = 0.0
    assert unusable(images).tolist() == [False, True, True, False, False]


@pytest.fixture
def in_bfloat16(monkeypatch):
    """A processor with tiles of bfloat16."""
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"amx_bf16": True}, raising=False)


def test_nets_in_bfloat16_change_nothing_that_is_seen_and_evidence_is_inverted_in_float32(celeba64, in_bfloat16):
    """Both use the same weights: there is no second copy in memory."""
    fast, z = Engine(celeba64).fast, standard_normal(4, celeba64.dim, seed=5)
    x = celeba64.decode(z)
    before = celeba64.encode(x)
    assert fast is not celeba64 and 0 < (fast.decode(z) - x).abs().max() <= 2 / 255
    assert fast.flow is celeba64.flow and celeba64.encode(x).equal(before)


@pytest.mark.parametrize("why", ["no tiles", "a torch that cannot tell", "too far off"])
def test_without_tiles_or_too_far_off_it_stays_in_float32(celeba64, in_bfloat16, why, monkeypatch):
    if why == "no tiles":
        monkeypatch.setattr("torch.cpu.get_capabilities", dict, raising=False)
    elif why == "too far off":
        monkeypatch.setattr(compute, "_LARGEST_ERROR", 1e-6)
    else:
        monkeypatch.delattr("torch.cpu.get_capabilities")
    assert Engine(celeba64).fast is celeba64


def test_your_own_model_is_shown_as_it_is(in_bfloat16):
    prior = make_own_prior()
    engine, normal = Engine(prior), Gaussian.standard(prior.dim)
    assert engine.fast is prior
    assert engine.sample(normal, 2, preview=True).images.equal(engine.sample(normal, 2).images)


# The closest image of the evidence: a copy is 0, two images are 1 apart, and nothing divides by 0.


def looks_of(images):
    return Looks(images, torch.zeros(len(images), images[0].numel()), None)


@pytest.fixture
def images():
    return torch.rand(5, 3, 48, 48, generator=torch.Generator().manual_seed(0))


def test_a_copy_is_found_and_its_mirror_image(images):
    asked = torch.stack([images[3], images[1].flip(-1)])
    found = closest(asked, looks_of(images))
    assert [(one.index, one.mirrored, one.name) for one in found] == [(3, False, "image 4"), (1, True, "image 2")]
    assert found[0].distance == 0 and found[1].distance < 1e-6  # a mean from the other side rounds otherwise


def test_what_differs_in_the_finest_pixels_alone_is_a_copy(images):
    """Of 64 pixels the 2×2 means are compared: a chessboard on top is nothing new."""
    chessboard = 0.1 * (-1) ** (torch.arange(64)[:, None] + torch.arange(64))
    smooth = torch.nn.functional.interpolate(images, size=(64, 64), mode="nearest")
    assert max(one.distance for one in closest(smooth + chessboard, looks_of(smooth))) < 1e-5


@pytest.mark.parametrize("rows", [[0], [0, 0]])
def test_evidence_of_which_no_two_differ(images, rows):
    copy, other, plain = closest(torch.stack([images[0], 1 - images[0], _plain(images[0])]), looks_of(images[rows]))
    assert copy.distance == 0 and 0 < other.distance < float("inf")
    assert plain.distance == pytest.approx(1, abs=1e-3)  # its own mean colour is 1 away
    copy, other = closest(torch.stack([torch.zeros(3, 8, 8), torch.ones(3, 8, 8)]), looks_of(torch.zeros(1, 3, 8, 8)))
    assert copy.distance == 0 and 0 < other.distance < float("inf")


def _plain(image):
    return image.mean((-1, -2), keepdim=True).expand_as(image)


def test_names_are_those_of_the_evidence_and_numbers_of_a_saved_one(engine, tmp_path):
    pictures = to_pil(torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1)))
    for index, picture in enumerate(pictures):
        picture.save(tmp_path / f"mine_{index}.png")
    (tmp_path / "none.png").write_bytes(b"no image")
    evidence = engine.read(sorted(tmp_path.iterdir()), align="never").replace(0, weight=0.0)
    posterior = evidence.posterior()
    shown = engine.decode(posterior.latents)
    assert [one.name for one in engine.closest(shown, posterior, evidence)] == ["mine_1.png", "mine_2.png"]
    assert [one.name for one in engine.closest(shown, posterior)] == ["image 1", "image 2"]
    posterior.save(tmp_path / "p.safetensors")
    again = engine.load_posterior(tmp_path / "p.safetensors")
    assert [one.name for one in engine.closest(shown, again, Evidence())] == ["image 1", "image 2"]


def test_a_cache_forgets_what_was_not_used_for_long(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(compute, "time", SimpleNamespace(monotonic=lambda: now[0]))
    cache = compute.Cache(3)
    for key in "ab":
        cache.put(key, key)
    now[0] = 50
    assert cache.get("a") == "a"
    now[0] = 100
    cache.forget(60)
    assert (cache.get("a"), cache.get("b")) == ("a", None)
