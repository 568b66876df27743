"""Imports run as docs/architecture.md says: its table is the order that is held against the code."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from .helpers import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
# Room -> its row, the lowest one 0.
ROWS = [re.findall(r"`([\w.]+)`", line.split("|")[1]) for line in PAGE.splitlines() if line.startswith("| `")]
HEIGHT = {room: height for height, row in enumerate(reversed(ROWS)) for room in row}
FACADE = ROOT / "transflow_core" / "__init__.py"
FILES = [
    file
    for file in [ROOT / "app.py", *sorted(ROOT.glob("demo/**/*.py")), *sorted(ROOT.glob("transflow_core/**/*.py"))]
    if file != FACADE
]


def parts_of(file: Path) -> tuple[str, ...]:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def room_of(parts: tuple[str, ...]) -> str:
    """The room that a module, or a name in one, belongs to."""
    room = ".".join(parts[:2])
    return room if room in HEIGHT else parts[0]


def imports(file: Path) -> Iterator[tuple[str, ...]]:
    """Everything that a file imports, anywhere in it, as absolute dotted names; of `from a import b`, a.b."""
    package = file.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            base += tuple(node.module.split(".")) if node.module else ()
            yield from ((*base, alias.name) for alias in node.names)


def test_every_module_is_in_a_room_and_every_room_is_there():
    assert len(HEIGHT) == sum(map(len, ROWS)), "a room stands in two rows"
    modules = {".".join(parts_of(file)[:2]) for file in FILES}
    assert modules == set(HEIGHT)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_imports_run_downwards(file):
    own = room_of(parts_of(file))
    for name in imports(file):
        if name[0] in ("app", "demo", "transflow_core"):
            room = room_of(name)
            if room == "transflow_core":  # the façade would hide what is imported
                raise AssertionError(f"{'.'.join(name)}: import from the module that it lives in")
            assert room == own or HEIGHT[room] < HEIGHT[own], f"{own} imports {room}"
        if own.startswith("transflow_core"):
            assert name[0] not in ("gradio", "gradio_client"), "the page's library belongs to the page"


def test_the_core_does_not_name_the_page():
    """Not by a string, either: no text that could be a module's name has it."""
    for file in ROOT.glob("transflow_core/**/*.py"):
        texts = [node.value for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.Constant)]
        names = [*imports(file), *(re.split("[.:]", text) for text in texts if isinstance(text, str))]
        assert not [name for name in names if "demo" in name], file
