"""The notebooks run, from the first cell to the last, and the site shows them."""

import json
from pathlib import Path

import pytest
from PIL import Image

from .helpers import ROOT

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def cells(notebook: Path, kind: str) -> list[str]:
    told = json.loads(notebook.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in told["cells"] if cell["cell_type"] == kind]


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(notebook, monkeypatch, tmp_path):
    """Its own assertions hold what it says against the library."""
    if notebook.stem == "own_flow":
        pytest.importorskip("zuko")
        pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    shown: list[object] = []
    names: dict[str, object] = {"__name__": "__main__", "display": shown.append}
    for index, code in enumerate(cells(notebook, "code")):
        exec(compile(code, f"{notebook.name}, cell {index}", "exec"), names)
    assert len(shown) >= 3 and all(isinstance(picture, Image.Image) for picture in shown)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_kept_small_and_without_results(notebook):
    told = json.loads(notebook.read_text(encoding="utf-8"))
    assert not any(cell.get("outputs") for cell in told["cells"])
    assert f"notebooks/{notebook.stem}.md" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
