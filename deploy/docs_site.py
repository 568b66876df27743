"""What the documentation site does to pages and docstrings of the repository, which people also read where they lie."""

import html
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import griffe
import typer
from latex2mathml.converter import convert
from typer.cli import get_docs_for_click

_ROOT = Path(__file__).resolve().parent.parent
_REPOSITORY = os.environ.get("TRANSFLOW_REPOSITORY", "").rstrip("/")  # as in setup.py
_OUTSIDE = re.compile(r"\[([^\]]+)\]\((\.\./[^)\s]+)\)")
_EQUATION = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.S)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """MkDocs' hook: the front page is the README, a notebook's page shows its cells, and commands list their options.

    Of a link to what is not on the site, the words and the place stay.
    """
    notebook = (_ROOT / "docs" / page.file.src_uri).with_suffix(".ipynb")
    if notebook.is_file():
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        markdown = "\n\n".join(map(_cell, cells)) + f"\n\n[Take it along as a notebook]({notebook.name})"
        if _REPOSITORY.startswith("https://github.com/"):
            place = _REPOSITORY.removeprefix("https://github.com") + f"/blob/main/docs/notebooks/{notebook.name}"
            markdown += f", or [open it in Colab](https://colab.research.google.com/github{place})"
    if page.file.src_uri == "index.md":
        readme = (_ROOT / "README.md").read_text(encoding="utf-8").split("---\n", 2)[2]
        markdown = readme.replace("](docs/", "](").replace("](assets/", "](../assets/").replace(".ipynb)", ".md)")
        markdown = re.sub(r"\]\((?=(examples/|SECURITY\.md|CONTRIBUTING\.md|LICENSE)\b)", "](../", markdown)
    if page.file.src_uri == "changelog.md":
        markdown = (_ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    if page.file.src_uri == "cli.md":
        markdown = _commands()
    return _OUTSIDE.sub(_words, markdown)


def on_page_content(page_html: str, **_: Any) -> str:
    """MkDocs' hook: equations become MathML, which browsers draw without a script."""
    return _EQUATION.sub(_equation, page_html)


def _equation(found: re.Match[str]) -> str:
    return convert(html.unescape(found[2]), display="block" if found[1] == "div" else "inline")


def _commands() -> str:
    sys.path.insert(0, str(_ROOT))  # the program `mkdocs` does not look into its own folder
    from demo.command import app as page
    from transflow_core.cli import app

    if "app" not in typer.main.get_command(app).commands:  # of an installed package it is there by its entry point
        app.command("app")(page)
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="transflow")
    return get_docs_for_click(obj=command, ctx=context, name="transflow", title="Command line")


def _cell(cell: dict[str, Any]) -> str:
    source = "".join(cell["source"])
    if cell["cell_type"] != "code":
        return source
    return "\n\n".join([f"```python\n{source}\n```", *map(_output, cell["outputs"])])


def _output(output: dict[str, Any]) -> str:
    if picture := output.get("data", {}).get("image/jpeg"):
        return f'<img alt="What the cell above draws" src="data:image/jpeg;base64,{picture.strip()}">'
    return f"```text\n{''.join(output.get('text', []))}```"


def _words(link: re.Match[str]) -> str:
    words, place = link[1], link[2].removeprefix("../").partition("#")[0]
    if place == "README.md":
        return f"[{words}](index.md)"
    return words if place in words else f"{words} (`{place}`)"


class Examples(griffe.Extension):
    """Our docstrings have one `Example:`, which Griffe would take for prose, and its brackets for links."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Griffe's hook, once for each object."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"(?m)^Example:$", "Examples:", obj.docstring.value)
