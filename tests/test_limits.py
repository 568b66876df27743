"""Bounds: what comes from outside is one of what there is, or refused in words."""

import pytest

from transflow_core.limits import choice


def test_words_are_checked():
    assert choice("b", "it", {"a": 1, "b": 2}) == "b"
    for wrong in ("c", "", None, 1, ["a"], "x" * 10_000):
        with pytest.raises(ValueError, match="it must be one of a, b") as caught:
            choice(wrong, "it", ("a", "b"))
        assert len(str(caught.value)) < 100
