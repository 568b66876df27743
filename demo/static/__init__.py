"""What runs in the browser: styles, scripts and figures, each a file of its own."""

from pathlib import Path

__all__ = ["static"]


def static(name: str) -> str:
    """The text of one of this folder's files."""
    return (Path(__file__).resolve().parent / name).read_text(encoding="utf-8")
