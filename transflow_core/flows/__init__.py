"""The invertible part: layers, Glow, its wavelet levels, and the fused flow that encodes and draws."""

from .base import (
    CoarseFlow,
    Flow,
    Shape,
    channels_last,
    compute_nets_in,
    count_parameters,
    device_of,
    place,
)
from .fused import GuardedFlow, fuse
from .glow import CouplingConfig, GaussianSplit, GaussianTop, Glow, GlowConfig, Level, LevelConfig, Step
from .layers import ActNorm, Conv3x3, Coupling, CouplingNet, InvertibleConv1x1
from .pixels import PixelConvention
from .wavelet import (
    DetailConfig,
    DetailFlow,
    FlowConfig,
    TrainableFlow,
    WaveletConfig,
    WaveletGlow,
    build_flow,
    encode_levels,
    haar_merge,
    haar_split,
    read_config,
    unrolled,
)

__all__ = [
    "ActNorm",
    "CoarseFlow",
    "Conv3x3",
    "Coupling",
    "CouplingConfig",
    "CouplingNet",
    "DetailConfig",
    "DetailFlow",
    "Flow",
    "FlowConfig",
    "GaussianSplit",
    "GaussianTop",
    "Glow",
    "GlowConfig",
    "GuardedFlow",
    "InvertibleConv1x1",
    "Level",
    "LevelConfig",
    "PixelConvention",
    "Shape",
    "Step",
    "TrainableFlow",
    "WaveletConfig",
    "WaveletGlow",
    "build_flow",
    "channels_last",
    "compute_nets_in",
    "count_parameters",
    "device_of",
    "encode_levels",
    "fuse",
    "haar_merge",
    "haar_split",
    "place",
    "read_config",
    "unrolled",
]
