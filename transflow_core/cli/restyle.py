"""The verb `restyle`: photographs of people in the style of the evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..shipped import DEFAULT_PRIOR
from . import options
from .work import working

__all__ = ["restyle"]


def restyle(
    photograph: Annotated[Path, typer.Argument(help="A picture of people.", show_default=False)],
    style: Annotated[
        list[Path], typer.Option("--style", help="Images, a folder of them, or a saved posterior; may be repeated.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The picture, or an animation of the way (.webp, .gif, .mp4).")
    ] = Path("restyled.png"),
    strength: Annotated[float, typer.Option(min=0, max=1, help="0 is the photograph itself, 1 all of the style.")] = 1,
    likeness: Annotated[
        float | None, typer.Option(min=0, max=1, help="0 keeps most of the person, 1 what the style's images have.")
    ] = None,
    keep_levels: Annotated[int, typer.Option(min=0, help="So many coarse latent levels stay the photograph's.")] = 0,
    toned: Annotated[bool, typer.Option(help="The rest of the photograph takes the colours too.")] = True,
    mask: Annotated[
        Path | None, typer.Option(help="White where something in the photograph is to go: it is drawn anew before.")
    ] = None,
    steps: Annotated[int, typer.Option(min=2, max=200, help="Frames of an animation, one way.")] = 13,
    prior: options.Prior = DEFAULT_PRIOR,
    device: options.Device = "auto",
    whole: options.Whole = "auto",
    landmarks: options.Landmarks = "5",
    robust: options.Robust = True,
    as_json: options.AsJson = False,
) -> None:
    """Restyle a photograph: every face in it, and the colours around them."""
    from ..images import ANIMATION_SUFFIXES, load_image, save_animation, save_png
    from ..posterior import LIKENESS_TO_EVIDENCE
    from ..restyled import keeping

    with working(as_json) as work:
        image = load_image(photograph)
        engine = work.engine(prior, device)
        faces = work.evidence(engine, [photograph], whole, "all", landmarks)
        work.result["faces"] = work.result.pop("evidence", [])
        if mask is not None:
            image, faces = engine.paint_away(image, faces, load_image(mask))
        towards = work.intake(engine, style, whole, "largest", landmarks, robust).posterior()
        ell = LIKENESS_TO_EVIDENCE if likeness is None else likeness
        animated = output.suffix.lower() in ANIMATION_SUFFIXES
        strengths = [strength * i / (steps - 1) for i in range(steps)] if animated else [strength]
        levels = len(engine.prior.levels)
        each = [keeping(keep_levels, value, levels) for value in strengths]
        restyled = engine.restyle(faces, towards, each, likeness=ell, progress=work.progress)
        pictures = [restyled.pasted(image, step, toned=toned) for step in range(len(strengths))]
        told = {"strength": strength, "likeness": ell, "levels_kept": min(keep_levels, levels), "toned": toned}
        if animated:
            save_animation(pictures, output, boomerang=True)
        else:
            how = {"command": "restyle", "m": towards.m, **told, **work.provenance}
            save_png(pictures[0], output, metadata={key: str(value) for key, value in how.items()})
        work.wrote(output)
        work.result |= told | {"m": towards.m, "identity": [round(value, 3) for value in restyled.identity()]}
