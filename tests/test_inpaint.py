"""Masks: what is ignored does not count, what is known stays, and a bar over the eyes is removed."""

import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from transflow_core.engine import Cancelled, Engine
from transflow_core.evidence import Source
from transflow_core.faces import align
from transflow_core.faces.pasting import mask_in_frame
from transflow_core.images import load_image
from transflow_core.operations.classify import variants
from transflow_core.operations.inpaint import ignore, inpaint, remove, usual

from .helpers import EXAMPLES, make_tiny_prior, squares

TINY = make_tiny_prior()
ENGINE = Engine(TINY)


def mask_of(box, size=16):
    mask = Image.new("L", (size, size))
    mask.paste(255, box)
    return mask


boxes = st.tuples(st.integers(0, 11), st.integers(0, 11), st.integers(2, 5), st.integers(2, 5)).map(
    lambda box: (box[0], box[1], box[0] + box[2], box[1] + box[3])
)


def with_edge(mask):
    """A pixel about what is painted does not count either."""
    return mask.filter(ImageFilter.MaxFilter(3))


def frames(n=2, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).random((n, 3, 16, 16), np.float32))


@settings(max_examples=12)
@given(boxes | st.just((0, 0, 16, 16)), boxes, st.integers(0, 9))
def test_what_is_known_stays_to_the_bit_and_what_is_not_does_not_count(one, other, seed):
    masks, x = [mask_of(one), mask_of(other)], frames(seed=seed)
    filled = inpaint(ENGINE, x, masks, usual(TINY))
    hidden = torch.stack([torch.from_numpy(np.asarray(with_edge(mask)) > 127) for mask in masks]).unsqueeze(1)
    assert filled.shape == x.shape and ((filled >= 0) & (filled <= 1)).all()
    assert torch.where(hidden, 0, filled).equal(torch.where(hidden, 0, x))
    # Whatever lies under the mask: another image there gives the same.
    assert inpaint(ENGINE, torch.where(hidden, frames(seed=seed + 1), x), masks, usual(TINY)).equal(filled)


def test_fillings_go_towards_the_other_pieces():
    others = 3 + 0.5 * torch.randn(9, TINY.dim, generator=torch.Generator().manual_seed(0))
    towards = usual(TINY, others)
    torch.testing.assert_close(towards.mean, others.mean(0), atol=1e-5, rtol=1e-5)
    assert all(0.2 < float(v) < 0.3 for v in towards.variance.unique())
    assert usual(TINY).mean.eq(0).all() and usual(TINY, others[:1]).mean.equal(others[0])
    weighted = usual(TINY, others[:2], torch.tensor([3.0, 1.0]))
    torch.testing.assert_close(weighted.mean, 0.75 * others[0] + 0.25 * others[1], atol=1e-5, rtol=1e-5)


def test_a_mask_of_the_picture_is_cut_as_its_face_was():
    mask = Image.new("L", (200, 100))
    mask.paste(255, (100, 0, 200, 100))
    face = align(Image.new("RGB", (400, 200)), size=16, align="never")[0]
    cut = mask_in_frame(mask, (400, 200), face)
    assert cut.size == (16, 16) and cut.getbbox() == (8, 0, 16, 16)
    with pytest.raises(ValueError, match="proportions"):
        mask_in_frame(Image.new("L", (100, 100)), (400, 200), face)


def test_an_image_with_a_mask_and_back():
    pictures = squares(3)
    evidence = ENGINE.read([pictures[0], Source(pictures[1], weight=2.0), pictures[2]])
    masked = ignore(ENGINE, evidence, {1: mask_of((4, 4, 12, 9), 32)})
    image = masked[1]
    assert image.mask.size == (16, 16) and image.weight == 2 and masked.sources == evidence.sources
    assert "a part is ignored" in image.summary and "ignored" not in masked[0].summary
    outside = np.asarray(with_edge(image.mask)) == 0
    assert (np.asarray(image.filled)[outside] == np.asarray(pictures[1])[outside]).all()
    assert not image.latent.z.equal(evidence[1].latent.z)
    assert variants([masked], 0)[1] is image.filled, "a classifier learns what counts"
    # What is under the mask is nobody's business.
    painted = pictures[1].copy()
    painted.paste((1, 2, 3), (2, 2, 6, 4))
    other = ignore(ENGINE, ENGINE.read([pictures[0], Source(painted, weight=2.0), pictures[2]]), {1: image.mask})
    torch.testing.assert_close(other.z, masked.z, atol=1e-4, rtol=1e-4)
    for nothing in (None, Image.new("L", (16, 16))):
        back = ignore(ENGINE, masked, {1: nothing})[1]
        assert back.mask is None and back.filled is None and back.latent.z.equal(evidence[1].latent.z)


def test_removing_changes_what_is_painted_and_nothing_else():
    photograph = Image.fromarray(np.random.default_rng(1).integers(0, 256, (48, 64, 3), dtype=np.uint8))
    faces, mask = ENGINE.read([photograph], align="never", faces="all"), Image.new("L", (64, 48))
    mask.paste(255, (24, 18, 34, 27))
    painted, now = remove(ENGINE, photograph, faces, mask)
    changed = np.abs(np.asarray(painted).astype(int) - np.asarray(photograph)).max(2) > 0
    assert changed[20:25, 26:32].mean() > 0.9 and not changed[:4].any() and not changed[-4:].any()
    assert not now[0].latent.z.equal(faces[0].latent.z) and now[0].mask is None
    assert remove(ENGINE, photograph, faces, mask)[0].tobytes() == painted.tobytes()
    with pytest.raises(ValueError, match="touches no face"):
        remove(ENGINE, photograph, faces, Image.new("L", (64, 48)))
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        remove(ENGINE, photograph, faces, mask, cancel=cancel)


def test_what_is_removed_fades_at_the_edge_of_the_aligned_image():
    photograph = Image.fromarray(np.random.default_rng(1).integers(0, 256, (128, 48, 3), dtype=np.uint8))
    faces, mask = ENGINE.read([photograph], align="never", faces="all"), Image.new("L", (48, 128))
    top = faces[0].face.box[1]
    mask.paste(255, (20, 0, 30, 128))
    painted, _ = remove(ENGINE, photograph, faces, mask)
    changed = np.abs(np.asarray(painted).astype(int) - np.asarray(photograph)).max(2)
    assert top > 8 and not changed[:top].any(), "what no aligned image shows stays"
    assert changed[top : top + 2].max() < 0.3 * changed[60:70].max(), "a straight edge"


def test_a_bar_over_the_eyes_goes(celeba64):
    """Nearer to the face that was there than one colour would be, and a face again by its likelihood."""
    engine = Engine(celeba64)
    faces = [load_image(EXAMPLES / "red_hair" / f"red_hair_0{i}.png").resize((64, 64)) for i in range(2)]
    box = (13, 26, 51, 36)
    barred = [face.copy() for face in faces]
    for face in barred:
        face.paste((57, 255, 20), box)
    evidence = engine.read(barred, align="never")
    filled = ignore(engine, evidence, dict.fromkeys((0, 1), mask_of(box, 64)))
    for before, image, face in zip(evidence, filled, faces, strict=True):
        truth = np.asarray(face, float)[26:36, 13:51]
        errors = [
            np.square(np.asarray(x, float)[26:36, 13:51] - truth).mean() for x in (image.filled, before.face.image)
        ]
        flat = np.square(np.asarray(face, float)[20:42, 8:56].mean((0, 1)) - truth).mean()
        assert errors[0] < flat < errors[1]
        assert image.verdict.word == "typical" and image.latent.log_prior > before.latent.log_prior + 2000
