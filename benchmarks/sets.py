"""Sets of pictures for benchmarks: frames, latents and features, and halves of them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transflow_core.faces import align
from transflow_core.images import find_images, load_image
from transflow_core.priors.prior import Prior

from .features import FEATURES
from .measures import as_unit

__all__ = ["EXAMPLES", "OTHERS", "PHOTOGRAPHS", "ROOT", "SAME_PERSON", "SHIPPED", "Set", "sets_in"]

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "assets" / "examples"
SHIPPED, OTHERS = "the example sets that ship", "other sets"
#: Sets of photographs, in which dlib's descriptors tell people apart.
PHOTOGRAPHS = ("greyscale", "red_hair", "glasses")
SAME_PERSON = 0.6  # dlib's threshold for descriptors


class Set:
    """A set of pictures: frames, latents, and their features in each space that was asked for so far."""

    def __init__(self, folder: Path, prior: Prior) -> None:
        self.name = folder.name
        self.group = SHIPPED if folder.parent.resolve() == EXAMPLES else OTHERS
        frames = [align(load_image(path), size=prior.image_size)[0].image for path in find_images(folder)]
        self.z = prior.encode(frames, 8).cpu()
        self.images = as_unit(frames)
        self._features: dict[tuple[str, bool], NDArray[np.float64]] = {}

    def features(self, space: str, mirrored: bool = False) -> NDArray[np.float64]:
        """(m, d), of the images or of their mirror images."""
        if (space, mirrored) not in self._features:
            images = np.ascontiguousarray(self.images[..., ::-1]) if mirrored else self.images
            self._features[space, mirrored] = FEATURES[space](images)
        return self._features[space, mirrored]

    def halves(self, split: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Indices of what is given and what is held out."""
        order = np.random.default_rng(split).permutation(len(self.z))
        return order[: len(order) // 2], order[len(order) // 2 :]


def sets_in(parent: Path) -> list[Path]:
    """Folders that hold eight pictures themselves, not in folders of their own."""
    folders = [folder for folder in sorted(parent.iterdir()) if folder.is_dir()]
    return [folder for folder in folders if sum(path.parent == folder for path in find_images(folder)) >= 8]
