"""Restyling: the map's laws, the way back into the photograph, and the engine's part in both."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from transflow_core import Engine, Evidence, Restyle, to_pil
from transflow_core.faces import AlignedFace, align, paste
from transflow_core.faces.frame import to_frame, to_image
from transflow_core.operations.restyle import restyle_faces
from transflow_core.posterior import Posterior, Restyling, standard_normal
from transflow_core.priors.prior import LatentLevel

from .helpers import EXAMPLES
from .test_evidence import SIZED

LEVELS = (LatentLevel("8×8", (2, 8, 8), slice(0, 128)), LatentLevel("2×2", (3, 2, 2), slice(128, 140)))
D = 140


def evidence(scale: float = 1.0, m: int = 7) -> Posterior:
    return Posterior.condition((1 + scale * standard_normal(m, D, seed=1)).double(), lam_ratio=1.0)


def photographs(n: int = 5) -> torch.Tensor:
    """Every channel of every level has mean 0 and the level mean square 1: the map's source is N(0, I) for them."""
    parts = []
    for level in LEVELS:
        x = standard_normal(n, level.dim, seed=3).double().reshape(n, level.shape[0], -1)
        x = x - x.mean(2, keepdim=True)
        parts.append((x / x.square().mean((1, 2), keepdim=True).sqrt()).reshape(n, -1))
    return torch.cat(parts, 1)


def test_at_strength_0_it_is_the_photograph_to_the_bit_and_the_way_is_straight():
    towards, z = Restyling.of(evidence(), LEVELS), photographs().float()
    assert torch.equal(towards(z, 0), z)
    assert torch.allclose(towards(z, 0.25), z + 0.25 * (towards(z) - z), atol=1e-6)
    one_level = towards(z, [0.0, 1.0])
    assert torch.equal(one_level[:, LEVELS[0].slice], z[:, LEVELS[0].slice])
    assert torch.allclose(one_level[:, LEVELS[1].slice], towards(z)[:, LEVELS[1].slice])


def styled(m: int = 40) -> Posterior:
    """Of two channels of the finer level, one has twice the other's deviation and all of the common pattern."""
    z = standard_normal(m, D, seed=1).double()
    fine = z[:, :128].reshape(m, 2, 64)
    fine[:, 0] = 0.8 * fine[:, 0] + 3 * torch.linspace(-1, 1, 64)
    fine[:, 1] = 0.4 * fine[:, 1] + 5
    return Posterior.condition(z, lam_ratio=1.0)


@pytest.mark.parametrize("likeness", [0.0, 0.7])
def test_draws_of_the_photographs_gaussian_become_draws_of_the_evidences(likeness):
    towards = Restyling.of(styled(), LEVELS, likeness=likeness)
    moved = towards(photographs(400))[:, :128].reshape(-1, 2, 64)
    assert torch.allclose(moved.mean((0, 2)), torch.tensor([0, 5.0]).double(), atol=0.1)
    assert torch.allclose(moved.mean(0)[0], 3 * torch.linspace(-1, 1, 64).double(), atol=0.5)
    around = moved - moved.mean(0)
    assert torch.allclose(around.std((0, 2)), torch.tensor([0.8, 0.4]).double(), rtol=0.15)


def test_of_one_image_nothing_but_channels_moves_and_of_more_the_places_too():
    z = standard_normal(4, D, seed=1).double()
    for m in (1, 4):
        found = Restyling.of(Posterior.condition(z[:m], lam_ratio=1.0), LEVELS).levels[0].mean.reshape(2, 64)
        mean = z[:m, :128].mean(0).reshape(2, 64)
        channels = mean.mean(1, keepdim=True)
        assert torch.allclose(found, channels + (1 - 1 / m) * (mean - channels))


def test_the_coarsest_levels_keep_the_persons_deviations_and_no_grain_is_enlarged():
    z = styled().latents * torch.cat([torch.full((128,), 4.0), torch.full((12,), 0.1)]).double()
    towards, x = Restyling.of(Posterior.condition(z, lam_ratio=1.0), LEVELS), photographs()
    moved = towards(x)
    coarse = LEVELS[1].slice
    assert torch.allclose(moved[:, coarse] - towards.levels[1].mean, x[:, coarse])
    fine = moved[:, LEVELS[0].slice] - towards.levels[0].mean
    assert fine.square().mean().sqrt() < 1.31


def test_the_photographs_own_light_and_contrast_do_not_count():
    towards, z = Restyling.of(evidence(), LEVELS), photographs()
    light = torch.cat([torch.full((level.dim,), 3.0 + i) for i, level in enumerate(LEVELS)]).double()
    assert torch.allclose(towards(1.7 * z + light), towards(z), atol=1e-8)


def test_a_level_that_the_style_has_no_pixels_for_stays():
    z, since = photographs(), torch.full((7,), 128)
    lacking = Posterior.condition(evidence().latents, lam_ratio=1.0, since=since)
    moved = Restyling.of(lacking, LEVELS)(z)
    assert moved[:, :128].equal(z[:, :128])
    torch.testing.assert_close(moved[:, 128:], Restyling.of(evidence(), LEVELS)(z)[:, 128:])
    # Where some images have it, it is measured on these.
    some = torch.cat([evidence(3.0, m=3).latents, evidence().latents[:4]])
    since = torch.tensor([128, 128, 128, 0, 0, 0, 0])
    mixed = Restyling.of(Posterior.condition(some, lam_ratio=1.0, since=since), LEVELS)
    alone = Restyling.of(Posterior.condition(some[3:], lam_ratio=1.0), LEVELS)
    torch.testing.assert_close(mixed(z)[:, :128], alone(z)[:, :128])


def test_one_style_image_twice_is_that_image():
    z, one = photographs(), evidence(m=1).latents
    expected = Restyling.of(Posterior.condition(one, lam_ratio=1.0), LEVELS)(z)
    for latents, weights in ((torch.cat([one, one + 1e-6]), [1.0, 1.0]), (one, [5.0])):
        found = Restyling.of(Posterior.condition(latents, lam_ratio=1.0, weights=weights), LEVELS)(z)
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


def test_what_is_out_of_range_is_refused_in_words():
    with pytest.raises(ValueError, match="likeness is a number from 0 to 1"):
        Restyling.of(evidence(), LEVELS, likeness=1.5)
    for strength in (-0.1, [0.5], float("nan")):
        with pytest.raises(ValueError, match="strength is one number"):
            Restyling.of(evidence(), LEVELS)(photographs(), strength)


def noise(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(60, 190, (height // 10 + 1, width // 10 + 1, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("size", [(64, 64), (150, 90), (300, 700)])
def test_pasting_puts_the_change_where_the_frame_was_and_nothing_elsewhere(size):
    image = noise(*size)
    face = align(image, size=32, align="never")[0]
    same = paste(image, [face], [np.zeros((32, 32, 3))])
    assert same.tobytes() == image.tobytes()
    changed = np.asarray(paste(image, [face], [np.full((32, 32, 3), 0.2)])).astype(int) - np.asarray(image)
    left, top, right, bottom = face.box
    assert abs(changed[(top + bottom) // 2, (left + right) // 2] - 51).max() <= 1
    outside = np.ones(changed.shape[:2], bool)
    outside[top:bottom, left:right] = False
    assert not changed[outside].any()
    steps = np.abs(np.diff(changed[..., 0], axis=0)).max(), np.abs(np.diff(changed[..., 0], axis=1)).max()
    assert max(steps) < 51 * 2 / (0.28 * min(size)) + 2, "a seam"


def test_a_small_photograph_is_itself_at_0():
    engine, photograph = Engine(SIZED), noise(11, 11)
    taken = engine.read([photograph], align="never")
    assert taken[0].lacks == 2
    restyled = restyle_faces(engine, taken, engine.posterior([noise(40, 40)], align="never"), [0])
    torch.testing.assert_close(restyled.after[0], restyled.before, atol=1e-3, rtol=0)


@pytest.mark.parametrize("kind", ["turned", "RGBA", "L", "stream"])
def test_a_photograph_may_be_a_picture_of_pillow_or_a_stream(kind, tmp_path):
    """As its file gives it: upright, and in colour."""
    engine, file, turned = Engine(SIZED), tmp_path / "a.png", Image.Exif()
    turned[0x0112] = 6 if kind == "turned" else 1
    noise(30, 40).convert(kind if kind in ("RGBA", "L") else "RGB").save(file, exif=turned)
    given = io.BytesIO(file.read_bytes()) if kind == "stream" else Image.open(file)
    of_file, of_given = (
        engine.run(Restyle(align="never"), photographs=[one], evidence=[noise(40, 40)]) for one in (file, given)
    )
    (expected,), (made,) = (next(iter(one.pictures.values())) for one in (of_file, of_given))
    assert made.size == ((40, 30) if kind == "turned" else (30, 40)) and made.tobytes() == expected.tobytes()


def test_the_way_back_is_the_inverse_of_the_alignment():
    """A turned, moved frame: what is painted into the frame is found there when the picture is aligned again."""
    image, eyes = noise(400, 300), ((170.0, 120.0), (215.0, 140.0))
    frame = to_frame(image, eyes, 64)
    change = np.zeros((64, 64, 3))
    change[26:38, 20:30] = 0.25
    face = AlignedFace(frame, (0, 0, 1, 1), eyes, "", "aligned", to_image(eyes))
    again = np.asarray(to_frame(paste(image, [face], [change]), eyes, 64)).astype(float) - np.asarray(frame)
    assert np.abs(again / 255 - change).mean() < 0.01
    assert abs(again[32, 25] / 255 - 0.25).max() < 0.02


def test_faces_that_overlap_share_the_place():
    image = noise(64, 64)
    face = align(image, size=16, align="never")[0]
    twice = np.asarray(paste(image, [face, face], [np.full((16, 16, 3), 0.2)] * 2)).astype(int) - np.asarray(image)
    assert abs(twice[32, 32] - 51).max() <= 2


def test_the_engine_gives_the_photograph_at_0_and_takes_the_colours_at_1(celeba64):
    engine = Engine(celeba64)
    posterior = engine.posterior(sorted((EXAMPLES / "sepia").glob("*.png"))[:6], align="never")
    photograph = noise(200, 260)
    photograph.paste(
        to_pil(celeba64.decode(0.6 * standard_normal(1, celeba64.dim, seed=5)))[0].resize((160, 160)), (20, 40)
    )
    taken = engine.read([photograph], align="never")
    restyled = restyle_faces(engine, taken, posterior, [0, 0.5, 1])
    assert restyled.after.shape == (3, 1, 3, 64, 64)
    for match_colours in (True, False):
        same = restyled.pasted(photograph, 0, match_colours=match_colours)
        assert np.abs(np.asarray(same).astype(int) - np.asarray(photograph)).max() <= 1
    reddish = [np.subtract(*np.asarray(restyled.pasted(photograph, step)).mean((0, 1))[[0, 2]]) for step in range(3)]
    assert reddish[0] < reddish[1] < reddish[2], "sepia is brown, in the rest of the photograph as well"
    first, half, full = (restyled.identity(step)[0] for step in range(3))
    assert first < 0.1 and first < half and first < full
    style = Evidence(saved=posterior)
    assert "as it is, whole" in engine.run(Restyle(), photographs=taken, evidence=style).lines[0], "it is no face"
    with pytest.raises(ValueError, match="no images"):
        restyle_faces(engine, [], posterior)
