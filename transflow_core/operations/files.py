"""Condition, Mix, Encode and Align: posteriors, latents and aligned faces, as files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..pictures import File
from ..posterior import mixed
from ..reading import Reader
from ..recipes import Align, Condition, Encode, Mix
from ..untrusted import save_safetensors
from .result import Result
from .sampling import ignored, resolved
from .source import Call, facts_of, notes_of

__all__ = ["align", "condition", "encode", "mix"]


def condition(engine: Reader, recipe: Condition, call: Call) -> Result:
    """The posterior of evidence, with the method that it is to be drawn by."""
    evidence = call.images(engine, recipe, "evidence")
    if recipe.weights is not None:
        if len(recipe.weights) != len(evidence):
            raise ValueError(f"weights: give one for each of {len(evidence)} images, not {len(recipe.weights)}.")
        for index, weight in enumerate(recipe.weights):
            evidence = evidence.replace(index, weight=weight)
    evidence = ignored(engine, call, evidence).checked()
    posterior = evidence.posterior()
    recipe, reason = resolved(engine, recipe, posterior)
    posterior = posterior.with_lam(engine.ratio(recipe.lam_ratio))
    kl = engine.call(posterior.kl, posterior.prior, cancel=call.cancel)
    facts = facts_of(engine, recipe) | {"m": posterior.m, "reason": reason}
    facts |= {"mean_norm": float(posterior.mean.double().norm()), "kl": kl if kl < float("inf") else None}
    facts["evidence"] = evidence.to_dicts()
    return Result(
        recipe, facts, saved=posterior, lines=(*notes_of(evidence), f"{posterior.m:g} images condition it. {reason}")
    )


def mix(engine: Reader, recipe: Mix, call: Call) -> Result:
    """One posterior of two sets."""
    a, b = (call.evidence(engine, recipe, name) for name in ("a", "b"))
    posterior = engine.call(mixed, a.posterior(), b.posterior(), recipe.how, recipe.share, cancel=call.cancel)
    facts = facts_of(engine, recipe) | {"m": posterior.m}
    facts |= {"a": a.to_dicts(), "b": b.to_dicts()}
    return Result(
        recipe, facts, saved=posterior, lines=(*notes_of(a), *notes_of(b), f"{posterior.m:g} images condition it.")
    )


@dataclass(frozen=True)
class Latents:
    """Latents of images, (m, D) float32, and the images' names."""

    z: Tensor
    names: tuple[str, ...]

    def save(self, path: Path, metadata: Mapping[str, str]) -> None:
        """As one safetensors file: `z`, with the names in its metadata."""
        save_safetensors({"z": self.z.contiguous()}, path, {**metadata, "names": json.dumps(self.names)})


def encode(engine: Reader, recipe: Encode, call: Call) -> Result:
    """Latents of images, with their likelihoods and how typical they are."""
    evidence = call.images(engine, recipe, "images")
    lines = tuple(
        f"{image.name}: log N(z; 0, I) = {image.latent.log_prior:,.1f} nats, "
        f"log p(x) = {image.latent.log_prob:,.1f} nats" + (f", {image.verdict}" if image.verdict else "")
        for image in evidence
        if image.latent is not None
    )
    facts = facts_of(engine, recipe) | {"images": evidence.to_dicts()}
    return Result(recipe, facts, saved=Latents(evidence.z, tuple(image.name for image in evidence.used)), lines=lines)


def align(engine: Reader, recipe: Align, call: Call) -> Result:
    """Every face of pictures, in the frame that the prior was trained on."""
    sources: list[File] = list(call.inputs["images"])
    how: dict[str, Any] = {"align": recipe.align, "landmarks": recipe.landmarks, "size": recipe.size}
    pictures, reports, lines = {}, [], []
    for index, source in enumerate(sources):
        if call.progress is not None:
            call.progress(index, len(sources), "looking for faces")
        picture = engine.faces(source, cancel=call.cancel, **how)
        faces = picture.faces[:1] if recipe.faces == "largest" else picture.faces
        names = [f"{index:04d}_{picture.name.rpartition('.')[0] or picture.name}_{n}" for n in range(len(faces))]
        pictures |= {name: [face.image] for name, face in zip(names, faces, strict=True)}
        found = [{"file": f"{name}.png"} | face.to_dict() for name, face in zip(names, faces, strict=True)]
        reports.append({"name": picture.name, "problem": picture.problem, "faces": found})
        lines.append(f"{picture.name}: {picture.problem or '; '.join(face.how for face in faces)}")
    if not pictures:
        raise ValueError("No face was found. With align=auto a picture without a face is used as it is.")
    return Result(recipe, facts_of(engine, recipe) | {"pictures": reports}, pictures, lines=tuple(lines))
