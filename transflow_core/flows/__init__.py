"""The invertible part: layers, Glow, its wavelet levels, and the fused flow that encodes and draws."""

from .base import Flow as Flow
from .pixels import PixelConvention as PixelConvention
