"""Small random models in each project's layout, and the latents and densities that the project's formulas give.

`data/layouts.safetensors.gz` was made by tests/checkpoints/writers.py of commit aee6f84, which shares no code with the
reader: it writes out each project's forward mathematics, in float64 and one step at a time, after the facts in the
README of each of the shared fixtures (see `test_layouts`). A layout that is added needs a model there, computed by its
project's code.
"""

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load
from torch import Tensor

_FILE = gzip.decompress((Path(__file__).parent / "data" / "layouts.safetensors.gz").read_bytes())
_PROJECTS = json.loads(json.loads(_FILE[8 : 8 + int.from_bytes(_FILE[:8], "little")])["__metadata__"]["projects"])
NAMES = tuple(_PROJECTS)
"""Each project, with the options that its models can be built with."""
ROSINALITY, CHAIYUJIN, Y0AST = "rosinality affine LU", "chaiyujin as published", "y0ast affine plain, no top"
GLOWIP, OPENAI = "glowip affine", "openai as published"


@dataclass
class Project:
    """A model.

    Args:
        format, file: the layout's name, and what its project calls such a file.
        size, channels, bits: of its images.
        options: the settings that `convert` needs.
        place: the key of the file's dictionary that its tensors lie under; "" for the dictionary itself.
        beside: other files, which tell the rest.
        latent_shapes: (C, H, W) of each level.
        state: its tensors.
        x, z, log_det: images (n, C, S, S), their whitened latents (n, D), and the log-determinants of the map (n,).
    """

    format: str
    file: str
    size: int
    channels: int
    bits: int
    options: dict[str, Any]
    place: str
    beside: dict[str, Any]
    latent_shapes: list[list[int]]
    state: dict[str, Tensor]
    x: Tensor
    z: Tensor
    log_det: Tensor

    def save(self, folder: Path, **how: Any) -> Path:
        """Write it as its project does; `how` goes to `torch.save`."""
        for name, document in self.beside.items():
            (folder / name).write_text(json.dumps(document))
        path = folder / self.file
        if path.suffix == ".npz":
            np.savez(path, **{name.replace("/", "|"): tensor.numpy() for name, tensor in self.state.items()})
        else:
            torch.save({"global_step": 5000, self.place: self.state} if self.place else self.state, path, **how)
        return path


def project(name: str) -> Project:
    """The model of this name, its tensors free to be spoilt."""
    tensors = {key.removeprefix(f"{name}|"): t for key, t in load(_FILE).items() if key.startswith(f"{name}|")}
    tensors = {key: t.float() if t.dtype == torch.float16 else t for key, t in tensors.items()}
    expected = {key: tensors.pop(f"expected {key}") for key in ("x", "z", "log_det")}
    return Project(**_PROJECTS[name], state=tensors, **expected)
