"""The priors that one running page serves: loaded when first asked for, kept, and shared by all sessions."""

import threading
from collections import OrderedDict
from pathlib import Path

from transflow_core.engine import Engine
from transflow_core.prior import load_prior, shipped_priors

__all__ = ["Engines"]


class Engines:
    """Engines by the name or address of their prior.

    Args:
        folder: whose files with a known suffix are offered beside the shipped priors; None offers the shipped ones
            only.
        device: see `load_prior`.
        most: how many priors stay in memory; the least recently used goes first.
    """

    def __init__(self, folder: Path | None = None, device: str = "auto", most: int = 2) -> None:
        self._folder, self._device, self._most = folder, device, most
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """What the prior picker offers: shipped names, then files of the folder."""
        names = shipped_priors()
        if self._folder is not None and self._folder.is_dir():
            names += sorted(str(path) for path in self._folder.iterdir() if path.suffix == ".safetensors")
        return names

    def get(self, name: str) -> Engine:
        """The engine of a prior. Raises what `load_prior` raises, and ValueError for a file that is not offered.

        A visitor may name a shipped prior, an offered file, or a Hub address; not any path of the host's disk.
        """
        if name not in self.names() and not name.startswith("hf://"):
            raise ValueError(
                f"{name!r} is not among the priors offered here: {', '.join(self.names())}, or hf://owner/repo/file"
            )
        with self._lock:  # two visitors who ask for the same prior at once wait for one loading
            if name not in self._engines:
                self._engines[name] = Engine(load_prior(name, device=self._device))
            self._engines.move_to_end(name)
            while len(self._engines) > self._most:
                self._engines.popitem(last=False)
            return self._engines[name]
