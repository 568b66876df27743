"""The example sets that ship in `assets/examples`."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from transflow_core.evidence import Evidence
from transflow_core.priors.catalogue import ASSETS, example

EXAMPLES = ASSETS / "examples"
#: A photograph to try: pictures on a wall, of people who do not exist. The model drew them.
PHOTOGRAPH = EXAMPLES / "photograph.png"


@dataclass(frozen=True)
class ExampleSet:
    """A folder of evidence."""

    key: str  # the folder's name, and its name in a link
    title: str
    about: str  # a sentence for the page
    files: tuple[Path, ...]  # its images in order, aligned
    shown: bool = True  # whether it stands in the row of sets: the others open by a link


@cache
def example_sets() -> dict[str, ExampleSet]:
    """Every set, by key, in the order of `sets.json`."""
    entries = json.loads((EXAMPLES / "sets.json").read_text(encoding="utf-8"))
    return {key: ExampleSet(key=key, files=tuple(example(key)), **entry) for key, entry in entries.items()}


def title_of(evidence: Evidence) -> str:
    """A short name for the images of a panel."""
    return example_sets()[evidence.example].title if evidence.example else evidence.title
