"""Few-shot adaptation: copies show in the columns that find them, and the page follows from its rows."""

import argparse

import numpy as np
import pytest

from benchmarks.fewshot_adaptation import COLUMNS, HELD_OUT, LOCAL, PAPERS, ROWS, in_clusters, measured, page


def rows_of(n, shift=0.0, seed=0):
    return shift + np.random.default_rng(seed).normal(size=(n, 6))


def test_copies_are_near_to_the_given_and_have_no_diversity():
    given, held_out, fresh = rows_of(10), rows_of(40, seed=1), rows_of(20, seed=2)
    copies, new = (measured(x, given, held_out, False) for x in (given.repeat(2, 0), fresh))
    assert copies["diversity"] == 0 < new["diversity"]
    assert copies["energy_given"] < new["energy_given"] - 0.1 and copies["kid_given"] < new["kid_given"]
    assert measured(rows_of(20, 3.0, 2), given, held_out, False)["energy"] > new["energy"] + 1
    assert "energy" not in measured(held_out, given, held_out, True)


def test_diversity_is_counted_among_samples_of_one_given_image():
    given = np.array([[0.0], [10.0]])
    assert in_clusters(np.array([[0.0], [1.0], [10.0], [13.0]]), given, 2.0) == pytest.approx(1.0)


def test_the_page_says_what_the_rows_say():
    def row(name, draw, **cells):
        shown = dict.fromkeys(COLUMNS, 1.0 + 0.01 * draw) | cells
        shown = {key: value for key, value in shown.items() if name != HELD_OUT or key.endswith("_given")}
        return {"set": "one", "group": "other sets", "row": name, "draw": draw, "seconds": 1.0} | shown

    rows = [row(name, draw) for draw in range(3) for name in ROWS[:-1] if name not in (PAPERS, LOCAL)]
    rows += [row(PAPERS, draw, energy=5.0 + 0.01 * draw) for draw in range(3)]
    rows += [row(LOCAL, draw, energy_given=-3.0 + 0.02 * draw) for draw in range(3)]
    text = " ".join(page(rows, argparse.Namespace(samples=8, draws=3, prior="tiny", fine_tune=None), "p.jpg").split())
    assert "the paper's, λ/m = 0.5: nearer on 1, farther on 0" in text and "86.62 and 51.02" in text
    assert "nearer to the ten images than held-out images are on 1 of 1 sets" in text
    assert "No set was fine-tuned yet" in text
