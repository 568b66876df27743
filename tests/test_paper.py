"""The paper's figures and table, the fast subset: everything runs, writes what it says, and repeats itself."""

import gzip
import json
import re

import numpy as np
import pytest
import torch

from benchmarks.paper.__main__ import main
from benchmarks.paper.digits import copies_of, load_digits, read_idx
from benchmarks.paper.report import SECTIONS, render
from benchmarks.paper.rules import BASELINES, Evidence, judged
from benchmarks.paper.words import difference, sign, summary, trend
from transflow_core.images import read_png_metadata

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
    for title in (
        "Figures 3 and 4",
        "Table 1",
        "A second task",
        "Distance to held-out",
        "The typical set",
    ):
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


def same(found, expected):
    """Equal, numbers up to float32's last bits: how a batch is parted among cores depends on who else computes."""
    assert type(found) is type(expected)
    if isinstance(found, dict):
        assert found.keys() == expected.keys()
        for key in found:
            same(found[key], expected[key])
    elif isinstance(found, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            same(one, other)
    elif isinstance(found, float):
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-3)
    else:
        assert found == expected


def test_a_part_can_be_renewed_and_comes_out_the_same(fast):
    folder, prior = fast
    record = folder / "results" / "results.json"
    before = json.loads(record.read_text(encoding="utf-8"))
    main(["--fast", "--prior", str(prior), "--output", str(folder), "--only", "styles", "fig9"])
    after = json.loads(record.read_text(encoding="utf-8"))
    before["run"].pop("seconds"), after["run"].pop("seconds")
    same(after, before)


def test_evidence_and_test_digits_are_disjoint_and_draws_are_nested():
    digits = load_digits(20)
    assert not set(digits.pool.ravel()) & set(digits.test)
    few, many = digits.draw(3, 2), digits.draw(3, 5)
    assert (many[:, :2] == few).all() and (digits.draw(4, 5) != many).any()
    for digit, row in enumerate(many):
        assert (digits.labels[row] == digit).all() and len(set(row)) == 5
    copies = [copies_of(rank) for rank in range(30)]
    assert copies == sorted(copies, reverse=True) and copies_of(0, most=3) == 3


def test_phrases_follow_from_their_numbers():
    assert trend([1, 2, 2]) == "rises from 1.00 to 2.00" and trend([2, 1]) == "falls from 2.00 to 1.00"
    assert trend([1, 3, 2]) == "goes 1.00, 3.00, 2.00"
    ours, theirs = summary([5.0, 6.0, 7.0]), summary([4.0, 5.1, 5.9])
    assert sign(difference(ours, theirs)) == 1 and sign(difference(theirs, ours)) == -1
    assert sign(difference(ours, summary([4.0, 7.0, 7.0]))) == 0 and summary([3.0])["half"] is None


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize("m", [1, 4])
def test_every_baseline_tells_classes_that_lie_apart(m, copies):
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(3, 20, generator=generator)

    def drawn(index, *shape, spread=0.5):
        return means[index] + spread * torch.randn(*shape, 20, generator=generator)

    groups = {str(c): drawn(c, m, 1) + 0.05 * torch.randn(m, copies, 20, generator=generator) for c in range(3)}
    evidence = Evidence.of(groups)
    # Copies of one piece are held out together, and only pieces themselves are scored.
    assert evidence.first.sum() == 3 * m and len(evidence.x) == 3 * m * copies
    for piece in evidence.fold.reshape(-1, copies):
        assert len(set(piece)) == 1
    query, labels = torch.cat([drawn(c, 40) for c in range(3)]), np.repeat(np.arange(3), 40)
    for name, baseline in BASELINES.items():
        scores = baseline(evidence, query)
        assert scores.exp().sum(1).numpy() == pytest.approx(1), name
        assert judged(scores, labels)["accuracy"] > 90, name


def test_calibration_is_measured_by_what_is_stated_and_what_is_right():
    scores = torch.tensor([[0.8, 0.2]]).log().repeat(10, 1)
    facts = judged(scores, np.array([0] * 8 + [1] * 2))
    assert facts["accuracy"] == pytest.approx(80) and facts["stated"] == pytest.approx(80)
    assert facts["ece"] == pytest.approx(0, abs=1e-6)
    assert judged(scores, np.zeros(10, int))["ece"] == pytest.approx(20)


def test_mnist_own_test_set_is_tested_where_it_is_given(tmp_path):
    digits = np.random.default_rng(0).integers(0, 256, (7, 28, 28), np.uint8)
    images = b"\0\0\x08\x03" + np.array(digits.shape, ">u4").tobytes() + digits.tobytes()
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01\0\0\0\x07" + bytes(range(7)))
    assert (read_idx(tmp_path, "t10k-images-idx3-ubyte") == digits).all()
    found = load_digits(4, tmp_path)
    assert (found.pixels[found.test] == digits).all() and (found.labels[found.test] == np.arange(7)).all()
    assert not set(found.pool.ravel()) & set(found.test)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(b"not an idx file")
    with pytest.raises(ValueError, match="idx"):
        load_digits(4, tmp_path)
    with pytest.raises(FileNotFoundError):
        load_digits(4, tmp_path / "nowhere")


@pytest.mark.skipif(not (ROOT / "docs" / "results" / "results.json").is_file(), reason="the figures were not run yet")
def test_the_page_in_the_documentation_is_the_one_that_its_record_gives():
    results = json.loads((ROOT / "docs" / "results" / "results.json").read_text(encoding="utf-8"))
    assert render(results) == (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert not results["run"]["fast"]
    if "table1" in results:
        assert results["table1"]["draws"] >= 3 and results["table1"]["test_digits"] >= 2000
