"""What a run is to be, decided before anything is read: presets, priors to begin with, and a run that goes on."""

import json
import subprocess
import sys

import pytest
import torch

from transflow_core.flows import PixelConvention
from transflow_core.flows.wavelet import WaveletConfig, read_config, unrolled, write_config
from transflow_core.priors.catalogue import shipped_files
from transflow_core.training import Train, TrainingError
from transflow_core.training import plan as module
from transflow_core.training.plan import PRESETS

from ..helpers import ROOT, make_tiny_prior
from .conftest import image_set, train

CELEBA64, LEVEL, TINY32 = (PRESETS[name][0] for name in ("celeba64", "level", "tiny32"))


def plan(folder, **asked):
    return module.plan(Train(**{"nets": "float32"} | asked), folder, torch.device("cpu"))


@pytest.fixture
def prior(tmp_path):
    """A 16×16 prior of 5 bits in a file."""
    make_tiny_prior().save(tmp_path / "tiny.safetensors")
    return str(tmp_path / "tiny.safetensors")


def test_presets_are_what_ships_and_settings_need_no_torch():
    for folder, _ in shipped_files().values():
        *levels, glow = unrolled(read_config(json.loads((folder / "config.json").read_text(encoding="utf-8"))))
        assert glow == CELEBA64
        assert all(write_config(level.details).items() <= write_config(LEVEL).items() for level in levels)
    code = "import sys, transflow_core.training; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_what_is_not_asked_for_is_the_presets_or_the_priors(tmp_path, prior):
    made = plan(tmp_path)
    assert made.config == made.learned == CELEBA64 and made.pixels == PixelConvention(bits=5)
    assert made.settings.minutes == 90 and made.start is made.grow is None
    # A budget goes over the whole budget.
    made = plan(tmp_path, preset="celeba64", steps=7, seed=3)
    assert (made.settings.steps, made.settings.minutes, made.settings.seed) == (7, None, 3)
    assert made.settings.learning_rate == 8e-4
    grown = plan(tmp_path, grow=prior)
    assert grown.learned == LEVEL and grown.config.base == grown.grow.flow.config
    assert (grown.config.image_size, grown.pixels.bits, grown.grow.pixels.bits) == (32, 8, 5)
    made = plan(tmp_path, start=prior, checkerboard=300.0)
    assert (made.config, made.pixels) == (made.start.flow.config, made.start.pixels)
    larger = plan(tmp_path, start="celeba128").config
    assert larger.image_size == 128 and isinstance(larger, WaveletConfig)


def test_a_run_that_goes_on_keeps_what_it_began_with(tmp_path):
    begun = plan(tmp_path, preset="tiny32", steps=1, learning_rate=0.003, mirror=False, half=True)
    train(image_set(16, 4), tmp_path, begun.settings)
    again = module.plan(Train(resume=True, steps=2, half=False), tmp_path, torch.device("cpu"))
    assert again.settings == begun.settings.replace(steps=2, resume=True, half=False)
    assert again.config == begun.config == TINY32
    with pytest.raises(TrainingError, match="resume it, or choose another"):
        plan(tmp_path, preset="tiny32")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"preset": "celeba65"}, "celeba64"),
        ({"nets": "float16"}, "bfloat16"),
        ({"steps": -1}, "steps"),
        ({"ema": 1.0}, "ema"),
        ({"checkerboard": float("nan")}, "checkerboard"),
        ({"checkerboard": 1.0}, "weights to begin with"),
        ({"checkerboard": 1.0, "start": "tiny.safetensors", "grow": "tiny.safetensors"}, "a whole flow"),
        ({"blend": 0.0}, "blend"),
        ({"blend": 0.5}, "weights to begin with"),
        ({"preset": "level"}, "a prior to grow"),
        ({"preset": "tiny32", "grow": "tiny.safetensors"}, "only such a level"),
        ({"preset": "tiny32", "start": "tiny.safetensors"}, "another architecture"),
        ({"start": "tiny.safetensors", "grow": "tiny.safetensors"}, "no level above"),
        ({"start": "grey.safetensors"}, "colour images"),
        ({"grow": "grey.safetensors"}, "colour images"),
        ({"grow": "nowhere.safetensors"}, "nowhere"),
        ({"resume": True}, "no run"),
    ],
)
def test_words_that_do_not_fit_are_refused_before_anything_is_read(tmp_path, prior, monkeypatch, asked, message):
    monkeypatch.chdir(tmp_path)
    make_tiny_prior(channels=1).save("grey.safetensors")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        plan(tmp_path, **asked)


def test_a_budget_of_steps_and_minutes_ends_with_the_first():
    settings = Train(steps=1000, minutes=10.0)
    assert [settings.progress(*now) for now in ((100, 0), (100, 300), (1000, 0))] == [0.1, 0.5, 1]
