"""The local sampler keeps its laws: one donor, the prior, mean and level variances, weights, common random numbers."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from transflow_core.posterior import PRIOR_TEMPERATURE, Gaussian, Local, Looks, Posterior, Sampler
from transflow_core.posterior.local import LocalNumbers, fields, flatness
from transflow_core.prior import LatentLevel

from .helpers import by_local

SHAPES = ((3, 8, 8), (6, 4, 4), (12, 2, 2))
SIDE, P = 16, 6


def levels_of(shapes):
    found, start = [], 0
    for c, h, w in shapes:
        found.append(LatentLevel(f"{h}×{w}", (c, h, w), slice(start, start + c * h * w)))
        start += c * h * w
    return found


LEVELS = levels_of(SHAPES)
D = LEVELS[-1].slice.stop
FLAT = levels_of(((40, 1, 1), (12, 1, 1)))


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def evidence(p=P, dim=D, seed=0):
    """Latents that differ in how far out they are."""
    return 0.5 * normal(dim, seed=seed + 99) + torch.linspace(0.5, 1.0, p).double()[:, None] * normal(p, dim, seed=seed)


def looks_of(p=P, dim=D, seed=0):
    images = torch.rand(p, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))
    return Looks(images, evidence(p, dim, seed + 5), None)


def sampler_of(p=P, r=0.0, levels=LEVELS, looks=True, drawn_in=1.0, weights=None, visible=None, seed=0, **numbers):
    dim = levels[-1].slice.stop
    z = evidence(p, dim, seed)
    posterior = Posterior.condition(z, 0.5, weights=weights, visible=visible)
    found = posterior.draw(by_local(0.5, r), levels, looks_of(p, dim, seed) if looks else None)
    return replace(found, numbers=replace(found.numbers, **{"fit": 0.0, **numbers}), drawn_in=drawn_in)


def pieces(sampler):
    """ζ_i/(1 + r), of all images and mirror images."""
    return sampler.mean + sampler.directions


def close(a, b, tolerance=1e-9):
    torch.testing.assert_close(a, b.to(a.dtype), atol=tolerance, rtol=tolerance)


def weights_of(sampler, n, **how):
    """(n, K, 16, 16), and whose they are."""
    rows, logits = sampler.mixing(n, **how)
    return rows, logits.softmax(1)


def squares(z, levels=LEVELS):
    """(n, levels) mean squares."""
    return torch.stack([z[:, level.slice].square().mean(1) for level in levels], 1)


some = settings(max_examples=20, deadline=None)
kinds = pytest.mark.parametrize("looks", [True, False], ids=["looks", "no looks"])
places = pytest.mark.parametrize("levels", [LEVELS, FLAT], ids=["spatial", "flat"])


@places
@kinds
def test_one_donor_is_an_image_of_the_evidence_or_its_mirror_image(levels, looks):
    sampler = sampler_of(levels=levels, looks=looks, donors=1)
    z, known = sampler.sample(40, seed=1), evidence(dim=levels[-1].slice.stop)
    if looks:
        known = torch.cat([known, looks_of(dim=levels[-1].slice.stop).mirrored])
    away, nearest = torch.cdist(z, known, compute_mode="donot_use_mm_for_euclid_dist").min(1)
    assert away.max() < 1e-6
    assert len(nearest.unique()) >= (8 if looks else 5)
    assert (nearest % P).equal(sampler.lead(40, seed=1))
    close(sampler.first(40, seed=1), known[nearest], 1e-6)


@places
@kinds
def test_an_infinite_ratio_is_the_prior_at_its_temperature(levels, looks):
    sampler = sampler_of(r=math.inf, levels=levels, looks=looks)
    expected = Gaussian.standard(sampler.dim, torch.float64).sample(4, seed=3)
    close(sampler.sample(4, seed=3), PRIOR_TEMPERATURE * expected, 1e-7)
    assert sampler.guard is None and not sampler.mean.any()


@some
@given(st.integers(1, P), st.floats(0, 8), st.integers(0, 50))
def test_every_level_varies_as_the_donors_do(donors, sharp, seed):
    sampler = sampler_of(donors=donors, sharp=sharp, cuts=4, drawn_in=1.0)
    rows, _ = sampler.mixing(16, seed)
    own = torch.stack([squares(sampler.directions[of]) for of in rows])  # (n, K, levels)
    found = squares(sampler.deviations(16, seed))
    # c gives back what an average loses where it can: it is at most 1 / |w|.
    assert (found <= 1.3 * own.amax(1)).all()
    assert (found.mean(0) / own.mean((0, 1))).sub(1).abs().max() < 0.3


def test_an_average_alone_would_lose_the_variance():
    """What the test above tells apart: with equal weights and no gain, a level has 1/K of it."""
    sampler = sampler_of(donors=4, sharp=0.0, near=0.0)
    rows, _ = sampler.mixing(16)
    plain = squares(torch.stack([sampler.directions[of].mean(0) for of in rows])).mean(0)
    given_back = squares(sampler.deviations(16)).mean(0)
    assert (plain < 0.5 * given_back).all()


@kinds
@pytest.mark.parametrize("r", [0.0, 0.5])
def test_the_mean_of_draws_is_the_shrunk_mean_of_the_evidence(looks, r):
    sampler = sampler_of(r=r, looks=looks, near=0.0, cuts=2)
    known = torch.cat([evidence(), looks_of().mirrored]) if looks else evidence()
    close(sampler.mean, known.mean(0) / (1 + r))
    n = 1500
    z = sampler.sample(n, seed=1)
    error = (z.mean(0) - sampler.mean).square().mean().sqrt()
    assert error < 0.15 * (z - z.mean(0)).square().mean().sqrt()


@given(st.integers(1, 6), st.integers(0, 50), st.booleans(), st.sampled_from([0.0, 3.0, math.inf]))
@some
def test_weights_sum_to_one_and_are_the_same_on_both_sides_of_the_face(donors, seed, looks, sharp):
    sampler = sampler_of(looks=looks, donors=donors, cuts=4, sharp=min(sharp, 1e4))
    rows, weights = weights_of(sampler, 5, seed=seed)
    assert rows.shape == (5, donors) and weights.shape == (5, donors, 16, 16)
    close(weights.sum(1), torch.ones(5, 16, 16), 1e-5)
    close(weights, weights.flip(-1), 1e-3)
    assert all(len({i % P for i in row}) == donors for row in rows.tolist())  # without replacement
    if sharp == 0.0:
        close(weights, torch.full_like(weights, 1 / donors), 1e-5)
    if math.isinf(sharp) and donors > 1:
        assert (weights.amax(1) > 0.99).float().mean() > 0.95


def test_donors_count_by_halves():
    """The last of 2.5 donors counts half; what is before it does not change."""
    rows, weights = weights_of(sampler_of(donors=2.5, sharp=0.0), 4)
    assert rows.shape == (4, 3) and weights.shape[1] == 3
    close(weights[:, :, 0, 0], torch.tensor([0.4, 0.4, 0.2]).expand(4, 3), 1e-6)
    assert sampler_of(donors=2).mixing(4)[0].equal(rows[:, :2])
    for donors in (1, 2, 3):
        few, more = (sampler_of(donors=k, levels=FLAT, looks=False).sample(4) for k in (donors, donors + 1e-12))
        close(more, few, 0.1)


@places
@kinds
def test_draws_depend_on_seed_and_row_alone(levels, looks):
    sampler = sampler_of(r=0.1, levels=levels, looks=looks)
    assert isinstance(sampler, Sampler) and isinstance(sampler, Local)
    sheet = sampler.sample(20, seed=5)
    close(sampler.sample(3, seed=5), sheet[:3], 1e-6)  # fields are float32, and a batch has its own last bits
    close(sampler.sample(11, seed=5, start=7), sheet[7:18], 1e-6)
    close(sampler.to("cpu").sample(20, seed=5), sheet, 1e-6)
    assert sampler.sample(0).shape == (0, sampler.dim)
    for other in (sampler.sample(20, seed=6), sampler.sample(20, seed=5, fold=1), sampler.sample(20, seed=5, fold=2)):
        assert ((other - sheet).abs().amax(1) > 1e-3).all()
    folds = torch.stack([sampler.lead(50, seed=5, fold=fold) for fold in range(5)])
    assert all((folds[i] != folds[j]).any() for i in range(5) for j in range(i))


def test_the_noise_is_one_at_every_ratio_and_temperature():
    samplers = {r: sampler_of(r=r, cuts=8) for r in (0.0, 0.05, 0.3, 3.0)}
    rows = {r: sampler.mixing(6, seed=2) for r, sampler in samplers.items()}
    epsilon = Gaussian.standard(D, torch.float64).sample(6, seed=2)
    kept = sampler_of(cuts=8).deviations(6, seed=2)
    for r, sampler in samplers.items():
        assert rows[r][0].equal(rows[0.0][0])
        close(rows[r][1], rows[0.0][1], 1e-4)
        noise = PRIOR_TEMPERATURE * math.sqrt(r / (1 + r)) * epsilon
        for temperature in (0.0, 0.7, 1.0, 1.4):
            expected = sampler.mean + temperature * (kept / (1 + r) + noise)
            close(sampler.sample(6, seed=2, temperature=temperature), expected, 1e-5)


@kinds
@pytest.mark.parametrize("side", [16, 32, 7])
def test_a_masked_place_is_of_another_donor_where_one_is_visible(looks, side):
    visible = torch.ones(P, side, side)
    visible[0, side // 2 + 1 :] = 0.0  # a mouth
    visible[1, :, : side // 2 - 1] = 0.0  # the left half; of its mirror image the right one
    sampler = sampler_of(looks=looks, donors=3, visible=visible)
    rows, weights = weights_of(sampler, 200, seed=1)
    below = rows % P == 0
    assert below.any() and weights[:, :, 11:][below].max() < 1e-3
    assert weights[:, :, :6][below].mean() > 0.1
    for mirrored, columns in ((False, slice(0, 4)), (True, slice(12, 16))):
        of = rows == 1 + P * mirrored
        assert of.any() == (looks or not mirrored)
        assert not of.any() or weights[..., columns][of].max() < 1e-3
    nowhere = torch.zeros(P, side, side)  # where no donor is visible, they count as if all were
    plain, hidden = (sampler_of(looks=looks, visible=of).sample(3) for of in (None, nowhere))
    close(hidden, plain, 1e-4)


def test_all_of_each_visible_is_as_no_mask_at_all():
    close(sampler_of(visible=torch.ones(P, 32, 32)).sample(4), sampler_of().sample(4), 1e-6)


def test_what_hardly_counts_hardly_leads():
    weights = [1e-6, 1.0, 1.0, 1.0, 1.0, 3.0]
    lead = sampler_of(weights=weights).lead(2000)
    counts = lead.bincount(minlength=P) / 2000
    close(counts, torch.tensor(weights) / 7, 0.04)
    assert counts[0] == 0
    none = sampler_of(weights=[0.0, *[1.0] * (P - 1)], looks=False)
    assert len(none.shares) == P - 1 and not torch.isclose(pieces(none), evidence()[0]).all(1).any()


@pytest.mark.parametrize("looks", [True, False])
def test_a_latent_without_places_has_one_vector_of_weights(looks):
    sampler = sampler_of(levels=FLAT, looks=looks, donors=3)
    _, weights = weights_of(sampler, 30)
    close(weights, weights[:, :, :1, :1].expand_as(weights), 1e-6)
    assert weights[:, :, 0, 0].std(0).min() > 0.1
    z = replace(sampler, numbers=replace(sampler.numbers, donors=2.0)).sample(5) - sampler.mean
    rows = sampler.mixing(5)[0][:, :2]
    for one, of in zip(z, rows, strict=True):  # each level is a multiple of one combination of its donors
        for level in FLAT:
            d = sampler.directions[of][:, level.slice]
            coefficients = torch.linalg.lstsq(d.T, one[level.slice, None]).solution
            close(d.T @ coefficients, one[level.slice, None], 1e-6)
            assert (coefficients > -1e-6).all()


def test_long_fields_tend_to_one_vector_of_weights_and_short_ones_do_not():
    short, long = (weights_of(sampler_of(length=length, donors=2, looks=False), 20)[1] for length in (0.3, 100.0))
    rough = [(w - w.mean((-1, -2), keepdim=True)).abs().mean() for w in (short, long)]
    assert rough[0] > 0.1
    smooth = fields(normal(4, 3, 7, 5), 100.0).diff(dim=-1).abs().max()
    assert smooth < fields(normal(4, 3, 7, 5), 0.3).diff(dim=-1).abs().max()


@some
@given(st.integers(0, 50), st.floats(0.2, 2.0))
def test_fields_are_symmetric_and_of_mean_square_one_over_the_face(seed, length):
    g = fields(normal(4, 3, 7, 5, seed=seed), length)
    close(g, g.flip(-1), 1e-3)
    x = (torch.arange(16) + 0.5) / 16
    face = torch.exp(-0.5 * (((x[:, None] - 0.55) / 0.3) ** 2 + ((x - 0.5) / 0.3) ** 2))
    close(((g * face).sum((-1, -2)) / face.sum()).abs().max(), torch.tensor(0.0), 1e-3)
    close((g.square() * face).sum((-1, -2)).mean(1) / face.sum(), torch.ones(4), 1e-3)


def test_cuts_do_not_change_who_the_donors_are():
    many = sampler_of(cuts=32)
    for other in (sampler_of(cuts=1), sampler_of(cuts=8)):
        assert other.mixing(20, seed=4)[0].equal(many.mixing(20, seed=4)[0])
    assert not sampler_of(cuts=1).sample(5, seed=4).allclose(many.sample(5, seed=4))


def test_more_cuts_have_seams_where_donors_agree():
    def seams(sampler):
        rows, weights = weights_of(sampler, 60)
        donors = torch.nn.functional.avg_pool2d(sampler.pictures, 2)[rows]
        average = (weights.unsqueeze(2) * donors).sum(1)
        return ((weights.unsqueeze(2) * donors.square()).sum(1) - average.square()).mean()

    assert seams(sampler_of(cuts=64, sharp=8.0)) < 0.9 * seams(sampler_of(cuts=1, sharp=8.0))


def test_near_donors_are_alike():
    def spread(near):
        sampler = sampler_of(near=near, donors=2)
        rows = sampler.mixing(200)[0]
        return sampler._apart[rows[:, 0], rows[:, 1]].mean()

    assert spread(20.0) < 0.9 * spread(0.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("p", [1, 2, 20])
def test_any_number_of_images_and_any_donors(p, dtype):
    posterior = Posterior.condition(evidence(p).to(dtype), 0.5)
    for looks in (None, looks_of(p)):
        for likeness in (0.0, 0.5, 1.0):
            sampler = posterior.draw(by_local(likeness, 0.1), LEVELS, looks)
            z = sampler.sample(3)
            assert z.dtype == dtype and z.isfinite().all() and sampler.to("cpu").sample(3).equal(z)
            assert sampler.mixing(3)[0].shape[1] == min(p, 12, math.ceil(1 + 8 * (1 - likeness)))


def test_float64_is_float32_more_exactly():
    fine, coarse = (
        Posterior.condition(evidence().to(dtype), 0.5).draw(by_local(0.5, 0.1), LEVELS, looks_of())
        for dtype in (torch.float64, torch.float32)
    )
    close(coarse.sample(6).double(), fine.sample(6), 1e-4)


def test_images_that_are_all_one_give_that_image():
    posterior = Posterior.condition(evidence(1).expand(4, -1), 0.5)
    z = posterior.draw(by_local(0.2, 0.0), LEVELS).sample(3)
    close(z, evidence(1).expand(3, -1), 1e-6)


def test_donors_unlike_the_lead_count_less():
    sampler = sampler_of(donors=3, sharp=0.0, near=0.0, fit=6.0)
    rows, weights = weights_of(sampler, 100)
    apart = sampler._apart[rows[:, :1], rows].flatten()
    found = weights[:, :, 0, 0].flatten()
    lead = weights[:, :1, 0, 0].expand(-1, 3).flatten()
    close((found / lead).log(), -6.0 * (apart - 0.5).clamp_min(0), 1e-4)
    assert (apart > 0.6).any()


def test_flat_drawings_are_told_from_photographs():
    gaussian = normal(5, 4000)
    lines = gaussian * (normal(5, 4000, seed=1) > 1.5)
    assert flatness(gaussian) == 0.0 and flatness(lines) == 1.0
    assert LocalNumbers.of(0.5, 1.0).sharp > 2 * LocalNumbers.of(0.5, 0.0).sharp


def test_likeness_goes_from_one_image_to_many():
    steps = [LocalNumbers.of(likeness / 10) for likeness in range(11)]
    assert steps[-1].donors == 1
    for newer, closer in pairwise(steps):
        assert newer.donors > closer.donors and newer.length < closer.length
        assert newer.near < closer.near and newer.fit < closer.fit and newer.cuts <= closer.cuts


def test_what_hardly_counts_does_not_widen_the_guard():
    """A picture of noise among photographs, whose weight is small, lets no colour or noise through."""
    z, looks = evidence(), looks_of()
    plain = Posterior.condition(z[1:], 0.5).draw(by_local(), LEVELS, looks.of(torch.arange(P) > 0)).guard
    for weight, same in ((0.01, True), (1.0, False)):
        posterior = Posterior.condition(z, 0.5, weights=[weight, *[1.0] * (P - 1)])
        guard = posterior.draw(by_local(), LEVELS, looks).guard
        assert torch.equal(guard.chroma, plain.chroma) == same
