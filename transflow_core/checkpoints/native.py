"""The native format: safetensors weights with a JSON configuration, in a folder or in a single file.

A folder holds `config.json`, `model.safetensors`, if it was measured `typicality.json`, and `SHA256SUMS`, by which
weights that differ are refused. A single `.safetensors` file carries the JSON documents in its header, under "config"
and "typicality".

A flow that was grown may hold several priors of the same weights. "sizes" in its configuration says of each coarser
one, by its side in pixels, what a file of its own would say. A reader that passes over "sizes" reads the largest.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass
from pydantic_core import from_json, to_jsonable_python
from torch import Tensor

from ..flows import Flow
from ..flows.base import reason
from ..flows.layers import InvertibleConv1x1
from ..flows.pixels import PixelConvention
from ..flows.wavelet import FlowConfig, TrainableFlow, WaveletConfig, build_flow, read_config, unrolled, write_config
from ..untrusted import open_safetensors, save_safetensors
from .memory import require_memory
from .tensors import LARGEST_HEADER, CheckpointError
from .typicality import Typicality

FORMAT, GROWN_FORMAT, VERSION = "transflow-glow", "transflow-grown-glow", 1
_LAST_WITH_RETIRED = "0.2.0"
_WEIGHTS, _SUMS = "model.safetensors", "SHA256SUMS"
_PIXELS = ("bits", "pixel_offset", "pixel_scale", "pixel_noise")
_LARGEST_RESIDUAL = 0.1


@pydantic_dataclass(frozen=True)
class Size:
    """A coarser size of a flow that is a prior of its own: a `Checkpoint` without the weights, which are the flow's."""

    pixels: PixelConvention
    name: Annotated[str, Field(max_length=80)]
    typicality: Typicality | None = None
    metadata: dict[str, str] = field(default_factory=dict)


_SIZES = TypeAdapter(dict[int, Size])


@dataclass
class Checkpoint:
    """A flow read from a file, with everything that makes it a prior.

    Attributes:
        flow: see `flows.Flow`.
        pixels: how 8-bit pixels become the flow's x.
        name: a short word for people.
        fingerprint: hexadecimal digest of the weights; equal fingerprints mean equal latents, so it keys caches and
            saved posteriors.
        typicality: quantiles over held-out images, or None when nobody measured them.
        metadata: free words: format, licence, where it came from.
        coarser: the smaller priors within a flow that was grown, by the side of their images.
    """

    flow: Flow
    pixels: PixelConvention
    name: str
    fingerprint: str
    typicality: Typicality | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    coarser: dict[int, Size] = field(default_factory=dict)


@torch.inference_mode(False)  # weights made in inference mode could never be trained, nor their changes be seen
def load_native(path: str | Path, image_size: int | None = None) -> Checkpoint:
    """Read a native checkpoint from a folder, which its `model.safetensors` may stand for, or a `.safetensors` file.

    With `image_size`, read the prior of that size alone, as if it had a file of its own; by default the largest.

    Raises CheckpointError with what is wrong, and in which file of a folder; FileNotFoundError if there is no file.
    """
    path = Path(path)
    folder = path.is_dir()
    file, where = (path / _WEIGHTS, f"{path.name}/{_WEIGHTS}") if folder else (path, path.name)
    if not file.is_file():
        raise FileNotFoundError(f"{path.name}: no {_WEIGHTS} there" if folder else f"{path.name}: no such file")
    try:
        with open_safetensors(file, "prior", where, LARGEST_HEADER) as tensors:
            documents = header = tensors.metadata() or {}
            beside = path.absolute().parent
            if not folder and path.name == _WEIGHTS and "config" not in header and (beside / "config.json").is_file():
                return load_native(beside, image_size)
            if folder:
                _check_sum(path, where)
                files = {key: path / f"{key}.json" for key in ("config", "typicality")}
                documents = {key: file.read_text("utf-8") for key, file in files.items() if file.is_file()}
            config = _document(documents, "config", path.name)
            typicality = _typicality(documents, path.name)
            words = {key: value for key, value in header.items() if key not in ("config", "typicality", "format")}
            _check_format(config, path.name)
            shape, prefix, coarser = read_config(config), "", _SIZES.validate_python(config.pop("sizes", {}))
            # Of each size: its flow, and what the names of its tensors begin with.
            parts = {part.image_size: (part, depth * "base.") for depth, part in enumerate(unrolled(shape))}
            if unknown := coarser.keys() - parts.keys():
                raise ValueError(f"the flow has no level of {min(unknown)} pixels")
            if image_size not in (None, shape.image_size):
                if image_size not in coarser:
                    sides = ", ".join(map(str, (shape.image_size, *coarser)))
                    raise CheckpointError(f"{path.name}: it has no prior of {image_size} pixels, only of {sides}")
                size, (shape, prefix) = coarser[image_size], parts[image_size]
                config, typicality, words = _config(size.name, size.pixels, shape), size.typicality, size.metadata
                coarser = {side: one for side, one in coarser.items() if side < image_size}
            with torch.device("meta"):
                flow = build_flow(shape)
            require_memory(flow, path.name)
            pixels = PixelConvention(**{key.removeprefix("pixel_"): config[key] for key in _PIXELS if key in config})
            names = [name for name in tensors.keys() if name.startswith(prefix)]  # noqa: SIM118
            # The split's net is a module of its own in the flow; the format names its two tensors by the split alone.
            own = {name: name.removeprefix(prefix).replace(".split.", ".split.prior.") for name in names}
            state = {own[name]: _weights(tensors, name) for name in names}
        flow.load_state_dict(state, assign=True)
    except CheckpointError:
        raise
    except (ValueError, RuntimeError) as error:
        wrong = reason(error) if isinstance(error, ValidationError) else str(error)
        wrong = " ".join(wrong.split("\n\t")[-1].split())[:300]  # of names and shapes, torch writes many lines
        raise CheckpointError(wrong if where in wrong else f"{where}: {wrong}") from error
    require_invertible(flow, path.name)
    return Checkpoint(
        flow=flow.requires_grad_(False).eval(),
        pixels=pixels,
        name=str(config.get("name") or (path.name if folder else path.stem))[:80],
        fingerprint=_fingerprint(state, config),
        typicality=typicality,
        metadata={"format": f"{config['format']} {VERSION}", **words},
        coarser=coarser,
    )


def save_native(checkpoint: Checkpoint, path: str | Path, half: bool = False, *, folder: bool | None = None) -> None:
    """Write a Glow, or a grown one, as a single `.safetensors` file, or as a folder: by default when `path` has no
    suffix.

    `half` stores convolution weights and position maps in float16: half the size, a change of about 2e-4 relative in
    those weights. TypeError for another kind of flow.
    """
    path, flow = Path(path), checkpoint.flow
    if not isinstance(flow, TrainableFlow):
        raise TypeError(f"only a Glow, or one that was grown, can be saved as a native file, not {type(flow).__name__}")
    state = {}
    for name, tensor in flow.state_dict().items():
        nets = name.endswith(".position") or (name.endswith(".weight") and tensor.ndim == 4)
        dtype = torch.float16 if half and nets else torch.float32
        state[name.replace(".split.prior.", ".split.")] = tensor.detach().to("cpu", dtype).contiguous()
    config = _config(checkpoint.name, checkpoint.pixels, flow.config)
    if checkpoint.coarser:
        config["sizes"] = to_jsonable_python(checkpoint.coarser, by_alias=True)
    documents = {"config": json.dumps(config, indent=1)}
    if checkpoint.typicality is not None:
        documents["typicality"] = json.dumps(to_jsonable_python(checkpoint.typicality, by_alias=True), indent=1)
    words = {"format": "pt"} | {key: value for key, value in checkpoint.metadata.items() if key != "format"}
    folder = not path.suffix if folder is None else folder
    (path if folder else path.parent).mkdir(parents=True, exist_ok=True)
    if not folder:
        save_safetensors(state, path, words | documents)
        return
    save_safetensors(state, path / _WEIGHTS, words)
    if "typicality" not in documents:
        (path / "typicality.json").unlink(missing_ok=True)  # of the prior that was there before
    (path / _SUMS).write_text(f"{sha256_of(path / _WEIGHTS)}  {_WEIGHTS}\n", encoding="utf-8")
    for key, text in documents.items():
        (path / f"{key}.json").write_text(text + "\n", encoding="utf-8")


def native_fingerprint(flow: TrainableFlow, pixels: PixelConvention, name: str) -> str:
    """The fingerprint that this flow has when it is read back from a native file: 16 hexadecimal digits."""
    state = {name: tensor.detach().cpu().float() for name, tensor in flow.state_dict().items()}
    return _fingerprint(state, _config(name, pixels, flow.config))


def sha256_of(file: Path) -> str:
    """The file's digest in hexadecimal."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@torch.no_grad()
def require_invertible(flow: torch.nn.Module, where: str) -> None:
    """CheckpointError, naming the step, if a 1×1 convolution is singular or too nearly so for float32.

    It is found when a file is read, not when somebody waits for an image. The layers keep the inverses.
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


def _config(name: str, pixels: PixelConvention, config: FlowConfig) -> dict[str, Any]:
    """The configuration of a prior, as JSON gives it back."""
    document = {
        "format": GROWN_FORMAT if isinstance(config, WaveletConfig) else FORMAT,
        "version": VERSION,
        "name": name,
        "bits": pixels.bits,
        "pixel_offset": pixels.offset,
        **write_config(config),
    }
    if (pixels.scale, pixels.noise) != (1.0, "uniform"):
        document |= {"pixel_scale": pixels.scale, "pixel_noise": pixels.noise}
    return document


def _check_format(config: Mapping[str, Any], where: str) -> None:
    """CheckpointError for a configuration that this version cannot read."""
    if config.get("format") not in (FORMAT, GROWN_FORMAT) or config.get("version") != VERSION:
        raise CheckpointError(
            f"{where}: expected format {FORMAT!r} or {GROWN_FORMAT!r} version {VERSION}, "
            f"found {config.get('format')!r} version {config.get('version')!r}"
        )
    if re.search(r'"bounded": true|"kind": "symmetric"', json.dumps(config)):
        raise CheckpointError(
            f"{where}: this version cannot read flows with bounded layers or symmetric details. "
            f"Version {_LAST_WITH_RETIRED} is the last that can"
        )


def _weights(tensors: Any, name: str) -> Tensor:
    """A tensor in float32, with memory of its own: the file may be overwritten while the flow is in use."""
    tensor = tensors.get_tensor(name)
    if not tensor.is_floating_point():
        raise ValueError(f"{name} is stored as {tensor.dtype}, expected floating point")
    tensor = tensor.to(torch.float32, copy=True)
    # numpy: hundreds of small tensors are not worth waking torch's threads.
    if not np.isfinite(tensor.numpy()).all():
        raise ValueError(f"{name} holds numbers that are not finite")
    return tensor


def _check_sum(folder: Path, where: str) -> None:
    """CheckpointError if a single bit of the weights differs from those that the folder was written with."""
    if not (folder / _SUMS).is_file():
        return
    words = (folder / _SUMS).read_text(encoding="utf-8").split()
    sums = dict(zip(words[1::2], words[::2], strict=False))
    if _WEIGHTS not in sums:
        raise CheckpointError(f"{folder.name}/{_SUMS}: it has no sum of {_WEIGHTS}")
    if sha256_of(folder / _WEIGHTS) != sums[_WEIGHTS]:
        raise CheckpointError(f"{where}: the file is damaged: its sha256 is not the one in {_SUMS}. Fetch it again")


def _document(documents: Mapping[str, str], key: str, where: str) -> dict[str, Any]:
    if key not in documents:
        raise CheckpointError(f"{where}: it has no configuration (config.json, or `config` in the file's header)")
    try:
        document = from_json(documents[key])  # which refuses what is nested without end
    except ValueError as error:
        raise CheckpointError(f"{where}: its {key} is not JSON ({error})") from error
    if not isinstance(document, dict):
        raise CheckpointError(f"{where}: its {key} is not a JSON object")
    return document


def _typicality(documents: Mapping[str, str], where: str) -> Typicality | None:
    if "typicality" not in documents:
        return None
    try:
        return Typicality(**_document(documents, "typicality", where))
    except ValidationError as error:
        raise CheckpointError(f"{where}: these are not typicality statistics: {reason(error)}") from error


def _fingerprint(state: dict[str, Tensor], config: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].contiguous().numpy().data)
    return digest.hexdigest()[:16]
