"""`sample`, `sweep`, `interpolate`: run as a person runs them, on the shipped prior and on a tiny one."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from transflow_core.images import read_png_metadata
from transflow_core.posterior import Manner, Posterior
from transflow_core.shipped import DEFAULT_PRIOR

from ..helpers import EXAMPLES, ROOT
from .conftest import pixels


@pytest.mark.slow
def test_the_readme_example_runs_and_is_reproducible(tmp_path):
    """A cold process on 18 images of the shipped prior: the same seed gives the same sheet, another seed another."""

    def sample(name, seed, *evidence):
        command = ["sample", *map(str, evidence), "-n", "4", "--seed", str(seed), "-o", str(tmp_path / name)]
        command = [sys.executable, "-m", "transflow_core", *command]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert str(tmp_path / name) in done.stdout
        return pixels(tmp_path / name)

    images, saved = (EXAMPLES / "greyscale", "--lam-ratio", "0.5"), tmp_path / "p.safetensors"
    first, again = sample("a.png", 0, *images, "--save-posterior", saved), sample("b.png", 0, *images)
    assert (first == again).all() and (first != sample("c.png", 1, saved)).any()
    facts = read_png_metadata(tmp_path / "a.png")
    assert facts["lam_ratio"] == "0.5" and facts["prior"] == DEFAULT_PRIOR and facts["m"] == "18.0"


def test_greyscale_evidence_gives_greyer_samples_than_the_prior(celeba64):
    from transflow_core.engine import Engine
    from transflow_core.posterior import Gaussian

    engine = Engine(celeba64)
    intake = engine.intake(sorted((EXAMPLES / "greyscale").glob("*.png")))

    def chroma(gaussian):
        x = engine.sample(gaussian, 8)
        return float((x.amax(1) - x.amin(1)).mean())

    greys = [chroma(intake.posterior(ratio)) for ratio in (0.05, 0.3, 1.0)]
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
    assert [Manner.parse(text).lam_ratio for text in result["manners"]] == [0.1, 1.0]
    wide = Image.open("sweep.png").width
    run("sweep", "images", "--lam-ratios", "0.1,1,2,3", "-n", 3, "-o", "sweep.png")
    assert Image.open("sweep.png").width > 1.7 * wide


def test_a_manner_of_drawing_is_chosen_told_and_kept(run):
    chosen = run("sample", "images", "-n", 2, "-o", "auto.png", "--save-posterior", "p.safetensors")
    assert chosen["why"].endswith(".") and {"redrawn", "projected", "guarded"} <= chosen.keys()
    told = run("sample", "images", "--manner", chosen["manner"], "-n", 2, "-o", "told.png")
    kept = run("sample", "p.safetensors", "-n", 2, "-o", "kept.png")
    assert told["manner"] == kept["manner"] == chosen["manner"]
    assert (pixels("auto.png") == pixels("told.png")).all() and (pixels("auto.png") == pixels("kept.png")).all()
    assert read_png_metadata(Path("auto.png"))["manner"] == chosen["manner"]
    few = run("sample", "images", "--manner", "blend", "--pieces", 1.5, "-n", 2, "-o", "blend.png")
    alike = run("sample", "images", "--likeness", 0.8, "-n", 2, "-o", "alike.png")
    assert Manner.parse(few["manner"]).pieces == 1.5 and Manner.parse(alike["manner"]).likeness == 0.8
    sheets = [pixels(f"{name}.png").tobytes() for name in ("auto", "blend", "alike")]
    assert len(set(sheets)) == 3


def test_a_sweep_follows_the_manner(run):
    result = run("sweep", "images", "--manner", "blend", "-n", 1, "-o", "sweep.png")
    pieces = [Manner.parse(text).pieces for text in result["manners"]]
    assert pieces[0] == 1 and pieces[-1] == 5 and pieces == sorted(pieces)
    result = run("sweep", "images", "--manner", "local", "--values", "0,1", "-n", 1, "-o", "sweep.png")
    assert [Manner.parse(text).likeness for text in result["manners"]] == [0, 1]


@pytest.mark.parametrize("suffix", ["png", "gif", "webp"])
def test_interpolate_writes_a_strip_or_an_animation(run, suffix):
    run("sample", "images/1.png", "--save-posterior", "b.safetensors")
    run("interpolate", "images/0.png", "b.safetensors", "--steps", 3, "-n", 2, "-o", f"way.{suffix}")
    with Image.open(f"way.{suffix}") as image:
        assert getattr(image, "n_frames", 1) == (1 if suffix == "png" else 4)


def test_restyle_writes_the_photograph_or_the_way(run):
    Image.open("images/0.png").resize((40, 50)).save("photograph.png")
    told = run("restyle", "photograph.png", "--style", "images", "--strength", 0, "--whole", "always")
    assert abs(pixels("restyled.png") - pixels("photograph.png")).max() <= 1
    assert told["m"] == 5 and told["faces"][0]["used"] and told["identity"] == [pytest.approx(0, abs=0.1)]
    assert read_png_metadata("restyled.png")["strength"] == "0.0"
    mask = Image.new("L", (20, 25))
    mask.paste(255, (7, 9, 12, 14))
    mask.save("mask.png")
    run("restyle", "photograph.png", "--style", "images", "--strength", 0, "--whole", "always", "--mask", "mask.png")
    changed = abs(pixels("restyled.png") - pixels("photograph.png")).max(2) > 1
    assert changed[20:26, 16:22].mean() > 0.8 and not changed[:8].any() and not changed[-8:].any()
    more = ["--likeness", 0.5, "--keep-levels", 1, "--no-toned", "--steps", 3]
    run("restyle", "photograph.png", "--style", "images", "--whole", "always", "-o", "way.webp", *more)
    with Image.open("way.webp") as way:
        assert way.size == (40, 50) and way.n_frames == 4


def test_mix_makes_one_posterior_of_two_sets(run):
    run("sample", "images/0.png", "images/1.png", "-n", 1, "--save-posterior", "a.safetensors", "--as-it-is")
    run("sample", "images/2.png", "-n", 1, "--save-posterior", "b.safetensors")
    told = run("mix", "a.safetensors", "b.safetensors", "--share", 0.5)
    assert told["m"] == 4 and run("sample", "posterior.safetensors", "-n", 1)["m"] == 4
    told = run("mix", "images", "b.safetensors", "--how", "less", "--share", 0.2, "-o", "less.safetensors")
    assert told["m"] == pytest.approx(4) and told["how"] == "less" and len(told["evidence"]) == 5
    a, b, less = (Posterior.load(f"{name}.safetensors") for name in ("a", "b", "less"))
    assert torch.equal(b.latents, Posterior.load("posterior.safetensors").latents[2:])
    assert (less.evidence_mean - b.evidence_mean).norm() > 0 and less.metadata["prior"] == "tiny" and a.m == 2


def test_what_a_mask_covers_does_not_count(run):
    mask = Image.new("L", (32, 32))
    mask.paste(255, (8, 8, 20, 16))
    mask.save("mask.png")
    picture = Image.open("images/0.png")
    picture.paste((9, 200, 30), (5, 5, 9, 7))
    picture.save("images/0.png")
    run("sample", "images", "-n", 1, "--save-posterior", "a.safetensors", "--mask", "mask.png")
    picture.paste((200, 9, 30), (5, 5, 9, 7))
    picture.save("images/0.png")
    run("sample", "images", "-n", 1, "--save-posterior", "b.safetensors", "--mask", "mask.png")
    run("sample", "images", "-n", 1, "--save-posterior", "c.safetensors")
    a, b, c = (Posterior.load(f"{name}.safetensors").evidence_mean for name in "abc")
    torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
    assert (a - c).abs().max() > 0.1
    words = run("sample", "images", "--mask", "mask.png", "--mask", "mask.png", fails=True)
    assert "5 images take one mask, or one for each, not 2" in words
