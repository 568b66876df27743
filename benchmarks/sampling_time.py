"""How long 16 samples take by the default, redraws included, and by the default before it (`predictive`).

    python -m benchmarks.sampling_time FOLDER  # a folder of sets, each a folder of images

Of 20 images of each set, decoded at the 128 pixels of the page's sheet, in turn.
"""

import argparse
import itertools
import statistics
from pathlib import Path

from transflow_core.engine import Engine
from transflow_core.posterior import recommend
from transflow_core.priors.catalogue import load_prior
from transflow_core.runtime import tune

from .predictive import Predictive
from .timing import in_turn, timed

_IMAGES, _SAMPLES, _SIDE, _TIMES = 20, 16, 128, 10


def seconds(engine: Engine, folder: Path) -> tuple[float, float]:
    """Mean seconds by the default before, and by the default."""
    posterior = engine.read(sorted(folder.iterdir())[:_IMAGES]).posterior()
    before = Predictive.of(posterior.latents, engine.prior)
    now = engine.draw(posterior, recommend(posterior, engine.looks(posterior)).method)
    seeds = itertools.count(), itertools.count()
    jobs = {
        "before": lambda: engine.decode(before.sample(_SAMPLES, next(seeds[0])), centre=before.mean, side=_SIDE),
        "now": lambda: engine.sample(now, _SAMPLES, seed=next(seeds[1]), side=_SIDE),
    }
    taken = in_turn({name: timed(job) for name, job in jobs.items()}, _TIMES)
    return statistics.mean(taken["before"]), statistics.mean(taken["now"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", nargs="+", help="names of sets (default: every folder)")
    parser.add_argument("--prior", default="celeba256")
    args = parser.parse_args()
    engine = Engine(load_prior(args.prior))
    names = args.sets or sorted(one.name for one in args.folder.iterdir() if one.is_dir())
    found = {name: seconds(engine, args.folder / name) for name in names}
    found["mean"] = tuple(statistics.mean(column) for column in zip(*found.values(), strict=True))
    print("| set | before, s | now, s | times |\n|---|---|---|---|")
    for name, (old, new) in found.items():
        print(f"| {name} | {old:.3f} | {new:.3f} | {new / old:.2f} |")


if __name__ == "__main__":
    tune()
    main()
