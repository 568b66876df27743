"""Sheets for judges, and how their grades are counted."""

import json

import pytest
from PIL import Image

from benchmarks import judged
from benchmarks.methods import DEFAULT, PREDICTIVE
from benchmarks.sets import EXAMPLES
from transflow_core.engine import Engine
from transflow_core.priors.catalogue import load_prior


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("judged")
    judged.sheets([EXAMPLES / "drawings"], Engine(load_prior("celeba64")), folder, n=3)
    return folder


def label(folder, grade):
    """A grade for each picture, by method."""
    for judge, pictures in json.loads((folder / "key.json").read_text()).items():
        lines = [f"{number},{grade(method)}" for number, (_, _, method) in enumerate(pictures)]
        (folder / judge / "labels.csv").write_text("\n".join(lines))


def test_two_judges_see_each_picture_and_none_says_what_it_is(made):
    key = json.loads((made / "key.json").read_text())
    seen = sorted(row for pictures in key.values() for row, *_ in pictures)
    assert seen == [row for row in range(3 + 3 + 6) for _ in range(2)]
    first, second = ([row for row, *_ in key[f"judge_{number}"]] for number in (1, 5))
    assert first != second
    folder = made / "judge_1"
    assert sorted(path.name for path in folder.iterdir()) == ["sheet_01.png", "task.txt"]
    with Image.open(folder / "sheet_01.png") as sheet:
        assert not sheet.info and len(sheet.crop((0, 22, 190, 210)).getcolors(1 << 16) or []) > 100


def test_grades_are_counted_by_set_and_method(made):
    label(made, {DEFAULT: 0, PREDICTIVE: 2, judged.OWN: 1}.get)
    page = judged.page(judged.count(made))
    assert "| set | whole, default | whole, before | whole, copies | torn for both, default |" in page
    counts = "100 | 0 | 0 | 0 of 3 | 3 of 3 | 0 of 6 | 0 of 3 | 3 of 3 | 0 of 6"
    assert f"| drawings, shipped | {counts} |" in page and f"| all sets | {counts} |" in page
    (made / "judge_2" / "labels.csv").write_text("0,2\n1,0")
    with pytest.raises(ValueError, match="judge_2"):
        judged.count(made)


def test_sets_with_numbers_have_a_line_for_all_of_them():
    grades = {DEFAULT: ([0, 2], [2, 2]), PREDICTIVE: ([1, 1], [2, 1]), judged.OWN: ([0, 0], [0, 1])}
    rows = [
        {"set": f"five people {number}", "method": method, "grades": some[number]}
        for number in (0, 1)
        for method, some in grades.items()
    ]
    counts = "25 | 0 | 75 | 1 of 2 | 0 of 2 | 0 of 2 | 2 of 2 | 1 of 2 | 0 of 2"
    page = judged.page(rows)
    groups = "five people, all", "photographs and paintings, all", "all sets"
    assert all(f"| {name} | {counts} |" in page for name in groups) and "drawings, all" not in page
