"""Any file that is known -> a checkpoint: what it is, what it must be told, and the native Glow that it becomes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..untrusted import open_safetensors
from .base import Checkpoint, CheckpointError, Tensors, guarded
from .containers import LARGEST_HEADER, kind_of, open_tensors
from .native import load_native, native_fingerprint
from .peers import CHAIYUJIN, GLOWIP, NORMFLOWS, ROSINALITY, Y0AST, Format
from .peers.options import Setting, resolve
from .tensorflow import (
    OPENAI,
    Graph,
    check_against_graph,
    graph_settings,
    graph_tensors,
    named_tensors,
    read_graph,
    tensorflow_is_installed,
)

__all__ = ["FORMATS", "Recognised", "convert", "recognise"]

FORMATS: tuple[Format, ...] = (ROSINALITY, CHAIYUJIN, Y0AST, GLOWIP, NORMFLOWS, OPENAI)
"""The foreign formats, in the order in which they are tried."""

NATIVE = "native"

_CHECK = Setting(
    "check", "hold the result against the graph, run by TensorFlow, where that is installed", bool, default=True
)


@dataclass(frozen=True)
class Recognised:
    """What a file is.

    Attributes:
        format: "native", or the name of a foreign format.
        container: how its tensors are stored.
        asks: the settings that `convert` takes for it, each with its meaning.
    """

    format: str
    container: str
    asks: dict[str, str]


def recognise(path: str | Path) -> Recognised:
    """Tell what a file is, without reading its numbers.

    Raises FileNotFoundError, or CheckpointError saying what was found and what was expected.
    """
    path = Path(path)
    kind = kind_of(path)
    if kind == "native folder" or (kind == "safetensors" and _is_native(path)):
        return Recognised(NATIVE, "safetensors", {})
    found = OPENAI if kind == "graph" else _match(path, kind)[0]
    settings = (*found.settings, _CHECK) if kind == "graph" else found.settings
    return Recognised(found.name, kind, {s.name: s.meaning for s in settings})


@torch.inference_mode(False)  # see load_native
def convert(path: str | Path, *, options: Mapping[str, Any] | None = None) -> Checkpoint:
    """Read any known checkpoint as a native Glow.

    Whatever a peer does differently is folded into the weights, so that latents are whitened and `save_native` can
    write the result; see `Format`. A native file is read as it is.

    Args:
        path: a native file or folder, or a foreign file. Configurations beside it are read (see `SIDE_FILES`).
        options: settings that no tensor tells, by name (`recognise(path).asks` lists them); these win over a file
            beside the weights.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is damaged, of no known format, lacks a setting, or needs a larger machine.
    """
    path, options = Path(path), dict(options or {})
    kind = kind_of(path)
    if kind == "native folder" or (kind == "safetensors" and _is_native(path)):
        if options:
            given = sorted(options)[0]
            raise CheckpointError(f"{path.name}: a native file tells everything itself; it takes no {given!r}")
        return load_native(path)
    metadata, graph, check = {}, None, False
    if kind == "graph":
        check = _CHECK.check(options.pop("check", _CHECK.default))
        with guarded(path, "TensorFlow graph"):
            graph = read_graph(path)
            check = check and tensorflow_is_installed()
            found, tensors = OPENAI, _graph_tensors(graph, check)
            options = graph_settings(graph) | options
    else:
        found, tensors = _match(path, kind)
    values = resolve(found.settings, options, path, f"{path.name} ({found.name})")
    with guarded(path, f"{found.name} checkpoint"):
        flow, pixels = found.read(tensors, values)
        if graph is not None and check:
            check_against_graph(flow, pixels, path, graph)
            metadata["checked"] = "against the graph, run by TensorFlow"
    name = path.name.split(".")[0] or path.name
    metadata |= {"format": found.name, "converted_from": f"{found.name} ({path.name})"}
    return Checkpoint(flow, pixels, name, native_fingerprint(flow, pixels, name), metadata=metadata)


def _graph_tensors(graph: Graph, check: bool) -> Tensors:
    try:
        return graph_tensors(graph)
    except CheckpointError:
        named = named_tensors(graph) if check else None
        if named is None:
            raise
        return named  # an inside that differs in form may still compute the same: running it will tell


def _is_native(path: Path) -> bool:
    """A file of ours has its configuration in the header; safetensors without it are a peer's."""
    with guarded(path, "safetensors file"), open_safetensors(path, "prior", path.name, LARGEST_HEADER) as file:
        names = list(file.keys())
        return "config" in (file.metadata() or {}) or not any(f.recognises(_names_only(names)) for f in FORMATS)


def _names_only(names: list[str]) -> Tensors:
    return Tensors(dict.fromkeys(names, ()), dict.fromkeys(names, torch.empty(0)).__getitem__, "")


def _match(path: Path, kind: str) -> tuple[Format, Tensors]:
    states = open_tensors(path, kind)
    for tensors in states:
        for candidate in FORMATS:
            if candidate.recognises(tensors):
                return candidate, tensors
    names = sorted(max((t.shapes for t in states), key=len))
    listed = ", ".join(names[:4]) + (" …" if len(names) > 4 else "")
    known = "; ".join(f"{f.name} ({f.marks[0].replace(chr(92), '').rstrip('$')})" for f in FORMATS)
    raise CheckpointError(
        f"{path.name}: found a {kind} of {len(names)} tensors ({listed}), which is no Glow that is known. Expected "
        f"tensors like those of {known}"
    )
