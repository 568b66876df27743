"""Priors side by side, as models of faces and as what is conditioned: a table, and a sheet of samples.

    python -m benchmarks.priors celeba64 runs/mine --data faces.zip --held-out 'val*/*' -o sheet.png
    python -m benchmarks.priors celeba64 celeba128 runs/celeba256 -o grown.png
    python -m benchmarks.priors celeba64 runs/mine -n 4000 --seed 2 --temperatures 0.7
    python -m benchmarks.priors celeba64 runs/mine --data faces.zip --far assets/examples/noise_bar anime/
    python -m benchmarks.priors celeba256 --data faces.zip --distances network --temperatures 0.5 0.7 1 --write
    python -m benchmarks.priors celeba128 runs/mine --waits

A file of several sizes has a column for each; columns go from small to large. Samples share their noise: of priors of
one size the whole latent; of a prior and one that was grown from it the latents of the smaller, so that each column
shows the same faces. Sharpness is the root mean square of the Haar details (differences within 2×2 pixels) at the
largest of the sizes; samples of smaller priors are enlarged by bicubic interpolation. Grain is detail in the flattest
of all patches, and in those of much detail (`levels.grain`), at the prior's own size. A face rate of 100 % tells priors
apart no more: there are also the scores of dlib's detector, and with `--data` the share of samples of which it is at
least as sure as of nineteen in twenty held-out faces.

What is conditioned lies nearer the origin than samples do, or far from all faces: hence grids (`levels.grid`) down to
temperature 0; the root mean square of each level over held-out faces, with noise as in training (`--data`); and
what becomes of pictures unlike any face on the way there and back. Held-out images are not shown.

`--distances` prints nothing but kernel distances (KID), in units of 10⁻³, precision and recall between samples and
held-out faces, each at the prior's own size. An error is that of the mean, from halves of both sets. `--write` puts the
table into docs/priors.md.

`--waits` times what a visitor of the page waits for, in turn, with the opening set: the seconds depend on what else the
machine does, and the ratios little. The sheet has images of at most 128 pixels, as the page shows them.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from transflow_core.engine import Engine
from transflow_core.faces.models import hog_detections
from transflow_core.flows.wavelet import haar_split
from transflow_core.images import labelled_rows, to_pil
from transflow_core.images.output import save_png
from transflow_core.images.sheets import enlarge
from transflow_core.posterior import Posterior, standard_normal
from transflow_core.priors.catalogue import ASSETS, example, load_prior
from transflow_core.priors.prior import Prior
from transflow_core.recipes import Method, Restyle
from transflow_core.training.data import prepare

from .distances import kid, precision_recall, standardised
from .features import FEATURES, PIXELS
from .levels import far_pictures, grain, grid, reconstruction_error, whitening
from .sets import ROOT
from .tables import into
from .timing import in_turn, timed

SHOWN = 12
GRIDS = (0.0, 0.3, 0.5, 0.7)
PERIODS = (2, 4, 8)
HALVES = 20
_GRAIN = "detail of the flattest 5 % and of 90 % of patches in 1/255"

Rows = dict[str, list[str]]


def enlarged(x: Tensor, side: int) -> Tensor:
    """(n, 3, S, S) -> (n, 3, side, side), bicubic as Pillow does it."""
    if x.shape[-1] == side:
        return x
    pictures = [np.asarray(i.resize((side, side), Image.Resampling.BICUBIC), np.float32) / 255 for i in to_pil(x)]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


def sharpness(x: Tensor) -> float:
    """Root mean square of the finest Haar details, in units of the range of intensities."""
    return float(haar_split(x)[1].square().mean().sqrt())


def sureness(x: Tensor) -> NDArray[np.float64]:
    """(n,) scores of dlib's HOG detector, enlarged to 256 pixels; 0 where it finds no face."""
    pictures = [np.asarray(enlarge(image, 256)) for image in to_pil(x)]
    return np.array([max((score for _, score in hog_detections(picture)), default=0.0) for picture in pictures])


def samples(prior: Prior, noise: Tensor, temperature: float) -> Tensor:
    """The prior's images of the last of the noise's numbers, which a prior that was grown from it shares."""
    return torch.cat([prior.decode(temperature * z[:, z.shape[1] - prior.dim :]).cpu() for z in noise.split(50)])


def decode_seconds(priors: list[Prior], n: int = 16, repeats: int = 7) -> list[float]:
    """Median seconds for n samples, the priors taking turns."""
    noise = [0.7 * standard_normal(n, prior.dim) for prior in priors]
    seconds: list[list[float]] = [[] for _ in priors]
    for turn in range(repeats + 1):
        for prior, z, times in zip(priors, noise, seconds, strict=True):
            start = time.perf_counter()
            prior.decode(z, n).cpu()
            if turn:
                times.append(time.perf_counter() - start)
    return [statistics.median(times) for times in seconds]


def with_error(
    measure: Callable[[NDArray, NDArray], float], a: NDArray, b: NDArray, seed: int = 0
) -> tuple[float, float]:
    """A measure of two sets, and its standard error: the delete-half jackknife over both."""
    value, rng = measure(a, b), np.random.default_rng(seed)

    def half(rows: NDArray) -> NDArray:
        return rows[rng.permutation(len(rows))[: len(rows) // 2]]

    others = np.array([measure(half(a), half(b)) for _ in range(HALVES)])
    return value, float(np.sqrt(np.square(others - value).mean()))


def print_distances(priors: list[Prior], held_out: list[NDArray[np.uint8]], options: argparse.Namespace) -> None:
    """Print a table: KID to the held-out faces in 10⁻³ with its error, precision and recall, for each space."""
    rows: Rows = {}
    for prior, images in zip(priors, held_out, strict=True):
        real, noise = prior.to_unit(images).cpu(), standard_normal(options.n, prior.dim, seed=options.seed)
        known = {space: FEATURES[space](real) for space in options.distances}
        for temperature in options.temperatures:
            x = samples(prior, noise, temperature)
            for space, features in known.items():
                scale = standardised(features)
                a, b = scale(FEATURES[space](x)), scale(features)
                value, error = with_error(kid, a, b)
                precision, recall = precision_recall(a, b)
                cell = f"{1e3 * value:.1f} ± {1e3 * error:.1f}, {precision:.2f}, {recall:.2f}"
                rows.setdefault(f"temperature {temperature:g}, {space}: KID × 10³, precision, recall", []).append(cell)
    table = as_table(priors, rows)
    print(table)
    if options.write:
        into(ROOT / "docs" / "priors.md", "distances", table)


def as_table(priors: list[Prior], rows: Rows) -> str:
    """Rows with a column for each prior."""
    lines = [f"| | {' | '.join(f'{prior.name} {prior.fingerprint[:8]}' for prior in priors)} |"]
    lines.append("|---" * (len(priors) + 1) + "|")
    return "\n".join([*lines, *[f"| {what} | {' | '.join(cells)} |" for what, cells in rows.items()]])


def as_models(
    priors: list[Prior], held_out: list[NDArray[np.uint8]], options: argparse.Namespace
) -> tuple[Rows, list[list[Image.Image]]]:
    """Bits, and what samples are like; and some of them, a row for each temperature and prior."""
    rows: Rows = {}
    side, most = max(prior.image_size for prior in priors), max(prior.dim for prior in priors)
    real = [prior.to_unit(images).cpu() for prior, images in zip(priors, held_out, strict=False)]
    for prior, images in zip(priors, held_out, strict=False):
        bits = prior.bits_per_dim(images)
        error = float(bits.std() / len(bits) ** 0.5)
        rows.setdefault("bits per dimension, held out", []).append(
            f"{float(bits.mean()):.4f} ± {error:.4f} ({len(bits)} images)"
        )
    sure = [np.percentile(sureness(v), 5) for v in real]
    if real:
        rows["sharpness, held-out images"] = [f"{sharpness(enlarged(v, side)):.4f}" for v in real]
        rows[f"{_GRAIN}, held-out images"] = [", ".join(f"{value:.2f}" for value in grain(v)) for v in real]
    noise = standard_normal(options.n, most, seed=options.seed)
    shown = []
    for temperature in options.temperatures:
        for place, prior in enumerate(priors):
            x = samples(prior, noise, temperature)
            scores = sureness(x)
            error, least = scores.std() / len(scores) ** 0.5, np.percentile(scores, [1, 0])
            cells = {
                f"face rate ({options.n} samples)": f"{(scores > 0).mean():.1%}",
                "detector's score: mean, 1st percentile, least": (
                    f"{scores.mean():.3f} ± {error:.3f}, {least[0]:.2f}, {least[1]:.2f}"
                ),
                "sharpness": f"{sharpness(enlarged(x, side)):.4f}",
                _GRAIN: ", ".join(f"{value:.2f}" for value in grain(x)),
            }
            if sure:
                cells["as sure a face as 95 % of held-out ones"] = f"{(scores >= sure[place]).mean():.1%}"
            for what, cell in cells.items():
                rows.setdefault(f"temperature {temperature:g}: {what}", []).append(cell)
            shown.append(to_pil(enlarged(x[:SHOWN], side)))
    return rows, shown


def as_conditioned(priors: list[Prior], held_out: list[NDArray[np.uint8]], options: argparse.Namespace) -> Rows:
    """Grids near the origin, whitening, and pictures that are no faces there and back."""
    rows: Rows = {}
    noise = standard_normal(min(options.n, 64), max(prior.dim for prior in priors), seed=options.seed)

    def add(what: str, x: Tensor) -> None:
        found = ", ".join(f"{grid(x, period):.2f}" for period in PERIODS)
        rows.setdefault(f"grid of 2, 4 and 8 pixels in 1/255, {what}", []).append(found)

    for prior, images in zip(priors, held_out, strict=False):
        add("held-out images", prior.to_unit(images).cpu())
        levels = ", ".join(f"{name} {rms:.3f}" for name, rms in whitening(prior, images[:128]).items())
        rows.setdefault("root mean square of each level, held out", []).append(levels)
    for prior in priors:
        for temperature in GRIDS:
            add(f"temperature {temperature:g}", samples(prior, noise[:1] if temperature == 0 else noise, temperature))
        for kind, images in far_pictures(prior.image_size, options.far):
            error = reconstruction_error(prior, images)
            rows.setdefault(f"largest error there and back in 1/255: {len(error)} of {kind}", []).append(
                f"{error.max():.2g}"
            )
    return rows


def waits(prior: Prior) -> dict[str, Callable[[], object]]:
    """What a visitor waits for with this prior, by name."""
    engine, files = Engine(prior), example("paintings")
    evidence = engine.read(files, align="never")
    posterior, side = evidence.posterior(), min(128, prior.image_size)
    recipe, photograph = Restyle(prior=prior.name), [ASSETS / "examples" / "photograph.png"]

    def draw(engine: Engine = engine, posterior: Posterior = posterior, n: int = 16, **how: Any) -> None:
        engine.sample(engine.draw(posterior, Method(method="local").filled()), n, **how)

    def first() -> None:
        new = Engine(prior)
        draw(new, new.read(files, align="never").posterior(), side=side)

    return {
        "16 samples on the sheet": lambda: draw(side=side),
        "the same from the 21 files": first,
        "the same as previews": lambda: draw(side=side, preview=True),
        "one sample in full": lambda: draw(n=1),
        "that, decoded alone": lambda: prior.decode(torch.zeros(1, prior.dim)),
        "16 samples in full": draw,
        "a photograph of three, restyled": lambda: engine.run(recipe, photographs=photograph, evidence=evidence),
    }


def print_waits(priors: list[Prior], rounds: int = 5) -> None:
    """Print a table: median seconds of each prior, and how many times the first's."""
    jobs = {(what, at): timed(job) for at, prior in enumerate(priors) for what, job in waits(prior).items()}
    found = {key: statistics.median(seconds) for key, seconds in in_turn(dict(sorted(jobs.items())), rounds).items()}
    print(f"| seconds | {' | '.join(prior.name for prior in priors)} |")
    print("|---" * (len(priors) + 1) + "|")
    for what in dict.fromkeys(what for what, _ in jobs):
        seconds = [found[what, at] for at in range(len(priors))]
        print(f"| {what} | {' | '.join(f'{value:.3f}, {value / seconds[0]:.2f} times' for value in seconds)} |")


def arguments() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.priors", description=__doc__)
    parser.add_argument("priors", nargs="+", help="names, files or folders")
    parser.add_argument("--data", type=Path, help="a folder or zip with held-out images")
    parser.add_argument("--held-out", default="val*/*", help="the pattern of their names")
    parser.add_argument("-n", type=int, default=500, help="samples for each face rate")
    parser.add_argument("--seed", type=int, default=1, help="of the noise")
    parser.add_argument("--temperatures", type=float, nargs="+", default=[0.5, 0.7, 0.85, 1.0])
    spaces = [space for space in FEATURES if space != PIXELS]
    parser.add_argument("--distances", nargs="+", choices=spaces, help="with --data: KID, precision and recall alone")
    parser.add_argument("--write", action="store_true", help="with --distances: into docs/priors.md")
    parser.add_argument("--far", type=Path, nargs="+", default=[], help="folders of pictures unlike the data")
    parser.add_argument("--waits", action="store_true", help="what a visitor of the page waits for, and nothing else")
    parser.add_argument("-o", "--output", type=Path, help="a sheet of samples")
    return parser


def main() -> None:
    """Print the table and write the sheet."""
    parser = arguments()
    options = parser.parse_args()
    if options.distances and not options.data:
        parser.error("--distances are to held-out images: give --data")

    loaded = list(map(load_prior, options.priors))
    if options.waits:
        return print_waits(loaded)
    if not options.distances:
        loaded = [prior.at(side) for prior in loaded for side in prior.sizes]
    apart = {prior.fingerprint: prior for prior in loaded}.values()
    priors = sorted(apart, key=lambda prior: prior.image_size)
    by_size = {}
    for side in {prior.image_size for prior in priors} if options.data else ():
        with tempfile.TemporaryDirectory() as cache:
            images = prepare(options.data, side, Path(cache), held_out=options.held_out)
            by_size[side] = np.array(images.held_out)
    held_out = [by_size[prior.image_size] for prior in priors] if by_size else []
    if options.distances:
        return print_distances(priors, held_out, options)
    rows, shown = as_models(priors, held_out, options)
    rows |= as_conditioned(priors, held_out, options)
    seconds = decode_seconds(priors)
    rows["seconds for 16 samples"] = [f"{value:.3f}" for value in seconds]
    rows["times the first"] = [f"{value / seconds[0]:.2f}" for value in seconds]
    print(as_table(priors, rows))
    if options.output:
        words = [f"{place}: {prior.image_size} px" for place, prior in enumerate(priors, 1)]
        labels = [f"{word}, {t:g}" for t in options.temperatures for word in words]
        how = {"priors": ", ".join(options.priors), "seed": str(options.seed)}
        save_png(labelled_rows(shown, row_labels=labels), options.output, metadata=how)


if __name__ == "__main__":
    main()
