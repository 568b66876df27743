"""Do samples look like the evidence? Half of each set is given, and samples are compared with the half held out.

    python -m benchmarks.likeness                                    # the example sets that ship
    python -m benchmarks.likeness --evidence FOLDER --splits 20      # every folder in FOLDER is a set of pictures
    python -m benchmarks.likeness --sheets FOLDER                    # besides, samples beside their evidence
    python -m benchmarks.likeness --gallery docs/results             # besides, samples alone, each manner a row

The split and the seed of the samples differ from turn to turn. What was measured is added to the JSON file as it comes,
and what is there of the same prior is not measured again, so that a run can be stopped and continued; the table is
written from the file. Distances are energy distances in features that are standardised on the given half: 0 is as near
as real pictures of the set are to one another. Three spaces (`benchmarks.features`): colour and texture, an ImageNet
network, and, on the first splits only since they are slow, dlib's face descriptors.
"""

import argparse
import functools
import json
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.measures import as_unit, face_rate
from transflow_core.faces import align
from transflow_core.images import find_images, labelled_rows, load_image, to_pil
from transflow_core.posterior import DEFAULT_MANNER, KINDS, Bounded, Gaussian, Manner, Posterior, Sampler
from transflow_core.posterior.spread import Spread
from transflow_core.prior import Prior, load_prior
from transflow_core.pullback import decode_in_range

from .distances import diversity, energy_distance, kid, novelty, precision_recall, standardised
from .features import FEATURES

ROOT = Path(__file__).resolve().parent.parent
TABLE, NUMBERS = ROOT / "docs" / "results" / "likeness.md", ROOT / "docs" / "results" / "likeness.json"
EXAMPLES = ROOT / "assets" / "examples"
SHIPPED, OTHERS = "the example sets that ship", "other sets"
SLOW = "face descriptor"
PRIOR = "the prior, temperature 0.7"
REAL = "real pictures"
RATIOS = (0.3, 0.5, 0.7)  # what the paper recommends
MANNERS: dict[str, Manner] = {
    **{f"the paper's, λ/m = {ratio:g}": Manner.mean(ratio) for ratio in RATIOS},
    f"blends of {KINDS['blend'].pieces:g}, λ/m = {KINDS['blend'].lam_ratio:g}": KINDS["blend"],
    "predictive, Gaussian (likeness 0)": Manner.predictive(likeness=0.0),
    "predictive, the default": DEFAULT_MANNER,
}
DEFAULT = "predictive, the default"
HEAD = """<!-- Written by `python -m benchmarks.likeness`; its numbers are in likeness.json. -->
Half of each set is given, at random, and samples are compared with the half that is held out; every split has its own
seed. Errors are standard errors over splits. "real pictures" compares the given half itself with the held-out one: what
a perfect sampler would get. Features are standardised on the given half. Energy distance and KID are without bias, 0
for equal distributions. Precision and recall: shares of samples inside the support of real pictures, and the reverse;
k = 3. Diversity: mean distance between two samples, in units of that between two held-out pictures. Novelty: mean
distance to the nearest given picture, in units of a held-out picture's: 0 is a copy.

"""
LEFT_OUT = """## What held-out density would choose

A piece of evidence is most probable given the others, in the paper's predictive (eq. 9-11) with a scalar Σ, at a λ/m
that is far below what looks good, and with a Σ of its own at a likeness near 0: in so many dimensions each piece leaves
the others in directions of its own. So density does not choose the manner. Cartoons, put together from few parts, and
noise bars are the exceptions.

"""
RATIOS_LEFT_OUT = (0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0)


class Set:
    """A set of pictures: frames, latents, and their features in each space that was asked for so far."""

    def __init__(self, folder: Path, prior: Prior) -> None:
        self.name = folder.name
        self.group = SHIPPED if folder.parent.resolve() == EXAMPLES else OTHERS
        frames = [align(load_image(path), size=prior.image_size)[0].image for path in find_images(folder)]
        self.z = prior.encode(frames, 8).cpu()
        self.images = as_unit(frames)
        self._features: dict[str, NDArray[np.float64]] = {}

    def features(self, space: str) -> NDArray[np.float64]:
        """(m, d)."""
        if space not in self._features:
            self._features[space] = FEATURES[space](self.images)
        return self._features[space]

    def halves(self, split: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Indices of what is given and what is held out."""
        order = np.random.default_rng(split).permutation(len(self.z))
        return order[: len(order) // 2], order[len(order) // 2 :]


@functools.cache
def of_prior(space: str, name: str) -> NDArray[np.float64]:
    """Features of 64 samples of the prior: the same for all sets and splits."""
    prior = load_prior(name)
    return FEATURES[space](draw(Gaussian(torch.zeros(prior.dim), 0.49), prior, 64, seed=0)[0])


def sampler_of(manner: str, z: torch.Tensor, prior: Prior) -> Sampler:
    """What draws in the manner of this name, given these latents."""
    return Posterior.condition(z, lam_ratio=1.0).draw(MANNERS[manner], prior.levels, prior.typicality)


def draw(sampler: Sampler, prior: Prior, n: int, seed: int) -> tuple[NDArray[np.float32], float, float]:
    """Images (n, 3, S, S), and the shares that were pulled back: to the typical set, and since they did not decode."""
    z = sampler.sample(n, seed)
    decoded = decode_in_range(lambda rows: prior.decode(rows, 8).cpu(), z, sampler.mean)
    bounded = sampler.pulled(n, seed).double().mean().item() if isinstance(sampler, Bounded) else 0.0
    return decoded.images.clamp(0, 1).numpy(), bounded, decoded.pulled.double().mean().item()


def compared(samples: NDArray, given: NDArray, held_out: NDArray) -> dict[str, float]:
    """Every measure in one space, of features that are not standardised yet."""
    scale = standardised(given)
    a, b, c = scale(samples), scale(held_out), scale(given)
    precision, recall = precision_recall(a, b)
    return {
        "energy": energy_distance(a, b),
        "kid": kid(a, b),
        "precision": precision,
        "recall": recall,
        "diversity": diversity(a, b),
        "novelty": novelty(a, c, b),
    }


def turn(
    pictures: Set, manner: str, split: int, prior: Prior, name: str, n: int, spaces: list[str], faces: bool
) -> dict:
    """One set, one manner, one split: a row of the file."""
    given, held_out = pictures.halves(split)
    row: dict = {"set": pictures.name, "manner": manner, "split": split, "n": n, "given": len(given)}
    row["group"] = pictures.group
    images = None
    if manner == REAL:
        # The given half stands for samples, so that both sides of every measure are real pictures. How new a given
        # picture is cannot be asked; a held-out one is so by definition.
        images, features = pictures.images[given], {space: pictures.features(space)[given] for space in spaces}
    elif manner == PRIOR:
        features = {space: of_prior(space, name) for space in spaces}
    else:
        sampler = sampler_of(manner, pictures.z[torch.from_numpy(given)], prior)
        images, row["pulled"], row["broken"] = draw(sampler, prior, n, seed=split)
        features = {space: FEATURES[space](images) for space in spaces}
    for space in spaces:
        real = pictures.features(space)
        row[space] = compared(features[space], real[given], real[held_out])
    if manner == REAL:
        for space in spaces:
            row[space]["novelty"] = 1.0
    if faces and images is not None:
        row["faces"] = face_rate(images)
    return row


def measure(sets: list[Set], prior: Prior, options: argparse.Namespace) -> None:
    """Add what is missing to the file of numbers, split by split. What it holds of another prior goes."""
    numbers = json.loads(options.numbers.read_text()) if options.numbers.exists() else {}
    if numbers.get("fingerprint") != prior.fingerprint:
        numbers = {}
    rows, chosen = numbers.get("rows", []), numbers.get("left_out", {})
    for pictures in sets:
        name = f"{pictures.name}, of {pictures.group}"
        if name not in chosen:
            chosen[name] = left_out(pictures.z, prior)
    write_numbers(options.numbers, prior, rows, chosen)
    for split in range(options.splits):
        slow = split < options.slow_splits
        spaces = [space for space in FEATURES if slow or space != SLOW]
        for pictures in sets:
            for manner in (REAL, PRIOR, *MANNERS):
                this = (pictures.group, pictures.name, manner, split)
                found = [row for row in rows if (row["group"], row["set"], row["manner"], row["split"]) == this]
                if any(space in row for row in found for space in spaces[-1:]):
                    continue
                rows = [row for row in rows if row not in found]
                start = time.perf_counter()
                rows.append(turn(pictures, manner, split, prior, options.prior, options.samples, spaces, slow))
                words = ", ".join(f"{rows[-1][space]['energy']:.2f}" for space in spaces)
                print(f"{split} {pictures.name}, {manner}: {words} ({time.perf_counter() - start:.1f} s)", flush=True)
            write_numbers(options.numbers, prior, rows, chosen)


def left_out(z: torch.Tensor, prior: Prior) -> dict:
    """What the density of each piece of evidence, of (p, D), given the others would choose: the scalar Σ's λ/m in the
    paper's predictive (eq. 9-11), and the likeness of each level's Σ, fine to coarse."""
    density = []
    for ratio in RATIOS_LEFT_OUT:
        rows = range(len(z))
        others = [Posterior.condition(z[[j for j in rows if j != i]], lam_ratio=ratio).predictive() for i in rows]
        density.append(np.mean([other.log_prob(z[i : i + 1]).item() for i, other in enumerate(others)]))
    likeness = Spread.of(z, levels=prior.levels).held_out_likeness
    return {"lam_ratio": RATIOS_LEFT_OUT[int(np.argmax(density))], "likeness": list(likeness)}


def write_numbers(path: Path, prior: Prior, rows: list[dict], chosen: dict[str, dict]) -> None:
    """One row a line, four decimals."""

    def rounded(value):
        if isinstance(value, dict):
            return {key: rounded(part) for key, part in value.items()}
        return round(value, 4) if isinstance(value, float) else value

    head = json.dumps({"prior": prior.name, "fingerprint": prior.fingerprint, "left_out": chosen})[:-1]
    lines = ",\n".join(json.dumps(rounded(row), ensure_ascii=False) for row in rows)
    path.write_text(f'{head}, "rows": [\n{lines}\n]}}\n')


def sheet(pictures: Set, prior: Prior, path: Path, n: int = 64, columns: int = 16) -> None:
    """The whole set as evidence, then n samples of the default, then a row of the paper's at 0.3 and 0.7."""
    rows = [to_pil(pictures.images[:columns])]
    images, _, _ = draw(sampler_of(DEFAULT, pictures.z, prior), prior, n, seed=0)
    rows += [to_pil(images[start : start + columns]) for start in range(0, n, columns)]
    for ratio in (0.3, 0.7):
        rows.append(to_pil(draw(sampler_of(f"the paper's, λ/m = {ratio:g}", pictures.z, prior), prior, columns, 0)[0]))
    labels = ["evidence", *["samples"] * (len(rows) - 3), "paper, 0.3", "paper, 0.7"]
    blank = Image.new("RGB", (prior.image_size, prior.image_size), "white")
    rows = [row + [blank] * (columns - len(row)) for row in rows]
    labelled_rows(rows, row_labels=labels, cell=96).save(path)


def gallery(pictures: Set, prior: Prior, path: Path, columns: int = 8) -> None:
    """Samples alone, the whole set as evidence: a row a manner, all of the same random numbers."""
    labels = dict(zip(MANNERS, ("paper, 0.3", "", "paper, 0.7", "blends of 2", "Gaussian", "default"), strict=True))
    shown = [name for name, label in labels.items() if label]
    rows = [to_pil(draw(sampler_of(name, pictures.z, prior), prior, columns, 0)[0]) for name in shown]
    labelled_rows(rows, row_labels=[labels[name] for name in shown], cell=96).save(path, quality=90)


def table(rows: list[dict], chosen: dict[str, dict]) -> str:
    """The page: a section for each group of sets, as Markdown, and what held-out density would choose."""
    groups = [group for group in (OTHERS, SHIPPED) if any(row["group"] == group for row in rows)]
    sections = [f"## {group.capitalize()}\n\n" + section([r for r in rows if r["group"] == group]) for group in groups]
    lines = ["| set | λ/m | likeness of each level, fine to coarse |", "|---|---|---|"]
    for name, best in chosen.items():
        likeness = ", ".join(f"{value:g}" for value in best["likeness"])
        lines.append(f"| {name.replace('_', ' ')} | {best['lam_ratio']:g} | {likeness} |")
    return HEAD + "\n\n".join(sections) + "\n\n" + LEFT_OUT + "\n".join(lines) + "\n"


def look(sheets: list[Path]) -> str:
    """The galleries that lie beside the page."""
    if not sheets:
        return ""
    shown = [f"![{sheet.stem.removeprefix('like_').replace('_', ' ')}]({sheet.name})" for sheet in sheets]
    words = "The whole set is given; a row a manner, and a column the same random numbers. No evidence is shown."
    return "\n" + "\n\n".join(["## What it looks like", words, *shown]) + "\n"


def section(rows: list[dict]) -> str:
    """Energy distances by set, then the other measures."""
    names = list(dict.fromkeys(row["set"] for row in rows))
    manners = [name for name in (REAL, PRIOR, *MANNERS) if any(row["manner"] == name for row in rows)]
    parts = []
    for space in FEATURES:
        having = [row for row in rows if space in row]
        if not having:
            continue
        head = f"| {space} | " + " | ".join(name.replace("_", " ") for name in names) + " | mean |"
        lines = [head, "|" + "---|" * (len(names) + 2)]
        best = (np.inf, "")
        mean_of = {}
        for manner in manners:
            of_sets = [
                [r[space]["energy"] for r in having if (r["set"], r["manner"]) == (name, manner)] for name in names
            ]
            mean = float(np.mean([np.mean(values) for values in of_sets if values]))
            error = float(np.sqrt(sum(_error(values) ** 2 for values in of_sets)) / len(of_sets))
            mean_of[manner] = mean
            if manner.startswith("the paper"):
                best = min(best, (mean, manner))
            lines.append(f"| {manner} | {' | '.join(map(_with_error, of_sets))} | {mean:.2f} ± {error:.2f} |")
        splits = max(row["split"] for row in having) + 1
        if DEFAULT in mean_of and best[1]:
            lines += ["", f"The default is at {mean_of[DEFAULT] / best[0]:.0%} of the paper's best ({best[1]})."]
        parts.append(f"Energy distance to the held-out half, {splits} splits:\n\n" + "\n".join(lines))
    lines = ["| | space | KID | precision | recall | diversity | novelty |", "|" + "---|" * 7]
    for manner in manners:
        for space in FEATURES:
            values = [row[space] for row in rows if row["manner"] == manner and space in row]
            if values:
                keys = ("kid", "precision", "recall", "diversity", "novelty")
                lines.append(
                    f"| {manner} | {space} | {' | '.join(_with_error([v[k] for v in values]) for k in keys)} |"
                )
    parts.append("\n".join(lines))
    lines = ["| | faces found | pulled back to the typical set | since it did not decode |", "|---|---|---|---|"]
    for manner in manners:
        group = [row for row in rows if row["manner"] == manner]
        found = [row["faces"] for row in group if "faces" in row]
        cells = [f"{np.mean(found):.0%}" if found else ""]
        cells += [f"{np.mean([r[key] for r in group]):.1%}" if key in group[0] else "" for key in ("pulled", "broken")]
        lines.append(f"| {manner} | {' | '.join(cells)} |")
    parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _error(values: list[float]) -> float:
    return float(np.std(values, ddof=1) / len(values) ** 0.5) if len(values) > 1 else 0.0


def _with_error(values: list[float]) -> str:
    return f"{np.mean(values):.2f} ± {_error(values):.2f}" if values else ""


def main() -> None:
    """Measure, and write numbers, table and sheets."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.likeness", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prior", default="celeba128", help="name, file or folder")
    parser.add_argument("--evidence", type=Path, default=EXAMPLES, help="a folder of sets")
    parser.add_argument("--sets", nargs="+", help="names of folders in it; by default all with eight pictures or more")
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--slow-splits", type=int, default=2, help="of these, with descriptors and the face rate")
    parser.add_argument("--samples", type=int, default=16, help="a split")
    parser.add_argument("--numbers", type=Path, default=NUMBERS, help="the JSON file")
    parser.add_argument("--table", type=Path, default=TABLE, help="the Markdown file")
    parser.add_argument("--sheets", type=Path, help="a folder for sheets; they show the evidence")
    parser.add_argument("--gallery", type=Path, help="a folder for sheets of samples alone")
    options = parser.parse_args()
    prior = load_prior(options.prior)
    folders = [options.evidence / name for name in options.sets] if options.sets else sets_in(options.evidence)
    sets = [Set(folder, prior) for folder in folders]
    if options.sheets:
        options.sheets.mkdir(parents=True, exist_ok=True)
        for pictures in sets:
            sheet(pictures, prior, options.sheets / f"{pictures.name}.png")
    if options.gallery:
        for pictures in sets:
            gallery(pictures, prior, options.gallery / f"like_{pictures.name}.jpg")
    measure(sets, prior, options)
    numbers = json.loads(options.numbers.read_text())
    sheets = sorted(options.table.parent.glob("like_*.jpg"))
    options.table.write_text(table(numbers["rows"], numbers["left_out"]) + look(sheets))


def sets_in(parent: Path) -> list[Path]:
    """Folders that hold eight pictures themselves, not in folders of their own."""
    folders = [folder for folder in sorted(parent.iterdir()) if folder.is_dir()]
    return [folder for folder in folders if sum(path.parent == folder for path in find_images(folder)) >= 8]


if __name__ == "__main__":
    main()
