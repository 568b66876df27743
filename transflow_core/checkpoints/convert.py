"""Any known file to the native Glow: what it is, which settings it requires, and its layout's table."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..untrusted import open_safetensors
from .fold import fold
from .graph import read_graph
from .layouts import LAYOUTS, OPENAI, Layout
from .native import Checkpoint, load_native, native_fingerprint
from .settings import resolve
from .tensors import LARGEST_HEADER, READERS, CheckpointError, Tensors, guarded, kind_of


@torch.inference_mode(False)  # see load_native
def convert(path: str | Path, *, options: Mapping[str, Any] | None = None, any_format: bool = True) -> Checkpoint:
    """Read any known checkpoint as a native Glow. A native file is read as it is, or at one of its sizes.

    Whatever another project does differently is folded into the weights, so that `save_native` can write the result.

    Args:
        path: a native file or folder, or a file of another project. Settings beside it are read (see `settings`).
        options: settings that no tensor gives, by name. They win over a file beside the weights. For a native file,
            `image_size` chooses one of its sizes.
        any_format: False for a file of somebody whom you do not trust: safetensors alone are opened, by their content.
            A hostile pickle runs no code, but it can take time and memory.

    Raises FileNotFoundError, or CheckpointError if it is damaged, of no known format, lacks settings (the message tells
    which), or needs a larger machine.
    """
    path, options = Path(path), dict(options or {})
    kind = kind_of(path, any_format)
    if kind == "native folder" or (kind == "safetensors" and _is_native(path)):
        image_size = options.pop("image_size", None)
        if options:
            raise CheckpointError(f"{path.name}: a native file needs no settings. Leave out {sorted(options)[0]!r}")
        return load_native(path, image_size)
    if kind == "graph":
        with guarded(path, "TensorFlow graph"):
            layout, (tensors, found) = OPENAI, read_graph(path)
        options = found | options
    else:
        layout, tensors = _match(path, kind)
    settings = resolve(layout.settings, options, path, f"{path.name} ({layout.name})")
    with guarded(path, f"{layout.name} checkpoint"):
        flow, pixels = fold(layout, tensors, settings)
    name = path.name.split(".")[0] or path.name
    metadata = {"format": layout.name, "converted_from": f"{layout.name} ({path.name})"}
    return Checkpoint(flow, pixels, name, native_fingerprint(flow, pixels, name), metadata=metadata)


def _is_native(path: Path) -> bool:
    """Our file has its configuration in the header. Safetensors without it may be of another project."""
    with guarded(path, "safetensors file"), open_safetensors(path, "prior", path.name, LARGEST_HEADER) as file:
        return "config" in (file.metadata() or {}) or _layout_of(set(file.keys())) is None


def _layout_of(names: set[str]) -> Layout | None:
    return next((layout for layout in LAYOUTS if names.issuperset(layout.recognised_by)), None)


def _match(path: Path, kind: str) -> tuple[Layout, Tensors]:
    with guarded(path, kind):
        states = READERS[kind](path)
    for tensors in states:
        if layout := _layout_of(set(tensors.state)):
            return layout, tensors
    names = sorted(max((tensors.state for tensors in states), key=len))
    listed = ", ".join(names[:4]) + (" …" if len(names) > 4 else "")
    known = "; ".join(f"{layout.recognised_by[0]} ({layout.name})" for layout in LAYOUTS)
    raise CheckpointError(
        f"{path.name}: a {kind} of {len(names)} tensors ({listed}), which are no known Glow. Expected tensors such as "
        f"{known}"
    )
