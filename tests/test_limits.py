"""Bounds: what comes from outside is within them, or refused in words."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transflow_core.limits import Range, choice

NO_NUMBERS = (True, False, None, "1", "", [], {}, b"1", 1j, math.nan)


@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
def test_what_is_no_number_is_never_taken_for_one(value):
    assert value not in Range(-10, 10)


@given(st.floats(allow_nan=False) | st.integers(), st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_a_range_has_the_numbers_between_its_ends_and_both_of_them(value, low, width):
    assert (value in Range(low, low + width)) == (low <= value <= low + width)


def test_words_are_checked_too():
    assert choice("b", "it", {"a": 1, "b": 2}) == "b"
    for wrong in ("c", "", None, 1, ["a"], "x" * 10_000):
        with pytest.raises(ValueError, match="it must be one of a, b") as caught:
            choice(wrong, "it", ("a", "b"))
        assert len(str(caught.value)) < 100
