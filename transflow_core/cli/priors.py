"""Verbs about priors: `convert`, `info`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..shipped import shipped_priors
from . import options
from .work import Work, working

__all__ = ["convert", "info"]


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
