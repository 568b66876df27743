"""The evidence panel, shared by tabs."""

from .panel import CARDS_JS, EXAMPLES_JS, EvidencePanel

__all__ = ["CARDS_JS", "EXAMPLES_JS", "EvidencePanel"]
