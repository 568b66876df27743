"""Invertible layers and the Glow built from them.

Every layer has `forward` (image side to latent side) and `inverse`, both returning `(output, log_det)` with `log_det`
of shape (n,) in nats: the logarithm of |det| of the Jacobian of the direction that was called.
"""

from .actnorm import ActNorm
from .contract import CoarseFlow, Flow, Shape
from .conv1x1 import InvertibleConv1x1
from .convolution import Conv3x3
from .coupling import Coupling, CouplingNet
from .glow import CouplingConfig, Glow, GlowConfig, Level, LevelConfig, Step
from .grown import (
    DetailConfig,
    DetailFlow,
    FlowConfig,
    GrownConfig,
    GrownGlow,
    TrainableFlow,
    build_flow,
    encode_levels,
    unrolled,
)
from .inference import GuardedFlow, inference_form
from .multiscale import GaussianSplit, GaussianTop, haar_merge, haar_split, squeeze, unsqueeze
from .placing import count_parameters, device_of, move, place
from .precision import compute_nets_in

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
    "GrownConfig",
    "GrownGlow",
    "GuardedFlow",
    "InvertibleConv1x1",
    "Level",
    "LevelConfig",
    "Shape",
    "Step",
    "TrainableFlow",
    "build_flow",
    "compute_nets_in",
    "count_parameters",
    "device_of",
    "encode_levels",
    "haar_merge",
    "haar_split",
    "inference_form",
    "move",
    "place",
    "squeeze",
    "unrolled",
    "unsqueeze",
]
