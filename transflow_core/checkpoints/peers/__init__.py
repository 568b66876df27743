"""Other people's Glows in PyTorch: each layout is one module, and becomes the native Glow by folding its tensors."""

from .chaiyujin import CHAIYUJIN
from .format import Format
from .glowip import GLOWIP
from .normflows import NORMFLOWS
from .rosinality import ROSINALITY
from .y0ast import Y0AST

__all__ = ["CHAIYUJIN", "GLOWIP", "NORMFLOWS", "ROSINALITY", "Y0AST", "Format"]
