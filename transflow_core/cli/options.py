"""What several commands take, and how its text becomes values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["settings"]

Output = Annotated[Path, typer.Option("-o", "--output", help="Where the result goes.")]
Prior = Annotated[str, typer.Option("--prior", help="A shipped name, or a file or folder.")]
Device = Annotated[str, typer.Option("--device", help='"auto", "cpu", "cuda", …')]
AsJson = Annotated[bool, typer.Option("--json", help="A machine-readable result on standard output.")]

Seed = Annotated[int, typer.Option("--seed", help="The same seed gives the same random numbers.")]
ImageSize = Annotated[int | None, typer.Option("--image-size", help="Where the file does not tell: pixels a side.")]
Bits = Annotated[int | None, typer.Option("--bits", help="Where the file does not tell: bits a channel in training.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Any other setting that the file does not tell: key=value, as JSON.")
]


def settings(image_size: int | None, bits: int | None, more: list[str] | None) -> dict[str, Any]:
    """Options of `load_prior` and `convert`."""
    options: dict[str, Any] = {"image_size": image_size, "bits": bits}
    options = {key: value for key, value in options.items() if value is not None}
    for setting in more or []:
        key, equals, value = setting.partition("=")
        if not equals:
            raise ValueError(f"--set takes key=value, not {setting!r}")
        try:
            options[key] = json.loads(value)
        except ValueError:
            options[key] = value
    return options
