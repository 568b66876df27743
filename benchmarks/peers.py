"""Encoding and decoding: ours beside normflows', one architecture, in turn in one process.

    python -m benchmarks.peers --threads 1
    python -m benchmarks.peers --threads 2
    python -m benchmarks.peers --profile        # where the time of ours goes, layer by layer

Both are a Glow of 64×64, 4 levels of 16 steps, width 256, affine couplings with sigmoid scales and unconditional
Gaussians, of random weights that the first batch has standardised; normflows from PyPI (requirements-dev.txt). Ours is
fused, a part of the batch on each core, as a `Prior` has it. Shares are of the fastest float32
convolution of the same round. Needs an idle machine.
"""

import argparse
import math
import statistics
from collections import defaultdict
from typing import Any

import torch
from torch import nn

from transflow_core.flows.base import place
from transflow_core.flows.fused import GuardedFlow
from transflow_core.flows.glow import GlowConfig, LevelConfig
from transflow_core.flows.layers import CouplingConfig, initialise
from transflow_core.flows.wavelet import build_flow
from transflow_core.runtime.devices import on_cores

from .timing import convolution_peak, flops_of, in_turn, timed

CONFIG = GlowConfig(
    64, tuple(LevelConfig(16, 256) for _ in range(4)), split_prior=False, coupling=CouplingConfig(scale="sigmoid")
)


def normflows_glow(config: GlowConfig, x: torch.Tensor) -> nn.Module:
    """normflows' multi-scale flow of the same shape; its actnorms start from x."""
    import normflows as nf

    bases, merges, flows = [], [], []
    count = len(config.levels)
    for i in reversed(range(count)):  # theirs run coarse to fine
        channels, height, width = config.level_shapes[i]
        level = config.levels[i]
        blocks = [nf.flows.GlowBlock(channels, level.width) for _ in range(level.steps)]
        flows.append([*blocks, nf.flows.Squeeze()])
        shape = (channels, height, width) if i == count - 1 else (channels // 2, height, width)
        bases.append(nf.distributions.GlowBase(shape))
        if i < count - 1:
            merges.append(nf.flows.Merge())
    model = nf.MultiscaleFlow(bases, flows, merges, class_cond=False)
    with torch.no_grad():
        model.log_prob(x, None)
    return model


def profiled(form: Any, z: torch.Tensor, repeats: int = 3) -> list[tuple[str, float, float]]:
    """Where the time of decoding goes: (what, its share, GFLOP/s, 0 for what only moves numbers), largest share first.

    Convolutions and products of matrices are told apart by their weights and maps, all else by what it does.
    """
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True) as seen:
        for _ in range(repeats):
            form.inverse(z)
    seconds, flops = defaultdict(float), defaultdict(float)
    for event in seen.key_averages(group_by_input_shape=True):
        shapes, name, count = event.input_shapes, event.key.removeprefix("aten::"), event.count
        work = 0.0
        if name == "mkldnn_convolution":
            (n, _, height, width), (out, inside, side, _) = shapes[:2]
            work = 2.0 * n * height * width * out * inside * side**2
            name = f"{side}×{side} convolution, {inside} to {out} channels, {height}×{width}"
        elif name == "addmm":
            (rows, inside), (_, out) = shapes[1:3]
            work, name = 2.0 * rows * inside * out, f"product of matrices, {inside} to {out} channels"
        seconds[name] += event.self_cpu_time_total / 1e6
        flops[name] += work * count
    total = sum(seconds.values())
    rows = [(name, spent / total, flops[name] / spent / 1e9 if spent else 0.0) for name, spent in seconds.items()]
    return sorted(rows, key=lambda row: -row[1])


def print_profile(form: Any, n: int) -> None:
    """The table of `profiled` for n images, with shares of the peak; what is below a hundredth is one row."""
    z = form.forward(torch.rand(n, 3, 64, 64) - 0.5)[0]
    peak = max(convolution_peak() for _ in range(3))
    print(f"decoding {n} images; {torch.get_num_threads()} threads, peak {peak:.0f} GFLOP/s\n")
    print("| what | share of time | share of peak |\n|---|---|---|")
    rows = profiled(form, z)
    for name, share, rate in rows:
        if share >= 0.01:
            print(f"| {name} | {share:.0%} | {f'{rate / peak:.0%}' if rate else ''} |")
    print(f"| all else | {math.fsum(share for _, share, _ in rows if share < 0.01):.0%} | |")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--profile", action="store_true", help="of ours instead, for 16 images")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    first = torch.rand(16, 3, 64, 64) - 0.5
    theirs = normflows_glow(CONFIG, first).eval()
    flow = build_flow(CONFIG, torch.Generator().manual_seed(0))
    initialise(flow, first)
    place(flow, torch.device("cpu"))
    form = GuardedFlow(flow)
    if given.profile:
        with torch.inference_mode():
            print_profile(form, 16)
        return
    print(f"{given.threads} threads, torch {torch.__version__}; images a second, medians of {given.rounds} rounds\n")
    print("| images | | normflows | ours | times normflows | share of peak | GFLOP/s |")
    print("|---|---|---|---|---|---|---|")
    with torch.inference_mode():
        flops = flops_of(lambda: form.forward(first[:1])) / 1e9
        for n in given.batches:
            x = torch.rand(n, 3, 64, 64) - 0.5
            z, latents = form.forward(x)[0], theirs.inverse_and_log_det(x)[0]
            jobs = {
                "peak": convolution_peak,
                "theirs encode": timed(lambda x=x: theirs.inverse_and_log_det(x)),
                "ours encode": timed(lambda x=x: on_cores(form.forward, x)),
                "theirs decode": timed(lambda latents=latents: theirs.forward_and_log_det(list(latents))),
                "ours decode": timed(lambda z=z: on_cores(form.inverse, z)),
            }
            found = in_turn(jobs, given.rounds)
            for way in ("encode", "decode"):
                one, other = found[f"theirs {way}"], found[f"ours {way}"]
                ratio = statistics.median(a / b for a, b in zip(one, other, strict=True))
                share = statistics.median(flops * n / s / p for s, p in zip(other, found["peak"], strict=True))
                rates = " | ".join(f"{n / statistics.median(seconds):.1f}" for seconds in (one, other))
                speed = flops * n / statistics.median(other)
                print(f"| {n} | {way} | {rates} | {ratio:.2f} | {share:.0%} | {speed:.0f} |", flush=True)
        back = {"normflows": theirs.forward_and_log_det(theirs.inverse_and_log_det(first)[0])[0]}
        back["ours"] = form.inverse(form.forward(first)[0])[0]
    errors = ", ".join(f"{name} {float((found - first).abs().max()):.1e}" for name, found in back.items())
    print(f"\nlargest error of a reconstruction: {errors}; {flops:.2f} GFLOP an image")


if __name__ == "__main__":
    main()
