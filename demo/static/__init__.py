"""What runs in the browser: styles, scripts, figures and pictures, each a file of its own."""

from pathlib import Path

__all__ = ["FOLDER", "static"]

FOLDER = Path(__file__).resolve().parent


def static(name: str) -> str:
    """The text of one of this folder's files."""
    return (FOLDER / name).read_text(encoding="utf-8")
