"""One word for one thing: words that the project no longer uses are in no public name, option, description or page."""

import ast
import re
from collections.abc import Iterator

import pytest
import typer

from transflow_core.cli import app
from transflow_core.recipes import RECIPES

from .helpers import ROOT

# Words of core and page; of the core's code alone; of the page's code alone.
GONE = "manner|predictive sampling|aside|stop|pulled|shelf|intake|sitting|journal|peer|inference form|toned"
GONE_FROM = {
    "transflow_core": f"{GONE}|whole|masked|likely|fill|paint|keeping|lane|broken",
    "demo": f"{GONE}|asked|told|tell|given|past|screen|place|zone|route|between|turn|lane|ticket|owner|pace|patience"
    "|room|janitor|guard|stranger|hand|person|kept",
}
# HTTP has routes, and the guards of the posterior are others'.
ALLOWED = {"drop_zone", "check_routes"}
# What users read: the model, not the prior; images, not evidence, in the place of "pieces of evidence".
GONE_FROM_PAGE = re.compile(
    r"\b(told|asked|shall|all the same|in the stead of|whoever|stranger|pieces of evidence|pulled back|taken whole"
    r"|left out|drawn anew|at hand|take away|photograph)\b",
    re.IGNORECASE,
)


def public_names(tree: ast.AST):
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name
            if isinstance(node, ast.FunctionDef):
                yield from (argument.arg for argument in (*node.args.args, *node.args.kwonlyargs))


@pytest.mark.parametrize("package", GONE_FROM)
def test_a_word_that_is_gone_is_in_no_public_name(package):
    gone = re.compile(f"({GONE_FROM[package]})s?", re.IGNORECASE)
    for file in sorted(ROOT.glob(f"{package}/**/*.py")):
        names = {file.stem, *public_names(ast.parse(file.read_text(encoding="utf-8")))} - ALLOWED
        assert not [name for name in names if any(map(gone.fullmatch, re.findall(r"[A-Z]?[a-z]+", name)))], file


def sentences_of(tree: ast.AST) -> Iterator[str]:
    """The strings of a file, such as labels and messages, without markup and docstrings."""
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield re.sub(r"<[^>]*>", " ", node.value) if " " in node.value else ""


def test_a_word_that_is_gone_is_not_on_the_page():
    for file in ROOT.glob("demo/**/*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        assert not [text for text in sentences_of(tree) if GONE_FROM_PAGE.search(text)], file


def test_a_word_that_is_gone_is_in_no_option_and_no_description():
    texts = [
        *(text for model in RECIPES.values() for field in model.model_fields.values() for text in [field.description]),
        *(str(model.__doc__) for model in RECIPES.values()),
    ]
    for command in typer.main.get_command(app).commands.values():  # type: ignore[attr-defined]
        texts += [option for parameter in command.params for option in parameter.opts]
    assert not [text for text in texts if re.search(rf"\b({GONE})s?\b", str(text), re.IGNORECASE)]
