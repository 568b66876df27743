"""OpenVINO computes what the fused flow does, in each direction and at each size, and is asked for by name."""

import subprocess
import sys

import pytest
import torch

from transflow_core.checkpoints.native import Checkpoint
from transflow_core.flows import fused
from transflow_core.flows.fused import fuse
from transflow_core.flows.openvino import OpenVinoFlow
from transflow_core.flows.pixels import PixelConvention
from transflow_core.priors.prior import Prior

from ..test_export import CONFIGS
from .test_layers import built


@pytest.fixture
def library(tmp_path, monkeypatch):
    pytest.importorskip("openvino", reason='the extra "openvino" is not installed')
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(fused, "_CACHE", 1)  # torch takes one image at a time, a graph any number


def checkpoint(config):
    return Checkpoint(built(config), PixelConvention(), "tiny", fingerprint="tiny")


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@torch.inference_mode()
def test_it_is_the_fused_flow(config, library, tmp_path):
    flow = checkpoint(config).flow.requires_grad_(False)
    ours, theirs = fuse(flow), OpenVinoFlow(flow, "tiny", fast=False)
    for n in (3, 1):
        x = torch.rand(n, config.channels, config.image_size, config.image_size) - 0.5
        z, _, ranges = ours.noted_forward(x)
        calls = [("forward", x), ("noted_forward", x), ("noted_inverse", z)]
        calls += [("guarded_inverse", 4 * z, ranges, times) for times in range(ours.halvings + 1)]
        for name, *arguments in calls:
            for one, other in zip(getattr(theirs, name)(*arguments), getattr(ours, name)(*arguments), strict=True):
                torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(theirs.inverse(z)[0], x, atol=1e-4, rtol=0)
    # Another process finds the graphs, and does not make them again.
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.xml")}
    OpenVinoFlow(flow, "tiny", fast=False).forward(x)
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


def test_without_the_library_it_says_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(OSError, match=r'pip install "transflow-studio\[openvino\]"'):
        Prior.from_checkpoint(checkpoint(CONFIGS["a glow"]), "openvino")


def test_it_tells_its_makers_nothing(library):
    """Its converter would send each conversion to a server: what a person does here stays here."""
    lines = (
        "from transflow_core.flows.openvino import require_openvino",
        "require_openvino()",
        "from openvino.tools.ovc.telemetry_utils import tm",
        "print(tm.__name__)",
    )
    said = subprocess.run([sys.executable, "-c", "; ".join(lines)], capture_output=True, text=True, check=True)
    assert said.stdout.strip().endswith("telemetry_stub")
