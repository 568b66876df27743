"""ZeroGPU, Hugging Face's shared GPUs: what a Space on that hardware needs. Anywhere else this module does nothing.

There the package `spaces`, which the platform installs, must be imported before CUDA is touched, and from then on
`torch.cuda.is_available()` is true, though only a process forked for a decorated function has a GPU, for seconds that
the visitor's daily quota pays. A sheet takes less time on the CPU than such a process takes to start, so that all
engines stay there and no visitor pays. What is left is the start-up report, without which the platform takes the Space
for broken; it is sent only if a function is registered.
"""

import os

__all__ = ["DEVICE"]

DEVICE = "auto"
"""Where the page's priors go, as `load_prior` takes it."""

if os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true"):
    import spaces  # pyright: ignore[reportMissingImports]

    DEVICE = "cpu"

    @spaces.GPU(duration=5)
    def gpu_name() -> str:
        """What the GPU is called. It is there to be registered; the page never calls it."""
        import torch

        return torch.cuda.get_device_name()
