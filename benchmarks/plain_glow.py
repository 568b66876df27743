"""Our 64×64 flow beside a plain Glow: from nothing, on the same images, for the same processor time.

    OMP_NUM_THREADS=1 python -m benchmarks.plain_glow --data celeba.zip --minutes 20 --write

A plain Glow has as many steps of one width at each level, scales of sigmoid(r + 2), and no position maps. One has about
as many parameters as ours, the other takes about as long for a step. All have the settings of the preset `celeba64`,
but for the learning rate: it rises for a minute, and then stays, so that nothing depends on the budget. The kinds take
turns on one thread: the one with the least processor time goes on. Bits are of the averaged weights, of the first 256
held-out images. Nothing was tuned. `--write` puts the table into docs/priors.md.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.optim.swa_utils import AveragedModel

from transflow_core.flows import PixelConvention
from transflow_core.flows.base import channels_last
from transflow_core.flows.glow import GlowConfig, LevelConfig
from transflow_core.flows.layers import CouplingConfig, initialise
from transflow_core.flows.wavelet import build_flow
from transflow_core.training.data import batch, first_images, prepare
from transflow_core.training.measure import BitsPerDim
from transflow_core.training.plan import PRESETS

from .sets import ROOT
from .tables import into

SHAPE, SETTINGS = PRESETS["celeba64"]
SIZE, RATE, PIXELS = SETTINGS["batch_size"], SETTINGS["learning_rate"], PixelConvention(bits=SETTINGS["bits"])
WARMUP, EVERY, MEASURED = 60, 120, 256  # seconds of processor time, and images


def plain(width: int) -> GlowConfig:
    """A Glow of 12 steps at each of 5 levels, as in Kingma and Dhariwal's figure 2."""
    return GlowConfig(64, (LevelConfig(12, width),) * 5, coupling=CouplingConfig(scale="sigmoid"))


KINDS = {
    "ours": SHAPE,
    "plain Glow, as many parameters": plain(256),
    "plain Glow, as long a step": plain(128),
}


class Run:
    """One flow in training, the average of its weights, and the processor time that it has used."""

    def __init__(self, config: GlowConfig, images: NDArray[np.uint8]) -> None:
        self.images, self.steps, self.seconds = images, 0, 0.0
        flow = build_flow(config, torch.Generator().manual_seed(0))
        channels_last(flow)
        initialise(flow, first_images(images, PIXELS, 0))
        self.density = BitsPerDim(flow, PIXELS)
        self.parameters = list(flow.parameters())
        self.adam = torch.optim.Adam(self.parameters, betas=(0.9, 0.99), fused=True)
        self.averaged = AveragedModel(self.density, multi_avg_fn=self._average)
        self.bits: list[str] = []

    def _average(self, averaged: list[nn.Parameter], current: list[nn.Parameter], seen: torch.Tensor) -> None:
        torch._foreach_lerp_(averaged, current, 1 - min(SETTINGS["ema"], (1 + int(seen)) / (10 + int(seen))))

    def step(self) -> None:
        """One step of maximum likelihood, as `transflow train` takes it."""
        begun = time.process_time()
        x = batch(self.images, PIXELS, self.steps, size=SIZE, seed=0, mirror=True)
        self.adam.param_groups[0]["lr"] = RATE * min(1, (self.seconds + 1) / WARMUP)
        self.adam.zero_grad()
        self.density(x).mean().backward()
        if nn.utils.clip_grad_norm_(self.parameters, 1.0).isfinite():
            self.adam.step()
            self.averaged.update_parameters(self.density)
        self.steps += 1
        self.seconds += time.process_time() - begun

    @torch.no_grad()
    def measure(self, held_out: NDArray[np.uint8]) -> None:
        """Bits per dimension of held-out images, with a standard error over them."""
        parts = range(0, len(held_out), SIZE)
        found = [self.averaged(batch(held_out, PIXELS, i, size=SIZE, seed=0, mirror=False)) for i in range(len(parts))]
        bits = torch.cat(found)[: len(held_out)]
        self.bits.append(f"{float(bits.mean()):.3f} ± {float(bits.std()) / len(bits) ** 0.5:.3f}")


def table(runs: dict[str, Run]) -> str:
    """A row for each flow, with a column for each moment that all have reached."""
    reached = min(len(run.bits) for run in runs.values())
    moments = [f"{EVERY * (i + 1) // 60} minutes" for i in range(reached)]
    lines = [f"| bits, held out, after | parameters | steps | {' | '.join(moments)} |", "|---" * (3 + reached) + "|"]
    for name, run in runs.items():
        count = sum(parameter.numel() for parameter in run.parameters) / 1e6
        lines.append(f"| {name} | {count:.1f} M | {run.steps} | {' | '.join(run.bits[:reached])} |")
    return "\n".join(lines)


def main() -> None:
    """Train, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="a folder or zip of aligned faces")
    parser.add_argument("--held-out", default="val*/*", help="the pattern of the names of held-out images")
    parser.add_argument("--minutes", type=float, default=20, help="of processor time for each flow")
    parser.add_argument("--write", action="store_true", help="into docs/priors.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    images = prepare(options.data, 64, ROOT / "benchmarks" / "out" / "plain_glow", held_out=options.held_out)
    runs = {name: Run(config, images.train) for name, config in KINDS.items()}
    while (last := min(runs.values(), key=lambda run: run.seconds)).seconds < 60 * options.minutes:
        last.step()
        if last.seconds >= EVERY * (len(last.bits) + 1):
            last.measure(images.held_out[:MEASURED])
            print(f"\n{table(runs)}", flush=True)
    if options.write:
        into(ROOT / "docs" / "priors.md", "plain", table(runs))


if __name__ == "__main__":
    main()
