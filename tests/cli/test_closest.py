"""`sample --json` tells of each sample which image it is closest to."""

import pytest


@pytest.mark.parametrize("given", ["images", "p.safetensors"])
def test_each_sample_has_its_closest_image(run, given):
    run("sample", "images", "-n", 1, "--save-posterior", "p.safetensors")
    names = {f"{i}.png" for i in range(5)} if given == "images" else {f"image {i + 1}" for i in range(5)}
    told = run("sample", given, "--manner", "local:likeness=0,lam_ratio=0.05", "-n", 4)["closest"]
    assert len(told) == 4 and all(one["name"] in names and 0.1 < one["distance"] < 2 for one in told)
    # Samples without noise of one image each are copies of it.
    copies = run("sample", given, "--manner", "blend:pieces=1,lam_ratio=0", "-n", 4)["closest"]
    assert all(one["distance"] < 0.01 for one in copies)
