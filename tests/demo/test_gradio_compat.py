"""Gradio behind its fence: an upgrade that changes a private name is told in one sentence, or refused."""

import ast
import logging
from pathlib import Path
from pkgutil import resolve_name
from types import ModuleType, SimpleNamespace
from unittest import mock

import gradio
import httpx
import pytest
from starlette.routing import Route

from demo import gradio_compat, page
from demo.gradio_compat import ROUTES, UNSAFE, USES, check, check_routes
from demo.page import Page

from ..helpers import ROOT

FENCE = Path(gradio_compat.__file__)
FILES = sorted({ROOT / "app.py", *ROOT.glob("demo/**/*.py")} - {FENCE})
PUBLIC = {"gradio", "gradio.components", "gradio.events", "gradio.themes"}


def test_the_installed_gradio_has_every_name(caplog):
    check()
    assert not caplog.records


@pytest.mark.parametrize("name", USES)
def test_a_name_that_is_gone_is_told_or_refused(name, monkeypatch, caplog):
    owner = name.rpartition(".")[0]
    if isinstance(resolve_name(owner), ModuleType):
        monkeypatch.delattr(name)
    else:
        others = (other.rpartition(".") for other in USES if other != name)
        monkeypatch.setattr(owner, type("Changed", (), {other: None for of, _, other in others if of == owner}))
    sentence = f"has no {name} any more, so {USES[name]}."
    if name in UNSAFE:
        with pytest.raises(SystemExit, match=sentence):
            check()
    else:
        with caplog.at_level(logging.WARNING):
            check()
        assert sentence in caplog.text


@pytest.mark.parametrize("gone", ROUTES)
def test_an_address_that_the_middleware_does_not_know_is_refused(gone):
    requests = (route.split() for route in ROUTES)
    routes = [Route(path, id, methods=[method]) for method, path in requests]
    check_routes(SimpleNamespace(routes=routes))
    del routes[ROUTES.index(gone)]
    with pytest.raises(SystemExit, match=f"does not answer {gone} any more"):
        check_routes(SimpleNamespace(routes=routes))


def test_no_second_server_renders_the_page_and_no_run_is_recorded(served_small, monkeypatch, tmp_path):
    """Whatever Gradio's own defaults and the environment say."""
    options = {}
    monkeypatch.setattr(Page, "launch", lambda self, **given: options.update(given))
    monkeypatch.setattr(page, "check_routes", lambda app: None)
    monkeypatch.setattr(page, "Cleanup", mock.Mock())
    shown = Page()
    shown.folder = tmp_path
    page.launch(shown, prevent_thread_lock=True)
    assert options["ssr_mode"] is False and options["run_history"] is False
    assert httpx.get(f"{served_small}/config").json()["run_history"] is False


def private_names(tree: ast.AST) -> set[str]:
    """Attributes that begin with an underscore, and are not of the double kind."""
    attributes = (node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    return {name for name in attributes if name.startswith("_") and not name.endswith("__")}


def own_names(tree: ast.AST) -> set[str]:
    """What a file defines: functions, classes, variables, and attributes of `self` and `cls`."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found |= {node.attr} if ast.unparse(node.value) in ("self", "cls") else set()
    return found


def is_of_others(attribute: ast.Attribute) -> bool:
    """Whether something is stored there, and not by its own class."""
    return isinstance(attribute.ctx, ast.Store) and ast.unparse(attribute.value) not in ("self", "cls")


def test_no_other_file_touches_a_private_name_of_gradio():
    trees = {file: ast.parse(file.read_text(encoding="utf-8")) for file in FILES}
    own = set().union(*map(own_names, trees.values()))
    methods = {name for kind in (gradio.Image, gradio.Blocks) for name in dir(kind) if callable(getattr(kind, name))}
    for file, tree in trees.items():
        assert private_names(tree) <= own | {"_exit"}, file  # `os._exit` is public
        stored = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and is_of_others(node)}
        assert not stored & methods, file
        for node in ast.walk(tree):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module == "gradio":
                modules = [f"gradio.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module]
            foreign = {name for name in modules if name.split(".")[0] in ("gradio", "gradio_client")}
            assert foreign <= PUBLIC, file
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "gr":
                assert isinstance(node.ctx, ast.Load), f"{file} replaces gr.{node.attr}"
                assert not isinstance(getattr(gradio, node.attr), ModuleType) or f"gradio.{node.attr}" in PUBLIC, file
