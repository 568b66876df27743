"""What a run is to be, decided before anything is read: presets, priors to begin with, and a run that goes on."""

import json
import subprocess
import sys

import pytest
import torch

from transflow_core.flows import PixelConvention, WaveletConfig
from transflow_core.priors.catalogue import MODELS, shipped_priors
from transflow_core.recipes import plain
from transflow_core.training import PRESETS, Train, TrainingError
from transflow_core.training import plan as module
from transflow_core.training.density import bfloat16_is_faster
from transflow_core.training.plan import architecture
from transflow_core.training.processes import Processes
from transflow_core.views import from_link, to_link

from ..helpers import ROOT, make_tiny_prior
from .conftest import train

ALONE = Processes(0, 1, torch.device("cpu"))


def plan(folder, **asked):
    return module.plan(Train(**{"nets": "float32"} | asked), folder, ALONE)


@pytest.fixture
def prior(tmp_path):
    """A 16×16 prior of 5 bits in a file."""
    make_tiny_prior().save(tmp_path / "tiny.safetensors")
    return str(tmp_path / "tiny.safetensors")


def test_presets_are_what_ships_and_need_no_torch():
    base = architecture(PRESETS["celeba64"]).to_dict()
    for name in shipped_priors():
        shipped = json.loads((MODELS / name / "config.json").read_text(encoding="utf-8"))
        assert shipped["bits"] == PRESETS["celeba64"].settings["bits"]
        assert {key: (shipped.get("base") or shipped)[key] for key in base} == base
    level = architecture(PRESETS["level"])
    grown = json.loads((MODELS / "celeba128/config.json").read_text(encoding="utf-8"))["details"]
    assert {key: level.to_dict()[key] for key in grown} == grown
    code = "import sys, transflow_core.training; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_what_is_not_asked_for_is_the_presets(tmp_path, prior):
    made = plan(tmp_path)
    assert (made.architecture, made.image_size) == (architecture(PRESETS["celeba64"]), 64)
    assert made.settings.minutes == 90 and made.pixels == PixelConvention(bits=5) and made.start is made.grow is None
    # A budget goes over the whole budget.
    made = plan(tmp_path, preset="celeba64", steps=7, seed=3)
    assert (made.settings.steps, made.settings.minutes, made.settings.seed) == (7, None, 3)
    assert made.settings.learning_rate == 8e-4
    grown = plan(tmp_path, grow=prior)
    assert grown.architecture == architecture(PRESETS["level"]) and grown.config.base == grown.grow.flow.config
    assert (grown.image_size, grown.pixels.bits, grown.grow.pixels.bits) == (32, 8, 5)
    assert plan(tmp_path, grow=prior, bits=7).pixels.bits == 7


def test_weights_without_a_preset_bring_their_architecture_along(tmp_path, prior):
    made = plan(tmp_path, start=prior, checkerboard=300.0)
    assert made.architecture == made.start.flow.config and made.grow is None
    assert (made.image_size, made.pixels) == (16, made.start.pixels) and made.settings.checkerboard == 300
    larger = plan(tmp_path, start="celeba128")
    assert larger.image_size == 128 and isinstance(larger.config, WaveletConfig)
    assert plan(tmp_path, start=prior, preset="tiny32").architecture == architecture(PRESETS["tiny32"])


@pytest.mark.parametrize("faster", [False, True])
def test_the_nets_are_tried_where_nobody_says(tmp_path, monkeypatch, faster):
    tried = []
    monkeypatch.setattr(module, "bfloat16_is_faster", lambda device: tried.append(device) or faster)
    assert plan(tmp_path, preset="tiny32", nets="auto").settings.nets == ("bfloat16" if faster else "float32")
    assert plan(tmp_path, preset="tiny32", nets="bfloat16").settings.nets == "bfloat16" and tried == [ALONE.device]
    assert isinstance(bfloat16_is_faster(ALONE.device, repeats=1), bool)


def test_a_run_that_goes_on_keeps_what_it_began_with(disc_set, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "bfloat16_is_faster", None)
    begun = plan(tmp_path, preset="tiny32", steps=1, learning_rate=0.003, mirror=False, name="discs")
    train(disc_set, tmp_path, begun.settings)
    again = module.plan(Train(resume=True, steps=2), tmp_path, ALONE)
    assert again.settings == begun.settings.replace(steps=2, resume=True) and again.architecture == begun.architecture
    with pytest.raises(TrainingError, match="no run"):
        plan(tmp_path / "elsewhere", resume=True)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"preset": "celeba65"}, "celeba64"),
        ({"nets": "float16"}, "bfloat16"),
        ({"steps": 0}, "steps"),
        ({"ema": 1.0}, "ema"),
        ({"checkerboard": float("nan")}, "checkerboard"),
        ({"blend": 0.0}, "blend"),
        ({"blend": 0.5}, "blend"),
        ({"preset": "level"}, "a prior to grow"),
        ({"preset": "tiny32", "grow": "celeba64"}, "only such a level"),
        ({"grow": "nowhere.safetensors"}, "nowhere"),
    ],
)
def test_words_that_do_not_fit_are_refused_before_anything_is_read(tmp_path, asked, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        plan(tmp_path, **asked)


def test_the_recipe_survives_text_and_json():
    recipe = Train(grow="runs/v1.0", steps=5, held_out="val*/*", mirror=False, data_words="ours, all of them")
    assert from_link(Train, to_link(recipe)) == recipe
    assert Train.checked(json.loads(json.dumps(plain(recipe.model_dump())))) == recipe


def test_the_schedule():
    settings = Train(steps=1000, minutes=10.0, learning_rate=1.0, warmup_steps=100)
    assert settings.progress(100, 0) == 0.1 and settings.progress(100, 300) == 0.5 and settings.progress(1000, 0) == 1
    rates = [settings.rate(step, step / 1000) for step in range(1000)]
    assert rates[:100] == sorted(rates[:100]) and rates[550:] == sorted(rates[550:], reverse=True)
    assert max(rates) == 1.0 and rates[-1] < 0.02
