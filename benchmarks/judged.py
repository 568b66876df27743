"""Are samples whole faces? Somebody looks at shuffled sheets, and cannot know which picture is what.

    python -m benchmarks.judged sheets FOLDER --evidence SET SET … --faces FACES
    python -m benchmarks.judged count FOLDER

The first command draws 24 samples of each set by the default and by the default before, and adds six of the set's own
images as the model copies them. They lie shuffled on sheets, in a folder for each judge; two judges see each picture.
Each writes `labels.csv` as `task.txt` there says. The second command counts the labels.
"""

import argparse
import csv
import json
import random
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from PIL import Image

from transflow_core.engine import Engine
from transflow_core.images import contact_sheet, to_pil
from transflow_core.images.sheets import draw_text, enlarge
from transflow_core.priors.catalogue import load_prior

from .methods import DEFAULT, METHODS, PREDICTIVE, Given
from .people import sets_of_five
from .sets import EXAMPLES, ROOT, Set, sets_in

TABLE = ROOT / "docs" / "results" / "judged.md"
OWN = "the set's own images, copied"
_SHORT = {DEFAULT: "default", PREDICTIVE: "before", OWN: "copies"}
JUDGES, TWICE = 8, 2
_SAMPLES, _OWN = 24, 6
_CELL, _COLUMNS, _ROWS, _LINE = 192, 6, 4, 22
_DRAWN = ("anime", "cartoon", "drawings", "sketch")
_NO_FACES = ("digits", "neon_bar", "noise_bar")  # the bars are figures of the paper: see results.md
TASK = """Open each sheet, and look at every single face, as somebody would who wants to share it. Some are
photographs, some paintings or drawings. Only the face counts, from brow to chin and from cheek to cheek, not hair, neck
or background. Give each picture one grade:

0  whole: it could be a real picture of its kind. A soft, plain, ugly or old face is whole, and so is one that hair, a
   hand or a hat hides in part.
1  a flaw that one finds on a second look: eyes of slightly different size or gaze, a light seam, a faint patch or line.
2  torn: anybody sees at once that the face is broken. An eye is missing, smeared or of another face; there are two
   noses or mouths; a part is at a wrong place, or half of the face is of another pose; a hard edge or a dark patch lies
   across it that is no shadow; the face dissolves.

Write labels.csv into this folder: a line `number,grade` for each picture. Do not ask which picture is what.
"""
HEAD = """<!-- Written by `python -m benchmarks.judged count FOLDER`; its numbers are in judged.json. -->
# Whole and torn faces, by eye

{samples} samples of each set by the default, as many by the default before, and some of the set's own images as the
model copies them, lay shuffled on sheets. {judges} judges, language models that see, did not know which picture was
what. Two of them saw each. *Whole*: it could be a real picture of its kind, in % of both judges' grades. *Torn*:
anybody sees at once that the face is broken. So many are torn for both judges, and for one at least. The others have a
flaw that one finds on a second look. All images of a set are given. The sets of five, of five people and of one person,
are held-out photographs of CelebA. The numbers of the default were chosen on other sets of five of the same people.

    python -m benchmarks.judged sheets FOLDER --evidence SET SET … --faces FACES
    python -m benchmarks.judged count FOLDER

"""


def pictures_of(folder: Path, engine: Engine, n: int) -> Iterator[tuple[str, Image.Image]]:
    """Methods and pictures of a set."""
    found = Set(folder, engine.prior)
    given = Given(engine, found.z, found.images, n, seed=0)
    for name in (DEFAULT, PREDICTIVE):
        yield from ((name, one) for one in to_pil(torch.from_numpy(METHODS[name].draw(given).images)))
    yield from ((OWN, one) for one in to_pil(engine.decode(found.z[:_OWN])))


def sheets(folders: list[Path], engine: Engine, out: Path, n: int = _SAMPLES) -> None:
    """Write the sheets of all judges, and `key.json`, which tells what their pictures are."""
    shown = [
        (f"{folder.name}, shipped" if folder.parent.resolve() == EXAMPLES else folder.name, method, picture)
        for folder in folders
        for method, picture in pictures_of(folder, engine, n)
    ]
    key = {}
    for turn in range(TWICE):
        order = random.Random(turn).sample(range(len(shown)), len(shown))
        for judge in range(JUDGES // TWICE):
            mine, name = order[judge :: JUDGES // TWICE], f"judge_{turn * JUDGES // TWICE + judge + 1}"
            (out / name).mkdir(parents=True)
            (out / name / "task.txt").write_text(TASK, encoding="utf-8")
            key[name] = [[row, *shown[row][:2]] for row in mine]
            numbered = [_numbered(shown[row][2], number) for number, row in enumerate(mine)]
            for number, start in enumerate(range(0, len(mine), _COLUMNS * _ROWS), start=1):
                sheet = contact_sheet(numbered[start : start + _COLUMNS * _ROWS], columns=_COLUMNS)
                sheet.save(out / name / f"sheet_{number:02}.png")
    (out / "key.json").write_text(json.dumps(key), encoding="utf-8")


def _numbered(picture: Image.Image, number: int) -> Image.Image:
    numbered = Image.new("RGB", (_CELL, _CELL + _LINE), "white")
    numbered.paste(enlarge(picture, _CELL), (0, _LINE))
    draw_text(numbered, 0, 0, str(number), _LINE - 6, "black")
    return numbered


def count(folder: Path) -> list[dict]:
    """The grades of each picture. Raises ValueError where a label is missing, or is no grade."""
    key = json.loads((folder / "key.json").read_text(encoding="utf-8"))
    found: dict[int, dict] = {}
    for judge, pictures in key.items():
        with (folder / judge / "labels.csv").open(encoding="utf-8") as file:
            labels = {int(line[0]): int(line[1]) for line in csv.reader(file) if line}
        if labels.keys() != set(range(len(pictures))) or not set(labels.values()) <= {0, 1, 2}:
            raise ValueError(
                f"{judge}/labels.csv needs one line for each of {len(pictures)} pictures, and grades 0 to 2"
            )
        for number, (row, name, method) in enumerate(pictures):
            found.setdefault(row, {"set": name, "method": method, "grades": []})["grades"].append(labels[number])
    return [found[row] for row in sorted(found)]


def page(rows: list[dict]) -> str:
    """The page, with sets in the order of the rows, and then sums: of sets with numbers, of each kind, and of all."""
    groups: dict[str, dict[str, list[list[int]]]] = defaultdict(lambda: {method: [] for method in _SHORT})
    for group in (str, _numbered_sets, _kind, lambda _: "all sets"):
        for row in rows:
            if name := group(row["set"]):
                groups[name][row["method"]].append(row["grades"])
    heads = [f"{what}, {name}" for what in ("whole", "torn for both", "torn for one") for name in _SHORT.values()]
    lines = ["| set | " + " | ".join(heads) + " |\n", "|---" * (len(heads) + 1) + "|\n"]
    for name, methods in groups.items():
        graded = [*methods.values()]
        cells = [f"{100 * sum(one.count(0) for one in some) / sum(map(len, some)):.0f}" for some in graded]
        for counted in (all, any):
            torn = (sum(counted(grade == 2 for grade in one) for one in some) for some in graded)
            cells += [f"{number} of {len(some)}" for number, some in zip(torn, graded, strict=True)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |\n")
    return HEAD.format(samples=len(next(iter(groups.values()))[DEFAULT]), judges=JUDGES) + "".join(lines)


def _numbered_sets(name: str) -> str:
    """What sets with a number have in common, such as "five people, all"; nothing of other sets."""
    return f"{name[:-2]}, all" if name[-1].isdigit() else ""


def _kind(name: str) -> str:
    return f"{'drawings' if name.removesuffix(', shipped') in _DRAWN else 'photographs and paintings'}, all"


def _count(options: argparse.Namespace) -> None:
    rows = count(options.folder)
    TABLE.with_suffix(".json").write_text(json.dumps(rows) + "\n", encoding="utf-8")
    TABLE.write_text(page(rows), encoding="utf-8")


def _sheets(options: argparse.Namespace) -> None:
    engine = Engine(load_prior("celeba128"))
    folders = [*options.evidence, *(one for one in sets_in(EXAMPLES) if one.name not in _NO_FACES)]
    with tempfile.TemporaryDirectory() as parent:
        sheets([*folders, *sets_of_five(options.faces, Path(parent))], engine, options.folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    called: dict[str, Callable[[argparse.Namespace], None]] = {"sheets": _sheets, "count": _count}
    for name, function in called.items():
        command = commands.add_parser(name)
        command.add_argument("folder", type=Path, metavar="FOLDER")
        command.set_defaults(function=function)
        if name == "sheets":
            command.add_argument("--evidence", type=Path, nargs="*", default=[], help="sets, besides those that ship")
            command.add_argument("--faces", type=Path, required=True, help="a zip of faces, of which some are held out")
    options = parser.parse_args()
    options.function(options)


if __name__ == "__main__":
    main()
