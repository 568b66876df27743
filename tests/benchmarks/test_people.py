"""Who is who in a pile of photographs."""

import numpy as np

from benchmarks.people import groups


def test_photographs_of_one_person_come_together_and_strangers_stay_alone():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4, 128)) / 128**0.5  # about 1.4 apart
    of = [0, 1, 0, 2, 1, 0, 3, 0]
    rows = centres[of] + 0.2 * rng.normal(size=(8, 128)) / 128**0.5
    assert groups(rows) == [[0, 2, 5, 7], [1, 4], [3], [6]]
    assert groups(rows[:1]) == [[0]]


def test_a_chain_of_likenesses_does_not_join_two_people():
    rows = np.array([[0.0], [0.4], [0.8], [1.2]])  # each is near the next, and the ends are far apart
    assert groups(rows) == [[0, 1], [2, 3]]
