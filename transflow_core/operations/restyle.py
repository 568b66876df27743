"""Restyle: photographs of people in the style of the evidence."""

from __future__ import annotations

from typing import Any

from PIL import Image

from ..compute import Compute
from ..evidence import EvidenceImage
from ..images import enlarge
from ..limits import RESTYLE_SIDE
from ..masked import one_for_each
from ..recipes import Restyle
from ..restyled import keeping
from .result import Result
from .source import Call, facts_of, notes_of

__all__ = ["restyle"]


def restyle(engine: Compute, recipe: Restyle, call: Call) -> Result:
    """Every photograph with its faces restyled, at its full size; as an animation, at most 640 pixels a side.

    Raises ValueError where no photograph has a face to restyle, or too many faces at too many steps.
    """
    style = call.evidence(engine, recipe)
    posterior = style.posterior()
    found = call.images(engine, recipe, "photographs", faces="all").evidence
    most, cost = type(recipe).most, len(found.used) * recipe.steps
    if most and cost > most:
        raise ValueError(f"this decodes {cost} images, a face at each step; the most is {most}.")
    levels = len(engine.prior.levels)
    shares = [1.0] if recipe.steps == 1 else [step / (recipe.steps - 1) for step in range(recipe.steps)]
    way = [_levels(recipe, share, levels) for share in shares]
    photographs: dict[int, list[EvidenceImage]] = {}
    for image in found:
        photographs.setdefault(id(image.source), []).append(image)
    masks = one_for_each(call.masks(engine) or [None], len(photographs), "photographs")
    pictures, told, lines = {}, [], []
    for faces, mask in zip(photographs.values(), masks, strict=True):
        facts = [face.to_dict() for face in faces]
        told.append({"name": faces[0].name, "faces": facts})
        used = [(face, fact) for face, fact in zip(faces, facts, strict=True) if face.used]
        lines.append(f"{faces[0].name}: {len(used)} faces" if used else f"{faces[0].name}: {faces[0].summary}")
        if used:
            frames, apart = _photograph(engine, recipe, call, [face for face, _ in used], posterior, way, mask)
            for (_, fact), distance in zip(used, apart, strict=True):
                fact["identity"] = distance
            pictures[_free(pictures, faces[0].name)] = frames
    facts = facts_of(engine, recipe) | {"m": posterior.m, "photographs": told, "evidence": style.evidence.to_dicts()}
    return Result(recipe, facts, pictures, lines=(*notes_of(style), *lines))


def _photograph(
    engine: Compute,
    recipe: Restyle,
    call: Call,
    used: list[EvidenceImage],
    posterior: Any,
    way: list[list[float]],
    mask: Image.Image | None,
) -> tuple[list[Image.Image], list[float]]:
    """One photograph at each step, and how far each face is from what it was."""
    assert used[0].source is not None  # it was read from somewhere
    source, faces = used[0].source, tuple(used)
    image = source if isinstance(source, Image.Image) else engine.picture(source, cancel=call.cancel)
    if mask is not None:
        image, faces = engine.paint_away(image, faces, mask, cancel=call.cancel)
    restyled = engine.restyle(
        faces, posterior, way, likeness=recipe.likeness, progress=call.progress, cancel=call.cancel
    )
    apart = engine.call(restyled.identity, cancel=call.cancel)
    scale = 1.0 if len(way) == 1 else min(1.0, RESTYLE_SIDE / max(image.size))
    image = image if scale == 1 else enlarge(image, round(scale * max(image.size)))
    how = {"match_colours": recipe.match_colours, "scale": scale}
    return [restyled.pasted(image, step, **how) for step in range(len(way))], apart


def _levels(recipe: Restyle, share: float, levels: int) -> list[float]:
    """The strength of each level, fine to coarse, at a share of the way."""
    if not isinstance(recipe.strength, tuple):
        return keeping(recipe.keep_levels, share * recipe.strength, levels)
    if len(recipe.strength) != levels:
        raise ValueError(f"strength has {len(recipe.strength)} numbers; this model has {levels} levels.")
    kept = keeping(recipe.keep_levels, 1.0, levels)
    return [share * strength * keep for strength, keep in zip(recipe.strength, kept, strict=True)]


def _free(names: dict[str, Any], name: str) -> str:
    """A name for a picture that no other has."""
    stem = name.rpartition(".")[0] or name
    return stem if stem not in names else f"{stem}_{len(names)}"
