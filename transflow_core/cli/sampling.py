"""Verbs that draw: `sample`, `sweep`, `interpolate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..limits import choice
from ..shipped import DEFAULT_PRIOR
from . import options
from .work import working

__all__ = ["interpolate", "sample", "sweep"]


def sample(
    evidence: options.Evidence,
    output: options.Output = Path("samples.png"),
    number: options.Number = 16,
    manner: options.Manner = "auto",
    likeness: options.Likeness = None,
    pieces: options.Pieces = None,
    lam_ratio: options.LamRatio = None,
    lam: options.Lam = None,
    seed: options.Seed = 0,
    temperature: options.Temperature = 1.0,
    images: Annotated[Path | None, typer.Option(help="Also write each sample into this folder.")] = None,
    posterior_file: Annotated[Path | None, typer.Option("--save-posterior", help="Also save the posterior.")] = None,
    prior: options.Prior = DEFAULT_PRIOR,
    device: options.Device = "auto",
    whole: options.Whole = "auto",
    faces: options.Faces = "largest",
    landmarks: options.Landmarks = "5",
    robust: options.Robust = True,
    mask: options.Masks = None,
    as_json: options.AsJson = False,
) -> None:
    """Sample images that resemble the evidence, as one sheet."""
    from ..images import contact_sheet, save_png, to_pil

    with working(as_json) as work:
        engine = work.engine(prior, device, evidence, whole=whole, landmarks=landmarks)
        intake = work.intake(engine, evidence, whole, faces, landmarks, robust, mask)
        numbers = {"likeness": likeness, "pieces": pieces}
        posterior, drawn_in = work.asked(engine, intake, manner, lam_ratio, lam, **numbers)
        sampler = engine.draw(posterior, drawn_in)
        drawn = engine.drawn(sampler, number, seed=seed, temperature=temperature, progress=work.progress)
        pictures = to_pil(drawn.images)
        how = {"command": "sample", "seed": str(seed), "temperature": str(temperature), **work.provenance}
        save_png(contact_sheet(pictures), output, metadata=how)
        work.wrote(output)
        if images is not None:
            images.mkdir(parents=True, exist_ok=True)
            for index, picture in enumerate(pictures):
                picture.save(images / f"sample_{index:04d}.png")
            work.wrote(images)
        if posterior_file is not None:
            posterior.save(posterior_file, metadata=work.provenance)
            work.wrote(posterior_file)
        work.result |= {"n": number, "seed": seed, "temperature": temperature, **drawn.counts}
        if as_json:
            closest = engine.closest(drawn.images, posterior, intake.evidence)
            work.result["closest"] = [one.to_dict() for one in closest]


def sweep(
    evidence: options.Evidence,
    output: options.Output = Path("sweep.png"),
    manner: options.Manner = "auto",
    values: Annotated[
        str | None, typer.Option(help="What to show of the manner's own number: likeness, pieces, or λ/m; a list.")
    ] = None,
    lam_ratios: Annotated[str | None, typer.Option(help="Show these λ/m in its stead, as a list.")] = None,
    number: options.Number = 4,
    seed: options.Seed = 0,
    temperature: options.Temperature = 1.0,
    prior: options.Prior = DEFAULT_PRIOR,
    device: options.Device = "auto",
    whole: options.Whole = "auto",
    faces: options.Faces = "largest",
    landmarks: options.Landmarks = "5",
    robust: options.Robust = True,
    as_json: options.AsJson = False,
) -> None:
    """Show what one number does, a column each for the same draws: at several λ/m, Fig. 7 and 8 of the paper."""
    from ..drawing import sweep_of
    from ..images import labelled_rows, save_png, to_pil

    with working(as_json) as work:
        if values is not None and lam_ratios is not None:
            raise ValueError("give --values or --lam-ratios, not both")
        shown = {"values": values, "lam_ratios": lam_ratios}
        given = {key: text for key, text in shown.items() if text is not None}
        lists = {key: options.numbers(text, f"--{key.replace('_', '-')}") for key, text in given.items()}
        engine = work.engine(prior, device, evidence, whole=whole, landmarks=landmarks)
        intake = work.intake(engine, evidence, whole, faces, landmarks, robust)
        posterior, base = work.asked(engine, intake, manner, None, None)
        swept = sweep_of(base, posterior.m, **lists)
        x = engine.sweep(posterior, swept.values(), number, seed=seed, temperature=temperature, progress=work.progress)
        rows = [to_pil(x[:, draw]) for draw in range(number)]
        how = {"command": "sweep", "manners": "; ".join(map(str, swept.values()))}
        how |= {"seed": str(seed), "temperature": str(temperature)}
        save_png(labelled_rows(rows, column_labels=list(swept)), output, metadata=how | work.provenance)
        work.wrote(output)
        work.result |= {"manners": [str(one) for one in swept.values()]}
        work.result |= {"n": number, "seed": seed, "temperature": temperature}


def interpolate(
    a: Annotated[Path, typer.Argument(help="Image, folder of images, or saved posterior.", show_default=False)],
    b: Annotated[Path, typer.Argument(help="The other end.", show_default=False)],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="A strip (.png) or an animation (.webp, .gif, .mp4).")
    ] = Path("interpolation.png"),
    steps: Annotated[int, typer.Option(min=2, max=1000, help="Posteriors along the way, both ends included.")] = 8,
    number: options.Number = 4,
    method: Annotated[str, typer.Option(help='"linear", as in the paper, or "wasserstein".')] = "linear",
    manner: options.Manner = "auto",
    likeness: options.Likeness = None,
    pieces: options.Pieces = None,
    lam_ratio: options.LamRatio = None,
    lam: options.Lam = None,
    seed: options.Seed = 0,
    temperature: options.Temperature = 1.0,
    prior: options.Prior = DEFAULT_PRIOR,
    device: options.Device = "auto",
    whole: options.Whole = "auto",
    faces: options.Faces = "largest",
    landmarks: options.Landmarks = "5",
    robust: options.Robust = True,
    as_json: options.AsJson = False,
) -> None:
    """Go from one posterior to another with the same draws (Fig. 3 of the paper)."""
    from ..images import ANIMATION_SUFFIXES, contact_sheet, labelled_rows, save_animation, save_png, to_pil
    from ..posterior import INTERPOLATIONS

    with working(as_json) as work:
        choice(method, "--method", INTERPOLATIONS)
        engine = work.engine(prior, device, [a, b], whole=whole, landmarks=landmarks)
        intakes = [work.intake(engine, [end], whole, faces, landmarks, robust) for end in (a, b)]
        numbers = {"likeness": likeness, "pieces": pieces}
        ends = [work.asked(engine, intake, manner, lam_ratio, lam, **numbers) for intake in intakes]
        start, end = (engine.draw(posterior, drawn_in) for posterior, drawn_in in ends)
        how = {"method": method, "seed": seed, "temperature": temperature}
        x = engine.interpolate(start, end, steps, number, progress=work.progress, **how)
        if output.suffix.lower() in ANIMATION_SUFFIXES:
            save_animation([contact_sheet(to_pil(frame)) for frame in x], output, boomerang=True)
        else:
            labels = [f"{i / (steps - 1):.2f}" for i in range(steps)]
            rows = [to_pil(x[:, draw]) for draw in range(number)]
            facts = {"command": "interpolate", "method": method, "steps": str(steps), "seed": str(seed)}
            save_png(labelled_rows(rows, column_labels=labels), output, metadata=facts | work.provenance)
        work.wrote(output)
        work.result |= {"steps": steps, "n": number, **how}
