"""A prior as graphs of ONNX and of OpenVINO: they compute what the prior computes, for any number of images."""

import json
import subprocess
import sys

import pytest
import torch

from transflow_core.checkpoints.native import Checkpoint
from transflow_core.flows import fused
from transflow_core.flows.fused import GuardedFlow
from transflow_core.flows.glow import GlowConfig, LevelConfig
from transflow_core.flows.openvino import OpenVinoFlow
from transflow_core.flows.pixels import PixelConvention
from transflow_core.flows.wavelet import DetailConfig, ScaleConfig, WaveletConfig
from transflow_core.priors.adapters import adapt_flow
from transflow_core.priors.export import export_onnx
from transflow_core.priors.prior import Prior

from ..helpers import make_tiny_prior
from ..test_adapters import Own
from .test_layers import COUPLINGS, built

GLOW = GlowConfig(8, (LevelConfig(1, 6),), edge=True)
CONFIGS = {
    "a glow": GlowConfig(8, (LevelConfig(2, 6),), 1, coupling=next(iter(COUPLINGS.values()))),
    "grown": WaveletConfig(GLOW, DetailConfig(1, 6, 4, prior_cap=2.0)),
    "grown, U-Net": WaveletConfig(GLOW, DetailConfig(1, 6, 4, scales=(ScaleConfig(1, 6), ScaleConfig(1, 8)))),
}


def checkpoint(config):
    return Checkpoint(built(config), PixelConvention(), "tiny", fingerprint="tiny")


@pytest.fixture(scope="module", params=CONFIGS)
def exported(request, tmp_path_factory):
    """A prior, what its configuration says, and `run(name, …)`, which runs a graph on tensors."""
    runtime = pytest.importorskip("onnxruntime", reason='the extra "onnx" is not installed')
    folder = tmp_path_factory.mktemp("exported")
    prior = Prior.from_checkpoint(checkpoint(CONFIGS[request.param]), device="cpu")
    export_onnx(prior, folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))

    def run(name, *tensors):
        graph = config["graphs"][name]
        given = dict(zip(graph["takes"], (one.numpy() for one in tensors), strict=True))
        found = runtime.InferenceSession(folder / name).run(list(graph["gives"]), given)
        return dict(zip(graph["gives"], map(torch.from_numpy, found), strict=True))

    return prior, folder, config, run


def images_of(prior, n):
    shape = (n, prior.channels, prior.image_size, prior.image_size)
    return torch.rand(shape, generator=torch.Generator().manual_seed(n))


@pytest.mark.parametrize("n", [1, 5])
def test_graphs_compute_what_the_prior_does_and_come_back(exported, n):
    prior, _, config, run = exported
    images = images_of(prior, n)
    encoded, expected = run("encode.onnx", images), prior.encode_and_score(images)
    encoded["log_prob"] = encoded["log_det"].double() + expected.log_prior
    for name in ("z", "ranges", "log_prob"):
        torch.testing.assert_close(encoded[name], getattr(expected, name), atol=1e-4, rtol=1e-4)
    back = run("decode.onnx", encoded["z"], encoded["ranges"])
    torch.testing.assert_close(back["images"], images, atol=1e-4, rtol=0)
    sides = [graph["gives"]["images"][2] for name, graph in config["graphs"].items() if name != "encode.onnx"]
    assert sides == [prior.image_size >> times for times in range(prior._form.halvings + 1)]
    for side in sides[1:]:
        coarse = run(f"decode_{side}.onnx", encoded["z"], encoded["ranges"])["images"]
        torch.testing.assert_close(coarse, prior.decode(expected.z, side=side), atol=1e-4, rtol=0)


def test_the_guard_holds_what_leaves_its_ranges(exported):
    prior, _, _, run = exported
    encoded = prior.encode_and_score(images_of(prior, 3))
    z, ranges = encoded.z, encoded.ranges
    far = 30 * z
    held = run("decode.onnx", far, ranges)
    images, excess = prior.guarded_decode(far, ranges=ranges)
    torch.testing.assert_close(held["images"], images, atol=1e-4, rtol=0)
    beyond = torch.maximum(ranges[:, 0] - held["seen"][:, 0], held["seen"][:, 1] - ranges[:, 1])
    found = (beyond / (ranges[:, 1] - ranges[:, 0]).clamp_min(1e-6)).amax(1)
    torch.testing.assert_close(found, excess, atol=1e-3, rtol=1e-3)
    assert (excess > 0).all() and not held["images"].allclose(prior.decode(far), atol=1e-2)
    # Infinite ranges hold nothing: what is seen are the ranges.
    endless = torch.tensor([-torch.inf, torch.inf])[:, None].expand_as(ranges).contiguous()
    free, (images, own) = run("decode.onnx", 1.5 * z, endless), prior.noted_decode(1.5 * z)
    torch.testing.assert_close(free["images"], images, atol=1e-4, rtol=0)
    torch.testing.assert_close(free["seen"], own, atol=1e-3, rtol=1e-3)


def test_the_folder_has_the_weights_once_and_says_nothing_of_the_machine(exported):
    prior, folder, _, _ = exported
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    numbers = sum(parameter.numel() for parameter in prior.flow.parameters())
    assert len(files["weights.bin"]) < 1.5 * 4 * numbers
    assert not [name for name, content in files.items() if b"site-packages" in content or b".py" in content]


def test_what_cannot_be_exported_is_said(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="mine cannot be exported"):
        export_onnx(Prior.from_checkpoint(adapt_flow(Own(), name="mine"), device="cpu"), tmp_path / "out")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(OSError, match=r'pip install "transflow-studio\[onnx\]"'):
        export_onnx(make_tiny_prior(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


# OpenVINO.


@pytest.fixture
def library(tmp_path, monkeypatch):
    pytest.importorskip("openvino", reason='the extra "openvino" is not installed')
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(fused, "_CACHE", 1)  # torch takes one image at a time, a graph any number


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@torch.inference_mode()
def test_openvino_is_the_fused_flow(config, library, tmp_path):
    flow = checkpoint(config).flow.requires_grad_(False)
    ours, theirs = GuardedFlow(flow), OpenVinoFlow(flow, "tiny", fast=False)
    for n in (3, 1):
        x = torch.rand(n, config.channels, config.image_size, config.image_size) - 0.5
        z, _, ranges = ours.noted_forward(x)
        calls = [("noted_forward", x), ("decode_and_see", z)]
        calls += [("decode", 4 * z, ranges, times) for times in range(ours.halvings + 1)]
        calls += [("decode", 4 * z, ranges, 0, ours.low_pass(4 * z, ours.halvings))] * (ours.halvings > 0)
        for name, *arguments in calls:
            for one, other in zip(getattr(theirs, name)(*arguments), getattr(ours, name)(*arguments), strict=True):
                torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(theirs.decode_and_see(z)[0], x, atol=1e-4, rtol=0)
    # Another process finds the graphs, and does not make them again.
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.xml")}
    OpenVinoFlow(flow, "tiny", fast=False).noted_forward(x)
    assert kept and kept == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.xml")}


def test_a_prior_on_openvino_is_the_prior(library):
    config = CONFIGS["grown"]
    ours, theirs = (Prior.from_checkpoint(checkpoint(config), device) for device in ("cpu", "openvino"))
    images = torch.rand(5, config.channels, config.image_size, config.image_size)
    assert theirs.openvino and theirs.device.type == "cpu"
    torch.testing.assert_close(theirs.encode(images, 2), ours.encode(images), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(theirs.log_prob(images), ours.log_prob(images), atol=1e-3, rtol=1e-4)
    looks, expected = theirs.looks(ours.encode(images)), ours.looks(ours.encode(images))
    torch.testing.assert_close(looks.images, expected.images, atol=1e-4, rtol=0)
    torch.testing.assert_close(looks.ranges, expected.ranges, atol=1e-3, rtol=1e-3)


def test_without_openvino_it_says_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(OSError, match=r'pip install "transflow-studio\[openvino\]"'):
        Prior.from_checkpoint(checkpoint(CONFIGS["a glow"]), "openvino")


def test_openvino_tells_its_makers_nothing(library):
    """Its converter would send each conversion to a server: what a person does here stays here."""
    lines = (
        "from transflow_core.flows.openvino import require_openvino",
        "require_openvino()",
        "from openvino.tools.ovc.telemetry_utils import tm",
        "print(tm.__name__)",
    )
    said = subprocess.run([sys.executable, "-c", "; ".join(lines)], capture_output=True, text=True, check=True)
    assert said.stdout.strip().endswith("telemetry_stub")
