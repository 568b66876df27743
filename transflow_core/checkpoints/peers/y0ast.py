"""y0ast/Glow-PyTorch: chaiyujin's mathematics under other names, with centred pixels and uniform noise."""

from collections.abc import Mapping
from typing import Any

from ...flows import Glow
from ...pixels import PixelConvention
from ..base import Tensors
from .chaiyujin import PortNames, read_port
from .format import Format
from .options import LABEL

__all__ = ["Y0AST"]

_NAMES = PortNames(net="block", conv="conv.", factors=("p", "lower", "upper", "sign_s", "log_s"), top="learn_top_fn")


def _read(tensors: Tensors, settings: Mapping[str, Any]) -> tuple[Glow, PixelConvention]:
    return read_port(tensors, settings, _NAMES, PixelConvention(bits=8, offset=0.5))


Y0AST = Format(
    "y0ast/Glow-PyTorch",
    (r"flow\.layers\.1\.block\.0\.conv\.weight$", r"flow\.layers\.1\.block\.4\.logs$", r"prior_h$"),
    (LABEL,),
    _read,
)
