"""The local sampler keeps its laws: one donor, the prior, mean and level variances, weights, common random numbers."""

import math
from dataclasses import replace
from functools import partial
from itertools import accumulate, combinations, pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from transflow_core.posterior import Gaussian, Posterior
from transflow_core.posterior.guard import MANY, Looks, OwnFaces, lines_of
from transflow_core.posterior.local import GRID, PRIOR_TEMPERATURE, LocalNumbers, _spot, flatness
from transflow_core.priors.prior import LatentLevel

from .helpers import by_local
from .test_posterior import close, normal


@pytest.fixture(scope="module", autouse=True)
def all_the_way():
    """τ = 1: the laws are those of what is drawn in afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transflow_core.posterior.local.DRAWN_IN", 1.0)
        patch.setattr("transflow_core.posterior.local._COARSE_LESS", 0.0)
        yield


SHAPES = ((3, 8, 8), (6, 4, 4), (12, 2, 2))
SIDE, P = 16, 6


def levels_of(shapes):
    ends = [0, *accumulate(c * h * w for c, h, w in shapes)]
    return [LatentLevel(str(s), s, slice(*part)) for s, part in zip(shapes, pairwise(ends), strict=True)]


LEVELS, FLAT = levels_of(SHAPES), levels_of(((40, 1, 1), (12, 1, 1)))
D = LEVELS[-1].slice.stop


def evidence(p=P, dim=D, seed=0):
    """Latents that differ in how far out they are."""
    return 0.5 * normal(dim, seed=seed + 99) + torch.linspace(0.5, 1.0, p).double()[:, None] * normal(p, dim, seed=seed)


def looks_of(p=P, dim=D, seed=0):
    images = torch.rand(p, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))
    return Looks(images, evidence(p, dim, seed + 5), None)


def sampler_of(p=P, r=0.0, levels=LEVELS, looks=True, weights=None, visible=None, seed=0, **numbers):
    dim = levels[-1].slice.stop
    z = evidence(p, dim, seed)
    posterior = Posterior.condition(z, 0.5, weights=weights, visible=visible)
    found = posterior.draw(by_local(0.5, r), levels, looks_of(p, dim, seed) if looks else None)
    return replace(found, numbers=replace(found.numbers, **{"fit": 0.0, **numbers}))


def weights_of(sampler, n, **how):
    """(n, K, 16, 16), and whose they are."""
    rows, logits, _ = sampler.mixing(n, **how)
    return rows, logits.softmax(1)


def squares(z, levels=LEVELS):
    """(n, levels) mean squares."""
    return torch.stack([z[:, level.slice].square().mean(1) for level in levels], 1)


some = settings(max_examples=20)
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
    assert nearest.equal(sampler.mixing(40, seed=1).rows[:, 0])
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
    sampler = sampler_of(donors=donors, sharp=sharp, cuts=4)
    rows = sampler.mixing(16, seed).rows
    own = torch.stack([squares(sampler.directions[of]) for of in rows])  # (n, K, levels)
    found = squares(sampler.deviations(16, seed))
    # c gives back what an average loses where it can: it is at most 1 / |w|.
    assert (found <= 1.3 * own.amax(1)).all()
    assert (found.mean(0) / own.mean((0, 1))).sub(1).abs().max() < 0.3
    if sharp == 0 and donors > 3:  # without c, equal weights would leave 1/K of the variance
        plain = squares(torch.stack([sampler.directions[of].mean(0) for of in rows]))
        assert (plain.mean(0) < 0.6 * found.mean(0)).all()


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
    if donors == 2 and not looks:  # of mean 0 over the face: no donor has all of it, but where wholes blend
        assert (weights.mean((-1, -2)) > 0.01).all()
    if sharp == 0.0:
        close(weights, torch.full_like(weights, 1 / donors), 1e-5)
    if math.isinf(sharp) and donors > 1:
        assert (weights.amax(1) > 0.99).float().mean() > 0.95


def test_donors_count_by_halves():
    """The last of 2.5 donors counts half; what is before it does not change."""
    rows, weights = weights_of(sampler_of(donors=2.5, sharp=0.0), 4)
    close(weights[:, :, 0, 0], torch.tensor([0.4, 0.4, 0.2]).expand(4, 3), 1e-6)
    assert rows.shape == (4, 3) and sampler_of(donors=2).mixing(4).rows.equal(rows[:, :2])


def test_a_mouth_is_like_that_of_a_donor(monkeypatch):
    """Of several fields a draw takes one whose mouth is, even where seams are fewer elsewhere."""

    def alike(sampler, n=60):
        rows, weights = weights_of(sampler, n, seed=4)
        pictures = sampler.pictures.mean(1)[rows]  # (n, K, 32, 32)
        weights = F.interpolate(weights, size=pictures.shape[-2:], mode="bilinear")
        lines = lines_of(torch.stack([(weights * pictures).sum(1), *pictures.unbind(1)], 1).flatten(0, 1)[:, None], 5)
        mixed, *donors = F.normalize(lines[:, 0, 16:28, 10:22].flatten(1), dim=1).unflatten(0, (n, -1)).unbind(1)
        return torch.stack([(mixed * donor).sum(1) for donor in donors]).amax(0)

    numbers = {"donors": 4, "cuts": 64, "sharp": 12.0}
    chosen = alike(sampler_of(**numbers))
    monkeypatch.setattr("transflow_core.posterior.local._BROKEN", 0.0)
    before = alike(sampler_of(**numbers))
    assert chosen.min() > 0.8 > before.quantile(0.1)


@places
@kinds
def test_draws_depend_on_seed_and_row_alone(levels, looks):
    sampler = sampler_of(r=0.1, levels=levels, looks=looks)
    sheet = sampler.sample(20, seed=5)
    close(sampler.sample(3, seed=5), sheet[:3], 1e-6)  # fields are float32, and a batch has its own last bits
    close(sampler.sample(11, seed=5, start=7), sheet[7:18], 1e-6)
    assert sampler.sample(0).shape == (0, sampler.dim)
    others = sampler.sample(20, seed=6), sampler.sample(20, seed=5, fold=1), sampler.sample(20, seed=5, fold=2)
    for one, other in combinations((sheet, *others), 2):
        assert ((other - one).abs().amax(1) > 1e-3).all()


@pytest.mark.parametrize("r", [0.0, 0.05, 3.0])
def test_the_noise_is_one_at_every_ratio_and_temperature(r):
    sampler, kept = sampler_of(r=r, cuts=8), sampler_of(cuts=8).deviations(6, seed=2)
    noise = PRIOR_TEMPERATURE * math.sqrt(r / (1 + r)) * Gaussian.standard(D, torch.float64).sample(6, seed=2)
    for temperature in (0.0, 0.7, 1.4):
        expected = sampler.mean + temperature * (kept / (1 + r) + noise)
        close(sampler.sample(6, seed=2, temperature=temperature), expected, 1e-5)


@kinds
@pytest.mark.parametrize("side", [32, 7])
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
    plain, hidden, shown = (sampler_of(looks=looks, visible=of).sample(3) for of in (None, nowhere, nowhere + 1))
    close(hidden, plain, 1e-4)
    close(shown, plain, 1e-6)


@kinds
def test_a_latent_without_places_has_one_vector_of_weights(looks):
    sampler = sampler_of(levels=FLAT, looks=looks, donors=3)
    rows, weights = weights_of(sampler, 30)
    close(weights, weights[:, :, :1, :1].expand_as(weights), 1e-6)
    assert weights[:, :, 0, 0].std(0).min() > 0.1
    for one, of in zip(sampler.sample(5) - sampler.mean, rows, strict=False):
        for level in FLAT:  # each level is a multiple of one combination of its donors
            d, part = sampler.directions[of][:, level.slice], one[level.slice, None]
            coefficients = torch.linalg.lstsq(d.T, part).solution
            close(d.T @ coefficients, part, 1e-6)
            assert (coefficients > -1e-6).all()


def test_donors_are_near_the_first_one_and_count_less_where_they_are_not():
    def apart(sampler):
        rows = sampler.mixing(200).rows
        return sampler._apart[rows[:, :1], rows]

    near, far = (apart(sampler_of(donors=2, near=near))[:, 1].mean() for near in (20.0, 0.0))
    assert near < 0.9 * far
    sampler = sampler_of(donors=3, sharp=0.0, near=0.0, fit=6.0)
    weights = weights_of(sampler, 200)[1][:, :, 0, 0]
    close((weights / weights[:, :1]).log(), -6.0 * (apart(sampler) - 0.5).clamp_min(0), 1e-4)
    assert (apart(sampler) > 0.6).any()


@pytest.mark.parametrize("likeness", [0.0, 1.0])
@pytest.mark.parametrize("p", [1, 2, 20])
@kinds
def test_any_number_of_images_in_either_precision(p, likeness, looks):
    fine, coarse = (
        Posterior.condition(evidence(p).to(dtype), 0.5).draw(
            by_local(likeness, 0.1), LEVELS, looks_of(p) if looks else None
        )
        for dtype in (torch.float64, torch.float32)
    )
    z = coarse.sample(6)
    assert z.dtype == torch.float32 and z.isfinite().all() and fine.sample(6).dtype == torch.float64
    if p < 20:  # of many images two may be as near
        close(z.double(), fine.sample(6), 1e-4)
    assert fine.mixing(3).rows.shape[1] == min(p, 12, math.ceil(1 + 8 * (1 - likeness)))


def test_coarse_levels_are_drawn_in_more():
    levels = levels_of(((3, 64, 64), (3, 32, 32), (3, 16, 16), (3, 8, 8), (6, 2, 2)))
    one, less = (sampler_of(levels=levels, drawn_in=tau).deviations(4) for tau in (1.0, 0.8))
    scales = [(less[:, level.slice] / one[:, level.slice]).mean().item() for level in levels]
    assert scales == pytest.approx([1, 1, 0.9, 0.8, 0.8])


@pytest.mark.parametrize(("likeness", "tau"), [(1.0, 1.0), (0.75, 0.925), (0.5, 0.85), (0.0, 0.85)])
def test_the_nearer_to_one_image_the_less_a_draw_is_drawn_in(monkeypatch, likeness, tau):
    monkeypatch.setattr("transflow_core.posterior.local._COARSE_LESS", 0.15)  # τ is 1 else: see `all_the_way`
    assert LocalNumbers.of(likeness).drawn_in == pytest.approx(tau)


def test_flat_drawings_are_cut_sharply():
    photograph = normal(5, 4000)
    drawing = photograph * (normal(5, 4000, seed=1) > 1.5)
    assert flatness(photograph) == 0.0 and flatness(drawing) == 1.0
    assert LocalNumbers.of(0.5, 1.0).sharp > 2 * LocalNumbers.of(0.5, 0.0).sharp


def with_own(p, likeness=0.5, alike=False, model=True, visible=None):
    """Draws of noise, each picture like one face of a model; or `alike`, of one picture and its noise."""
    looks, k = looks_of(p), 20
    if alike:
        looks = replace(looks, images=looks.images[:1] + 0.1 * looks.images)
    faces = looks_of(k, seed=3).images
    faces[:p] = 0.3 * looks.images + 0.06 * faces[:p]
    own = partial(OwnFaces, PRIOR_TEMPERATURE * normal(k, D, seed=7), faces) if model else None
    posterior = Posterior.condition(evidence(p), 0.02, visible=visible)
    return posterior.draw(by_local(likeness), LEVELS, replace(looks, own=own))


@pytest.mark.parametrize("likeness", [0.0, 0.5, 0.8])
@pytest.mark.parametrize("p", [2, 5, 8])
def test_faces_of_the_model_help_few_unlike_images_and_never_lead(p, likeness):
    sampler, plain = with_own(p, likeness), with_own(p, model=False)
    assert sampler.own == 20 and plain.own == 0
    rows, logits, _ = sampler.mixing(60, seed=2)
    made = rows >= 2 * p
    assert not made[:, 0].any() and made.any()
    # Over the face, images have four times their weight or more, as a geometric mean.
    helped = made.any(1)
    odds = torch.stack([logits.masked_fill(~of[:, :, None, None], -1e9).logsumexp(1) for of in (made, ~made)])
    face = _spot(0.62, 0.2, 0.2)
    mean = ((odds[0] - odds[1])[helped] * face).sum((1, 2)) / face.sum()
    assert mean.max() < -math.log(4) + 1e-3
    close(sampler.sample(4, seed=2), sampler.sample(9, seed=2)[:4], 1e-9)
    close(sampler.mixing(60, seed=2, only=torch.tensor([7, 3])).logits, logits[[7, 3]], 1e-6)
    assert sampler.guard.torn(looks_of(p).images).equal(plain.guard.torn(looks_of(p).images))


@pytest.mark.parametrize("case", [{"p": MANY}, {"alike": True}, {"likeness": 1.0}], ids=str)
def test_faces_of_the_model_do_not_touch_what_needs_no_help(case):
    helped, plain = (with_own(**{"p": 5, "model": model} | case) for model in (True, False))
    assert helped.own == 0 and helped.sample(6).equal(plain.sample(6))


def test_a_place_that_all_images_hide_is_of_a_face_of_the_model():
    visible = torch.ones(5, SIDE, SIDE)
    visible[:, :4] = 0
    rows, weights = weights_of(with_own(5, visible=visible), 60)
    made = rows >= 10
    there = (weights * made[:, :, None, None]).sum(1)[made.any(1)]
    assert there[:, : GRID // 4 - 1].min() > 0.99 and there[:, GRID // 2].mean() < 0.5


@pytest.mark.parametrize(("weight", "counts"), [(0.01, False), (1.0, True)])
def test_what_hardly_counts_hardly_leads_and_does_not_widen_the_guard(weight, counts):
    """A picture of noise among photographs, whose weight is small, lets no colour or noise through."""
    sampler = sampler_of(weights=[weight, *[1.0] * (P - 1)], cuts=1)
    first = sampler.mixing(2000).rows[:, 0] % P
    close(first.bincount(minlength=P) / 2000, sampler.shares, 0.04)
    others = looks_of().of(torch.arange(P) > 0)
    assert sampler.guard.chroma.equal(others.guard.grown(0.0).chroma) != counts


WIDE = levels_of(((3, 32, 32), (3, 16, 16), (12, 2, 2)))


@pytest.mark.parametrize("lacking", [1, 2])
def test_levels_that_an_image_lacks_count_nothing_and_those_of_no_image_are_the_priors(lacking):
    first, dim = WIDE[lacking].slice.start, WIDE[-1].slice.stop
    z = evidence(dim=dim)

    def sampler(z, since, likeness=0.5):
        posterior = Posterior.condition(z, 0.02, since=since)
        return posterior.draw(by_local(likeness), WIDE, looks_of(dim=dim))

    def is_the_priors(x):
        for level in WIDE[:lacking]:
            some = x[:, level.slice]
            assert float(some.square().mean()) == pytest.approx(PRIOR_TEMPERATURE**2, rel=0.05)
            assert float(some.mean(0).square().mean()) < 3 * PRIOR_TEMPERATURE**2 / len(x)

    other, some = z.clone(), torch.tensor([first, 0, first, 0, 0, 0])
    other[[0, 2], :first] = 9.0
    close(sampler(z, some).sample(40), sampler(other, some).sample(40))
    # No image has them: whatever the evidence is, they are N(0, 0.6²); the others are drawn as ever.
    x = sampler(z, torch.full((P,), first)).sample(40)
    close(x[:, first:], sampler(z, None).sample(40)[:, first:])
    is_the_priors(x)
    assert sampler(z, torch.full((P,), first)).sample(0).shape == (0, dim)
    # Other images have them, but no donor of a draw has.
    one = sampler(z, torch.tensor([first, 0, 0, 0, 0, 0]), likeness=1.0)
    alone = (one.mixing(200).rows % P == 0).all(1)
    assert 10 < alone.sum() < 100
    is_the_priors(one.sample(200)[alone])
    # Some draws, and some levels of them, are what they are among all.
    some = one.mixing(200, seed=3, fold=1, only=alone)
    parts = [one.mixed(some, seed=3, part=part) for part in (slice(first), slice(first, None))]
    close(torch.cat(parts, 1), one.deviations(200, seed=3, fold=1)[alone], 1e-6)
