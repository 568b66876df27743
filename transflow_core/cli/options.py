"""What several verbs take, and how its text becomes values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["number_or_list", "numbers", "settings"]

_EVIDENCE = "Images and folders of images; or one posterior that was saved as .safetensors."
Evidence = Annotated[list[Path], typer.Argument(help=_EVIDENCE, show_default=False)]
Pictures = Annotated[list[Path], typer.Argument(help="Images and folders of images.", show_default=False)]
Output = Annotated[Path, typer.Option("-o", "--output", help="Where the result goes.")]
Prior = Annotated[str, typer.Option("--prior", help="A shipped name, or a file or folder.")]
Device = Annotated[str, typer.Option("--device", help='"auto", "cpu", "cuda", …')]
AsJson = Annotated[bool, typer.Option("--json", help="A machine-readable result on standard output.")]

Whole = Annotated[str, typer.Option("--whole", help="Take images whole: auto (when no face is found), always, never.")]
Faces = Annotated[str, typer.Option("--faces", help="Of a picture with several faces: largest, or all.")]
Landmarks = Annotated[str, typer.Option("--landmarks", help="dlib's landmark model: 5 (free licence) or 68.")]

Robust = Annotated[
    bool,
    typer.Option(
        "--robust/--as-it-is",
        help="Images far outside of what the prior was trained on count less, unless half of them are; or all in full.",
    ),
]

Masks = Annotated[
    list[Path] | None,
    typer.Option("--mask", help="White where an image does not count: one for all of them, or given once for each."),
]

LamRatio = Annotated[
    str | None,
    typer.Option(
        "--lam-ratio", help="λ/m; one number, or one for each latent level, fine to coarse: 0.3,0.5,0.5,0.7,0.7"
    ),
]
Lam = Annotated[str | None, typer.Option("--lam", help="λ itself, instead of λ/m.")]
Manner = Annotated[
    str,
    typer.Option(
        "--manner",
        help='How to draw: "local" (new members of the set), "blend" (of a few images), "mean" (the paper\'s '
        'posterior of the mean), or with numbers: blend:pieces=2,lam_ratio=0.1. "auto" is what a saved posterior was '
        "kept with, else what suits the evidence.",
    ),
]
Likeness = Annotated[
    float | None, typer.Option("--likeness", help="Of local: from 1, closer to single images, to 0, newer.")
]
Pieces = Annotated[
    float | None, typer.Option("--pieces", help="Of blend: how many images one sample is mixed from, at least 1.")
]
Seed = Annotated[int, typer.Option("--seed", help="The same seed gives the same noise at every λ.")]
Temperature = Annotated[float, typer.Option("--temperature", min=0.0, help="Scales the standard deviation.")]
Number = Annotated[int, typer.Option("-n", "--number", min=1, max=10_000, help="How many samples.")]

ImageSize = Annotated[int | None, typer.Option("--image-size", help="Where the file does not tell: pixels a side.")]
Bits = Annotated[int | None, typer.Option("--bits", help="Where the file does not tell: bits a channel in training.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Any other setting that the file does not tell: key=value, as JSON.")
]


def numbers(text: str, option: str) -> list[float]:
    """Numbers with commas between them. Raises ValueError, naming the option."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"{option} takes a number, or numbers with commas between them, not {text!r}") from None


def number_or_list(text: str, option: str) -> float | list[float]:
    """One number, or several with commas between them."""
    values = numbers(text, option)
    return values[0] if len(values) == 1 else values


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
