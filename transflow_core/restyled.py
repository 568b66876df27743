"""Faces of a photograph, restyled, and the whole photograph that they go back into."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from .evidence import EvidenceImage
from .faces import describe, paste
from .images import to_pil

__all__ = ["Restyled"]

# The face takes this share of the frame's side; what is in it counts so much less for the colours around it.
_FACE, _OF_FACE, _RIDGE = 0.55, 0.15, 0.01


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
        self, image: Image.Image, step: int = -1, of: Sequence[int] | None = None, *, toned: bool = True
    ) -> Image.Image:
        """The photograph with its faces restyled, seamless: see `faces.paste`. At strength 0 no byte differs by more
        than 1.

        Args:
            image: the RGB photograph that the faces come from, as `load_image` gives it.
            step: index of the strength.
            of: indices of the faces that are in it; by default all.
            toned: whether the rest of the photograph takes the colours that the faces took.
        """
        chosen = list(range(len(self.faces)) if of is None else of)
        faces = [face for i in chosen if (face := self.faces[i].face) is not None]
        before, after = (x[chosen].double().numpy().transpose(0, 2, 3, 1) for x in (self.before, self.after[step]))
        if toned:
            colours = _colours(before, after)
            image = image.convert("RGB", tuple((colours * [1, 1, 1, 255]).ravel()))
            before = (before @ colours[:, :3].T + colours[:, 3]).clip(0, 1)
        return paste(image, faces, after - before)

    def identity(self, step: int = -1) -> list[float]:
        """How far each face is from what it was, by dlib's descriptor: under 0.6 is usually taken for one person."""
        pairs = zip(to_pil(self.before), self.frames(step), strict=True)
        return [float(np.linalg.norm(describe(before) - describe(after))) for before, after in pairs]


def _colours(before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    """The affine map (3, 4) of colours that takes one set of frames, (n, S, S, 3), nearest to another; where they are
    alike, the identity. Counts most around the face, where the photograph goes on."""
    side = before.shape[1]
    edge = np.abs(np.linspace(-1, 1, side))
    weight = np.where(np.maximum(edge, edge[:, None]) > _FACE, 1, _OF_FACE)[..., None]
    x = np.concatenate([before, np.ones_like(before[..., :1])], -1)
    weighted = (x * weight).reshape(-1, 4).T
    square = weighted @ x.reshape(-1, 4) / weighted[3].sum()
    cross = weighted @ (after - before).reshape(-1, 3) / weighted[3].sum()
    # A photograph of one colour does not tell what becomes of others: they move as that one does.
    return np.eye(3, 4) + np.linalg.solve(square + np.diag([*[_RIDGE] * 3, 0]), cross).T
