"""The paper's figures and table, the fast subset: everything runs, writes what it says, and repeats itself."""

import json
import re

import numpy as np
import pytest
import torch

from benchmarks.paper.__main__ import main
from benchmarks.paper.digits import copies_of, load_digits
from benchmarks.paper.report import SECTIONS, render
from benchmarks.paper.rules import judged
from transflow_core.images.output import read_png_metadata

from .helpers import ROOT, make_tiny_prior

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def fast(tmp_path_factory):
    """All sections on a tiny prior."""
    folder = tmp_path_factory.mktemp("paper")
    prior = folder / "tiny.safetensors"
    make_tiny_prior(side=32).save(prior)
    main(["--fast", "--prior", str(prior), "--output", str(folder)])
    return folder, prior


def test_every_figure_is_on_the_page_with_its_picture(fast):
    folder, _ = fast
    page = (folder / "results.md").read_text(encoding="utf-8")
    results = json.loads((folder / "results" / "results.json").read_text(encoding="utf-8"))
    assert set(SECTIONS) <= set(results)
    for number in (1, 2, 5, 6, 7, 8, 9):
        assert f"## Figure {number}" in page
    for title in ("Figures 3 and 4", "Table 1", "A second task", "Distance to held-out", "The typical set"):
        assert f"\n## {title}" in page
    pictures = re.findall(r"\]\((results/\w+\.png)\)", page)
    assert len(pictures) == len(set(pictures)) == 13
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
            assert 0 <= cell["accuracy"]["mean"] <= 100 and len(cell["accuracy"]["values"]) == table["draws"]
            assert cell["nll"]["mean"] > 0 and 0 <= cell["ece"]["mean"] <= 100
    # Ten classes: a rule that does no better than 10 % has mistaken something.
    assert all(row["3"]["accuracy"]["mean"] > 30 for row in table["rows"].values())
    low, high = results["fig7"]["sweep"].values()
    ends = [results["fig7"][end]["chroma"]["mean"] for end in ("evidence", "prior")]
    assert ends[0] < low["chroma"]["mean"] < high["chroma"]["mean"] < ends[1]
    variances = [p["variance"] for p in results["fig2"]["posteriors"].values()]
    assert variances == sorted(variances)


def test_a_part_can_be_renewed(fast):
    folder, prior = fast
    record = folder / "results" / "results.json"
    before = json.loads(record.read_text(encoding="utf-8"))
    main(["--fast", "--prior", str(prior), "--output", str(folder), "--only", "styles"])
    after = json.loads(record.read_text(encoding="utf-8"))
    assert after.keys() == before.keys() and after["fig9"] == before["fig9"]


def test_evidence_and_test_digits_are_disjoint_and_draws_are_nested():
    digits = load_digits(20)
    assert not set(digits.pool.ravel()) & set(digits.test)
    few, many = digits.draw(3, 2), digits.draw(3, 5)
    assert (many[:, :2] == few).all() and (digits.draw(4, 5) != many).any()
    for digit, row in enumerate(many):
        assert (digits.labels[row] == digit).all() and len(set(row)) == 5
    copies = [copies_of(rank) for rank in range(30)]
    assert copies == sorted(copies, reverse=True) and copies_of(0, most=3) == 3


def test_calibration_is_measured_by_what_is_stated_and_what_is_right():
    scores = torch.tensor([[0.8, 0.2]]).log().repeat(10, 1)
    facts = judged(scores, np.array([0] * 8 + [1] * 2))
    assert facts["accuracy"] == pytest.approx(80) and facts["stated"] == pytest.approx(80)
    assert facts["ece"] == pytest.approx(0, abs=1e-6)
    assert judged(scores, np.zeros(10, int))["ece"] == pytest.approx(20)


@pytest.mark.skipif(not (ROOT / "docs" / "results" / "results.json").is_file(), reason="the figures were not run yet")
def test_the_page_in_the_documentation_is_the_one_that_its_record_gives():
    results = json.loads((ROOT / "docs" / "results" / "results.json").read_text(encoding="utf-8"))
    assert render(results) == (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert not results["run"]["fast"]
    if "table1" in results:
        assert results["table1"]["draws"] >= 3 and results["table1"]["test_digits"] >= 2000
