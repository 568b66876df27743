"""Training: bits fall, a run that was stopped ends in the same bits, and what goes wrong is survived or said."""

import json
import math
import re
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from transflow_core.engine import Engine
from transflow_core.flows import DetailConfig, GlowConfig, LevelConfig, WaveletConfig, WaveletGlow, haar_split
from transflow_core.flows.pixels import PixelConvention
from transflow_core.posterior import Posterior, per_level
from transflow_core.prior import load_prior
from transflow_core.shipped import MODELS, shipped_priors
from transflow_core.training import PRESETS, ImageSet, Train, TrainingError, trainer
from transflow_core.training.data import batch, first_images
from transflow_core.training.density import BitsPerDim, bits_per_level

from ..helpers import ROOT
from .conftest import discs, train

TINY = PRESETS["tiny32"].flow
DETAILS = DetailConfig(steps=2, width=16, context=8)
WAVELETS = WaveletConfig(GlowConfig(16, (LevelConfig(2, 16), LevelConfig(2, 16)), position=True), DETAILS)
PIXELS = PixelConvention(bits=5)


def settings(**options) -> Train:
    return PRESETS["tiny32"].settings.with_given(**options)


def log(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def trained(disc_set, tmp_path_factory):
    """tiny32 after 120 steps: a few seconds."""
    folder = tmp_path_factory.mktemp("tiny")
    shown = []
    result = train(
        disc_set,
        folder,
        TINY,
        PIXELS,
        settings(steps=120),
        name="discs",
        words={"licence": "free"},
        progress=shown.append,
    )
    return result, shown


def test_bits_per_dimension_fall(trained, disc_set):
    result, _ = trained
    assert result.finished and (result.step, result.images, result.skipped) == (120, 1920, 0)
    before, after = result.measured[0]["held_out_bits"], result.measured[-1]["held_out_bits"]
    assert after < before - 1, (before, after)
    # What the run says of itself is what the prior that it left says.
    prior = load_prior(result.folder, device="cpu")
    assert float(prior.bits_per_dim(disc_set.held_out).mean()) == pytest.approx(after, abs=1e-5)


def test_the_folder_holds_a_whole_prior(trained, disc_set):
    result, _ = trained
    prior = load_prior(result.folder, device="cpu")
    assert prior.name == "discs" and prior.pixels == PIXELS and prior.image_size == 32
    assert prior.typicality.n == 40 and len(prior.typicality.level_rms) == len(prior.levels)
    held_out = prior.encode_and_score(disc_set.held_out)
    rows = zip(held_out.log_prior.tolist(), prior.level_rms(held_out.z).tolist(), strict=True)
    typical = [prior.typicality.judge(*row).word for row in rows]
    assert "far outside" not in typical and typical.count("typical") > 30
    with np.load(result.folder / "conformance.npz") as data:
        assert np.abs(prior.encode(data["images"]).numpy() - data["z"]).max() < 1e-4
        assert np.abs(prior.decode(torch.from_numpy(data["sample_z"])).numpy() - data["sample"]).max() < 1e-4
    card = (result.folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    for words in ("240 images", "40 held out", "free", "1,920 images seen in 120 steps", "not said"):
        assert words in card
    assert (result.folder / "samples.png").is_file() and len(list((result.folder / "samples").iterdir())) == 2
    assert not (result.folder / "writing").exists()


def test_the_log_and_the_progress_tell_how_it_goes(trained):
    result, shown = trained
    events = [line["event"] for line in log(result.folder)]
    assert events[0] == "start" and events[-1] == "end" and events.count("step") == 6 and events.count("held_out") == 2
    bits = [line["bits"] for line in log(result.folder) if line["event"] == "step"]
    assert bits[-1] < bits[0]
    assert [now.step for now in shown if now.doing == "training"] == list(range(1, 121))
    fractions = [now.fraction for now in shown]
    assert fractions == sorted(fractions) and fractions[-1] == 1
    assert shown[60].images_per_s > 0 and shown[60].seconds_left > 0 and shown[60].held_out_bits is not None


def test_tensorboard_gets_the_same_numbers_where_it_is_installed(disc_set, tmp_path, monkeypatch):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train(disc_set, tmp_path / "with", TINY, PIXELS, settings(steps=20))
    board = accumulator.EventAccumulator(str(tmp_path / "with" / "tensorboard"))
    board.Reload()
    for event, key in (("step", "bits"), ("step", "images_per_s"), ("held_out", "held_out_bits")):
        logged = [(line["step"], line[key]) for line in log(tmp_path / "with") if line["event"] == event]
        shown = [(scalar.step, scalar.value) for scalar in board.Scalars(f"{event}/{key}")]
        assert [step for step, _ in shown] == [step for step, _ in logged] and shown
        assert [value for _, value in shown] == pytest.approx([value for _, value in logged], rel=1e-5)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # as where it is not
    train(disc_set, tmp_path / "without", TINY, PIXELS, settings(steps=1))
    assert not (tmp_path / "without" / "tensorboard").exists() and log(tmp_path / "without")


@pytest.mark.parametrize("architecture, half_nets", [(TINY, False), (TINY, True), (WAVELETS, True)])
def test_a_run_that_was_stopped_ends_in_the_same_bits(disc_set, tmp_path, architecture, half_nets):
    options = settings(steps=30, half_nets=half_nets)
    train(disc_set, tmp_path / "whole", architecture, PIXELS, options)
    stop = threading.Event()

    def stop_at_11(now):
        if now.step == 11:
            stop.set()

    first = train(disc_set, tmp_path / "parts", architecture, PIXELS, options, progress=stop_at_11, cancel=stop)
    assert not first.finished and first.step == 11
    assert load_prior(tmp_path / "parts", device="cpu").typicality is None  # usable already, though not measured
    second = train(disc_set, tmp_path / "parts", architecture, PIXELS, options, resume=True)
    assert second.finished and second.step == 30
    for file in ("training.safetensors", "model.safetensors"):
        whole, parts = (load_file(tmp_path / folder / file) for folder in ("whole", "parts"))
        assert whole.keys() == parts.keys()
        for name, tensor in whole.items():
            assert tensor.equal(parts[name]), name
    assert [line["event"] for line in log(tmp_path / "parts")].count("resume") == 1


def test_a_run_goes_on_only_as_it_began(disc_set, tmp_path):
    options = settings(steps=2)
    train(disc_set, tmp_path, TINY, PIXELS, options)
    with pytest.raises(TrainingError, match="resume it, or choose another"):
        train(disc_set, tmp_path, TINY, PIXELS, options)
    for changed, message in (
        ((disc_set, TINY, settings(steps=2, learning_rate=1.0)), "learning_rate"),
        ((ImageSet(disc_set.train, disc_set.held_out, "others", {}), TINY, options), "data"),
        ((disc_set, GlowConfig(32, (LevelConfig(1, 8),)), options), "architecture"),
    ):
        images, architecture, how = changed
        with pytest.raises(TrainingError, match=message):
            train(images, tmp_path, architecture, PIXELS, how, resume=True)
    with pytest.raises(TrainingError, match="no run"):
        train(disc_set, tmp_path / "elsewhere", TINY, PIXELS, options, resume=True)
    state = tmp_path / "training.safetensors"
    save_file(load_file(state), state, {"format": "transflow-training 1", "counters": "{}", "run": "{}"})
    with pytest.raises(TrainingError, match=r"version 0\.2\.0 or an earlier one wrote this run"):
        train(disc_set, tmp_path, TINY, PIXELS, options, resume=True)
    state.write_bytes(b"spoilt")
    with pytest.raises(TrainingError, match="not a readable checkpoint"):
        train(disc_set, tmp_path, TINY, PIXELS, options, resume=True)


def test_a_run_that_has_ended_goes_on_with_a_larger_budget(disc_set, tmp_path):
    train(disc_set, tmp_path, TINY, PIXELS, settings(steps=8))
    result = train(disc_set, tmp_path, TINY, PIXELS, settings(steps=20, minutes=60), resume=True)
    assert result.finished and result.step == 20
    rates = {line["step"]: line["learning_rate"] for line in log(tmp_path) if line["event"] == "step"}
    assert rates[20] < settings().learning_rate  # the schedule is the new budget's, to its end
    again = train(disc_set, tmp_path, TINY, PIXELS, settings(steps=20, minutes=60), resume=True)
    assert again.step == 20


def test_a_step_that_is_not_finite_is_skipped_and_reported(disc_set, tmp_path, monkeypatch):
    real = trainer.batch

    def spoilt(images, pixels, step, **how):
        x = real(images, pixels, step, **how)
        return x * math.nan if step in (3, 4) else x

    monkeypatch.setattr(trainer, "batch", spoilt)
    result = train(disc_set, tmp_path, TINY, PIXELS, settings(steps=8))
    assert (result.step, result.skipped) == (8, 2)
    assert [line["step"] for line in log(tmp_path) if line["event"] == "skipped"] == [4, 5]
    assert all(tensor.isfinite().all() for tensor in load_file(tmp_path / "training.safetensors").values())
    assert "2 steps skipped" in (tmp_path / "MODEL_CARD.md").read_text(encoding="utf-8")


def test_nothing_but_such_steps_is_an_error_that_says_what_to_do(disc_set, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "batch", lambda *_, **__: torch.full((16, 3, 32, 32), math.nan))
    with pytest.raises(TrainingError, match="lower the learning rate"):
        train(disc_set, tmp_path, TINY, PIXELS, settings(steps=1000))
    assert load_prior(tmp_path, device="cpu").decode(torch.zeros(1, 3072)).isfinite().all()


def test_a_run_begins_with_the_weights_that_it_is_given(trained, disc_set, tmp_path):
    start = load_prior(trained[0].folder, device="cpu")
    result = train(disc_set, tmp_path, TINY, PIXELS, settings(steps=1), start=start)
    assert result.measured[0]["held_out_bits"] == pytest.approx(trained[0].measured[-1]["held_out_bits"], abs=1e-4)
    assert "from the weights of discs" in (tmp_path / "MODEL_CARD.md").read_text(encoding="utf-8")
    with pytest.raises(TrainingError, match="another architecture"):
        train(disc_set, tmp_path / "b", GlowConfig(32, (LevelConfig(1, 8),)), PIXELS, settings(steps=1), start=start)


def test_a_blend_is_the_mean_of_the_weights_before_and_after(trained, disc_set, tmp_path):
    start = load_prior(trained[0].folder, device="cpu")
    train(disc_set, tmp_path, TINY, PIXELS, settings(steps=20), start=start)
    after = load_file(tmp_path / "model.safetensors")
    # A run that has ended can be blended, once or again: its checkpoint holds the trained weights.
    for share in (0.5, 0.25):
        result = train(disc_set, tmp_path, TINY, PIXELS, settings(steps=20), start=start, blend=share, resume=True)
        blended = load_file(tmp_path / "model.safetensors")
        assert any(not tensor.equal(after[name]) for name, tensor in blended.items())
        for name, tensor in load_file(trained[0].folder / "model.safetensors").items():
            torch.testing.assert_close(blended[name], torch.lerp(tensor, after[name], share), atol=1e-6, rtol=1e-5)
        prior = load_prior(tmp_path, device="cpu")
        bits = result.measured[-1]["held_out_bits"]
        assert float(prior.bits_per_dim(disc_set.held_out).mean()) == pytest.approx(bits, abs=1e-5)
        card = (tmp_path / "MODEL_CARD.md").read_text(encoding="utf-8")
        assert f"the weights are {share:.0%} of the trained ones" in card and "| blended |" in card
        assert f"{result.measured[-2]['held_out_bits']:.4f} bits" in card and f"Held out**: {bits:.4f}" in card
    for wrong, begin in ((0.5, None), (0.0, start), (1.5, start)):
        with pytest.raises(TrainingError, match="blend"):
            train(disc_set, tmp_path / "b", TINY, PIXELS, settings(steps=1), start=begin, blend=wrong)


def test_a_prior_grows_by_one_level_and_its_base_learns_on(trained, tmp_path):
    base = load_prior(trained[0].folder, device="cpu")
    images = ImageSet(discs(64, side=64), discs(24, side=64, seed=1), "larger discs", {})
    options = settings(steps=40, batch_size=8)
    result = train(images, tmp_path, DETAILS, PIXELS, options, name="grown", grow=base, half=True)
    assert result.measured[-1]["held_out_bits"] < result.measured[0]["held_out_bits"] - 0.1
    prior = load_prior(tmp_path, device="cpu")
    assert (prior.image_size, prior.dim) == (64, 64 * 64 * 3)
    assert [level.name for level in prior.levels] == ["32×32", "16×16", "8×8", "4×4"]
    # What models the means began as the base, and sees now what details see: means with half the noise.
    x = batch(images.held_out, PIXELS, 0, size=24, seed=0, mirror=False)
    means = haar_split(x)[0]
    with torch.no_grad():
        before, after = (
            flow(means)[0][:, : 16 * 16 * 6].square().mean().sqrt() for flow in (base.flow, prior.flow.base)
        )
    assert before < 0.9 and abs(after - 1) < 0.7 * abs(before - 1), (before, after)
    with np.load(tmp_path / "conformance.npz") as data:
        assert np.abs(prior.encode(data["images"]).numpy() - data["z"]).max() < 1e-3
    # Posteriors and a λ a level work as on any prior.
    z = prior.encode(images.held_out[:5])
    posterior = Posterior.condition(z, lam_ratio=per_level([0.1, 0.5, 0.5, 1.0], prior.levels))
    x = prior.decode(posterior.sample(3, seed=0))
    assert x.shape == (3, 3, 64, 64) and x.isfinite().all()
    torch.testing.assert_close(prior.decode(z), prior.to_unit(images.held_out[:5]), atol=1e-4, rtol=0)
    sample = Engine(prior).sample(posterior, 3, seed=0)
    coarse = prior.decode(posterior.sample(3, seed=0), coarse=True)
    assert coarse.shape == (3, 3, 32, 32) and sample.equal(x)
    assert Engine(prior).preview(posterior, 3, seed=0).shape == coarse.shape
    inside = ((sample > 0) & (sample < 1)).all()  # what was clipped has another mean
    assert (coarse - torch.nn.functional.avg_pool2d(sample, 2)).abs().max() < (1e-5 if inside else 0.25)
    # Weights to begin with are those of the details: what models the means is the prior grown now, all whitened.
    other = train(ImageSet(discs(16), discs(4), "few", {}), tmp_path / "other", TINY, PIXELS, settings(steps=1))
    again = train(
        images, tmp_path / "again", DETAILS, PIXELS, settings(steps=1, batch_size=8, learning_rate=1e-9),
        start=prior, grow=load_prior(other.folder, device="cpu"),
    )  # fmt: skip
    state = load_prior(again.folder, device="cpu").flow.state_dict()
    base_of_other = load_prior(other.folder, device="cpu").flow
    begun = WaveletGlow(WaveletConfig(base_of_other.config, DETAILS), base=base_of_other)
    begun.details.load_state_dict(prior.flow.details.state_dict())
    begun.whiten(first_images(images.train, PIXELS, 0))
    for name, tensor in begun.state_dict().items():
        torch.testing.assert_close(tensor, state[name], atol=1e-6, rtol=0, msg=name)
    with pytest.raises(TrainingError, match="the images are 32×32"):
        train(ImageSet(discs(4), discs(2), "x", {}), tmp_path / "b", DETAILS, PIXELS, options, grow=base)
    with pytest.raises(TrainingError, match="a prior to grow"):
        train(images, tmp_path / "b", DETAILS, PIXELS, options)


def test_where_the_bits_are(disc_set):
    """The levels' bits are the whole's, and every level trains on its own part alone."""
    flow = WaveletGlow(WaveletConfig(GlowConfig(16, (LevelConfig(2, 8),)), DETAILS), torch.Generator().manual_seed(0))
    x = batch(disc_set.train, PIXELS, 0, size=16, seed=0, mirror=True)
    flow.initialise(x)
    levels = bits_per_level(flow, x, PIXELS.nats_per_dim)
    assert [(level["level"], level["dim"]) for level in levels] == [("16×16", 2304), ("rest", 768)]
    whole = BitsPerDim(flow, PIXELS)(x).mean()
    expected = sum(level["dim"] * level["bits"] for level in levels) / 3072
    torch.testing.assert_close(whole.detach(), torch.tensor(expected))
    assert 0.9 < levels[0]["rms"] < 1.1
    # The means are data to the details: their gradient is the same, whatever the base is.
    (gradient,) = torch.autograd.grad(whole, [flow.details.prior.bias])
    with torch.no_grad():
        flow.base.top.log_std.add_(1)
    (other,) = torch.autograd.grad(BitsPerDim(flow, PIXELS)(x).mean(), [flow.details.prior.bias])
    torch.testing.assert_close(gradient, other)


def test_the_schedule():
    plan = Train(steps=1000, minutes=10.0, learning_rate=1.0, warmup_steps=100, decay=0.5)
    assert plan.progress(100, 0) == 0.1 and plan.progress(100, 300) == 0.5 and plan.progress(1000, 0) == 1
    rates = [plan.rate(step, step / 1000) for step in range(1000)]
    assert rates[:100] == sorted(rates[:100]) and rates[500:] == sorted(rates[500:], reverse=True)
    assert max(rates) == 1.0 and rates[-1] < 0.02
    assert plan.with_given(steps=5).minutes is None and plan.with_given(seed=5).minutes == 10
    for wrong in ({"steps": 0}, {"minutes": -1.0}, {"steps": 1, "decay": 0.0}, {"steps": 1, "ema": 1.0}, {}):
        with pytest.raises(ValueError):
            Train(**wrong)


def test_presets_are_the_architectures_that_ship():
    assert set(PRESETS) == {*shipped_priors(), "tiny32"}
    for name in shipped_priors():
        preset, shipped = PRESETS[name], json.loads((MODELS / name / "config.json").read_text(encoding="utf-8"))
        flow = WaveletConfig(PRESETS["celeba64"].flow, preset.flow) if "base" in shipped else preset.flow
        assert (
            shipped
            == {key: shipped[key] for key in ("format", "version", "name", "bits", "pixel_offset")} | flow.to_dict()
        )
        assert shipped["bits"] == (preset.bits or PRESETS["celeba64"].bits)


def cli(*arguments, **options):
    command = [sys.executable, "-m", "transflow_core", "train", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8", **options
    )


def measured(process):
    """Wait until a run says that it measures, after a step at least: it will be under way for long."""
    for line in process.stderr:
        if re.match(r"measuring: step [1-9]", line):
            return
    raise AssertionError(process.communicate())


@pytest.mark.slow
def test_control_c_saves_and_resume_goes_on(disc_folder, tmp_path):
    run = tmp_path / "run"
    arguments = (disc_folder, "-o", run, "--preset", "tiny32", "--device", "cpu", "--held-out", "0.2", "--json")
    process = cli(*arguments, "--steps", 4000, "--every-minutes", 0.01, "--licence", "free", "--nets", "float32")
    try:
        measured(process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    finally:
        process.kill()
    assert process.returncode == 0, err
    stopped = json.loads(out)
    assert not stopped["finished"] and 0 < stopped["step"] < 4000 and "--resume" in err
    out, err = cli(*arguments, "--steps", 4000, "--resume", "--learning-rate", 1.0).communicate()
    assert "learning_rate" in err and not out
    # With its options left out, the run goes on with those that it began with; a second signal stops it at once.
    process = cli(*arguments, "--resume")
    try:
        measured(process)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate()
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert json.loads(out)["step"] > stopped["step"]


@pytest.mark.slow
def test_two_processes_are_one(disc_folder, tmp_path):
    """torchrun on two processes: the same batches, so the same weights but for the order of sums."""
    arguments = [
        "-m", "transflow_core", "train", str(disc_folder), "--preset", "tiny32", "--steps", "12", "--device", "cpu",
        "--held-out", "0.2", "--nets", "float32", "--json", "-o",
    ]  # fmt: skip
    single = subprocess.run([sys.executable, *arguments, str(tmp_path / "one")], cwd=ROOT, capture_output=True)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    double = subprocess.run([*launch, *arguments, str(tmp_path / "two")], cwd=ROOT, capture_output=True)
    assert single.returncode == 0 and double.returncode == 0, (single.stderr, double.stderr)
    one, two = (json.loads(run.stdout) for run in (single, double))
    assert two["images"] == one["images"] == 12 * 16
    bits = [row["held_out_bits"] for row in (*one["measured"], *two["measured"])]
    assert bits[2] == pytest.approx(bits[0], abs=1e-5) and bits[3] == pytest.approx(bits[1], abs=2e-3)
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("one", "two")]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][name], atol=2e-3, rtol=0)
