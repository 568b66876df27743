"""The commands that are no recipe: `info`, `convert`, `condition-set`, `bench`."""

from __future__ import annotations

import io
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from typer import Argument, Option

from ..priors.catalogue import known_priors, shipped_priors
from ..recipes import DEFAULT_PRIOR, Condition, Method, plain
from .output import Work, working

if TYPE_CHECKING:
    from ..engine import Engine

__all__ = ["bench", "condition_set", "convert", "info"]


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
    work.result |= {"shipped": shipped_priors(), "known": known_priors()}
    work.say(f"ships: {', '.join(shipped_priors())}")
    for known in known_priors():
        work.say("{name}: {title}\n  {address}\n  {licence}\n  needs {hardware}".format_map(known))


def _facts(what: str, settings: dict[str, Any]) -> dict[str, Any]:
    """How a sheet was made, or what a prior is."""
    from ..images import read_png_metadata
    from ..priors.catalogue import load_prior

    if what.lower().endswith(".png"):
        facts = dict(read_png_metadata(Path(what)))
        if not facts:
            raise ValueError(f"{what} does not say how it was made")
        return facts
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
    as_json: AsJson = False,
) -> None:
    """Condition on a set of any size, in little memory; give it again after a stop, and it goes on where it was.

    Every image counts in full: which are far outside of most is known only when all were seen.
    """
    from ..operations.sets import statistics_of_set
    from ..pictures import PictureReader

    with working(as_json) as work:
        recipe = Condition.from_texts({"lam_ratio": lam_ratio, "align": align, "faces": faces})
        how: dict[str, Any] = {"align": recipe.align, "faces": faces, "progress": work.progress}
        ratio = recipe.lam_ratio
        # A small cache: no image is asked for twice. Pictures are read while the flow inverts those before.
        engine = work.engine(prior, device, cached=1, pictures=PictureReader())
        found = statistics_of_set(engine, data, output.with_name(f"{output.name}.partial"), **how)
        posterior = found.posterior(cast(float, engine.ratio(ratio)))
        posterior.save(output, metadata=engine.prior.provenance)
        work.wrote(output)
        work.say(f"{found.m} images condition it")
        work.result |= {"m": found.m, "lam_ratio": plain(ratio)}


def bench(
    prior: Prior = DEFAULT_PRIOR,
    device: Device = "auto",
    batches: Annotated[str, Option(help="How many images at once; a list.")] = "1,16,64",
    repeats: Annotated[int, Option(min=1, max=1000, help="Timed rounds.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Time a prior on this machine: both directions, each stage from a file to a sheet, its error and its memory."""
    import torch

    from ..posterior import standard_normal

    with working(as_json) as work:
        facts, start = work.result, time.perf_counter()
        engine = work.engine(prior, device)
        flow = engine.prior
        x = flow.decode(0.7 * standard_normal(1, flow.dim))
        facts |= {"load_s": time.perf_counter() - start, "threads": torch.get_num_threads()}
        work.say(f"from nothing to the first image: {facts['load_s']:.2f} s, {facts['threads']} threads")
        on_cpu, fast = flow.device.type == "cpu", engine.fast
        sizes = [max(1, int(value)) for value in batches.split(",")]
        jobs: dict[str, Callable[[], Any]] = {}
        for n in sizes:
            z = 0.7 * standard_normal(n, flow.dim)
            x = flow.decode(z, batch_size=n)
            jobs |= {
                f"decode {n}": lambda z=z, n=n: flow.decode(z, batch_size=n).cpu(),  # cpu: waits for a device
                f"preview {n}": lambda z=z, n=n: fast.decode(z, batch_size=n, coarse=on_cpu).cpu(),
                f"encode {n}": lambda x=x, n=n: flow.encode(x, batch_size=n).cpu(),
            }
        stages = _stages(engine)
        medians = _medians(jobs | stages, repeats, work)
        for name in ("decode", "preview", "encode"):
            seconds = [(n, medians[f"{name} {n}"]) for n in sizes]
            facts[name] = [{"n": n, "median_s": s, "images_per_s": n / s} for n, s in seconds]
            for n, s in seconds:
                work.say(f"{name} {n} images: {1000 * s:.0f} ms ({n / s:.1f} images/s)")
        facts["stages_ms"] = {name: 1000 * medians[name] for name in stages}
        for name, ms in facts["stages_ms"].items():
            work.say(f"{name}: {ms:.1f} ms")
        error = float((flow.decode(flow.encode(x)) - x).abs().max())
        nets = str(fast.nets or torch.float32).removeprefix("torch.")
        z = 0.7 * standard_normal(4, flow.dim)
        off = float((fast.decode(z, coarse=on_cpu) - flow.decode(z, coarse=on_cpu)).abs().max())
        memory = _peak_memory()
        facts |= {"reconstruction_error": error, "preview_nets": nets, "preview_error": off, "peak_memory_mb": memory}
        work.say(f"samples come back from their latents within {255 * error:.2g}/255")
        work.say(f"previews have nets in {nets}, and are off by {255 * off:.1f}/255 at most")
        if memory:
            work.say(f"memory at most: {memory:.0f} MB")


def _stages(engine: Engine) -> dict[str, Callable[[], Any]]:
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
        "read a picture of 1024×1024": lambda: load_image(file.getvalue(), name="a.jpg"),
        "look for its faces": lambda: align(image, size=flow.image_size),
        "invert it": lambda: flow.encode([frame]),
        "condition on 24 latents": lambda: engine.draw(Posterior.condition(z, lam_ratio=0.5), method),
        "move λ": lambda: posterior.with_lam(0.3),
        "draw 16 latents": lambda: sampler.sample(16),
        "decode 16": lambda: engine.decode(z[:16]),
        "make a sheet of 16": lambda: contact_sheet(to_pil(x)),
    }


def _medians(jobs: Mapping[str, Callable[[], Any]], rounds: int, work: Work) -> dict[str, float]:
    """The median seconds of each job, `rounds` times in turn after a warm-up: a busy machine slows all alike."""
    found: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(rounds + 1):
        for index, (name, job) in enumerate(jobs.items()):
            work.progress(turn * len(jobs) + index, (rounds + 1) * len(jobs), f"timing {name}")
            start = time.perf_counter()
            job()
            found[name] += [time.perf_counter() - start] * bool(turn)
    return {name: statistics.median(seconds) for name, seconds in found.items()}


def _peak_memory() -> float | None:
    """Of this process so far, in MB; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)
