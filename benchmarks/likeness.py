"""Are samples as near to a set as its other images, and as new? Half of each set is given, and half is held out.

    python -m benchmarks.likeness                                    # the example sets that ship
    python -m benchmarks.likeness --evidence FOLDER --splits 20      # every folder in FOLDER is a set of pictures
    python -m benchmarks.likeness --sitter FOLDER                    # one person alone: five photographs are given
    python -m benchmarks.likeness --sheets FOLDER                    # besides, samples beside their evidence
    python -m benchmarks.likeness --gallery docs/results             # besides, samples alone, each method a row
    python -m benchmarks.likeness --curve FOLDER FOLDER              # only the slider in front, over two sets

Each split has its own halves and its own seed. `--first-split` takes fresh ones. Every number goes into a JSON file as
soon as it is measured. A row is measured again only if the model, the method's numbers or the number of samples
changed. So you can stop a run and continue it. The page and the chart are written from the file.

Four spaces (`benchmarks.features`): colour and texture, an ImageNet network, small pixels, and dlib's face descriptors.
Only the first splits have descriptors.
"""

import argparse
import json
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from transflow_core.engine import Engine
from transflow_core.images import labelled_rows, to_pil
from transflow_core.posterior import Posterior
from transflow_core.posterior.guard import closest
from transflow_core.posterior.methods import along
from transflow_core.priors.catalogue import load_prior
from transflow_core.priors.prior import Prior

from . import sitter
from .distances import diversity, energy_distance, kid, nearest, novelty, precision_recall, standardised
from .features import DESCRIPTOR, FEATURES, PIXELS
from .likeness_page import front, page
from .methods import (
    DEFAULT,
    GIVEN,
    HELD_OUT,
    METHODS,
    MIRRORED,
    PREDICTIVE,
    PRIOR,
    Given,
    Method,
    Shown,
    prior_features,
)
from .sets import EXAMPLES, OTHERS, PHOTOGRAPHS, ROOT, SAME_PERSON, Set, sets_in
from .tables import into

CURVE, STEPS, IMAGES = ROOT / "docs" / "studio.md", 10, (5, 20)
TABLE, NUMBERS = ROOT / "docs" / "results" / "likeness.md", ROOT / "docs" / "results" / "likeness.json"


def compared(
    samples: NDArray, given: NDArray, held_out: NDArray, mirrored: NDArray | None = None, scaled: bool = True
) -> dict[str, float]:
    """Every measure in one space, of features that are not standardised yet.

    Args:
        samples, given, held_out: rows of features.
        mirrored: of the given images' mirror images. With them a mirrored copy is no news either.
        scaled: standardise on both halves first: on the given one alone, two halves of one set would be apart.
    """
    scale = standardised(np.concatenate([given, held_out])) if scaled else lambda rows: rows
    known = given if mirrored is None else np.concatenate([given, mirrored])
    a, b, c = scale(samples), scale(held_out), scale(known)
    precision, recall = precision_recall(a, b)
    new = novelty(a, c, b)
    return {
        "energy": energy_distance(a, b),
        "kid": kid(a, b),
        "precision": precision,
        "recall": recall,
        "diversity": diversity(a, b),
        "novelty": float(new.mean()),
        "novelty_given": float(novelty(a, scale(given), b).mean()),
        "tenth": float(np.percentile(new, 10)),
        "near": float(nearest(samples, known).mean()),
    }


def turn(pictures: Set, method: Method, given: Given, split: int, spaces: list[str]) -> dict:
    """One set, one method, one split: a row of the file."""
    inside, outside = pictures.halves(split)
    real = {HELD_OUT: (outside, False), GIVEN: (inside, False), MIRRORED: (inside, True)}
    shown = Shown(pictures.images[outside]) if method.name == HELD_OUT else method.draw(given)
    noisy = given.looks.guard.noisy(torch.from_numpy(shown.images)).numpy()
    row: dict = {"set": pictures.name, "group": pictures.group, "method": method.name, "split": split}
    row |= {"text": method.text, "n": given.n, "given": len(inside)}
    row["noisy"] = float((noisy if shown.redrawn is None else shown.redrawn).mean())
    row["noisy_shown"] = float(noisy.mean())
    if shown.projected is not None:
        row["projected"] = float(shown.projected.mean())
    for space in spaces:
        if method.name in real:
            which, flipped = real[method.name]
            features = pictures.features(space, flipped)[which]
        elif method.name == PRIOR:
            features = prior_features(given.engine, space)
        else:
            features = FEATURES[space](shown.images)
        known, mirrored = (pictures.features(space, flipped)[inside] for flipped in (False, True))
        row[space] = compared(features, known, pictures.features(space)[outside], mirrored, space != PIXELS)
        if method.name == HELD_OUT:  # the held-out half beside itself
            row[space] = {key: row[space][key] for key in ("novelty", "novelty_given", "tenth", "near")}
        if space == DESCRIPTOR and pictures.group == OTHERS and pictures.name in PHOTOGRAPHS:  # ours are drawn
            apart = nearest(features, np.concatenate([known, mirrored]))
            row[space]["within"] = float((apart < SAME_PERSON).mean())
    return row


def measure(sets: list[Set], engine: Engine, options: argparse.Namespace) -> None:
    """Add what is missing to the file of numbers, split by split. Numbers of another model go."""
    numbers = read_numbers(options.numbers, engine.prior)
    for split in range(options.first_split, options.first_split + options.splits):
        turn_of = split - options.first_split
        slow = turn_of < options.slow_splits
        spaces = [space for space in FEATURES if slow or space != DESCRIPTOR]
        for pictures in sets:
            wanted = [method for method in METHODS.values() if method.every or turn_of < options.other_splits]
            missing = []
            for method in wanted:
                same = {"group": pictures.group, "set": pictures.name, "method": method.name, "split": split}
                found = [row for row in numbers["rows"] if same.items() <= row.items()]
                as_now = {"text": method.text, "n": options.samples}
                fresh = [row for row in found if as_now.items() <= row.items()]
                if not any(all("novelty_given" in row.get(space, {}) for space in spaces) for row in fresh):
                    numbers["rows"] = [row for row in numbers["rows"] if row not in found]
                    missing.append(method)
            if not missing:
                continue
            inside, _ = pictures.halves(split)
            z = pictures.z[torch.from_numpy(inside)]
            given = Given(engine, z, pictures.images[inside], options.samples, seed=split)
            for method in missing:
                start = time.perf_counter()
                row = turn(pictures, method, given, split, spaces)
                numbers["rows"].append(row)
                words = ", ".join(f"{row[space]['novelty']:.2f}" for space in spaces)
                seconds = time.perf_counter() - start
                print(f"{split} {pictures.name}, {method.name}: novelty {words} ({seconds:.1f} s)", flush=True)
            write_numbers(options.numbers, engine.prior, numbers)
    if options.sitter:
        numbers["people"] = sitter.measure(options.sitter, engine, options, numbers["people"])
    write_numbers(options.numbers, engine.prior, numbers)


def read_numbers(path: Path, prior: Prior) -> dict[str, list[dict]]:
    """Rows of this model: of sets, and of people."""
    numbers = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if numbers.get("fingerprint") != prior.fingerprint:
        numbers = {}
    return {key: [row for row in numbers.get(key, []) if "method" in row] for key in ("rows", "people")}


def write_numbers(path: Path, prior: Prior, numbers: dict[str, list[dict]]) -> None:
    """One row a line, four decimals."""

    def rounded(value):
        if isinstance(value, dict):
            return {key: rounded(part) for key, part in value.items()}
        return round(value, 4) if isinstance(value, float) else value

    parts = [f'"prior": {json.dumps(prior.name)}, "fingerprint": {json.dumps(prior.fingerprint)}']
    for key, rows in numbers.items():
        lines = ",\n".join(json.dumps(rounded(row), ensure_ascii=False) for row in rows)
        parts.append(f'"{key}": [\n{lines}\n]')
    path.write_text("{" + ", ".join(parts) + "}\n", encoding="utf-8")


def current(rows: list[dict], splits: range, texts: dict[str, str]) -> list[dict]:
    """Rows of these splits, of methods whose texts are these."""
    return [row for row in rows if row["split"] in splits and texts.get(row["method"]) == row["text"]]


def sheet(pictures: Set, engine: Engine, path: Path, n: int = 64, columns: int = 16) -> None:
    """The whole set as evidence, then n samples of the default, then a row of what was the default before."""
    rows = [to_pil(pictures.images[:columns])]
    images = METHODS[DEFAULT].draw(Given(engine, pictures.z, pictures.images, n, seed=0)).images
    rows += [to_pil(images[start : start + columns]) for start in range(0, n, columns)]
    labels = ["evidence", *["samples"] * (len(rows) - 1), "predictive"]
    few = Given(engine, pictures.z, pictures.images, columns, seed=0)
    rows.append(to_pil(METHODS[PREDICTIVE].draw(few).images))
    blank = Image.new("RGB", rows[0][0].size, "white")
    rows = [row + [blank] * (columns - len(row)) for row in rows]
    labelled_rows(rows, row_labels=labels, cell=96).save(path)


def gallery(pictures: Set, engine: Engine, path: Path, columns: int = 8) -> None:
    """Samples alone, the whole set as evidence: a row a method, all of the same random numbers.

    Of photographs no row that nearly repeats them: people in them did not ask to be shown.
    """
    given = Given(engine, pictures.z, pictures.images, columns, seed=0)
    shown = {"predictive": PREDICTIVE, "the default": DEFAULT}
    shown |= {f"likeness {value}": f"local, likeness {value}" for value in ("0.75", "0.5", "0.25", "0")}
    shown |= {"blends of 2": "blends of 2", "paper, 0.3": "the paper's, λ/m = 0.3"}
    if pictures.name in PHOTOGRAPHS:
        del shown["predictive"], shown["likeness 0.75"]
    rows = [to_pil(METHODS[name].draw(given).images) for name in shown.values()]
    labelled_rows(rows, row_labels=list(shown), cell=96).save(path, quality=90)


def curve(sets: list[Set], engine: Engine, n: int = 6) -> str:
    """How much the same n samples change from one position of `along` to the next, and how new they are: a table."""
    changes: dict[str, list[list[float]]] = {space: [] for space in (PIXELS, "network")}
    new = []
    for pictures in sets:
        for m in sorted({min(most, len(pictures.z)) for most in IMAGES}):
            posterior = Posterior.condition(pictures.z[:m], lam_ratio=1.0)
            samplers = [engine.draw(posterior, along(step / STEPS)) for step in range(STEPS + 1)]
            drawn = torch.stack([engine.sample(sampler, n, seed=m).images for sampler in samplers]).clamp(0, 1)
            looks = engine.looks(posterior)
            new.append([float(np.mean([one.distance for one in closest(images, looks)])) for images in drawn])
            for space, found in changes.items():
                of = [FEATURES[space](images.numpy()) for images in drawn]
                unit = np.linalg.norm(of[0] - np.roll(of[0], 1, 0), axis=1).mean()
                found.append([float(np.linalg.norm(b - a, axis=1).mean() / unit) for a, b in pairwise(of)])
            print(pictures.name, m, *(f"{number:.2f}" for number in changes["network"][-1]), flush=True)
    lines = ["| position | λ/m | likeness | change, 32×32 pixels | change, network | distance to the closest image |"]
    lines.append("|---" * 6 + "|")
    for step in range(STEPS + 1):
        method = along(step / STEPS)
        cells = [[row[step - 1] for row in found] if step else [] for found in changes.values()] + [
            [r[step] for r in new]
        ]
        shown = (f"{np.mean(cell):.2f} ({min(cell):.2f} to {max(cell):.2f})" if cell else "" for cell in cells)
        lines.append(f"| {step / STEPS:g} | {method.lam_ratio:.3g} | {method.likeness:g} | {' | '.join(shown)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, and write numbers, page, chart and sheets."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.likeness", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prior", default="celeba128", help="name, file or folder")
    parser.add_argument("--evidence", type=Path, default=EXAMPLES, help="a folder of sets")
    parser.add_argument("--sets", nargs="+", help="names of folders in it; by default all with eight pictures or more")
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--first-split", type=int, default=100, help="splits K to K + splits - 1, and no others")
    parser.add_argument("--slow-splits", type=int, default=2, help="the first of these have descriptors")
    parser.add_argument("--other-splits", type=int, default=5, help="the first of these have the less important rows")
    parser.add_argument("--samples", type=int, default=24, help="of each method, in each split")
    parser.add_argument("--sitter", type=Path, nargs="+", help="folders with seven photographs of one person, or more")
    parser.add_argument("--numbers", type=Path, default=NUMBERS, help="the JSON file")
    parser.add_argument("--table", type=Path, default=TABLE, help="the Markdown file; the chart lies beside it")
    parser.add_argument("--sheets", type=Path, help="a folder for sheets; they show the evidence")
    parser.add_argument("--gallery", type=Path, help="a folder for sheets of samples alone")
    parser.add_argument("--curve", type=Path, nargs="+", help="folders, a set each: only the table of docs/studio.md")
    options = parser.parse_args()
    if options.curve:
        prior = load_prior(options.prior)
        into(CURVE, "curve", curve([Set(folder, prior) for folder in options.curve], Engine(prior, cached=1024)))
        return
    for path in (options.numbers, options.table):
        path.parent.mkdir(parents=True, exist_ok=True)
    prior = load_prior(options.prior)
    engine = Engine(prior, cached=1024)
    folders = [options.evidence / name for name in options.sets or ()]
    if not options.sets and not options.sitter:
        folders = sets_in(options.evidence)
    sets = [Set(folder, prior) for folder in folders]
    if options.sheets:
        options.sheets.mkdir(parents=True, exist_ok=True)
        for pictures in sets:
            sheet(pictures, engine, options.sheets / f"{pictures.name}.png")
    if options.gallery:
        for pictures in sets:
            gallery(pictures, engine, options.gallery / f"like_{pictures.name}.jpg")
    measure(sets, engine, options)
    numbers = read_numbers(options.numbers, prior)
    splits = range(options.first_split, options.first_split + options.splits)
    rows = current(numbers["rows"], splits, {name: method.text for name, method in METHODS.items()})
    people = current(numbers["people"], splits, sitter.texts())
    charts = front(rows, options.table)
    galleries = sorted(options.table.parent.glob("like_*.jpg"))
    options.table.write_text(page(rows, people, prior.name, charts, galleries), encoding="utf-8")


if __name__ == "__main__":
    main()
