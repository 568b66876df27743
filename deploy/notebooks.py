"""Run the notebooks of docs/notebooks, and keep what they show; every picture as JPEG, which is a tenth of PNG.

pip install nbclient ipykernel && python -m deploy.notebooks
"""

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "notebooks"


def main() -> None:
    """Entry point of `python -m deploy.notebooks`."""
    for file in map(Path, sys.argv[1:] or sorted(FOLDER.glob("*.ipynb"))):
        notebook = nbformat.read(file, 4)
        metadata = dict(notebook.metadata)
        with tempfile.TemporaryDirectory() as elsewhere:
            resources = {"metadata": {"path": elsewhere}}
            NotebookClient(notebook, timeout=None, record_timing=False, resources=resources).execute()
        for output in (one for cell in notebook.cells for one in cell.get("outputs", [])):
            output.get("data", {}).pop("image/png", None)
        notebook.metadata = metadata  # without this machine's version of Python
        nbformat.write(notebook, file)
        print(file.name, flush=True)


if __name__ == "__main__":
    main()
