"""The commands that are no recipe: `info`, `convert`, `condition-set`, `train`, `bench`."""

from __future__ import annotations

import io
import json
import shlex
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from typer import Argument, Option

from ..recipes import Condition, Method, plain
from ..shipped import DEFAULT_PRIOR, shipped_priors
from .output import Work, working

if TYPE_CHECKING:
    from ..engine import Engine
    from ..training import Progress, Trained

__all__ = ["bench", "condition_set", "convert", "convolution_peak", "flops_of", "in_turn", "info", "timed", "train"]

_PRESETS = "celeba64, celeba128 (grows a 64×64 prior), or tiny32 (seconds). [default: celeba64]"
_ALIGN = "never: images are aligned already; auto: align faces; always: only faces."
_BLEND = "With --from: the share of the trained weights in the result. Below 1, unusual images encode more steadily."
_CHECKERBOARD = "With --from: weight of the checkerboard penalty. 300 works. [default: 0]"

Prior = Annotated[str, Option("--prior", help="A shipped name, or a file or folder.")]
Device = Annotated[str, Option("--device", help='"auto", "cpu", "cuda", …')]
AsJson = Annotated[bool, Option("--json", help="A machine-readable result on standard output.")]
Half = Annotated[bool, Option(help="Store the nets' weights in float16: half the size.")]
ImageSize = Annotated[int | None, Option(help="Pixels a side, where the file does not say.")]
Bits = Annotated[int | None, Option(help="Bits a channel in training, where the file does not say.")]
Settings = Annotated[list[str] | None, Option("--set", help="Another setting of the file: key=value, as JSON.")]


def info(
    what: Annotated[str | None, Argument(help="A prior, or a sheet whose making is to be read.")] = None,
    image_size: ImageSize = None,
    bits: Bits = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Tell what a prior is, or how a sheet was made; without an argument, which priors there are."""
    with working(as_json) as work:
        if what is None:
            _list_priors(work)
            return
        facts = _facts(what, _settings(image_size, bits, settings))
        work.result |= facts
        for key, value in facts.items():
            if key == "levels":
                value = ", ".join(f"{level['name']} × {level['shape'][0]} ({level['dim']})" for level in value)
            work.say(f"{key}: {value}")


def _list_priors(work: Work) -> None:
    from ..checkpoints import KNOWN_PRIORS

    work.result |= {"shipped": shipped_priors(), "known": [known.to_dict() for known in KNOWN_PRIORS]}
    work.say(f"ships: {', '.join(shipped_priors())}")
    for known in KNOWN_PRIORS:
        work.say(f"{known.name}: {known.title}\n  {known.address}\n  {known.licence}\n  needs {known.hardware}")


def _facts(what: str, settings: dict[str, Any]) -> dict[str, Any]:
    """How a sheet was made; which settings a checkpoint needs; or what a prior is."""
    from ..checkpoints import recognise
    from ..images import read_png_metadata
    from ..prior import load_prior

    if what.lower().endswith(".png"):
        facts = dict(read_png_metadata(Path(what)))
        if not facts:
            raise ValueError(f"{what} does not say how it was made")
        return facts
    found = recognise(what) if Path(what).is_file() else None
    if found is not None and found.settings and not settings:
        return {"format": found.format, "container": found.container, "settings": dict(found.settings)}
    return load_prior(what, device="cpu", **settings).info()


def _settings(image_size: int | None, bits: int | None, more: list[str] | None) -> dict[str, Any]:
    """Options of `load_prior` and `convert`."""
    given: dict[str, Any] = {"image_size": image_size, "bits": bits}
    found = {key: value for key, value in given.items() if value is not None}
    for setting in more or []:
        key, equals, value = setting.partition("=")
        if not equals:
            raise ValueError(f"--set takes key=value, not {setting!r}")
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value
    return found


def convert(
    file: Annotated[Path, Argument(help="A checkpoint of another project.", show_default=False)],
    output: Annotated[Path, Option("-o", "--output", help="A .safetensors file, or a folder.")],
    image_size: ImageSize = None,
    bits: Bits = None,
    settings: Settings = None,
    half: Half = False,
    as_json: AsJson = False,
) -> None:
    """Turn another project's Glow into a native prior (formats: docs/priors.md)."""
    from ..checkpoints import convert as read
    from ..checkpoints import save_native

    with working(as_json) as work:
        work.progress(0, 1, "reading")
        checkpoint = read(file, options=_settings(image_size, bits, settings))
        work.progress(0, 1, "writing")
        save_native(checkpoint, output, half=half)
        work.wrote(output)
        work.result |= {"name": checkpoint.name, "fingerprint": checkpoint.fingerprint, **checkpoint.metadata}


def condition_set(
    data: Annotated[list[Path], Argument(help="Folders, zips and tars of images.", show_default=False)],
    output: Annotated[Path, Option("-o", "--output", help="Where the result goes.")] = Path("posterior.safetensors"),
    lam_ratio: Annotated[str, Option(help="λ/m: one number, or one for each level: 0.3,0.5,0.5,0.7,0.7")] = "0.5",
    prior: Prior = DEFAULT_PRIOR,
    device: Device = "auto",
    align: Annotated[str, Option(help="Align faces: auto, never, always.")] = "auto",
    faces: Annotated[str, Option(help="Which faces of a picture count: largest, all.")] = "largest",
    ray: Annotated[bool, Option("--ray", help="By workers of Ray's, on this machine or a cluster.")] = False,
    workers: Annotated[int, Option(min=1, max=10_000, help="With --ray: how many.")] = 2,
    as_json: AsJson = False,
) -> None:
    """Condition on a set of any size, in little memory; give it again after a stop, and it goes on where it was.

    Every image counts in full: which are far outside of most is known only when all were seen.
    """
    from ..streaming import statistics_by_ray, statistics_of_set
    from ..worker import PictureLane

    with working(as_json) as work:
        recipe = Condition.from_texts({"lam_ratio": lam_ratio, "align": align, "faces": faces})
        how: dict[str, Any] = {"whole": recipe.whole, "faces": faces, "progress": work.progress}
        ratio = recipe.lam_ratio
        # A small cache: no image is asked for twice. The lane reads pictures while the flow inverts those before.
        engine = work.engine(prior, device, cached=1, pictures=None if ray else PictureLane())
        if ray:
            found = statistics_by_ray(prior, data, workers=workers, device=device, **how)
        else:
            found = statistics_of_set(engine, data, output.with_name(f"{output.name}.partial"), **how)
        posterior = found.posterior(cast(float, engine.ratio(ratio)))
        posterior.save(output, metadata=engine.prior.provenance)
        work.wrote(output)
        work.say(f"{found.m} images condition it")
        work.result |= {"m": found.m, "lam_ratio": plain(ratio)}


def train(
    data: Annotated[Path, Argument(help="A folder or a zip of images.", show_default=False)],
    output: Annotated[Path, Option("-o", "--output", help="The folder of the run, and of the prior in the end.")],
    preset: Annotated[str | None, Option(help=_PRESETS)] = None,
    grow: Annotated[str | None, Option(help="A prior to grow by one level, to images twice as large.")] = None,
    start: Annotated[str | None, Option("--from", help="Begin with this prior; with --grow, its detail.")] = None,
    minutes: Annotated[float | None, Option(help="Budget in minutes; the schedule follows it.")] = None,
    steps: Annotated[int | None, Option(help="Budget in steps. Such a run repeats to the bit.")] = None,
    batch_size: Annotated[int | None, Option(help="Images a step, over all processes.")] = None,
    learning_rate: Annotated[float | None, Option(help="Adam's, after warm-up.")] = None,
    nets: Annotated[str, Option(help="Coupling nets in float32, bfloat16, or auto: the faster one.")] = "auto",
    align_faces: Annotated[str, Option("--align", help=_ALIGN)] = "never",
    held_out: Annotated[str, Option(help="Not trained on: a share of the files, or names such as 'val*/*'.")] = "0.02",
    bits: Annotated[int | None, Option(min=1, max=8, help="Bits a channel in training.")] = None,
    seed: Annotated[int, Option(help="The same seed gives the same random numbers.")] = 0,
    every_minutes: Annotated[float | None, Option(help="Between measurements, sheets and checkpoints.")] = None,
    name: Annotated[str | None, Option(help="The prior's name. [default: the folder's name]")] = None,
    data_words: Annotated[str, Option(help="For the card: what the images are.")] = "",
    licence: Annotated[str, Option(help="For the card: the terms of use.")] = "",
    blend: Annotated[float, Option(help=_BLEND)] = 1.0,
    checkerboard: Annotated[float | None, Option(help=_CHECKERBOARD)] = None,
    interior: Annotated[float | None, Option(hidden=True, help="The name of --checkerboard before 0.3.")] = None,
    half: Half = False,
    resume: Annotated[bool, Option(help="Continue the run in the folder. Only the budget may change.")] = False,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Train a prior of your own images. Ctrl-C saves; --resume continues. With torchrun, processes share each batch."""
    from .. import training

    with (
        working(as_json, counted=False) as work,
        _stopped_by_signals() as stop,
        training.Processes.joined(device) as group,
    ):
        work.speaks = group.first  # of several processes, one prints
        budget: dict[str, Any] = {"minutes": minutes, "steps": steps, "every_minutes": every_minutes}
        budget |= {"batch_size": batch_size, "learning_rate": learning_rate, "seed": seed}
        begin: dict[str, Any] = {"preset": preset, "grow": grow, "start": start, "resume": resume, "group": group}
        begin |= {"nets": nets, "bits": bits, "blend": blend, "half": half}
        plan = training.plan(output, **begin, **budget, checkerboard=interior if checkerboard is None else checkerboard)
        reading = {"align_faces": align_faces, "held_out": held_out, "progress": work.progress}
        images = group.first_then_all(lambda: training.prepare(data, plan.image_size, output / "images", **reading))
        for why, count in images.left_out.items():
            work.say(f"left out {count} files: {why}")
        command = shlex.join(["python", "-m", "transflow_core", *sys.argv[1:]])
        trained = training.train(
            images,
            output,
            plan,
            name=name or output.resolve().name,
            words={"data": data_words, "licence": licence, "command": command},
            group=group,
            progress=lambda now: _show(work, now),
            cancel=stop,
        )
        if group.first:
            _report(work, trained)


def _show(work: Work, now: Progress) -> None:
    left = "" if now.seconds_left is None else f", {_time(now.seconds_left)} left"
    known = "" if now.held_out_bits is None else f" (held out {now.held_out_bits:.4f})"
    bits = "" if now.bits is None else f", {now.bits:.4f} bits{known}, {now.images_per_s:.0f} images/s"
    words = f"{now.doing}: step {now.step:,}{bits}{left}"
    work.progress(round(1000 * now.fraction), 1000, words)
    if now.doing != "training" and not work.live:
        work.say(words)


def _report(work: Work, trained: Trained) -> None:
    last = trained.measured[-1]
    work.result |= {name: getattr(trained, name) for name in ("finished", "step", "images", "skipped", "measured")}
    work.result["minutes"] = trained.seconds / 60
    work.say(
        f"{trained.step:,} steps, {trained.images:,} images: "
        f"{last['held_out_bits']:.4f} bits per dimension on {last['held_out_images']} held-out images"
    )
    if trained.skipped:
        work.say(f"{trained.skipped} steps were skipped: their gradient was not finite")
    work.wrote(trained.folder)
    if not trained.finished:
        work.say("stopped and saved; the same command with --resume continues")


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C or a scheduler's SIGTERM sets: work ends where it can be saved. A second Ctrl-C kills."""
    stop = threading.Event()
    earlier: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, _: Any) -> None:
        stop.set()
        signal.signal(number, earlier[number])
        print("stopping after this step; saving …", file=sys.stderr)

    try:
        for number in earlier:
            signal.signal(number, handle)
        yield stop
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _time(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def bench(
    prior: Prior = DEFAULT_PRIOR,
    device: Device = "auto",
    batches: Annotated[str, Option(help="How many images at once; a list.")] = "1,16,64",
    repeats: Annotated[int, Option(min=1, max=1000, help="Timed rounds.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Time a prior on this machine: both directions, each stage from a file to a sheet, its error and its memory."""
    import torch

    from ..flows import fuse
    from ..posterior import standard_normal
    from ..preview import Preview

    with working(as_json) as work:
        facts, start = work.result, time.perf_counter()
        engine = work.engine(prior, device)
        flow = engine.prior
        z = 0.7 * standard_normal(1, flow.dim)
        x = flow.decode(z)
        facts |= {"load_s": time.perf_counter() - start, "threads": torch.get_num_threads()}
        work.say(f"from nothing to the first image: {facts['load_s']:.2f} s, {facts['threads']} threads")
        on_cpu, preview, fused = flow.device.type == "cpu", Preview(flow), fuse(flow.flow)
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
        medians = {name: statistics.median(seconds) for name, seconds in found.items()}
        peak = max(found["peak"]) if on_cpu else None
        facts |= {"gflop_per_image": flops, "peak_gflops": peak, "decode": [], "preview": [], "encode": []}
        for name, n in ((name, n) for name in ("decode", "preview", "encode") for n in sizes):
            seconds = medians[f"{name} {n}"]
            row = {"n": n, "median_s": seconds, "images_per_s": n / seconds}
            share = ""
            if peak and name != "preview":
                row["share_of_peak"] = flops * n / seconds / peak
                share = f", {row['share_of_peak']:.0%} of the measured peak"
            facts[name].append(row)
            work.say(f"{name} {n} images: {1000 * seconds:.0f} ms ({n / seconds:.1f} images/s{share})")
        facts["stages_ms"] = {name: 1000 * medians[name] for name in stages}
        for name, ms in facts["stages_ms"].items():
            work.say(f"{name}: {ms:.1f} ms")
        error = float((flow.decode(flow.encode(x)) - x).abs().max())
        nets = str(preview.fast.nets or torch.float32).removeprefix("torch.")
        z = 0.7 * standard_normal(4, flow.dim)
        off = float((preview.fast.decode(z, coarse=on_cpu) - flow.decode(z, coarse=on_cpu)).abs().max())
        memory = _peak_memory()
        facts |= {"reconstruction_error": error, "preview_nets": nets, "preview_error": off, "peak_memory_mb": memory}
        work.say(f"samples come back from their latents within {255 * error:.2g}/255")
        work.say(f"previews have nets in {nets}, and are off by {255 * off:.1f}/255 at most")
        if memory:
            work.say(f"memory at most: {memory:.0f} MB")


def _stages(engine: Engine) -> dict[str, Callable[[], float]]:
    """What a sheet of sixteen takes after one picture, a stage each."""
    from ..faces import align
    from ..images import contact_sheet, load_image, to_pil
    from ..posterior import Posterior, standard_normal

    flow, method = engine.prior, Method(method="local")
    frame = to_pil(flow.decode(0.7 * standard_normal(1, flow.dim)))[0]
    file = io.BytesIO()
    frame.resize((1024, 1024)).save(file, "JPEG")
    image = load_image(file.getvalue(), name="a.jpg")
    z = standard_normal(24, flow.dim)
    posterior = Posterior.condition(z, lam_ratio=0.5)
    sampler = engine.draw(posterior, method)
    x = flow.decode(sampler.sample(16))
    return {
        "read a picture of 1024×1024": timed(lambda: load_image(file.getvalue(), name="a.jpg")),
        "look for its faces": timed(lambda: align(image, size=flow.image_size)),
        "invert it": timed(lambda: flow.encode([frame])),
        "condition on 24 latents": timed(lambda: engine.draw(Posterior.condition(z, lam_ratio=0.5), method)),
        "move λ": timed(lambda: posterior.with_lam(0.3)),
        "draw 16 latents": timed(lambda: sampler.sample(16)),
        "decode 16": timed(lambda: engine.decode(z[:16])),
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
    """What each job gives, `rounds` times in turn after a warm-up, so that a busy machine slows all alike."""
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
    """Additions and multiplications in convolutions and matrix products of a call, on this thread alone."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


def convolution_peak() -> float:
    """GFLOP/s of a fast float32 convolution, the best of a few: 3×3, 256 channels, its maps in the cache."""
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
