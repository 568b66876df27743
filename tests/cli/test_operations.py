"""A command for each recipe: what it writes, says and refuses; the numbers are held by the tests of the engine."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from transflow_core.cli import app
from transflow_core.images import read_png_metadata
from transflow_core.posterior import Posterior
from transflow_core.recipes import DEFAULT_PRIOR

from ..helpers import EXAMPLES
from .conftest import pixels


def off(a, b):
    return np.abs(pixels(a) - pixels(b)).max()


def test_the_shipped_prior_and_an_example_set(tmp_path):
    """Without a prior, as a user would: the same seed gives the same sheet, another one another."""

    def sample(name, seed):
        arguments = [EXAMPLES / "greyscale", "-n", 2, "--lam-ratio", 0.5, "--seed", seed, "-o", tmp_path / name]
        done = CliRunner().invoke(app, ["sample", *map(str, arguments)])
        assert done.exit_code == 0, done.output
        return pixels(tmp_path / name)

    assert (sample("a.png", 0) == sample("b.png", 0)).all() and (sample("a.png", 0) != sample("c.png", 1)).any()
    facts = read_png_metadata(tmp_path / "a.png")
    assert facts["lam_ratio"] == "0.5" and facts["prior"] == DEFAULT_PRIOR and facts["m"] == "18.0"


def test_greyscale_evidence_gives_greyer_samples_than_the_prior(celeba64):
    from transflow_core.engine import Engine
    from transflow_core.posterior import Gaussian

    engine = Engine(celeba64)
    evidence = engine.read(sorted((EXAMPLES / "greyscale").glob("*.png")))

    def chroma(gaussian):
        x = engine.sample(gaussian, 8).images
        return float((x.amax(1) - x.amin(1)).mean())

    greys = [chroma(evidence.posterior(ratio)) for ratio in (0.05, 0.3, 1.0)]
    prior = chroma(Gaussian.standard(celeba64.dim))
    assert greys[0] < greys[1] < greys[2] < prior and greys[1] < 0.5 * prior


def test_sample_writes_a_sheet_or_a_folder_and_says_what_is_skipped(run):
    Path("images/broken.png").write_bytes(b"nothing")
    result = run("sample", "images", "-n", 3, "-o", "sheet.png")
    assert result["m"] == 5 and result["recipe"]["n"] == 3 and sum(e["used"] for e in result["evidence"]) == 5
    assert [e["problem"] for e in result["evidence"] if not e["used"]]
    assert len(result["closest"]) == 3 and all(one["name"][1:] == ".png" for one in result["closest"])
    assert result["files"] == ["sheet.png"] and {"redrawn", "projected", "guarded", "reason"} <= result.keys()
    assert run("sample", "images", "-n", 3, "-o", "out")["files"] == [f"out/sample_000{i}.png" for i in range(3)]
    one = pixels("out/sample_0000.png")
    assert one.shape == (16, 16, 3) and read_png_metadata("out/sample_0000.png")["n"] == "3"


def test_a_posterior_keeps_its_method_and_takes_another_lambda(run):
    kept = run("condition", "images", "--images-per-sample", 1.5, "-o", "p.safetensors")
    assert kept["m"] == 5 and kept["recipe"]["method"] == "bootstrap" and kept["kl"] > 0
    drawn = run("sample", "p.safetensors", "-n", 2, "-o", "kept.png")
    assert drawn["recipe"]["images_per_sample"] == 1.5 and "saved" in drawn["reason"]
    run("sample", "images", "--images-per-sample", 1.5, "-n", 2, "-o", "images.png")
    assert off("kept.png", "images.png") <= 1
    for name, ratio in (("two", 2), ("levels", "2,2")):
        run("sample", "p.safetensors", "--method", "posterior", "--lam-ratio", ratio, "-n", 2, "-o", f"{name}.png")
    run("sample", "images", "--method", "posterior", "--lam-ratio", 2, "-n", 2, "-o", "fresh.png")
    assert off("two.png", "fresh.png") <= 1 and off("two.png", "levels.png") <= 1 and off("two.png", "kept.png") > 9


def test_structure_and_style_come_from_where_they_are_told(run):
    run("sample", "images", "-n", 1, "--structure", "prior", "--style-levels", 1, "-o", "mixed.png")
    run("sample", "images", "-n", 1, "-o", "plain.png")
    assert off("mixed.png", "plain.png") > 9


def test_sweep_has_a_column_for_each_value(run):
    swept = run("sweep", "images", "--over", "lam_ratio", "--values", "0.1,1", "-n", 3, "-o", "two.png")["recipe"]
    assert swept["over"] == "lam_ratio" and swept["values"] == [0.1, 1.0]
    run("sweep", "images", "--over", "lam_ratio", "--values", "0.1,1,2,3", "-n", 3, "-o", "four.png")
    assert pixels("four.png").shape[1] > 1.7 * pixels("two.png").shape[1]


@pytest.mark.parametrize("suffix", ["png", "gif"])
def test_interpolate_writes_a_strip_or_an_animation_and_each_end_may_have_its_own_lambda(run, suffix):
    run("condition", "images/1.png", "-o", "b.safetensors")
    ends = ["--lam-ratio-a", 0, "--lam-ratio-b", "inf", "--method", "posterior"]
    told = run("interpolate", "images/0.png", "b.safetensors", "--steps", 3, "-n", 2, "-o", f"path.{suffix}", *ends)
    assert [told[end]["lam_ratio"] for end in "ab"] == [0, "inf"]
    assert told["a"]["m"] == told["b"]["m"] == 1
    with Image.open(f"path.{suffix}") as image:
        assert getattr(image, "n_frames", 1) == (1 if suffix == "png" else 4)


def test_restyle_writes_the_photograph_or_the_path_to_it(run):
    Image.open("images/0.png").resize((40, 50)).save("photograph.png")
    plain = ["restyle", "photograph.png", "--style", "images", "--align", "never"]
    told = run(*plain, "--strength", 0)
    faces = told["photographs"][0]["faces"]
    assert off("restyled.png", "photograph.png") <= 1 and told["m"] == 5 and faces[0]["used"]
    assert faces[0]["identity"] == pytest.approx(0, abs=0.1) and read_png_metadata("restyled.png")["strength"] == "0"
    mask = Image.new("L", (20, 25))
    mask.paste(255, (7, 9, 12, 14))
    mask.save("mask.png")
    run(*plain, "--strength", 0, "--mask", "mask.png")
    changed = abs(pixels("restyled.png") - pixels("photograph.png")).max(2) > 1
    assert changed[20:26, 16:22].mean() > 0.8 and not changed[:8].any() and not changed[-8:].any()
    more = ["--likeness", 0.5, "--keep-levels", 1, "--no-match-colours", "--steps", 3]
    run(*plain, "-o", "path.webp", *more)
    with Image.open("path.webp") as path:
        assert path.size == (40, 50) and path.n_frames == 4
    two = run("restyle", "photograph.png", "images/1.png", "--style", "images", "--align", "never", "-o", "many.png")
    assert two["files"] == ["many_photograph.png", "many_1.png"]


def test_mix_makes_one_posterior_of_two_sets(run):
    run("condition", "images/0.png", "images/1.png", "-o", "a.safetensors", "--no-robust")
    run("condition", "images/2.png", "-o", "b.safetensors")
    assert run("mix", "a.safetensors", "b.safetensors")["m"] == 4
    b, mixed = (Posterior.load(f"{name}.safetensors") for name in ("b", "posterior"))
    assert torch.equal(b.latents, mixed.latents[2:]) and mixed.metadata["prior"] == "tiny"
    told = run("mix", "images", "b.safetensors", "--how", "subtract", "--share", 0.2, "-o", "less.safetensors")
    assert told["m"] == pytest.approx(4) and told["recipe"]["how"] == "subtract" and len(told["a"]) == 5


def test_what_a_mask_covers_is_ignored(run):
    mask = Image.new("L", (32, 32))
    mask.paste(255, (8, 8, 20, 16))
    mask.save("mask.png")
    picture = Image.open("images/0.png")
    means = []
    for colour in ((9, 200, 30), (200, 9, 30)):
        picture.paste(colour, (5, 5, 9, 7))
        picture.save("images/0.png")
        for masks in (["--mask", "mask.png"], []):
            run("condition", "images", "-o", "p.safetensors", *masks)
            means.append(Posterior.load("p.safetensors").evidence_mean)
    torch.testing.assert_close(means[0], means[2], atol=1e-4, rtol=1e-4)
    assert (means[1] - means[3]).abs().max() > 0.1
    words = run("sample", "images", "--mask", "mask.png", "--mask", "mask.png", fails=True)
    assert "5 images take one mask, or one for each, not 2" in words


def test_encode_tells_likelihoods_and_writes_latents(run):
    result = run("encode", "images", "-o", "z.safetensors")
    z = load_file("z.safetensors")["z"]
    assert z.shape == (5, 768)
    expected = -0.5 * (z.double().square().sum(1) + 768 * np.log(2 * np.pi))
    found = torch.tensor([e["log_prior"] for e in result["images"]], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-3)


def test_align_writes_each_face(conformance, run):
    face = Image.fromarray(conformance["images"][0]).resize((256, 256), Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", (500, 400), "grey")
    canvas.paste(face, (100, 70))
    canvas.save("group.jpg", quality=95)
    result = run("align", "group.jpg", "images/0.png", "-o", "faces", "--size", 96)
    (file,) = result["files"]
    assert Image.open(file).size == (96, 96) and result["pictures"][0]["faces"][0]["file"] == Path(file).name
    assert result["pictures"][1]["faces"] == [] and "no face" in result["pictures"][1]["problem"]


def test_classify_tells_the_class_and_keeps_a_classifier(run):
    for name, level in (("dark", 40), ("light", 200)):
        Path(name).mkdir()
        for index in range(3):
            Image.new("RGB", (16, 16), (level + 9 * index,) * 3).save(f"{name}/{index}.png")
    Image.new("RGB", (16, 16), (60,) * 3).save("query.png")
    classes = ["--class", "dark", "--class", "light"]
    told = run("classify", "query.png", *classes, "-o", "c.safetensors")
    assert told["classes"] == {"dark": 3, "light": 3} and told["images"][0]["best"] == "dark"
    again = run("classify", "query.png", "--class", "c.safetensors")
    assert again["images"][0]["probabilities"] == pytest.approx(told["images"][0]["probabilities"])
    assert run("classify", "query.png", *classes, "--copies", 2)["images"][0]["best"] == "dark"


def test_a_set_of_any_size_is_conditioned_a_few_at_a_time(run):
    result = run("condition-set", "images", "-o", "set.safetensors", "--lam-ratio", "0.3,0.7", "--align", "never")
    assert result["m"] == 5 and result["files"] == ["set.safetensors"] and not Path("set.safetensors.partial").exists()
    run("condition", "images", "--method", "posterior", "--lam-ratio", "0.3,0.7", "-o", "p.safetensors", "--no-robust")
    found, expected = Posterior.load("set.safetensors"), Posterior.load("p.safetensors")
    torch.testing.assert_close(found.mean, expected.mean, atol=1e-5, rtol=1e-5)
    assert found.metadata["fingerprint"] == expected.metadata["fingerprint"]
    assert run("sample", "set.safetensors", "-n", 1)["m"] == 5
    assert "no such file" in run("condition-set", "nowhere", fails=True)
