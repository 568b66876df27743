"""What pictures of draws stay within: the evidence itself always does, and what it never shows does not."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from transflow_core.posterior import Guard
from transflow_core.posterior.guard import Looks, chessboard, clear

SIDE, CHANNELS = 32, 5


def pictures(m, seed=0, channels=3, side=SIDE):
    """Smooth pictures with colours that differ from place to place."""
    x = torch.rand(m, channels, 4, 4, generator=torch.Generator().manual_seed(seed)) * 0.8 + 0.1
    return F.interpolate(x, (side, side), mode="bicubic", align_corners=False).clamp(0, 1)


def guard_of(m=3, seed=0, **how):
    images = pictures(m, seed, **how)
    ranges = torch.randn(m, 2, CHANNELS, generator=torch.Generator().manual_seed(seed)).sort(1).values
    return images, ranges, Looks(images, torch.zeros(m, 1), ranges).guard


def lets_through(guard, other):
    """Whether one lets through all that the other does."""
    pairs = (guard.ranges, other.ranges), (guard.chroma, other.chroma)
    within = all((a[0] <= b[0] + 1e-6).all() and (a[1] >= b[1] - 1e-6).all() for a, b in pairs)
    return within and guard.noise >= other.noise


some = settings(max_examples=25)


@some
@given(st.integers(1, 4), st.integers(0, 99), st.sampled_from([1, 3]))
def test_the_evidence_and_its_mirror_image_pass_unchanged_at_both_sizes(m, seed, channels):
    images, ranges, guard = guard_of(m, seed, channels=channels)
    both = torch.cat([images, images.flip(-1)])
    torch.testing.assert_close(guard.coloured(both), both, atol=1e-6, rtol=0)
    torch.testing.assert_close(guard.coloured(F.avg_pool2d(both, 2)), F.avg_pool2d(both, 2), atol=1e-6, rtol=0)
    assert not guard.noisy(both).any() and not guard.noisy(F.avg_pool2d(both, 2)).any()
    low, high = guard.ranges
    assert (low < ranges[:, 0]).all() and (high > ranges[:, 1]).all()


@some
@given(st.integers(0, 99), st.sampled_from([0, 1, 2]), st.sampled_from([0.3, -0.3]))
def test_a_colour_cast_is_clipped_and_grey_stays(seed, channel, cast):
    images, _, guard = guard_of(2, seed)
    tinted = images.clone()
    tinted[:, channel] = (tinted[:, channel] + cast).clamp(0, 1)
    found = guard.coloured(tinted)
    low, high = guard.chroma
    chroma = found - tinted.mean(1, keepdim=True)
    inside = (found > 0) & (found < 1)  # the cube of colours may cut besides
    assert ((chroma >= low - 1e-6) & (chroma <= high + 1e-6))[inside].all()
    assert (found - images).abs().mean() < (tinted - images).abs().mean()
    grey = torch.rand(2, 1, SIDE, SIDE).expand(-1, 3, -1, -1)
    passes = (low <= 0).all() and (high >= 0).all()
    assert not passes or guard.coloured(grey).allclose(grey)


def test_a_guard_judges_and_colours_half_size_images_as_it_does_whole_ones():
    images, _, guard = guard_of(3)
    generator = torch.Generator().manual_seed(1)
    # Blocks of 2×2, so that means and whole images tell the same.
    half = (F.avg_pool2d(images, 2) + 0.3 * torch.randn(3, 3, SIDE // 2, SIDE // 2, generator=generator)).clamp(0, 1)
    whole = half.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert guard.noisy(half).equal(guard.noisy(whole)) and guard.noisy(half).all()
    coarse, fine = guard.coloured(half), guard.coloured(whole)
    assert not coarse.equal(half)
    # Within each block the wider of its pixels' bounds counts.
    assert (F.avg_pool2d(fine, 2) - coarse).abs().mean() < 0.2 * (half - coarse).abs().mean()


@some
@given(st.integers(0, 99), st.floats(0, 1e6), st.floats(0, 1e6))
def test_it_grows_with_the_ratio_from_itself_to_none(seed, r, s):
    _, _, guard = guard_of(2, seed)
    same = guard.grown(0.0)
    assert same.ranges.equal(guard.ranges) and same.chroma.equal(guard.chroma) and same.noise == guard.noise
    assert lets_through(guard.grown(max(r, s)), guard.grown(min(r, s)))
    width, wider = (one.ranges[1] - one.ranges[0] for one in (guard, guard.grown(r)))
    torch.testing.assert_close(wider, width * (1 + 2 * r))
    assert guard.grown(math.inf) is None


@some
@given(st.integers(0, 99), st.integers(1, 3))
def test_a_union_is_that_of_all_images_at_once(seed, m):
    a, b = (guard_of(m, seed + i)[2] for i in range(2))
    both = a.union(b)
    assert lets_through(both, a) and lets_through(both, b)
    images = torch.cat([pictures(m, seed), pictures(m, seed + 1)])
    chroma = Guard.of(torch.cat([images, images.flip(-1)]), None).chroma
    torch.testing.assert_close(both.chroma, chroma)
    assert a.union(Guard.of(images, None)).ranges is None
    assert Guard.joined([a, b]).chroma.equal(both.chroma) and Guard.joined([a, None]) is None
    assert Guard.joined([]) is None


def test_noise_in_one_place_is_noisy_and_an_edge_is_not():
    fine = ((torch.arange(16)[:, None] + torch.arange(16)) % 2).float().expand(1, 3, 16, 16)
    assert chessboard(0.5 + 0.2 * (fine - 0.5)).item() == pytest.approx(0.1)
    assert chessboard(torch.linspace(0, 1, 16).expand(1, 3, 16, 16)).item() == pytest.approx(0, abs=1e-6)
    images, _, guard = guard_of(3)
    noisy = images.clone()
    board = (torch.arange(16)[:, None] + torch.arange(16)) // 2 % 2  # of the means, a chessboard
    noisy[1, :, 8:24, 8:24] = (noisy[1, :, 8:24, 8:24] + 0.4 * (board - 0.5)).clamp(0, 1)
    step = torch.full((1, 3, SIDE, SIDE), 0.2)
    step[..., SIDE // 2 :] = 0.8
    assert guard.noisy(torch.cat([noisy, step])).tolist() == [False, True, False, False]


def lined(m, seed):
    """Pictures with lines, as faces have."""
    x = torch.rand(m, 3, 24, 24, generator=torch.Generator().manual_seed(seed)) * 0.8 + 0.1
    return F.interpolate(x, 128, mode="bilinear")


def test_eyes_or_a_mouth_like_none_of_the_evidence_are_torn_and_those_of_one_image_are_not():
    images = lined(3, 0)
    both = torch.cat([images, images.flip(-1)])
    guard = Guard.of(both, None)
    softer = 0.6 * both + 0.1  # contrast and brightness do not count
    assert not guard.torn(both).any() and not guard.torn(softer).any()
    shared = images.mean(0, keepdim=True)
    others = torch.cat([lined(4, 7), shared])
    assert guard.torn(others).all() and guard.noisy_or_torn(others).all()
    pasted = others.clone()
    pasted[..., 8:124, 4:124] = images[:1, :, 8:124, 4:124]  # the face, of one image
    assert not guard.torn(pasted).any()
    for part in (slice(8, 64), slice(86, 124)):  # with eyes, or a mouth, of another
        halves = pasted[:4].clone()
        halves[..., part, :] = others[:4, :, part]
        assert guard.torn(halves).all()
    for side in (64, 256):
        assert guard.torn(F.interpolate(others, size=side, mode="area")).all()
    flat = torch.full((2, 3, 128, 128), 0.4)
    assert not guard.torn(flat).any() and not Guard.of(flat, None).torn(both).any()


def test_a_face_is_less_clear_that_is_faint_or_has_an_eye_or_a_mouth_like_none_of_the_evidence():
    images = lined(3, 0)
    looks = Looks(images, torch.zeros(3, 1), None)
    whole = clear(images, looks)
    torch.testing.assert_close(clear(images.flip(-1), looks), whole)
    worse = {"faint": 0.5 * images + 0.2}
    for name, place in {"left": (slice(46, 76), slice(24, 64)), "right": (slice(46, 76), slice(64, 104))}.items():
        for how, other in (("blurred", F.avg_pool2d(images, 15, 1, 7)), ("another", lined(3, 7))):
            worse[f"{name} {how}"] = images.clone()
            worse[f"{name} {how}"][..., *place] = other[..., *place]
    worse["mouth"] = torch.cat([images[..., :62, :], lined(3, 7)[..., 62:, :]], -2)
    for name, pictures in worse.items():
        assert (clear(pictures, looks) < 0.95 * whole).all(), name
    for side in (64, 256):
        torch.testing.assert_close(clear(F.interpolate(images, size=side, mode="area"), looks), whole)


def test_far_from_the_images_faces_may_be_others():
    images, others = lined(3, 0), lined(40, 7)
    guard = Guard.of(torch.cat([images, images.flip(-1)]), None)
    shares = [guard.grown(r).torn(others).float().mean() for r in (0.0, 4.0, 30.0)]
    assert shares[0] == 1 and 0 < shares[1] < 1 and shares[2] < 0.3
    wider = guard.union(Guard.of(others, None))
    assert not wider.torn(others).any() and not wider.torn(images).any()


@pytest.mark.parametrize("side", [2, 4, 8, 16])
def test_small_pictures_have_a_guard_too_and_what_is_no_number_is_noisy(side):
    images, _, guard = guard_of(2, side=side)
    assert guard.noisy(images).tolist() == [False, False]
    images[1, 0, 1, 1] = math.nan
    assert guard.noisy(images).tolist() == [False, side > 2]


@pytest.mark.parametrize("noted", [True, False])
def test_looks_of_each_are_looks_of_all(noted):
    images, ranges, _ = guard_of(3)
    looks = Looks(images, torch.randn(3, 7), ranges if noted else None)
    rows = looks.rows()
    again = Looks.joined(rows)
    assert len(rows) == 3 and again.images.equal(images) and again.mirrored.equal(looks.mirrored)
    assert again.ranges.equal(ranges) if noted else again.ranges is None
    some = looks.of(torch.tensor([True, False, True]))
    assert some.mirrored.equal(looks.mirrored[[0, 2]]) and looks.of(torch.ones(3).bool()) is looks
    small = looks.small(8)
    assert small.shape == (6, 3, 8, 8) and small[3:].equal(small[:3].flip(-1))


@pytest.mark.parametrize(("m", "alike"), [(1, 0.86), (5, 0.86), (7, 0.83), (9, 0.8), (30, 0.8)])
def test_a_sample_of_few_images_has_to_be_more_like_one(m, alike):
    images = torch.rand(m, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert Guard.of(torch.cat([images, images.flip(-1)]), None).alike == pytest.approx(alike)
