"""The verb that times a prior on this machine: `bench`."""

from __future__ import annotations

import io
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..shipped import DEFAULT_PRIOR
from . import options
from .work import Work, working

if TYPE_CHECKING:
    from ..engine import Engine

__all__ = ["bench", "convolution_peak", "flops_of", "in_turn", "timed"]

_SHEET = 16


def bench(
    prior: options.Prior = DEFAULT_PRIOR,
    device: options.Device = "auto",
    batches: Annotated[str, typer.Option(help="How many images at once; a list.")] = "1,16,64",
    repeats: Annotated[int, typer.Option(min=1, max=1000, help="Timed rounds.")] = 5,
    as_json: options.AsJson = False,
) -> None:
    """Time a prior on this machine: both directions, each stage from a file to a sheet, its error and its memory."""
    import torch

    from ..flows import fuse
    from ..posterior import standard_normal
    from ..preview import Preview

    with working(as_json) as work:
        start = time.perf_counter()
        engine = work.engine(prior, device)
        flow = engine.prior
        z = 0.7 * standard_normal(1, flow.dim)
        x = flow.decode(z)
        work.result |= {"load_s": time.perf_counter() - start, "threads": torch.get_num_threads()}
        work.say(f"from nothing to the first image: {work.result['load_s']:.2f} s, {work.result['threads']} threads")
        on_cpu, preview = flow.device.type == "cpu", Preview(flow)
        fused = fuse(flow.flow)
        flops = flops_of(lambda: fused.inverse(z.to(flow.device))) / 1e9
        sizes = [max(1, int(value)) for value in batches.split(",")]
        jobs: dict[str, Callable[[], float]] = {"peak": convolution_peak} if on_cpu else {}
        for n in sizes:
            z = 0.7 * standard_normal(n, flow.dim)
            x = flow.decode(z, batch_size=n)
            jobs |= {
                f"decode {n}": timed(lambda z=z, n=n: flow.decode(z, batch_size=n).cpu()),  # cpu: waits for a device
                f"preview {n}": timed(lambda z=z, n=n: preview.decode(z, batch_size=n)[0].cpu()),
                f"encode {n}": timed(lambda x=x, n=n: flow.encode(x, batch_size=n).cpu()),
            }
        stages = _stages(engine)
        found = in_turn(jobs | stages, repeats, work)
        peak = max(found["peak"]) if on_cpu else None
        work.result |= {"gflop_per_image": flops, "peak_gflops": peak}
        for name in ("decode", "preview", "encode"):
            work.result[name] = [
                _row(found[f"{name} {n}"], n, flops, None if name == "preview" else peak) for n in sizes
            ]
            for row in work.result[name]:
                share = f", {row['share_of_peak']:.0%} of the measured peak" if "share_of_peak" in row else ""
                seconds, rate = row["median_s"], row["images_per_s"]
                work.say(f"{name} {row['n']} images: {1000 * seconds:.0f} ms ({rate:.1f} images/s{share})")
        work.result["stages_ms"] = {name: 1000 * statistics.median(found[name]) for name in stages}
        for name, ms in work.result["stages_ms"].items():
            work.say(f"{name}: {ms:.1f} ms")
        error = float((flow.decode(flow.encode(x)) - x).abs().max())
        work.result |= {"reconstruction_error": error, "peak_memory_mb": _peak_memory()}
        work.say(f"samples come back from their latents within {255 * error:.2g}/255")
        work.result["preview_nets"] = str(preview.fast.nets or torch.float32).removeprefix("torch.")
        z = 0.7 * standard_normal(4, flow.dim)
        error = (preview.fast.decode(z, coarse=on_cpu) - flow.decode(z, coarse=on_cpu)).abs().max()
        work.result["preview_error"] = float(error)
        work.say(f"previews have nets in {work.result['preview_nets']}, and are off by {255 * error:.1f}/255 at most")
        if work.result["peak_memory_mb"]:
            work.say(f"memory at most: {work.result['peak_memory_mb']:.0f} MB")


def _row(seconds: list[float], n: int, flops: float, peak: float | None) -> dict[str, float]:
    middle = statistics.median(seconds)
    row = {"n": n, "median_s": middle, "images_per_s": n / middle}
    return row | ({"share_of_peak": flops * n / middle / peak} if peak else {})


def _stages(engine: Engine) -> dict[str, Callable[[], float]]:
    """What a sheet of sixteen takes after one picture, a stage each."""
    from ..faces import align
    from ..images import contact_sheet, load_image, to_pil
    from ..posterior import Posterior, standard_normal
    from ..recipes import Method

    flow = engine.prior
    size = flow.image_size
    frame = to_pil(flow.decode(0.7 * standard_normal(1, flow.dim)))[0]
    file = io.BytesIO()
    frame.resize((1024, 1024)).save(file, "JPEG")
    image = load_image(file.getvalue(), name="a.jpg")
    z = standard_normal(24, flow.dim)
    posterior = Posterior.condition(z, lam_ratio=0.5)
    sampler = engine.draw(posterior, Method(method="local"))
    x = flow.decode(sampler.sample(_SHEET))
    return {
        "read a picture of 1024×1024": timed(lambda: load_image(file.getvalue(), name="a.jpg")),
        "look for its faces": timed(lambda: align(image, size=size)),
        "invert it": timed(lambda: flow.encode([frame])),
        "condition on 24 latents": timed(
            lambda: engine.draw(Posterior.condition(z, lam_ratio=0.5), Method(method="local"))
        ),
        "move λ": timed(lambda: posterior.with_lam(0.3)),
        "draw 16 latents": timed(lambda: sampler.sample(_SHEET)),
        "decode 16": timed(lambda: engine.decode(z[:_SHEET])),
        "make a sheet of 16": timed(lambda: contact_sheet(to_pil(x))),
    }


def timed(function: Callable[[], Any]) -> Callable[[], float]:
    """The seconds that a call of `function` takes."""

    def call() -> float:
        start = time.perf_counter()
        function()
        return time.perf_counter() - start

    return call


def in_turn(jobs: Mapping[str, Callable[[], float]], rounds: int, work: Work | None = None) -> dict[str, list[float]]:
    """What each job gives, `rounds` times in turn, so that whatever slows the machine slows all; after a warm-up."""
    found: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(rounds + 1):
        for index, (name, job) in enumerate(jobs.items()):
            if work is not None:
                work.progress(turn * len(jobs) + index, (rounds + 1) * len(jobs), f"timing {name}")
            value = job()
            if turn:
                found[name].append(value)
    return found


def flops_of(function: Callable[[], Any]) -> int:
    """Additions and multiplications of a call's convolutions and products of matrices, on the thread that calls.

    Torch counts a thread's own operations only: a `Prior` may compute on others (`cores.on_cores`), a flow does not.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


def convolution_peak() -> float:
    """GFLOP/s of a float32 convolution such as a processor likes: 3×3, 256 channels, its maps in the cache.

    The best of a few, since it is what a share is taken of.
    """
    import torch

    best = 0.0
    with torch.inference_mode():
        for n, side in ((4, 16), (1, 32), (16, 16)):
            x = torch.ones(n, 256, side, side).contiguous(memory_format=torch.channels_last)
            weight = torch.ones(256, 256, 3, 3).contiguous(memory_format=torch.channels_last)
            job = timed(lambda x=x, weight=weight: torch.nn.functional.conv2d(x, weight, padding=1))
            best = max(best, *(2 * 9 * 256**2 * n * side**2 / job() / 1e9 for _ in range(3)))
    return best


def _peak_memory() -> float | None:
    """Of this process so far, in MB; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)
