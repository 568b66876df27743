"""The evidence panel, and its parts for other tabs: thumbnails with their details, and reading."""

from .cards import mostly_outliers
from .image_list import CARDS_JS, ImageList
from .panel import EXAMPLES_JS, EvidencePanel
from .reading import PanelSource, read, sources_of

__all__ = [
    "CARDS_JS",
    "EXAMPLES_JS",
    "EvidencePanel",
    "ImageList",
    "PanelSource",
    "mostly_outliers",
    "read",
    "sources_of",
]
