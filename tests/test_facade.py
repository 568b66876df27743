"""`import transflow_core as tfc`: the names that it gives when they are asked for, and what type checkers are told."""

import ast
from pathlib import Path

import transflow_core


def test_the_stub_tells_what_the_facade_gives():
    stub = ast.parse(Path(transflow_core.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    told = {alias.asname: node.module for node in imports for alias in node.names}
    assert told == transflow_core._PUBLIC
    for name in transflow_core.__all__:
        assert getattr(transflow_core, name).__name__ == name


def test_the_package_says_that_it_is_typed():
    assert Path(transflow_core.__file__).with_name("py.typed").is_file()
