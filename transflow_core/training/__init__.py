"""Maximum likelihood training of a prior: from a folder of images to what `load_prior` reads."""

from .data import DataError, ImageSet, prepare
from .measure import measure_typicality, write_conformance
from .processes import Processes
from .recipe import NETS, PRESETS, Plan, Preset, Train, TrainingError, plan
from .trainer import Progress, Trained, train

__all__ = [
    "NETS",
    "PRESETS",
    "DataError",
    "ImageSet",
    "Plan",
    "Preset",
    "Processes",
    "Progress",
    "Train",
    "Trained",
    "TrainingError",
    "measure_typicality",
    "plan",
    "prepare",
    "train",
    "write_conformance",
]
