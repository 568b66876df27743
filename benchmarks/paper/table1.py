"""Table 1: m-shot MNIST, the paper's rule, strong baselines, and what a Σ with a shape and its calibration add."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from transflow_core.checkpoints.native import Checkpoint
from transflow_core.faces.models import opencv
from transflow_core.fewshot import FewShotClassifier
from transflow_core.fewshot.features import hog
from transflow_core.flows.wavelet import build_flow
from transflow_core.priors.prior import Prior

from .digits import Digits, copies_of, load_digits, rank_variants
from .rules import BASELINES, Evidence, Groups, judged, ours
from .setting import Setting
from .words import Result, amount, difference, listing, number, sign, summary, table

__all__ = ["OURS", "run", "words"]

SHOTS = (1, 5, 10, 20, 30)
PAPER = {
    "paper: its rule": (30.39, 46.39, 58.73, 65.35, 69.52),
    "paper: pixel k-NN": (14.99, 32.99, 19.50, 22.83, 20.55),
    "paper: latent k-NN": (27.78, 35.10, 40.40, 44.12, 47.58),
}
# Rows of the classifier: how it is made.
RULES: dict[str, dict[str, Any]] = {
    "paper's rule, λ/m = 0.5": {"likelihood": "paper", "lam_ratio": 0.5},
    "paper's rule, λ/m = 0.05": {"likelihood": "paper", "lam_ratio": 0.05},
    "paper's rule, λ by held-out evidence": {"likelihood": "paper"},
    "low-rank Σ": {},
}
COPIES = ", copies"
OURS = "latents: low-rank Σ" + COPIES
PAPERS = "latents: paper's rule, λ/m = 0.05"
#: Rows that ours is held against, and rows of the page; all are in the record.
RIVALS = (
    "pixels: RBF-SVM, copies",
    "latents: RBF-SVM, copies",
    "pixels: 1-NN, copies",
    "deskewed pixels: 1-NN",
    "deskewed pixels: 1-NN, copies",
    "deskewed HOG: nearest mean",
    "HOG: low-rank Σ, copies",
    "deskewed HOG: low-rank Σ, copies",
    "untrained latents: low-rank Σ, copies",
    "pixels: low-rank Σ, copies",
    "latents: low-rank Σ",
)
SHOWN = (
    "pixels: 1-NN",
    "pixels: 1-NN, copies",
    "deskewed pixels: 1-NN",
    "deskewed pixels: 1-NN, copies",
    "pixels: RBF-SVM, copies",
    "pixels: paper's rule, λ/m = 0.05",
    "pixels: low-rank Σ",
    "pixels: low-rank Σ, copies",
    "HOG: nearest mean",
    "deskewed HOG: nearest mean",
    "HOG: low-rank Σ, copies",
    "deskewed HOG: low-rank Σ, copies",
    PAPERS,
    "latents: low-rank Σ",
    "latents: RBF-SVM, copies",
    OURS,
    "untrained latents: paper's rule, λ/m = 0.05",
    "untrained latents: low-rank Σ",
    "untrained latents: low-rank Σ, copies",
)
BESIDE_PAPERS = ("pixels: 1-NN", "untrained latents: paper's rule, λ/m = 0.05", "HOG: nearest mean")
_TWO_RULES = ("paper's rule, λ/m = 0.05", "low-rank Σ")
#: What is measured in each space: without copies, and with them.
ROWS: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "pixels": ((*_TWO_RULES, *BASELINES), ("low-rank Σ", *BASELINES)),
    "deskewed pixels": (("1-NN",), ("1-NN",)),
    "HOG": (("nearest mean", "low-rank Σ"), ("low-rank Σ",)),
    "deskewed HOG": (("nearest mean",), ("low-rank Σ",)),
    "latents": ((*RULES, *BASELINES), ("low-rank Σ", "1-NN", "RBF-SVM")),
    "untrained latents": (_TWO_RULES, ("low-rank Σ",)),
}
# Inverting the copies of a draw takes minutes, so that the last row has fewer draws, and a smaller m at most.
_FEWER = {"untrained latents" + COPIES: (5, 10)}


def run(setting: Setting) -> dict[str, Any]:
    """Every rule at every m in each space, with distorted copies of the evidence and without."""
    digits = load_digits(12 if setting.fast else 500, setting.mnist)
    shots = (1, 3) if setting.fast else SHOTS
    most = 3 if setting.fast else 40
    prior = setting.prior
    side, labels = prior.image_size, digits.labels[digits.test]
    flows = {"latents": prior, "untrained latents": untrained_prior(prior)}
    views: dict[str, Callable[[list[Image.Image]], Tensor]] = {
        "pixels": framed_pixels,
        "deskewed pixels": lambda images: framed_pixels([deskewed(image) for image in images]),
        "HOG": lambda images: hog(prior.to_unit(images)),
        "deskewed HOG": lambda images: hog(prior.to_unit([deskewed(image) for image in images])),
        **{space: lambda images, flow=flow: flow.encode(images).cpu() for space, flow in flows.items()},
    }
    earlier = setting.earlier.get("table1", {})
    known = earlier.get("rows", {})
    frames = [digits.framed(index, side) for index in range(len(digits.pixels))]
    found: dict[str, dict[int, dict[str, list[float]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    held_out: dict[int, list[float]] = defaultdict(list)
    everything: dict[str, Tensor] = {}
    for space, (alone, copied) in ROWS.items():
        wanted = [
            {name: f"{space}: {name}{suffix}" for name in names if f"{space}: {name}{suffix}" not in known}
            for suffix, names in (("", alone), (COPIES, copied))
        ]
        if not any(wanted):
            continue
        x = digits.latents(flows[space], setting.cache) if space in flows else views[space](frames)
        everything[space] = x
        query, within = x[digits.test], flows.get(space)
        for draw in range(setting.draws):
            drawn, copies = digits.draw(draw, max(shots)), []
            draws, largest = _FEWER.get(space + COPIES, (setting.draws, max(shots)))
            if wanted[1] and draw < draws:
                variants = rank_variants(digits, drawn[:, :largest], side, seed=draw, most=most)
                copies = [encode_row(views[space], row) for row in variants]
            for m in shots:
                both = _groups(x, drawn[:, :m]), variants_of(copies, m, most) if copies and m <= largest else {}
                for rows, groups in zip(wanted, both, strict=True):
                    if not groups:
                        continue
                    evidence = Evidence.of(groups) if any(name in BASELINES for name in rows) else None
                    for name, row in rows.items():
                        if evidence and name in BASELINES:
                            scores = BASELINES[name](evidence, query)
                        else:
                            rule = FewShotClassifier(within, **RULES[name])
                            scores = ours(rule, groups, query)
                            if row == OURS and rule.held_out_accuracy is not None:
                                held_out[m].append(100 * rule.held_out_accuracy)
                        _note(found[row][m], scores, labels)
            setting.say(f"Table 1, {space}: draw {draw}")
    if known:
        besides = {key: earlier[key] for key in ("held_out", "bias", "why")}
    else:
        besides = {
            "held_out": {str(m): summary(values) for m, values in held_out.items()},
            "bias": bias(everything["latents"], digits, setting.draws, min(5, max(shots))),
            "why": explain(prior, {space: everything[space] for space in ("pixels", *flows)}, digits),
        }
    rows = {
        name: {str(m): {key: summary(v) for key, v in cell.items()} for m, cell in row.items()}
        for name, row in found.items()
    }
    return besides | {
        "shots": list(shots),
        "draws": setting.draws,
        "test_digits": len(digits.test),
        "source": digits.source,
        "rows": known | rows,
        "paper": {name: dict(zip(map(str, SHOTS), values, strict=True)) for name, values in PAPER.items()},
    }


def _note(cell: dict[str, list[float]], scores: Tensor, labels: NDArray[np.int64]) -> None:
    for key, value in judged(scores, labels).items():
        cell[key].append(value)


def untrained_prior(prior: Prior) -> Prior:
    """A flow of the same shape with the weights that training starts from."""
    flow = build_flow(prior.flow.config, torch.Generator().manual_seed(0))
    checkpoint = Checkpoint(flow, prior.pixels, f"{prior.name}-untrained", fingerprint=f"untrained-{prior.fingerprint}")
    return Prior.from_checkpoint(checkpoint, device=prior.device)


def explain(prior: Prior, views: dict[str, Tensor], digits: Digits) -> dict[str, Any]:
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

    rows = {name: facts(x) for name, x in views.items()}
    faces = prior.typicality.median_rms if prior.typicality else (None,) * len(prior.levels)
    for level, rms in zip(prior.levels, faces, strict=True):
        rows[f"latents, level {level.name}"] = facts(views["latents"][:, level.slice]) | {"faces": rms}
    return rows


def bias(z: Tensor, digits: Digits, draws: int, m: int) -> dict[str, Any]:
    """Does the paper's rule favour classes with a long mean? It takes the class that minimises -2 q·ζ̄ + |ζ̄|²/(1 + r).

    Of each r = λ/m: the correlation over classes of |ζ̄|² with how much oftener a class is answered than it is right.
    """
    query, labels = z[digits.test], digits.labels[digits.test]
    found: dict[str, list[float]] = defaultdict(list)
    for draw in range(draws):
        means = torch.stack([z[torch.from_numpy(row)].mean(0) for row in digits.draw(draw, m)])
        size = means.square().sum(1)
        for ratio in (0.0, 0.05, 0.5):
            answers = (2 * query @ means.T - size / (1 + ratio)).argmax(1).numpy()
            excess = np.bincount(answers, minlength=10) - np.bincount(labels, minlength=10)
            found[f"{ratio:g}"].append(float(np.corrcoef(size.numpy(), excess)[0, 1]))
    return {"m": m, "correlation": {ratio: summary(np.nan_to_num(values)) for ratio, values in found.items()}}


def _groups(z: Tensor, drawn: NDArray[np.int64]) -> Groups:
    return {str(digit): z[torch.from_numpy(row)] for digit, row in enumerate(drawn)}


def variants_of(encoded: list[list[Tensor]], m: int, most: int) -> Groups:
    """(m, v, D) a class, with as many copies of each example as the last of them has."""
    kept = 1 + copies_of(m - 1, most)
    return {str(digit): torch.stack([z[:kept] for z in row[:m]]) for digit, row in enumerate(encoded)}


def encode_row(view: Callable[[list[Image.Image]], Tensor], row: list[list[Image.Image]]) -> list[Tensor]:
    """One class: the rows of each example's variants."""
    z = view([image for images in row for image in images])
    return list(z.split([len(images) for images in row]))


def framed_pixels(images: list[Image.Image]) -> Tensor:
    """The frame at half its size, flat, in [0, 1]: about MNIST's own resolution."""
    halves = [np.asarray(image.convert("L").reduce(2), np.float32) / 255 for image in images]
    return torch.from_numpy(np.stack(halves)).flatten(1)


def deskewed(image: Image.Image) -> Image.Image:
    """The digit upright and in the middle, by its moments, as in OpenCV's own example of digits."""
    pixels = np.asarray(image.convert("L"))
    moments, middle = opencv().moments(pixels), np.full(2, (len(pixels) - 1) / 2)
    if moments["mu02"] < 1e-2:
        return image
    upright = np.array([[1, moments["mu11"] / moments["mu02"]], [0, 1]])
    centre = np.array([moments["m10"], moments["m01"]]) / moments["m00"]
    matrix = np.column_stack([upright, centre - upright @ middle])
    flags = opencv().WARP_INVERSE_MAP | opencv().INTER_LINEAR
    return Image.fromarray(opencv().warpAffine(pixels, matrix, pixels.shape, flags=flags)).convert("RGB")


def _standing(ahead: list[str], behind: list[str]) -> str:
    """At which m."""
    where = [f"{word} at m = {listing(some)}" for word, some in (("ahead", ahead), ("behind", behind)) if some]
    return ", ".join(where) or "neither ahead nor behind at any m"


def words(r: Result) -> str:
    """The section of the page."""
    shots = [str(m) for m in r["shots"]]
    one = number(1)
    shown, rivals, beside = ([name for name in names if name in r["rows"]] for names in (SHOWN, RIVALS, BESIDE_PAPERS))
    rows = [[name, *[amount(r["rows"][name].get(m, {}).get("accuracy"), one) for m in shots]] for name in shown]
    published = "paper: its rule"
    rows.append([published, *[one(r["paper"][published][m]) if m in r["paper"][published] else "" for m in shots]])
    gains = {name: _differences(r, OURS, name) for name in rivals}
    paired = [[name, *[amount(gain, one, signed=True) for gain in row]] for name, row in gains.items()]

    against = [[name, *[amount(gain, one, signed=True) for gain in _differences(r, name, PAPERS)]] for name in beside]
    copied = "untrained latents: low-rank Σ" + COPIES
    trained = ""
    if copied in r["rows"]:
        gains_of = zip(shots, _differences(r, OURS, copied), strict=True)
        told = listing([f"{amount(gain, one, signed=True)} at m = {m}" for m, gain in gains_of if gain])
        draws = len(r["rows"][copied][shots[0]]["accuracy"]["values"])
        trained = f" With our rule and copies, the trained flow less the untrained one is {told}, over {draws} draws."
    own = r["rows"][OURS]
    stated = ", ".join(f"{one(own[m]['stated']['mean'])} / {one(own[m]['accuracy']['mean'])} at m = {m}" for m in shots)
    means = {m: {name: row[m]["accuracy"]["mean"] for name, row in r["rows"].items() if m in row} for m in shots}
    best = {m: max(found, key=found.__getitem__) for m, found in means.items()}
    won = {name: [m for m in shots if best[m] == name] for name in best.values()}
    leaders = "; ".join(f'"{name}", at m = {listing(some)}' for name, some in won.items())
    paper = r["paper"][published]
    found = {m: r["rows"][PAPERS][m]["accuracy"] for m in shots if m in paper}
    passed, short = ([m for m, row in found.items() if way * (row["mean"] - paper[m]) > row["half"]] for way in (1, -1))
    return f"""## Table 1: m-shot MNIST

Accuracy in %, over {r["draws"]} draws of m examples a class. {r["test_digits"]:,} test digits ({r["source"]}), apart
from the evidence. Digits are enlarged to the prior's frame. Pixels are that frame at half its size. *Copies* are
distorted copies of the evidence, the same for every rule. The paper's rule has the λ/m that its row names. Every other
setting is chosen on the draw's own evidence. Distortions, framing and a Σ for each level were chosen on digits that are
never tested ([how](results/digits_choice.md)), and so were the sizes of HOG. *HOG* is histograms of oriented gradients,
which the tab *Tell apart* offers. *Deskewed* digits are upright and in the middle. *Untrained* latents are of a flow
with the weights that training starts from. More rules are in the record.

{table(["accuracy, %", *[f"m = {m}" for m in shots]], rows)}

Best of all rules: {leaders}.

Ours is "{OURS}". Less another rule, in points, paired by draw:

{table(["ours less", *[f"m = {m}" for m in shots]], paired)}

What ours states, and how often it is right, in %: {stated}.

Beyond the interval the paper's rule at λ/m = 0.05 passes its published accuracy at m = {listing(passed)}, and falls
short of it at m = {listing(short)}.

### What the paper's rule does not beat

Each row is held against the paper's rule in the latents of the trained flow, λ/m = 0.05.

{table(["less the paper's rule", *[f"m = {m}" for m in shots]], against)}

{_everywhere(r, "pixels: 1-NN", "The nearest neighbour in pixels, without copies,")} The paper reports the reverse.
{_everywhere(r, BESIDE_PAPERS[1], "Under the paper's rule the untrained flow")}{trained}

{_why(r)}"""


def _everywhere(r: Result, name: str, what: str) -> str:
    """Where a row is ahead of the paper's rule, as one sentence."""
    shots = [str(m) for m in r["shots"]]
    won, lost = _where(shots, _differences(r, name, PAPERS))
    return f"{what} beats it at every m." if won == shots else f"{what} is {_standing(won, lost)}."


def _where(shots: Sequence[str], gains: Sequence[Result | None]) -> tuple[list[str], list[str]]:
    """At which m a paired difference is above 0, and at which below."""
    signs = {m: sign(gain) for m, gain in zip(shots, gains, strict=True) if gain}
    return [m for m, one in signs.items() if one > 0], [m for m, one in signs.items() if one < 0]


def _differences(r: Result, a: str, b: str) -> list[dict[str, Any] | None]:
    """Of two rows, the paired differences of their accuracies at each m, over the draws that both have; or None."""
    cells = [[r["rows"][name].get(str(m), {}).get("accuracy") for name in (a, b)] for m in r["shots"]]
    return [difference(one, other) if one and other else None for one, other in cells]


def _why(r: Result) -> str:
    shots = [str(m) for m in r["shots"]]
    facts = r["why"]
    levels = {name.split()[-1]: row for name, row in facts.items() if row.get("faces")}
    larger = [name for name, row in levels.items() if row["rms"] > row["faces"]]
    smaller = [name for name, row in levels.items() if row["rms"] < row["faces"]]
    spaces = ("latents", "pixels")
    accuracy = {space: [r["rows"][f"{space}: low-rank Σ"][m]["accuracy"] for m in shots] for space in spaces}
    gains = [sign(difference(*pair)) for pair in zip(accuracy["latents"], accuracy["pixels"], strict=True)]
    ahead, behind = ([m for m, gain in zip(shots, gains, strict=True) if gain == way] for way in (1, -1))
    bias = "; ".join(f"{amount(v)} at λ/m = {ratio}" for ratio, v in r["bias"]["correlation"].items())
    common = facts["latents"]["common"]
    return f"""### Does training the prior on faces help with digits?

**The flow whitens faces, not digits.** Digits are longer than faces at the levels {listing(larger)}, and shorter at
{listing(smaller)}.

**{common:.0%} of the power of a digit's latent is the mean of all digits.** The larger λ/m, the less a long mean costs
a class under the paper's rule. Correlation of a mean's length with how much too often the class is answered, at m =
{r["bias"]["m"]}: {bias}.

**The variance within classes lies in {facts["latents"]["directions"]:.0f} directions**
({facts["pixels"]["directions"]:.0f} in pixels). A scalar Σ weighs all alike; a low-rank Σ discounts them. Against
pixels, under a low-rank Σ without copies, the trained latents are {_standing(ahead, behind)}."""
