"""How near samples are to evidence that was held out, by λ/m, and which λ/m each automatic choice would take."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from benchmarks.features import FEATURES
from benchmarks.likeness import compared
from benchmarks.measures import as_unit, chroma
from benchmarks.sets import Set
from transflow_core.engine import Engine
from transflow_core.evidence import Evidence
from transflow_core.posterior import Covariance, Gaussian, Posterior, recommend
from transflow_core.posterior.gaussian import Sampler
from transflow_core.priors.catalogue import load_prior
from transflow_core.recipes import DEFAULT_PRIOR

from .setting import Setting
from .words import Result, amount, difference, listing, sign, summary, table

__all__ = ["Pictures", "default", "measured", "run", "samplers", "spaces", "words"]

REAL, PRIOR = "real pictures", "the prior, temperature 0.7"
DEFAULT = "local, the default"
VECTORS = {f"manipulation vector × {share:g}": share for share in (0.5, 1.0)}

RATIOS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 3.0)
SETS = {"greyscale": None, "red_hair": None, "sketch": None, "painted": "sepia", "anime": "cartoon"}
# Among these is what leave-one-out density chooses.
DENSITIES = (0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0)
NAMES = {"colour and texture": "colour and texture", "network": "ImageNet network"}
Maker = Callable[[Tensor], Sampler]


class Pictures(Set):
    """A set of evidence with its features, as `benchmarks.likeness` has it, of what was read already."""

    def __init__(self, name: str, evidence: Evidence) -> None:
        self.name = name
        self.z = evidence.z
        self.images = as_unit([image.face.image for image in evidence.used if image.face])
        self._features = {}


def spaces(setting: Setting) -> list[str]:
    """Colour and texture; and the ImageNet network where it is installed, not in a fast run."""
    wide = not setting.fast and find_spec("efficientnet_lite_pytorch") is not None
    return ["colour and texture", *["network"] * wide]


def default(engine: Engine, posterior: Posterior) -> Sampler:
    """What samples are drawn from where nobody chooses."""
    return engine.draw(posterior, recommend(posterior, engine.looks(posterior)).method)


def samplers(engine: Engine, ratios: tuple[float, ...] = RATIOS) -> dict[str, Maker]:
    """From the latents of the evidence to what is drawn from: the paper's posterior at each λ/m, and our default."""

    def at(ratio: float) -> Maker:
        return lambda z: Posterior.condition(z, lam_ratio=ratio)

    return {f"{ratio:g}": at(ratio) for ratio in ratios} | {
        DEFAULT: lambda z: default(engine, Posterior.condition(z, lam_ratio=1.0)),
        PRIOR: lambda z: Gaussian(torch.zeros(engine.prior.dim), Covariance.of(0.49)),
    }


def vectors(plain: Tensor) -> dict[str, Maker]:
    """Glow's manipulation vectors (Kingma, Dhariwal 2018, section 6.3): the mean latent of a set less that of plain
    faces, (p, D), added to samples of the prior at temperature 0.7. Their covariance stays the prior's."""

    def moved(share: float) -> Maker:
        return lambda z: Gaussian(share * (z.mean(0) - plain.mean(0)), Covariance.of(0.49))

    return {label: moved(share) for label, share in VECTORS.items()}


def measured(setting: Setting, engine: Engine, pictures: Pictures, makers: Mapping[str, Maker]) -> dict[str, Any]:
    """Each sampler, conditioned on a random half of a set, against the other half.

    Returns, of each maker and of the given half itself (`REAL`), summaries over splits of energy distance, diversity
    and novelty in each space ("energy, network"), and of the chroma.
    """
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    wanted = ("energy", "diversity", "novelty", "recall")
    for split in range(setting.splits):
        given, held_out = pictures.halves(split)
        for label in (REAL, *makers):
            if label == REAL:
                images = pictures.images[given]
            else:
                sampler = makers[label](pictures.z[torch.from_numpy(given)])
                images = engine.sample(sampler, setting.count(16), seed=split).images.numpy()
            found[label]["chroma"].append(chroma(images))
            for space in spaces(setting):
                real = pictures.features(space)
                features = real[given] if label == REAL else FEATURES[space](images)
                row = compared(features, real[given], real[held_out])
                for key in wanted if label != REAL else wanted[:2]:
                    found[label][f"{key}, {space}"].append(row[key])
    return {label: {key: summary(values) for key, values in row.items()} for label, row in found.items()}


def run(setting: Setting) -> dict[str, Any]:
    """Every set under both priors: measures by λ/m, what else would choose λ/m, and where samples lie by their size."""
    priors = [setting.prior]
    if not setting.fast and setting.prior.name != DEFAULT_PRIOR:
        priors.append(load_prior(DEFAULT_PRIOR, device=str(setting.prior.device)))
    ratios = RATIOS[::4] if setting.fast else RATIOS
    result: dict[str, Any] = {"splits": setting.splits, "n": setting.count(16), "ratios": ratios, "priors": {}}
    for prior in priors:
        engine = setting.engine if prior is setting.prior else Engine(prior)
        makers, sets = samplers(engine, ratios) | vectors(setting.plain(40, engine).z), {}
        for name, shipped in list(SETS.items())[: 2 if setting.fast else None]:
            pictures = Pictures(name, setting.evidence(name, 24, shipped, engine))
            entry = {"used": setting.evidence_used[name], "m": len(pictures.z)}
            entry["measures"] = measured(setting, engine, pictures, makers)
            entry["chosen"] = {"density": _by_density(pictures.z), "size": _by_size(pictures.z)}
            sets[name] = entry
            setting.say(f"near: {prior.name}, {name}")
        result["priors"][prior.name] = sets
    return result


def _by_density(z: Tensor) -> float:
    """λ/m at which each piece of evidence is most probable given the others, in the paper's predictive (eq. 9-11)."""
    densities = []
    for ratio in DENSITIES:
        others = [Posterior.condition(torch.cat([z[:i], z[i + 1 :]]), lam_ratio=ratio) for i in range(len(z))]
        of_ratio = [other.predictive().log_prob(z[i : i + 1]).item() for i, other in enumerate(others)]
        densities.append(sum(of_ratio))
    return DENSITIES[densities.index(max(densities))]


def _by_size(z: Tensor) -> float | None:
    """λ/m at which draws of the paper's posterior are as long as the evidence, of mean square s; None from s = 1 on.

    With ζ̄ of mean square a and u = 1/(1 + λ/m) it is the root of a u² + 1 - u = s between 0 and 1.
    """
    s, a = float(z.double().square().mean()), float(z.double().mean(0).square().mean())
    if s >= 1:
        return None
    return (1 + (1 - 4 * a * (1 - s)) ** 0.5) / (2 * (1 - s)) - 1


def words(r: Result) -> str:
    """The section of the page."""
    parts = []
    for prior, sets in r["priors"].items():
        measured_in = [space for space in NAMES if _has(sets, space)]
        if prior == list(r["priors"])[-1]:
            parts += [_space(sets, r["ratios"], space) for space in measured_in]
            parts.append(_choices(sets, r["ratios"]))
        else:
            parts += [
                f"With {prior}, {NAMES[space]}, nearer are {_compared(sets, r['ratios'], space)}."
                for space in measured_in
            ]
    used = listing([entry["used"] for entry in next(iter(r["priors"].values())).values()])
    return f"""## Distance to held-out evidence

Half of each set is given, at random. {r["n"]} samples are compared with the other half: the energy distance of features
that are standardised on both halves. *Real pictures* are the given half itself. {r["splits"]} splits. Sets: {used}.
{_RECIPE} Tables are of {list(r["priors"])[-1]}.

""" + "\n\n".join(parts)


_RECIPE = (
    f"*Best* is the best for that set, of {', '.join(f'{ratio:g}' for ratio in RATIOS)}. A manipulation vector is the "
    "mean latent of the given half less that of plain faces, added to samples of the prior, as Glow's authors did "
    f"(times {' or '.join(f'{share:g}' for share in VECTORS.values())}). *Best* is chosen by the very distances "
    "that are shown, which favours both."
)


def _has(sets: Result, space: str) -> bool:
    return all(f"energy, {space}" in entry["measures"][REAL] for entry in sets.values())


def _space(sets: Result, ratios: list[float], space: str) -> str:
    key = f"energy, {space}"
    paper = [f"{ratio:g}" for ratio in ratios]
    rows = [
        [shown, *[amount(entry["measures"][_best(entry, labels, key)][key]) for entry in sets.values()]]
        for shown, labels in (
            (REAL, [REAL]),
            (PRIOR, [PRIOR]),
            ("the paper's, best λ/m", paper),
            ("manipulation vector, best", list(VECTORS)),
            (DEFAULT, [DEFAULT]),
        )
    ]
    head = [NAMES[space], *[name.replace("_", " ") for name in sets]]
    return f"{table(head, rows)}\n\nNearer are {_compared(sets, ratios, space)}."


def _compared(sets: Result, ratios: list[float], space: str) -> str:
    paper = [f"{ratio:g}" for ratio in ratios]
    return "; ".join(
        f"{first} on {_nearer(sets, f'energy, {space}', this, those)}"
        for first, this, those in (
            (f"samples of {DEFAULT}, than the paper's best", [DEFAULT], paper),
            ("the paper's best than the vector's", paper, list(VECTORS)),
            ("the vector's best than the paper's", list(VECTORS), paper),
        )
    )


def _nearer(sets: Result, key: str, these: Sequence[str], those: Sequence[str]) -> str:
    """On how many sets the best of these is nearer than the best of those, and on which."""
    found = [
        name.replace("_", " ")
        for name, entry in sets.items()
        if sign(difference(*(entry["measures"][_best(entry, labels, key)][key] for labels in (these, those)))) < 0
    ]
    some = 0 < len(found) < len(sets)
    return f"{len(found)} of {len(sets)} sets" + (f" ({listing(found)})" if some else "")


def _best(entry: Result, labels: Sequence[str], key: str) -> str:
    return min(labels, key=lambda label: entry["measures"][label][key]["mean"])


def _choices(sets: Result, ratios: list[float]) -> str:
    def size(ratio: float | None) -> str:
        return "none" if ratio is None else f"{ratio:.2g}"

    keys = [key for key in (f"energy, {space}" for space in NAMES) if _has(sets, key.removeprefix("energy, "))]
    paper = [f"{ratio:g}" for ratio in ratios]
    head = ["best λ/m by", *[name.replace("_", " ") for name in sets]]
    rows = [
        [
            f"distance, {key.removeprefix('energy, ')}",
            *[_best(e, paper, key) for e in sets.values()],
        ]
        for key in keys
    ]
    rows.append(["leave-one-out density", *[f"{entry['chosen']['density']:g}" for entry in sets.values()]])
    rows.append(["size: draws as long as the evidence", *[size(entry["chosen"]["size"]) for entry in sets.values()]])
    low = [
        name
        for name, entry in sets.items()
        if entry["chosen"]["density"] < min(float(_best(entry, paper, key)) for key in keys)
    ]
    return (
        table(head, rows) + "\n\nThe paper recommends 0.3 to 0.7. Density chooses less than both distances on "
        f"{len(low)} of {len(sets)} sets."
    )
