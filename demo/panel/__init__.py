"""The evidence panel, and what of it other tabs take: thumbnails with their details, and reading."""

from .cards import mostly_far
from .panel import EXAMPLES_JS, EvidencePanel
from .reading import Given, again, read
from .shelf import CARDS_JS, Shelf, Shown

__all__ = ["CARDS_JS", "EXAMPLES_JS", "EvidencePanel", "Given", "Shelf", "Shown", "again", "mostly_far", "read"]
