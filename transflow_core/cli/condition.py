"""The verb for sets that do not fit in memory: `condition`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from ..shipped import DEFAULT_PRIOR
from . import options
from .work import working

__all__ = ["condition"]


def condition(
    data: Annotated[list[Path], typer.Argument(help="Folders, zips and tars of images.", show_default=False)],
    output: options.Output = Path("posterior.safetensors"),
    lam_ratio: options.LamRatio = "0.5",
    prior: options.Prior = DEFAULT_PRIOR,
    device: options.Device = "auto",
    whole: options.Whole = "auto",
    faces: options.Faces = "largest",
    landmarks: options.Landmarks = "5",
    ray: Annotated[bool, typer.Option("--ray", help="By workers of Ray's, on this machine or a cluster.")] = False,
    workers: Annotated[int, typer.Option(min=1, max=10_000, help="With --ray: how many.")] = 2,
    as_json: options.AsJson = False,
) -> None:
    """Condition on a set of any size, in little memory; give it again after a stop, and it goes on where it was.

    Every image counts in full: which are far outside of most is known only when all were seen.
    """
    from ..compute import PictureLane
    from ..streaming import statistics_by_ray, statistics_of_set

    with working(as_json) as work:
        how: dict[str, Any] = {"whole": whole, "faces": faces, "landmarks": landmarks, "progress": work.progress}
        ratio = options.number_or_list(lam_ratio or "0.5", "--lam-ratio")
        # A small cache: no image is asked for twice. The lane reads pictures while the flow inverts those before.
        engine = work.engine(prior, device, cached=1, pictures=None if ray else PictureLane())
        if ray:
            found = statistics_by_ray(prior, data, workers=workers, device=device, **how)
        else:
            found = statistics_of_set(engine, data, output.with_name(f"{output.name}.partial"), **how)
        posterior = found.posterior(cast(float, engine.ratio(ratio)))
        posterior.save(output, metadata=work.provenance)
        work.wrote(output)
        work.say(f"{found.m} images condition it")
        work.result |= {"m": found.m, "lam_ratio": ratio}
