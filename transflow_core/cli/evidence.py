"""Verbs that show what becomes of images: `align`, `encode`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ..shipped import DEFAULT_PRIOR
from . import options
from .work import working

__all__ = ["align", "encode"]


def align(
    pictures: options.Pictures,
    output: options.Output = Path("aligned"),
    size: Annotated[int, typer.Option(min=8, max=2048, help="Side of the frame, in pixels.")] = 64,
    whole: options.Whole = "never",
    landmarks: options.Landmarks = "5",
    as_json: options.AsJson = False,
) -> None:
    """Cut every face out of pictures, aligned as the priors were trained, into a folder."""
    from ..images import find_images
    from ..pictures import read_picture

    reading: dict[str, Any] = {"size": size, "whole": whole, "landmarks": landmarks}
    with working(as_json) as work:
        files = find_images(pictures)
        output.mkdir(parents=True, exist_ok=True)
        results: list[dict[str, Any]] = []
        for index, file in enumerate(files):
            work.progress(index, len(files), "looking for faces")
            picture = read_picture(file, name=file.name, **reading)
            targets = [output / f"{index:04d}_{file.stem}_{number}.png" for number in range(len(picture.faces))]
            for face, target in zip(picture.faces, targets, strict=True):
                face.image.save(target)
            faces = [{"file": str(t), **face.to_dict()} for face, t in zip(picture.faces, targets, strict=True)]
            results.append({"name": str(file), "problem": picture.problem, "faces": faces})
            work.say(f"{file}: {picture.problem or '; '.join(face.how for face in picture.faces)}")
        work.result["pictures"] = results
        if not any(entry["faces"] for entry in results):
            raise ValueError("no face was found in any of the pictures (--whole auto takes such pictures whole)")
        work.wrote(output)


def encode(
    pictures: options.Pictures,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write latents here (.safetensors).")] = None,
    prior: options.Prior = DEFAULT_PRIOR,
    device: options.Device = "auto",
    whole: options.Whole = "auto",
    faces: options.Faces = "largest",
    landmarks: options.Landmarks = "5",
    as_json: options.AsJson = False,
) -> None:
    """Invert images: their latents, log-likelihoods, and how typical they are."""
    from safetensors.torch import save_file

    with working(as_json) as work:
        engine = work.engine(prior, device, pictures, whole=whole, landmarks=landmarks)
        evidence = work.evidence(engine, pictures, whole, faces, landmarks)
        for image in evidence:
            if image.latent is not None:
                work.say(
                    f"{image.name}: log N(z; 0, I) = {image.latent.log_prior:,.1f} nats, "
                    f"log p(x) = {image.latent.log_prob:,.1f} nats" + (f", {image.verdict}" if image.verdict else "")
                )
        if output is not None:
            names = json.dumps([image.name for image in evidence.used])
            header = {"names": names} | engine.prior.provenance
            save_file({"z": evidence.z.contiguous()}, output, header)
            work.wrote(output)
