"""Images a second of a training step: ours and normflows', the same architecture, side by side in one run.

    python -m benchmarks.training

Both are a Glow of 64×64, 5 levels, steps 6 12 16 16 8, widths 96 192 256 256 256, with LU-parametrised 1×1
convolutions and batches of 32. normflows' has sigmoid scales and unconditional Gaussians, and no position maps:
"the same architecture" is ours without them; then with them, the nets in float32 and in bfloat16. A step is the loss,
its gradient, clipping and Adam. The kinds take turns, so that whatever slows the machine slows all. Needs an idle
machine.
"""

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from transflow_core.flows.base import channels_last, compute_nets_in
from transflow_core.flows.glow import GlowConfig, LevelConfig
from transflow_core.flows.layers import CouplingConfig, initialise
from transflow_core.flows.pixels import PixelConvention
from transflow_core.flows.wavelet import build_flow
from transflow_core.training.measure import BitsPerDim

from .peers import normflows_glow

BATCH = 32
ROUNDS = 8
LEVELS = tuple(LevelConfig(*level) for level in ((6, 96), (12, 192), (16, 256), (16, 256), (8, 256)))

Step = Callable[[], None]


def _step(parameters: list[nn.Parameter], loss: Callable[[], torch.Tensor]) -> Step:
    adam = torch.optim.Adam(parameters, lr=1e-4, betas=(0.9, 0.99), fused=True)

    def step() -> None:
        adam.zero_grad()
        loss().backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        adam.step()

    return step


def ours(config: GlowConfig, x: torch.Tensor, dtype: torch.dtype | None) -> tuple[Step, int]:
    """A step of ours, and the number of parameters."""
    flow = build_flow(config, torch.Generator().manual_seed(0))
    channels_last(flow)
    compute_nets_in(flow, dtype)
    density = BitsPerDim(flow, PixelConvention(bits=5))
    initialise(flow, x)
    parameters = list(flow.parameters())
    return _step(parameters, lambda: density(x).mean()), sum(p.numel() for p in parameters)


def theirs(config: GlowConfig, x: torch.Tensor) -> tuple[Step, int]:
    """A step of normflows' multi-scale flow of the same shape, and the number of parameters."""
    model = normflows_glow(config, x)
    parameters = list(model.parameters())
    return _step(parameters, lambda: model.forward_kld(x) / config.image_size**2), sum(p.numel() for p in parameters)


def main() -> None:
    """Print the table."""
    trained = GlowConfig(64, LEVELS, position=True)
    same = GlowConfig(64, LEVELS, coupling=CouplingConfig(scale="sigmoid"))
    x = torch.from_numpy(np.random.default_rng(0).normal(0, 0.2, (BATCH, 3, 64, 64)).astype(np.float32)).clamp(
        -0.5, 0.5
    )
    kinds = {
        "normflows": theirs(same, x),
        "ours, the same architecture": ours(same, x, None),
        "ours with position maps, nets in float32": ours(trained, x, None),
        "ours with position maps, nets in bfloat16": ours(trained, x, torch.bfloat16),
    }
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    for turn in range(ROUNDS + 1):
        for name, (step, _) in kinds.items():
            start = time.perf_counter()
            step()
            if turn:  # the first warms up
                seconds[name].append(time.perf_counter() - start)
    base = seconds["normflows"]
    print("| training step, 32 images | parameters | images/s, median | times normflows, median (range) |")
    print("|---|---|---|---|")
    for name, (_, parameters) in kinds.items():
        ratios = [theirs / ours for theirs, ours in zip(base, seconds[name], strict=True)]
        print(
            f"| {name} | {parameters / 1e6:.1f} M | {BATCH / statistics.median(seconds[name]):.1f} | "
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}) |"
        )
    print(f"\n{torch.get_num_threads()} threads, torch {torch.__version__}, {ROUNDS} rounds")


if __name__ == "__main__":
    main()
