"""Maximum likelihood training of a prior: from a folder of images to what `load_prior` reads."""

from .data import DataError, ImageSet, prepare
from .density import bfloat16_is_faster
from .plan import NETS, Plan, plan
from .processes import Processes
from .settings import PRESETS, Preset, TrainSettings
from .state import resumed_settings
from .statistics import measure_typicality, write_conformance
from .trainer import Progress, Trained, TrainingError, train

__all__ = [
    "NETS",
    "PRESETS",
    "DataError",
    "ImageSet",
    "Plan",
    "Preset",
    "Processes",
    "Progress",
    "TrainSettings",
    "Trained",
    "TrainingError",
    "bfloat16_is_faster",
    "measure_typicality",
    "plan",
    "prepare",
    "resumed_settings",
    "train",
    "write_conformance",
]
