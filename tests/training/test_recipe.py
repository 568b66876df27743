"""What a run is to be, decided without the command line and before anything is read."""

import pytest
import torch

from transflow_core.flows import DetailConfig
from transflow_core.flows.pixels import PixelConvention
from transflow_core.training import PRESETS, ImageSet, Processes, TrainingError, plan, recipe, train
from transflow_core.training.density import bfloat16_is_faster

from ..helpers import make_tiny_prior
from .conftest import discs

ALONE = Processes(0, 1, torch.device("cpu"))


@pytest.fixture
def asked(monkeypatch):
    """The devices on which bfloat16 was tried; `asked.faster` says what came of it."""

    class Asked(list):
        faster = False

        def __call__(self, device):
            self.append(device)
            return self.faster

    monkeypatch.setattr(recipe, "bfloat16_is_faster", asked := Asked())
    return asked


@pytest.fixture
def tiny(tmp_path):
    """A 16×16 prior in a file."""
    make_tiny_prior().save(tmp_path / "tiny.safetensors")
    return str(tmp_path / "tiny.safetensors")


def test_nothing_said_is_the_preset_that_ships(tmp_path):
    made = plan(tmp_path, nets="float32")
    preset = PRESETS["celeba64"]
    assert (made.architecture, made.settings, made.image_size) == (preset.flow, preset.settings, 64)
    assert made.pixels == PixelConvention(bits=preset.bits)
    assert (made.start, made.grow, made.blend, made.half, made.resume) == (None, None, 1.0, False, False)


def test_growing_takes_its_preset_and_the_pixels_of_what_is_grown(tmp_path, tiny):
    made = plan(tmp_path, grow=tiny, nets="float32")
    assert isinstance(made.architecture, DetailConfig) and made.architecture == PRESETS["celeba128"].flow
    assert made.image_size == 2 * made.grow.image_size == 32
    assert made.pixels == made.grow.pixels
    assert plan(tmp_path, grow=tiny, nets="float32", bits=8).pixels.bits == 8


def test_weights_without_a_preset_bring_their_architecture_along(tmp_path, tiny):
    made = plan(tmp_path, start=tiny, nets="float32", checkerboard=300.0)
    assert made.start is not None and made.architecture == made.start.flow.config and made.grow is None
    assert (made.image_size, made.pixels) == (16, made.start.pixels)
    assert made.settings == PRESETS["celeba64"].settings.with_given(checkerboard=300.0)
    larger = plan(tmp_path, start="celeba128", nets="float32")
    assert larger.image_size == 128 and larger.settings == PRESETS["celeba128"].settings
    assert plan(tmp_path, start=tiny, preset="tiny32", nets="float32").architecture == PRESETS["tiny32"].flow


def test_what_is_given_goes_over_the_preset_and_a_budget_over_the_whole_budget(tmp_path):
    made = plan(tmp_path, preset="celeba64", nets="float32", steps=7, seed=3, learning_rate=None)
    assert (made.settings.steps, made.settings.minutes, made.settings.seed) == (7, None, 3)
    assert made.settings.learning_rate == PRESETS["celeba64"].settings.learning_rate


@pytest.mark.parametrize("faster", [False, True])
def test_the_nets_are_tried_where_nobody_says(tmp_path, asked, faster):
    asked.faster = faster
    assert plan(tmp_path, preset="tiny32", group=ALONE).settings.half_nets == faster
    assert plan(tmp_path, preset="tiny32", nets="bfloat16").settings.half_nets
    assert not plan(tmp_path, preset="tiny32", nets="float32").settings.half_nets
    assert asked == [ALONE.device]


def test_a_run_that_goes_on_keeps_what_it_began_with(disc_set, tmp_path, asked):
    begun = plan(tmp_path, preset="tiny32", nets="bfloat16", steps=1, learning_rate=0.003)
    train(disc_set, tmp_path, begun)
    again = plan(tmp_path, preset="tiny32", resume=True, steps=2)
    assert again.resume and again.settings == begun.settings.with_given(steps=2) and not asked
    with pytest.raises(TrainingError, match="no run"):
        plan(tmp_path / "elsewhere", preset="tiny32", resume=True)


def test_words_that_do_not_fit_are_refused_before_anything_is_read(tmp_path, tiny):
    for told, message in (
        ({"preset": "celeba65"}, "celeba64"),
        ({"nets": "float16"}, "bfloat16"),
        ({"preset": "celeba128"}, "--grow"),
        ({"preset": "tiny32", "grow": tiny}, "does not grow"),
        ({"blend": 0.5}, "blend"),
        ({"blend": 0.0, "start": tiny}, "blend"),
        ({"blend": 1.5, "start": tiny}, "blend"),
        ({"steps": 0}, "steps"),
        ({"grow": str(tmp_path / "nowhere.safetensors")}, "nowhere"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            plan(tmp_path, **({"nets": "float32"} | told))


def test_too_few_held_out_images_are_said_before_the_first_step(tmp_path):
    made = plan(tmp_path, preset="tiny32", nets="float32", steps=1)
    few = ImageSet(discs(4), discs(1), "few", {})
    with pytest.raises(TrainingError, match="not on 1: hold out a larger share"):
        train(few, tmp_path, made, progress=lambda _: pytest.fail("a step was taken"))
    assert not list(tmp_path.iterdir())


def test_a_processor_says_whether_bfloat16_is_faster():
    assert isinstance(bfloat16_is_faster(torch.device("cpu"), repeats=1), bool)
