"""Few-shot adaptation: copies show in the columns that find them."""

import numpy as np
import pytest

from benchmarks.fewshot_adaptation import in_clusters, measured


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
