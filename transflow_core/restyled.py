"""Faces of a photograph, restyled, and the whole photograph that they go back into."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from .evidence import EvidenceImage
from .faces import LEFT_EYE, RIGHT_EYE, describe, paste
from .images import to_pil

__all__ = ["Restyled", "keeping"]

# The face takes this share of the frame's side; what is in it counts so much less for the colours around it.
_FACE, _OF_FACE = 0.55, 0.15
# A photograph of one tone does not tell what becomes of others: they move as that one does.
_RIDGE = 0.001
_LUMA = np.array([0.299, 0.587, 0.114])


def keeping(kept: int, strength: float, levels: int) -> list[float]:
    """The strength of each level, fine to coarse, where the `kept` coarsest, or all there are, stay the photograph's.

    Example:
        >>> keeping(2, 0.8, levels=5)
        [0.8, 0.8, 0.8, 0.0, 0.0]
    """
    kept = min(kept, levels)
    return [strength] * (levels - kept) + [0.0] * kept


@dataclass(frozen=True, eq=False)
class Restyled:
    """What `Engine.restyle` made of the faces of photographs.

    Attributes:
        faces: those that were restyled, n of them, of one photograph or of several.
        before: their frames, (n, C, S, S) in [0, 1], as the flow knows them.
        after: (steps, n, C, S, S), at each strength that was asked for.
    """

    faces: tuple[EvidenceImage, ...]
    before: Tensor
    after: Tensor

    def frames(self, step: int = -1) -> list[Image.Image]:
        """The n frames at one strength."""
        return to_pil(self.after[step])

    def pasted(
        self, image: Image.Image, step: int = -1, *, match_colours: bool = True, scale: float = 1.0
    ) -> Image.Image:
        """The photograph with its faces restyled, seamless: see `faces.paste`. At strength 0 no byte differs by more
        than 1.

        Args:
            image: the RGB photograph that the faces come from, as `load_image` gives it.
            step: index of the strength.
            match_colours: whether the rest of the photograph takes the colours that the faces took.
            scale: of the image, where it is that photograph reduced.
        """
        faces = [
            replace(face, similarity=(scale * face.similarity[0], scale * face.similarity[1]))
            for one in self.faces
            if (face := one.face) is not None
        ]
        before, after = (x.double().numpy().transpose(0, 2, 3, 1) for x in (self.before, self.after[step]))
        if match_colours:
            colours = _colours(before, after)
            image = image.convert("RGB", tuple((colours * [1, 1, 1, 255]).ravel()))
            before = (before @ colours[:, :3].T + colours[:, 3]).clip(0, 1)
        return paste(image, faces, after - before)

    def identity(self, step: int = -1, most: int | None = None) -> list[float]:
        """How far each face, or each of the first `most`, is from what it was, by dlib's descriptor: under 0.6 is
        usually taken for one person."""
        side = self.before.shape[-1]
        (x0, y0), (x1, y1) = LEFT_EYE, RIGHT_EYE
        eyes = (x0 * side, y0 * side), (x1 * side, y1 * side)
        pairs = zip(to_pil(self.before[:most]), to_pil(self.after[step][:most]), strict=True)
        return [float(np.linalg.norm(describe(before, eyes) - describe(after, eyes))) for before, after in pairs]


def _colours(before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    """The map of colours, (3, 4), that takes one set of frames, (n, S, S, 3), nearest to another; where they are alike,
    the identity. Counts most around the face, where the photograph goes on.

    Each channel is a line of the luma, and how far colours are from that line is scaled by one number, by which the
    frames' are: a full affine map would guess what becomes of colours that no face has.
    """
    edge = np.abs(np.linspace(-1, 1, before.shape[1]))
    weight = np.where(np.maximum(edge, edge[:, None]) > _FACE, 1, _OF_FACE)[..., None]
    weight = np.broadcast_to(weight, (*before.shape[:3], 1)).reshape(-1, 1)

    def line(of: NDArray[np.float64], over: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
        """(2, 3) offset and slope over the luma of `over`, and the root mean square of what is left."""
        x = np.stack([np.ones(len(over)), over @ _LUMA], -1)
        square = (x * weight).T @ x + np.diag([0, _RIDGE * weight.sum()])
        found = np.linalg.solve(square, (x * weight).T @ of)
        return found, float((weight * np.square(of - x @ found)).sum() ** 0.5)

    before, after = before.reshape(-1, 3), after.reshape(-1, 3)
    (_, had), (_, has) = (line(x - (x @ _LUMA)[:, None], x) for x in (before, after))
    scale = min(1.0, has / had) if had else 1.0
    (offset, slope), _ = line(after - before - (scale - 1) * (before - (before @ _LUMA)[:, None]), before)
    grey = np.tile(_LUMA, (3, 1))
    matrix = (1 + slope[:, None]) * grey + scale * (np.eye(3) - grey)
    return np.concatenate([matrix, offset[:, None]], 1)
