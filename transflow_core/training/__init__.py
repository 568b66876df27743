"""Maximum likelihood training of a prior: from a folder of images to what `load_prior` reads.

What is here needs no torch: the settings of a run, and the presets.
"""

from .recipe import PRESETS, Preset, Train, TrainingError

__all__ = ["PRESETS", "Preset", "Train", "TrainingError"]
