"""The notebooks run, from the first cell to the last, and the site shows them."""

import base64
import io
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
        code = code.replace("%pip install -q transflow-studio", "raise")  # a word of notebooks, for where it is missing
        exec(compile(code, f"{notebook.name}, cell {index}", "exec"), names)
    assert len(shown) >= 3 and all(isinstance(picture, Image.Image) for picture in shown)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_has_its_results_and_its_page_of_the_site(notebook):
    """Every cell was run, in order; each picture that is shown can be opened, and the file stays small."""
    told = json.loads(notebook.read_text(encoding="utf-8"))
    codes = [cell for cell in told["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in codes] == list(range(1, len(codes) + 1))
    for cell in codes:
        code = "".join(cell["source"])
        kinds = [kind for one in cell["outputs"] for kind in one.get("data", {"text": ""})]
        assert "image/jpeg" in kinds or "display(" not in code
        assert "text" in kinds or "print(" not in code
        for one in cell["outputs"]:
            if picture := one.get("data", {}).get("image/jpeg"):
                Image.open(io.BytesIO(base64.b64decode(picture))).verify()
    assert notebook.stat().st_size < 1e6
    assert f"notebooks/{notebook.stem}.md" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
