"""Restyle: photographs of people in the style of the evidence, and the way back into the photograph."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..compute import How
from ..evidence import Evidence, EvidenceImage
from ..faces import paste
from ..faces.frame import LEFT_EYE, RIGHT_EYE
from ..faces.models import dlib
from ..faces.recognition import describe
from ..images import to_pil
from ..images.sheets import enlarge
from ..limits import RESTYLE_SIDE
from ..posterior import Posterior, Restyling
from ..reading import Reader
from ..recipes import Restyle
from .call import Call, Result, stem_of
from .inpaint import remove

# The face takes this share of the frame's side; what is in it counts so much less for the colours around it.
_FACE, _OF_FACE = 0.55, 0.15
# A photograph of one tone does not tell what becomes of others: they move as that one does.
_RIDGE = 0.001
_LUMA = np.array([0.299, 0.587, 0.114])


def restyle(call: Call[Restyle]) -> Result:
    """Every photograph with its faces restyled, at its full size; as an animation, at most 640 pixels a side.

    Raises ValueError where no photograph has a face to restyle, or too many faces at too many steps.
    """
    recipe, style = call.recipe, call.evidence()
    posterior = style.posterior()
    found = call.images("photographs", faces="all")
    most, cost = type(recipe).most, len(found.used) * recipe.steps
    if most and cost > most:
        raise ValueError(f"this decodes {cost} images, a face at each step; the most is {most}.")
    photographs: dict[int, list[EvidenceImage]] = {}
    for image in found:
        photographs.setdefault(id(image.source.file), []).append(image)
    masks = call.masks(len(photographs), "photographs")
    pictures, reports, lines = {}, [], []
    for faces, mask in zip(photographs.values(), masks, strict=True):
        name, facts = faces[0].name, [face.to_dict() for face in faces]
        reports.append({"name": name, "faces": facts})
        used = [index for index, face in enumerate(faces) if face.used]
        found = used and faces[0].face is not None and faces[0].face.placement != "whole"
        lines.append(f"{name}: {len(used)} face{'s' * (len(used) > 1)}" if found else f"{name}: {faces[0].summary}")
        if used:
            frames, apart = _photograph(call, [faces[index] for index in used], posterior, mask)
            for index, distance in zip(used, apart, strict=False):  # without dlib there are none
                facts[index]["identity"] = distance
            stem = stem_of(name)
            free = (f"{stem}_{n}" if n else stem for n in itertools.count())
            pictures[next(one for one in free if one not in pictures)] = frames
    facts = {"m": posterior.m, "photographs": reports, "evidence": style.to_dicts()}
    return Result(recipe, facts, pictures, lines=tuple(lines))


def _photograph(
    call: Call[Restyle], faces: Sequence[EvidenceImage], posterior: Posterior, mask: Image.Image | None
) -> tuple[list[Image.Image], list[float]]:
    """One photograph at each step, and how far each face is from what it was, where nothing is removed."""
    engine, recipe, file = call.engine, call.recipe, faces[0].source.file
    image = engine.picture(file, **call.how)  # upright and no larger than its faces were found in
    if mask is not None:
        image, faces = remove(engine, image, faces, mask, **call.how)
    full = level_strengths(recipe.strength, recipe.keep_levels, len(engine.prior.levels))
    path = [[share * strength for strength in full] for share in np.linspace(recipe.steps == 1, 1, recipe.steps)]
    restyled = restyle_faces(engine, faces, posterior, path, likeness=recipe.likeness, **call.how)
    # Of a face with a part made up, it would be the distance from that.
    apart = call.run(restyled.identity) if mask is None else []
    scale = 1.0 if recipe.steps == 1 else min(1.0, RESTYLE_SIDE / max(image.size))
    image = image if scale == 1 else enlarge(image, round(scale * max(image.size)))
    how = {"match_colours": recipe.match_colours, "scale": scale}
    return [restyled.pasted(image, step, **how) for step in range(recipe.steps)], apart


def level_strengths(strength: float | Sequence[float], keep_levels: int, levels: int) -> list[float]:
    """The strength of each level, fine to coarse: 0 at the `keep_levels` coarsest, or all there are.

    Raises ValueError for another number of strengths than levels.

    Example:
        >>> level_strengths(0.8, 2, levels=5)
        [0.8, 0.8, 0.8, 0.0, 0.0]
    """
    each = list(strength) if isinstance(strength, Sequence) else [strength] * levels
    if len(each) != levels:
        raise ValueError(f"strength has {len(each)} numbers; this model has {levels} level{'s' * (levels != 1)}.")
    kept = min(keep_levels, levels)
    return each[: levels - kept] + [0.0] * kept


def restyle_faces(
    engine: Reader,
    faces: Iterable[EvidenceImage],
    posterior: Posterior,
    strengths: Sequence[float | Sequence[float]] = (1.0,),
    *,
    likeness: float = 0.0,
    **how: Unpack[How],
) -> Restyled:
    """Photographs of people in the style of the evidence, by optimal transport of their latents: see `Restyling`.

    Args:
        engine: decodes.
        faces: that were read: `engine.read([file], faces="all")`; those without a latent are not used.
        posterior: of the evidence.
        strengths: from 0, the photograph itself, to 1; each one number, or one for each latent level, fine to coarse.
        likeness: 0 keeps most of the person, 1 what the evidence has.

    Raises ValueError, in words, when there is no face to restyle.

    Example:
        >>> from transflow_core import load_prior
        >>> engine = Reader(load_prior("celeba64"))
        >>> photograph = Image.new("RGB", (90, 120), "grey")
        >>> posterior = engine.posterior([Image.new("RGB", (64, 64), "white")])
        >>> restyle_faces(engine, engine.read([photograph], faces="all"), posterior).pasted(photograph).size
        (90, 120)
    """
    evidence = Evidence(tuple(faces)).checked()
    z = evidence.encoded  # a small face goes back into few pixels, which show no finer levels
    typical = engine.prior.typicality.median_rms if engine.prior.typicality else ()
    towards = Restyling.of(posterior, engine.prior.levels, typical, likeness)
    rows = torch.cat([engine.call(towards, z, strength, **how) for strength in strengths])
    # Nothing leaves the ranges of the photograph and of the style; colours may.
    style = engine.looks(posterior, **how).of(posterior.counting).guard
    guards = [style.union(one.guard).uncoloured() for one in engine.looks(z, **how).rows()] * len(strengths)
    images = engine.decode(rows, centre=z.repeat(len(strengths), 1), guards=guards, **how)
    before = engine.prior.to_unit([one.face.image for one in evidence.used if one.face is not None]).cpu()
    return Restyled(evidence.used, before, images.reshape(len(strengths), *before.shape))


@dataclass(frozen=True, eq=False)
class Restyled:
    """What `restyle_faces` made of the faces of photographs.

    Attributes:
        faces: those that were restyled, n of them, of one photograph or of several.
        before: their aligned images, (n, C, S, S) in [0, 1], as the flow knows them.
        after: (steps, n, C, S, S), at each strength that was asked for.
    """

    faces: tuple[EvidenceImage, ...]
    before: Tensor
    after: Tensor

    def pasted(
        self, image: Image.Image, step: int = -1, *, match_colours: bool = True, scale: float = 1.0
    ) -> Image.Image:
        """The photograph with its faces restyled, seamless: see `faces.paste`. At strength 0 no byte differs by more
        than 1.

        Args:
            image: the RGB photograph that the faces come from, or that photograph reduced by `scale`.
            step: index of the strength.
            match_colours: whether the rest of the photograph takes the colours that the faces took.
        """
        faces = [
            replace(face, similarity=(scale * face.similarity[0], scale * face.similarity[1]))
            for one in self.faces
            if (face := one.face) is not None
        ]
        shown = (x.expand(-1, 3, -1, -1) for x in (self.before, self.after[step]))  # of a grey flow it is one channel
        before, after = (x.double().numpy().transpose(0, 2, 3, 1) for x in shown)
        if match_colours:
            colours = _colours(before, after)
            image = image.convert("RGB", tuple((colours * [1, 1, 1, 255]).ravel()))
            before = (before @ colours[:, :3].T + colours[:, 3]).clip(0, 1)
        return paste(image, faces, after - before)

    def identity(self, step: int = -1, most: int | None = None) -> list[float]:
        """How far each face, or each of the first `most`, is from what it was, by dlib's descriptor: under 0.6 is
        usually taken for one person. Nothing without dlib."""
        if dlib() is None:
            return []
        side = self.before.shape[-1]
        (x0, y0), (x1, y1) = LEFT_EYE, RIGHT_EYE
        eyes = (x0 * side, y0 * side), (x1 * side, y1 * side)
        pairs = zip(to_pil(self.before[:most]), to_pil(self.after[step][:most]), strict=True)
        return [float(np.linalg.norm(describe(before, eyes) - describe(after, eyes))) for before, after in pairs]


def _colours(before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    """The map of colours, (3, 4), that takes one set of frames, (n, S, S, 3), nearest to another; where they are alike,
    the identity. Counts most around the face, where the photograph goes on.

    Each channel is a line of the luma, and how far colours are from that line is scaled by one number, at most 1, by
    least squares: a full affine map would guess what becomes of colours that no face has.
    """
    edge = np.abs(np.linspace(-1, 1, before.shape[1]))
    weight = np.where(np.maximum(edge, edge[:, None]) > _FACE, 1, _OF_FACE)[..., None]
    weight = np.broadcast_to(weight, (*before.shape[:3], 1)).reshape(-1, 1)

    def line(of: NDArray[np.float64], over: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(2, 3) offset and slope over the luma of `over`, and what is left."""
        x = np.stack([np.ones(len(over)), over @ _LUMA], -1)
        square = (x * weight).T @ x + np.diag([0, _RIDGE * weight.sum()])
        found = np.asarray(np.linalg.solve(square, (x * weight).T @ of), np.float64)
        return found, of - x @ found

    before, after = before.reshape(-1, 3), after.reshape(-1, 3)
    (_, had), (_, has) = (line(x - (x @ _LUMA)[:, None], x) for x in (before, after))
    square = float((weight * had * had).sum())
    scale = min(1.0, max(0.0, float((weight * had * has).sum()) / square)) if square else 1.0
    (offset, slope), _ = line(after - before - (scale - 1) * (before - (before @ _LUMA)[:, None]), before)
    grey = np.tile(_LUMA, (3, 1))
    matrix = (1 + slope[:, None]) * grey + scale * (np.eye(3) - grey)
    return np.concatenate([matrix, offset[:, None]], 1)
