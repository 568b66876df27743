"""Fig. 3 and 4: from one posterior to another, and from one image to another directly."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.distances import energy_distance, standardised
from benchmarks.features import colour_texture
from benchmarks.measures import diversity, face_rate, lab
from transflow_core.posterior import Posterior, interpolate

from .near import Pictures
from .samples import SEED
from .setting import Setting
from .words import Result, amount, difference, number, sign, summary, table, trend

__all__ = ["run", "words"]

_SETS = (("anime", "cartoon"), ("painted", "sepia"))
_RATIOS = (0.3, 0.7)  # unlike at the ends, so that the width moves and not the mean alone


def run(setting: Setting) -> dict[str, Any]:
    """Both paths over random halves of both sets, measured at each step against the other halves of both ends."""
    steps, n = (3, 3) if setting.fast else (7, 16)
    sets = [setting.evidence(name, 20, shipped) for name, shipped in _SETS]
    ends = [Pictures(name, evidence) for (name, _), evidence in zip(_SETS, sets, strict=True)]
    found: dict[str, list[dict[str, list[float]]]] = {
        path: [defaultdict(list) for _ in range(steps)] for path in ("posteriors", "direct")
    }
    for split in range(setting.splits):
        halves = [end.halves(split) for end in ends]
        z = [end.z[torch.from_numpy(given)] for end, (given, _) in zip(ends, halves, strict=True)]
        paths = {"posteriors": _between(setting, z, steps, n, split), "direct": _direct(setting, z, steps, n)}
        for path, images in paths.items():
            for step, x in enumerate(images):
                cell, features = found[path][step], colour_texture(x)
                cell["faces"].append(100 * face_rate(x))
                cell["lightness"].append(_lightness(x.numpy()))
                cell["diversity"].append(diversity(x))
                for label, end, (given, held_out) in zip("ab", ends, halves, strict=True):
                    real = end.features("colour and texture")
                    scale = standardised(real[given])
                    cell[label].append(energy_distance(scale(features), scale(real[held_out])))
    shown, t = setting.count(4), [round(i / (steps - 1), 2) for i in range(steps)]
    labels = [f"{value:.2f}" for value in t]
    # A direct path begins and ends with the evidence itself: it is shown between examples that show nobody.
    drawn = [setting.evidence(shipped, 4).z for _, shipped in _SETS]
    path = _between(setting, [end.z for end in ends], steps, shown, SEED)
    return {
        "picture": setting.show("fig3", setting.rows(path), column_labels=labels),
        "picture_direct": setting.show(
            "fig4", setting.rows(_direct(setting, drawn, steps, shown)), column_labels=labels
        ),
        "t": t,
        "ratios": _RATIOS,
        "splits": setting.splits,
        "n": n,
        "variance": [float(s.variance.mean()) for s in _samplers([end.z for end in ends], steps)],
        "paths": {p: [{k: summary(v) for k, v in cell.items()} for cell in cells] for p, cells in found.items()},
        "used": [setting.evidence_used[name] for name, _ in _SETS],
    }


def _samplers(z: list[Tensor], steps: int) -> list[Any]:
    a, b = (Posterior.condition(rows, lam_ratio=ratio) for rows, ratio in zip(z, _RATIOS, strict=True))
    return [interpolate(a, b, i / (steps - 1)) for i in range(steps)]


def _between(setting: Setting, z: list[Tensor], steps: int, n: int, seed: int) -> Tensor:
    return torch.stack([setting.engine.sample(sampler, n, seed=seed).images for sampler in _samplers(z, steps)])


def _direct(setting: Setting, z: list[Tensor], steps: int, n: int) -> Tensor:
    """Straight lines between the latents of n pairs of evidence: (steps, n, C, S, S)."""
    n = min(n, *map(len, z))
    t = torch.linspace(0, 1, steps).reshape(-1, 1, 1)
    path = (1 - t) * z[0][:n] + t * z[1][:n]
    images = setting.engine.decode(path.flatten(0, 1))
    return images.reshape(steps, n, *images.shape[1:])


def _lightness(x: NDArray[np.float32]) -> float:
    return float(np.mean([lab(image)[0].mean() for image in x]))


def words(r: Result) -> str:
    """The section of the page."""
    post, direct = r["paths"]["posteriors"], r["paths"]["direct"]
    one, none = number(1), number(0)

    def row(path: list[Result]) -> list[list[str]]:
        return [
            [
                f"{t:.2f}",
                amount(cell["a"], one),
                amount(cell["b"], one),
                amount(cell["faces"], none),
            ]
            for t, cell in list(zip(r["t"], path, strict=True))[::2]
        ]

    def means(path: list[Result], key: str) -> list[float]:
        return [cell[key]["mean"] for cell in path]

    head = ["t", "distance to the first", "distance to the second", "faces, %"]
    faces = [cell["faces"] for cell in direct]
    ends = sorted((faces[0], faces[-1]), key=lambda cell: cell["mean"])
    least = min(faces[1:-1], key=lambda cell: cell["mean"])
    finding = "is not reproduced: that is no fewer than at one of the ends"
    if sign(difference(least, ends[0])) < 0:
        finding = "is reproduced: that is fewer than at either end"
    return f"""## Figures 3 and 4: between two posteriors, and directly between two images

![Figure 3](results/{r["picture"]})

*Between the posteriors* of {r["used"][0]} at λ/m = {r["ratios"][0]:g} and of {r["used"][1]} at λ/m =
{r["ratios"][1]:g}: the mean variance {trend(r["variance"])}. {r["splits"]} splits, {r["n"]} samples each. Half of each
set is given, and the energy distance is to the other half, in colour and texture. *Faces* is the share of images in
which dlib finds a face at 256×256.

{table(head, row(post))}

![Figure 4](results/{r["picture_direct"]})

*Directly between two latents.* The picture has the cartoons and the sepia portraits that ship, because a direct
path begins with the evidence itself. The table has the same halves as above. The paper finds that "many intermediate
images are not faces". dlib finds faces in at least {none(least["mean"])} % of the images between the ends, in
{none(ends[0]["mean"])} and {none(ends[1]["mean"])} % at the ends, and in at least {none(min(means(post, "faces")))} %
on the path of posteriors. The paper's finding {finding}.

{table(head, row(direct))}"""
