"""One person: five photographs are given. Are samples as near to the person as the person's other photographs?"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from transflow_core.engine import Engine

from .distances import nearest
from .features import DESCRIPTOR, FEATURES
from .methods import METHODS, Given
from .sets import PHOTOGRAPHS, SAME_PERSON, Set

__all__ = ["FIVE", "IMPOSTORS", "OTHERS", "measure", "nearness", "texts"]

_GIVEN = 5
_LEAST = _GIVEN + 2  # two are held out, since each is compared with the rest
_MOST_SPLITS = 2
OTHERS, FIVE = "the person's other photographs", "the five given photographs"
IMPOSTORS = "photographs of other people"


def nearness(rows: NDArray, person: NDArray, own: bool = False) -> dict[str, float]:
    """How near descriptors, (n, 128), are to held-out photographs of a person, (k, 128), k ≥ 2.

    With `own`, the rows are the held-out photographs themselves: each is compared with the rest.

    Returns mean distances to the photographs' mean and to the nearest one, and the share within 0.6 of one.
    """
    rests = [np.delete(person, index, 0) if own else person for index in range(len(rows))]
    means = [np.linalg.norm(row - rest.mean(0)) for row, rest in zip(rows, rests, strict=True)]
    near = np.array([nearest(row[None], rest)[0] for row, rest in zip(rows, rests, strict=True)])
    return {"mean": float(np.mean(means)), "nearest": float(near.mean()), "within": float((near < SAME_PERSON).mean())}


def measure(folders: list[Path], engine: Engine, options: argparse.Namespace, rows: list[dict]) -> list[dict]:
    """The rows with what is missing: of each person, split and method.

    Raises ValueError for a folder with fewer than seven photographs.
    """
    people = [Set(folder, engine.prior) for folder in folders]
    for folder, person in zip(folders, people, strict=True):
        if len(person.z) < _LEAST:
            raise ValueError(f"{folder} has {len(person.z)} photographs; one person needs at least {_LEAST}")
    splits = range(options.first_split, options.first_split + min(options.splits, _MOST_SPLITS))
    for person in people:
        others = _others(person, people, engine, options)
        for split in splits:
            same = {"person": person.name, "split": split, "n": options.samples}
            found = [row for row in rows if same.items() <= row.items()]
            if {row["method"]: row["text"] for row in found}.items() >= texts().items():
                continue
            start = time.perf_counter()
            rows = [row for row in rows if (row["person"], row["split"]) != (person.name, split)]
            rows += [same | row for row in _of(person, others, engine, split, options.samples)]
            print(f"{split} {person.name}: {time.perf_counter() - start:.1f} s", flush=True)
    return rows


def texts() -> dict[str, str]:
    """Of the rows that are measured, the methods' texts."""
    return {name: method.text for name, method in METHODS.items() if method.every and _draws(name)} | {
        name: name for name in (OTHERS, FIVE, IMPOSTORS)
    }


def _draws(name: str) -> bool:
    return METHODS[name].text != "real images"


def _of(person: Set, others: NDArray, engine: Engine, split: int, n: int) -> list[dict]:
    order = np.random.default_rng(split).permutation(len(person.z))
    inside, outside = order[:_GIVEN], order[_GIVEN:]
    own = person.features(DESCRIPTOR)
    given = Given(engine, person.z[torch.from_numpy(inside)], person.images[inside], n, seed=split)
    found = {
        OTHERS: nearness(own[outside], own[outside], own=True),
        FIVE: nearness(own[inside], own[outside]),
        IMPOSTORS: nearness(others, own[outside]),
    }
    for name in texts().keys() - found.keys():
        found[name] = nearness(FEATURES[DESCRIPTOR](METHODS[name].draw(given).images), own[outside])
    return [{"method": name, "text": text, **found[name]} for name, text in texts().items()]


def _others(person: Set, people: list[Set], engine: Engine, options: argparse.Namespace) -> NDArray:
    """Descriptors of other people's photographs: of the other folders, else of sets of photographs."""
    others = [one for one in people if one is not person]
    if not others:
        folders = [options.evidence / name for name in PHOTOGRAPHS if (options.evidence / name).is_dir()]
        others = [Set(folder, engine.prior) for folder in folders[:1]]
    if not others:
        names = ", ".join(PHOTOGRAPHS)
        raise ValueError(f"there are no other people to compare with: give two folders, or {names} in --evidence")
    return np.concatenate([one.features(DESCRIPTOR) for one in others])
