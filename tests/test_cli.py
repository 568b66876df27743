"""The command line, run as a person runs it, on the shipped prior and on a tiny one."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from transflow_core.cli import app
from transflow_core.images import read_png_metadata
from transflow_core.shipped import DEFAULT_PRIOR

from .checkpoints.peers import Rosinality
from .conftest import ROOT, make_tiny_prior

EXAMPLES = ROOT / "assets" / "examples"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """`run("sample", …)` in an empty folder with a tiny prior and five images; gives what `--json` printed."""
    monkeypatch.chdir(tmp_path)
    make_tiny_prior().save("tiny.safetensors")
    rng = np.random.default_rng(0)
    Path("images").mkdir()
    for index in range(5):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(f"images/{index}.png")

    def call(verb, *arguments, fails=False, prior=True):
        options = ["--prior", "tiny.safetensors"] if prior else []
        result = CliRunner().invoke(app, [verb, *map(str, arguments), *options, "--json"])
        assert (result.exit_code != 0) == fails, result.output
        return result.stderr if fails else json.loads(result.stdout)

    return call


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def test_the_readme_example_runs_and_is_reproducible(tmp_path):
    """A cold process on 18 images of the shipped prior: the same seed gives the same sheet, another seed another."""

    def sample(name, seed):
        command = [sys.executable, "-m", "transflow_core", "sample", EXAMPLES / "greyscale"]
        command += ["--lam-ratio", "0.5", "-n", "4", "--seed", str(seed), "-o", tmp_path / name]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert str(tmp_path / name) in done.stdout
        return pixels(tmp_path / name)

    first, again, other = sample("a.png", 0), sample("b.png", 0), sample("c.png", 1)
    assert (first == again).all() and (first != other).any()
    facts = read_png_metadata(tmp_path / "a.png")
    assert facts["lam_ratio"] == "0.5" and facts["prior"] == DEFAULT_PRIOR and facts["m"] == "18.0"


def test_greyscale_evidence_gives_greyer_samples_than_the_prior(celeba64):
    from transflow_core.engine import Engine
    from transflow_core.posterior import Gaussian

    engine = Engine(celeba64)
    evidence = engine.evidence(sorted((EXAMPLES / "greyscale").glob("*.png")))

    def chroma(gaussian):
        x = engine.sample(gaussian, 8)
        return float((x.amax(1) - x.amin(1)).mean())

    greys = [chroma(evidence.condition(lam_ratio=ratio)) for ratio in (0.05, 0.3, 1.0)]
    prior = chroma(Gaussian.standard(celeba64.dim))
    assert greys[0] < greys[1] < greys[2] < prior and greys[1] < 0.5 * prior


def test_sample_writes_a_sheet_images_and_a_posterior(run):
    result = run("sample", "images", "-n", 3, "-o", "sheet.png", "--images", "out", "--save-posterior", "p.safetensors")
    assert result["m"] == 5 and result["n"] == 3 and [e["used"] for e in result["evidence"]] == [True] * 5
    assert sorted(path.name for path in Path("out").iterdir()) == [f"sample_000{i}.png" for i in range(3)]
    assert result["files"] == ["sheet.png", "out", "p.safetensors"]
    again = run("sample", "p.safetensors", "-n", 3, "-o", "again.png")
    assert (pixels("sheet.png") == pixels("again.png")).all() and "evidence" not in again


def test_a_saved_posterior_takes_another_lambda(run):
    run("sample", "images", "--lam-ratio", 0.5, "--save-posterior", "p.safetensors", "-n", 2)
    run("sample", "images", "--lam-ratio", 2, "-n", 2, "-o", "two.png")
    run("sample", "p.safetensors", "--lam-ratio", 2, "-n", 2, "-o", "saved.png")
    assert np.abs(pixels("two.png") - pixels("saved.png")).max() <= 1


def test_lambda_by_value_and_by_ratio_agree(run):
    run("sample", "images", "--lam", 2.5, "-n", 2, "-o", "a.png")
    run("sample", "images", "--lam-ratio", 0.5, "-n", 2, "-o", "b.png")
    run("sample", "images", "--lam-ratio", "0.5,0.5", "-n", 2, "-o", "c.png")
    assert (pixels("a.png") == pixels("b.png")).all() and np.abs(pixels("a.png") - pixels("c.png")).max() <= 1


def test_sweep_has_a_column_for_each_lambda(run):
    result = run("sweep", "images", "--lam-ratios", "0.1,1", "-n", 3, "-o", "sweep.png")
    assert result["lam_ratios"] == [0.1, 1.0]
    wide = Image.open("sweep.png").width
    run("sweep", "images", "--lam-ratios", "0.1,1,2,3", "-n", 3, "-o", "sweep.png")
    assert Image.open("sweep.png").width > 1.7 * wide


@pytest.mark.parametrize("suffix", ["png", "gif", "webp"])
def test_interpolate_writes_a_strip_or_an_animation(run, suffix):
    run("sample", "images/1.png", "--save-posterior", "b.safetensors")
    run("interpolate", "images/0.png", "b.safetensors", "--steps", 3, "-n", 2, "-o", f"way.{suffix}")
    with Image.open(f"way.{suffix}") as image:
        assert getattr(image, "n_frames", 1) == (1 if suffix == "png" else 4)


def test_encode_tells_likelihoods_and_writes_latents(run):
    result = run("encode", "images", "-o", "z.safetensors")
    z = load_file("z.safetensors")["z"]
    assert z.shape == (5, 768)
    expected = -0.5 * (z.double().square().sum(1) + 768 * np.log(2 * np.pi))
    found = torch.tensor([e["log_prior"] for e in result["evidence"]], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-3)


def test_align_writes_each_face(tmp_path, monkeypatch, conformance, run):
    face = Image.fromarray(conformance["images"][0]).resize((256, 256), Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", (500, 400), "grey")
    canvas.paste(face, (100, 70))
    canvas.save("group.jpg", quality=95)
    result = run("align", "group.jpg", "images/0.png", "-o", "faces", "--size", 96, prior=False)
    faces = result["pictures"][0]["faces"]
    assert len(faces) == 1 and Image.open(faces[0]["file"]).size == (96, 96)
    assert result["pictures"][1]["faces"] == [] and "no face" in result["pictures"][1]["problem"]


def test_info_tells_of_a_prior_and_of_a_sheet(run):
    facts = run("info", "tiny.safetensors", prior=False)
    assert facts["dim"] == 768 and [level["dim"] for level in facts["levels"]] == [384, 384]
    run("sample", "images", "-n", 1, "--seed", 7, "-o", "s.png")
    assert run("info", "s.png", prior=False)["seed"] == "7"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sample", "nowhere"], "nowhere"),
        (["sample", "images", "--lam", "1", "--lam-ratio", "1"], "not both"),
        (["sample", "images", "--lam-ratio", "big"], "--lam-ratio"),
        (["sample", "images", "--lam-ratio", "1,2,3"], "2, one for each level"),
        (["sample", "images", "--lam-ratio", "-1"], "at least 0"),
        (["sample", "images", "--faces", "most"], "largest"),
        (["sample", "images", "--whole", "half"], "auto"),
        (["sample", "tiny.safetensors"], "tiny.safetensors"),
        (["interpolate", "images/0.png", "images/1.png", "--method", "magic"], "magic"),
    ],
)
def test_mistakes_end_in_one_sentence(run, arguments, message):
    words = run(*arguments, fails=True)
    assert message in words and "Traceback" not in words and words.startswith("error: ")


def test_an_unknown_prior_is_named(run):
    assert "celeba65" in run("sample", "images", "--prior", "celeba65", prior=False, fails=True)


def test_what_is_skipped_is_said_on_standard_error_and_json_stays_clean(run):
    Path("images/broken.png").write_bytes(b"nothing")
    result = run("sample", "images", "-n", 1)
    assert result["m"] == 5 and [e["problem"] for e in result["evidence"] if not e["used"]]


def test_help_is_there_for_every_verb():
    listing = CliRunner().invoke(app, ["--help"]).stdout
    for verb in ("sample", "sweep", "interpolate", "align", "encode", "convert", "info", "bench"):
        assert verb in listing
        assert CliRunner().invoke(app, [verb, "--help"]).exit_code == 0


def test_convert_turns_a_peers_checkpoint_into_a_prior(run):
    """What no tensor tells is asked for; the result serves like any prior."""
    Rosinality().save(Path())
    asked = run("info", "model.pt", prior=False)
    assert asked["format"] == "rosinality/glow-pytorch" and set(asked["asks"]) == {"image_size", "bits"}
    words = run("convert", "model.pt", "-o", "out.safetensors", prior=False, fails=True)
    assert "image_size" in words
    run("convert", "model.pt", "-o", "out.safetensors", "--image-size", 16, "--set", "bits=5", prior=False)
    assert run("info", "out.safetensors", prior=False)["dim"] == 768
    run("sample", "images", "-n", 2, "--prior", "out.safetensors", prior=False)


def test_info_without_an_argument_lists_the_priors(run):
    facts = run("info", prior=False)
    assert facts["shipped"] == ["celeba128", "celeba64"]
    assert {"licence", "hardware", "sha256", "address"} <= set(facts["known"][0])


def test_a_file_of_no_known_format_says_what_was_found(run):
    torch.save({"weights": torch.zeros(3)}, "other.pt")
    assert "weights" in run("convert", "other.pt", "-o", "out.safetensors", prior=False, fails=True)


def test_bench_times_both_directions(run):
    facts = run("bench", "-n", 2, "--repeats", 1)
    assert facts["decode"]["n"] == 2 and facts["encode"]["images_per_s"] > 0
    assert facts["preview"]["n"] == 2 and 0 <= facts["preview"]["error"] < 1
