"""Latents that a flow cannot invert are pulled back, the others left alone."""

import math

import torch

from transflow_core.pullback import broken, decode_in_range


def decode(z):
    """A flow that overflows where a latent is longer than 2, and is grey elsewhere, by the latent's length."""
    length = z.norm(dim=1)
    images = (0.2 + length / 10)[:, None, None, None].expand(-1, 3, 4, 4).clone()
    images[length > 2, :, 0, 0] = math.nan
    return images


def test_rows_that_decode_are_left_alone_and_the_others_go_no_further_than_they_must():
    centre = torch.tensor([0.5, 0.0])
    z = torch.tensor([[1.0, 0.0], [10.0, 0.0], [0.0, -50.0], [0.0, 1.9]])
    images, found, moved = decode_in_range(decode, z, centre)
    assert moved.tolist() == [False, True, True, False]
    assert torch.isfinite(images).all()
    assert found[[0, 3]].equal(z[[0, 3]])
    assert images.equal(decode(found))
    for row in (1, 2):
        step, whole = found[row] - centre, z[row] - centre
        assert torch.nn.functional.cosine_similarity(step, whole, dim=0) > 0.999
        # The next bisection step beyond it does not decode.
        further = centre + (step.norm() / whole.norm() + 1 / 32) * whole
        assert found[row].norm() <= 2 < further.norm()


def test_all_is_well_at_once():
    z = torch.zeros(3, 2)
    calls = []
    _, found, moved = decode_in_range(lambda rows: calls.append(len(rows)) or decode(rows), z, torch.ones(2))
    assert calls == [3] and not moved.any() and found.equal(z)


def test_a_centre_that_is_broken_too_still_gives_an_image():
    def always_broken(z):
        return torch.full((len(z), 3, 2, 2), math.nan)

    assert torch.isfinite(decode_in_range(always_broken, torch.ones(2, 3), torch.zeros(3))[0]).all()


def test_what_is_broken():
    images = torch.rand(5, 3, 8, 8) * 0.8 + 0.1
    images[1, 0, 0, 0] = math.inf
    images[2] = (images[2] > 0.5).float()  # only ends of the range
    images[3] = 1.0  # white paper
    images[4, :, :3] = 0.0
    assert broken(images).tolist() == [False, True, True, False, False]


def test_a_real_flow_shows_something_far_outside(tiny_prior):
    z = torch.randn(4, tiny_prior.dim, generator=torch.Generator().manual_seed(0))
    z[2] *= 1e30
    images, _, moved = decode_in_range(tiny_prior.decode, z, torch.zeros(tiny_prior.dim))
    assert moved[2] and torch.isfinite(images).all()


def test_each_row_may_have_a_centre_and_a_wrong_of_its_own():
    z, centres = torch.tensor([[0.0, 1.9], [8.0, 0.0]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    _, found, moved = decode_in_range(decode, z, centres, lambda images: images[:, 0, 1, 1] > 0.35)
    assert moved.tolist() == [True, True]
    assert found[0, 0] == 0 and 1 < found[0, 1] <= 1.5 and found[1, 1] == 0 and 1 < found[1, 0] <= 1.5
