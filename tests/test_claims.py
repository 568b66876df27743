"""Sentences with numbers, and the cells of tables that support them. A number that moves breaks its sentence here.

A claim is a fragment of a page, and cells: (page, corner of the table, row, column). Either the fragment's numbers are
those of the cells, in order; or, with two lists of cells, each of the first stands in a relation to its partner.
"""

import json
import operator
import re

import pytest

from .helpers import ROOT

RESULTS, LIKENESS, MASKS = "docs/results.md", "docs/results/likeness.md", "docs/results/masks.md"
TEN = "docs/results/fewshot_adaptation.md"
CARD = "assets/models/celeba256/MODEL_CARD.md"
ACCURACY = "accuracy, %"
PAPERS, OURS = "latents: paper's rule, λ/m = 0.05", "latents: low-rank Σ, copies"
SHOTS = [f"m = {m}" for m in (1, 5, 10, 20, 30)]


def digits(row, *columns):
    return [(RESULTS, ACCURACY, row, column) for column in columns or SHOTS]


def ends(row):
    return digits(row, "m = 1", "m = 30")


def psnr(row):
    return MASKS, "in the bar's place", row, "PSNR"


def means(row):
    columns = ("energy, network", "novelty, network", "novelty, face descriptor")
    return [(LIKENESS, "", row, column) for column in columns]


# A fragment whose numbers are those of cells.
SAYS = {
    ("README.md", "| local bootstrap, the default | 5.63 | 0.78 | 0.69 |"): means(
        "the default: local, as chosen for the set"
    ),
    ("README.md", "| the given pixels, cut and pasted without a model | 3.07 | 0.84 | 0.62 |"): means(
        "pixels cut and pasted, 2 donors"
    ),
    ("README.md", "| the paper's posterior, λ/m = 0.5 | 25.72 | 1.08 | 1.29 |"): means("the paper's, λ/m = 0.5"),
    ("README.md", "our samples are no nearer to the rest of a set (7.0) than copies of the ten (6.6)"): [
        (TEN, "", "local bootstrap, the default", "energy to held-out"),
        (TEN, "", "copies of the ten", "energy to held-out"),
    ],
    ("README.md", "| the paper's rule, on latents | 37.3 | 62.4 |"): ends(PAPERS),
    ("README.md", "| nearest neighbour in pixels | 42.5 | 83.7 |"): ends("pixels: 1-NN"),
    ("README.md", "| nearest neighbour, upright digits, distorted copies | 59.7 | 92.8 |"): ends(
        "deskewed pixels: 1-NN, copies"
    ),
    ("README.md", "| our rule on latents, distorted copies | 53.9 | 89.7 |"): ends(OURS),
    ("README.md", "| our rule on HOG (edges), distorted copies | 69.5 | 97.0 |"): ends("HOG: low-rank Σ, copies"),
}
# What a sentence says of cells, without numbers of its own.
HOLDS = {
    (RESULTS, "pixels, without copies, beats it at every m. The paper reports the reverse."): (
        digits("pixels: 1-NN"),
        ">",
        digits(PAPERS),
    ),
    (RESULTS, "Under the paper's rule the untrained flow beats it at every m."): (
        digits("untrained latents: paper's rule, λ/m = 0.05"),
        ">",
        digits(PAPERS),
    ),
    ("README.md", "beats the paper's rule at every m, which reverses the paper's headline"): (
        digits("pixels: 1-NN"),
        ">",
        digits(PAPERS),
    ),
    ("README.md", "under that rule an untrained flow beats the trained one"): (
        digits("untrained latents: paper's rule, λ/m = 0.05"),
        ">",
        digits(PAPERS),
    ),
    ("docs/studio.md", "Of handwriting edges tell more"): (digits("HOG: low-rank Σ, copies"), ">", digits(OURS)),
    ("docs/studio.md", "nearest neighbours of upright digits](results.md#table-1-m-shot-mnist) more than latents"): (
        digits("deskewed pixels: 1-NN, copies"),
        ">",
        digits(OURS),
    ),
    (MASKS, "nearly all of the gain comes from it"): (
        [psnr("0 rounds"), psnr("0 rounds")],
        ">",
        [psnr("the colour around"), psnr("8 rounds")],
    ),
    (MASKS, "Many more rounds draw eyes that are further"): (
        [psnr("16 rounds")],
        "<",
        [psnr("2 rounds (the default)")],
    ),
}
RELATIONS = {">": operator.gt, "<": operator.lt}
#: Words with which a page compares. Each sentence of a page that people write, and that has one, is above or here.
COMPARES = re.compile(r"\b(better|worse|nearer|beats?|ahead|passes|falls short|more often|as good|sharper|best)\b")
NO_RESULT = {
    "docs/architecture.md": ["files to evidence: a few at a time, cached, read ahead of the flow"],
    "docs/priors.md": ["gives small pictures and previews faster"],
}
PAGES = ["README.md", "docs/studio.md", "docs/priors.md", "docs/training.md", "docs/index.md", CARD]


def text(file):
    return (ROOT / file).read_text(encoding="utf-8")


def cell(file, corner, row, column):
    """The first number of the first such cell."""
    for table in re.findall(r"(?:^\|.*\|$\n?)+", text(file), re.M):
        head, _, *rows = [[part.strip() for part in line.strip("|").split("|")] for line in table.strip().splitlines()]
        if head[0] == corner and column in head:
            for found in rows:
                if found[0] == row:
                    return re.search(r"-?\d[\d,]*\.?\d*", found[head.index(column)])[0]
    raise AssertionError(f"{file} has no cell {row!r}, {column!r}")


def flat(file):
    return " ".join(text(file).split())


@pytest.mark.parametrize(("claim", "cells"), SAYS.items(), ids=lambda value: str(value)[:60])
def test_a_sentence_has_the_numbers_of_its_cells(claim, cells):
    file, fragment = claim
    assert fragment in flat(file)
    said = re.findall(r"\d+\.\d+", re.sub(r"λ/m = [\d.]+", "", fragment))
    assert said == [cell(*one) for one in cells]


@pytest.mark.parametrize(("claim", "relation"), HOLDS.items(), ids=lambda value: str(value)[:60])
def test_what_a_sentence_says_holds_in_every_cell(claim, relation):
    file, fragment = claim
    first, sign, second = relation
    assert fragment in flat(file)
    for one, other in zip(first, second, strict=True):
        assert RELATIONS[sign](float(cell(*one)), float(cell(*other))), (one, other)


def test_the_paper_reports_the_reverse():
    published = json.loads(text("docs/results/results.json"))["table1"]["paper"]
    for m, accuracy in published["paper: its rule"].items():
        assert accuracy > published["paper: pixel k-NN"][m]


@pytest.mark.parametrize("page", PAGES)
def test_no_page_compares_what_no_claim_covers(page):
    known = [fragment for file, fragment in (*SAYS, *HOLDS) if file == page] + NO_RESULT.get(page, [])
    prose = re.sub(r"```.*?```", "", text(page), flags=re.S)
    for sentence in re.split(r"(?<=[.:])\s|\n\n|\n\|", prose):
        sentence = " ".join(sentence.split())
        if COMPARES.search(sentence):
            assert any(sentence in fragment or fragment in sentence for fragment in known), sentence


def test_the_number_of_a_claim_is_compared_as_it_is_written():
    assert cell(LIKENESS, "", "the default: local, as chosen for the set", "energy, network") == "5.63"
    with pytest.raises(AssertionError, match="no cell"):
        cell(LIKENESS, "", "no such row", "energy, network")
