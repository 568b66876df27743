"""What tests share that is no fixture: where things lie, a prior made on the spot, how a browser starts."""

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from transflow_core import Method, Prior, adapt_flow
from transflow_core.checkpoints.native import Checkpoint, Size, native_fingerprint
from transflow_core.checkpoints.typicality import Typicality
from transflow_core.flows import PixelConvention
from transflow_core.flows.glow import GlowConfig, LevelConfig
from transflow_core.flows.wavelet import DetailConfig, TrainableFlow, WaveletConfig, build_flow
from transflow_core.posterior import Covariance
from transflow_core.priors.catalogue import shipped_files

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
EXAMPLES = ROOT / "assets" / "examples"
TIMEOUT = 120
"""Seconds after which a test fails that waits: a busy machine may stand still for a minute. No test asserts a time."""
CHROMIUM = shutil.which("chromium")
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP away.test 127.0.0.1",  # a page of another machine
]


def read_conformance(name: str) -> dict[str, np.ndarray]:
    """Inputs and results of a prior that ships, as they lie beside its weights."""
    folder, side = shipped_files()[name]
    own = folder / f"conformance_{side}.npz"
    with np.load(own if own.is_file() else folder / "conformance.npz") as arrays:
        return dict(arrays)


def rng(seed: int = 0) -> torch.Generator:
    """Random numbers of torch's."""
    return torch.Generator().manual_seed(seed)


def squares(n: int, size: int = 16, seed: int = 0) -> list[Image.Image]:
    """Pictures of noise."""
    noise = np.random.default_rng(seed).integers(0, 256, (n, size, size, 3), dtype=np.uint8)
    return [Image.fromarray(pixels) for pixels in noise]


def make_tiny_prior(seed: int = 0, name: str = "tiny", side: int = 16, channels: int = 3) -> Prior:
    """A random Glow of two levels, by default 16×16: no face in it, but as invertible as a trained one, and quick."""
    config = GlowConfig(side, (LevelConfig(2, 8), LevelConfig(2, 8)), channels, position=True)
    checkpoint = Checkpoint(_random(config, seed), PixelConvention(bits=5), name, fingerprint=f"{name}-{seed}")
    return Prior.from_checkpoint(checkpoint, device="cpu")


class Pixels:
    """A flow of one's own, without a density: its latents are the pixels of images of 3 channels, between -2 and 2."""

    channels = 3

    def __init__(self, side: int, decode: Callable | None) -> None:
        self.image_size, self.latent_shapes, self._decode = side, ((3, side, side),), decode

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return 4 * x.flatten(1) - 2, x.new_full((len(x),), torch.nan)

    def inverse(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = (z.reshape(-1, 3, self.image_size, self.image_size) + 2) / 4 if self._decode is None else self._decode(z)
        return x, z.new_full((len(z),), torch.nan)


def make_own_prior(side: int = 8, decode: Callable | None = None) -> Prior:
    """A prior of somebody's own model."""
    return Prior.from_checkpoint(adapt_flow(Pixels(side, decode)), device="cpu")


def make_sized_prior(seed: int = 0) -> Prior:
    """A random prior of 32×32 that holds one of 16×16 and one of 8×8: "tiny32", "tiny16" and "tiny8"."""
    config: WaveletConfig | GlowConfig = GlowConfig(8, (LevelConfig(2, 8), LevelConfig(2, 8)), position=True)
    for _ in range(2):
        config = WaveletConfig(config, DetailConfig(steps=2, width=6, context=4))
    flow, coarser = _random(config, seed), {}
    for side, bits in ((16, 7), (8, 5)):
        row = (1.0, 2.0)
        rows = Typicality(2, (0.0, 100.0), row, row, (row,) * (2 + side // 16))
        coarser[side] = Size(PixelConvention(bits), f"tiny{side}", rows, {"data": f"{side} pixels"})
    pixels = PixelConvention(8)
    own = native_fingerprint(flow, pixels, "tiny32")
    return Prior.from_checkpoint(Checkpoint(flow, pixels, "tiny32", own, coarser=coarser), device="cpu")


def make_grown_prior() -> Prior:
    """A random Glow of 128×128 under a level of 256×256: the sheet of the page shows less than it has."""
    levels = (LevelConfig(1, 4), LevelConfig(1, 4))
    config = WaveletConfig(GlowConfig(image_size=128, levels=levels), DetailConfig(steps=1, width=4, context=4))
    flow = _random(config, 0)
    return Prior.from_checkpoint(Checkpoint(flow, PixelConvention(), "grown", fingerprint="grown"), device="cpu")


def _random(config: WaveletConfig | GlowConfig, seed: int) -> TrainableFlow:
    generator = rng(seed)
    flow = build_flow(config, generator)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.03 * torch.randn(parameter.shape, generator=generator))
    return flow


def dense(covariance: Covariance, dim: int) -> torch.Tensor:
    """The (dim, dim) matrix itself."""
    matrix = torch.diag(covariance.diagonal.double().expand(dim))
    return matrix if covariance.factor is None else matrix + covariance.factor.double() @ covariance.factor.double().T


class Unpickled:
    """Where it is unpickled, a function is called: as a file of a stranger would."""

    def __init__(self, function: Callable, *args: object) -> None:
        self._call = function, args

    def __reduce__(self) -> tuple[Callable, tuple]:
        return self._call


def apart(function, *args):
    """Called in a new thread."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(function, *args).result()


def frames(page, n: int = 20) -> None:
    """Wait until a page has drawn n more frames: what stands still for so long stands still, on a busy machine too."""
    page.evaluate(
        "n => new Promise(done => { const next = () => n-- ? requestAnimationFrame(next) : done(); next(); })", n
    )


METHODS = {name: Method(method=name).filled() for name in ("local", "bootstrap", "posterior")}
"""Each sampling method with its usual numbers."""


def by_local(likeness: float = 0.5, lam_ratio: float | list[float] = 0.02) -> Method:
    """New members of the set."""
    return Method(method="local", likeness=likeness, lam_ratio=lam_ratio)


def by_bootstrap(images_per_sample: float = 2.0, lam_ratio: float | list[float] = 0.1) -> Method:
    """Blends of so many images."""
    return Method(method="bootstrap", images_per_sample=images_per_sample, lam_ratio=lam_ratio)


def by_posterior(lam_ratio: float | list[float] = 0.5) -> Method:
    """The paper's posterior of the mean."""
    return Method(method="posterior", lam_ratio=lam_ratio)


def repeated(pixels: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    """Four times larger in four parts, in the place of the network of `transflow_core.operations.enlarging`."""
    for done in range(1, 5):
        yield done, 4, pixels.repeat(4, 1).repeat(4, 2)
