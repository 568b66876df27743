"""The native format: safetensors weights with a JSON configuration, in a folder or in a single file.

A folder holds `config.json`, `model.safetensors`, if it was measured `typicality.json`, and `SHA256SUMS`, which
`sha256sum --check` reads as well: where it is, weights that differ are refused. A single `.safetensors` file carries
the two JSON documents in its header, under "config" and "typicality".
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from ..flows import GlowConfig, GrownConfig, GrownGlow, TrainableFlow, build_flow
from ..pixels import PixelConvention
from ..untrusted import open_safetensors
from .base import Checkpoint, CheckpointError, sha256_of
from .containers import LARGEST_HEADER
from .invertible import require_invertible
from .memory import require_memory

__all__ = ["load_native", "native_fingerprint", "save_native"]

FORMAT, GROWN_FORMAT, VERSION = "transflow-glow", "transflow-grown-glow", 1
_WEIGHTS, _SUMS = "model.safetensors", "SHA256SUMS"
_LARGEST_DOCUMENT = 1 << 20
_DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64}


@torch.inference_mode(False)  # weights made in inference mode could never be trained, nor their changes be seen
def load_native(path: str | Path) -> Checkpoint:
    """Read a native checkpoint from a folder or a `.safetensors` file.

    Names, shapes and types in the file's header are held against the configuration before a single weight is read, so
    that a damaged or hostile file costs nothing. Raises CheckpointError with what is wrong, and in which file of a
    folder; FileNotFoundError if there is no file.
    """
    path = Path(path)
    file = path / _WEIGHTS if path.is_dir() else path
    where = f"{path.name}/{_WEIGHTS}" if path.is_dir() else path.name
    if not file.is_file():
        raise FileNotFoundError(f"{path.name}: no {_WEIGHTS} there" if path.is_dir() else f"{path.name}: no such file")
    try:
        with open_safetensors(file, "prior", where, LARGEST_HEADER) as tensors:
            if path.is_dir():
                _check_sum(path, where)
            header = tensors.metadata() or {}
            documents = _beside(path) if path.is_dir() else header
            config = _document(documents, "config", path)
            if config is None:
                raise CheckpointError(
                    f"{path.name}: there is no configuration (config.json, or `config` in the file's header)"
                )
            if config.get("format") not in (FORMAT, GROWN_FORMAT) or config.get("version") != VERSION:
                raise CheckpointError(
                    f"{path.name}: expected format {FORMAT!r} or {GROWN_FORMAT!r} version {VERSION}, "
                    f"found {config.get('format')!r} version {config.get('version')!r}"
                )
            try:
                grown = config["format"] == GROWN_FORMAT
                glow = GrownConfig.from_dict(config) if grown else GlowConfig.from_dict(config)
                pixels = _pixels(config)
            except (ValueError, TypeError) as error:
                raise CheckpointError(f"{path.name}: {error}") from error
            require_memory(glow, path.name)
            with torch.device("meta"):
                flow = build_flow(glow)
            _check_header(tensors, flow, path)
            state = {_module_name(name): tensors.get_tensor(name).float() for name in tensors.keys()}  # noqa: SIM118
    except (CheckpointError, FileNotFoundError):
        raise
    except (ValueError, RecursionError) as error:
        words = str(error) if isinstance(error, ValueError) else f"{where}: its configuration is not readable ({error})"
        raise CheckpointError(words) from error
    for name, tensor in state.items():
        if not np.isfinite(
            tensor.numpy()
        ).all():  # numpy: hundreds of small tensors are not worth waking torch's threads
            raise CheckpointError(f"{path.name}: {name} holds numbers that are not finite")
    flow.load_state_dict(state, assign=True)
    require_invertible(flow, path.name)
    name = str(config.get("name") or (path.name if path.is_dir() else path.stem))[:80]
    metadata = {k: v for k, v in header.items() if k not in ("config", "typicality", "format")}
    return Checkpoint(
        flow=flow.requires_grad_(False).eval(),
        pixels=pixels,
        name=name,
        fingerprint=_fingerprint(state, config),
        typicality=_document(documents, "typicality", path),
        metadata={"format": f"{config['format']} {VERSION}", **metadata},
    )


def save_native(checkpoint: Checkpoint, path: str | Path, half: bool = False) -> None:
    """Write a Glow, or a grown one, as a single `.safetensors` file, or as a folder when `path` has no suffix.

    `half` stores convolution weights and position maps in float16, as the shipped prior does: half the size, a change
    of about 2e-4 relative in those weights. Everything that is inverted exactly stays in float32.
    """
    path, flow = Path(path), checkpoint.flow
    if not isinstance(flow, TrainableFlow):
        raise TypeError(
            f"only a Glow, or one that was grown, can be saved in the native format, not {type(flow).__name__}"
        )
    config = _config(checkpoint.name, checkpoint.pixels, flow)
    state = {}
    for name, tensor in flow.state_dict().items():
        nets = name.endswith(".position") or (name.endswith(".weight") and tensor.ndim == 4)
        state[_file_name(name)] = (
            tensor.detach().to("cpu", torch.float16 if half and nets else torch.float32).contiguous()
        )
    documents = {"config": json.dumps(config, indent=1)}
    if checkpoint.typicality is not None:
        documents["typicality"] = json.dumps(checkpoint.typicality, indent=1)
    words = {k: v for k, v in checkpoint.metadata.items() if k != "format"}
    if path.suffix:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(state, path, {"format": "pt", **words, **documents})
        return
    path.mkdir(parents=True, exist_ok=True)
    save_file(state, path / _WEIGHTS, {"format": "pt", **words})
    (path / _SUMS).write_text(f"{sha256_of(path / _WEIGHTS)}  {_WEIGHTS}\n", encoding="utf-8")
    for key, text in documents.items():
        (path / f"{key}.json").write_text(text + "\n", encoding="utf-8")


def native_fingerprint(flow: TrainableFlow, pixels: PixelConvention, name: str) -> str:
    """The fingerprint that this flow has when it is read back from a native file: 16 hexadecimal digits."""
    state = {name: tensor.detach().cpu().float() for name, tensor in flow.state_dict().items()}
    return _fingerprint(state, json.loads(json.dumps(_config(name, pixels, flow))))


def _config(name: str, pixels: PixelConvention, flow: TrainableFlow) -> dict[str, Any]:
    document = {
        "format": GROWN_FORMAT if isinstance(flow, GrownGlow) else FORMAT,
        "version": VERSION,
        "name": name,
        "bits": pixels.bits,
        "pixel_offset": pixels.offset,
        **flow.config.to_dict(),
    }
    if (pixels.scale, pixels.noise) != (1.0, "uniform"):
        document |= {"pixel_scale": pixels.scale, "pixel_noise": pixels.noise}
    return document


def _pixels(config: dict[str, Any]) -> PixelConvention:
    return PixelConvention(
        bits=config.get("bits", 8),
        offset=config.get("pixel_offset", 0.5),
        scale=config.get("pixel_scale", 1.0),
        noise=config.get("pixel_noise", "uniform"),
    )


# The split's net is a module of its own in the flow; the format names its two tensors by the split alone.
def _module_name(name: str) -> str:
    return name.replace(".split.", ".split.prior.")


def _file_name(name: str) -> str:
    return name.replace(".split.prior.", ".split.")


def _check_sum(folder: Path, where: str) -> None:
    """CheckpointError if the weights are not those that the folder was written with: not one bit of them differs."""
    sums = folder / _SUMS
    if not sums.is_file():
        return
    words = _small_text(sums).split()
    if _WEIGHTS not in words[1::2]:
        raise CheckpointError(f"{folder.name}/{_SUMS}: it does not tell the sum of {_WEIGHTS}")
    if sha256_of(folder / _WEIGHTS) != words[2 * words[1::2].index(_WEIGHTS)]:
        raise CheckpointError(f"{where}: the file is damaged: its sha256 is not that of {_SUMS}. Fetch it again")


def _beside(folder: Path) -> dict[str, str]:
    """The JSON documents in a folder, by name."""
    files = {key: folder / f"{key}.json" for key in ("config", "typicality")}
    return {key: _small_text(file) for key, file in files.items() if file.is_file()}


def _small_text(file: Path) -> str:
    if file.stat().st_size > _LARGEST_DOCUMENT:
        raise CheckpointError(f"{file.parent.name}/{file.name}: too large for what it is")
    return file.read_text(encoding="utf-8")


def _document(documents: dict[str, str], key: str, path: Path) -> dict[str, Any] | None:
    if key not in documents:
        return None
    try:
        document = json.loads(documents[key])
    except ValueError as error:
        raise CheckpointError(f"{path.name}: its {key} is not JSON ({error})") from error
    if not isinstance(document, dict):
        raise CheckpointError(f"{path.name}: its {key} is not a JSON object")
    return document


def _check_header(tensors: Any, flow: TrainableFlow, path: Path) -> None:
    expected = {_file_name(name): tuple(t.shape) for name, t in flow.state_dict().items()}
    found = {name: tensors.get_slice(name) for name in tensors.keys()}  # noqa: SIM118 (safe_open is no mapping)
    for what, names in (("lacks", expected.keys() - found.keys()), ("has unknown", found.keys() - expected.keys())):
        if names:
            listed = ", ".join(sorted(names)[:3])
            raise CheckpointError(f"{path.name}: it {what} {len(names)} tensor(s) for its configuration: {listed} …")
    for name, entry in found.items():
        if tuple(entry.get_shape()) != expected[name]:
            raise CheckpointError(
                f"{path.name}: {name} has shape {tuple(entry.get_shape())}, its configuration says {expected[name]}"
            )
        if entry.get_dtype() not in _DTYPES:
            found = entry.get_dtype()
            raise CheckpointError(f"{path.name}: {name} is stored as {found}; expected one of {sorted(_DTYPES)}")


def _fingerprint(state: dict[str, Tensor], config: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].contiguous().numpy().data)
    return digest.hexdigest()[:16]
