"""The paper's figures and table, the fast subset: everything runs, writes what it says, and repeats itself."""

import json
import re

import pytest

from benchmarks.paper.__main__ import FIGURES, main
from benchmarks.paper.digits import copies_of, load_digits
from benchmarks.paper.report import render
from transflow_core.images import read_png_metadata

from .helpers import ROOT, make_tiny_prior


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def fast(tmp_path_factory):
    """All figures on a tiny prior, twice over the first of them."""
    folder = tmp_path_factory.mktemp("paper")
    prior = folder / "tiny.safetensors"
    make_tiny_prior().save(prior)
    main(["--fast", "--prior", str(prior), "--output", str(folder)])
    return folder, prior


def test_every_figure_is_on_the_page_with_its_picture(fast):
    folder, _ = fast
    page = (folder / "results.md").read_text(encoding="utf-8")
    results = json.loads((folder / "results" / "results.json").read_text(encoding="utf-8"))
    assert set(FIGURES) <= set(results)
    for number in (2, 5, 6, 7, 8, 9):
        assert f"## Figure {number}" in page
    assert "## Figures 3 and 4" in page and "## Table 1" in page
    pictures = re.findall(r"\]\((results/\w+\.png)\)", page)
    assert len(pictures) == len(set(pictures)) == 10
    for picture in pictures:
        assert read_png_metadata(folder / picture)["prior"] == results["run"]["prior"]


def test_the_page_follows_from_the_record(fast):
    folder, _ = fast
    results = json.loads((folder / "results" / "results.json").read_text(encoding="utf-8"))
    assert render(results) == (folder / "results.md").read_text(encoding="utf-8")


def test_measures_and_accuracies_are_what_they_can_be(fast):
    results = json.loads((fast[0] / "results" / "results.json").read_text(encoding="utf-8"))
    table = results["table1"]
    for row in table["rows"].values():
        for cell in row.values():
            assert 0 <= cell["mean"] <= 100 and len(cell["draws"]) == table["draws"]
    # Ten classes: a rule that does no better than 10 % has mistaken something.
    assert table["rows"]["pixel 1-NN"]["3"]["mean"] > 30
    greyscale = results["fig7"]
    low, high = (greyscale["sweep"][ratio]["chroma"] for ratio in ("0.2", "0.8"))
    assert greyscale["evidence"]["chroma"] < low < high < greyscale["prior"]["chroma"]
    variances = [p["variance"] for p in results["fig2"]["posteriors"].values()]
    assert variances == sorted(variances)


def test_a_part_can_be_renewed_and_comes_out_the_same(fast):
    folder, prior = fast
    record = folder / "results" / "results.json"
    before = json.loads(record.read_text(encoding="utf-8"))
    main(["--fast", "--prior", str(prior), "--output", str(folder), "--only", "table1", "fig9"])
    after = json.loads(record.read_text(encoding="utf-8"))
    before["run"].pop("seconds"), after["run"].pop("seconds")
    assert after == before


def test_evidence_and_test_digits_are_disjoint_and_draws_are_nested():
    digits = load_digits(20)
    assert not set(digits.pool.ravel()) & set(digits.test)
    few, many = digits.draw(3, 2), digits.draw(3, 5)
    assert (many[:, :2] == few).all() and (digits.draw(4, 5) != many).any()
    for digit, row in enumerate(many):
        assert (digits.labels[row] == digit).all() and len(set(row)) == 5
    copies = [copies_of(rank) for rank in range(30)]
    assert copies == sorted(copies, reverse=True) and copies_of(0, most=3) == 3


@pytest.mark.skipif(not (ROOT / "docs" / "results" / "results.json").is_file(), reason="the figures were not run yet")
def test_the_page_in_the_documentation_is_the_one_that_its_record_gives():
    results = json.loads((ROOT / "docs" / "results" / "results.json").read_text(encoding="utf-8"))
    assert render(results) == (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert not results["run"]["fast"] and set(FIGURES) <= set(results)
    assert results["table1"]["draws"] >= 10 and results["table1"]["test_digits"] >= 2000
