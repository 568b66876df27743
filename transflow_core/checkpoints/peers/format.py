"""What a foreign format is: how its tensors are recognised, what it must be told, and how it is read."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...flows import Glow
from ...pixels import PixelConvention
from ..base import Tensors
from .options import Setting

__all__ = ["Format"]


@dataclass(frozen=True)
class Format:
    """A foreign layout of a Glow.

    Args:
        name: whose it is, as people know it.
        marks: regular expressions; a file is of this format if each matches one of its tensors' names.
        settings: what no tensor tells.
        read: tensors and the settings' values -> the native Glow and its pixel convention; raises CheckpointError.
    """

    name: str
    marks: tuple[str, ...]
    settings: tuple[Setting, ...]
    read: Callable[[Tensors, Mapping[str, Any]], tuple[Glow, PixelConvention]]

    def recognises(self, tensors: Tensors) -> bool:
        """Do the tensors' names look like this format's?"""
        return all(any(re.match(mark, name) for name in tensors.shapes) for mark in self.marks)
