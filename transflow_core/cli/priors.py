"""Verbs about priors: `convert`, `info`, `bench`."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from ..shipped import DEFAULT_PRIOR, shipped_priors
from . import options
from .work import Work, working

__all__ = ["bench", "convert", "info"]


def convert(
    file: Annotated[Path, typer.Argument(help="A checkpoint of another project.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", help="A .safetensors file, or a folder.")],
    image_size: options.ImageSize = None,
    bits: options.Bits = None,
    settings: options.Settings = None,
    half: Annotated[bool, typer.Option(help="Store the nets' weights in float16: half the size.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Turn another project's Glow into a native prior (formats: docs/priors.md)."""
    from ..checkpoints import convert as read
    from ..checkpoints import save_native

    with working(as_json) as work:
        work.progress(0, 1, "reading")
        checkpoint = read(file, options=options.settings(image_size, bits, settings))
        work.progress(0, 1, "writing")
        save_native(checkpoint, output, half=half)
        work.wrote(output)
        work.result |= {"name": checkpoint.name, "fingerprint": checkpoint.fingerprint, **checkpoint.metadata}


def info(
    what: Annotated[str | None, typer.Argument(help="A prior, or a sheet whose making is to be read.")] = None,
    image_size: options.ImageSize = None,
    bits: options.Bits = None,
    settings: options.Settings = None,
    as_json: options.AsJson = False,
) -> None:
    """Tell what a prior is, or how a sheet was made; without an argument, which priors there are."""
    with working(as_json) as work:
        if what is None:
            _list_priors(work)
            return
        facts = _facts(what, options.settings(image_size, bits, settings))
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
    """How a sheet was made; what a checkpoint asks for; or what a prior is."""
    from ..checkpoints import recognise
    from ..images import read_png_metadata
    from ..prior import load_prior

    if what.lower().endswith(".png"):
        facts = dict(read_png_metadata(Path(what)))
        if not facts:
            raise ValueError(f"{what} does not say how it was made")
        return facts
    found = recognise(what) if Path(what).is_file() else None
    if found is not None and found.asks and not settings:
        return {"format": found.format, "container": found.container, "asks": dict(found.asks)}
    return load_prior(what, device="cpu", **settings).info()


def bench(
    prior: options.Prior = DEFAULT_PRIOR,
    device: options.Device = "auto",
    number: options.Number = 16,
    repeats: Annotated[int, typer.Option(min=1, max=1000, help="Timed runs of each.")] = 5,
    as_json: options.AsJson = False,
) -> None:
    """Time inversion and sampling of a prior on this machine."""
    import torch

    from ..posterior import standard_normal
    from ..preview import Preview

    with working(as_json) as work:
        flow = work.engine(prior, device).prior
        preview = Preview(flow)
        z = 0.7 * standard_normal(number, flow.dim)
        x = flow.decode(z)
        jobs = {
            "decode": lambda: flow.decode(z, batch_size=number),
            "preview": lambda: preview.decode(z, batch_size=number),
            "encode": lambda: flow.encode(x, number),
        }
        bfloat16 = preview.fast is not flow and flow.device.type == "cpu"
        if bfloat16:
            jobs["preview in float32"] = lambda: flow.decode(z, batch_size=number, coarse=True)
        for index, (name, job) in enumerate(jobs.items()):
            seconds = []
            for repeat in range(repeats + 1):
                work.progress(index * (repeats + 1) + repeat, len(jobs) * (repeats + 1), f"timing {name}")
                start = time.perf_counter()
                job().cpu()  # waits for the device
                seconds.append(time.perf_counter() - start)
            middle = statistics.median(seconds[1:])  # the first run makes the flow's matrices ready
            work.result[name] = {"n": number, "median_s": middle, "images_per_s": number / middle}
            work.say(f"{name} {number} images: {1000 * middle:.0f} ms ({number / middle:.0f} images/s)")
        work.result["preview"]["bfloat16"] = bfloat16
        if bfloat16:
            error = float((jobs["preview"]() - jobs["preview in float32"]()).abs().max())
            work.result["preview"]["error"] = error
            work.say(f"previews have nets in bfloat16, and are off by {255 * error:.1f}/255 at most")
        work.result["threads"] = torch.get_num_threads()
