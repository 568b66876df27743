"""The verb `mix`: a posterior of two sets of evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from ..limits import choice
from ..shipped import DEFAULT_PRIOR
from . import options
from .work import working

__all__ = ["mix"]


def mix(
    a: Annotated[Path, typer.Argument(help="Image, folder of images, or saved posterior.", show_default=False)],
    b: Annotated[Path, typer.Argument(help="The other.", show_default=False)],
    output: options.Output = Path("posterior.safetensors"),
    how: Annotated[
        str,
        typer.Option(
            help='"both" (more of both), "less" (like the first, less like the second), or "towards" (the first, moved '
            "along the difference of the means)."
        ),
    ] = "both",
    share: Annotated[float, typer.Option(min=0, max=1, help="How much of it: 0 is the first alone.")] = 0.5,
    prior: options.Prior = DEFAULT_PRIOR,
    device: options.Device = "auto",
    whole: options.Whole = "auto",
    faces: options.Faces = "largest",
    landmarks: options.Landmarks = "5",
    robust: options.Robust = True,
    as_json: options.AsJson = False,
) -> None:
    """Make one posterior of two sets: a file that every verb, the API and the page take as evidence."""
    from ..posterior import MIXES, Mix, mixed

    with working(as_json) as work:
        choice(how, "--how", MIXES)
        engine = work.engine(prior, device, [a, b], whole=whole, landmarks=landmarks)
        first, second = (work.intake(engine, [one], whole, faces, landmarks, robust).posterior() for one in (a, b))
        posterior = mixed(first, second, cast(Mix, how), share)
        posterior.save(output, metadata=work.provenance)
        work.wrote(output)
        work.result |= {"how": how, "share": share, "m": posterior.m}
