"""Evidence: a value that grows and changes, how much each image counts, and its posterior."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from benchmarks.flagged import faceless
from transflow_core import Engine, Posterior, align, example, to_pil
from transflow_core.checkpoints.typicality import Typicality
from transflow_core.evidence import Evidence, EvidenceImage, Latent, Source
from transflow_core.limits import DEFAULT_LAM_RATIO
from transflow_core.pictures import Picture
from transflow_core.posterior.local import PRIOR_TEMPERATURE

from .helpers import METHODS, make_sized_prior
from .test_guard import pictures

DIM = 6
WHOLE = align(Image.new("RGB", (4, 4)), size=4, align="never")[0]


def image(seed=0, weight=1.0, problem=None):
    """An image of the evidence, or one that could not become one."""
    z = torch.randn(DIM, generator=torch.Generator().manual_seed(seed))
    source, picture = Source(f"{seed}.png", weight=weight), Picture(f"{seed}.png", problem=problem)
    return EvidenceImage(source, picture, WHOLE, None if problem else Latent(z, -1.0, -1.0), problem=problem)


images = st.builds(
    image, st.integers(0, 50), st.sampled_from([0.0, 1.0, 2.5]), st.sampled_from([None, None, "it is empty."])
)
lists = st.lists(images, max_size=5)
ratios = st.sampled_from([0.0, 0.01, 0.3, 1.0, 7.0, torch.linspace(0.1, 2, DIM)])


@given(lists, lists, images, st.data())
def test_adding_and_removing_is_no_change(some, others, more, data):
    evidence = Evidence(tuple(some))
    with pytest.raises(IndexError):
        evidence.removed(len(some))
    assert evidence.added([more]).removed(len(some)).images == evidence.added([]).images == evidence.images
    twice = evidence.added(others, remaining=1).added([more])
    assert twice.images == evidence.added([*others, more]).images and twice.remaining == 0
    if some:
        index = data.draw(st.integers(-len(some), len(some) - 1))
        rest = [*some[: index % len(some)], *some[index % len(some) + 1 :]]
        assert evidence.removed(index).sources == Evidence(tuple(rest)).sources
        assert evidence.put(index, more).put(index, some[index]).images == evidence.images
        changed = evidence.replace(index, weight=9.0, label="cat")
        assert (changed[index].weight, changed[index].source.label) == (9.0, "cat") and changed.put(index, some[index])


@given(lists, ratios)
def test_the_posterior_is_that_of_the_images_wherever_lambda_was_before(some, ratio):
    evidence = Evidence(tuple(some))
    if not evidence.ready:
        for how in ({"lam_ratio": ratio}, {}):
            with pytest.raises(ValueError):
                evidence.posterior(**how)
        return
    evidence.posterior(3.0)
    for found, expected in (
        (evidence.posterior(ratio), {"lam_ratio": ratio}),
        (evidence.posterior(), {"lam_ratio": DEFAULT_LAM_RATIO}),
    ):
        expected = Posterior.condition(evidence.z, weights=evidence.weights, **expected)
        assert found.mean.equal(expected.mean) and found.variance.equal(expected.variance) and found.m == expected.m


def test_images_that_differ_in_their_palette_alone_are_two():
    one, other = (Image.new("P", (40, 40), 1) for _ in range(2))
    one.putpalette([0, 0, 0, 255, 0, 0])
    other.putpalette([0, 0, 0, 0, 255, 0])
    latents = Engine(SIZED).read([one, other], align="never").encoded
    assert not latents[0].equal(latents[1])


def test_it_has_a_title_and_is_an_example_or_saved_until_it_changes():
    evidence = Evidence().added([image(1), image(2, problem="it is empty.")])
    assert [Evidence().title, evidence.title, evidence.added([image(3)]).title] == ["the prior", "1.png", "2 images"]
    example, more = Evidence((image(1), image(2)), "a", example="sketch"), image(3)
    for changed in (example.added([more]), example.removed(0), example.put(0, more), example.replace(0, weight=2.0)):
        assert changed.example == "" and changed.prior == "a"
    posterior = Posterior.condition(torch.ones(2, DIM), lam_ratio=0.7)
    saved = Evidence(saved=posterior, saved_name="mine.safetensors")
    assert saved.ready and saved.title == "mine.safetensors" and saved.posterior() is posterior
    assert saved.posterior(0.2).mean.equal(posterior.with_lam(0.2).mean)
    assert saved.added([more]).saved is None and saved.added([more]).posterior().m == 1


@pytest.mark.parametrize(
    ("evidence", "problem"),
    [
        (Evidence(), "there are no images"),
        (Evidence((image(1, weight=0.0),)), "every image has weight 0"),
        (Evidence((image(2, problem="it is empty."),)), r"2\.png: it is empty"),
        (Evidence((image(1),), notes=("give a posterior by itself.",)), "by itself"),
    ],
)
def test_checking_says_what_is_wrong(evidence, problem):
    with pytest.raises(ValueError, match=problem):
        evidence.checked()
    good = Evidence((image(1),))
    assert good.checked() is good


USUAL = Typicality(2, (0.0, 100.0), (-2.0, -1.0), (-2.0, -1.0), ((0.5, 2.0),) * 2)


def judged(*sizes, weights=None, robust=None):
    """Images whose two levels have these root mean squares; from 0.5 to 2 was measured."""
    found = []
    for index, size in enumerate(sizes):
        source = Source(f"{index}.png", weight=(weights or {}).get(index, 1.0), robust=index != robust)
        image = EvidenceImage.of(source, Picture(f"{index}.png", (WHOLE,), WHOLE), WHOLE)
        found.append(image.judged(Latent(size * torch.ones(2), 0.0, 0.0, (size, 1.0)), USUAL))
    return Evidence(tuple(found))


def test_an_outlier_counts_as_if_its_noise_were_as_much_larger():
    evidence = judged(1.0, 1.5, 2.9, 6.0, 0.5 / 3)
    # The line is at half as much again as what was measured: 3, and a third.
    assert evidence.effective_weights == pytest.approx((1, 1, 1, (3 / 6) ** 4, (1.5 / 3) ** 4))
    assert [one["effective_weight"] for one in evidence.to_dicts()] == list(evidence.effective_weights)
    assert evidence.weights.tolist() == pytest.approx(evidence.effective_weights)
    assert evidence.posterior(lam_ratio=1.0).m == pytest.approx(sum(evidence.effective_weights))
    # However far out, it adds no more than an image at the line does, neither to the mean nor to the variance.
    for size in (3.1, 30.0, 900.0):
        weight = judged(1.0, 1.0, 1.0, size).effective_weights[3]
        assert weight * size <= 3.0 and weight * size**2 <= 9.0
    assert judged(1.0, 1.0, float("nan")).effective_weights[2] == 0 == judged(1.0, 1.0, 0.0).effective_weights[2]


def test_a_picture_without_a_face_hardly_counts_among_faces():
    """Its levels may be usual: parts of photographs have such latents too."""
    evidence = judged(1.0, 1.0, 1.0, 1.0)
    one = replace(evidence[3], face=replace(WHOLE, missed=True))
    given = evidence.put(3, one.judged(one.latent, USUAL))
    assert (given[3].verdict.way, given[3].is_outlier) == ("no face", True)
    assert given.effective_weights == pytest.approx((1, 1, 1, 1 / 16)) and "far" not in given[3].summary
    assert given.put(3, evidence[3]).effective_weights == (1, 1, 1, 1)  # the user chose the whole picture
    assert given.removed(0).removed(0).effective_weights == (1, 1)  # half of them: what was meant


def test_the_verdict_is_right_in_19_of_20(celeba64):
    """Photographs of faces fit; flat colours, noise and textures do not."""
    engine, photographs = Engine(celeba64), [*example("red_hair"), *example("greyscale")][::2]
    faces = engine.read(photographs)
    others = engine.read([picture for pictures in faceless(n=5).values() for picture in pictures])
    assert len(others) == 20 and sum(image.is_outlier for image in others) >= 0.95 * len(others)
    assert sum(not image.is_outlier for image in faces) >= 0.95 * len(faces)


@pytest.mark.parametrize(
    ("evidence", "weights"),
    [
        (judged(1.0, 1.0, 6.0, robust=2), (1, 1, 1)),
        (judged(1.0, 6.0), (1, 1)),  # half of them: what was meant, and no outlier
        (judged(1.0, 1.0, 6.0, 6.0, weights={1: 0.0}), (1, 0, 1, 1)),
        (judged(1.0, 1.0, 1.0, 6.0, weights={3: 8.0}), (1, 1, 1, 0.5)),
        (Evidence(), ()),
    ],
)
def test_an_image_that_is_not_robust_and_what_most_are_count_in_full(evidence, weights):
    assert evidence.effective_weights == pytest.approx(weights)


SIZED = make_sized_prior()


@pytest.mark.parametrize(("side", "lacks"), [(64, 0), (32, 0), (23, 0), (22, 1), (16, 1), (12, 1), (11, 2), (4, 2)])
def test_a_picture_of_few_pixels_lacks_the_levels_that_it_has_no_pixels_for(side, lacks):
    noise = torch.randint(0, 256, (side, side, 3), generator=torch.Generator().manual_seed(side), dtype=torch.uint8)
    picture = Image.fromarray(noise.numpy())
    evidence = Engine(SIZED).read([picture, picture.rotate(90)], align="never")
    assert [one.lacks for one in evidence] == [lacks, lacks]
    assert ("few pixels" in evidence[0].summary) == (lacks > 0)
    # Numbers of the levels that it has are its latent's; in the place of others are a draw's, which count nothing.
    since = SIZED.dim - SIZED.dim // 4**lacks
    assert [level.slice.start for level in SIZED.levels][lacks] == since
    latents, z = torch.stack([one.latent.z for one in evidence]), evidence.z
    assert z[:, since:].equal(latents[:, since:]) and evidence.encoded.equal(latents)
    posterior = evidence.posterior(0.5)
    torch.testing.assert_close(posterior.mean[since:], latents.mean(0)[since:] / 1.5)
    if lacks:
        assert not posterior.mean[:since].any() and (posterior.variance[:since] == 1).all()
        assert float(z[:, :since].square().mean()) == pytest.approx(PRIOR_TEMPERATURE**2, rel=0.2)
        assert not z[0, :since].equal(z[1, :since]) and evidence.z.equal(z)
    assert Engine(SIZED.at(8)).read([picture], align="never")[0].lacks == 0, "a Glow has no such levels"


@pytest.mark.parametrize("lacks", [0, 1, 2])
def test_what_an_image_lacks_is_not_decoded_and_its_mirror_image_lacks_it(lacks):
    engine, side = Engine(SIZED), SIZED.image_size >> lacks
    evidence = engine.read(to_pil(pictures(3, side=side)), align="never")
    posterior = evidence.posterior(0.1)
    assert [one.lacks for one in evidence] == [lacks] * 3
    looks = engine.looks(posterior)
    # What is known of images, and what a saved posterior shows, are the same but for rounding.
    again, own = Engine(SIZED).looks(posterior), SIZED.at(side)
    for known, found in ((looks.images, again.images), (looks.mirrored, again.mirrored), (looks.ranges, again.ranges)):
        torch.testing.assert_close(known, found, atol=2e-3, rtol=1e-3)
    seen = F.adaptive_avg_pool2d(looks.images, side)
    torch.testing.assert_close(own.decode(own.encode(seen)), seen, atol=1e-3, rtol=0)
    flipped = own.encode_and_score(seen.flip(-1))
    since = SIZED.dim - own.dim
    assert not looks.mirrored[:, :since].any()
    torch.testing.assert_close(looks.mirrored[:, since:], flipped.z, atol=1e-3, rtol=1e-3)
    # Nothing is kept to at a level that no image has; one image that has it is enough.
    missing = looks.ranges.shape[2] - flipped.ranges.shape[2]
    assert looks.ranges[:, 0, :missing].isposinf().all() and looks.ranges[:, 1, :missing].isneginf().all()
    assert looks.ranges[:, :, missing:].isfinite().all() and (missing > 0) == (lacks > 0)
    drawn = engine.sample(engine.draw(posterior, METHODS["local"]), 4, seed=1)
    assert drawn.images.isfinite().all() and not drawn.guarded.any()
    whole = engine.looks(engine.read(to_pil(pictures(1, side=64)), align="never").posterior())
    assert whole.guard.union(looks.guard).ranges[:, :missing].equal(whole.guard.ranges[:, :missing])


def test_a_picture_is_no_outlier_for_a_level_that_it_lacks():
    """Enlarged, a face is too smooth at the finest level: that is no reason for a smaller weight."""
    typicality = Typicality(2, (0.0, 100.0), (-1.0, 1.0), (-1.0, 1.0), ((0.4, 0.6), (0.8, 1.2)))
    latent = Latent(torch.zeros(16), 0.0, 0.0, (0.01, 1.0))
    source, picture = Source("a.png"), Picture("a.png")
    whole, small = (EvidenceImage.of(source, picture, WHOLE, lacks) for lacks in (0, 1))
    assert whole.judged(latent, typicality).is_outlier and not small.judged(latent, typicality).is_outlier
    assert small.judged(replace(latent, level_rms=(0.5, 9.0)), typicality).is_outlier
