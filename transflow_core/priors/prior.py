"""A prior: a trained flow, its pixel convention and its metadata. This is what evidence conditions."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..checkpoints.native import Checkpoint, native_fingerprint, save_native
from ..flows import Flow
from ..flows.base import count_parameters, device_of, place
from ..flows.fused import GuardedFlow
from ..flows.openvino import OpenVinoFlow, require_openvino
from ..flows.wavelet import TrainableFlow, unrolled
from ..hub import CARD, SAMPLES, make_card, push_to_hub
from ..images import contact_sheet, to_pil
from ..images.output import save_png
from ..posterior import standard_normal
from ..posterior.guard import SEEN_AT, Looks, OwnFaces, judged_at, shrunk, with_missing
from ..posterior.local import PRIOR_TEMPERATURE
from ..runtime.devices import in_halves, on_cores
from .catalogue import load_prior

# Latents of mirror images are kept in half precision where they are so large: they are never decoded by themselves.
_LARGE_DIM, _MOST_IN_HALF = 100_000, 60_000
_OWN_FACES, _OWN_SEED = 40, 0x6F776E  # some are near to any face; at 256 × 256 they take 30 MB

Images = Sequence[Image.Image] | Sequence[np.ndarray] | np.ndarray | Tensor


@dataclass(frozen=True)
class LatentLevel:
    """One level of the flat latent: its name, its (C, H, W), and where it lies in the D numbers."""

    name: str
    shape: tuple[int, int, int]
    slice: slice

    @property
    def dim(self) -> int:
        """C·H·W."""
        return self.slice.stop - self.slice.start


@dataclass(frozen=True)
class Encoded:
    """Latents of m images and their densities.

    Attributes:
        z: (m, D) float32 whitened latents.
        log_prior: (m,) float64 on the CPU, log N(z; 0, I) in nats: the number that the paper reports.
        log_prob: (m,) float64 on the CPU, log density of the image's x under the flow, in nats.
        ranges: (m, 2, R) of the images inside the flow, as `noted_decode` gives them but for rounding; None for a flow
            that is none of ours.
    """

    z: Tensor
    log_prior: Tensor
    log_prob: Tensor
    ranges: Tensor | None = None


def standard_log_prob(z: Tensor) -> Tensor:
    """log N(z; 0, I) in nats: (m, D) -> (m,) float64, on the CPU: Apple's GPUs have no float64."""
    return -0.5 * (z.cpu().double().square().sum(1) + z.shape[1] * math.log(2 * math.pi))


@dataclass
class Prior(Checkpoint):
    """A trained flow that can be conditioned on evidence: a checkpoint, at work on a device.

    Args:
        nets: the type in which the nets inside the flow's couplings compute; None is float32.
        openvino: whether OpenVINO computes, on the processor; a flow of your own computes as it does.

    The flow that computes is the fused one (`flows.fused`), made when it is first used: change no weight afterwards.

    Example:
        >>> from transflow_core.priors.catalogue import load_prior
        >>> prior = load_prior("celeba64")
        >>> prior.image_size, prior.dim, [level.name for level in prior.levels]
        (64, 12288, ['32×32', '16×16', '8×8', '4×4', '2×2'])
    """

    nets: torch.dtype | None = None
    openvino: bool = False

    def __post_init__(self) -> None:
        self._at: dict[int, Prior] = {}
        levels, start = [], 0
        for c, h, w in self.flow.latent_shapes:
            levels.append(LatentLevel(f"{h}×{w}", (c, h, w), slice(start, start + c * h * w)))
            start += c * h * w
        self.levels: tuple[LatentLevel, ...] = tuple(levels)
        self.dim: int = start

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, device: str | torch.device = "auto") -> "Prior":
        """Put a loaded checkpoint on a device; "openvino" is the processor, by OpenVINO.

        Raises OSError if OpenVINO is not installed.
        """
        place(checkpoint.flow, pick_device(device))
        return cls(**vars(checkpoint), openvino=device == "openvino")

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sides of the images of the priors that this one holds, in pixels: its own, then coarser ones."""
        return self.image_size, *sorted(self.coarser, reverse=True)

    def at(self, image_size: int) -> "Prior":
        """This prior, or the coarser one of that size that it holds, with the same weights in memory.

        It is what a file of its own would give, fingerprint and all. The latent of an image's 2×2 means is the end of
        that of the image. Raises ValueError, with the sizes that there are.
        """
        if image_size == self.image_size:
            return self
        if image_size not in self.coarser:
            raise ValueError(f"{self.name} has no prior of {image_size} pixels. It has {self.sizes}")
        if image_size not in self._at:
            size = self.coarser[image_size]
            flow = next(one for one in unrolled(self.flow) if one.image_size == image_size)
            self._at[image_size] = replace(
                self,
                **vars(size),
                flow=flow,
                fingerprint=native_fingerprint(flow, size.pixels, size.name),
                coarser={side: one for side, one in self.coarser.items() if side < image_size},
            )
        return self._at[image_size]

    def level_rms(self, z: Tensor) -> Tensor:
        """Root mean square of each level of latents, (n, D) -> (n, levels), fine to coarse."""
        return torch.stack([z[:, level.slice].square().mean(1).sqrt() for level in self.levels], 1)

    @property
    def image_size(self) -> int:
        """Side of the square images, in pixels."""
        return self.flow.image_size

    @property
    def channels(self) -> int:
        """Colour channels of the images."""
        return self.flow.channels

    @property
    def device(self) -> torch.device:
        """Where the flow computes."""
        return device_of(self.flow)

    @cached_property
    def _form(self) -> Flow:
        if not isinstance(self.flow, TrainableFlow):
            return self.flow
        if self.openvino:
            return OpenVinoFlow(self.flow, self.fingerprint, fast=self.nets is not None)
        return GuardedFlow(self.flow, self.nets)

    @cached_property
    def _middle(self) -> Tensor:
        """(1, C, S, S) on the CPU, small where the flow can: at the origin a prior of faces shows their middle."""
        return self.decode(torch.zeros(1, self.dim), side=1).cpu()

    @cached_property
    def _own_faces(self) -> OwnFaces:
        """Some that it draws alone, on the CPU, small where the flow can."""
        z, side = PRIOR_TEMPERATURE * standard_normal(_OWN_FACES, self.dim, _OWN_SEED), judged_at(SEEN_AT)
        return OwnFaces(z, shrunk(self.decode(z, side=side).nan_to_num(0.5, 1.0, 0.0).cpu(), side))

    def _batched(
        self, function: Callable[..., tuple[Tensor, ...]], batch_size: int, *given: Tensor | None
    ) -> tuple[Tensor, ...]:
        """The results of `function` of some rows: a part of each batch a core, and smaller where memory is short.

        A flow that is none of ours may keep something between two calls, and has the batch as it is; and OpenVINO has
        threads of its own.
        """
        n = len(cast(Tensor, given[0]))
        rows = torch.arange(max(1, n), device=self.device)
        given = given if n else tuple(None if one is None else one.new_zeros(1, *one.shape[1:]) for one in given)

        def of_rows(rows: Tensor) -> tuple[Tensor, ...]:
            return function(*(None if one is None else one[rows] for one in given))

        halved = partial(in_halves, of_rows)
        found: list[tuple[Tensor, ...]] = []
        for batch in rows.split(batch_size):
            alone = self._form is self.flow or isinstance(self._form, OpenVinoFlow)
            parts = [halved(batch)] if alone else on_cores(halved, batch)
            found += [one for some in parts for one in some]
        return tuple(torch.cat(results)[:n] for results in zip(*found, strict=True))

    def to_unit(self, images: Images) -> Tensor:
        """Any accepted form of m images -> (m, C, S, S) float32 in [0, 1], on the prior's device.

        Accepted are PIL images, uint8 arrays (m, S, S, C), and floats (m, C, S, S) in [0, 1], array or tensor. A byte
        becomes the middle of its bin (see `PixelConvention`); floats are taken as they are, in the units that
        `decode` gives. Raises ValueError for another size or range, TypeError for another kind of thing.
        """
        if isinstance(images, Image.Image):
            images = [images]
        if not isinstance(images, np.ndarray | Tensor):
            mode = "RGB" if self.channels == 3 else "L"
            rows = [np.asarray(i.convert(mode)) if isinstance(i, Image.Image) else np.asarray(i) for i in images]
            if len({row.shape for row in rows}) > 1:
                raise ValueError(f"the images differ in size: {sorted({row.shape for row in rows})}")
            images = (
                np.stack(rows) if rows else np.zeros((0, self.image_size, self.image_size, self.channels), np.uint8)
            )
        v = torch.as_tensor(images)
        if v.dtype == torch.uint8:
            if v.ndim == 3 and self.channels == 1:
                v = v[..., None]
            if v.ndim == 4:
                v = v.permute(0, 3, 1, 2)
            v = self.pixels.from_bytes(v)
        elif v.dtype.is_floating_point:
            v = v.float()
            if v.numel() and not (v.min() >= -1e-6 and v.max() <= 1 + 1e-6):
                raise ValueError("float images must lie in [0, 1], with no number that is not finite")
        else:
            raise TypeError(f"images must be PIL images, uint8 or float arrays, not {v.dtype}")
        expected = (self.channels, self.image_size, self.image_size)
        if tuple(v.shape[1:]) != expected:
            raise ValueError(
                f"this prior takes images of (channels, height, width) = {expected}, not {tuple(v.shape[1:])}: "
                "align them first (transflow_core.align) or resize them"
            )
        return v.to(self.device)

    @torch.inference_mode()
    def encode_and_score(self, images: Images, batch_size: int = 32) -> Encoded:
        """Invert images, keep their densities, and note their ranges: one pass of the flow. See `encode`.

        An image far from the training data can overflow: its row is then not finite, and the other rows are unharmed.
        """
        z, log_det, *ranges = self._forward(self.to_unit(images), batch_size)
        log_prior = standard_log_prob(z)
        return Encoded(z, log_prior, log_prior + log_det.cpu().double(), *ranges)

    @torch.inference_mode()
    def _forward(self, v: Tensor, batch_size: int, times: int = 0) -> tuple[Tensor, ...]:
        """Images in [0, 1], or means of them: their latents, log-determinants, and, where a flow notes them, ranges."""
        form = self._form

        def forward(v: Tensor) -> tuple[Tensor, ...]:
            x = self.pixels.to_flow(v)
            return form.noted_forward(x, times) if isinstance(form, GuardedFlow) else form.forward(x)

        z, *others = self._batched(forward, batch_size, v)
        return z.float(), *others  # a flow of one's own may compute in another type

    def encode(self, images: Images, batch_size: int = 32) -> Tensor:
        """z = f⁻¹(x): PIL images, uint8 (m, S, S, C) or float (m, C, S, S) in [0, 1] -> (m, D) float32.

        Deterministic: no dequantisation noise is added (see `PixelConvention`).
        """
        return self.encode_and_score(images, batch_size).z

    def decode(self, z: Tensor, batch_size: int = 32, side: int | None = None) -> Tensor:
        """x = f(z): (n, D) -> (n, C, S, S) float32 in [0, 1]. Raises ValueError on another width.

        Where `side` pixels are enough, a flow that can (see `flows.Flow`) leaves out its finest levels: it gives
        the means of 2×2 pixels, in half the time or less. Other flows have nothing coarser to give.
        """
        return self.guarded_decode(z, batch_size, side)[0]

    @torch.inference_mode()
    def guarded_decode(
        self,
        z: Tensor,
        batch_size: int = 32,
        side: int | None = None,
        ranges: Tensor | None = None,
        known: Tensor | None = None,
        clip: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """As `decode`, and no value inside the flow leaves `ranges`, so that no picture breaks into noise.

        Args:
            z, batch_size, side: see `decode`.
            ranges: (2, R) or (n, 2, R), as `noted_decode` gives them; None for none. A flow that is none of ours takes
                no notice (see `flows.fused`).
            known: the same images at a smaller side, not clipped: then only finer levels are computed, by our flows.
            clip: whether the images are clipped to [0, 1]. The means of those that are not are the smaller images.

        Returns:
            The images; and by how many times its width each image would have left a range, (n,): 0 for not at all, and
            of finer levels alone where the coarser ones are known.
        """
        form, z = self._form, self._checked(z)
        times = self.left_out(side or self.image_size)
        if ranges is not None and isinstance(form, GuardedFlow):
            ranges = ranges.to(z).expand(len(z), 2, form.guarded)
        known = None if known is None else self.pixels.to_flow(known.to(z))

        def decoded(z: Tensor, ranges: Tensor | None, known: Tensor | None) -> tuple[Tensor, Tensor]:
            if isinstance(form, GuardedFlow):
                return form.decode(z, ranges, times, known)
            images = cast(Any, form).low_pass(z, times) if times else form.inverse(z)[0]
            return images, z.new_zeros(len(z))

        images, excess = self._batched(decoded, batch_size, z, ranges, known)
        return self.pixels.from_flow(images.float(), clip), excess

    @property
    def halvings(self) -> int:
        """How many of its finest levels `decode` can leave out: see `flows.Flow`."""
        return getattr(self._form, "halvings", 0)

    def left_out(self, side: int) -> int:
        """How many of its finest levels `decode` leaves out where `side` pixels are enough."""
        return min(self.halvings, math.floor(math.log2(max(1.0, self.image_size / side))))

    def lacking(self, side: float) -> int:
        """How many of the finest levels a picture of this side has no pixels for: of a `WaveletGlow`, else 0.

        Enlarged to the prior's size by more than √2, a picture lacks the finest level, by more than 2√2 two, and so on.
        """
        most = self.halvings if isinstance(self.flow, TrainableFlow) else 0
        return min(most, max(0, math.ceil(math.log2(self.image_size / max(side, 1.0)) - 0.5)))

    def _checked(self, z: Tensor) -> Tensor:
        z = torch.as_tensor(z, dtype=torch.float32)
        if z.ndim != 2 or z.shape[1] != self.dim:
            raise ValueError(f"latents of this prior are (n, {self.dim}), not {tuple(z.shape)}")
        return z.to(self.device)

    @torch.inference_mode()
    def noted_decode(self, z: Tensor, batch_size: int = 32, times: int = 0) -> tuple[Tensor, Tensor | None]:
        """As `decode`, and the ranges of each image inside the flow, (n, 2, R); None for a flow that is none of ours.

        What decodes within the ranges of its own latent decodes as without, to the bit. Our flows can leave out so many
        of the finest levels: of smaller images there are no ranges of these.
        """
        form, z = self._form, self._checked(z)
        if not isinstance(form, GuardedFlow):
            return self.decode(z, batch_size), None
        images, ranges = self._batched(lambda part: form.decode_and_see(part, None, times), batch_size, z)
        return self.pixels.from_flow(images), ranges

    def looks(
        self,
        z: Tensor,
        shown: Sequence[tuple[Image.Image, Tensor | None]] = (),
        lacks: int = 0,
        batch_size: int = 16,
    ) -> Looks:
        """What latents (p, D) of images look like: see `Looks`, which `Posterior.draw` takes. On the CPU.

        They are decoded, unless what they show is known: images and their ranges, of `encode_and_score`.

        Images may have no pixels for the `lacks` finest levels (see `lacking`). These are not decoded then, there are
        no ranges of them, and the mirror images have zeros there.
        """
        r = self._form.guarded if isinstance(self._form, GuardedFlow) else 0
        lacks = lacks if r else 0
        if shown:
            pictures, inside = zip(*shown, strict=True)
            images, ranges = self.to_unit(pictures), torch.stack(inside).to(self.device) if r else None
        else:
            images, ranges = self.noted_decode(z, batch_size, lacks)
            images = images.nan_to_num(0.5, 1.0, 0.0).clamp(0, 1)
        low = shrunk(images, self.image_size >> lacks)
        other, _, *others = self._forward(low.flip(-1), batch_size, lacks)
        # An image whose mirror image the flow cannot invert stands for both.
        fits = torch.isfinite(other).all(1)
        mirrored = torch.where(fits[:, None], F.pad(other, (self.dim - other.shape[1], 0)), self._checked(z))
        if self.dim > _LARGE_DIM:
            mirrored = mirrored.clamp(-_MOST_IN_HALF, _MOST_IN_HALF).half()
        if ranges is not None:
            own = ranges[:, :, -others[0].shape[2] :]
            both = torch.stack([own, torch.where(fits[:, None, None], others[0], own)])
            ranges = torch.stack([both[:, :, 0].amin(0), both[:, :, 1].amax(0)], 1)
            ranges = with_missing(ranges, r).cpu()
        usual = None
        if self.typicality is not None:
            squares = zip(self.levels, self.typicality.median_rms, strict=True)
            usual = math.sqrt(sum(level.dim * rms**2 for level, rms in squares) / self.dim)
        small = shrunk(low, min(self.image_size, SEEN_AT))
        return Looks(small.cpu(), mirrored.cpu(), ranges, usual, self._middle, lambda: self._own_faces)

    def log_prob(self, images: Images, batch_size: int = 32) -> Tensor:
        """Log density of each image's x in nats, (m,) float64: log N(z; 0, I) plus the log-determinant."""
        return self.encode_and_score(images, batch_size).log_prob

    @torch.inference_mode()
    def bits_per_dim(self, images: Images, batch_size: int = 32, seed: int = 0) -> Tensor:
        """Bits per dimension of the quantised images, (m,) float64, with dequantisation noise from a fixed seed.

        `-(log p(x) - D log(2**bits / scale)) / (D log 2)`, comparable with published numbers of the same bits. Image i
        has the same noise in any batch.
        """
        v = self.to_unit(images)
        generator = torch.Generator().manual_seed(seed)
        noise = torch.cat([torch.rand(1, *v.shape[1:], generator=generator) for _ in v] or [v])
        z, log_det = self._batched(self._form.forward, batch_size, self.pixels.dequantise(v, noise.to(v)))
        nats = standard_log_prob(z) + log_det.cpu().double()
        return (self.pixels.nats_per_dim - nats / self.dim) / math.log(2)

    def save(self, path: str | Path, half: bool = False, *, folder: bool | None = None) -> None:
        """Write the prior in the native format: one `.safetensors` file, or a folder when `path` has no suffix.

        `half` and `folder` are as for `checkpoints.native.save_native`, which raises TypeError for a flow of your own.
        """
        save_native(self, path, half, folder=folder)

    def save_pretrained(
        self, folder: str | Path, *, repo_id: str = "owner/repo", card: str = "", half: bool = False, **head: Any
    ) -> None:
        """Write a folder as the Hub has it: config.json, the weights, a card (README.md) and samples.png.

        `half` is as for `save`, and the others as for `hub.push_to_hub`. The licence is by default the metadata's.
        """
        folder = Path(folder)
        self.save(folder, half, folder=True)  # also where its name has a dot
        samples = self.decode(0.7 * standard_normal(16, self.dim, seed=0))
        save_png(contact_sheet(to_pil(samples)), folder / SAMPLES)
        licence = head.pop("licence", "") or self.metadata.get("licence", "")
        smaller = "".join(f" `prior.at({side})` is one of {side}×{side} images." for side in self.sizes[1:])
        card = card or (
            f"# {self.name}\n\nA flow of {self.image_size}×{self.image_size} images, {self.dim:,} latents.{smaller}\n\n"
            f"Licence: {licence or 'not said by whoever made it'}.\n\n```python\nimport transflow_core as tfc\n\n"
            f'prior = tfc.Prior.from_pretrained("{repo_id}")\n```\n\n![samples]({SAMPLES})\n'
        )
        make_card(card, licence=licence, tags=["prior"], thumbnail=SAMPLES, **head).save(folder / CARD)

    def push_to_hub(self, repo_id: str, **how: Any) -> str:
        """Upload what `save_pretrained` writes; returns the address. See `hub.push_to_hub`."""
        return push_to_hub(self, repo_id, **how)

    @classmethod
    def from_pretrained(
        cls, name: str | Path, *, revision: str | None = None, device: str | torch.device = "auto"
    ) -> "Prior":
        """Load what `save_pretrained` wrote from a folder, or from the Hub by "owner/repo". See `load_prior`."""
        if (folder := Path(name)).is_dir():
            name = folder.resolve()  # it may have the name of a prior that ships
        else:
            name = f"hf://{name}/model.safetensors" + (f"@{revision}" if revision else "")
        return load_prior(name, device)

    @property
    def provenance(self) -> dict[str, str]:
        """What a file that was made with this prior says of it."""
        return {"prior": self.name, "fingerprint": self.fingerprint}

    def info(self) -> dict[str, Any]:
        """What there is to know, as JSON takes it."""
        return {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "image_size": self.image_size,
            "sizes": list(self.sizes),
            "channels": self.channels,
            "dim": self.dim,
            "levels": [{"name": level.name, "shape": list(level.shape), "dim": level.dim} for level in self.levels],
            "parameters": count_parameters(self.flow),
            "bits": self.pixels.bits,
            "device": "openvino" if self.openvino else str(self.device),
            "typicality": self.typicality is not None,
            **self.metadata,
        }


def pick_device(device: str | torch.device = "auto") -> torch.device:
    """ "auto" is the CUDA device when there is one, else Apple's GPU (mps), else the CPU, as is "openvino".

    Nobody has tested Apple's GPU: the device "cpu" does without.

    Raises OSError if OpenVINO is asked for, and not installed, and ValueError for a device that PyTorch has not here.
    """
    if device == "openvino":
        require_openvino()
        return torch.device("cpu")
    here = [name for name in ("cuda", "mps") if getattr(torch, name).is_available()] + ["cpu"]
    if device == "auto":
        return torch.device(here[0])
    try:
        torch.zeros((), device=device)
    except (RuntimeError, AssertionError, ImportError) as error:
        known = ", ".join(["auto", *here, "openvino"])
        raise ValueError(f"PyTorch cannot compute on {str(device)!r} here; choose {known}") from error
    return torch.device(device)
