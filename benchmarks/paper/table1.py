"""Table 1: m-shot MNIST, the paper's rule, honest baselines, and what a Σ with a shape adds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from transflow_core.checkpoints import Checkpoint
from transflow_core.fewshot import FewShotClassifier
from transflow_core.flows import Glow
from transflow_core.prior import Prior

from .digits import Digits, copies_of, load_digits, rank_variants
from .setting import Setting

__all__ = ["OURS", "run"]

SHOTS = (1, 5, 10, 20, 30)
NEIGHBOURS = (1, 3, 5, 7)
PAPER = {
    "paper: its rule": (30.39, 46.39, 58.73, 65.35, 69.52),
    "paper: pixel k-NN": (14.99, 32.99, 19.50, 22.83, 20.55),
    "paper: latent k-NN": (27.78, 35.10, 40.40, 44.12, 47.58),
}
# Rows of the classifier: how it is made.
RULES: dict[str, dict[str, Any]] = {
    "paper's rule, λ/m = 0.5": {"likelihood": "isotropic", "centre": False, "lam_ratio": 0.5},
    "paper's rule, λ/m = 0.05": {"likelihood": "isotropic", "centre": False, "lam_ratio": 0.05},
    "paper's rule, λ by held-out evidence": {"likelihood": "isotropic", "centre": False},
    "scalar Σ, centred": {"likelihood": "isotropic"},
    "one λ a level, centred": {"likelihood": "levels"},
    "diagonal Σ, centred": {"likelihood": "diagonal"},
    "low-rank Σ, centred": {"likelihood": "low-rank"},
}
OURS = "low-rank Σ, centred, evidence augmented"


def run(setting: Setting, draws: Sequence[int] | None = None) -> dict[str, Any]:
    """Accuracy (%) of every rule at every m: mean, standard error over draws, and each draw.

    Args:
        setting: what it is run with.
        draws: seeds of the draws of evidence; 0 to 9 by default.
    """
    digits = load_digits(12 if setting.fast else 500)
    shots = (1, 3) if setting.fast else SHOTS
    draws = range(2 if setting.fast else 10) if draws is None else draws
    most = 3 if setting.fast else 40
    prior = setting.prior
    side, labels = prior.image_size, digits.labels[digits.test]
    z = digits.latents(prior, setting.cache)
    untrained = untrained_prior(prior)
    z0 = digits.latents(untrained, setting.cache)
    pixels = torch.from_numpy(digits.pixels.reshape(len(digits.pixels), -1).astype(np.float32) / 255)
    framed = _framed_pixels([digits.framed(index, side) for index in digits.test])

    accuracies: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    held_out: dict[int, list[float]] = defaultdict(list)
    sureness: dict[int, list[float]] = defaultdict(list)
    for draw in draws:
        drawn = digits.draw(draw, max(shots))
        variants = rank_variants(digits, drawn, side, seed=draw, most=most)
        augmented = [_encode_row(prior, row) for row in variants]
        augmented_pixels = [[_framed_pixels(images) for images in row] for row in variants]
        for m in shots:

            def note(name: str, guess: NDArray, m: int = m) -> None:
                accuracies[name][m].append(100 * float((guess == labels).mean()))

            few = drawn[:, :m]
            for name, guess in _neighbour_rules(pixels, z, few, digits.test):
                note(name, guess)
            for name, how in RULES.items():
                note(name, _guess(FewShotClassifier(prior, **how), _groups(z, few), z[digits.test])[0])
            note(
                "untrained prior: paper's rule, λ/m = 0.05",
                _guess(
                    FewShotClassifier(untrained, **RULES["paper's rule, λ/m = 0.05"]), _groups(z0, few), z0[digits.test]
                )[0],
            )
            note(
                "untrained prior: low-rank Σ, centred",
                _guess(FewShotClassifier(untrained), _groups(z0, few), z0[digits.test])[0],
            )
            note(
                "pixels: low-rank Σ, centred",
                _guess(FewShotClassifier(None), _groups(pixels, few), pixels[digits.test])[0],
            )
            ours, classifier, sure = _guess(FewShotClassifier(prior), _variants(augmented, m, most), z[digits.test])
            note(OURS, ours)
            sureness[m].append(sure)
            if classifier.held_out_accuracy is not None:
                held_out[m].append(100 * classifier.held_out_accuracy)
            moved = _variants(augmented_pixels, m, most)
            note("pixels: low-rank Σ, centred, evidence augmented", _guess(FewShotClassifier(None), moved, framed)[0])
            note("pixel 1-NN, evidence augmented", _nearest(framed, *_rows(moved)))
            setting.say(f"Table 1: draw {draw}, m = {m}: ours {accuracies[OURS][m][-1]:.1f} %")
    rows = {name: {str(m): _summary(values[m]) for m in shots} for name, values in accuracies.items()}
    return {
        "shots": list(shots),
        "draws": len(draws),
        "test_digits": len(digits.test),
        "rows": rows,
        "paper": {name: dict(zip(map(str, SHOTS), values, strict=True)) for name, values in PAPER.items()},
        "held_out": {str(m): _summary(values) for m, values in held_out.items()},
        "sureness": {str(m): _summary(values) for m, values in sureness.items()},
        "why": explain(prior, untrained, z, z0, pixels, digits),
    }


def untrained_prior(prior: Prior) -> Prior:
    """A Glow of the same shape with the weights that training starts from: random rotations of the pixels."""
    flow = Glow(prior.flow.config, torch.Generator().manual_seed(0))
    checkpoint = Checkpoint(flow, prior.pixels, f"{prior.name}-untrained", fingerprint=f"untrained-{prior.fingerprint}")
    return Prior.from_checkpoint(checkpoint, device=prior.device)


def explain(prior: Prior, untrained: Prior, z: Tensor, z0: Tensor, pixels: Tensor, digits: Digits) -> dict[str, Any]:
    """Where the digits' power lies, by level and by prior, measured on the half that evidence is drawn from.

    For each: root mean square; the share of the power that is one image, the mean of all digits; and, of the rest,
    variance between classes over variance within; how many directions carry the variance within (participation ratio).
    Of a level also the median root mean square of held-out faces, if the prior knows it.
    """
    index = digits.pool.ravel()
    labels = digits.labels[index]

    def facts(x: Tensor) -> dict[str, float]:
        x = x[index].double()
        mean = x.mean(0)
        classes = torch.stack([x[labels == digit].mean(0) for digit in range(10)])
        within = x - classes[torch.from_numpy(labels)]
        gram = within @ within.T
        return {
            "rms": float(x.square().mean().sqrt()),
            "common": float(mean.square().sum() / x.square().sum(1).mean()),
            "between_within": float((classes - mean).square().sum(1).mean() / within.square().sum(1).mean()),
            "directions": float(gram.trace() ** 2 / gram.square().sum()),
        }

    rows = {"pixels": facts(pixels), "untrained prior": facts(z0), f"{prior.name}": facts(z)}
    faces = prior.typicality.median_rms if prior.typicality else (None,) * len(prior.levels)
    for level, rms in zip(prior.levels, faces, strict=True):
        rows[f"{prior.name}, level {level.name}"] = facts(z[:, level.slice]) | {"faces": rms}
    return rows


def _guess(
    classifier: FewShotClassifier, groups: Mapping[str, Tensor], test: Tensor
) -> tuple[NDArray[np.int64], FewShotClassifier, float]:
    scores = classifier.fit_latents(groups).score_latents(test)
    sure = torch.softmax(scores / classifier.temperature, 1).max(1).values.mean()
    return scores.argmax(1).numpy(), classifier, 100 * float(sure)


def _groups(z: Tensor, drawn: NDArray[np.int64]) -> dict[str, Tensor]:
    return {str(digit): z[torch.from_numpy(row)] for digit, row in enumerate(drawn)}


def _variants(encoded: list[list[Tensor]], m: int, most: int) -> dict[str, Tensor]:
    """(m, v, D) a class, with as many copies of each example as the last of them has."""
    kept = 1 + copies_of(m - 1, most)
    return {str(digit): torch.stack([z[:kept] for z in row[:m]]) for digit, row in enumerate(encoded)}


def _encode_row(prior: Prior, row: list[list[Image.Image]]) -> list[Tensor]:
    """One class: latents of each example's variants."""
    z = prior.encode([image for images in row for image in images]).cpu()
    return list(z.split([len(images) for images in row]))


def _rows(groups: Mapping[str, Tensor]) -> tuple[Tensor, NDArray[np.int64]]:
    flat = [group.flatten(0, -2) for group in groups.values()]
    return torch.cat(flat), np.repeat(np.arange(len(flat)), [len(rows) for rows in flat])


def _framed_pixels(images: list[Image.Image]) -> Tensor:
    """The frame at half its size, flat, in [0, 1]: about MNIST's own resolution."""
    halves = [np.asarray(image.convert("L").reduce(2), np.float32) / 255 for image in images]
    return torch.from_numpy(np.stack(halves)).flatten(1)


def _neighbour_rules(
    pixels: Tensor, z: Tensor, few: NDArray[np.int64], test: NDArray[np.int64]
) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """k-NN and nearest mean, in pixels and in latents."""
    labels = np.repeat(np.arange(10), few.shape[1])
    for space, x in (("pixel", pixels), ("latent", z)):
        train, query = x[few.ravel()], x[test]
        distances, own = _distances(query, train), _distances(train, train)
        yield f"{space} 1-NN", labels[distances.argmin(1).numpy()]
        own.fill_diagonal_(torch.inf)
        # k is chosen by leaving out one piece of evidence at a time.
        found = {k: float((_vote(own, labels, k) == labels).mean()) for k in NEIGHBOURS if k < len(labels)}
        best = max(found, key=lambda k: (found[k], -k)) if few.shape[1] > 1 else 1
        yield f"{space} k-NN, k by leave-one-out", _vote(distances, labels, best)
        means = torch.stack([train[labels == digit].mean(0) for digit in range(10)])
        yield f"nearest mean in {space}s", _distances(query, means).argmin(1).numpy()


def _distances(a: Tensor, b: Tensor) -> Tensor:
    return a.square().sum(1, keepdim=True) - 2 * a @ b.T + b.square().sum(1)


def _nearest(query: Tensor, train: Tensor, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    return labels[_distances(query, train).argmin(1).numpy()]


def _vote(distances: Tensor, labels: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """The class of most of the k nearest; of a tie, the one with the nearest."""
    nearest = labels[distances.topk(k, largest=False).indices.numpy()]
    votes = np.stack([(nearest == digit).sum(1) for digit in range(10)], 1).astype(float)
    votes[np.arange(len(nearest)), nearest[:, 0]] += 0.5
    return votes.argmax(1)


def _summary(values: list[float]) -> dict[str, Any]:
    error = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "standard_error": error, "draws": [round(value, 2) for value in values]}
