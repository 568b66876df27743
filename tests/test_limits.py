"""Bounds: what comes from outside is brought into them, or refused in words."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transflow_core.limits import Range, choice

NO_NUMBERS = (True, False, None, "1", "", [], {}, b"1", 1j, math.nan)


@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
def test_what_is_no_number_is_never_taken_for_one(value):
    within = Range(-10, 10)
    assert value not in within
    with pytest.raises(ValueError, match="it must be a number from -10 to 10"):
        within.clip(value, "it")


@given(st.floats(allow_nan=False) | st.integers(), st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_a_number_is_taken_as_it_is_or_brought_to_the_nearer_end(value, low, width):
    within = Range(low, low + width)
    if low <= value <= low + width:
        assert value in within and within.clip(value, "it") == value
        return
    assert value not in within
    if math.isfinite(value):
        assert within.clip(value, "it") == (within.low if value < low else within.high)
    else:
        with pytest.raises(ValueError, match="it must be a number from"):
            within.clip(value, "it")


def test_words_are_checked_too():
    assert choice("b", "it", {"a": 1, "b": 2}) == "b"
    for wrong in ("c", "", None, 1, ["a"], "x" * 10_000):
        with pytest.raises(ValueError, match="it must be one of a, b") as caught:
            choice(wrong, "it", ("a", "b"))
        assert len(str(caught.value)) < 100
