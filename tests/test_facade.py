"""`import transflow_core as tfc`: the names that it gives when they are asked for."""

from pathlib import Path

import transflow_core


def test_every_name_of_the_stub_is_what_it_says():
    assert {"Engine", "Posterior", "load_prior"} <= set(transflow_core.__all__) <= set(dir(transflow_core))
    for name in transflow_core.__all__:
        assert getattr(transflow_core, name).__name__ == name


def test_the_package_says_that_it_is_typed():
    assert Path(transflow_core.__file__).with_name("py.typed").is_file()
