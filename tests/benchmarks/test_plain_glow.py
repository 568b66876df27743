"""`python -m benchmarks.plain_glow`: flows side by side, for the same processor time."""

import numpy as np
import torch

from benchmarks import plain_glow
from transflow_core.flows.glow import Glow, GlowConfig, LevelConfig

from ..helpers import squares


def test_a_plain_glow_has_as_many_parameters_as_ours():
    with torch.device("meta"):
        flows = [Glow(config) for config in plain_glow.KINDS.values()]
    ours, plain, _ = (sum(parameter.numel() for parameter in flow.parameters()) for flow in flows)
    assert abs(plain / ours - 1) < 0.05
    assert not plain_glow.plain(8).position and plain_glow.plain(8).coupling.scale == "sigmoid"


def test_training_lowers_the_bits_of_the_table(monkeypatch):
    for name, value in {"WARMUP": 1e-3, "SIZE": 4, "RATE": 0.01}.items():
        monkeypatch.setattr(plain_glow, name, value)
    images = np.stack([np.asarray(picture) for picture in squares(12, size=16)])
    run = plain_glow.Run(GlowConfig(16, (LevelConfig(1, 8),) * 2), images)
    run.measure(images)
    for _ in range(20):
        run.step()
    run.measure(images)
    head, _, row = plain_glow.table({"small": run, "as far": run}).splitlines()[:3]
    assert head == "| bits, held out, after | parameters | steps | 2 minutes | 4 minutes |"
    assert row.startswith("| small | 0.0 M | 20 | ")
    first, last = (float(bits.split()[0]) for bits in run.bits)
    assert last < first - 0.03
