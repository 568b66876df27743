"""Photographs of one person, and of several, out of a zip of faces that says nobody's name.

    python -m benchmarks.people FACES FOLDER     # FOLDER/person 01 … has the photographs of one person each

The held-out faces of CelebA at hand are nearly all that it has of some people, and a few of others. dlib's descriptors
find who is who. Look at the folders: a person who is there twice, or two people in one folder, are mistakes.
"""

import argparse
import random
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transflow_core.images import load_image
from transflow_core.images.files import Member, find_members

from .features import descriptors
from .measures import as_unit

__all__ = ["groups", "people", "sets_of_five"]

_CLOSE = 0.5  # mean distance; dlib's border between two photographs of one person is 0.6
_LEAST = 9  # photographs: five are given, and some are held out


def groups(rows: NDArray, close: float = _CLOSE) -> list[list[int]]:
    """Rows, (n, d), whose mean distance to the rest of their group is small: the largest group first.

    Average linkage (Sokal, Michener 1958): the two nearest groups become one, until none are nearer than `close`.
    """
    apart = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    found = [[row] for row in range(len(rows))]
    while len(rows) > 1 and apart.min() < close:
        a, b = np.unravel_index(apart.argmin(), apart.shape)
        both = (apart[a] * len(found[a]) + apart[b] * len(found[b])) / (len(found[a]) + len(found[b]))
        apart[a] = apart[:, a] = both
        apart[a, a] = apart[b] = apart[:, b] = np.inf
        found[a], found[b] = found[a] + found[b], []
    return sorted((sorted(group) for group in found if group), key=len, reverse=True)


def people(faces: Path) -> list[list[Member]]:
    """Held-out photographs, by person: who has the most comes first."""
    held_out = [member for member in find_members(faces) if fnmatch(member.name, "val128/*")]
    found = groups(descriptors(as_unit([load_image(member.open()) for member in held_out])))
    return [[held_out[row] for row in group] for group in found]


def sets_of_five(faces: Path, out: Path, n: int = 5) -> list[Path]:
    """Folders: n with a photograph of each of five people, and n with five photographs of one person."""
    found = people(faces)
    known, rng = [group for group in found if len(group) >= _LEAST], random.Random(3)
    fives = {f"five people {k}": [rng.choice(group) for group in rng.sample(found, 5)] for k in range(1, n + 1)}
    ones = {f"one person {k}": rng.sample(group, 5) for k, group in enumerate(rng.sample(known, n), 1)}
    return [_write(members, out / name) for name, members in (fives | ones).items()]


def _write(members: list[Member], folder: Path) -> Path:
    folder.mkdir(parents=True)
    for member in members:
        (folder / Path(member.name).name).write_bytes(member.open().read())
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path, metavar="FACES")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    for number, photographs in enumerate(people(options.faces), 1):
        if len(photographs) >= _LEAST:
            print(f"{_write(photographs, options.folder / f'person {number:02}')}: {len(photographs)}")


if __name__ == "__main__":
    main()
