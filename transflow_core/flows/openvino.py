"""The fused flow by OpenVINO, on the processor: the extra `openvino`.

Each direction and size becomes a graph when it is first used, which takes some seconds. It is kept in the user's cache
folder, under the digest of the weights and of the code here.
"""

import hashlib
import os
import sys
import threading
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .fused import Decode, Encode, GuardedFlow
from .wavelet import TrainableFlow


def require_openvino() -> Any:
    """The library. Raises OSError, which says how to install it."""
    # It would tell its makers of each conversion. Without this module it does not, and nothing leaves the machine.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        return import_module("openvino")
    except ImportError as error:
        raise OSError('openvino is missing: pip install "transflow-studio[openvino]"') from error


class OpenVinoFlow(GuardedFlow):
    """A `GuardedFlow`. With `fast` it computes in bfloat16, all of it: for previews alone.

    `fingerprint` is that of the weights. Where means are known, torch computes, and so it does where means are encoded,
    and in `forward`, `inverse` and `low_pass`: graphs are made of that.
    """

    def __init__(self, flow: TrainableFlow, fingerprint: str, fast: bool) -> None:
        super().__init__(flow, None)
        code = b"".join(file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.py")))
        self._digest = hashlib.sha256(fingerprint.encode() + code).hexdigest()[:32]
        self._precision = "bf16" if fast else "f32"
        self._graphs: dict[str, Any] = {}
        self._lock = threading.Lock()

    def noted_forward(self, x: Tensor, times: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """See `GuardedFlow.noted_forward`."""
        if times:
            return super().noted_forward(x, times)
        z, log_det, ranges = self._run("encode", Encode(self), x)
        return z, log_det, ranges

    def decode(
        self, z: Tensor, ranges: Tensor | None = None, times: int = 0, known: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `GuardedFlow.decode`."""
        return super().decode(z, self._endless(z) if ranges is None and known is None else ranges, times, known)

    def decode_and_see(
        self, z: Tensor, ranges: Tensor | None = None, times: int = 0, known: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `GuardedFlow.decode_and_see`."""
        if known is not None or (ranges is None and times):
            return super().decode_and_see(z, ranges, times, known)
        ranges = self._endless(z) if ranges is None else ranges
        images, seen = self._run(f"decode{times}", Decode(self, times), z, ranges)
        return images, seen

    def _endless(self, z: Tensor) -> Tensor:
        return z.new_tensor([-torch.inf, torch.inf])[:, None].expand(len(z), 2, self.guarded)

    def _run(self, name: str, graph: Encode | Decode, *inputs: Tensor) -> list[Tensor]:
        with self._lock:  # a compiled graph has the memory of one call
            if name not in self._graphs:
                self._graphs[name] = self._compiled(name, graph, inputs)
            found = self._graphs[name]([one.contiguous().numpy() for one in inputs])
            return [torch.from_numpy(found[index]) for index in range(len(graph.outputs))]

    def _compiled(self, name: str, graph: Encode | Decode, inputs: tuple[Tensor, ...]) -> Any:
        openvino = require_openvino()
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = home / "transflow-studio" / "openvino" / self._digest
        path, part = folder / f"{name}.xml", folder / f"{name}-{os.getpid()}.xml"
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            shapes = [one.shape[1:] for one in inputs]
            with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of torch, about tracing
                examples = tuple(torch.zeros(2, *shape) for shape in shapes)
                any_number = [openvino.PartialShape([-1, *shape]) for shape in shapes]
                traced = torch.jit.trace(graph.eval(), examples, check_trace=False)
                made = openvino.convert_model(traced, example_input=examples, input=any_number)
            openvino.save_model(made, part, compress_to_fp16=False)
            part.with_suffix(".bin").replace(path.with_suffix(".bin"))
            part.replace(path)
        how = {
            "CACHE_DIR": str(folder),
            "INFERENCE_PRECISION_HINT": self._precision,
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,  # other programs may have that core
        }
        return openvino.Core().compile_model(path, "CPU", how)
