"""Maximum likelihood training of a prior: from a folder of images to what `load_prior` reads.

What is here needs no torch: the settings of a run.
"""

from .recipe import Train, TrainingError

__all__ = ["Train", "TrainingError"]
