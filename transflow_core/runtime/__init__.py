"""Threads, memory and devices: what a program sets for its process, and how a batch is computed."""

from .tune import give_back, tune

__all__ = ["give_back", "tune"]
