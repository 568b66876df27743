"""Encoding and decoding: ours beside normflows', one architecture, in turn in one process.

    python -m benchmarks.peers --threads 1
    python -m benchmarks.peers --threads 2

Both are a Glow of 64×64, 4 levels of 16 steps, width 256, affine couplings with sigmoid scales and unconditional
Gaussians, of random weights that the first batch has standardised; normflows from PyPI (requirements-dev.txt). Ours is
in its inference form. Shares are of the fastest float32 convolution of the same round. Needs an idle machine.
"""

import argparse
import statistics

import torch
from torch import nn

from transflow_core.cli.bench import convolution_peak, flops_of, in_turn, timed
from transflow_core.flows import CouplingConfig, Glow, GlowConfig, LevelConfig, inference_form, place

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


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    first = torch.rand(16, 3, 64, 64) - 0.5
    theirs = normflows_glow(CONFIG, first).eval()
    flow = Glow(CONFIG, torch.Generator().manual_seed(0))
    flow.initialise(first)
    flow = place(flow, torch.device("cpu"))
    form = inference_form(flow)
    print(f"{given.threads} threads, torch {torch.__version__}; images a second, medians of {given.rounds} rounds\n")
    print("| images | | normflows | ours | times normflows | share of peak | GFLOP/s |")
    print("|---|---|---|---|---|---|---|")
    with torch.inference_mode():
        flops = flops_of(lambda: form(first[:1])) / 1e9
        for n in given.batches:
            x = torch.rand(n, 3, 64, 64) - 0.5
            z, latents = form(x)[0], theirs.inverse_and_log_det(x)[0]
            jobs = {
                "peak": convolution_peak,
                "theirs encode": timed(lambda x=x: theirs.inverse_and_log_det(x)),
                "ours encode": timed(lambda x=x: form(x)),
                "theirs decode": timed(lambda latents=latents: theirs.forward_and_log_det(list(latents))),
                "ours decode": timed(lambda z=z: form.inverse(z)),
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
        back["ours"] = form.inverse(form(first)[0])[0]
    errors = ", ".join(f"{name} {float((found - first).abs().max()):.1e}" for name, found in back.items())
    print(f"\nlargest error of a reconstruction: {errors}; {flops:.2f} GFLOP an image")


if __name__ == "__main__":
    main()
