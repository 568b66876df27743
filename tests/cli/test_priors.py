"""`convert`, `info`, `bench`."""

from pathlib import Path

import torch

from transflow_core.priors.catalogue import shipped_priors

from ..checkpoints.projects import ROSINALITY, project
from ..helpers import make_sized_prior


def test_info_tells_of_a_prior_of_a_sheet_and_which_priors_there_are(run):
    facts = run("info", "tiny.safetensors", prior=False)
    assert facts["dim"] == 768 and [level["dim"] for level in facts["levels"]] == [384, 384]
    run("sample", "images", "-n", 1, "--seed", 7, "-o", "s.png")
    assert run("info", "s.png", prior=False)["seed"] == "7"
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
    run("convert", "folder", "-o", "all.safetensors", "--half", prior=False)
    run("convert", "all.safetensors", "-o", "one.safetensors", "--image-size", 16, prior=False)
    facts = [run("info", f"{name}.safetensors", prior=False) for name in ("all", "one")]
    assert [(one["name"], one["sizes"]) for one in facts] == [("tiny32", [32, 16, 8]), ("tiny16", [16, 8])]
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
