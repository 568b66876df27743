"""`align`, `encode`, and what is said of images on the way."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file


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


def test_what_is_skipped_is_said_on_standard_error_and_json_stays_clean(run):
    Path("images/broken.png").write_bytes(b"nothing")
    result = run("sample", "images", "-n", 1)
    assert result["m"] == 5 and [e["problem"] for e in result["evidence"] if not e["used"]]
