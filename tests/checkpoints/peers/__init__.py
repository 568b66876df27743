"""Peers' Glows, written as they write them, and read back."""

from .writers import VARIANTS, Chaiyujin, GlowIP, Normflows, OpenAI, Peer, Rosinality, Y0ast, gaussian

__all__ = ["VARIANTS", "Chaiyujin", "GlowIP", "Normflows", "OpenAI", "Peer", "Rosinality", "Y0ast", "gaussian"]
