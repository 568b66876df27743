"""The command for sets that do not fit in memory: `condition-set`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from ..recipes import Condition, plain
from ..shipped import DEFAULT_PRIOR
from . import options
from .work import working

__all__ = ["condition_set"]


def condition_set(
    data: Annotated[list[Path], typer.Argument(help="Folders, zips and tars of images.", show_default=False)],
    output: options.Output = Path("posterior.safetensors"),
    lam_ratio: Annotated[str, typer.Option(help="λ/m: one number, or one for each level: 0.3,0.5,0.5,0.7,0.7")] = "0.5",
    prior: options.Prior = DEFAULT_PRIOR,
    device: options.Device = "auto",
    align: Annotated[str, typer.Option(help="Align faces: auto, never, always.")] = "auto",
    faces: Annotated[str, typer.Option(help="Which faces of a picture count: largest, all.")] = "largest",
    ray: Annotated[bool, typer.Option("--ray", help="By workers of Ray's, on this machine or a cluster.")] = False,
    workers: Annotated[int, typer.Option(min=1, max=10_000, help="With --ray: how many.")] = 2,
    as_json: options.AsJson = False,
) -> None:
    """Condition on a set of any size, in little memory; give it again after a stop, and it goes on where it was.

    Every image counts in full: which are far outside of most is known only when all were seen.
    """
    from ..operations.source import whole_of
    from ..streaming import statistics_by_ray, statistics_of_set
    from ..worker import PictureLane

    with working(as_json) as work:
        recipe = Condition.from_texts({"lam_ratio": lam_ratio, "align": align, "faces": faces})
        how: dict[str, Any] = {"whole": whole_of(recipe), "faces": faces, "progress": work.progress}
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
