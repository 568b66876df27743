"""How near restyled photographs come to a style, and how often the person is still the same.

    python -m benchmarks.restyle                               # the example sets that ship, and people made up
    python -m benchmarks.restyle --evidence FOLDER --photographs FOLDER

Half of each set is given, at random. Photographs are restyled at several strengths, and compared with the half that is
held out: the energy distance in colour and texture (`benchmarks.features`), standardised on the given half. dlib's
descriptor tells whether the person is the same. The table shows nobody's face.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from transflow_core.engine import Engine
from transflow_core.evidence import Evidence
from transflow_core.images import find_images, load_image, to_pil
from transflow_core.operations.restyle import restyle_faces
from transflow_core.posterior import Gaussian, Posterior, Restyling, standard_normal
from transflow_core.priors.catalogue import load_prior
from transflow_core.priors.prior import Prior

from .distances import energy_distance, standardised
from .features import colour_texture, descriptors
from .paper.words import amount, number, summary
from .sets import EXAMPLES, ROOT, SAME_PERSON, sets_in

TABLE = ROOT / "docs" / "results" / "restyle.md"
STRENGTHS = (1.0, 0.8, 0.6, 0.4)
DEFAULT = "the program's"
HEAD = """<!-- Written by `python -m benchmarks.restyle`. -->
# Restyling, measured

How near do {who} come to a style, and who still looks like the same person?
Half of each set is the style. A cell has the energy distance of the restyled faces to the other half, in colour and
texture, and how often dlib's descriptor takes a face for another person (above 0.6). Small is good in both. {splits}
random halves of each set; ± is half the width of a 95 % t interval over them. At 60 %, the default, dlib takes
{impostors} of the pairs of a restyled face and a different person for one person.

![The photograph that ships, of nobody, in each style that ships](restyle.jpg)

*At 60 %, by celeba128. `python -m benchmarks.restyle --picture docs/results/restyle.jpg` draws it again.*
"""

Map = Callable[[Tensor], Tensor]


def transport(x: Tensor, source: Gaussian, target: Gaussian) -> Tensor:
    """Optimal transport from a diagonal Gaussian to a diagonal one; from one variance, also to a low-rank one."""
    whitened = (x.double() - source.mean) / source.variance.double().sqrt()
    return (target.mean + target.covariance.root(whitened)).to(x.dtype)


def papers(z: Tensor, prior: Prior) -> Map:
    """T from N(0, I) to the posterior of the mean, a scalar Σ."""
    posterior = Posterior.condition(z, lam_ratio=0.3)
    return lambda x: transport(x, posterior.prior, posterior)


def mean_difference(z: Tensor, prior: Prior) -> Map:
    """Glow's manipulation vector: the mean of the set less that of photographs, which is 0 for a whitened latent."""
    return lambda x: x + z.mean(0)


def level_statistics(z: Tensor, prior: Prior) -> Map:
    """Mean and deviation of every channel over its level become those of the evidence: Gatys' idea, in the latent."""

    def statistics(x: Tensor) -> tuple[Tensor, Tensor]:
        return x.mean(2, keepdim=True), x.std(2, keepdim=True).clamp_min(0.05)

    def moved(x: Tensor) -> Tensor:
        parts = []
        for level in prior.levels:
            here, there = (y[:, level.slice].reshape(len(y), level.shape[0], -1) for y in (x, z))
            (mean, std), (means, stds) = statistics(here), statistics(there)
            parts.append(((here - mean) / std * stds.mean(0) + means.mean(0)).reshape(len(x), -1))
        return torch.cat(parts, 1)

    return moved


def restyling(likeness: float) -> Callable[[Tensor, Prior], Map]:
    """The program's map: whitened by the photograph's own statistics."""

    def of(z: Tensor, prior: Prior) -> Map:
        assert prior.typicality is not None
        return Restyling.of(Posterior.condition(z, lam_ratio=1.0), prior.levels, prior.typicality.median_rms, likeness)

    return of


MAPS: dict[str, Callable[[Tensor, Prior], Map]] = {
    DEFAULT: restyling(0.0),
    "likeness 0.4": restyling(0.4),
    "likeness 0.9": restyling(0.9),
    "the paper's, λ/m = 0.3": papers,
    "mean difference (Glow)": mean_difference,
    "level statistics (Gatys)": level_statistics,
}


def people(engine: Engine, n: int, folder: Path | None) -> Evidence:
    """Photographs: the largest face of each file of a folder, or people whom the prior makes up."""
    if folder is None:
        z = 0.7 * standard_normal(n, engine.prior.dim, seed=7)
        return engine.read(to_pil(engine.prior.decode(z).clamp(0, 1)), align="never")
    return engine.read(find_images(folder)[:n], align="always")


def measured(folder: Path, who: Evidence, engine: Engine, maps: Sequence[str], split: int) -> list[dict]:
    """A row for each map and strength: the energy distance to the set's held-out half, and each face's distance."""
    files = find_images(folder)
    order = np.random.default_rng(split).permutation(len(files))
    given, held_out = (engine.read([files[i] for i in half]) for half in (order[::2], order[1::2]))
    posterior = given.posterior()
    real = colour_texture(engine.decode(held_out.z))
    scale = standardised(colour_texture(engine.decode(posterior.latents)))
    style = engine.looks(posterior).of(posterior.counting).guard
    guards = [style.union(one.guard).uncoloured() for one in engine.looks(who.z).rows()]
    before = descriptors(engine.decode(who.z))
    rows = []
    for name in maps:
        moved = MAPS[name](posterior.latents, engine.prior)(who.z)
        for strength in STRENGTHS:
            images = engine.decode(who.z + strength * (moved - who.z), centre=who.z, guards=guards)
            apart = np.linalg.norm(descriptors(images)[:, None] - before, axis=2)
            row = {"set": folder.name, "map": name, "strength": strength, "split": split, "apart": apart}
            rows.append(row | {"energy": energy_distance(scale(colour_texture(images)), scale(real))})
            print(f"{folder.name}, {name}, {strength:g}: {_cell([rows[-1]])}", flush=True)
    return rows


def _cell(rows: Sequence[dict]) -> str:
    """Energy distance, with its interval over splits, and in how many of a hundred faces dlib sees another person."""
    other = np.mean([np.diag(row["apart"]) > SAME_PERSON for row in rows])
    energies = [[row["energy"] for row in rows if row["split"] == split] for split in {row["split"] for row in rows}]
    return f"{amount(summary(map(np.mean, energies)), number(1))} / {100 * other:.0f} %"


def _table(title: str, key: str, rows: list[dict]) -> list[str]:
    """A row for each set or map, a column for each strength."""
    lines = ["", f"| {title} |{''.join(f' {s:.0%} |' for s in STRENGTHS)}", "|---" * (1 + len(STRENGTHS)) + "|"]
    for name in dict.fromkeys(row[key] for row in rows):
        cells = [_cell([row for row in rows if (row[key], row["strength"]) == (name, s)]) for s in STRENGTHS]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def table(rows: list[dict], who: str) -> str:
    """Set by set with the map of the program; then every map, on each set that all were tried on."""
    lines = _table("style", "set", [row for row in rows if row["map"] == DEFAULT])
    for name in dict.fromkeys(row["set"] for row in rows if row["map"] != DEFAULT):
        lines += _table(f"map, to {name}", "map", [row for row in rows if row["set"] == name])
    apart = [row["apart"] for row in rows if (row["map"], row["strength"]) == (DEFAULT, 0.6)]
    others = ~np.eye(len(apart[0]), dtype=bool)
    impostors = np.mean([(one < SAME_PERSON)[others].mean() for one in apart])
    head = HEAD.format(who=who, impostors=f"{100 * impostors:.1f} %", splits=len({row["split"] for row in rows}))
    return head + "\n".join(lines) + "\n"


def gallery(prior: Prior, path: Path) -> None:
    """The photograph that ships, of people whom the prior made up, in the style of each set that ships."""
    engine, photograph = Engine(prior), load_image(EXAMPLES / "photograph.png")
    faces = engine.read([photograph], faces="all")
    pictures, labels = [photograph], ["photograph"]
    for folder in sets_in(EXAMPLES):
        style = engine.posterior(find_images(folder), align="never")
        pictures.append(restyle_faces(engine, faces, style, [0.6]).pasted(photograph))
        labels.append(folder.name.replace("_", " "))
    small = [picture.resize((400, 210), Image.Resampling.LANCZOS) for picture in pictures]
    rows = -(-len(small) // 2)
    sheet = Image.new("RGB", (2 * 404, rows * 236), "white")
    for index, (picture, label) in enumerate(zip(small, labels, strict=True)):
        left, top = 404 * (index % 2), 236 * (index // 2)
        sheet.paste(picture, (left, top + 22))
        ImageDraw.Draw(sheet).text((left + 4, top + 4), label, "black")
    sheet.save(path, quality=85)


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.restyle", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prior", default="celeba128", help="name, file or folder")
    parser.add_argument("--evidence", type=Path, nargs="+", help="sets, or folders of sets; those that ship by default")
    parser.add_argument("--all-maps", type=int, default=2, help="on how many sets the other maps are tried")
    parser.add_argument("--photographs", type=Path, help="a folder; by default people whom the prior makes up")
    parser.add_argument("-n", type=int, default=12, help="photographs")
    parser.add_argument("--splits", type=int, default=5, help="random halves of each set")
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--picture", type=Path, help="write the photograph that ships in each style here, and no more")
    options = parser.parse_args()
    prior = load_prior(options.prior)
    if options.picture is not None:
        gallery(prior, options.picture)
        return
    engine = Engine(prior)
    who = Evidence(people(engine, options.n, options.photographs).used)
    text = f"{len(who)} " + ("people whom the model made up" if options.photographs is None else "own photographs")
    rows, sets = [], [one for path in options.evidence or [EXAMPLES] for one in sets_in(path) or [path]]
    for index, folder in enumerate(sets):
        for split in range(options.splits):
            rows += measured(folder, who, engine, list(MAPS) if index < options.all_maps else [DEFAULT], split)
        options.table.write_text(table(rows, text), encoding="utf-8")


if __name__ == "__main__":
    main()
