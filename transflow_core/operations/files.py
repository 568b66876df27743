"""Condition, Mix, Encode and Align: posteriors, latents and aligned faces, as files."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from ..compute import report
from ..evidence import Evidence, Source
from ..posterior import Posterior, mixed
from ..reading import listed
from ..recipes import Align, Condition, Encode, Mix, Saving
from ..untrusted import save_safetensors
from .call import Call, Result, stem_of
from .sampling import conditioned, counted, ignored


def condition(call: Call[Condition]) -> Result:
    """The posterior of evidence, with the method that it is to be drawn by."""
    evidence, weights = call.images("evidence"), call.recipe.weights or ()
    if weights and len(weights) != len(evidence):
        raise ValueError(f"weights: give one for each of {len(evidence)} images, not {len(weights)}.")
    for index, weight in enumerate(weights):
        evidence = evidence.replace(index, weight=weight)
    evidence = ignored(call, evidence).checked()
    recipe = call.recipe.replace(method="posterior") if call.recipe.moments_only else call.recipe
    posterior, recipe, facts, lines = conditioned(call, evidence, recipe)
    posterior = posterior.with_lam(call.engine.ratio(recipe.lam_ratio))
    kl = call.run(posterior.kl, posterior.prior)
    facts |= {"mean_norm": float(posterior.mean.double().norm()), "kl": kl if math.isfinite(kl) else None}
    return Result(recipe, facts, saved=_kept(recipe, posterior), lines=lines)


def mix(call: Call[Mix]) -> Result:
    """One posterior of two sets."""
    a, b = call.evidence("a"), call.evidence("b")
    posterior = call.run(mixed, a.posterior(), b.posterior(), call.recipe.how, call.recipe.share)
    posterior = replace(posterior, metadata={})  # a saved set's recipe is not this one's
    if call.recipe.moments_only and call.recipe.how != "add":
        b.posterior().moments()  # the mean has that of the second set: it must not be one image
    facts = {"m": posterior.m, "a": a.to_dicts(), "b": b.to_dicts()}
    lines = (f"Its evidence counts as {counted(posterior.m)}.",)
    return Result(call.recipe, facts, saved=_kept(call.recipe, posterior), lines=lines)


def _kept(recipe: Saving, posterior: Posterior) -> Posterior:
    """What of a posterior goes into the file."""
    return posterior.moments() if recipe.moments_only else posterior


@dataclass(frozen=True)
class Latents:
    """Latents of images, (m, D) float32, and the images' names."""

    z: Tensor
    names: tuple[str, ...]

    def save(self, path: Path, metadata: Mapping[str, str]) -> None:
        """As one safetensors file: `z`, with the names in its metadata."""
        save_safetensors({"z": self.z.contiguous()}, path, {**metadata, "names": json.dumps(self.names)})


def encode(call: Call[Encode]) -> Result:
    """Latents of images, with their likelihoods and how typical they are."""
    evidence = call.images("images")
    lines = tuple(
        f"{image.name}: log N(z; 0, I) = {image.latent.log_prior:,.1f} nats, "
        f"log p(x) = {image.latent.log_prob:,.1f} nats" + (f", {image.verdict}" if image.verdict else "")
        for image in evidence
        if image.latent is not None
    )
    latents = Latents(evidence.encoded, tuple(image.name for image in evidence.used))
    return Result(call.recipe, {"images": [image.to_dict() for image in evidence]}, saved=latents, lines=lines)


def align(call: Call[Align]) -> Result:
    """Every face of pictures, in the frame that the prior was trained on."""
    recipe, given = call.recipe, call.inputs["images"]
    given = given.sources if isinstance(given, Evidence) else listed(given)
    sources = [one.file if isinstance(one, Source) else one for one in given]
    how = {name: getattr(recipe, name) for name in ("align", "landmarks", "size")}
    pictures, reports, lines = {}, [], []
    for index, source in enumerate(sources):
        report(call.progress, index, len(sources), "looking for faces")
        picture = call.engine.faces(source, cancel=call.cancel, **how)
        faces = picture.faces[:1] if recipe.faces == "largest" else picture.faces
        named = {f"{index:04d}_{stem_of(picture.name)}_{n}": face for n, face in enumerate(faces)}
        pictures |= {name: [face.image] for name, face in named.items()}
        found = [{"file": f"{name}.png"} | face.to_dict() for name, face in named.items()]
        reports.append({"name": picture.name, "problem": picture.problem, "faces": found})
        lines.append(f"{picture.name}: {picture.problem or '; '.join(face.how for face in faces)}")
    if not pictures:
        raise ValueError(" ".join(lines[:5]))
    return Result(recipe, {"pictures": reports}, pictures, lines=tuple(lines))
