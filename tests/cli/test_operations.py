"""Each command: what it writes, says and refuses; numbers are asserted by the tests of the engine."""

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from safetensors.torch import load_file

from transflow_core import Posterior, align, example, shipped_priors
from transflow_core.images.output import read_png_metadata
from transflow_core.pictures import _Child
from transflow_core.recipes import DEFAULT_PRIOR

from ..checkpoints.projects import ROSINALITY, project
from ..helpers import EXAMPLES, make_sized_prior
from .conftest import pixels


def off(a, b):
    return np.abs(pixels(a) - pixels(b)).max()


def large(file):
    return np.asarray(Image.open(file).convert("RGB").resize((256, 256), Image.Resampling.LANCZOS)).astype(int)


def test_without_a_prior_the_shipped_one_draws_and_a_seed_gives_one_sheet(run):
    """As a user would."""
    run("sample", EXAMPLES / "greyscale" / "greyscale_00.png", "-n", 1, "--lam-ratio", 0.5, "-o", "a.png", prior=False)
    facts = read_png_metadata("a.png")
    assert facts["lam_ratio"] == "0.5" and facts["prior"] == DEFAULT_PRIOR and facts["m"] == "1.0"

    def sample(seed):
        run("sample", "images", "-n", 2, "--seed", seed, "-o", "b.png")
        return pixels("b.png")

    first = sample(0)
    assert (sample(0) == first).all() and (sample(1) != first).any()


def test_sample_writes_a_sheet_or_a_folder_and_says_what_is_skipped(run):
    Path("images/broken.png").write_bytes(b"nothing")
    result = run("sample", "images", "-n", 3, "-o", "sheet.png")
    assert result["m"] == 5 and result["recipe"]["n"] == 3 and sum(e["used"] for e in result["evidence"]) == 5
    assert [e["problem"] for e in result["evidence"] if not e["used"]]
    assert len(result["closest"]) == 3 and all(one["name"][1:] == ".png" for one in result["closest"])
    assert result["files"] == ["sheet.png"] and {"redrawn", "projected", "guarded", "reason"} <= result.keys()
    more = ("--structure", "prior", "--style-levels", 1)
    for folder, options in (("plain", ()), ("mixed", more)):
        files = run("sample", "images", "-n", 3, "-o", folder, *options)["files"]
        assert files == [f"{folder}/sample_000{i}.png" for i in range(3)]
    assert pixels(files[0]).shape == (16, 16, 3) and read_png_metadata(files[0])["n"] == "3"
    assert off("plain/sample_0000.png", "mixed/sample_0000.png") > 9


DIRECT = "interpolate images --interpolation direct"


@pytest.mark.parametrize("command", ["sample", "encode", "restyle --style images", "align --align never", DIRECT])
def test_every_file_is_listed_and_strict_ends_with_1_where_one_is_not_used(run, command):
    Path("images/broken.png").write_bytes(b"nothing")
    Path("images/notes.cr2").write_bytes(b"\xff\0")
    verb, *options = command.split()
    suffix = {"encode": ".safetensors", "interpolate": ".png"}.get(verb, "")
    words = run(verb, "images", *options, "--strict", "-o", "out" + suffix, fails=True)
    assert "broken.png: " in words and "notes.cr2: skipped: this is not the name of an image" in words
    assert "0.png: " in words and "--strict: " in words
    assert not list(Path().glob("out*"))


@pytest.mark.parametrize("name", ["CREDITS.md", "data.json", "LICENSE"])
def test_a_text_beside_pictures_is_listed_and_strict_does_not_mind(run, name):
    text = "Vigée".encode() + b" " * 1017 + "é".encode()  # the first part that is read ends within a letter
    Path("images", name).write_bytes(text)
    assert run("condition", "images", "--strict")["m"] == 5


def test_an_example_set_has_a_name_unless_a_folder_has_it(run):
    facts = run("encode", "paintings", "--strict", "--align", "never")
    assert [one["name"] for one in facts["images"]] == [path.name for path in example("paintings")]
    Path("images").rename("paintings")
    assert len(run("encode", "paintings")["images"]) == 5


def test_a_morph_goes_through_the_samples_and_back_to_the_first(run):
    run("sample", "images", "-n", 3, "-o", "folder")
    facts = run("sample", "images", "-n", 3, "--steps", 4, "-o", "morph.webp")
    assert facts["recipe"]["steps"] == 4
    with Image.open("morph.webp") as morph:
        assert (morph.n_frames, morph.size) == (12, (256, 256))
        frames = [np.asarray(one.convert("RGB")).astype(int) for one in ImageSequence.Iterator(morph)]
    for index in range(3):
        near = [np.abs(frames[at] - large(f"folder/sample_000{index}.png")).mean() for at in range(12)]
        assert np.argmin(near) == 4 * index and near[4 * index] < 8
    for before, after in zip(frames, [*frames[1:], frames[0]], strict=True):  # no jump, at the end of the loop neither
        assert np.abs(after - before).mean() < np.abs(frames[0] - frames[4]).mean()
    assert run("sample", "images", "-n", 2, "-o", "morph.gif")["recipe"]["steps"] == 8


def test_a_posterior_keeps_its_method_and_takes_another_lambda(run):
    kept = run("condition", "images", "--images-per-sample", 1.5, "-o", "p.safetensors")
    assert kept["m"] == 5 and kept["recipe"]["method"] == "bootstrap" and kept["kl"] > 0
    drawn = run("sample", "p.safetensors", "-n", 2, "-o", "kept.png")
    assert drawn["recipe"]["images_per_sample"] == 1.5 and "saved" in drawn["reason"]
    run("sample", "images", "--images-per-sample", 1.5, "-n", 2, "-o", "images.png")
    assert off("kept.png", "images.png") <= 1
    for name, source in (("two", "p.safetensors"), ("fresh", "images")):
        run("sample", source, "--method", "posterior", "--lam-ratio", "2,2", "-n", 2, "-o", f"{name}.png")
    assert off("two.png", "fresh.png") <= 1 and off("two.png", "kept.png") > 9


def test_a_posterior_without_single_images_draws_by_the_papers_method(run):
    run("condition", "images", "--moments-only", "-o", "m.safetensors")
    drawn = run("sample", "m.safetensors", "-n", 2)
    assert drawn["recipe"]["method"] == "posterior" and drawn["m"] == 5 and not drawn["closest"]
    for wrong in (["images", "--method", "local"], ["images", "--likeness", 0.5], ["images/0.png"]):
        assert "Traceback" not in run("condition", *wrong, "--moments-only", fails=True)
    run("mix", "images/0.png", "images/1.png", "--moments-only", "-o", "mix.safetensors")
    assert not len(Posterior.load("mix.safetensors").latents)
    move = ["mix", "images", "images/1.png", "--how", "move", "--share", 1, "--moments-only", "-o", "one.safetensors"]
    assert "the mean of one image" in run(*move, fails=True) and not Path("one.safetensors").exists()


def test_sweep_has_a_column_for_each_value(run):
    widths = []
    for values in ("0.1,1", "0.1,1,2,3"):
        swept = run("sweep", "images", "--over", "lam_ratio", "--values", values, "-n", 3)["recipe"]
        assert swept["over"] == "lam_ratio" and swept["values"] == [float(value) for value in values.split(",")]
        widths.append(pixels("sweep.png").shape[1])
    assert widths[1] > 1.7 * widths[0]
    assert len(run("sweep", "images", "--values", "0,1", "-n", 3, "-o", "folder")["files"]) == 6


def test_a_sweep_over_the_number_of_one_method_is_of_that_method(run):
    swept = run("sweep", "images", "--over", "images_per_sample", "--values", "1,2", "-n", 1)["recipe"]
    assert (swept["method"], swept["images_per_sample"]) == ("bootstrap", 2)


@pytest.mark.parametrize(
    ("command", "output"),
    [
        (("sample", "images", "-n", 2), "images/samples.png"),
        (("align", "images", "--align", "never"), "images/aligned"),
        (("restyle", "images", "--style", "images/0.png"), "images/restyled.png"),
    ],
)
def test_what_a_command_writes_beside_what_is_given_is_not_read_the_next_time(run, command, output):
    Path("images/samples_of_paint.png").write_bytes(Path("images/0.png").read_bytes())
    made = []
    for _ in "12":
        files = run(*command, "-o", output)["files"]
        made.append({file: Path(file).read_bytes() for file in files})
    assert made[0] == made[1] and all(made[0])


def test_a_folder_has_a_mask_for_each_image(run):
    Path("masks").mkdir()
    for index in range(5):
        mask = Image.new("L", (8, 8))
        mask.paste(255, (index, 0, index + 1, 8))
        mask.save(f"masks/{index}.png")
    evidence = run("sample", "images", "--mask", "masks", "-n", 1)["evidence"]
    assert len(evidence) == 5 and all("a part is ignored" in one["summary"] for one in evidence)


def test_steps_are_of_animations(run):
    for steps in (1, 5):
        assert run("sample", "images", "-n", 2, "--steps", steps)["files"] == ["samples.png"]
        assert run("info", "samples.png", prior=False)["steps"] == "1"


@pytest.mark.parametrize("suffix", ["png", "gif"])
def test_interpolate_writes_a_strip_or_an_animation_and_each_end_may_have_its_own_lambda(run, suffix):
    run("condition", "images/1.png", "-o", "b.safetensors")
    ends = ["--lam-ratio-a", 0, "--lam-ratio-b", "inf", "--method", "posterior"]
    facts = run("interpolate", "images/0.png", "b.safetensors", "--steps", 3, "-n", 2, "-o", f"path.{suffix}", *ends)
    assert [facts[end]["lam_ratio"] for end in "ab"] == [0, "inf"]
    assert facts["a"]["m"] == facts["b"]["m"] == 1 and facts["a"]["reason"] == "You asked for this method."
    facts = run("interpolate", "images", "b.safetensors", "--steps", 2, "--interpolation", "direct", "-o", "direct.png")
    assert "first image" in facts["a"]["reason"]
    with Image.open(f"path.{suffix}") as image:
        assert getattr(image, "n_frames", 1) == (1 if suffix == "png" else 4)
    files = run("interpolate", "images/0.png", "b.safetensors", "--steps", 3, "-n", 2, "-o", "apart", *ends)["files"]
    assert files == [f"apart/draw_{draw}_{at}.png" for draw in range(2) for at in range(3)]
    assert off(files[0], files[1]) > 1


def test_restyle_writes_the_photograph_or_the_path_to_it(run):
    Image.open("images/0.png").resize((40, 50)).save("photograph.png")
    plain = ["restyle", "photograph.png", "--style", "images", "--align", "never"]
    facts = run(*plain, "--strength", 0)
    (face,) = facts["photographs"][0]["faces"]
    assert off("restyled.png", "photograph.png") <= 1 and read_png_metadata("restyled.png")["strength"] == "0"
    assert facts["m"] == 5 and face["used"] and face["identity"] == pytest.approx(0, abs=0.1)
    (mask := Image.new("L", (20, 25))).paste(255, (7, 9, 12, 14))
    mask.save("mask.png")
    (photograph,) = run(*plain, "--strength", 0, "--mask", "mask.png")["photographs"]
    assert "identity" not in photograph["faces"][0]  # it would compare with a face that is part made up
    changed = abs(pixels("restyled.png") - pixels("photograph.png")).max(2) > 1
    assert changed[20:26, 16:22].mean() > 0.8 and not changed[:8].any() and not changed[-8:].any()
    run(*plain, "-o", "path.webp", "--likeness", 0.5, "--keep-levels", 1, "--no-match-colours", "--steps", 3)
    with Image.open("path.webp") as path:
        assert path.size == (40, 50) and path.n_frames == 4
    two = run(*plain[:2], "images/1.png", *plain[2:], "-o", "many.png")
    assert two["files"] == ["many_photograph.png", "many_1.png"]
    Path("b").mkdir()
    for name in ("images/0_2", "b/0"):
        Image.open("images/1.png").save(f"{name}.png")
    folder = run("restyle", "images", "b", "--style", "images", "--align", "never", "-o", "out")
    assert folder["files"] == [f"out/{name}.png" for name in ("0", "0_2", "1", "2", "3", "4", "0_1")]


@pytest.mark.parametrize(
    ("command", "suffix"),
    [
        ("sample -n 2", "jpg"),
        ("sweep -n 2", "JPEG"),
        ("interpolate -n 1 --steps 2", "webp"),
        ("restyle --align never", "png"),
    ],
)
def test_the_suffix_decides_how_a_picture_is_written(run, command, suffix):
    verb, *options = command.split()
    files = {"interpolate": ["images/0.png", "images/1.png"], "restyle": ["images/0.png", "--style", "images/1.png"]}
    run(verb, *files.get(verb, ["images"]), *options, "-o", f"out.{suffix}")
    with Image.open(f"out.{suffix}") as picture:
        assert picture.format == {"jpg": "JPEG", "JPEG": "JPEG"}.get(suffix, suffix.upper())
        assert b"lgorithmicMedia" in Path(f"out.{suffix}").read_bytes()


def test_without_dlib_nothing_measures_how_far_a_face_is_from_what_it_was(run, monkeypatch):
    monkeypatch.setattr(import_module("transflow_core.operations.restyle"), "dlib", lambda: None)
    (photograph,) = run("restyle", "images/0.png", "--style", "images", "--align", "never")["photographs"]
    assert photograph["faces"][0]["used"] and "identity" not in photograph["faces"][0]


def test_mix_makes_one_posterior_of_two_sets_with_facts_of_its_own(run):
    run("condition", "images", "--method", "bootstrap", "--weights", "1,2,3,1,1", "-o", "a.safetensors")
    facts = run("mix", "a.safetensors", "images/1.png", "--how", "subtract", "--share", 0.25)
    assert facts["m"] == pytest.approx(6) and facts["recipe"]["how"] == "subtract" and not facts["a"]
    kept = run("info", "posterior.safetensors", prior=False)
    assert kept.items() > Posterior.load("posterior.safetensors").metadata.items() and kept["kind"] == "posterior"
    assert kept["recipe"] == "mix" and kept["prior"] == "tiny" and not {"method", "weights"} & kept.keys()


def test_latents_of_small_pictures_are_theirs_at_every_level(run):
    prior = make_sized_prior()
    prior.save("sized.safetensors")
    (face,) = align(Image.open("images/0.png"), size=prior.image_size, align="never")
    assert face.image.width == 2 * Image.open("images/0.png").width
    options = ["--align", "never", "--prior", "sized.safetensors", "-o", "z.safetensors"]
    run("encode", "images/0.png", *options, prior=False)
    torch.testing.assert_close(load_file("z.safetensors")["z"], prior.encode([face.image]))


def test_a_class_may_have_any_name(run):
    for name in ("problem", "name"):
        Path(name).mkdir()
    for index, name in enumerate(("problem", "problem", "name", "name")):
        Path(f"images/{index}.png").rename(f"{name}/{index}.png")
    facts = run("classify", "images/4.png", "--class", "problem", "--class", "name", "--align", "never")
    assert facts["classes"] == {"problem": 2, "name": 2}


def test_a_saved_classifier_aligns_images_as_its_examples(run):
    for name, index in (("one", 0), ("two", 1)):
        Path(name).mkdir()
        Path(f"images/{index}.png").rename(f"{name}/{index}.png")
    run("classify", "images/4.png", "--class", "one", "--class", "two", "--align", "never", "-o", "c.safetensors")
    again = ["classify", "images/4.png", "--class", "c.safetensors"]
    assert run(*again)["recipe"]["align"] == "never"
    assert run(*again, "--align", "always", "--faces", "all")["recipe"]["align"] == "always"
    make_sized_prior(16).save("other.safetensors")
    error = run(*again, "--prior", "other.safetensors", fails=True, prior=False)
    assert "made with tiny, not with tiny32" in error


def test_an_image_of_two_classes_is_named(run):
    for name, own in (("happy", 1), ("sad", 2)):
        Path(name).mkdir()
        Path(f"{name}/same.png").write_bytes(Path("images/0.png").read_bytes())
        Path(f"images/{own}.png").rename(f"{name}/own.png")
    error = run("classify", "images/4.png", "--class", "happy", "--class", "sad", "--align", "never", fails=True)
    assert "same.png is in two classes, happy and sad. Leave it out of one." in error


def test_align_writes_each_face(conformance, run):
    canvas = Image.new("RGB", (500, 400), "grey")
    canvas.paste(Image.fromarray(conformance["images"][0]).resize((256, 256), Image.Resampling.LANCZOS), (100, 70))
    canvas.save("group.jpg", quality=95)
    result = run("align", "group.jpg", "images/0.png", "-o", "faces", "--size", 96)
    (file,), (found, none) = result["files"], result["pictures"]
    assert pixels(file).shape == (96, 96, 3) and found["faces"][0]["file"] == Path(file).name
    assert none["faces"] == [] and "no face" in none["problem"]


@pytest.mark.parametrize("size", [[], ["--size", 32]])
def test_a_picture_is_read_once(run, monkeypatch, size):
    """By each of two children at most."""
    asked, ask = [], _Child.ask
    monkeypatch.setattr(_Child, "ask", lambda child, file, how: asked.append((child, file)) or ask(child, file, how))
    run("align", "cartoon", "--prior", "celeba64", *size, prior=False)
    assert len(set(asked)) == len(asked)


def test_info_tells_of_a_prior_of_a_sheet_and_which_priors_there_are(run):
    facts = run("info", "tiny.safetensors", prior=False)
    assert facts["dim"] == 768 and [level["dim"] for level in facts["levels"]] == [384, 384]
    run("sample", "images", "-n", 1, "--seed", 7, "-o", "s.png")
    assert run("info", "s.png", prior=False)["seed"] == "7"
    Image.open("s.png").convert("RGB").save("s.jpg")
    assert "Only a PNG carries how it was made" in run("info", "s.jpg", prior=False, fails=True)
    facts = run("info", prior=False)
    assert facts["shipped"] == shipped_priors()
    assert {"licence", "hardware", "address"} <= set(facts["known"][0])


def test_convert_turns_another_projects_checkpoint_into_a_prior(run):
    """What no tensor tells is asked for; the result serves like any prior."""
    project(ROSINALITY).save(Path())
    for command in (("info", "model.pt"), ("convert", "model.pt", "-o", "out.safetensors")):
        words = run(*command, prior=False, fails=True)
        assert all(word in words for word in ("rosinality/glow-pytorch", "image_size", "bits"))
    run("convert", "model.pt", "-o", "out.safetensors", "--image-size", 16, "--set", "bits=5", prior=False)
    assert run("info", "out.safetensors", prior=False)["dim"] == 768
    run("sample", "images", "-n", 2, "--prior", "out.safetensors", prior=False)
    torch.save({"weights": torch.zeros(3)}, "other.pt")
    assert "weights" in run("convert", "other.pt", "-o", "out.safetensors", prior=False, fails=True)


def test_convert_packs_all_sizes_or_takes_one_out(run):
    make_sized_prior().save("folder")
    made = run("convert", "folder", "-o", "all.safetensors", "--half", prior=False)
    run("convert", "all.safetensors", "-o", "one.safetensors", "--image-size", 16, prior=False)
    facts = [run("info", f"{name}.safetensors", prior=False) for name in ("all", "one")]
    assert [(one["name"], one["sizes"]) for one in facts] == [("tiny32", [32, 16, 8]), ("tiny16", [16, 8])]
    assert made["fingerprint"] == facts[0]["fingerprint"]
    run("convert", "celeba64", "-o", "celeba.safetensors", prior=False)
    assert run("info", "celeba.safetensors", prior=False)["name"] == "celeba64"
    within = run("info", "all.safetensors", "--image-size", 16, prior=False)
    assert within["name"] == "tiny16" and within["typicality"] and within["data"] == "16 pixels"
    assert "only of 32, 16, 8" in run("info", "all.safetensors", "--image-size", 64, prior=False, fails=True)


def test_bench_times_both_directions_and_tells_what_a_preview_is_off_by(run):
    facts = run("bench", "--batches", "1,2", "--repeats", 1)
    for name in ("decode", "preview", "encode"):
        assert [row["n"] for row in facts[name]] == [1, 2] and all(row["images_per_s"] > 0 for row in facts[name])
    assert facts["load_s"] > 0 and facts["reconstruction_error"] < 1e-3
    # Where the processor has no tiles for bfloat16 there is one arithmetic, and nothing to be off from.
    assert facts["preview_error"] <= 2 / 255 if facts["preview_nets"] == "bfloat16" else not facts["preview_error"]
