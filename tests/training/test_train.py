"""Training: bits fall, a run that was stopped ends in the same bits, and what goes wrong is survived or said."""

import json
import math
import re
import signal
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from transflow_core.cli import app
from transflow_core.flows import PixelConvention
from transflow_core.flows.glow import GlowConfig, LevelConfig
from transflow_core.flows.wavelet import WaveletConfig
from transflow_core.priors.catalogue import load_prior
from transflow_core.training import TrainingError, trainer

from ..helpers import ROOT
from . import conftest
from .conftest import DETAILS, TINY, card, conforms, image_set, log, same, states, tiny, train

WAVELETS = WaveletConfig(GlowConfig(16, (LevelConfig(2, 16), LevelConfig(2, 16)), position=True), DETAILS)
OTHER = GlowConfig(32, (LevelConfig(1, 8),))


@pytest.fixture(scope="module")
def trained(disc_set, tmp_path_factory):
    """tiny32 after 120 steps, a few seconds: the result, and its folder."""
    folder = tmp_path_factory.mktemp("tiny")
    return train(disc_set, folder, tiny(steps=120, name="discs", licence="free")), folder


def test_bits_fall_and_the_folder_holds_a_whole_prior(trained, disc_set):
    result, folder = trained
    assert result.finished and (result.step, result.images, result.skipped) == (120, 1920, 0)
    before, after = result.measured[0]["held_out_bits"], result.measured[-1]["held_out_bits"]
    assert after < before - 1, (before, after)
    prior = load_prior(folder, device="cpu")
    # What the run says of itself is what the prior that it left says.
    assert float(prior.bits_per_dim(disc_set.held_out).mean()) == pytest.approx(after, abs=5e-3)  # other noise
    assert prior.name == "discs" and prior.pixels == PixelConvention(bits=5) and prior.image_size == 32
    assert prior.typicality.n == 40 and len(prior.typicality.level_rms) == len(prior.levels)
    held_out = prior.encode_and_score(disc_set.held_out)
    rows = zip(held_out.log_prior.tolist(), prior.level_rms(held_out.z).tolist(), strict=True)
    typical = [prior.typicality.judge(*row).word for row in rows]
    assert "far outside" not in typical and typical.count("typical") > 30
    conforms(prior, folder, 1e-4)
    for words in ("240 images", "40 held out", "free", "1,920 images seen in 120 steps", "not said", "| 120 | 1,920 |"):
        assert words in card(folder)
    assert (folder / "samples.png").is_file() and len(list((folder / "samples").iterdir())) == 2
    assert not (folder / "writing").exists()


@pytest.mark.parametrize("shape, nets", [(TINY, "bfloat16"), (WAVELETS, "float32")])
def test_a_run_that_was_stopped_ends_in_the_same_bits(tmp_path, shape, nets):
    images, settings = image_set(48, 8), tiny(steps=12, nets=nets)
    train(images, tmp_path / "whole", settings, shape)
    first = train(images, tmp_path / "parts", settings, shape, cancel=conftest.After(4))
    assert not first.finished and first.step == 4
    second = train(images, tmp_path / "parts", settings.replace(resume=True), shape)
    assert second.finished and second.step == 12 and len(log(tmp_path / "parts", "resume")) == 1
    same(states(tmp_path / "parts"), states(tmp_path / "whole"))


def test_a_run_goes_on_only_as_it_began(tmp_path):
    images, again = image_set(16, 4), tiny(steps=2, resume=True)
    train(images, tmp_path, tiny(steps=2))
    for other, settings, shape, message in (
        (images, tiny(steps=2, learning_rate=1.0, seed=1, resume=True), TINY, "leave out --learning-rate, --seed$"),
        (image_set(16, 4, digest="others"), again, TINY, "data"),
        (images, again, OTHER, "architecture"),
        (image_set(16, 4, 16), again, TINY, "the images are 16×16"),
    ):
        with pytest.raises(TrainingError, match=message):
            train(other, tmp_path, settings, shape)
    state = tmp_path / "training.pt"
    torch.save({"format": "transflow-training 2"}, state)
    with pytest.raises(TrainingError, match="no training run of this version"):
        train(images, tmp_path, again)
    for spoilt in (b"spoilt", b""):
        state.write_bytes(spoilt)
        with pytest.raises(TrainingError, match="not a readable checkpoint"):
            train(images, tmp_path, again)


def test_a_run_that_has_ended_goes_on_with_a_larger_budget(tmp_path):
    images, larger = image_set(16, 4), tiny(steps=20, minutes=60, resume=True)
    train(images, tmp_path, tiny(steps=8))
    assert not train(images, tmp_path, larger, cancel=conftest.After(4)).finished
    left = {"config.json", "model.safetensors", "SHA256SUMS", "training.pt", "log.jsonl"}
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == left  # no card of other weights
    result = train(images, tmp_path, larger)
    assert result.finished and result.step == 20
    (line,) = log(tmp_path, "step")  # the schedule is the new budget's, to its end
    assert line["step"] == 20 and line["learning_rate"] < tiny().learning_rate
    assert train(images, tmp_path, larger).step == 20


def test_steps_that_are_not_finite_are_skipped_and_nothing_but_such_steps_is_an_error(tmp_path, monkeypatch):
    real, spoilt, images = trainer.batch, {3, 4}, image_set(16, 4)

    def batch(images, pixels, step, **how):
        return real(images, pixels, step, **how) * (math.nan if step in spoilt else 1)

    monkeypatch.setattr(trainer, "batch", batch)
    result = train(images, tmp_path, tiny(steps=8))
    assert (result.step, result.skipped) == (8, 2) and "2 steps skipped" in card(tmp_path)
    assert [line["step"] for line in log(tmp_path, "skipped")] == [4, 5]
    assert all(tensor.isfinite().all() for tensor in states(tmp_path)[0].values())
    spoilt |= set(range(1000))
    with pytest.raises(TrainingError, match="lower the learning rate"):
        train(images, tmp_path, tiny(steps=1000, resume=True))
    assert load_prior(tmp_path, device="cpu").decode(torch.zeros(1, 3072)).isfinite().all()


def test_a_blend_is_the_mean_of_the_weights_before_and_after(trained, disc_set, tmp_path, monkeypatch):
    monkeypatch.setattr("transflow_core.training.card._ROWS", 1)
    start = load_prior(trained[1], device="cpu")
    result = train(disc_set, tmp_path, tiny(steps=20), start=start)
    assert result.measured[0]["held_out_bits"] == pytest.approx(trained[0].measured[-1]["held_out_bits"], abs=1e-4)
    assert "from the weights of discs" in card(tmp_path)
    after = load_file(tmp_path / "model.safetensors")
    # A run that has ended can be blended, once or again: its checkpoint holds the trained weights.
    for share in (0.5, 0.25):
        result = train(disc_set, tmp_path, tiny(steps=20, blend=share, resume=True), start=start)
        blended = load_file(tmp_path / "model.safetensors")
        assert any(not tensor.equal(after[name]) for name, tensor in blended.items())
        before = load_file(trained[1] / "model.safetensors")
        same(blended, {name: torch.lerp(tensor, after[name], share) for name, tensor in before.items()}, atol=1e-5)
        bits = result.measured[-1]["held_out_bits"]
        prior = load_prior(tmp_path, device="cpu")
        assert float(prior.bits_per_dim(disc_set.held_out).mean()) == pytest.approx(bits, abs=5e-3)
        assert f"the weights are {share:.0%} of the trained ones" in card(tmp_path) and "| blended |" in card(tmp_path)
        alone = f"{result.measured[-2]['held_out_bits']:.4f}"
        assert f"{alone} bits" in card(tmp_path) and f" {alone} |\n| blended" in card(tmp_path)
    with pytest.raises(TrainingError, match="multiple of 4 for"):
        train(disc_set, tmp_path / "b", tiny(steps=1, checkerboard=1.0, batch_size=6), start=start)
    assert not (tmp_path / "b").exists()


def test_a_run_among_its_images_does_not_count_its_sheets(disc_folder, monkeypatch):
    monkeypatch.chdir(disc_folder)
    for more in ("--preset tiny32 --steps 1", "--resume --steps 2"):
        done = CliRunner().invoke(app, ["train", ".", "-o", "run", *more.split()])
        assert done.exit_code == 0, done.output


def cli(*arguments, launch=("-m",), **options):
    command = [sys.executable, *launch, "transflow_core", "train", *map(str, arguments)]
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "encoding": "utf-8"}
    return subprocess.Popen(command, cwd=ROOT, **piped, **options)


def stopped(process, number):
    """What a run prints when a signal comes after a step and a measurement: it would be under way for long."""
    try:
        assert any(re.match(r"measuring: step [1-9]", line) for line in process.stderr)
        process.send_signal(number)
        out, err = process.communicate()
    finally:
        process.kill()
    assert process.returncode == 0, err
    return json.loads(out), err


@pytest.mark.slow
def test_control_c_saves_and_resume_goes_on(disc_folder, tmp_path):
    arguments = (disc_folder, "-o", tmp_path / "run", "--device", "cpu", "--json")
    begin = ("--preset", "tiny32", "--steps", 4000, "--every-minutes", 0.01, "--held-out", "0.2", "--nets", "float32")
    told, err = stopped(cli(*arguments, *begin), signal.SIGINT)
    assert not told["finished"] and 0 < told["step"] < 4000 and "--resume" in err
    out, err = cli(*arguments, "--resume", "--learning-rate", 1.0).communicate()
    assert "--learning-rate" in err and not out
    # With its options left out, the run goes on with those that it began with.
    assert stopped(cli(*arguments, "--resume"), signal.SIGTERM)[0]["step"] > told["step"]


@pytest.mark.slow
def test_two_processes_are_one(disc_folder, tmp_path):
    """torchrun on two processes: the same batches, so the same weights but for the order of sums."""
    how = ("--preset", "tiny32", "--steps", 12, "--device", "cpu", "--held-out", "0.2", "--nets", "float32", "--json")
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m")
    told = []
    for name, launch in (("one", ("-m",)), ("two", torchrun)):
        process = cli(disc_folder, "-o", tmp_path / name, *how, launch=launch)
        out, err = process.communicate()
        assert process.returncode == 0, err
        told.append(json.loads(out))
    one, two = told
    assert two["images"] == one["images"] == 12 * 16
    for before, after in zip(one["measured"], two["measured"], strict=True):
        assert after["held_out_bits"] == pytest.approx(before["held_out_bits"], abs=2e-3)
    same(*(load_file(tmp_path / name / "model.safetensors") for name in ("one", "two")), atol=2e-3)
