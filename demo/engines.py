"""The priors that one running page serves: loaded when first asked for, kept, and shared by all sessions."""

import threading
from collections import OrderedDict
from concurrent.futures import Future
from pathlib import Path

from transflow_core.checkpoints import is_hub_address
from transflow_core.compute import ComputeThread, PictureLane
from transflow_core.engine import Engine
from transflow_core.prior import load_prior, pick_device
from transflow_core.shipped import shipped_priors

__all__ = ["Engines"]


class Engines:
    """Engines by the name or address of their prior.

    Args:
        folder: whose `.safetensors` files are offered beside the shipped priors; None offers the shipped ones
            only.
        device: see `load_prior`.
        most: how many priors stay in memory; the least recently used goes first.
    """

    def __init__(self, folder: Path | None = None, device: str = "auto", most: int = 3) -> None:
        self._folder, self._device, self._most = folder, device, most
        # A GPU has an order of its own.
        self._compute: ComputeThread | None = ComputeThread.shared() if pick_device(device).type == "cpu" else None
        self._engines: OrderedDict[str, Future[Engine]] = OrderedDict()
        self._lock = threading.Lock()  # held for a moment, never while a prior is loaded

    def names(self) -> list[str]:
        """What the prior picker offers: shipped names, then names of the folder's files."""
        return [*shipped_priors(), *self._files()]

    def _files(self) -> dict[str, Path]:
        """By name alone: a visitor need not learn where they lie on the host's disk."""
        if self._folder is None or not self._folder.is_dir():
            return {}
        return {path.name: path for path in sorted(self._folder.iterdir()) if path.suffix == ".safetensors"}

    def get(self, name: str) -> Engine:
        """The engine of a prior. Raises what `load_prior` raises, and ValueError for a prior that is not offered.

        Who asks for a prior that is being loaded, or downloaded, waits for it; nobody else does. A visitor may name a
        shipped prior, an offered file, or a Hub address; not any path of the host's disk.
        """
        if name not in self.names() and not is_hub_address(name):
            offered = ", ".join(self.names())
            raise ValueError(f"{name!r} is not among the priors offered here: {offered}, or hf://owner/repo/file")
        with self._lock:
            known = self._engines.get(name)
            engine = known or self._engines.setdefault(name, Future())
            self._engines.move_to_end(name)
        if known is None:
            self._load(name, engine)
        return engine.result()

    def _load(self, name: str, engine: Future[Engine]) -> None:
        try:
            prior = load_prior(self._files().get(name, name), device=self._device)
            engine.set_result(Engine(prior, compute=self._compute, pictures=PictureLane.shared()))
        except BaseException as error:
            engine.set_exception(error)
        with self._lock:
            if engine.exception() is not None:
                self._engines.pop(name, None)  # the next who asks tries again
            loaded = [key for key, other in self._engines.items() if other.done()]
            for key in loaded[: max(0, len(loaded) - self._most)]:
                del self._engines[key]
