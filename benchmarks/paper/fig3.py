"""Fig. 3 and 4: from one posterior to another, and from one image to another directly."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from benchmarks.distances import energy_distance, standardised
from benchmarks.features import DESCRIPTOR, colour_texture, descriptors
from benchmarks.measures import diversity, lab
from transflow_core.faces.models import _loaded, dlib
from transflow_core.images import to_pil
from transflow_core.posterior import Posterior, interpolate

from .near import Pictures
from .samples import SEED
from .setting import Setting
from .words import Result, amount, difference, listing, number, sign, summary, table, trend

__all__ = ["run", "words"]

_SETS = (("anime", "cartoon"), ("painted", "sepia"))
_SHARES = {"torn": "torn", "unlike": "unlike real faces"}
#: What drifts along the path of posteriors, and how it is written.
_DRIFTS = {
    "lightness": ("lightness", number(1)),
    "hair": ("lightness of hair", number(1)),
    "turn": ("nose, % of the eyes' distance to the right", number(1)),
    "way": ("face descriptor, way to the second", number(2)),
}
# Landmarks begin with HOG's average box in the frame (`faces.detection`).
_SIDE, _BOX = 256, (50, 73, 206, 229)
_RATIOS = (0.3, 0.7)  # unlike at the ends, so that the width moves and not the mean alone


def run(setting: Setting) -> dict[str, Any]:
    """Both paths over random halves of both sets, measured at each step against the other halves of both ends."""
    steps, n = (3, 3) if setting.fast else (7, 16)
    sets = [setting.evidence(name, 20, shipped) for name, shipped in _SETS]
    ends = [Pictures(name, evidence) for (name, _), evidence in zip(_SETS, sets, strict=True)]
    found: dict[str, list[dict[str, list[float]]]] = {
        path: [defaultdict(list) for _ in range(steps)] for path in ("posteriors", "direct")
    }
    faces = [end.features(DESCRIPTOR).mean(0) for end in ends]
    for split in range(setting.splits):
        halves = [end.halves(split) for end in ends]
        z = [end.z[torch.from_numpy(given)] for end, (given, _) in zip(ends, halves, strict=True)]
        paths = {"posteriors": _between(setting, z, steps, n, split), "direct": _direct(setting, z, steps, n)}
        for path, images in paths.items():
            for step, x in enumerate(images):
                cell, features = found[path][step], colour_texture(x)
                for name, measure in setting.real_faces.measures.items():
                    cell[name].append(measure(x))
                cell["diversity"].append(diversity(x))
                if path == "posteriors":
                    for name, value in _drift(x.numpy(), descriptors(x).mean(0), faces).items():
                        cell[name].append(value)
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
        "drift": [_drift(end.images, face, faces) for end, face in zip(ends, faces, strict=True)],
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


def _drift(x: NDArray[np.float32], face: NDArray, ends: list[NDArray]) -> dict[str, float]:
    """Means over (n, 3, S, S): CIELAB lightness, that of the band above the forehead, where the nose is, and where the
    mean face descriptor is on the line between those of both ends, from 0 to 1."""
    light = np.stack([lab(image)[0] for image in x])
    side = x.shape[-1]
    hair = light[:, round(0.05 * side) : round(0.18 * side), round(0.3 * side) : round(0.7 * side)]
    first, line = ends[0], ends[1] - ends[0]
    return {
        "lightness": float(light.mean()),
        "hair": float(hair.mean()),
        "turn": float(np.mean([_turn(image) for image in to_pil(x)])),
        "way": float((face - first) @ line / (line @ line)),
    }


def _turn(frame: Image.Image) -> float:
    """How far the nose is to the right of the middle of the eyes, in % of the eyes' distance."""
    shape = _loaded("5")(np.asarray(frame.resize((_SIDE, _SIDE))), dlib().rectangle(*_BOX))
    points = np.array([(point.x, point.y) for point in shape.parts()], float)
    right, left = points[:2].mean(0), points[2:4].mean(0)  # dlib's order: the eye at the right of the picture first
    return float(100 * (points[4] - (left + right) / 2)[0] / np.linalg.norm(right - left))


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
                *[amount(cell[key], none) for key in _SHARES],
            ]
            for t, cell in list(zip(r["t"], path, strict=True))[::2]
        ]

    head = ["t", "distance to the first", "distance to the second", *[f"{key}, %" for key in _SHARES]]
    sentences = []
    for key, what in _SHARES.items():
        ends = max((direct[0][key], direct[-1][key]), key=lambda cell: cell["mean"])
        most = max((cell[key] for cell in direct[1:-1]), key=lambda cell: cell["mean"])
        more = "more than at either end" if sign(difference(most, ends)) > 0 else "not more than at one of the ends"
        other = max(cell[key]["mean"] for cell in post)
        sentences.append(
            f"Between the ends, at most {none(most['mean'])} % of the images are {what}, {more} "
            f"({none(ends['mean'])} %). On the path of posteriors at most {none(other)} % are."
        )
    sentences.append("Drawings and paintings at the ends are no photographs, and count as such.")
    drifts, moved = [], {1: [], 0: [], -1: []}
    for key, (what, word) in _DRIFTS.items():
        first, second = (end[key] for end in r["drift"])
        steps = [amount(cell[key], word) for cell in post[::2]]
        drifts.append([what, word(first), *steps, word(second)])
        moved[int(np.sign(second - first)) * sign(difference(post[-1][key], post[0][key]))].append(what)
    drifted = {1: "as the sets differ", -1: "the other way", 0: "neither way, since the paired interval has 0"}
    drift = "; ".join(f"{words}: {listing(moved[way])}" for way, words in drifted.items() if moved[way])
    return f"""## Figures 3 and 4: between two posteriors, and directly between two images

![Figure 3](results/{r["picture"]})

*Between the posteriors* of {r["used"][0]} at λ/m = {r["ratios"][0]:g} and of {r["used"][1]} at λ/m =
{r["ratios"][1]:g}: the mean variance {trend(r["variance"])}. {r["splits"]} splits, {r["n"]} samples each. Half of each
set is given, and the energy distance is to the other half, in colour and texture. *Torn* and *unlike*
are as in [Figure 6](#figure-6-occlusions), which has their alarms and misses.

{table(head, row(post))}

The paper sees colours, hair, pose and gender drift from one end to the other. Gender was not measured: no image at hand
has a label of it. Landmarks and descriptors say little of a drawing. Means of the same samples, between those of both
sets:

{table(["", "the first set", *[f"t = {t:.2f}" for t in r["t"][::2]], "the second set"], drifts)}

From t = 0 to t = 1 they move {drift}.

![Figure 4](results/{r["picture_direct"]})

*Directly between two latents.* The picture has the cartoons and the sepia portraits that ship, because a direct
path begins with the evidence itself. The table has the same halves as above. The paper finds that "many intermediate
images are not faces". {" ".join(sentences)}

{table(head, row(direct))}"""
