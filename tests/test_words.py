"""One word for one thing: words that the project no longer uses are in no public name, option, description or page."""

import ast
import re
from collections.abc import Iterator

import gradio as gr
import pytest
import typer

from demo import Engines, build
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
    "intake": "evidence",
    "sitting": "photograph",
    "journal": "log",
    "peer": "project",
    "inference form": "fused flow",
    "toned": "match_colours",
}

# The same for the code of the core alone; the page may still have some of these words.
GONE_FROM_CORE = GONE | {
    "whole": "align",
    "masked": "inpaint",
    "likely": "inpaint",
    "fill": "inpaint",
    "paint": "remove",
    "keeping": "keep_levels",
    "lane": "queue",
    "broken": "not finite or saturated",
}

# The same for the code of the page alone; the core may still have some of these words.
GONE_FROM_DEMO = GONE | {
    "asked": "request",
    "told": "facts, report, message",
    "tell": "report",
    "given": "source",
    "past": "history",
    "screen": "view state",
    "place": "panel",
    "zone": "drop zone",
    "route": "path",
    "between": "path",
    "turn": "request",
    "lane": "queue",
    "ticket": "request",
    "owner": "client",
    "pace": "rate limit",
    "patience": "timeout",
    "room": "quota",
    "janitor": "cleanup",
    "guard": "middleware",
    "stranger": "user",
    "hand": "user",
    "person": "user",
    "kept": "state",
}
# HTTP has routes, and the guards of the posterior are others'.
ALLOWED = {"drop_zone", "check_routes"}
# What users read: the model, not the prior; images, not evidence, in the place of "pieces of evidence".
GONE_FROM_PAGE = [
    "told",
    "asked",
    "shall",
    "all the same",
    "in the stead of",
    "whoever",
    "stranger",
    "pieces of evidence",
    "pulled back",
    "taken whole",
    "left out",
    "drawn anew",
    "at hand",
    "take away",
    "photograph",
]


def public_names(tree: ast.AST):
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name
            if isinstance(node, ast.FunctionDef):
                yield from (argument.arg for argument in (*node.args.args, *node.args.kwonlyargs))


def has(name: str, word: str) -> bool:
    parts = [part.lower() for part in re.findall(r"[A-Z]?[a-z]+", name)]
    return word in parts or f"{word}s" in parts


@pytest.mark.parametrize(("package", "gone"), [("transflow_core", GONE_FROM_CORE), ("demo", GONE_FROM_DEMO)])
def test_a_word_that_is_gone_is_in_no_public_name(package, gone):
    found = []
    for file in sorted(ROOT.glob(f"{package}/**/*.py")):
        names = [file.stem, *public_names(ast.parse(file.read_text(encoding="utf-8")))]
        found += [f"{file}: {name}; say {gone[word]}" for name in names for word in gone if has(name, word)]
    assert not [text for text in found if not any(name in text for name in ALLOWED)]


def shown_text(value: object) -> str:
    """The text of a component, without markup."""
    return re.sub(r"<[^>]*>", " ", value) if isinstance(value, str) else ""


def sentences_of(tree: ast.AST) -> Iterator[str]:
    """The strings of a file, such as messages, without docstrings."""
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield shown_text(node.value) if " " in node.value else ""


@pytest.fixture(scope="module")
def page_texts(tmp_path_factory) -> list[str]:
    """Everything that a user reads on the page: its components, and the messages in its code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))
        blocks = build(Engines(None, "cpu")).blocks.values()
    names = ("value", "label", "info", "placeholder", "html_template")
    texts = [shown_text(getattr(block, name, None)) for block in blocks for name in names]
    choices = [title for block in blocks if isinstance(block, gr.Radio | gr.Dropdown) for title, _ in block.choices]
    for file in ROOT.glob("demo/**/*.py"):
        texts += sentences_of(ast.parse(file.read_text(encoding="utf-8")))
    return [text for text in [*texts, *choices] if text.strip()]


@pytest.mark.parametrize("word", GONE_FROM_PAGE)
def test_a_word_that_is_gone_is_not_on_the_page(page_texts, word):
    assert len(page_texts) > 100
    assert not [text for text in page_texts if re.search(rf"\b{word}\b", text, re.IGNORECASE)]


@pytest.mark.parametrize("word", GONE)
def test_a_word_that_is_gone_is_in_no_option_and_no_description(word):
    texts = [
        *(text for model in RECIPES.values() for field in model.model_fields.values() for text in [field.description]),
        *(str(model.__doc__) for model in RECIPES.values()),
    ]
    for command in typer.main.get_command(app).commands.values():  # type: ignore[attr-defined]
        texts += [option for parameter in command.params for option in parameter.opts]
    assert not [text for text in texts if re.search(rf"\b{word}s?\b", str(text), re.IGNORECASE)]
