"""Does a set of strangers give new strangers? Samples of a few people's faces, counted by dlib's descriptor.

    python -m benchmarks.strangers CELEBA256.zip                  # the default, and held-out strangers
    python -m benchmarks.strangers CELEBA256.zip --lam-ratio 0.5 --likeness 0.25

Each draw gives faces of so many people who are no less than 0.6 apart, out of the held-out ones (`val256/`), and takes
16 samples. A copy is within 0.4 of a given face, the same person within 0.6. A repeat is within 0.4 of another sample.
Persons are groups of samples whose mean distance is under 0.5. Held-out strangers are 16 other faces, some of the same
people.
"""

import argparse
import json
import random
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from transflow_core import Engine, Sample, load_image, load_prior
from transflow_core.faces.recognition import COPY, SAME_PERSON
from transflow_core.images import contact_sheet
from transflow_core.images.files import find_members

from .features import descriptors
from .measures import as_unit
from .people import groups
from .sets import ROOT
from .tables import into

PAGE, NUMBERS = ROOT / "docs" / "results" / "strangers.md", ROOT / "docs" / "results" / "strangers.json"
SAMPLES = 16
_COLUMNS = ("copies", "same person", "nearest given face", "leave-one-out", "repeats", "persons")


def counted(samples: NDArray, given: NDArray) -> list[float]:
    """The columns of the table, of descriptors (n, 128) and (m, 128): shares, distances, and a number of persons.

    Example:
        >>> counted(np.eye(4), np.eye(4)[:2] + 0.1)[:2]
        [0.5, 0.5]
    """
    near = np.linalg.norm(samples[:, None] - given, axis=2).min(1)
    among, own = (np.linalg.norm(rows[:, None] - rows, axis=2) + 9 * np.eye(len(rows)) for rows in (samples, given))
    shares = [float((near < limit).mean()) for limit in (COPY, SAME_PERSON)]
    repeats = float((among.min(1) < COPY).mean())
    return [*shares, float(np.median(near)), float(np.median(own.min(1))), repeats, len(groups(samples))]


def strangers(rows: NDArray, m: int, seed: int) -> list[int]:
    """Rows, at most m of them, that are all 0.6 or more apart."""
    found: list[int] = []
    for row in random.Random(seed).sample(range(len(rows)), len(rows)):
        if len(found) < m and all(np.linalg.norm(rows[row] - rows[other]) >= SAME_PERSON for other in found):
            found.append(row)
    return found


def main() -> None:
    """Measure, and write the numbers and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path)
    parser.add_argument("--prior", default="celeba256")
    parser.add_argument("--given", type=int, nargs="+", default=[5, 10, 20], help="how many faces are given")
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--likeness", type=float)
    parser.add_argument("--lam-ratio", type=float)
    parser.add_argument("--sheets", type=Path, help="a folder for sheets; they show real people: keep them to yourself")
    options = parser.parse_args()
    engine = Engine(load_prior(options.prior))
    members = [member for member in find_members(options.faces) if fnmatch(member.name, "val256/*")]
    pictures = [load_image(member.open()) for member in members]
    rows = descriptors(as_unit(pictures))
    recipe = Sample(n=SAMPLES, likeness=options.likeness, lam_ratio=options.lam_ratio)
    lines = [f"| given | faces | {' | '.join(_COLUMNS)} |", "|---" * (len(_COLUMNS) + 2) + "|"]
    numbers = []
    for m in options.given:
        found: dict[str, list[list[float]]] = {"samples": [], "held-out strangers": []}
        for seed in range(options.draws):
            given = strangers(rows, m, seed)
            others = random.Random(seed).sample(sorted(set(range(len(rows))) - set(given)), SAMPLES)
            result = engine.run(recipe.replace(seed=seed), evidence=[pictures[row] for row in given])
            shown = [frames[0] for frames in result.pictures.values()]
            found["samples"].append(counted(descriptors(as_unit(shown)), rows[given]))
            found["held-out strangers"].append(counted(rows[others], rows[given]))
            print(
                m, seed, result.recipe.likeness, result.recipe.lam_ratio, np.round(found["samples"][-1], 2), flush=True
            )
            if options.sheets:
                options.sheets.mkdir(parents=True, exist_ok=True)
                _sheet([pictures[row] for row in given], shown).save(options.sheets / f"{m}_{seed}.png")
        for name, some in found.items():
            copies, same, near, own, repeats, persons = np.mean(some, 0)
            cells = f"{copies:.1%} | {same:.1%} | {near:.2f} | {own:.2f} | {repeats:.1%} | {persons:.1f}"
            lines.append(f"| {m} | {name} | {cells} |".replace("%", " %"))
            numbers.append(
                {"given": m, "faces": name, **dict(zip(_COLUMNS, np.mean(some, 0).round(4).tolist(), strict=True))}
            )
    print("\n".join(lines))
    if options.likeness is options.lam_ratio is None:
        NUMBERS.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
        into(PAGE, "strangers", "\n".join(lines))


def _sheet(given: list[Image.Image], shown: list[Image.Image], columns: int = 8) -> Image.Image:
    """Rows of the given faces, then rows of the samples."""
    blank = Image.new("RGB", shown[0].size, "white")
    return contact_sheet([*given, *[blank] * (-len(given) % columns), *shown], columns=columns)


if __name__ == "__main__":
    main()
