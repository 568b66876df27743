"""What the documentation site does to pages and docstrings of the repository, which people also read where they lie."""

import json
import re
from pathlib import Path
from typing import Any

import griffe

_ROOT = Path(__file__).resolve().parent.parent
_OUTSIDE = re.compile(r"\[([^\]]+)\]\((\.\./[^)\s]+)\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """MkDocs' hook: the front page is the README, and a notebook's page shows its cells.

    Of a link to what is not on the site, the words and the place stay.
    """
    notebook = (_ROOT / "docs" / page.file.src_uri).with_suffix(".ipynb")
    if notebook.is_file():
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        markdown = "\n\n".join(map(_cell, cells)) + f"\n\n[Take it along as a notebook]({notebook.name})\n"
    if page.file.src_uri == "index.md":
        readme = (_ROOT / "README.md").read_text(encoding="utf-8").split("---\n", 2)[2]
        markdown = readme.replace("](docs/", "](").replace("](assets/", "](../assets/")
    return _OUTSIDE.sub(_words, markdown)


def _cell(cell: dict[str, Any]) -> str:
    source = "".join(cell["source"])
    return f"```python\n{source}\n```" if cell["cell_type"] == "code" else source


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
