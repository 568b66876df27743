"""Can a flow that was read be inverted? Found out when it is read, not when somebody has waited for an image."""

import torch

from ..flows import InvertibleConv1x1
from .base import CheckpointError

__all__ = ["require_invertible"]

_LARGEST_RESIDUAL = 0.1


@torch.no_grad()
def require_invertible(flow: torch.nn.Module, where: str) -> None:
    """CheckpointError, naming the step, if a 1×1 convolution is singular or too nearly so for float32.

    The inverses that this computes are kept by the layers, so that the first image need not wait for them.
    """
    for name, layer in flow.named_modules():
        if isinstance(layer, InvertibleConv1x1):
            eye = torch.eye(len(layer.log_diag))[:, :, None, None]
            try:
                residual = (layer(layer.inverse(eye)[0])[0] - eye).abs().max()
            except RuntimeError as error:  # LinAlgError is one
                raise CheckpointError(f"{where}: {name} is singular: it cannot be inverted") from error
            if not residual <= _LARGEST_RESIDUAL:
                raise CheckpointError(f"{where}: {name} cannot be inverted: the error is {float(residual):.2g}")
