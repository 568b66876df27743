"""`condition`: one posterior of a set of any size."""

from pathlib import Path

import torch

from transflow_core.posterior import Posterior


def test_it_writes_the_posterior_that_sample_saves(run):
    result = run("condition", "images", "-o", "set.safetensors", "--lam-ratio", "0.3,0.7", "--whole", "always")
    assert result["m"] == 5 and result["files"] == ["set.safetensors"] and not Path("set.safetensors.partial").exists()
    run("sample", "images", "-n", 1, "--lam-ratio", "0.3,0.7", "--save-posterior", "p.safetensors", "--whole", "always")
    found, expected = Posterior.load("set.safetensors"), Posterior.load("p.safetensors")
    torch.testing.assert_close(found.mean, expected.mean, atol=1e-5, rtol=1e-5)
    assert found.metadata["fingerprint"] == expected.metadata["fingerprint"]
    assert run("sample", "set.safetensors", "-n", 1)["m"] == 5


def test_what_is_no_set_is_one_sentence(run):
    assert "no such file" in run("condition", "nowhere", fails=True)
