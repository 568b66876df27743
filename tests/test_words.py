"""One word for one thing: words that the project no longer uses are in no public name, option or description."""

import ast
import re

import pytest
import typer

from transflow_core.cli import app
from transflow_core.recipes import RECIPES

from .helpers import ROOT

# Word that is gone -> the word in its place.
GONE = {
    "manner": "method",
    "predictive sampling": "local",
    "aside": "priority",
    "stop": "cancel",
    "pulled": "projected",
    "shelf": "image list",
    "sitting": "photograph",
    "journal": "log",
    "peer": "project",
    "inference form": "fused flow",
    "toned": "match_colours",
}


def public_names(tree: ast.AST):
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name
            if isinstance(node, ast.FunctionDef):
                yield from (argument.arg for argument in (*node.args.args, *node.args.kwonlyargs))


@pytest.mark.parametrize("word", GONE)
def test_a_word_that_is_gone_is_in_no_public_name(word):
    for file in sorted(ROOT.glob("transflow_core/**/*.py")):
        for name in public_names(ast.parse(file.read_text(encoding="utf-8"))):
            parts = [part.lower() for part in re.findall(r"[A-Z]?[a-z]+", name)]
            assert word not in parts and f"{word}s" not in parts, f"{file.name}: {name}; say {GONE[word]}"


@pytest.mark.parametrize("word", GONE)
def test_a_word_that_is_gone_is_in_no_option_and_no_description(word):
    told = [
        *(text for model in RECIPES.values() for field in model.model_fields.values() for text in [field.description]),
        *(str(model.__doc__) for model in RECIPES.values()),
    ]
    for command in typer.main.get_command(app).commands.values():  # type: ignore[attr-defined]
        told += [option for parameter in command.params for option in parameter.opts]
    assert not [text for text in told if re.search(rf"\b{word}s?\b", str(text), re.IGNORECASE)]
