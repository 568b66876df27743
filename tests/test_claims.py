"""Sentences with numbers, and the cells of tables that support them. A number that moves breaks its sentence here.

A claim is a fragment of a page, and cells: (page, corner of the table, row, column), where "page#heading" begins at a
heading. Either the fragment's numbers are those of the cells, in order and rounded as the fragment has them; or, with
two lists of cells, each of the first is larger than its partner.
"""

import json
import re

import pytest

from .helpers import ROOT

RESULTS, LIKENESS, MASKS = "docs/results.md", "docs/results/likeness.md", "docs/results/masks.md"
SHIPPED = LIKENESS + "#The example sets that ship"
JUDGED, TEN, SPEED = "docs/results/judged.md", "docs/results/fewshot_adaptation.md", "docs/performance.md"
CARD = "assets/models/celeba256/MODEL_CARD.md"
SIZES = ("celeba64 165abd27", "celeba128 0f02e82e", "celeba256 c1baf9c2")
ACCURACY = "accuracy, %"
PAPERS, OURS = "latents: paper's rule, λ/m = 0.05", "latents: low-rank Σ, copies"
PLAIN = ("ours", "plain Glow, as many parameters", "plain Glow, as long a step")
SHOTS = [f"m = {m}" for m in (1, 5, 10, 20, 30)]
LOCAL, PASTED = "the default: local, as chosen for the set", "pixels cut and pasted, 2 donors"
POSTERIOR = "the paper's, λ/m = 0.5"
SIX = ("anime", "painted", "sketch", "red hair", "greyscale", "glasses")
FAR, NEAR = ("neon bar", "cartoon"), ("drawings", "greyscale", "noise bar", "paintings", "red hair", "sepia", "sketch")


def digits(row, *columns):
    return [(RESULTS, ACCURACY, row, column) for column in columns or SHOTS]


def ends(row):
    return digits(row, "m = 1", "m = 30")


def psnr(row):
    return MASKS, "in the bar's place", row, "PSNR"


def means(row):
    columns = ("energy, network", "novelty, network", "novelty, face descriptor")
    return [(LIKENESS, "", row, column) for column in columns]


def distances(temperature, space):
    row = f"temperature {temperature:g}, {space}: KID × 10³, precision, recall"
    return [("docs/priors.md", "", row, column) for column in SIZES]


def energies(row, sets, page=LIKENESS):
    return [(page, "energy, network", row, one) for one in sets]


def seconds(row):
    return [(SPEED, "", row, "celeba256")]


FARTHER = "our samples are farther from the rest of a set (5.7) than copies of the ten (0.1)"
TEN_OURS, TEN_COPIES = (
    [(TEN, "", row, "energy to held-out")] for row in ("local bootstrap, the default", "copies of the ten")
)

SITTER = "samples are 0.38 from the person by dlib, other photographs 0.32, other people 0.81"
PERSON = (LOCAL, "the person's other photographs", "photographs of other people")
TORN = [(JUDGED, "set", "all sets", f"torn for both, {which}") for which in ("default", "before")]

# A fragment whose numbers are those of cells.
SAYS = {
    ("README.md", "| local bootstrap, the default | 5.76 | 0.91 | 0.70 |"): means(LOCAL),
    ("README.md", "| the given pixels, cut and pasted without a model | 3.30 | 1.04 | 0.59 |"): means(PASTED),
    ("README.md", "| the paper's posterior, λ/m = 0.5 | 26.48 | 1.37 | 1.32 |"): means(POSTERIOR),
    ("README.md", FARTHER): [*TEN_OURS, *TEN_COPIES],
    ("README.md", SITTER): [(LIKENESS, "", row, "distance to their mean") for row in PERSON],
    ("README.md", "[4 of 552 samples look torn](docs/results/judged.md), and 20 of the default before."): TORN,
    ("README.md", "| the paper's rule, on latents | 37.3 | 62.4 |"): ends(PAPERS),
    ("README.md", "| nearest neighbour in pixels | 42.5 | 83.7 |"): ends("pixels: 1-NN"),
    ("README.md", "| nearest neighbour, upright digits, distorted copies | 59.7 | 92.8 |"): ends(
        "deskewed pixels: 1-NN, copies"
    ),
    ("README.md", "| our rule on latents, distorted copies | 53.9 | 89.7 |"): ends(OURS),
    ("README.md", "| our rule on HOG (edges), distorted copies | 69.5 | 97.0 |"): ends("HOG: low-rank Σ, copies"),
    ("README.md", "| start the page | 3.5 s |"): seconds("`python app.py` to a page that answers"),
    ("README.md", "| move the slider: a new preview | 14 ms |"): seconds("moved to new pixels, by previews"),
    ("README.md", "each shown at 128×128 | 501 ms |"): seconds("released to whole images"),
    (CARD, "celeba64 1148.2, 1012.3, 2084.7; celeba128 1643.7, 2352.5, 5940.2; celeba256 1510.3, 1996.6, 5777.4"): [
        one for column in zip(*(distances(t, "network") for t in (0.5, 0.7, 1)), strict=True) for one in column
    ],
    (CARD, "Images of noise come back with an error of 0.18 from celeba128, and came with 0.068 before."): [
        (CARD, "", "largest error there and back, 16 of noise", column) for column in ("celeba128", "celeba128 of 0.2")
    ],
    (
        "docs/priors.md",
        "ours has 1.613 bits, a plain Glow of as many parameters 1.666, and one whose step takes as long 1.605",
    ): [("docs/priors.md", "bits, held out, after", row, "12 minutes") for row in PLAIN],
    ("docs/training.md", "a checkerboard of 0.6/255 at the origin. Photographs have 0.7/255."): [
        (CARD, "", "grids at 0", "celeba64"),
        (CARD, "", "grids, held-out images", "celeba64"),
    ],
}
# What a sentence says of cells, without numbers of its own: each of the first is larger than its partner.
NEAREST_IS_BETTER = digits("pixels: 1-NN"), digits(PAPERS)
UNTRAINED_IS_BETTER = digits("untrained latents: paper's rule, λ/m = 0.05"), digits(PAPERS)
BARS_AND_CARTOONS_ARE_WORST = (
    [cell for cell in energies(LOCAL, FAR, SHIPPED) for _ in NEAR],
    energies(LOCAL, NEAR, SHIPPED) * len(FAR),
)
FIVE = [name for name in SIX if name != "red hair"]
COLOURS, NETWORK = ([distances(t, space) for t in (0.5, 0.7, 1)] for space in ("colour and texture", "network"))
HOLDS = {
    (RESULTS, "pixels, without copies, beats it at every m. The paper reports the reverse."): NEAREST_IS_BETTER,
    (RESULTS, "Under the paper's rule the untrained flow beats it at every m."): UNTRAINED_IS_BETTER,
    (
        "README.md",
        "The nearest neighbour in pixels beats the paper's rule at every m. The paper reports the reverse.",
    ): NEAREST_IS_BETTER,
    ("README.md", "Under that rule an untrained flow beats the trained one at every m."): UNTRAINED_IS_BETTER,
    ("README.md", FARTHER): (TEN_OURS, TEN_COPIES),
    ("README.md", "Pasted pixels are nearer than the default on five of the six sets."): (
        energies(LOCAL, FIVE),
        energies(PASTED, FIVE),
    ),
    ("README.md", "neon bars and cartoons come out worst."): BARS_AND_CARTOONS_ARE_WORST,
    ("docs/compare.md", "of our sets [neon bars and cartoons](results/likeness.md) come out worst."): (
        BARS_AND_CARTOONS_ARE_WORST
    ),
    ("docs/studio.md", "Of handwriting edges tell more"): (digits("HOG: low-rank Σ, copies"), digits(OURS)),
    ("docs/studio.md", "which is quicker than `celeba256`"): (
        seconds("released to whole images"),
        [(SPEED, "", "released to whole images", "celeba64")],
    ),
    ("docs/studio.md", "nearest neighbours of upright digits](results.md#table-1-m-shot-mnist) more than latents"): (
        digits("deskewed pixels: 1-NN, copies"),
        digits(OURS),
    ),
    ("docs/priors.md", "In colour and texture samples come nearer to faces as the temperature rises."): (
        COLOURS[0] + COLOURS[1],
        COLOURS[1] + COLOURS[2],
    ),
    ("docs/priors.md", "In the network they are farthest at 1. So no temperature is the nearest in both."): (
        NETWORK[2] * 2,
        NETWORK[0] + NETWORK[1],
    ),
    (CARD, "at the origin less of a grid of two pixels than held-out images have"): (
        [(CARD, "", "grids, held-out images", "celeba64")],
        [(CARD, "", "grids at 0", "celeba64")],
    ),
    (MASKS, "nearly all of the gain comes from it"): (
        [psnr("0 rounds")] * 2,
        [psnr("the colour around"), psnr("8 rounds")],
    ),
    (MASKS, "Many more rounds draw eyes that are further"): ([psnr("2 rounds (the default)")], [psnr("16 rounds")]),
}
NUMBER = re.compile(r"\d+\.\d+|\d+(?= ms| of )")
#: Words with which a page compares. Each sentence of a page that people write, and that has one, is above or here.
COMPARES = re.compile(
    r"\b(better|worse|worst|nearer|nearest in|farther|further|beats?|ahead|passes|falls short|more often|as good"
    r"|outperform\w*|more accurate|superior|as near as"
    r"|sharper|best|poor|poorly|bland|quick\w+|faster|slower|sooner|nearly|less of|tell more)\b"
)
NO_RESULT = {
    "docs/architecture.md": ["cached, read ahead of the flow", "passes them to the tab's handler"],
    SPEED: ["Of a slower run of that"],
    "docs/priors.md": ["gives small pictures and previews faster"],
    "docs/studio.md": ["all close to the mean of your images, which is bland:"],  # as the paper says
    "docs/troubleshooting.md": ["samples are bland, like pencil sketches"],
    LIKENESS: ["In the charts left is better, and so is up", "The line joins the methods that no other beats in both."],
    "demo/static/far.html": ["It ends the worst noise"],  # the pictures below it show how far
    "demo/static/explain.html": ["nearly all of the prior’s cloud lies in a thin shell"],  # mathematics
}
PAGES = ["README.md", *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")), CARD]
PAGES.remove(RESULTS)  # its sentences are made from the record: see test_paper.py
PAGES += [
    LIKENESS,
    MASKS,
    "docs/results/restyle.md",
    *(f"demo/static/{name}.html" for name in ("explain", "far", "about")),
]


def text(file):
    return (ROOT / file).read_text(encoding="utf-8")


def cell(file, corner, row, column):
    """The first number of the first such cell."""
    page, _, heading = file.partition("#")
    words = text(page)
    for table in re.findall(r"(?:^\|.*\|$\n?)+", words[words.index(f"# {heading}".strip()) :], re.M):
        head, _, *rows = [[part.strip() for part in line.strip("|").split("|")] for line in table.strip().splitlines()]
        if head[0] == corner and column in head:
            for found in rows:
                if found[0] == row:
                    return re.search(r"-?\d[\d,]*\.?\d*", found[head.index(column)])[0]
    raise AssertionError(f"{file} has no cell {row!r}, {column!r}")


def rounded(number, as_in):
    return f"{float(number):.{len(as_in.partition('.')[2])}f}"


def flat(file):
    return " ".join(text(file).split())


@pytest.mark.parametrize(("claim", "cells"), SAYS.items(), ids=lambda value: str(value)[:60])
def test_a_sentence_has_the_numbers_of_its_cells(claim, cells):
    file, fragment = claim
    assert fragment in flat(file)
    said = NUMBER.findall(re.sub(r"λ/m = [\d.]+", "", fragment))
    assert said == [rounded(cell(*one), as_in) for one, as_in in zip(cells, said, strict=True)]


@pytest.mark.parametrize(("claim", "cells"), HOLDS.items(), ids=lambda value: str(value)[:60])
def test_what_a_sentence_says_holds_in_every_cell(claim, cells):
    file, fragment = claim
    assert fragment in flat(file)
    for larger, smaller in zip(*cells, strict=True):
        assert float(cell(*larger)) > float(cell(*smaller)), (larger, smaller)


@pytest.mark.parametrize("prior", ["celeba64", "celeba128", "celeba256"])
def test_the_bits_of_a_prior_are_those_of_its_card(prior):
    section = flat(CARD).partition(f"## {prior}: ")[2].partition(" ## ")[0]
    bits, levels = re.search(r"\*\*Held out\*\*: ([\d.]+) bits per dimension in all\.([^*]*)", section).groups()
    said = cell("docs/priors.md", "", f"`{prior}`", "bits, held out")
    assert said == rounded(bits, said)
    if largest := re.search(r"Level by level: \S+ ([\d.]+)", levels):
        said = cell("docs/priors.md", "", f"`{prior}`", "of the largest level alone")
        assert said == rounded(largest[1], said)
    hours = cell("docs/priors.md", "", f"`{prior}`", "training, one thread")
    minutes = sum(map(int, re.findall(r"(\d+) minutes of one busy thread", section.partition("### ")[0])))
    # The three runs of celeba64 had two cores.
    runs = re.findall(r"(?:about |images, )(\d+) minutes", section.partition("Longer training")[0])
    assert hours == rounded((minutes or 2 * sum(map(int, runs))) / 60, hours)


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


def test_readme_has_no_result_without_its_cell():
    results = flat("README.md").partition("## How good it is")[2].partition("## Read on")[0]
    covered = " ".join(fragment for file, fragment in SAYS if file == "README.md")
    assert "| 4.6 s |" in results and "`time transflow sample greyscale` takes 4.6 s" in flat(SPEED)
    assert set(NUMBER.findall(re.sub(r"λ/m = [\d.]+", "", results))) - set(NUMBER.findall(covered)) == {"4.6"}
