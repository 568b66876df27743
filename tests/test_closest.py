"""The closest image of the evidence: a copy is 0, two images are 1 apart, and nothing divides by 0."""

import pytest
import torch

from transflow_core.engine import Engine
from transflow_core.evidence import Evidence
from transflow_core.images import to_pil
from transflow_core.posterior.guard import Looks, closest

from .helpers import make_tiny_prior


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


def test_the_unit_is_the_median_between_two_that_differ(images):
    """Grey images: their differences are known, mirrored or not; one that is there twice changes nothing."""
    grey = torch.tensor([0.2, 0.3, 0.6, 0.6])[:, None, None, None].expand(4, 3, 16, 16)
    (one,) = closest(torch.full((1, 3, 64, 64), 0.9), looks_of(grey))
    # Between: 0.1, 0.4, 0.4, 0.3, 0.3; the lower median of them is 0.3.
    assert one.distance == pytest.approx(1.0, abs=1e-5) and one.index in (2, 3)


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


def test_names_are_those_of_the_evidence_and_numbers_of_a_saved_one(tmp_path):
    engine = Engine(make_tiny_prior())
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
